use holdfast_sim::codec::stanza::{attr, content, key_id, leaf};
use holdfast_sim::keys::OneTimeKey;
use holdfast_sim::{EventKind, EventQuery, MessageRequest, Simulator};
use rand::rngs::StdRng;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;
use wacore_libsignal::protocol::{KeyPair, PreKeySignalMessage};

use crate::client::{Client, Link, PHONE, bytes, linked};
use crate::writing::{message, read_bundle, session_with, text};

const CONTACT: &str = "5511888880001";

async fn write(simulator: &Simulator, text: &str) -> String {
    let request =
        MessageRequest { from: CONTACT.to_owned(), to: PHONE.to_owned(), text: text.to_owned(), id: None, group: None };
    simulator.message(request).await.unwrap().id
}

fn queued(simulator: &Simulator) -> usize {
    simulator.counters(Some(PHONE)).unwrap().queued
}

async fn confirm(link: &mut Link, tag: &'static str, id: &str, attrs: &[(&'static str, &'static str)]) {
    let mut node = NodeBuilder::new(tag).attr("id", id).attr("to", format!("{CONTACT}@s.whatsapp.net"));
    for (key, value) in attrs {
        node = node.attr(key, *value);
    }
    link.send(&node.build()).await;
    link.ping().await;
}

async fn next_message(link: &mut Link) -> (String, Node) {
    let node = link.next_tagged("message").await;
    (attr(&node, "id").unwrap(), node)
}

#[tokio::test]
async fn a_text_of_a_device_is_acknowledged_decrypted_and_receipted() {
    let (simulator, client) = linked().await;
    let mut link = client.log_in(&simulator).await;
    let (mut signal, contact) = session_with(&mut link, CONTACT).await;
    let sealed = signal.seal(&contact, &text("hello"), &mut rand::make_rng::<StdRng>()).unwrap();
    link.send(&message("M1", &contact, sealed.kind, &sealed.bytes)).await;
    let ack = link.next_tagged("ack").await;
    assert_eq!((attr(&ack, "class").as_deref(), attr(&ack, "id").as_deref()), (Some("message"), Some("M1")));
    let receipt = link.next_tagged("receipt").await;
    assert_eq!((attr(&receipt, "id").as_deref(), attr(&receipt, "from")), (Some("M1"), Some(contact.to_string())));
    let sent = &simulator.messages()[0];
    assert_eq!(
        (sent.text.as_deref(), &sent.from, &sent.to, sent.copies),
        (Some("hello"), &client.address(), &contact, 1)
    );
}

#[tokio::test]
async fn messages_wait_for_a_device_that_is_away_and_come_back_until_they_are_confirmed() {
    let (simulator, client) = linked().await;
    let id = write(&simulator, "while away").await;
    assert_eq!(queued(&simulator), 1);
    for _ in 0..2 {
        let mut link = client.log_in(&simulator).await;
        let (seen, node) = next_message(&mut link).await;
        assert_eq!((seen, attr(&node, "offline").is_some()), (id.clone(), true));
        link.close().await;
    }
    let mut link = client.log_in(&simulator).await;
    next_message(&mut link).await;
    confirm(&mut link, "receipt", &id, &[]).await;
    assert_eq!(queued(&simulator), 0);
    let live = write(&simulator, "live").await;
    let (seen, node) = next_message(&mut link).await;
    assert_eq!((seen, attr(&node, "offline")), (live, None));
}

#[tokio::test]
async fn a_refused_message_is_lost_like_any_confirmed_one_and_counted() {
    let (simulator, client) = linked().await;
    let mut link = client.log_in(&simulator).await;
    let id = write(&simulator, "unreadable").await;
    next_message(&mut link).await;
    confirm(&mut link, "ack", &id, &[("class", "message"), ("error", "500")]).await;
    assert_eq!(queued(&simulator), 0);
    assert_eq!(simulator.counters(Some(PHONE)).unwrap().tally.nacked, 1);
    link.close().await;
    let mut link = client.log_in(&simulator).await;
    while let Some(node) = link.next_within(std::time::Duration::from_millis(100)).await {
        assert_ne!(node.tag, "message");
    }
}

