//! Which deliveries are under way at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_core::backoff::Backoff;
use holdfast_core::delivery::breaker::{Breaker, BreakerPolicy, Change, Said};
use holdfast_core::delivery::lanes::{Choice, Head, Lanes, Shares};
use holdfast_core::delivery::origin::Origin;
use holdfast_core::id::InstanceId;
use holdfast_core::time::Timestamp;
use proptest::prelude::*;

const POLICY: BreakerPolicy =
    BreakerPolicy { threshold: 2, backoff: Backoff { base: Duration::from_secs(10), cap: Duration::from_secs(60) } };
const DOWN: Said = Said::AtFault { retry_after: None };
const NOW: Timestamp = Timestamp::from_millis(1_000);
/// Everything is due.
const LATE: i64 = 1_000_000;

fn lanes() -> Lanes {
    Lanes::new(Shares::default(), POLICY)
}

fn head(seq: i64, instance: &str, origin: &str) -> Head {
    Head { seq, instance: InstanceId::new(instance), origin: Origin::new(origin), due_ms: seq, tries: 0 }
}

/// So many instances with one target, from this row on.
fn fleet(count: i64, from: i64, origin: &str) -> Vec<Head> {
    (from..from + count).map(|seq| head(seq, &format!("{origin}-{seq:05}"), origin)).collect()
}

/// Lets a target answer once.
fn prove(lanes: &mut Lanes, origin: &str) {
    let picks = lanes.choose(vec![head(1, "herald", origin)], NOW, LATE).picks;
    end_all(lanes, picks, Said::Alive, NOW);
}

fn names(choice: &Choice) -> Vec<&str> {
    choice.picks.iter().map(InstanceId::as_str).collect()
}

fn end(lanes: &mut Lanes, instance: &str, said: Said, now: Timestamp) -> (Option<Change>, bool) {
    let instance = InstanceId::new(instance);
    let judged = lanes.judge(&instance, said, now, 1.0).expect("it is under way");
    (judged.change, lanes.leave(&instance, now).look)
}

/// Ends these turns, and those that follow from them, all alike.
fn end_all(lanes: &mut Lanes, mut picks: Vec<InstanceId>, said: Said, now: Timestamp) {
    while let Some(instance) = picks.pop() {
        lanes.judge(&instance, said, now, 1.0);
        picks.extend(lanes.leave(&instance, now).picks);
    }
}

#[test]
fn a_thousand_instances_of_a_dead_target_leave_room_for_the_others() {
    let mut lanes = lanes();
    prove(&mut lanes, "dead");
    let mut heads = fleet(1000, 1, "dead");
    heads.extend(fleet(3, 5000, "alive"));
    let choice = lanes.choose(heads.clone(), NOW, LATE);
    let alive = choice.picks.iter().filter(|pick| pick.as_str().starts_with("alive")).count();
    assert_eq!((choice.picks.len(), alive), (16 + 3, 3));
    // The dead ones fail, one after the other: from the second on nothing goes there.
    let (dead, alive): (Vec<_>, Vec<_>) = choice.picks.into_iter().partition(|pick| pick.as_str().starts_with("dead"));
    end_all(&mut lanes, dead, DOWN, NOW);
    assert_eq!(lanes.under_way(), alive.len());
    let again = lanes.choose(heads, NOW, LATE);
    assert_eq!(again.picks, Vec::new());
    assert_eq!(again.probe_at, Some(NOW.after(Duration::from_secs(10))));
}

#[test]
fn many_slow_targets_never_take_the_last_lanes() {
    let mut lanes = lanes();
    for name in ["slow0", "slow1", "slow2", "slow3", "slow4", "slow5", "slow6", "slow7", "quick"] {
        prove(&mut lanes, name);
    }
    for (number, expected) in [16, 16, 11, 7, 5, 3, 2, 1].into_iter().enumerate() {
        let choice = lanes.choose(fleet(100, number as i64 * 1000, &format!("slow{number}")), NOW, LATE);
        assert_eq!(choice.picks.len(), expected, "target number {number}");
    }
    assert_eq!(lanes.choose(fleet(1, 90_000, "quick"), NOW, LATE).picks.len(), 1);
}

