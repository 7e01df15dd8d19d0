//! The client's sockets: a task each, which is told what to send and when to end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};
use tokio_util::sync::CancellationToken;
use wacore::net::{DisconnectReason, Transport, TransportEvent, TransportFactory};
use whatsapp_rust::async_channel::{Receiver, Sender, bounded};

type WebSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The default reserves 128 KiB for each.
const BUFFER: usize = 4096;
const WAITING: usize = 64;
/// How long a connection may take, and how long a goodbye.
const OPEN_WITHIN: Duration = Duration::from_secs(5);
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// Opens sockets to one address.
pub(super) struct Sockets {
    url: String,
    tls: Option<Connector>,
    /// Ends the present one.
    end: Mutex<CancellationToken>,
}

impl Sockets {
    pub(super) fn new(url: &str, tls: Option<Connector>) -> Self {
        Self { url: url.to_owned(), tls, end: Mutex::default() }
    }

    pub(super) fn cut(&self) {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).cancel();
    }
}

#[async_trait]
impl TransportFactory for Sockets {
    async fn create_transport(&self) -> Result<(Arc<dyn Transport>, Receiver<TransportEvent>)> {
        let end = CancellationToken::new();
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = end.clone();
        let config = WebSocketConfig::default().read_buffer_size(BUFFER).write_buffer_size(0);
        let dialling = connect_async_tls_with_config(&self.url, Some(config), true, self.tls.clone());
        let opening = timeout(OPEN_WITHIN, Box::pin(dialling));
        let (socket, _) = tokio::select! {
            opened = opening => opened.context("the server does not answer")??,
            () = end.cancelled() => anyhow::bail!("the dial was called off"),
        };
        let (frames, to_send) = mpsc::channel(WAITING);
        let (events, received) = bounded(WAITING);
        events.send(TransportEvent::Connected).await?;
        tokio::spawn(serve(socket, to_send, events, end.clone()));
        Ok((Arc::new(Socket { frames, end }), received))
    }
}

struct Socket {
    frames: mpsc::Sender<Bytes>,
    end: CancellationToken,
}

#[async_trait]
impl Transport for Socket {
    async fn send(&self, data: Bytes) -> Result<()> {
        self.frames.send(data).await.context("the socket is closed")
    }

    async fn disconnect(&self) {
        self.end.cancel();
        self.frames.closed().await;
    }
}

/// Serves a socket until either side ends it; it is closed when this returns.
async fn serve(
    mut socket: WebSocket,
    mut to_send: mpsc::Receiver<Bytes>,
    events: Sender<TransportEvent>,
    end: CancellationToken,
) {
    let reason = tokio::select! {
        reason = exchange(&mut socket, &mut to_send, &events) => reason,
        () = end.cancelled() => DisconnectReason::Unknown,
    };
    let goodbye = async {
        while let Ok(frame) = to_send.try_recv() {
            socket.send(Message::Binary(frame)).await?;
        }
        socket.close(None).await?;
        // What the server still says is read, so that the system sends a FIN and no reset.
        while let Some(Ok(_)) = socket.next().await {}
        Ok::<(), tokio_tungstenite::tungstenite::Error>(())
    };
    // A server that does not read cannot be told goodbye.
    let _ = timeout(CLOSE_WITHIN, goodbye).await;
    drop(socket);
    // Whoever waits for the end waits for this, and may be who has to read the event.
    drop(to_send);
    let _ = events.send(TransportEvent::Disconnected(reason)).await;
}

async fn exchange(
    socket: &mut WebSocket,
    to_send: &mut mpsc::Receiver<Bytes>,
    events: &Sender<TransportEvent>,
) -> DisconnectReason {
    loop {
        let message = tokio::select! {
            frame = to_send.recv() => {
                let Some(frame) = frame else { return DisconnectReason::Unknown };
                if let Err(error) = socket.send(Message::Binary(frame)).await {
                    return DisconnectReason::ReadError(error.to_string());
                }
                continue;
            }
            message = socket.next() => message,
        };
        match message {
            Some(Ok(Message::Binary(data))) => {
                if events.send(TransportEvent::DataReceived(data)).await.is_err() {
                    return DisconnectReason::Unknown;
                }
            }
            Some(Ok(Message::Close(frame))) => {
                let code = frame.as_ref().map(|frame| u16::from(frame.code));
                let reason = frame.map(|frame| frame.reason.to_string()).unwrap_or_default();
                return DisconnectReason::ServerClose { code, reason };
            }
            Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Err(error)) => return DisconnectReason::ReadError(error.to_string()),
            None => return DisconnectReason::StreamEnded,
        }
    }
}