#[tokio::test]
async fn a_retry_receipt_makes_the_sender_encrypt_again_in_a_new_session() {
    let (simulator, client) = linked().await;
    let mut link = client.log_in(&simulator).await;
    let one_time = KeyPair::generate(&mut rand::make_rng::<StdRng>());
    link.upload(&client, &[OneTimeKey { id: 9, value: bytes(&one_time) }]).await;
    let id = write(&simulator, "once more").await;
    let (first_id, first) = loop {
        let (seen, node) = next_message(&mut link).await;
        if seen == id {
            break (seen, node);
        }
    };
    let retry = NodeBuilder::new("retry").attr("count", "1").attr("id", id.as_str()).build();
    let receipt = NodeBuilder::new("receipt")
        .attr("id", id.as_str())
        .attr("type", "retry")
        .attr("to", format!("{CONTACT}@s.whatsapp.net"));
    link.send(&receipt.children([retry]).build()).await;
    let (second_id, second) = next_message(&mut link).await;
    // The acknowledgement of the first delivery must not confirm the second.
    confirm(&mut link, "ack", &id, &[("class", "message")]).await;
    assert_eq!(first_id, second_id);
    let enc = second.get_optional_child("enc").unwrap();
    assert_eq!((attr(enc, "type").as_deref(), attr(enc, "count").as_deref()), (Some("pkmsg"), Some("1")));
    assert_ne!(content(first.get_optional_child("enc").unwrap()), content(enc));
    assert_eq!(
        (queued(&simulator), simulator.counters(Some(PHONE)).unwrap().tally.retry_receipts),
        (2, 1),
        "the key share waits as well"
    );
    confirm(&mut link, "receipt", &id, &[]).await;
    assert_eq!(queued(&simulator), 1);
}

#[tokio::test]
async fn the_keys_in_a_retry_receipt_are_the_ones_that_are_used() {
    let (simulator, client) = linked().await;
    let mut link = client.log_in(&simulator).await;
    let id = write(&simulator, "with your keys").await;
    next_message(&mut link).await;
    let one_time = KeyPair::generate(&mut rand::make_rng::<StdRng>());
    let signed = client.signed_key();
    let key = NodeBuilder::new("key").children([leaf("id", key_id(4711)), leaf("value", bytes(&one_time))]).build();
    let signed_key = [leaf("id", key_id(signed.id)), leaf("value", signed.value), leaf("signature", signed.signature)];
    let keys = [
        leaf("type", [5]),
        leaf("identity", bytes(&client.identity)),
        key,
        NodeBuilder::new("skey").children(signed_key).build(),
    ];
    let children = [
        NodeBuilder::new("retry").attr("count", "2").attr("id", id.as_str()).build(),
        leaf("registration", 77_u32.to_be_bytes()),
        NodeBuilder::new("keys").children(keys).build(),
    ];
    let contact = format!("{CONTACT}@s.whatsapp.net");
    let receipt = NodeBuilder::new("receipt").attr("id", id.as_str()).attr("type", "retry").attr("to", contact);
    link.send(&receipt.children(children).build()).await;
    let (_, again) = next_message(&mut link).await;
    let enc = again.get_optional_child("enc").unwrap();
    let sealed = PreKeySignalMessage::try_from(content(enc).unwrap()).unwrap();
    assert_eq!(sealed.pre_key_id().map(u32::from), Some(4711));
    assert_eq!(attr(enc, "count").as_deref(), Some("2"));
}

#[tokio::test]
async fn a_person_who_cannot_open_a_message_asks_for_it_again() {
    let (simulator, client) = linked().await;
    let mut link = client.log_in(&simulator).await;
    let rng = &mut rand::make_rng::<StdRng>();
    let (mut signal, contact) = session_with(&mut link, CONTACT).await;
    let mut sealed = signal.seal(&contact, &text("garbled"), rng).unwrap();
    let last = sealed.bytes.len() - 70;
    sealed.bytes[last] ^= 1;
    link.send(&message("M1", &contact, sealed.kind, &sealed.bytes)).await;
    let receipt = link.next_tagged("receipt").await;
    assert_eq!((attr(&receipt, "type").as_deref(), attr(&receipt, "id").as_deref()), (Some("retry"), Some("M1")));
    assert!(simulator.messages().is_empty());

    signal.begin_session(&contact, &read_bundle(&receipt, receipt.get_optional_child("keys").unwrap()), rng).unwrap();
    let again = signal.seal(&contact, &text("clear"), rng).unwrap();
    link.send(&message("M1", &contact, again.kind, &again.bytes)).await;
    let query = EventQuery { kind: Some(EventKind::MessageIn), ..EventQuery::default() };
    simulator.wait(&query).await.unwrap();
    assert_eq!(simulator.messages()[0].text.as_deref(), Some("clear"));
}

