//! A client that does exactly what it is told, and checks the server's certificates like a client that was told the root.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt as _, StreamExt as _};
use holdfast_sim::address::Address;
use holdfast_sim::codec::frames::{Frames, frame};
use holdfast_sim::codec::stanza::{attr, child_content, content, decode, encode, key_id, leaf};
use holdfast_sim::keys::{Bundle, OneTimeKey, SignedKey};
use holdfast_sim::{Options, ScanRequest, Simulator};
use rand::rngs::StdRng;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream};
use wacore_binary::builder::NodeBuilder;
use wacore_binary::consts::{NOISE_PATTERN_XX, WA_CONN_HEADER};
use wacore_binary::{Jid, Node};
use wacore_libsignal::protocol::{KeyPair, PrivateKey, PublicKey};
use wacore_noise::{IkHandshakeState, IkServerHelloOutcome, NoiseCipher, NoiseHandshake};
use waproto::buffa::{Message as _, MessageField};
use waproto::whatsapp::cert_chain::noise_certificate::Details;
use waproto::whatsapp::client_payload::DevicePairingRegistrationData;
use waproto::whatsapp::handshake_message::{ClientFinish, ClientHello};
use waproto::whatsapp::{
    ADVSignedDeviceIdentity, ADVSignedDeviceIdentityHMAC, CertChain, ClientPayload, HandshakeMessage,
};

use crate::writing::read_bundle;

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The phone that links the client of a test.
pub(crate) const PHONE: &str = "5511999990001";

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a client keeps between connections.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) noise: KeyPair,
    pub(crate) identity: KeyPair,
    pub(crate) signed: KeyPair,
    pub(crate) secret: [u8; 32],
    pub(crate) address: Option<Address>,
}

impl Client {
    pub(crate) fn new() -> Self {
        let rng = &mut rand::make_rng::<StdRng>();
        Self {
            noise: KeyPair::generate(rng),
            identity: KeyPair::generate(rng),
            signed: KeyPair::generate(rng),
            secret: rand::random(),
            address: None,
        }
    }

    pub(crate) fn address(&self) -> Address {
        self.address.clone().expect("paired")
    }

    pub(crate) fn qr(&self, reference: &str) -> String {
        let key = |pair: &KeyPair| STANDARD.encode(pair.public_key.public_key_bytes());
        format!("{reference},{},{},{},1", key(&self.noise), key(&self.identity), STANDARD.encode(self.secret))
    }

    pub(crate) fn signed_key(&self) -> SignedKey {
        let signature = self
            .identity
            .private_key
            .calculate_signature(&self.signed.public_key.serialize(), &mut rand::make_rng::<StdRng>())
            .unwrap();
        SignedKey { id: 1, value: bytes(&self.signed), signature: signature.to_vec() }
    }

    /// Pairs with a phone, as a well-behaved client does.
    pub(crate) async fn pair(&mut self, simulator: &Simulator, phone: &str) {
        let mut link = Link::register(simulator, self).await;
        let reference = link.reference().await;
        let operator = simulator.operator();
        let scan = ScanRequest { qr: self.qr(&reference), phone: Some(phone.to_owned()), ..ScanRequest::default() };
        let scanning = tokio::spawn(async move { operator.scan(&scan).await });
        self.address = Some(link.sign(self, |_| {}).await);
        assert_eq!(link.next().await.tag, "stream:error");
        let answer = scanning.await.unwrap().unwrap();
        assert_eq!(answer.jid, self.address().to_string());
        link.until_closed().await;
    }

    /// Logs in and asks for what is waiting.
    pub(crate) async fn log_in(&self, simulator: &Simulator) -> Link {
        let mut link = Link::log_in(simulator, self).await;
        assert_eq!(link.next().await.tag, "success");
        link.activate().await;
        link
    }

    fn registration(&self) -> Vec<u8> {
        let signed = self.signed_key();
        let data = DevicePairingRegistrationData {
            e_regid: Some(77_u32.to_be_bytes().to_vec()),
            e_keytype: Some(vec![5]),
            e_ident: Some(bytes(&self.identity).to_vec()),
            e_skey_id: Some(key_id(signed.id)),
            e_skey_val: Some(signed.value.to_vec()),
            e_skey_sig: Some(signed.signature),
            ..DevicePairingRegistrationData::default()
        };
        ClientPayload { device_pairing_data: MessageField::some(data), ..ClientPayload::default() }.encode_to_vec()
    }

