//! The library's transport: one WebSocket per dial, closed in bounded time, silent once the link is sealed.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tracing::{error, info};
use wacore::net::{DisconnectReason, Transport, TransportEvent, TransportFactory};
use whatsapp_rust::async_channel::{self, Receiver, Sender};

use super::backlog::Backlog;
use super::dial::{Dialler, WebSocket};
use super::evidence::{Attempt, Ended};
use super::reports::Reports;
use super::seal::Seal;
use super::way::Way;
use crate::failpoint::reach;
use crate::ports::link::SealReason;

/// How long saying goodbye may take before the socket is dropped.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// Chunks of received data that may wait for the library.
const EVENTS: usize = 64;

/// Something that has to be durable before the next frame leaves.
#[async_trait]
pub(super) trait BeforeFrame: Send + Sync {
    /// Makes it durable, or fails, in which case the frame stays here.
    async fn before_frame(&self) -> Result<()>;

    /// Waits until nothing is half done that came over the socket.
    async fn before_end(&self);
}

/// Opens the sockets of one client, each for the dial that is under way.
pub(super) struct Sockets {
    dialler: Arc<Dialler>,
    way: Arc<Way>,
    seal: Arc<Seal>,
    reports: Reports,
    handle: Handle,
    gate: Arc<dyn BeforeFrame>,
    backlog: Arc<Backlog>,
    attempt: Mutex<Option<Arc<Attempt>>>,
}

impl Sockets {
    pub(super) fn new(
        (dialler, way): (Arc<Dialler>, Arc<Way>),
        seal: Arc<Seal>,
        reports: Reports,
        handle: Handle,
        gate: Arc<dyn BeforeFrame>,
        backlog: Arc<Backlog>,
    ) -> Self {
        Self { dialler, way, seal, reports, handle, gate, backlog, attempt: Mutex::new(None) }
    }

    /// Says which dial the next socket belongs to; `None` lets none be opened.
    pub(super) fn belong_to(&self, attempt: Option<Arc<Attempt>>) {
        *self.attempt.lock().unwrap_or_else(PoisonError::into_inner) = attempt;
    }