#[tokio::test]
async fn the_phone_shares_its_app_state_key_once_keys_are_uploaded_and_only_once() {
    let (simulator, client) = linked().await;
    let mut link = client.log_in(&simulator).await;
    assert_eq!(attr(&link.upload(&client, &[]).await, "type").as_deref(), Some("result"));
    let share = link.next_tagged("message").await;
    assert_eq!(attr(&share, "category").as_deref(), Some("peer"));
    assert_eq!(attr(&share, "from").as_deref(), Some("5511999990001@s.whatsapp.net"));
    assert_eq!(attr(share.get_optional_child("enc").unwrap(), "type").as_deref(), Some("pkmsg"));
    link.upload(&client, &[]).await;
    assert_eq!(queued(&simulator), 1);
}

#[tokio::test]
async fn linked_devices_of_other_accounts_are_listed_and_get_what_is_sealed_for_them() {
    let (simulator, client) = linked().await;
    let mut other = Client::new();
    other.pair(&simulator, CONTACT).await;
    let mut link = client.log_in(&simulator).await;
    let query = NodeBuilder::new("query")
        .children([NodeBuilder::new("devices").attr("version", "2").build(), NodeBuilder::new("lid").build()])
        .build();
    let user = NodeBuilder::new("user").attr("jid", other.address().phone.jid()).build();
    let list = NodeBuilder::new("list").children([user]).build();
    let usync = NodeBuilder::new("usync").attr("sid", "1").children([query, list]).build();
    let answer = link.ask(NodeBuilder::new("iq").attr("type", "get").attr("xmlns", "usync").children([usync])).await;
    let user = answer.get_optional_child_by_tag(&["usync", "list", "user"]).unwrap();
    let devices = user.get_optional_child_by_tag(&["devices", "device-list"]).unwrap().children().unwrap();
    assert_eq!(devices.iter().filter_map(|device| attr(device, "id")).collect::<Vec<_>>(), ["0", "1"]);
    assert!(user.get_optional_child_by_tag(&["devices", "key-index-list"]).and_then(content).is_some());
    assert_eq!(attr(user.get_optional_child("lid").unwrap(), "val"), Some(other.address().phone.lid_jid().to_string()));

    link.send(&message("M1", &other.address(), "pkmsg", &[0x33; 40])).await;
    let mut others = other.log_in(&simulator).await;
    let (id, node) = next_message(&mut others).await;
    assert_eq!((id.as_str(), attr(&node, "from")), ("M1", Some(client.address().to_string())));
    assert_eq!(content(node.get_optional_child("enc").unwrap()), Some(&[0x33; 40][..]));
}

#[tokio::test]
async fn what_somebody_writes_to_themselves_is_kept_and_copies_for_the_own_phone_are_not() {
    let (simulator, client) = linked().await;
    let mut link = client.log_in(&simulator).await;
    let rng = &mut rand::make_rng::<StdRng>();
    let (mut signal, phone) = session_with(&mut link, PHONE).await;
    let copy = signal.seal(&phone, &text("a copy"), rng).unwrap();
    let enc = NodeBuilder::new("enc").attr("v", "2").attr("type", copy.kind).bytes(copy.bytes).build();
    let to = NodeBuilder::new("to").attr("jid", phone.jid()).children([enc]).build();
    let participants = NodeBuilder::new("participants").children([to]).build();
    let contact = format!("{CONTACT}@s.whatsapp.net");
    let stanza =
        NodeBuilder::new("message").attr("id", "M1").attr("to", contact).attr("type", "text").children([participants]);
    link.send(&stanza.build()).await;
    let note = signal.seal(&phone, &text("a note"), rng).unwrap();
    link.send(&message("M2", &phone, note.kind, &note.bytes)).await;
    link.ping().await;
    let kept: Vec<_> = simulator.messages().into_iter().map(|message| (message.id, message.text)).collect();
    assert_eq!(kept, [("M2".to_owned(), Some("a note".to_owned()))]);
}