    fn login(&self) -> Vec<u8> {
        let address = self.address();
        let username = address.phone.as_str().parse().ok();
        ClientPayload { username, device: Some(address.device.into()), ..ClientPayload::default() }.encode_to_vec()
    }
}

/// A simulator, and a client that is linked to [`PHONE`].
pub(crate) async fn linked() -> (Simulator, Client) {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let mut client = Client::new();
    client.pair(&simulator, PHONE).await;
    (simulator, client)
}

/// A connection of a client.
pub(crate) struct Link {
    pub(crate) socket: Socket,
    frames: Frames,
    outgoing: NoiseCipher,
    incoming: NoiseCipher,
    sent: u32,
    received: u32,
}

impl Link {
    pub(crate) async fn register(simulator: &Simulator, client: &Client) -> Self {
        Self::xx(simulator, client, client.registration()).await
    }

    pub(crate) async fn log_in(simulator: &Simulator, client: &Client) -> Self {
        Self::xx(simulator, client, client.login()).await
    }

    /// Logs in the short way, with a static key learned earlier; none when the server refuses it.
    pub(crate) async fn log_in_ik(simulator: &Simulator, client: &Client, server: [u8; 32]) -> Option<Self> {
        let mut state = IkHandshakeState::new(client.noise.clone(), server, client.login(), &WA_CONN_HEADER).unwrap();
        let (mut socket, mut frames) = (connect(simulator).await, headless());
        let routing = b"ED\x00\x01\x00\x00\x01x";
        let hello = [&routing[..], &WA_CONN_HEADER, &frame(&state.build_client_hello().unwrap()).unwrap()].concat();
        socket.send(Message::Binary(hello.into())).await.unwrap();
        let reply = next_frame(&mut socket, &mut frames).await.unwrap();
        match state.read_server_hello(&reply).unwrap() {
            IkServerHelloOutcome::Continue(outcome) => {
                let outcome = *outcome;
                Some(Self {
                    socket,
                    frames,
                    outgoing: outcome.write_cipher,
                    incoming: outcome.read_cipher,
                    sent: 0,
                    received: 0,
                })
            }
            IkServerHelloOutcome::Fallback(_) => None,
        }
    }

    async fn xx(simulator: &Simulator, client: &Client, payload: Vec<u8>) -> Self {
        let (mut socket, mut frames) = (connect(simulator).await, headless());
        let ephemeral = KeyPair::generate(&mut rand::make_rng::<StdRng>());
        let mut noise = NoiseHandshake::new(NOISE_PATTERN_XX, &WA_CONN_HEADER).unwrap();
        noise.authenticate(ephemeral.public_key.public_key_bytes());
        let hello = ClientHello { ephemeral: Some(bytes(&ephemeral).to_vec()), ..ClientHello::default() };
        let hello = HandshakeMessage { client_hello: MessageField::some(hello), ..HandshakeMessage::default() };
        let hello = [&WA_CONN_HEADER[..], &frame(&hello.encode_to_vec()).unwrap()].concat();
        socket.send(Message::Binary(hello.into())).await.unwrap();

        let reply = next_frame(&mut socket, &mut frames).await.unwrap();
        let reply = HandshakeMessage::decode_from_slice(&reply).unwrap().server_hello.into_option().unwrap();
        let server_ephemeral = reply.ephemeral.unwrap();
        noise.authenticate(&server_ephemeral);
        noise.mix_shared_secret(ephemeral.private_key.serialize(), &server_ephemeral).unwrap();
        let server_static = noise.decrypt(&reply.r#static.unwrap()).unwrap();
        noise.mix_shared_secret(ephemeral.private_key.serialize(), &server_static).unwrap();
        let chain = noise.decrypt(&reply.payload.unwrap()).unwrap();
        check_chain(simulator.root_public_key(), &chain, &server_static);

        let sealed_static = noise.encrypt(client.noise.public_key.public_key_bytes()).unwrap();
        noise.mix_shared_secret(client.noise.private_key.serialize(), &server_ephemeral).unwrap();
        let finish = ClientFinish {
            r#static: Some(sealed_static),
            payload: Some(noise.encrypt(&payload).unwrap()),
            ..ClientFinish::default()
        };
        let finish = HandshakeMessage { client_finish: MessageField::some(finish), ..HandshakeMessage::default() };
        socket.send(Message::Binary(frame(&finish.encode_to_vec()).unwrap().into())).await.unwrap();
        let (outgoing, incoming) = noise.finish().unwrap();
        Self { socket, frames, outgoing, incoming, sent: 0, received: 0 }
    }

    pub(crate) async fn send(&mut self, node: &Node) {
        self.try_send(node).await.unwrap();
    }

    pub(crate) async fn try_send(&mut self, node: &Node) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        let mut bytes = encode(node).unwrap();
        self.outgoing.encrypt_in_place_with_counter(self.sent, &mut bytes).unwrap();
        self.sent += 1;
        self.socket.send(Message::Binary(frame(&bytes).unwrap().into())).await
    }

