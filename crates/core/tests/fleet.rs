//! Who may dial when: short stories of the gate, and what holds in every history.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_core::fleet::{Effect, Env, Event, Fleet, Policy, Standing};
use holdfast_core::id::{InstanceId, LinkId};
use holdfast_core::time::Timestamp;
use proptest::prelude::*;

#[test]
fn dials_begin_evenly_and_few_are_in_flight() {
    let mut world = World::new(100);
    world.all_ask(0..100);
    world.runs(secs(1), |_, _| Outcome::Pending);
    assert_eq!(world.granted.len(), 14, "an eighth of the slots is kept for operators");
    let mut world = World::new(100);
    world.all_ask(0..100);
    world.runs(secs(6), |_, _| Outcome::Up);
    assert_eq!(world.granted.len(), 100);
    assert!(world.busiest_second() <= 22, "{} in a second", world.busiest_second());
}

#[test]
fn operators_go_first_and_find_a_slot_among_dials_that_hang() {
    let mut world = World::new(40);
    world.all_ask(0..39);
    world.runs(secs(2), |_, _| Outcome::Pending);
    world.says(39, Standing::Asks { link: LinkId(1), urgent: true });
    world.runs(Duration::from_millis(50), |_, _| Outcome::Pending);
    assert_eq!(world.granted.last().unwrap().1, 39);
}

#[test]
fn a_turn_that_is_lost_on_its_way_is_given_again_and_one_that_nobody_answers_expires() {
    let mut world = World::new(20);
    world.all_ask(0..20);
    world.runs(secs(1), |_, _| Outcome::Pending);
    world.granted.clear();
    world.says(0, asks(1));
    assert_eq!(world.granted.len(), 1, "who asks again has not heard it");
    world.runs(secs(60), |_, _| Outcome::Pending);
    assert_eq!(world.granted.len(), 7, "the slots come back by themselves");
    assert!(world.fleet.view().in_flight <= 14);
}

#[test]
fn s18_an_outage_is_recognised_held_with_one_canary_and_ends_without_a_herd() {
    let mut world = World::new(500);
    world.all_ask(0..500);
    world.runs(secs(30), |_, _| Outcome::Up);
    assert_eq!(world.fleet.view().up, 500);
    // The host loses its network for an hour; every instance redials as its own backoff says, here every two minutes.
    for who in 0..500 {
        world.says(who, Standing::Down { network: true });
    }
    assert_eq!(world.outages, [true]);
    world.granted.clear();
    let began = world.now;
    while world.now.since(began) < secs(3_600) {
        world.asks_again();
        world.runs(secs(120), |_, _| Outcome::Lost);
    }
    let canaries = world.granted.len();
    assert!((60..=300).contains(&canaries), "{canaries} dials in an hour without a network");
    assert_eq!((world.outages.len(), world.most_in_flight), (1, 1), "one at a time");
    world.asks_again();
    assert!(world.fleet.view().held >= 499, "{:?}", world.fleet.view());
    // It is back.
    world.granted.clear();
    let back = world.now;
    world.runs(secs(60), |_, _| Outcome::Up);
    assert_eq!(world.outages, [true, false]);
    assert_eq!((world.granted.len(), world.fleet.view().up), (500, 500));
    assert!(world.busiest_second() <= 25, "{} in a second", world.busiest_second());
    let last = world.granted.last().unwrap().0;
    assert!(last.since(back) <= secs(30 + 26), "{:?}", last.since(back));
}

#[test]
fn a_dark_network_is_recognised_though_each_dial_takes_longer_than_the_window() {
    let mut world = World::new(100);
    world.all_ask(0..100);
    world.dial_takes = secs(20);
    world.runs(secs(90), |_, _| Outcome::Lost);
    assert_eq!(world.outages, [true]);
}

#[test]
fn few_failures_failures_of_another_kind_and_failures_of_a_minority_are_no_outage() {
    let mut world = World::new(100);
    world.all_ask(0..100);
    world.runs(secs(10), |_, _| Outcome::Up);
    for who in 0..100 {
        world.says(who, Standing::Down { network: false });
    }
    assert_eq!(world.outages, Vec::<bool>::new(), "the store or WhatsApp");
    world.all_ask(0..100);
    world.runs(secs(10), |_, _| Outcome::Up);
    for who in 0..49 {
        world.says(who, Standing::Down { network: true });
    }
    assert_eq!(world.outages, Vec::<bool>::new(), "49 of 100");
    world.says(49, Standing::Down { network: true });
    assert_eq!(world.outages, [true]);
    let mut world = World::new(4);
    world.all_ask(0..4);
    for who in 0..4 {
        world.says(who, Standing::Down { network: true });
    }
    assert_eq!(world.outages, Vec::<bool>::new(), "four of four");
}

