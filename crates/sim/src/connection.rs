//! The task that serves one connection: bytes in, orders out, and the truth about when it ended.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Sink as _, Stream as _};
use rand::Rng as _;
use rand::rngs::StdRng;
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use wacore_binary::Node;

use crate::codec::channel::{Channel, Incoming};
use crate::codec::frames::frame;
use crate::conduct::Conduct;
use crate::hub::{Command, Hub, Opening};
use crate::late::Late;
use crate::link::LinkId;
use crate::noise::Responder;
use crate::peer::{Watch, end_of};
use crate::tls::Transport;
use crate::upgrade;
use crate::wire::{End, Unread, Wire};
use crate::world::Closing;

/// How long a client may take over a close that is under way.
const CLOSE_UNDER_WAY: Duration = Duration::from_secs(1);
/// The length of a frame that cannot be decrypted.
const GARBAGE: usize = 64;

/// Serves a connection until its client closes it.
pub async fn serve(tcp: TcpStream, transport: Transport, hub: Arc<Hub>) {
    // Small stanzas must not wait for each other.
    let _ = tcp.set_nodelay(true);
    let late = Duration::from_millis(hub.with(|world| world.rules.slow.upgrade_ms));
    let Some(socket) = transport.accept(tcp).await else {
        return;
    };
    let Some(socket) = upgrade::accept(Wire::new(socket), late).await else {
        return;
    };
    let Opening { id, orders, responder, rng } = hub.open();
    let connection = Connection {
        id,
        socket,
        orders,
        hub: hub.clone(),
        responder,
        channel: Channel::default(),
        rng,
        conduct: Conduct::default(),
        watch: None,
        late: Late::default(),
    };
    let how = connection.run().await;
    hub.closed(id, how);
}

struct Connection {
    id: LinkId,
    socket: WebSocketStream<Wire>,
    orders: UnboundedReceiver<Command>,
    hub: Arc<Hub>,
    responder: Responder,
    channel: Channel,
    rng: StdRng,
    conduct: Conduct,
    /// While nothing is read.
    watch: Option<Watch>,
    late: Late<Saying>,
}

/// Something to be sent.
enum Saying {
    Bytes(Vec<u8>),
    Stanza(Box<Node>),
    Garbage,
    Close(Closing),
}

enum Wake {
    Read(Option<Result<Message, WsError>>),
    Order(Command),
    Late,
    Left(End),
}

enum Next {
    Go,
    Drain,
    Ended(&'static str),
}

impl Connection {
    async fn run(mut self) -> &'static str {
        loop {
            let wake = match &self.watch {
                Some(watch) => idle(watch, &mut self.orders).await,
                None => self.wake(self.late.next_due(), true).await,
            };
            let next = match wake {
                Wake::Read(message) => self.read(message),
                Wake::Order(order) => self.obey(order).await,
                Wake::Late => self.say_what_is_due().await,
                Wake::Left(end) => Next::Ended(end.name()),
            };
            match next {
                Next::Go => {}
                Next::Drain => return self.drain().await,
                Next::Ended(how) => return how,
            }
        }
    }

    /// Waits for whatever comes first; what the client said is looked at before new orders.
    async fn wake(&mut self, deadline: Option<Instant>, obedient: bool) -> Wake {
        let Self { socket, orders, .. } = self;
        let wake = poll_fn(|context| poll(socket, orders, obedient, context));
        match deadline {
            None => wake.await,
            Some(deadline) => tokio::select! {
                biased;
                wake = wake => wake,
                () = sleep_until(deadline) => Wake::Late,
            },
        }
    }