    pub(crate) async fn next(&mut self) -> Node {
        self.next_within(PATIENCE).await.expect("a stanza")
    }

    pub(crate) async fn next_within(&mut self, patience: Duration) -> Option<Node> {
        let mut sealed =
            tokio::time::timeout(patience, next_frame(&mut self.socket, &mut self.frames)).await.ok()??;
        self.incoming.decrypt_in_place_with_counter(self.received, &mut sealed).unwrap();
        self.received += 1;
        Some(decode(&sealed).unwrap())
    }

    /// Reads a frame that nobody can decrypt, and goes on as if it had not come.
    pub(crate) async fn next_garbage(&mut self) {
        let frame = next_frame(&mut self.socket, &mut self.frames);
        let mut sealed = tokio::time::timeout(PATIENCE, frame).await.unwrap().expect("a frame");
        assert!(self.incoming.decrypt_in_place_with_counter(self.received, &mut sealed).is_err());
    }

    /// The next stanza with this tag; others are passed over.
    pub(crate) async fn next_tagged(&mut self, tag: &str) -> Node {
        loop {
            let node = self.next().await;
            if node.tag == tag {
                return node;
            }
        }
    }

    pub(crate) async fn ask(&mut self, request: NodeBuilder) -> Node {
        let id = format!("q{}", self.sent);
        self.send(&request.attr("id", id.as_str()).attr("to", Jid::pn("")).build()).await;
        loop {
            let node = self.next_tagged("iq").await;
            if attr(&node, "id").as_deref() == Some(&id) {
                return node;
            }
        }
    }

    pub(crate) async fn activate(&mut self) {
        let active = NodeBuilder::new("active").build();
        self.ask(NodeBuilder::new("iq").attr("type", "set").attr("xmlns", "passive").children([active])).await;
    }

    pub(crate) async fn ping(&mut self) -> Node {
        self.ask(NodeBuilder::new("iq").attr("type", "get").attr("xmlns", "w:p")).await
    }

    /// Uploads one-time keys.
    pub(crate) async fn upload(&mut self, client: &Client, keys: &[OneTimeKey]) -> Node {
        let key = |key: &OneTimeKey| {
            NodeBuilder::new("key").children([leaf("id", key_id(key.id)), leaf("value", key.value)]).build()
        };
        let signed = client.signed_key();
        let children = [
            leaf("registration", 77_u32.to_be_bytes()),
            leaf("type", [5]),
            leaf("identity", bytes(&client.identity)),
            NodeBuilder::new("list").children(keys.iter().map(key)).build(),
            NodeBuilder::new("skey")
                .children([
                    leaf("id", key_id(signed.id)),
                    leaf("value", signed.value),
                    leaf("signature", signed.signature),
                ])
                .build(),
        ];
        self.ask(NodeBuilder::new("iq").attr("type", "set").attr("xmlns", "encrypt").children(children)).await
    }

    /// The keys of somebody, as the server gives them out.
    pub(crate) async fn bundle(&mut self, jid: &Jid) -> Bundle {
        let key = NodeBuilder::new("key").children([NodeBuilder::new("user").attr("jid", jid).build()]).build();
        let answer =
            self.ask(NodeBuilder::new("iq").attr("type", "get").attr("xmlns", "encrypt").children([key])).await;
        let user = answer.get_optional_child_by_tag(&["list", "user"]).unwrap();
        read_bundle(user, user)
    }

    /// The reference of the first QR code, after acknowledging the offer.
    pub(crate) async fn reference(&mut self) -> String {
        let offer = self.next_tagged("iq").await;
        let references = offer.get_optional_child("pair-device").unwrap().children().unwrap();
        assert_eq!(references.len(), 6);
        self.send(&NodeBuilder::new("iq").attr("type", "result").attr("id", attr(&offer, "id").unwrap()).build()).await;
        String::from_utf8(content(&references[0]).unwrap().to_vec()).unwrap()
    }