#[test]
fn failures_far_apart_are_no_outage() {
    let mut world = World::new(100);
    world.all_ask(0..100);
    world.runs(secs(10), |_, _| Outcome::Up);
    for who in 0..100 {
        world.says(who, Standing::Down { network: true });
        world.runs(secs(1), |_, _| Outcome::Pending);
    }
    assert_eq!(world.outages, Vec::<bool>::new(), "one a second");
}

#[test]
fn another_instance_takes_the_canarys_place_if_it_is_stopped_deleted_or_fails_for_its_own_reasons() {
    for end in [Some(Standing::Out), Some(Standing::Down { network: false }), None] {
        let mut world = World::in_outage(20);
        world.runs(secs(2), |_, _| Outcome::Pending);
        let canary = world.granted.last().unwrap().1;
        world.granted.clear();
        match end {
            Some(standing) => world.says(canary, standing),
            None => world.happens(Event::Gone { id: id(canary) }),
        }
        world.runs(Duration::from_millis(100), |_, _| Outcome::Pending);
        assert_eq!(world.granted.len(), 1, "{end:?}");
        assert_ne!(world.granted[0].1, canary);
    }
}

#[test]
fn an_operators_dial_passes_an_outage_and_its_success_ends_it() {
    let mut world = World::in_outage(20);
    world.runs(secs(2), |_, _| Outcome::Pending);
    world.granted.clear();
    world.says(7, Standing::Asks { link: LinkId(2), urgent: true });
    assert_eq!(world.granted.iter().map(|(_, who, _)| *who).collect::<Vec<_>>(), [7]);
    world.says(7, Standing::Up { link: LinkId(2) });
    assert_eq!(world.outages, [true, false]);
}

#[test]
fn a_canary_that_nobody_hears_of_is_replaced() {
    let mut world = World::in_outage(20);
    world.runs(secs(200), |_, _| Outcome::Pending);
    assert!(world.granted.len() >= 3, "{:?}", world.granted);
    assert_eq!(world.most_in_flight, 1);
}

/// What becomes of a dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Up,
    Lost,
    Pending,
}

struct World {
    fleet: Fleet,
    policy: Policy,
    now: Timestamp,
    standings: BTreeMap<usize, Standing>,
    granted: Vec<(Timestamp, usize, LinkId)>,
    under_way: Vec<(Timestamp, usize, LinkId)>,
    outages: Vec<bool>,
    most_in_flight: usize,
    dial_takes: Duration,
}

impl World {
    fn new(instances: usize) -> Self {
        let mut world = Self {
            fleet: Fleet::new(),
            policy: Policy::default(),
            now: Timestamp::from_millis(5_000),
            standings: BTreeMap::new(),
            granted: Vec::new(),
            under_way: Vec::new(),
            outages: Vec::new(),
            most_in_flight: 0,
            dial_takes: Duration::from_millis(100),
        };
        for who in 0..instances {
            world.says(who, Standing::Out);
        }
        world
    }

    /// All were online and lost it, and ask again.
    fn in_outage(instances: usize) -> Self {
        let mut world = Self::new(instances);
        world.all_ask(0..instances);
        world.runs(secs(5), |_, _| Outcome::Up);
        for who in 0..instances {
            world.says(who, Standing::Down { network: true });
        }
        assert_eq!(world.outages, [true]);
        world.asks_again();
        world.granted.clear();
        world.most_in_flight = 0;
        world
    }

    fn happens(&mut self, event: Event) {
        let env = Env { now: self.now, jitter: 0.5, policy: &self.policy };
        for effect in self.fleet.step(event, env) {
            match effect {
                Effect::Grant { id, link } => self.granted.push((self.now, number(&id), link)),
                Effect::Hold { .. } => {}
                Effect::OutageBegan { .. } => self.outages.push(true),
                Effect::OutageEnded { .. } => self.outages.push(false),
            }
        }
        if self.outages.last() == Some(&true) {
            self.most_in_flight = self.most_in_flight.max(self.fleet.view().in_flight);
        }
        if let Some(due) = self.fleet.deadline() {
            assert!(due > self.now, "a deadline that has passed would spin: {:?}", self.fleet.view());
        }
    }