    fn read(&mut self, message: Option<Result<Message, WsError>>) -> Next {
        match message {
            Some(Ok(Message::Binary(bytes))) => {
                self.channel.feed(&bytes);
                self.understand();
                Next::Go
            }
            // The answer to a close is sent by the library; what remains is the client's FIN.
            None | Some(Ok(Message::Close(_))) => Next::Drain,
            Some(Ok(Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Next::Go,
            Some(Err(error)) => Next::Ended(how_it_ended(&error)),
        }
    }

    fn understand(&mut self) {
        loop {
            match self.channel.poll(&self.responder, &mut self.rng) {
                Ok(incoming) if incoming.is_empty() => return,
                Ok(incoming) => incoming.into_iter().for_each(|incoming| self.pass_on(incoming)),
                Err(error) => {
                    tracing::debug!(link = self.id.0, %error, "cannot understand the client");
                    return self.hub.with(|world| world.garbled(self.id, &error.to_string()));
                }
            }
        }
    }

    fn pass_on(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Reply(bytes) => self.reply(bytes),
            Incoming::Opened(opened) => self.hub.with(|world| world.handshake_done(self.id, &opened)),
            Incoming::Stanza(node) => {
                tracing::trace!(link = self.id.0, ?node, "received");
                self.hub.with(|world| world.received(self.id, &node));
            }
        }
    }

    /// Sends a part of the handshake.
    fn reply(&mut self, bytes: Vec<u8>) {
        let slow = Duration::from_millis(self.hub.with(|world| world.rules.slow.hello_ms));
        let now = Instant::now();
        if slow.is_zero() && !self.late.is_late(now) {
            self.write(bytes);
        } else {
            self.late.push(now, slow, Saying::Bytes(bytes));
        }
    }

    async fn obey(&mut self, order: Command) -> Next {
        match order {
            Command::Send(node) => self.say(Saying::Stanza(node)).await,
            Command::Garbage => self.say(Saying::Garbage).await,
            Command::Hold(time) => {
                self.late.hold(Instant::now(), time);
                Next::Go
            }
            Command::Treat(conduct) => {
                self.treat(conduct);
                Next::Go
            }
            Command::Close(Closing::Reset) => {
                self.socket.get_ref().reset_on_drop();
                Next::Ended("reset")
            }
            Command::Close(closing) => self.say(Saying::Close(closing)).await,
            Command::Supersede => self.supersede().await,
        }
    }

    fn treat(&mut self, conduct: Conduct) {
        self.conduct = conduct;
        self.socket.get_mut().mute(conduct.mute());
        self.late.set_delay(Instant::now(), Duration::from_millis(conduct.delay_ms));
        if !conduct.stalled {
            self.watch = None;
        } else if self.watch.is_none() {
            let watch = Watch::new(self.socket.get_ref().tcp());
            self.watch = watch.inspect_err(|error| tracing::warn!(%error, "cannot stop reading")).ok();
        }
    }

    /// Sends something now, or when its time has come.
    async fn say(&mut self, saying: Saying) -> Next {
        let now = Instant::now();
        if self.watch.is_some() {
            // An end is made up for when the server reads again; what it did not say meanwhile is not.
            if matches!(saying, Saying::Close(_)) {
                self.late.push(now, Duration::ZERO, saying);
            }
            return Next::Go;
        }
        if self.late.is_late(now) {
            self.late.push(now, Duration::ZERO, saying);
            return Next::Go;
        }
        self.utter(saying).await
    }

    async fn say_what_is_due(&mut self) -> Next {
        match self.late.pop(Instant::now()) {
            Some(saying) => self.utter(saying).await,
            None => Next::Go,
        }
    }

    async fn utter(&mut self, saying: Saying) -> Next {
        match saying {
            Saying::Bytes(bytes) => self.write(bytes),
            Saying::Stanza(node) => self.send(&node),
            Saying::Garbage => {
                let mut bytes = [0; GARBAGE];
                self.rng.fill_bytes(&mut bytes);
                // As if it did not count, so that a client that passes over it understands what follows.
                if let Ok(bytes) = frame(&bytes) {
                    self.write(bytes);
                }
            }
            Saying::Close(Closing::Fin) => return Next::Drain,
            Saying::Close(Closing::Polite | Closing::Reset) => {
                let close = poll_fn(|context| Pin::new(&mut self.socket).poll_close(context));
                // A client that does not read cannot be told politely.
                let _ = tokio::time::timeout(CLOSE_UNDER_WAY, close).await;
            }
            Saying::Close(Closing::Code(code)) => {
                let close = self.socket.close(Some(CloseFrame { code: code.into(), reason: "".into() }));
                let _ = tokio::time::timeout(CLOSE_UNDER_WAY, close).await;
            }
        }
        Next::Go
    }

    /// A newer login replaced this connection. If its client had closed it before, we have its last words and the FIN
    /// here already, perhaps unread; if there is none, the client has two connections.
    async fn supersede(&mut self) -> Next {
        if self.watch.is_some() {
            // Nothing is read, and the system knows all the same.
            if let Some(end) = end_of(self.socket.get_ref().tcp()) {
                return Next::Ended(end.name());
            }
            self.hub.with(|world| world.overlapped(self.id, 0));
            return Next::Go;
        }
        let deadline = Instant::now() + CLOSE_UNDER_WAY;
        let mut stale = 0;
        while self.socket.get_ref().unread() != Unread::Nothing {
            match self.wake(Some(deadline), false).await {
                Wake::Late | Wake::Left(_) => break,
                Wake::Order(_) => {}
                Wake::Read(Some(Ok(Message::Binary(bytes)))) => stale += self.skip(&bytes),
                // The client has said goodbye; what it waits for is our half of the close.
                Wake::Read(Some(Ok(Message::Close(_))) | None) => {
                    if let Ok(how) = tokio::time::timeout_at(deadline, self.finish_and_wait()).await {
                        return Next::Ended(how);
                    }
                    self.hub.with(|world| world.overlapped(self.id, stale));
                    return Next::Drain;
                }
                Wake::Read(Some(Ok(_))) => {}
                Wake::Read(Some(Err(error))) => return Next::Ended(how_it_ended(&error)),
            }
        }
        self.hub.with(|world| world.overlapped(self.id, stale));
        Next::Go
    }

    /// Reads frames without minding what they say, so that the cipher keeps pace; says how many there were.
    fn skip(&mut self, bytes: &[u8]) -> u64 {
        self.channel.feed(bytes);
        let mut frames = 0;
        while let Ok(incoming) = self.channel.poll(&self.responder, &mut self.rng) {
            if incoming.is_empty() {
                break;
            }
            frames += 1;
        }
        frames
    }

    fn send(&mut self, node: &Node) {
        // What a silent server does not send must not advance the cipher either, or it could never speak again.
        if self.conduct.mute() {
            return;
        }
        tracing::trace!(link = self.id.0, ?node, "sent");
        match self.channel.seal(node) {
            Ok(bytes) => self.write(bytes),
            Err(error) => tracing::warn!(link = self.id.0, %error, "cannot send a stanza"),
        }
    }

    fn write(&mut self, bytes: Vec<u8>) {
        // An error here shows up again when reading, which is where endings are handled.
        let _ = Pin::new(&mut self.socket).start_send(Message::Binary(bytes.into()));
    }

    /// Everything is said: closes our half and waits for the client to close its own.
    async fn drain(mut self) -> &'static str {
        self.finish_and_wait().await
    }

