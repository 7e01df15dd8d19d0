//! When an instance is asked for proof of life, and when its claim is not believed.

use std::time::Duration;

use holdfast_core::connection::Phase;
use holdfast_core::health::{Due, GRACE, Watchdog, mismatch};
use holdfast_core::id::{Generation, InstanceId};
use holdfast_core::status::InstanceStatus;
use holdfast_core::time::Timestamp;
use proptest::prelude::*;

const INTERVAL: Duration = Duration::from_secs(30);
const WINDOW: Duration = Duration::from_secs(40);

fn at(secs: u64) -> Timestamp {
    Timestamp::from_millis(secs * 1000)
}

fn id(name: &str) -> InstanceId {
    InstanceId::new(name)
}

fn proven(watchdog: &mut Watchdog, name: &str, generation: u64, proof: Timestamp) {
    let (ping, stale) = (proof.after(INTERVAL), proof.after(WINDOW));
    watchdog.proven(&id(name), Generation(generation), Some(ping), Some(stale));
}

fn watching(name: &str) -> Watchdog {
    let mut watchdog = Watchdog::new(INTERVAL);
    watchdog.watch(id(name), Generation(1));
    watchdog
}

#[test]
fn s22_a_new_generation_starts_from_its_own_proof() {
    let mut watchdog = watching("shop");
    proven(&mut watchdog, "shop", 1, at(0));
    // An hour of silence, then a new actor: what the old one had to prove is no matter of the new one.
    watchdog.watch(id("shop"), Generation(2));
    assert_eq!((watchdog.deadline(), watchdog.take_due(at(3_600))), (None, vec![]));
    proven(&mut watchdog, "shop", 1, at(0));
    assert_eq!(watchdog.deadline(), None, "late word of the old one changes nothing");
    proven(&mut watchdog, "shop", 2, at(3_600));
    assert_eq!(watchdog.deadline(), Some(at(3_630)));
}

#[test]
fn a_ping_is_due_one_interval_after_the_last_proof_and_the_claim_is_looked_at_after_the_window() {
    let mut watchdog = watching("shop");
    proven(&mut watchdog, "shop", 1, at(0));
    assert_eq!(watchdog.take_due(Timestamp::from_millis(29_999)), []);
    assert_eq!(watchdog.take_due(at(30)), [Due::Ping(id("shop"))]);
    assert_eq!(watchdog.take_due(at(40)), [], "the instance acts first");
    assert_eq!(watchdog.take_due(at(40).after(GRACE)), [Due::Look(id("shop"))]);
    assert_eq!(watchdog.take_due(at(60)), [Due::Ping(id("shop"))], "a question that was lost is asked again");
}

#[test]
fn a_proof_re_arms_both_and_a_lost_link_disarms_both() {
    let mut watchdog = watching("shop");
    for proof in 0..10 {
        proven(&mut watchdog, "shop", 1, at(proof * 20));
        assert_eq!(watchdog.take_due(at(proof * 20 + 19)), []);
    }
    watchdog.proven(&id("shop"), Generation(1), None, None);
    assert_eq!(watchdog.deadline(), None);
    proven(&mut watchdog, "shop", 1, at(500));
    assert!(!watchdog.unwatch(&id("shop"), Generation(9)));
    assert!(watchdog.unwatch(&id("shop"), Generation(1)));
    assert_eq!(watchdog.take_due(at(9_999)), []);
}

#[test]
fn only_a_claim_whose_proof_has_run_out_is_a_mismatch() {
    for (phase, fresh_until, now, expected) in [
        (Phase::Online, Some(40), 39, None),
        (Phase::Online, Some(40), 40, Some(Phase::Suspect)),
        (Phase::Suspect, Some(40), 50, None),
        (Phase::BackingOff, None, 50, None),
        (Phase::Parked, None, 50, None),
    ] {
        let mut status = InstanceStatus::without_actor(phase, at(0), true, false);
        status.fresh_until = fresh_until.map(at);
        let corrected = mismatch(&status, at(now));
        assert_eq!(corrected.as_ref().map(|status| status.phase), expected, "{phase:?} at {now}");
        if let Some(corrected) = corrected {
            assert_eq!(corrected.explanation_at(at(now)).map(|why| why.code), Some("proof-overdue"));
        }
    }
}

proptest! {
    /// Whatever is proven when: nobody is asked before its interval is over, and everybody who proves nothing is asked and looked at.
    #[test]
    fn nobody_is_asked_too_early_or_forgotten(proofs in prop::collection::vec((0_u8..4, 0_u64..90), 1..60)) {
        let mut watchdog = Watchdog::new(INTERVAL);
        let (mut last, mut looked) = ([None::<u64>; 4], [true; 4]);
        let mut now = 0;
        for name in 0..4 {
            watchdog.watch(id(&name.to_string()), Generation(1));
        }
        for (name, wait) in proofs {
            now += wait;
            for due in watchdog.take_due(at(now)) {
                let (asked, least) = match &due {
                    Due::Ping(id) => (id, 30),
                    Due::Look(id) => (id, 40),
                };
                let asked = asked.as_str().parse::<usize>().unwrap();
                looked[asked] |= matches!(due, Due::Look(_));
                let proof = last[asked].expect("only who has proven something");
                prop_assert!(now >= proof + least);
            }
            proven(&mut watchdog, &name.to_string(), 1, at(now));
            (last[usize::from(name)], looked[usize::from(name)]) = (Some(now), false);
        }
        for due in watchdog.take_due(at(now + 41)) {
            if let Due::Look(id) = due {
                looked[id.as_str().parse::<usize>().unwrap()] = true;
            }
        }
        prop_assert_eq!(looked, [true; 4]);
    }
}
