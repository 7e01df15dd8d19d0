//! A device that logs in, confirms what waits for it, and then does nothing but ping.

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use holdfast_sim::AdoptDevice;
use holdfast_sim::address::Address;
use holdfast_sim::codec::frames::{Frames, frame};
use holdfast_sim::codec::stanza::{attr, decode, encode};
use holdfast_sim::keys::{OneTimeKey, SignedKey};
use rand::rngs::StdRng;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use wacore_binary::builder::NodeBuilder;
use wacore_binary::consts::{NOISE_PATTERN_XX, WA_CONN_HEADER};
use wacore_binary::{Jid, Node};
use wacore_libsignal::protocol::KeyPair;
use wacore_noise::{NoiseCipher, NoiseHandshake};
use waproto::buffa::{Message as _, MessageField};
use waproto::whatsapp::handshake_message::{ClientFinish, ClientHello};
use waproto::whatsapp::{ClientPayload, HandshakeMessage};

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a WebSocket with small buffers.
pub(crate) async fn open(url: &str) -> anyhow::Result<Socket> {
    let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
    Ok(tokio_tungstenite::connect_async_with_config(url, Some(config), true).await?.0)
}

/// The keys of a device.
pub(crate) struct Device {
    noise: KeyPair,
    identity: KeyPair,
    signed: KeyPair,
}

impl Device {
    pub(crate) fn new(rng: &mut StdRng) -> Self {
        Self { noise: KeyPair::generate(rng), identity: KeyPair::generate(rng), signed: KeyPair::generate(rng) }
    }

    /// What the simulator is told about it. The one-time keys are of the right size, and nobody's.
    pub(crate) fn public(&self, pre_keys: usize, rng: &mut StdRng) -> anyhow::Result<AdoptDevice> {
        let signature = self.identity.private_key.calculate_signature(&self.signed.public_key.serialize(), rng)?;
        let one_time = |id| OneTimeKey { id, value: rand::random() };
        Ok(AdoptDevice {
            phone: None,
            noise_pub: bytes(&self.noise)?,
            identity_pub: bytes(&self.identity)?,
            registration_id: 77,
            skey: SignedKey { id: 1, value: bytes(&self.signed)?, signature: signature.to_vec() },
            pre_keys: (1..=u32::try_from(pre_keys)?).map(one_time).collect(),
        })
    }

    /// Logs in, asks for what is waiting and confirms it.
    pub(crate) async fn log_in(&self, url: &str, address: &Address) -> anyhow::Result<Session> {
        let username = address.phone.as_str().parse().ok();
        let login = ClientPayload { username, device: Some(address.device.into()), ..ClientPayload::default() };
        let mut session = self.handshake(url, &login.encode_to_vec()).await?;
        let first = session.next().await?;
        if first.tag != "success" {
            bail!("{} instead of a login", first.tag);
        }
        let active = NodeBuilder::new("active").build();
        session.ask(NodeBuilder::new("iq").attr("type", "set").attr("xmlns", "passive").children([active])).await?;
        loop {
            let node = session.next().await?;
            if node.tag == "message" {
                let mut ack = NodeBuilder::new("ack").attr("class", "message");
                for name in ["id", "from"] {
                    ack = ack
                        .attr(if name == "id" { "id" } else { "to" }, attr(&node, name).context("a nameless message")?);
                }
                session.send(&ack.build()).await?;
            }
            if node.get_optional_child("offline").is_some() {
                return Ok(session);
            }
        }
    }