    async fn finish_and_wait(&mut self) -> &'static str {
        let flush = poll_fn(|context| Pin::new(&mut self.socket).poll_flush(context));
        // A client that does not read cannot be told anything more.
        let _ = tokio::time::timeout(CLOSE_UNDER_WAY, flush).await;
        self.socket.get_mut().finish().await;
        let (wire, orders) = (self.socket.get_mut(), &mut self.orders);
        loop {
            tokio::select! {
                end = wire.until_closed() => return end.name(),
                order = orders.recv() => match order {
                    Some(Command::Close(Closing::Reset)) => {
                        wire.reset_on_drop();
                        return "reset";
                    }
                    Some(Command::Supersede) if wire.unread() == Unread::Nothing => {
                        self.hub.with(|world| world.overlapped(self.id, 0));
                    }
                    Some(_) => {}
                    None => return wire.until_closed().await.name(),
                },
            }
        }
    }
}

/// Waits without reading.
async fn idle(watch: &Watch, orders: &mut UnboundedReceiver<Command>) -> Wake {
    tokio::select! {
        biased;
        end = watch.left() => Wake::Left(end),
        Some(order) = orders.recv() => Wake::Order(order),
    }
}

fn poll(
    socket: &mut WebSocketStream<Wire>,
    orders: &mut UnboundedReceiver<Command>,
    obedient: bool,
    context: &mut Context<'_>,
) -> Poll<Wake> {
    // Flushing is retried at every wake-up, and a socket that becomes writable wakes us.
    let _ = Pin::new(&mut *socket).poll_flush(context);
    if let Poll::Ready(message) = Pin::new(&mut *socket).poll_next(context) {
        return Poll::Ready(Wake::Read(message));
    }
    if obedient && let Poll::Ready(Some(order)) = orders.poll_recv(context) {
        return Poll::Ready(Wake::Order(order));
    }
    Poll::Pending
}

fn how_it_ended(error: &WsError) -> &'static str {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    let reset = matches!(error, WsError::Io(io) if matches!(io.kind(), ConnectionReset | BrokenPipe));
    if reset { End::Rst.name() } else { End::Fin.name() }
}