    fn attempt(&self) -> Option<Arc<Attempt>> {
        self.attempt.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl TransportFactory for Sockets {
    async fn create_transport(&self) -> Result<(Arc<dyn Transport>, Receiver<TransportEvent>)> {
        let Some(attempt) = self.attempt() else { bail!("no dial was asked for") };
        self.seal.check()?;
        let opened = tokio::select! {
            biased;
            () = attempt.closing() => bail!("the dial was called off"),
            why = self.seal.sealed() => bail!("the link is sealed: {why:?}"),
            opened = self.dialler.open(self.way.proxy()) => opened,
        };
        let socket = match opened {
            Ok(socket) => socket,
            Err(error) => {
                info!(code = error.why.code(), "A dial failed: {error}");
                attempt.dial_failed(error.why.clone());
                return Err(error.into());
            }
        };
        let (sink, stream) = socket.split();
        let (events, received) = async_channel::bounded(EVENTS);
        let _ = events.try_send(TransportEvent::Connected);
        let socket = Arc::new(Socket {
            sink: AsyncMutex::new(Some(sink)),
            end: watch::Sender::new(false),
            attempt: Arc::clone(&attempt),
            seal: Arc::clone(&self.seal),
            gate: Arc::clone(&self.gate),
        });
        attempt.socket_opened();
        self.backlog.clear();
        let room = Room { reports: self.reports.clone(), backlog: Arc::clone(&self.backlog) };
        reach!("socket.opened");
        self.handle.spawn(Arc::clone(&socket).guarded_pump(stream, events, room));
        Ok((socket, received))
    }
}

/// One open WebSocket.
struct Socket {
    sink: AsyncMutex<Option<SplitSink<WebSocket, Message>>>,
    end: watch::Sender<bool>,
    attempt: Arc<Attempt>,
    seal: Arc<Seal>,
    gate: Arc<dyn BeforeFrame>,
}

impl Socket {
    async fn ended(&self) {
        let mut end = self.end.subscribe();
        // The sender is a field of `self`, so waiting cannot fail.
        let _ = end.wait_for(|ended| *ended).await;
    }

    async fn close(&self) {
        self.end.send_replace(true);
        let goodbye = async {
            let sink = self.sink.lock().await.take();
            match sink {
                // A sealed link says nothing more, not even goodbye.
                Some(mut sink) if self.seal.check().is_ok() => {
                    let _ = sink.close().await;
                }
                _ => {}
            }
        };
        let _ = timeout(CLOSE_WITHIN, goodbye).await;
    }

    /// The same with a net under it: whoever waits for the end of this socket, and the next dial behind them, would wait for ever.
    async fn guarded_pump(self: Arc<Self>, stream: SplitStream<WebSocket>, events: Sender<TransportEvent>, room: Room) {
        let pump = AssertUnwindSafe(Arc::clone(&self).pump(stream, events.clone(), room)).catch_unwind();
        if pump.await.is_ok() {
            return;
        }
        self.seal.set(SealReason::Panicked);
        error!("The task of a socket panicked; its link is sealed");
        self.attempt.socket_ended(Ended::Lost { code: None });
        self.close().await;
        let told = events.send(TransportEvent::Disconnected(DisconnectReason::Unknown));
        // A library that does not listen any more needs not be told.
        let _ = timeout(CLOSE_WITHIN, told).await;
        self.attempt.socket_gone();
    }

    /// Carries what arrives to the library until either side ends, then reports the end and lets the socket go.
    async fn pump(self: Arc<Self>, mut stream: SplitStream<WebSocket>, events: Sender<TransportEvent>, room: Room) {
        let (reason, ours) = tokio::select! {
            biased;
            _ = self.seal.sealed() => (DisconnectReason::Unknown, false),
            () = self.ended() => (DisconnectReason::Unknown, true),
            () = self.attempt.closing() => (DisconnectReason::Unknown, true),
            reason = receive(&mut stream, &events, &room, &self.attempt) => (reason, false),
        };
        reach!("socket.leaving");
        self.end.send_replace(true);
        let leaving = async {
            self.close().await;
            if ours {
                // Until the server has read our last frames and closed too: the next dial must not overtake them.
                while let Some(Ok(_)) = stream.next().await {}
            }
        };
        // Beside it, not after it: the library has to hear of the end even if the socket is stuck.
        let told = events.send(TransportEvent::Disconnected(reason));
        let _ = tokio::join!(timeout(CLOSE_WITHIN, leaving), timeout(CLOSE_WITHIN, told));
        drop(stream);
        reach!("socket.gone");
        self.attempt.socket_gone();
    }
}

/// Whether more may be received: those who deal with it keep up.
struct Room {
    reports: Reports,
    backlog: Arc<Backlog>,
}

async fn receive(
    stream: &mut SplitStream<WebSocket>,
    events: &Sender<TransportEvent>,
    room: &Room,
    attempt: &Attempt,
) -> DisconnectReason {
    loop {
        room.reports.room().await;
        room.backlog.room().await;
        let (ended, reason) = match stream.next().await {
            Some(Ok(Message::Binary(data))) => {
                room.backlog.read(data.len());
                reach!("received.{}", attempt.stage());
                if events.send(TransportEvent::DataReceived(data)).await.is_err() {
                    return DisconnectReason::Unknown;
                }
                continue;
            }
            Some(Ok(Message::Close(frame))) => {
                let code = frame.as_ref().map(|frame| u16::from(frame.code));
                let text = frame.map(|frame| frame.reason.to_string()).unwrap_or_default();
                (Ended::Lost { code }, DisconnectReason::ServerClose { code, reason: text })
            }
            Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            Some(Err(error)) => (Ended::Lost { code: None }, DisconnectReason::ReadError(error.to_string())),
            None => (Ended::Lost { code: None }, DisconnectReason::StreamEnded),
        };
        attempt.socket_ended(ended);
        return reason;
    }
}

#[async_trait]
impl Transport for Socket {
    async fn send(&self, data: Bytes) -> Result<()> {
        self.seal.check_frame()?;
        self.gate.before_frame().await?;
        let sending = async {
            let mut sink = self.sink.lock().await;
            // Whoever waited for the others' frames asks again whether it may send.
            self.seal.check_frame()?;
            let Some(sink) = sink.as_mut() else { bail!("the socket is closed") };
            reach!("frame.{}.before", self.attempt.stage());
            let sent = sink.send(Message::Binary(data)).await;
            reach!("frame.{}.after", self.attempt.stage());
            // Before the library hears of it and gives the socket up.
            if sent.is_err() {
                self.attempt.socket_ended(Ended::Lost { code: None });
            }
            Ok(sent?)
        };
        tokio::select! {
            biased;
            _ = self.seal.sealed() => bail!("the link is sealed"),
            () = self.ended() => bail!("the socket is closed"),
            sent = sending => sent,
        }
    }

    async fn disconnect(&self) {
        self.attempt.socket_ended(Ended::GivenUp);
        // The library settles its keys next, and then drops what other tasks of it have decrypted but not handed over.
        self.gate.before_end().await;
        self.close().await;
    }
}
