//! Files, which Baileys sends and fetches over TLS.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_sim::{EventKind, EventQuery, ExpireRequest, Options, Simulator};
use serde_json::json;

use crate::client::Baileys;

const OTHER: &str = "5511999990022";

#[tokio::test(flavor = "multi_thread")]
async fn baileys_sends_a_file_to_another_baileys_over_tls_until_it_expires() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Some(folder.path().join("authority.pem"));
    let simulator = Simulator::start(Options { tls, ..Options::default() }).await.unwrap();
    let mut sender = Baileys::linked(&simulator, "5511999990021", &[]).await;
    let mut receiver = Baileys::linked(&simulator, OTHER, &[]).await;
    let content = STANDARD.encode(vec![7; 20_000]);
    let file = json!({ "media": { "to": OTHER, "kind": "document", "base64": content, "mimetype": "text/plain" } });
    sender.ask(file.clone(), "sent").await;
    let stored = simulator.media();
    assert!(stored.len() == 1 && stored[0].bytes > 20_000, "{stored:?}");

    let message = receiver.next("message").await["id"].clone();
    let downloaded = receiver.ask(json!({ "download": message }), "downloaded").await;
    assert_eq!(downloaded["base64"], content);

    // Baileys keeps a token for as long as it was told to, and gives up when it has expired before.
    assert!(simulator.expire_media(ExpireRequest { auth: true, blobs: false }).auth);
    let error = sender.ask(file, "error").await["message"].clone();
    assert_eq!(error, "Media upload failed on all hosts");
    assert_eq!(simulator.expire_media(ExpireRequest { auth: false, blobs: true }).blobs, 1);
    let before = simulator.last_event();
    receiver.tell(json!({ "download": message })).await;
    let refused = EventQuery { kind: Some(EventKind::MediaRefused), since: Some(before), ..EventQuery::default() };
    assert_eq!(simulator.wait(&refused).await.unwrap().detail["status"], 410);
    sender.talks(&simulator).await;
    sender.is_blameless(&simulator, 1);
}