#[test]
fn many_dead_targets_leave_lanes_to_those_that_are_well() {
    let mut lanes = lanes();
    prove(&mut lanes, "well");
    let mut heads: Vec<Head> =
        (0..1000).map(|number| head(number, &format!("i{number:03}"), &format!("dead{number}"))).collect();
    assert_eq!(lanes.choose(heads.clone(), NOW, LATE).picks.len(), 32, "each hangs until its time is over");
    heads.extend(fleet(50, 5000, "well"));
    let choice = lanes.choose(heads, NOW, LATE);
    assert_eq!(choice.picks.len(), 11);
    assert!(names(&choice).iter().all(|name| name.starts_with("well")));
}

#[test]
fn targets_that_were_never_heard_of_share_the_doubtful_lanes() {
    let mut lanes = lanes();
    for (number, expected) in [11, 7, 5, 3, 2, 1, 1, 1].into_iter().enumerate() {
        let choice = lanes.choose(fleet(100, number as i64 * 1000, &format!("new{number}")), NOW, LATE);
        assert_eq!(choice.picks.len(), expected, "target number {number}");
    }
}

#[test]
fn one_instance_has_one_lane_and_is_looked_at_again_when_something_was_due_meanwhile() {
    let mut lanes = lanes();
    assert_eq!(names(&lanes.choose(vec![head(1, "a", "x")], NOW, LATE)), ["a"]);
    assert_eq!(lanes.choose(vec![head(2, "a", "x")], NOW, LATE).picks, Vec::new());
    assert_eq!(end(&mut lanes, "a", Said::Alive, NOW), (None, true));
    assert_eq!(names(&lanes.choose(vec![head(2, "a", "x")], NOW, LATE)), ["a"]);
    assert_eq!(end(&mut lanes, "a", Said::Alive, NOW), (None, false));
}

#[test]
fn everybody_has_a_turn_before_anybody_has_two() {
    let mut lanes = Lanes::new(Shares { lanes: 4, per_origin: 4, probes: 1, doubtful: 4 }, POLICY);
    let heads = fleet(7, 1, "x");
    let mut served: BTreeMap<InstanceId, u32> = BTreeMap::new();
    let mut under_way: Vec<InstanceId> = lanes.choose(heads.clone(), NOW, LATE).picks;
    for _ in 0..70 {
        let instance = under_way.remove(0);
        *served.entry(instance.clone()).or_default() += 1;
        lanes.judge(&instance, Said::Alive, NOW, 1.0);
        let left = lanes.leave(&instance, NOW);
        under_way.extend(left.picks);
        if left.look {
            under_way.extend(lanes.choose(heads.clone(), NOW, LATE).picks);
        }
        let (least, most) = (served.values().min().unwrap(), served.values().max().unwrap());
        assert!(served.len() < 7 || most - least <= 1, "{served:?}");
    }
    assert_eq!(served.len(), 7);
}

#[test]
fn whoever_found_no_lane_has_the_next_one_without_another_look() {
    let mut lanes = lanes();
    prove(&mut lanes, "x");
    let mut heads = fleet(100, 1, "x");
    heads.extend(fleet(2, 500, "y"));
    let mut under_way: Vec<InstanceId> = lanes.choose(heads, NOW, LATE).picks;
    assert_eq!(under_way.len(), 16 + 2);
    let (mut served, mut looks) = (Vec::new(), 0);
    while let Some(instance) = under_way.pop() {
        lanes.judge(&instance, Said::Alive, NOW, 1.0);
        let left = lanes.leave(&instance, NOW);
        served.push(instance);
        looks += u32::from(left.look);
        under_way.extend(left.picks);
    }
    served.sort();
    served.dedup();
    assert_eq!((served.len(), looks), (102, 1), "and when nobody waits any more, there is one");
}

