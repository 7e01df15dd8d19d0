use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::Actor;
use async_trait::async_trait;
use holdfast_core::delivery::{Outcome, RetryPolicy};
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::protocol::Flush;
use super::{DispatcherActor, DispatcherParts};
use crate::actors::testing::store::MemoryStore;
use crate::ports::clock::Clock;
use crate::ports::outbox::Delivery;
use crate::ports::sink::Sink;

#[actix::test]
async fn deliveries_of_an_instance_keep_their_order_and_instances_do_not_wait_for_each_other() {
    let stage = Stage::start(HashMap::from([("slow", Duration::from_secs(5))]), vec![]);
    for number in 0..3 {
        stage.store.queue("slow", &format!("s{number}"));
        stage.store.queue("quick", &format!("q{number}"));
    }
    sleep(Duration::from_secs(30)).await;
    assert_eq!(stage.received(), ["quick q0", "quick q1", "quick q2", "slow s0", "slow s1", "slow s2"]);
}

#[actix::test]
async fn a_final_answer_makes_a_dead_letter_and_the_next_delivery_goes_on() {
    let stage = Stage::start(HashMap::new(), vec![Outcome::Status(404)]);
    stage.store.queue("shop", "refused");
    stage.store.queue("shop", "taken");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(stage.received(), ["shop refused", "shop taken"]);
    assert_eq!(stage.store.dead(), 1);
}

#[actix::test]
async fn what_was_delivered_while_the_outbox_was_read_is_not_delivered_again() {
    let stage = Stage::start(HashMap::from([("shop", Duration::from_millis(700))]), vec![]);
    stage.store.slow_looks();
    for number in 0..10 {
        stage.store.queue("shop", &format!("m{number}"));
        sleep(Duration::from_millis(300)).await;
    }
    sleep(Duration::from_secs(60)).await;
    let expected: Vec<String> = (0..10).map(|number| format!("shop m{number}")).collect();
    assert_eq!(stage.received(), expected);
}

#[actix::test]
async fn an_outage_of_the_database_is_waited_out() {
    let stage = Stage::start(HashMap::new(), vec![]);
    stage.store.set_down(true);
    stage.store.queue("shop", "later");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(stage.received(), Vec::<String>::new());
    stage.store.set_down(false);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(stage.received(), ["shop later"]);
}

#[actix::test]
async fn a_flush_lets_deliveries_under_way_end_and_begins_no_other() {
    let stage = Stage::start(HashMap::from([("slow", Duration::from_secs(2))]), vec![]);
    stage.store.queue("slow", "first");
    stage.store.queue("slow", "second");
    sleep(Duration::from_secs(1)).await;
    let forced = stage.dispatcher.send(Flush { within: Duration::from_secs(5) }).await.unwrap();
    assert_eq!(forced, Vec::<String>::new());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(stage.received(), ["slow first"]);
}

struct Stage {
    dispatcher: actix::Addr<DispatcherActor>,
    store: Arc<MemoryStore>,
    sink: Arc<ScriptedSink>,
}

impl Stage {
    fn start(delays: HashMap<&'static str, Duration>, outcomes: Vec<Outcome>) -> Self {
        tokio::time::pause();
        let store = Arc::new(MemoryStore::default());
        let sink = Arc::new(ScriptedSink { delays, outcomes: Mutex::new(outcomes), received: Mutex::default() });
        let dispatcher = DispatcherActor::new(DispatcherParts {
            store: store.clone(),
            sink: sink.clone(),
            policy: RetryPolicy::default(),
            clock: Clock::start(),
            runtime: Handle::current(),
        })
        .start();
        Self { dispatcher, store, sink }
    }

    fn received(&self) -> Vec<String> {
        self.sink.received.lock().unwrap().clone()
    }
}

/// Takes a time for each instance, and answers as planned, then well.
struct ScriptedSink {
    delays: HashMap<&'static str, Duration>,
    outcomes: Mutex<Vec<Outcome>>,
    received: Mutex<Vec<String>>,
}

#[async_trait]
impl Sink for ScriptedSink {
    fn name(&self) -> &'static str {
        "scripted"
    }

    async fn deliver(&self, delivery: &Delivery) -> Outcome {
        let delay = self.delays.get(delivery.instance_name.as_str()).copied().unwrap_or_default();
        sleep(delay).await;
        let text = delivery.event.data["text"].as_str().unwrap_or_default();
        self.received.lock().unwrap().push(format!("{} {text}", delivery.instance_name));
        self.outcomes.lock().unwrap().pop().unwrap_or(Outcome::Delivered)
    }
}
