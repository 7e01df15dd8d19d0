use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::Actor;
use async_trait::async_trait;
use holdfast_core::delivery::{Outcome, RetryPolicy};
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::protocol::{Flush, GetSinkStatus, TargetStatus};
use super::{DispatcherActor, DispatcherParts};
use crate::actors::testing::store::MemoryStore;
use crate::ports::address;
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
    let stage = Stage::start(HashMap::new(), vec![Outcome::Status { code: 404, retry_after: None }]);
    stage.store.queue("shop", "refused");
    stage.store.queue("shop", "taken");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(stage.received(), ["shop refused", "shop taken"]);
    assert_eq!(stage.store.dead(), ["refused: the receiver answered 404, which is not retried"]);
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

#[actix::test]
async fn a_target_that_is_down_for_hours_costs_no_delivery_and_gets_everything_in_order() {
    let stage = Stage::start(HashMap::new(), vec![]);
    stage.sink.set_down("http://127.0.0.1:1", true);
    for number in 0..20 {
        stage.store.queue("a", &format!("a{number}"));
        stage.store.queue("b", &format!("b{number}"));
    }
    sleep(Duration::from_secs(6 * 3600)).await;
    let target = stage.target().await;
    assert_eq!((target.breaker, stage.received().len()), ("open", 0));
    let tries = stage.sink.tries();
    assert!((6 * 60..6 * 60 * 3).contains(&tries), "{tries} tries in six hours: one a minute or so");
    assert!(stage.store.tries().iter().all(|(_, attempts)| *attempts == 0), "{:?}", stage.store.tries());

    stage.sink.set_down("http://127.0.0.1:1", false);
    sleep(Duration::from_secs(120)).await;
    for name in ["a", "b"] {
        let expected: Vec<String> = (0..20).map(|number| format!("{name} {name}{number}")).collect();
        let received: Vec<String> = stage.received().into_iter().filter(|one| one.starts_with(name)).collect();
        assert_eq!(received, expected);
    }
    assert_eq!((stage.store.dead(), stage.target().await.breaker), (Vec::<String>::new(), "closed"));
}

#[actix::test]
async fn after_an_outage_one_probe_goes_before_all_others() {
    let stage = Stage::start(HashMap::new(), vec![]);
    stage.sink.set_down("http://127.0.0.1:1", true);
    for number in 0..30 {
        stage.store.queue(&format!("i{number:02}"), "m");
    }
    sleep(Duration::from_secs(600)).await;
    let probes = stage.sink.tries();
    stage.sink.set_delay(Duration::from_secs(3));
    stage.sink.set_down("http://127.0.0.1:1", false);
    while stage.sink.tries() == probes {
        sleep(Duration::from_millis(100)).await;
    }
    sleep(Duration::from_secs(2)).await;
    assert_eq!((stage.sink.tries(), stage.target().await.breaker), (probes + 1, "half-open"), "one, and then no other");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(stage.sink.tries(), probes + 1 + 16, "then as many as one target may have");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(stage.received().len(), 30);
}

#[actix::test]
async fn a_slow_target_with_many_instances_does_not_slow_the_others() {
    let stage = Stage::start(HashMap::new(), vec![]);
    stage.sink.set_slow("http://slow.test", Duration::from_secs(30));
    for number in 0..200 {
        stage.store.queue_to("http://slow.test/x", &format!("slow{number}"), "m", i64::MAX);
    }
    sleep(Duration::from_secs(1)).await;
    for number in 0..100 {
        stage.store.queue_to("http://quick.test/x", "quick", &format!("q{number}"), i64::MAX);
    }
    sleep(Duration::from_secs(1)).await;
    let expected: Vec<String> = (0..100).map(|number| format!("quick q{number}")).collect();
    assert_eq!(stage.received(), expected);
}