#[test]
fn an_instance_keeps_its_lane_unless_somebody_waits_for_it() {
    let mut lanes = lanes();
    let mut heads = fleet(100, 1, "crowded");
    heads.push(head(900, "alone", "quiet"));
    lanes.choose(heads, NOW, LATE);
    assert!(lanes.stay(&InstanceId::new("alone"), NOW), "those who wait do not want this lane");
    assert!(!lanes.stay(&InstanceId::new("crowded-00001"), NOW));
}

#[test]
fn who_waits_for_a_target_that_goes_down_is_not_sent_there() {
    let mut lanes = lanes();
    let picks = lanes.choose(fleet(100, 1, "x"), NOW, LATE).picks;
    for pick in &picks {
        lanes.judge(pick, DOWN, NOW, 1.0);
    }
    assert_eq!(lanes.leave(&picks[0], NOW).picks, Vec::new());
}

#[test]
fn after_an_outage_the_probe_goes_first_and_then_the_lanes() {
    let mut lanes = lanes();
    let heads = fleet(50, 1, "x");
    let picks = lanes.choose(heads.clone(), NOW, LATE).picks;
    end_all(&mut lanes, picks, DOWN, NOW);
    let soon = NOW.after(Duration::from_secs(9));
    assert_eq!(lanes.choose(heads.clone(), soon, LATE).picks, Vec::new());
    let then = NOW.after(Duration::from_secs(10));
    let probe = lanes.choose(heads.clone(), then, LATE);
    assert_eq!(probe.picks.len(), 1);
    assert_eq!(lanes.choose(heads.clone(), then, LATE).picks, Vec::new(), "nothing beside the probe");
    let (change, _) = end(&mut lanes, probe.picks[0].as_str(), Said::Alive, then);
    assert_eq!(change, Some(Change::Closed));
    assert_eq!(lanes.choose(heads, then, LATE).picks.len(), 16);
}

#[test]
fn a_message_that_the_target_chokes_on_is_not_the_probe_each_time() {
    let mut lanes = lanes();
    let mut poison = head(1, "poison", "x");
    poison.tries = 2;
    for _ in 0..2 {
        lanes.choose(vec![poison.clone()], NOW, LATE);
        end(&mut lanes, "poison", DOWN, NOW);
    }
    let then = NOW.after(Duration::from_secs(10));
    assert_eq!(names(&lanes.choose(vec![poison, head(2, "fresh", "x")], then, LATE)), ["fresh"]);
}

#[test]
fn a_probe_that_never_reached_its_target_makes_way_for_the_next() {
    let mut lanes = lanes();
    for _ in 0..2 {
        lanes.choose(vec![head(1, "a", "x")], NOW, LATE);
        end(&mut lanes, "a", DOWN, NOW);
    }
    let then = NOW.after(Duration::from_secs(10));
    assert_eq!(names(&lanes.choose(vec![head(1, "a", "x"), head(2, "b", "x")], then, LATE)), ["a"]);
    let judged = lanes.judge(&InstanceId::new("a"), Said::Nothing, then, 1.0).unwrap();
    let soon = then.after(Duration::from_secs(1));
    assert_eq!(judged.probe_at, Some(soon));
    lanes.leave(&InstanceId::new("a"), then);
    assert_eq!(names(&lanes.choose(vec![head(2, "b", "x")], soon, LATE)), ["b"]);
}

#[test]
fn many_dead_targets_are_not_probed_all_at_once() {
    let mut lanes = lanes();
    let heads: Vec<Head> =
        (0..100).map(|number| head(number, &format!("i{number:03}"), &format!("dead{number}"))).collect();
    for _ in 0..2 {
        let picks = lanes.choose(heads.clone(), NOW, LATE).picks;
        end_all(&mut lanes, picks, DOWN, NOW);
    }
    let then = NOW.after(Duration::from_secs(10));
    let mut all = heads;
    all.push(head(900, "alive", "alive"));
    let choice = lanes.choose(all, then, LATE);
    assert_eq!(choice.picks.len(), 16 + 1);
    assert!(names(&choice).contains(&"alive"));
    assert!(end(&mut lanes, "i000", DOWN, then).1, "the next probe waits for a lane");
}