    async fn handshake(&self, url: &str, payload: &[u8]) -> anyhow::Result<Session> {
        let mut socket = open(url).await?;
        let mut frames = Frames::default();
        // The server's side of a connection has no header.
        frames.feed(&WA_CONN_HEADER);
        let ephemeral = KeyPair::generate(&mut rand::make_rng::<StdRng>());
        let mut noise = NoiseHandshake::new(NOISE_PATTERN_XX, &WA_CONN_HEADER)?;
        noise.authenticate(ephemeral.public_key.public_key_bytes());
        let hello = ClientHello { ephemeral: Some(bytes(&ephemeral)?.to_vec()), ..ClientHello::default() };
        let hello = HandshakeMessage { client_hello: MessageField::some(hello), ..HandshakeMessage::default() };
        let hello = [&WA_CONN_HEADER[..], &frame(&hello.encode_to_vec())?].concat();
        socket.send(Message::Binary(hello.into())).await?;

        let reply = HandshakeMessage::decode_from_slice(&next_frame(&mut socket, &mut frames).await?)?;
        let reply = reply.server_hello.into_option().context("no ServerHello")?;
        let theirs = reply.ephemeral.context("no key")?;
        noise.authenticate(&theirs);
        noise.mix_shared_secret(ephemeral.private_key.serialize(), &theirs)?;
        let fixed = noise.decrypt(&reply.r#static.context("no static key")?)?;
        noise.mix_shared_secret(ephemeral.private_key.serialize(), &fixed)?;
        // Whose server it is does not matter here.
        noise.decrypt(&reply.payload.context("no certificates")?)?;
        let sealed = noise.encrypt(self.noise.public_key.public_key_bytes())?;
        noise.mix_shared_secret(self.noise.private_key.serialize(), &theirs)?;
        let payload = Some(noise.encrypt(payload)?);
        let finish = ClientFinish { r#static: Some(sealed), payload, ..ClientFinish::default() };
        let finish = HandshakeMessage { client_finish: MessageField::some(finish), ..HandshakeMessage::default() };
        socket.send(Message::Binary(frame(&finish.encode_to_vec())?.into())).await?;
        let (outgoing, incoming) = noise.finish()?;
        Ok(Session { socket, frames, outgoing, incoming, sent: 0, received: 0 })
    }
}

/// A logged-in device.
pub(crate) struct Session {
    socket: Socket,
    frames: Frames,
    outgoing: NoiseCipher,
    incoming: NoiseCipher,
    sent: u32,
    received: u32,
}

impl Session {
    /// Pings and waits for the answer.
    pub(crate) async fn ping(&mut self) -> anyhow::Result<()> {
        self.ask(NodeBuilder::new("iq").attr("type", "get").attr("xmlns", "w:p")).await
    }

    async fn ask(&mut self, request: NodeBuilder) -> anyhow::Result<()> {
        let id = self.sent.to_string();
        self.send(&request.attr("id", id.as_str()).attr("to", Jid::pn("")).build()).await?;
        while attr(&self.next().await?, "id").as_deref() != Some(&id) {}
        Ok(())
    }

    async fn send(&mut self, node: &Node) -> anyhow::Result<()> {
        let mut bytes = encode(node)?;
        self.outgoing.encrypt_in_place_with_counter(self.sent, &mut bytes)?;
        self.sent += 1;
        Ok(self.socket.send(Message::Binary(frame(&bytes)?.into())).await?)
    }

    async fn next(&mut self) -> anyhow::Result<Node> {
        let mut sealed = next_frame(&mut self.socket, &mut self.frames).await?;
        self.incoming.decrypt_in_place_with_counter(self.received, &mut sealed)?;
        self.received += 1;
        Ok(decode(&sealed)?)
    }
}

async fn next_frame(socket: &mut Socket, frames: &mut Frames) -> anyhow::Result<Vec<u8>> {
    loop {
        if let Some(frame) = frames.next_frame()? {
            return Ok(frame);
        }
        match socket.next().await.context("the server has closed the connection")?? {
            Message::Binary(bytes) => frames.feed(&bytes),
            Message::Close(_) => bail!("the server has closed the connection"),
            Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

fn bytes(pair: &KeyPair) -> anyhow::Result<[u8; 32]> {
    Ok(pair.public_key.public_key_bytes().try_into()?)
}