    /// Answers `pair-success` with a signature, after doing something to it.
    pub(crate) async fn sign(&mut self, client: &Client, spoil: impl FnOnce(&mut ADVSignedDeviceIdentity)) -> Address {
        let request = self.next_tagged("iq").await;
        let success = request.get_optional_child("pair-success").unwrap();
        let address = attr(success.get_optional_child("device").unwrap(), "jid").unwrap().parse().unwrap();
        let container =
            ADVSignedDeviceIdentityHMAC::decode_from_slice(child_content(success, "device-identity").unwrap()).unwrap();
        let mut statement = ADVSignedDeviceIdentity::decode_from_slice(container.details.as_deref().unwrap()).unwrap();
        let (details, account) = (statement.details.clone().unwrap(), statement.account_signature_key.clone().unwrap());
        let signed = [&[6, 1][..], &details, client.identity.public_key.public_key_bytes(), &account].concat();
        statement.device_signature = Some(
            client.identity.private_key.calculate_signature(&signed, &mut rand::make_rng::<StdRng>()).unwrap().to_vec(),
        );
        spoil(&mut statement);
        let answer =
            NodeBuilder::new("pair-device-sign").children([leaf("device-identity", statement.encode_to_vec())]).build();
        self.send(
            &NodeBuilder::new("iq")
                .attr("type", "result")
                .attr("id", attr(&request, "id").unwrap())
                .children([answer])
                .build(),
        )
        .await;
        address
    }

    /// Reads to the end and closes.
    pub(crate) async fn until_closed(mut self) {
        while self.next_within(PATIENCE).await.is_some() {}
    }

    /// Closes without a word.
    pub(crate) async fn close(mut self) {
        let _ = self.socket.close(None).await;
        while let Some(Ok(_)) = self.socket.next().await {}
    }
}

pub(crate) fn bytes(pair: &KeyPair) -> [u8; 32] {
    pair.public_key.public_key_bytes().try_into().unwrap()
}

/// The server's Noise key, as a client remembers it from its first connection.
pub(crate) fn static_key_in(state: &Path) -> [u8; 32] {
    let saved: serde_json::Value = serde_json::from_slice(&std::fs::read(state).unwrap()).unwrap();
    let private = STANDARD.decode(saved["server"]["noise"].as_str().unwrap()).unwrap();
    PrivateKey::deserialize(&private).unwrap().public_key().unwrap().public_key_bytes().try_into().unwrap()
}

pub(crate) async fn connect(simulator: &Simulator) -> Socket {
    let url = simulator.ws_url();
    let connector = simulator.health().authority.as_deref().map(|file| Connector::Rustls(trusting(Path::new(file))));
    tokio_tungstenite::connect_async_tls_with_config(url, None, true, connector).await.unwrap().0
}

async fn next_frame(socket: &mut Socket, frames: &mut Frames) -> Option<Vec<u8>> {
    loop {
        if let Some(frame) = frames.next_frame().unwrap() {
            return Some(frame);
        }
        match socket.next().await? {
            Ok(Message::Binary(bytes)) => frames.feed(&bytes),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

/// What a client needs for TLS with a server whose authority is in this file.
pub(crate) fn trusting(authority: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

/// The server's side of a connection has no header.
fn headless() -> Frames {
    let mut frames = Frames::default();
    frames.feed(&WA_CONN_HEADER);
    frames
}

fn check_chain(root: &str, chain: &[u8], server_static: &[u8]) {
    let root: Vec<u8> =
        (0..root.len()).step_by(2).map(|at| u8::from_str_radix(&root[at..at + 2], 16).unwrap()).collect();
    let chain = CertChain::decode_from_slice(chain).unwrap();
    let (intermediate, leaf) = (chain.intermediate.into_option().unwrap(), chain.leaf.into_option().unwrap());
    let verified = |key: &[u8], certificate: &waproto::whatsapp::cert_chain::NoiseCertificate| {
        let key = PublicKey::from_djb_public_key_bytes(key).unwrap();
        assert!(
            key.verify_signature(certificate.details.as_deref().unwrap(), certificate.signature.as_deref().unwrap())
        );
        Details::decode_from_slice(certificate.details.as_deref().unwrap()).unwrap()
    };
    let middle = verified(&root, &intermediate);
    let end = verified(&middle.key.clone().unwrap(), &leaf);
    assert_eq!((middle.issuer_serial, end.issuer_serial), (Some(0), middle.serial));
    assert_eq!(end.key.as_deref(), Some(server_static));
}
