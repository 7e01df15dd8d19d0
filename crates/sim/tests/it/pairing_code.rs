use aes_gcm::aead::{Aead as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce};
use hkdf::Hkdf;
use holdfast_sim::codec::stanza::{attr, child_content, leaf};
use holdfast_sim::pairing::code::WrappedKey;
use holdfast_sim::{EventKind, EventQuery, Options, PairingCodeRequest, Problem, ScanAnswer, Simulator};
use rand::rngs::StdRng;
use sha2::Sha256;
use tokio::task::JoinHandle;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;
use wacore_libsignal::protocol::{KeyPair, PublicKey};

use crate::client::{Client, Link, bytes};

const PHONE: &str = "5511999990001";
const CODE: &str = "ABCD1234";

#[tokio::test]
async fn a_client_is_linked_when_its_code_is_typed_at_last() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let mut client = Client::new();
    let mut link = Link::register(&simulator, &client).await;
    link.reference().await;
    let mut shown = Shown::ask(&mut link, &client).await;

    let typing = types(&simulator, "ABCD-1235");
    shown.answer(&mut link, &mut client).await;
    let problem = typing.await.unwrap().unwrap_err();
    assert_eq!(problem.status, 409);
    assert!(problem.sentence.contains("another code"), "{problem}");
    assert!(simulator.accounts().iter().all(|account| account.devices.is_empty()));

    let typing = types(&simulator, "abcd-1234");
    shown.answer(&mut link, &mut client).await;
    // The phone's statement is sealed with the secret that both have derived by now.
    client.address = Some(link.sign(&client, |_| {}).await);
    assert_eq!(typing.await.unwrap().unwrap().jid, client.address().to_string());
    assert_eq!(link.next().await.tag, "stream:error");
    link.until_closed().await;
    assert_eq!(client.address().phone.as_str(), PHONE);
    client.log_in(&simulator).await;
    assert_eq!(simulator.counters(None).unwrap().tally.pairings_refused, 1);
}

#[tokio::test]
async fn a_code_can_be_typed_only_while_a_client_shows_it() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let client = Client::new();
    let refusal = async |code: &str| types(&simulator, code).await.unwrap().unwrap_err();
    assert_eq!(refusal(CODE).await.status, 404);
    let mut link = Link::register(&simulator, &client).await;
    link.reference().await;
    Shown::ask(&mut link, &client).await;
    assert_eq!(refusal("ABCD").await.status, 400);

    let typing = types(&simulator, CODE);
    link.next_tagged("notification").await;
    link.close().await;
    let problem = typing.await.unwrap().unwrap_err();
    assert_eq!(problem.status, 409);
    assert!(problem.sentence.contains("closed the connection"), "{problem}");
    assert_eq!(refusal(CODE).await.status, 404);
}

#[tokio::test]
async fn a_request_for_a_code_that_whatsapp_would_refuse_is_refused() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let client = Client::new();
    let mut link = Link::register(&simulator, &client).await;
    link.reference().await;
    let wrapped = WrappedKey::wrap([1; 32], CODE, &mut rand::make_rng());
    let good = || hello(&client, wrapped.as_bytes(), "Chrome (Linux)", PHONE);
    let bad = [
        hello(&client, wrapped.as_bytes(), "My shop", PHONE),
        hello(&client, &wrapped.as_bytes()[1..], "Chrome (Linux)", PHONE),
        hello(&client, wrapped.as_bytes(), "Chrome (Linux)", "12"),
        hello(&Client::new(), wrapped.as_bytes(), "Chrome (Linux)", PHONE),
        good().attr("stage", "companion_finish"),
        good().attr("stage", "something_new"),
    ];
    for request in bad {
        let answer = ask(&mut link, request).await;
        assert_eq!(attr(&answer, "type").as_deref(), Some("error"), "{answer:?}");
        assert_eq!(attr(answer.get_optional_child("error").unwrap(), "code").as_deref(), Some("400"));
    }
    let answer = ask(&mut link, good()).await;
    assert_eq!(attr(&answer, "type").as_deref(), Some("result"));
    let asked = EventQuery { kind: Some(EventKind::CodeRequested), ..EventQuery::default() };
    assert_eq!(simulator.events(&asked).unwrap().len(), 1);
}