#[test]
fn it_says_when_to_look_again() {
    let mut lanes = lanes();
    let choice = lanes.choose(vec![head(70, "a", "x"), head(60, "b", "x"), head(10, "c", "x")], NOW, 50);
    assert_eq!((names(&choice), choice.due_ms, choice.probe_at), (vec!["c"], Some(60), None));
}

#[test]
fn targets_and_turns_that_nobody_needs_are_forgotten() {
    let mut lanes = lanes();
    for number in 0..5_000 {
        let name = format!("i{number}");
        lanes.choose(vec![head(number, &name, &format!("o{number}"))], NOW, LATE);
        end(&mut lanes, &name, Said::Alive, NOW);
    }
    assert!(lanes.targets().count() < 1_100);
}

#[derive(Debug, Clone)]
enum Step {
    Look,
    End(usize, Said),
    Stay(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let said = prop_oneof![Just(Said::Alive), Just(DOWN), Just(Said::Nothing)];
    prop_oneof![
        3 => Just(Step::Look),
        6 => (any::<usize>(), said).prop_map(|(which, said)| Step::End(which, said)),
        1 => any::<usize>().prop_map(Step::Stay),
        1 => (0_u64..30_000).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn shares_are_kept_and_nobody_waits_for_ever(
        instances in proptest::collection::vec((0_usize..6, 0_u32..3), 1..80),
        story in proptest::collection::vec(step(), 1..200),
    ) {
        let shares = Shares { lanes: 12, per_origin: 4, probes: 2, doubtful: 6 };
        let mut lanes = Lanes::new(shares, POLICY);
        let heads: Vec<Head> = instances
            .iter()
            .enumerate()
            .map(|(number, (origin, tries))| Head {
                tries: *tries,
                ..head(number as i64, &format!("i{number:02}"), &format!("o{origin}"))
            })
            .collect();
        let (mut now, mut under_way): (Timestamp, BTreeSet<InstanceId>) = (NOW, BTreeSet::new());
        let check = |lanes: &Lanes, under_way: &BTreeSet<InstanceId>| {
            assert_eq!(lanes.under_way(), under_way.len());
            assert!(under_way.len() <= shares.lanes);
            for (origin, breaker, count) in lanes.targets() {
                assert!(count <= shares.per_origin, "{origin}");
                let mine = under_way.iter().filter(|instance| lanes.origin(instance) == Some(origin)).count();
                assert_eq!(mine, count);
                assert!(!matches!(breaker, Breaker::HalfOpen { .. }) || count > 0, "{origin} waits for a probe that is not there");
            }
        };
        for step in story {
            match step {
                Step::Look => {
                    for pick in lanes.choose(heads.clone(), now, LATE).picks {
                        prop_assert!(under_way.insert(pick), "two of one instance");
                    }
                }
                Step::End(which, said) => {
                    let Some(instance) = under_way.iter().nth(which % under_way.len().max(1)).cloned() else { continue };
                    under_way.remove(&instance);
                    lanes.judge(&instance, said, now, 0.5);
                    for pick in lanes.leave(&instance, now).picks {
                        prop_assert!(under_way.insert(pick), "two of one instance");
                    }
                }
                Step::Stay(which) => {
                    if let Some(instance) = under_way.iter().nth(which % under_way.len().max(1)) {
                        lanes.stay(instance, now);
                    }
                }
                Step::Pass(millis) => now = now.after(Duration::from_millis(millis)),
            }
            check(&lanes, &under_way);
        }
        // Whatever happened: once the targets answer, everybody is served.
        let mut served = BTreeSet::new();
        for _ in 0..8 {
            now = now.after(Duration::from_secs(60));
            under_way.extend(lanes.choose(heads.clone(), now, LATE).picks);
            while let Some(instance) = under_way.pop_first() {
                lanes.judge(&instance, Said::Alive, now, 0.5);
                under_way.extend(lanes.leave(&instance, now).picks);
                served.insert(instance);
            }
        }
        prop_assert_eq!(served.len(), heads.len());
    }
}