    fn says(&mut self, who: usize, standing: Standing) {
        self.standings.insert(who, standing);
        self.happens(Event::Stands { id: id(who), standing });
    }

    fn all_ask(&mut self, who: std::ops::Range<usize>) {
        for who in who {
            self.says(who, asks(1));
        }
    }

    /// Who waited by itself asks for its next dial.
    fn asks_again(&mut self) {
        let down: Vec<usize> = self
            .standings
            .iter()
            .filter(|(_, standing)| matches!(standing, Standing::Down { .. }))
            .map(|(who, _)| *who)
            .collect();
        for who in down {
            self.says(who, asks(2));
        }
    }

    /// Lets time pass; each dial ends as it is told to.
    fn runs(&mut self, span: Duration, outcome: impl Fn(usize, LinkId) -> Outcome) {
        let end = self.now.after(span);
        let mut seen = 0;
        loop {
            while seen < self.granted.len() {
                let (at, who, link) = self.granted[seen];
                seen += 1;
                if at == self.now && outcome(who, link) != Outcome::Pending {
                    self.says(who, Standing::Dials { link });
                    self.under_way.push((self.now.after(self.dial_takes), who, link));
                }
            }
            let over = self.under_way.iter().map(|(at, ..)| *at).min();
            let Some(next) = over.into_iter().chain(self.fleet.deadline()).min().filter(|next| *next <= end) else {
                break;
            };
            self.now = next;
            let (ended, on): (Vec<_>, Vec<_>) = self.under_way.drain(..).partition(|(at, ..)| *at <= next);
            self.under_way = on;
            for (_, who, link) in ended {
                match outcome(who, link) {
                    Outcome::Up => self.says(who, Standing::Up { link }),
                    Outcome::Lost => self.says(who, Standing::Down { network: true }),
                    Outcome::Pending => {}
                }
            }
            self.happens(Event::Elapsed);
        }
        self.now = end;
    }

    fn busiest_second(&self) -> usize {
        let at =
            |from: Timestamp| self.granted.iter().filter(|(at, ..)| *at >= from && at.since(from) < secs(1)).count();
        self.granted.iter().map(|(from, ..)| at(*from)).max().unwrap_or(0)
    }
}

fn asks(link: u64) -> Standing {
    Standing::Asks { link: LinkId(link), urgent: false }
}

fn id(number: usize) -> InstanceId {
    InstanceId::new(format!("{number:03}"))
}

fn number(id: &InstanceId) -> usize {
    id.as_str().parse().expect("a number")
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn happening() -> impl Strategy<Value = (u64, Option<usize>, Standing)> {
    let standing = prop_oneof![
        1 => Just(Standing::Out),
        2 => any::<bool>().prop_map(|network| Standing::Down { network }),
        4 => (1_u64..4, any::<bool>()).prop_map(|(link, urgent)| Standing::Asks { link: LinkId(link), urgent }),
        3 => (1_u64..4).prop_map(|link| Standing::Dials { link: LinkId(link) }),
        2 => (1_u64..4).prop_map(|link| Standing::Up { link: LinkId(link) }),
    ];
    (0_u64..3_000, prop_oneof![4 => (0_usize..12).prop_map(Some), 1 => Just(None)], standing)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Whatever the instances say: never more dials in flight than allowed, never more begun in a second, no turn for who does not ask,
    /// at most one automatic dial begun while an outage has a canary; and in the end everybody who asks has had a turn.
    #[test]
    fn every_history_keeps_the_limits(history in prop::collection::vec(happening(), 0..120)) {
        let mut world = World::new(12);
        world.policy = Policy { concurrency: 3, per_second: 5, ..Policy::default() };
        for (wait, who, standing) in history {
            if let Some(who) = who {
                world.says(who, standing);
            } else {
                world.now = world.now.after(Duration::from_millis(wait));
                world.happens(Event::Elapsed);
            }
            let view = world.fleet.view();
            prop_assert!(view.in_flight <= 3);
            prop_assert_eq!(view.waiting >= view.held, true);
        }
        let asking: Vec<usize> = world.standings.iter()
            .filter(|(_, standing)| matches!(standing, Standing::Asks { .. })).map(|(who, _)| *who).collect();
        world.runs(secs(2_000), |_, _| Outcome::Up);
        for who in asking {
            prop_assert!(world.granted.iter().any(|(_, granted, _)| *granted == who), "{} never had its turn", who);
        }
    }
}
