//! Texts with an `Idempotency-Key`: one message, whatever happens to the engine; and refusals and limits as clients see them.

use std::time::Duration;

use futures_util::future::join_all;
use holdfast_sim::{
    Action, EventKind, EventQuery, FaultRequest, MessageFailure, Options, Rules, SentMessage, Simulator,
};
use serde_json::{Value, json};

use crate::harness::client::Answer;
use crate::harness::engine::{Engine, Home};
use crate::harness::eventually::eventually;
use crate::harness::receiver::Receiver;

const SHOP: &str = "5511999990001";
const ANA: &str = "5511977770001";
const PATH: &str = "/message/sendText/shop";

#[tokio::test(flavor = "multi_thread")]
async fn a_text_whose_engine_was_killed_before_it_left_goes_out_once() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, None).await;

    // While "composing" is shown the request is on disk, and its message has not left.
    let request = json!({ "number": ANA, "text": "once", "delay": 1500 });
    let sending = under_way(&engine, "k", &request);
    let composing = EventQuery { kind: Some(EventKind::ChatState), ..EventQuery::default() };
    sim.wait(&composing).await.unwrap();
    engine.kill_9().await;
    assert!(sending.await.unwrap().is_err());
    assert!(texts(&sim, "once").is_empty(), "it was killed too late");

    let engine = home.start().await;
    engine.reaches("shop", "open").await;
    let sent = once(&engine, "k", &request).await;
    assert_eq!(sent.status, 201, "{sent:?}");
    assert_one_message(&sim, "once", &sent.body).await;
    assert_eq!(once(&engine, "k", &request).await, sent);
    assert_eq!(texts(&sim, "once")[0].copies, 1);
    assert_harmless(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_whose_engine_was_killed_before_the_acknowledgement_arrives_under_one_id() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, None).await;

    ruled(&sim, None);
    let request = json!({ "number": ANA, "text": "once" });
    let sending = under_way(&engine, "k", &request);
    arrived(&sim, "once").await;
    engine.kill_9().await;
    assert!(sending.await.unwrap().is_err());

    let engine = home.start().await;
    engine.reaches("shop", "open").await;
    let sent = once(&engine, "k", &request).await;
    assert_eq!(sent.status, 201, "{sent:?}");
    assert_one_message(&sim, "once", &sent.body).await;
    let again = once(&engine, "k", &json!({ "number": ANA, "text": "twice" })).await;
    assert_eq!((again.status, &again.body["response"]["code"]), (422, &json!("idempotency-key-reused")));
    assert_harmless(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_whose_engine_is_killed_round_about_the_acknowledgement_arrives_under_one_id() {
    const ROUNDS: usize = 6;
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let mut engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, None).await;
    for round in 0..ROUNDS {
        let text = format!("round {round}");
        let request = json!({ "number": ANA, "text": text });
        let sending = under_way(&engine, &text, &request);
        // The acknowledgement leaves the server at the same moment; whether it is still read and its answer kept is a race.
        arrived(&sim, &text).await;
        engine.kill_9().await;
        let before = sending.await.unwrap();

        engine = home.start().await;
        engine.reaches("shop", "open").await;
        let sent = once(&engine, &text, &request).await;
        assert_eq!(sent.status, 201, "{sent:?}");
        if let Ok(before) = before {
            assert_eq!(before, sent, "what was answered once is answered so again");
        }
        assert_one_message(&sim, &text, &sent.body).await;
        assert_eq!(once(&engine, &text, &request).await, sent);
    }
    assert_eq!(sim.messages().len(), ROUNDS);
    assert_harmless(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_texts_with_keys_under_way_at_a_kill_are_one_message_each() {
    const TEXTS: usize = 40;
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, None).await;
    // Some to one person, some to people who were never written to.
    let request = |number: usize| {
        let to = if number.is_multiple_of(2) { ANA.to_owned() } else { format!("55218888{number:05}") };
        json!({ "number": to, "text": format!("text {number}") })
    };
    let sending: Vec<_> = (0..TEXTS).map(|number| under_way(&engine, &number.to_string(), &request(number))).collect();
    arrived(&sim, "text 7").await;
    engine.kill_9().await;
    let before = join_all(sending).await;

    let engine = home.start().await;
    engine.reaches("shop", "open").await;
    let again: Vec<_> = (0..TEXTS).map(|number| under_way(&engine, &number.to_string(), &request(number))).collect();
    for (number, (before, after)) in before.into_iter().zip(join_all(again).await).enumerate() {
        let after = after.unwrap().expect("an answer");
        assert_eq!(after.status, 201, "{after:?}");
        if let Ok(before) = before.unwrap() {
            assert_eq!(before, after, "what was answered once is answered so again");
        }
        assert_one_message(&sim, &format!("text {number}"), &after.body).await;
    }
    assert_eq!(sim.messages().len(), TEXTS);
    assert_harmless(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_does_not_cost_a_request_with_a_key_its_answer() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, None).await;

    for (key, text) in [(Some("k"), "with a key"), (None, "without one")] {
        ruled(&sim, None);
        let request = json!({ "number": ANA, "text": text });
        let sending = if let Some(key) = key {
            under_way(&engine, key, &request)
        } else {
            let (api, request) = (engine.api(), request.clone());
            tokio::spawn(async move { Ok(api.post(PATH, request).await) })
        };
        arrived(&sim, text).await;
        sim.fault(FaultRequest { target: SHOP.to_owned(), action: Action::Rst }).await.unwrap();
        let answer = sending.await.unwrap().unwrap();
        if key.is_some() {
            assert_eq!(answer.status, 201, "{answer:?}");
            assert_one_message(&sim, text, &answer.body).await;
            assert_eq!(texts(&sim, text)[0].copies, 2, "it was sent again, and known by its id");
        } else {
            let said = &answer.body["response"];
            assert_eq!((answer.status, &said["code"]), (400, &json!("message-unconfirmed")));
            assert_eq!(said["messageId"], texts(&sim, text)[0].id.as_str());
            assert_eq!(texts(&sim, text)[0].copies, 1);
        }
        engine.reaches("shop", "open").await;
    }
    assert_harmless(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_whatsapp_is_a_4xx_that_says_what_it_means() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let receiver = Receiver::start();
    let home = Home::new(sim.ws_url());
    let engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, Some(&receiver.url())).await;
    let request = json!({ "number": ANA, "text": "unwanted" });
    ruled(&sim, Some(403));
    let refused = once(&engine, "final", &request).await;
    let said = &refused.body["response"];
    assert_eq!((refused.status, &said["code"], &said["whatsappCode"]), (400, &json!("message-forbidden"), &json!(403)));
    receiver.event("messages.update", |data| data["status"] == "ERROR").await;
    assert_eq!(once(&engine, "final", &request).await, refused, "it is not tried again");

    ruled(&sim, Some(463));
    let request = json!({ "number": ANA, "text": "later" });
    let refused = once(&engine, "passes", &request).await;
    assert_eq!((refused.status, &refused.body["response"]["userAction"]), (400, &json!("open_phone")));
    let sent = once(&engine, "passes", &request).await;
    assert_eq!(sent.status, 201, "{sent:?}");
    assert_one_message(&sim, "later", &sent.body).await;
    assert!(texts(&sim, "unwanted").is_empty());
    assert_harmless(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_sends_no_more_than_its_rate_and_answers_repetitions_all_the_same() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url()).set("SEND_RATE_PER_MINUTE", "2");
    let engine = home.start().await;
    engine.pair(&sim, "shop", SHOP, None).await;
    let request = json!({ "number": ANA, "text": "first" });
    let first = once(&engine, "k", &request).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!(engine.send("shop", ANA, "second").await.status, 201);
    let limited = engine.send("shop", ANA, "third").await;
    assert_eq!((limited.status, &limited.body["response"]["code"]), (429, &json!("send-rate-limited")));
    assert_eq!(once(&engine, "k", &request).await, first, "an answer that is given again sends nothing");
    assert_eq!(sim.messages().len(), 2);
}

/// Lets the next message of anybody be refused with a code, or arrive and never be acknowledged.
fn ruled(sim: &Simulator, code: Option<u16>) {
    let failure = MessageFailure { code, count: Some(1), jid: None };
    sim.set_rules(Rules { message_failure: Some(failure), ..Rules::default() }).expect("the rule holds");
}

fn under_way(engine: &Engine<'_>, key: &str, request: &Value) -> tokio::task::JoinHandle<reqwest::Result<Answer>> {
    let (api, key, request) = (engine.api(), key.to_owned(), request.clone());
    tokio::spawn(async move { api.try_once(&key, PATH, &request).await })
}

async fn once(engine: &Engine<'_>, key: &str, request: &Value) -> Answer {
    engine.api().try_once(key, PATH, request).await.expect("an answer")
}

fn texts(sim: &Simulator, text: &str) -> Vec<SentMessage> {
    sim.messages().into_iter().filter(|message| message.text.as_deref() == Some(text)).collect()
}

async fn arrived(sim: &Simulator, text: &str) {
    let patience = Duration::from_secs(20);
    let arriving = async {
        while texts(sim, text).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(patience, arriving).await.expect("the text arrives");
}

/// Checks that the recipient has one message with this text, under the id that was answered.
async fn assert_one_message(sim: &Simulator, text: &str, answer: &Value) {
    let found = eventually(&format!("the text {text:?}"), || async {
        let found = texts(sim, text);
        (!found.is_empty()).then_some(found)
    })
    .await;
    let ids: Vec<&str> = found.iter().map(|message| message.id.as_str()).collect();
    assert_eq!(ids, [answer["key"]["id"].as_str().expect("an id")]);
}

fn assert_harmless(sim: &Simulator) {
    let counters = sim.counters(None).expect("the counters of everybody");
    assert_eq!((counters.tally.counters_reused, counters.tally.static_mismatches), (0, 0), "{counters:?}");
    assert!(!counters.tally.overlapped, "{counters:?}");
}
