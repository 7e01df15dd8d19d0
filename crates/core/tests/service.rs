//! Supervision and shutdown.

use std::time::Duration;

use holdfast_core::backoff::Backoff;
use holdfast_core::event::EventName;
use holdfast_core::shutdown::{Budgets, Effect, Event, Phase, Shutdown, ShutdownReport};
use holdfast_core::supervision::{CrashRecord, Decision, ExitReason, RestartPolicy};
use holdfast_core::time::Timestamp;
use proptest::prelude::*;

const POLICY: RestartPolicy = RestartPolicy {
    intensity: 3,
    window: Duration::from_secs(60),
    backoff: Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(300) },
    stable_after: Duration::from_secs(300),
};

#[test]
fn a_crashing_child_waits_longer_each_time_and_is_then_quarantined() {
    let mut record = CrashRecord::default();
    let mut now = Timestamp::from_millis(0);
    let mut story = Vec::new();
    for _ in 0..4 {
        let started = now;
        now = now.after(Duration::from_millis(10));
        let decision = record.decide(ExitReason::Panicked, started, now, 1.0, &POLICY);
        if let Decision::RestartAfter(wait) = decision {
            now = now.after(wait);
        }
        story.push(decision);
    }
    let after = |secs| Decision::RestartAfter(Duration::from_secs(secs));
    assert_eq!(story, [after(1), after(2), after(4), Decision::Quarantine]);
}

#[test]
fn an_end_on_purpose_is_no_crash() {
    let mut record = CrashRecord::default();
    for _ in 0..100 {
        for reason in [ExitReason::Normal, ExitReason::Shutdown] {
            let now = Timestamp::from_millis(1);
            assert_eq!(record.decide(reason, now, now, 0.5, &POLICY), Decision::Leave);
        }
    }
    assert_eq!(record.recent(), 0);
}

#[test]
fn crashes_far_apart_never_lead_to_quarantine() {
    let mut record = CrashRecord::default();
    let mut now = Timestamp::from_millis(0);
    for _ in 0..1_000 {
        let started = now;
        now = now.after(Duration::from_secs(301));
        let decision = record.decide(ExitReason::Failed, started, now, 1.0, &POLICY);
        assert_eq!(decision, Decision::RestartAfter(Duration::from_secs(1)));
    }
}

#[test]
fn a_shutdown_goes_through_its_phases_in_order() {
    let mut machine = Shutdown::new(Budgets::within(Duration::from_secs(30)));
    let mut entered = Vec::new();
    let mut report = None;
    let mut events = vec![Event::Booted, Event::Begin];
    while !events.is_empty() {
        let event = events.remove(0);
        let (next, effects) = machine.step(event, Timestamp::from_millis(5));
        machine = next;
        for effect in effects {
            match effect {
                Effect::Enter { phase, .. } => {
                    entered.push(phase);
                    events.push(Event::PhaseDone { phase, forced: vec![] });
                }
                Effect::Exit(done) => report = Some(done),
            }
        }
    }
    assert_eq!(entered, [Phase::Quiescing, Phase::Draining, Phase::Flushing, Phase::Closing]);
    assert_eq!(report, Some(ShutdownReport { clean: true, took_ms: 0, forced: vec![] }));
}

#[test]
fn a_shutdown_in_which_nobody_answers_ends_all_the_same_and_says_what_was_forced() {
    let total = Duration::from_secs(30);
    let (mut machine, _) = Shutdown::new(Budgets::within(total)).step(Event::Booted, Timestamp::from_millis(0));
    let (next, _) = machine.step(Event::Begin, Timestamp::from_millis(0));
    machine = next;
    let mut report = None;
    while let Some(due) = machine.deadline() {
        let (next, effects) = machine.step(Event::Elapsed, due);
        machine = next;
        report =
            effects.into_iter().find_map(|effect| if let Effect::Exit(report) = effect { Some(report) } else { None });
    }
    let report = report.unwrap();
    assert!(!report.clean);
    assert_eq!(report.forced.len(), 4);
    assert!(Duration::from_millis(report.took_ms) <= Duration::from_secs(25));
}

#[test]
fn a_second_signal_forces() {
    let (machine, _) =
        Shutdown::new(Budgets::within(Duration::from_secs(30))).step(Event::Begin, Timestamp::from_millis(0));
    let (machine, effects) = machine.step(Event::Force, Timestamp::from_millis(7));
    assert_eq!(machine.phase(), Phase::Stopped);
    assert!(matches!(&effects[..], [Effect::Exit(ShutdownReport { clean: false, .. })]));
}

#[test]
fn every_event_is_found_again_by_its_names() {
    for name in EventName::ALL {
        assert_eq!(EventName::from_key(name.key()), Some(*name));
        assert_eq!(EventName::from_dotted(name.dotted()), Some(*name));
    }
    assert_eq!(EventName::from_key("GROUP_UPDATE"), Some(EventName::GroupsUpdate));
    assert_eq!(EventName::MessagesUpsert.suffix(), "messages-upsert");
}

proptest! {
    #[test]
    fn budgets_leave_a_margin(seconds in 3_u64..600) {
        let total = Duration::from_secs(seconds);
        prop_assert!(Budgets::within(total).total() <= total * 5 / 6);
    }
}