/// A client's side of a code that it shows.
struct Shown {
    ephemeral: KeyPair,
    reference: Vec<u8>,
}

impl Shown {
    async fn ask(link: &mut Link, client: &Client) -> Self {
        let ephemeral = KeyPair::generate(&mut rand::make_rng::<StdRng>());
        let wrapped = WrappedKey::wrap(bytes(&ephemeral), CODE, &mut rand::make_rng());
        let answer = ask(link, hello(client, wrapped.as_bytes(), "Chrome (Linux)", PHONE)).await;
        let child = answer.get_optional_child("link_code_companion_reg").unwrap();
        Self { ephemeral, reference: child_content(child, "link_code_pairing_ref").unwrap().to_vec() }
    }

    /// Waits for the phone's key, and answers it as a client does that knows its own code only.
    async fn answer(&mut self, link: &mut Link, client: &mut Client) {
        let notification = link.next_tagged("notification").await;
        assert_eq!(attr(&notification, "type").as_deref(), Some("link_code_companion_reg"));
        let said = notification.get_optional_child("link_code_companion_reg").unwrap();
        assert_eq!(attr(said, "stage").as_deref(), Some("primary_hello"));
        assert_eq!(child_content(said, "link_code_pairing_ref"), Some(&self.reference[..]));
        let wrapped = child_content(said, "link_code_pairing_wrapped_primary_ephemeral_pub").unwrap();
        let primary = WrappedKey::parse(wrapped).unwrap().unwrap(CODE);
        let phone: [u8; 32] = child_content(said, "primary_identity_pub").unwrap().try_into().unwrap();

        let agree = |own: &KeyPair, other: &[u8; 32]| {
            own.calculate_agreement(&PublicKey::from_djb_public_key_bytes(other).unwrap()).unwrap()
        };
        let (shared, own) = (agree(&self.ephemeral, &primary), agree(&client.identity, &phone));
        let (salt, nonce, random) =
            (rand::random::<[u8; 32]>(), rand::random::<[u8; 12]>(), rand::random::<[u8; 32]>());
        let key = derive(&shared, Some(&salt), b"link_code_pairing_key_bundle_encryption_key");
        let keys = [bytes(&client.identity), phone, random].concat();
        let sealed = Aes256Gcm::new(&key.into()).encrypt(&Nonce::from(nonce), &keys[..]).unwrap();
        client.secret = derive(&[shared, own, random].concat(), None, b"adv_secret");

        let finish = NodeBuilder::new("link_code_companion_reg")
            .attr("jid", format!("{PHONE}@s.whatsapp.net"))
            .attr("stage", "companion_finish")
            .children([
                leaf("link_code_pairing_wrapped_key_bundle", [&salt[..], &nonce, &sealed].concat()),
                leaf("companion_identity_public", bytes(&client.identity)),
                leaf("link_code_pairing_ref", self.reference.clone()),
            ]);
        assert_eq!(attr(&ask(link, finish).await, "type").as_deref(), Some("result"));
    }
}

fn hello(client: &Client, wrapped: &[u8], display: &str, phone: &str) -> NodeBuilder {
    NodeBuilder::new("link_code_companion_reg")
        .attr("jid", format!("{phone}@s.whatsapp.net"))
        .attr("stage", "companion_hello")
        .attr("should_show_push_notification", "true")
        .children([
            leaf("link_code_pairing_wrapped_companion_ephemeral_pub", wrapped),
            leaf("companion_server_auth_key_pub", bytes(&client.noise)),
            leaf("companion_platform_id", *b"1"),
            leaf("companion_platform_display", display),
            leaf("link_code_pairing_nonce", [0]),
        ])
}

async fn ask(link: &mut Link, request: NodeBuilder) -> Node {
    link.ask(NodeBuilder::new("iq").attr("type", "set").attr("xmlns", "md").children([request.build()])).await
}

fn types(simulator: &Simulator, code: &str) -> JoinHandle<Result<ScanAnswer, Problem>> {
    let operator = simulator.operator();
    let request = PairingCodeRequest { phone: PHONE.to_owned(), code: code.to_owned() };
    tokio::spawn(async move { operator.pairing_code(&request).await })
}

fn derive(secret: &[u8], salt: Option<&[u8]>, info: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(salt, secret).expand(info, &mut key).unwrap();
    key
}
