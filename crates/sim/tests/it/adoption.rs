//! Devices that are linked from their public keys alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_sim::codec::stanza::{attr, content};
use holdfast_sim::keys::OneTimeKey;
use holdfast_sim::{AdoptDevice, AdoptRequest, MessageRequest, Options, Simulator};
use rand::rngs::StdRng;
use wacore_libsignal::protocol::{KeyPair, PreKeySignalMessage, PublicKey};
use waproto::buffa::Message as _;
use waproto::whatsapp::ADVSignedDeviceIdentity;

use crate::client::{Client, bytes};

const CONTACT: &str = "5511888880001";

fn device(client: &Client) -> AdoptDevice {
    AdoptDevice {
        phone: None,
        noise_pub: bytes(&client.noise),
        identity_pub: bytes(&client.identity),
        registration_id: 77,
        skey: client.signed_key(),
        pre_keys: Vec::new(),
    }
}

#[tokio::test]
async fn an_adopted_device_logs_in_and_gets_what_is_sealed_for_its_keys() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let mut clients: Vec<Client> = (0..20).map(|_| Client::new()).collect();
    let one_time = OneTimeKey { id: 4711, value: bytes(&KeyPair::generate(&mut rand::make_rng::<StdRng>())) };
    let devices = clients.iter().map(|client| AdoptDevice { pre_keys: vec![one_time], ..device(client) }).collect();
    let adopted = simulator.adopt(AdoptRequest { devices }).await.unwrap().devices;
    assert_eq!(simulator.accounts().len(), 20, "each has a phone of its own");

    for (client, adopted) in clients.iter_mut().zip(&adopted) {
        client.address = Some(adopted.jid.parse().unwrap());
    }
    let client = &clients[7];
    let statement = ADVSignedDeviceIdentity::decode_from_slice(&STANDARD.decode(&adopted[7].account).unwrap()).unwrap();
    let account = PublicKey::from_djb_public_key_bytes(statement.account_signature_key.as_deref().unwrap()).unwrap();
    let signed = [&[6, 0][..], statement.details.as_deref().unwrap(), &bytes(&client.identity)].concat();
    assert!(account.verify_signature(&signed, statement.account_signature.as_deref().unwrap()));

    let (from, to, text) = (CONTACT.to_owned(), adopted[7].jid.clone(), "hello".to_owned());
    simulator.message(MessageRequest { from, to, text, id: None, group: None }).await.unwrap();
    let mut link = client.log_in(&simulator).await;
    let share = link.next_tagged("message").await;
    assert_eq!(attr(&share, "category").as_deref(), Some("peer"), "a phone shares its key with whoever has keys");
    let enc = share.get_optional_child("enc").unwrap();
    let sealed = PreKeySignalMessage::try_from(content(enc).unwrap()).unwrap();
    assert_eq!(sealed.pre_key_id().map(u32::from), Some(4711));
    assert_eq!(attr(&link.next_tagged("message").await, "category"), None);
}

#[tokio::test]
async fn one_wrong_device_is_named_and_none_is_linked() {
    let simulator = Simulator::start(Options::default()).await.unwrap();
    let mut wrong = device(&Client::new());
    wrong.skey.signature[3] ^= 1;
    let devices = vec![device(&Client::new()), wrong];
    let problem = simulator.adopt(AdoptRequest { devices }).await.unwrap_err();
    assert!(problem.status == 400 && problem.sentence.starts_with("devices[1]: skey.signature"), "{problem}");
    let phone = AdoptDevice { phone: Some("abc".to_owned()), ..device(&Client::new()) };
    let problem = simulator.adopt(AdoptRequest { devices: vec![phone] }).await.unwrap_err();
    assert!(problem.sentence.contains("'abc' is no phone number"), "{problem}");
    assert!(simulator.accounts().is_empty());
}