#[actix::test]
async fn a_message_that_a_living_target_chokes_on_is_given_up_and_the_rest_follows() {
    let stage = Stage::start(HashMap::new(), vec![]);
    stage.sink.choke_on("poison");
    stage.store.queue("shop", "poison");
    stage.store.queue("shop", "after");
    // Others show that the target lives.
    for number in 0..400 {
        stage.store.queue("other", &format!("o{number}"));
        sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(stage.store.dead(), ["poison: it hangs; given up after 10 attempts"]);
    assert!(stage.received().contains(&"shop after".to_owned()));
}

#[actix::test]
async fn what_is_too_old_makes_way_for_the_rest_of_its_instance() {
    let stage = Stage::start(HashMap::new(), vec![]);
    stage.sink.choke_on("poison");
    let now_ms = stage.clock.wall().timestamp_millis();
    stage.store.queue_to("http://127.0.0.1:1/", "shop", "poison", now_ms);
    stage.store.queue_to("http://127.0.0.1:1/", "shop", "as old", now_ms);
    stage.store.queue_to("http://127.0.0.1:1/", "shop", "younger", now_ms + 3_600_000);
    sleep(Duration::from_secs(71 * 3600)).await;
    assert_eq!((stage.store.dead(), stage.received()), (vec![], vec![]));
    sleep(Duration::from_secs(3600 + 180)).await;
    assert_eq!(stage.store.dead(), ["poison: it hangs; given up after 72 hours"]);
    assert_eq!(stage.received(), ["shop younger"], "what had waited as long went along");
}

#[actix::test]
async fn a_row_that_cannot_be_read_is_put_aside_and_the_next_one_goes_on() {
    let stage = Stage::start(HashMap::new(), vec![]);
    stage.store.queue("shop", "spoilt");
    stage.store.spoil();
    stage.store.queue("shop", "fine");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(
        (stage.store.dead(), stage.received()),
        (vec!["spoilt: planned".to_owned()], vec!["shop fine".to_owned()])
    );
}

#[actix::test]
async fn a_sink_that_crashes_over_a_delivery_does_not_spin() {
    let stage = Stage::start(HashMap::new(), vec![]);
    stage.sink.crash_on("cursed");
    stage.store.queue("shop", "cursed");
    stage.store.queue("shop", "fine");
    sleep(Duration::from_secs(2 * 3600)).await;
    assert_eq!(stage.sink.tries(), 10 + 1);
    assert_eq!(stage.received(), ["shop fine"]);
    assert!(stage.store.dead()[0].contains("an internal error"), "{:?}", stage.store.dead());
}

#[actix::test]
async fn a_changed_target_is_not_judged_by_the_old_one() {
    let stage = Stage::start(HashMap::new(), vec![]);
    stage.sink.set_down("http://down.test", true);
    stage.store.queue_to("http://down.test/x", "shop", "m", i64::MAX);
    sleep(Duration::from_secs(600)).await;
    stage.store.move_to("http://up.test/x");
    sleep(Duration::from_secs(61)).await;
    assert_eq!(stage.received(), ["shop m"]);
}

struct Stage {
    dispatcher: actix::Addr<DispatcherActor>,
    clock: Clock,
    store: Arc<MemoryStore>,
    sink: Arc<ScriptedSink>,
}

impl Stage {
    fn start(delays: HashMap<&'static str, Duration>, outcomes: Vec<Outcome>) -> Self {
        tokio::time::pause();
        let clock = Clock::steady();
        let store = Arc::new(MemoryStore::default());
        let sink = Arc::new(ScriptedSink { delays, outcomes: Mutex::new(outcomes), ..ScriptedSink::default() });
        let dispatcher = DispatcherActor::new(DispatcherParts {
            store: store.clone(),
            sink: sink.clone(),
            policy: RetryPolicy::default(),
            clock,
            runtime: Handle::current(),
        })
        .start();
        Self { dispatcher, clock, store, sink }
    }

    fn received(&self) -> Vec<String> {
        self.sink.received.lock().unwrap().clone()
    }

    /// What is known of the only target.
    async fn target(&self) -> TargetStatus {
        let mut status = self.dispatcher.send(GetSinkStatus).await.unwrap();
        assert_eq!(status.targets.len(), 1, "{status:?}");
        status.targets.remove(0)
    }
}

/// Takes a time for each instance, and answers as planned, then well.
#[derive(Default)]
struct ScriptedSink {
    delays: HashMap<&'static str, Duration>,
    outcomes: Mutex<Vec<Outcome>>,
    received: Mutex<Vec<String>>,
    plan: Mutex<Plan>,
}

#[derive(Default)]
struct Plan {
    tries: usize,
    delay: Duration,
    down: HashSet<String>,
    slow: HashMap<String, Duration>,
    chokes_on: Option<&'static str>,
    crashes_on: Option<&'static str>,
}

impl ScriptedSink {
    fn set_down(&self, origin: &str, down: bool) {
        let mut plan = self.plan.lock().unwrap();
        if down {
            plan.down.insert(origin.to_owned())
        } else {
            plan.down.remove(origin)
        };
    }

    fn set_slow(&self, origin: &str, delay: Duration) {
        self.plan.lock().unwrap().slow.insert(origin.to_owned(), delay);
    }

    fn set_delay(&self, delay: Duration) {
        self.plan.lock().unwrap().delay = delay;
    }

    fn choke_on(&self, text: &'static str) {
        self.plan.lock().unwrap().chokes_on = Some(text);
    }

    fn crash_on(&self, text: &'static str) {
        self.plan.lock().unwrap().crashes_on = Some(text);
    }

    fn tries(&self) -> usize {
        self.plan.lock().unwrap().tries
    }
}

#[async_trait]
impl Sink for ScriptedSink {
    fn name(&self) -> &'static str {
        "scripted"
    }

    async fn deliver(&self, delivery: &Delivery) -> Outcome {
        let origin = address::origin(&delivery.target.url);
        let text = delivery.event.data["text"].as_str().unwrap_or_default();
        let (delay, down, chokes, crashes) = {
            let mut plan = self.plan.lock().unwrap();
            plan.tries += 1;
            let slow = plan.slow.get(origin.as_str()).copied().unwrap_or(plan.delay);
            (slow, plan.down.contains(origin.as_str()), plan.chokes_on == Some(text), plan.crashes_on == Some(text))
        };
        sleep(self.delays.get(delivery.instance_name.as_str()).copied().unwrap_or(delay)).await;
        assert!(!crashes, "planned");
        if down {
            return Outcome::Unreachable("nobody listens".to_owned());
        }
        if chokes {
            return Outcome::Unreachable("it hangs".to_owned());
        }
        self.received.lock().unwrap().push(format!("{} {text}", delivery.instance_name));
        self.outcomes.lock().unwrap().pop().unwrap_or(Outcome::Delivered)
    }
}
