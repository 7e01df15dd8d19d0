//! The life of one delivery, and the breaker of its target.

use std::time::Duration;

use holdfast_core::backoff::Backoff;
use holdfast_core::delivery::breaker::{Admission, Breaker, BreakerPolicy, Change, Said};
use holdfast_core::delivery::{Next, Outcome, Past, RetryPolicy};
use holdfast_core::time::Timestamp;
use proptest::prelude::*;

const NEW: Past = Past { attempts: 0, age: Duration::ZERO };
const DOWN: Said = Said::AtFault { retry_after: None };
const POLICY: BreakerPolicy =
    BreakerPolicy { threshold: 3, backoff: Backoff { base: Duration::from_secs(4), cap: Duration::from_secs(60) } };

fn status(code: u16) -> Outcome {
    Outcome::Status { code, retry_after: None }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

#[test]
fn what_a_try_tells_about_its_target() {
    for code in [429, 502, 503, 504] {
        assert_eq!(status(code).said(), DOWN, "{code}");
    }
    for code in [301, 307, 400, 401, 404, 408, 410, 418, 500, 501, 505, 599] {
        assert_eq!(status(code).said(), Said::Alive, "{code}");
    }
    assert_eq!(Outcome::Delivered.said(), Said::Alive);
    assert_eq!(Outcome::Unreachable("refused".into()).said(), DOWN);
    assert_eq!(Outcome::Unsendable("no URL".into()).said(), Said::Nothing);
}

#[test]
fn deliveries_follow_the_retry_policy() {
    let policy = RetryPolicy::default();
    assert_eq!(policy.decide(&Outcome::Delivered, NEW, true, 0.5), Next::Done);
    assert!(matches!(policy.decide(&status(404), NEW, true, 0.5), Next::Dead { too_old: false, counts: true, .. }));
    let waits: Vec<u64> = (0..9)
        .filter_map(|attempts| match policy.decide(&status(500), Past { attempts, ..NEW }, true, 0.5) {
            Next::Retry { after, counts: true, .. } => Some(after.as_secs()),
            Next::Retry { .. } | Next::Done | Next::Dead { .. } => None,
        })
        .collect();
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    let last = Past { attempts: 9, ..NEW };
    for outcome in [status(500), Outcome::Unsendable("no URL".into()), Outcome::Unreachable("refused".into())] {
        let Next::Dead { why, too_old: false, .. } = policy.decide(&outcome, last, true, 0.5) else {
            panic!("{outcome:?}")
        };
        assert!(why.ends_with("; given up after 10 attempts"), "{why}");
    }
}

#[test]
fn while_the_target_is_down_no_attempt_is_used_up() {
    let policy = RetryPolicy::default();
    let last = Past { attempts: 9, ..NEW };
    for outcome in [status(503), status(429), Outcome::Unreachable("refused".into())] {
        assert!(matches!(policy.decide(&outcome, last, false, 0.5), Next::Retry { counts: false, .. }), "{outcome:?}");
    }
    // That the target is down says nothing about a message that it answers to, or that never left.
    for outcome in [status(500), Outcome::Unsendable("no URL".into())] {
        assert!(matches!(policy.decide(&outcome, last, false, 0.5), Next::Dead { counts: true, .. }), "{outcome:?}");
    }
}

#[test]
fn what_is_too_old_is_given_up_only_after_a_try_that_failed() {
    let policy = RetryPolicy::default();
    let old = Past { attempts: 0, age: Duration::from_secs(72 * 3600) };
    let young = Past { attempts: 0, age: Duration::from_secs(72 * 3600 - 1) };
    assert_eq!(policy.decide(&Outcome::Delivered, old, false, 0.5), Next::Done);
    let refused = Outcome::Unreachable("refused".into());
    assert!(matches!(policy.decide(&refused, young, false, 0.5), Next::Retry { .. }));
    let Next::Dead { too_old: true, why, .. } = policy.decide(&refused, old, false, 0.5) else { panic!("it goes on") };
    assert_eq!(why, "refused; given up after 72 hours");
    for about_the_message in [status(500), Outcome::Unsendable("no URL".into())] {
        assert!(matches!(policy.decide(&about_the_message, old, false, 0.5), Next::Retry { counts: true, .. }));
    }
}

#[test]
fn a_target_that_says_when_to_come_again_is_waited_for_up_to_the_longest_wait() {
    let policy = RetryPolicy::default();
    for (asked, expected) in [(2, 5), (30, 30), (86_400, 300)] {
        let outcome = Outcome::Status { code: 429, retry_after: Some(Duration::from_secs(asked)) };
        let Next::Retry { after, .. } = policy.decide(&outcome, NEW, true, 0.5) else { panic!("no retry") };
        assert_eq!(after, Duration::from_secs(expected), "{asked}");
    }
}

#[test]
fn the_breaker_is_this_table() {
    let closed = |failures, proven| Breaker::Closed { failures, proven };
    let open = |until, failures, probes| Breaker::Open { since: at(100), until: at(until), failures, probes };
    let open_at = |until, failures, probes| Breaker::Open {
        since: at(100),
        until: Timestamp::from_millis(until),
        failures,
        probes,
    };
    let half = |failures, probes| Breaker::HalfOpen { since: at(100), failures, probes };
    let later = Said::AtFault { retry_after: Some(Duration::from_secs(30)) };
    let never = Said::AtFault { retry_after: Some(Duration::from_secs(86_400)) };
    // Jitter 1: the whole ceiling. All at second 100.
    let table = [
        (closed(0, false), Said::Alive, false, closed(0, true), None),
        (closed(2, true), Said::Alive, false, closed(0, true), None),
        (closed(0, true), DOWN, false, closed(1, true), None),
        (closed(1, true), Said::Nothing, false, closed(1, true), None),
        (closed(2, true), DOWN, false, open(104, 3, 0), Some(Change::Opened)),
        (closed(2, false), later, false, open(130, 3, 0), Some(Change::Opened)),
        (closed(2, true), never, false, open(160, 3, 0), Some(Change::Opened)),
        // Tries from before it opened.
        (open(104, 3, 0), DOWN, false, open(104, 4, 0), None),
        (open(104, 3, 0), later, false, open(130, 4, 0), None),
        (open(104, 3, 0), Said::Nothing, false, open(104, 3, 0), None),
        (open(104, 3, 0), Said::Alive, false, closed(0, true), Some(Change::Closed)),
        (half(3, 0), DOWN, false, half(4, 0), None),
        (half(3, 0), Said::Alive, false, closed(0, true), Some(Change::Closed)),
        (half(3, 0), Said::Nothing, false, half(3, 0), None),
        // The probe.
        (half(3, 0), DOWN, true, open(108, 4, 1), None),
        (half(5, 2), DOWN, true, open(132, 6, 3), None),
        (half(9, 20), DOWN, true, open(160, 10, 21), None),
        (half(3, 1), Said::Nothing, true, open_at(100_400, 3, 1), None),
        (half(3, 1), Said::Alive, true, closed(0, true), Some(Change::Closed)),
    ];
    for (before, said, probe, after, change) in table {
        let now = at(100);
        assert_eq!(before.heard(said, probe, POLICY, now, 1.0), (after, change), "{before:?} {said:?} {probe}");
    }
}

#[test]
fn an_open_breaker_lets_one_probe_through_when_its_time_has_come() {
    let open = Breaker::Open { since: at(1), until: at(10), failures: 3, probes: 0 };
    assert_eq!(open.admits(at(9)), Admission::Nothing { until: Some(at(10)) });
    assert_eq!(open.admits(at(10)), Admission::Probe);
    assert_eq!(open.probing().admits(at(99)), Admission::Nothing { until: None });
    assert_eq!(Breaker::default().admits(at(0)), Admission::Free);
}

#[test]
fn only_a_target_that_has_answered_makes_failures_count() {
    let (mut breaker, mut counted) = (Breaker::default(), Vec::new());
    for said in [DOWN, DOWN, Said::Alive, DOWN, DOWN, DOWN] {
        breaker = breaker.heard(said, false, POLICY, at(1), 0.5).0;
        counted.push(breaker.counts());
    }
    assert_eq!(counted, [false, false, true, true, true, false], "the one that opens it belongs to the outage");
}

#[test]
fn the_breaker_opens_before_a_message_has_used_its_attempts_up() {
    for (attempts, threshold) in [(1, 1), (2, 1), (3, 2), (5, 4), (6, 5), (10, 5), (1000, 5)] {
        let policy = RetryPolicy { max_attempts: attempts, ..RetryPolicy::default() };
        assert_eq!(BreakerPolicy::of(&policy).threshold, threshold, "{attempts}");
    }
}

fn said() -> impl Strategy<Value = Said> {
    let asked = proptest::option::of((0_u64..200).prop_map(Duration::from_secs));
    prop_oneof![Just(Said::Alive), Just(Said::Nothing), asked.prop_map(|retry_after| Said::AtFault { retry_after }),]
}

proptest! {
    #[test]
    fn a_retry_never_comes_early(attempt in 1_u32..50, jitter in 0.0_f64..=1.0) {
        let policy = RetryPolicy::default();
        prop_assert!(policy.wait(attempt, jitter) >= policy.initial);
        prop_assert!(policy.wait(attempt, jitter) <= policy.max.mul_f64(1.0 + policy.jitter_factor));
    }

    #[test]
    fn a_breaker_never_waits_longer_than_its_cap_and_always_closes_on_an_answer(
        story in proptest::collection::vec((said(), any::<bool>(), 0_u64..100, 0.0_f64..=1.0), 1..60),
    ) {
        let (mut breaker, mut now) = (Breaker::default(), at(0));
        for (said, probe, passed, jitter) in story {
            now = now.after(Duration::from_secs(passed));
            if breaker.admits(now) == Admission::Probe {
                breaker = breaker.probing();
            }
            let was_open = breaker.since().is_some();
            let (after, change) = breaker.heard(said, probe, POLICY, now, jitter);
            if let Some(until) = after.until() {
                prop_assert!(now.until(until) <= POLICY.backoff.cap);
            }
            if said == Said::Alive {
                prop_assert_eq!(after, Breaker::Closed { failures: 0, proven: true });
            }
            let is_open = after.since().is_some();
            prop_assert_eq!(change, match (was_open, is_open) {
                (false, true) => Some(Change::Opened),
                (true, false) => Some(Change::Closed),
                (false, false) | (true, true) => None,
            });
            breaker = after;
        }
    }
}
