//! When a node renews and looks, and until when it may act.

use std::time::Duration;

use holdfast_core::tenancy::{Effect, Env, Event, Keeper, Policy, Share, Survey};
use holdfast_core::time::Timestamp;
use proptest::prelude::*;

const POLICY: Policy = Policy { ttl: secs(60), renew_every: secs(15) };

#[test]
fn leases_are_renewed_in_time_and_held_from_the_moment_that_was_asked() {
    let mut node = Node::joined();
    assert_eq!(node.told, [hold(54)]);
    node.until(15_000);
    assert_eq!(node.told, [Effect::Renew]);
    node.now = at(16_000);
    node.tell(Event::Renewed { asked_at: at(15_000) });
    assert_eq!(node.told, [hold(69)], "a tenth is given up, and the answer's time on its way");
}

#[test]
fn a_renewal_that_fails_is_tried_again_several_times_before_the_lease_ends() {
    let mut node = Node::joined();
    let mut tries = 0;
    while node.keeper.holds() {
        node.elapse();
        if node.told.contains(&Effect::Renew) {
            tries += 1;
            node.now = node.now.after(POLICY.patience());
            node.tell(Event::RenewFailed);
        }
    }
    assert!((4..=6).contains(&tries), "{tries} tries");
    assert!(node.now.as_millis() >= 54_000);
}

#[test]
fn a_lapse_is_told_at_once_and_nothing_is_held_before_everything_is_sealed() {
    let mut node = Node::joined();
    node.until(54_000);
    node.drop_answers();
    assert!(node.told.contains(&Effect::Lapse), "{:?}", node.told);
    node.now = at(55_000);
    node.tell(Event::Renewed { asked_at: at(54_500) });
    assert_eq!(node.told, [], "a link may still be open");
    node.tell(Event::Sealed);
    assert_eq!(node.told, [Effect::Renew]);
    node.tell(Event::Renewed { asked_at: at(55_000) });
    assert_eq!(node.told, [hold(109), Effect::Resume]);
}

#[test]
fn a_process_that_stood_still_sees_the_lapse_before_anything_else() {
    let mut node = Node::joined();
    node.until(15_000);
    node.now = at(200_000);
    node.tell(Event::Renewed { asked_at: at(15_000) });
    assert_eq!(node.told, [Effect::Lapse], "the answer is an hour old");
}

#[test]
fn a_node_whose_name_is_taken_seals_stops_and_never_acts_again() {
    let mut node = Node::joined();
    node.tell(Event::Usurped);
    assert_eq!(node.told, [Effect::Lapse, Effect::Stop]);
    node.now = at(1_000_000);
    for event in [Event::Sealed, Event::Renewed { asked_at: node.now }, Event::Elapsed] {
        node.tell(event);
        assert_eq!(node.told, []);
    }
    assert_eq!(node.keeper.deadline(), None);
}

#[test]
fn what_a_dead_node_had_is_taken_at_once_unless_the_database_was_away() {
    let mut node = Node::manned();
    let dead = Survey { abandoned: 4, ..fleet(&["me"]) };
    node.sees(dead.clone());
    assert_eq!(node.told, [Effect::Adopt { most: 4, abandoned: true }]);
    node.tell(Event::SweepOver);

    node.until(15_000);
    node.tell(Event::RenewFailed);
    node.until(17_000);
    node.tell(Event::Renewed { asked_at: node.now });
    let back = node.now;
    node.sees(dead.clone());
    assert!(!node.adopts(), "the others may be only a moment later");
    while node.now.since(back) < secs(30) {
        node.works();
    }
    node.sees(dead);
    assert!(node.adopts());
}

#[test]
fn a_database_whose_clock_leaps_does_not_make_others_look_dead() {
    let mut node = Node::manned();
    let everybody_looks_dead = Survey { abandoned: 8, ..Survey::default() };
    node.sees(everybody_looks_dead);
    assert!(!node.adopts());
    node.until(15_000);
    node.tell(Event::Renewed { asked_at: node.now });
    node.sees(Survey { abandoned: 4, ..fleet(&["me"]) });
    assert!(!node.adopts(), "the other one renews within its interval");
}

#[test]
fn instances_are_handed_over_only_when_the_fleet_has_been_the_same_for_a_while() {
    let mut node = Node::manned();
    let mut uneven = fleet(&["me", "new"]);
    uneven.nodes[0].instances = 6;
    node.sees(uneven.clone());
    let seen = node.now;
    assert_eq!(node.told, []);
    while node.now.since(seen) < secs(30) {
        node.works();
    }
    node.sees(uneven);
    assert_eq!(node.told, [Effect::HandOver { most: 3 }]);
    node.until(node.now.as_millis() + 10_000);
    assert!(!node.told.contains(&Effect::Survey), "one thing after the other");
}

#[test]
fn while_another_node_stops_it_is_looked_at_more_often() {
    let mut node = Node::manned();
    let mut stopping = fleet(&["me", "old"]);
    for (instances, wait_ms) in [(3, 500), (0, 2_000)] {
        stopping.nodes[1] = Share { draining: true, instances, ..stopping.nodes[1].clone() };
        node.sees(stopping.clone());
        node.tell(Event::SweepOver);
        assert_eq!(node.keeper.deadline(), Some(at(node.now.as_millis() + wait_ms)), "{instances} instances");
    }
}

#[test]
fn a_node_that_stops_renews_and_takes_nothing() {
    let mut node = Node::manned();
    node.tell(Event::Retired);
    node.until(14_000);
    assert_eq!(node.told, []);
    node.until(15_000);
    assert_eq!(node.told, [Effect::Renew]);
    node.tell(Event::Left);
    assert_eq!(node.keeper.deadline(), None);
}

proptest! {
    #[test]
    fn nothing_is_held_longer_than_the_database_holds_it(
        steps in prop::collection::vec((0_u8..8, 0_u64..40_000), 1..200),
    ) {
        let mut node = Node::manned();
        let (mut asked, mut holds, mut sealing) = (None, at(54_000), false);
        for (what, wait) in steps {
            node.now = at(node.now.as_millis() + wait);
            let event = match what {
                0..3 => Event::Elapsed,
                3 | 4 => asked.take().map_or(Event::Elapsed, |asked_at| Event::Renewed { asked_at }),
                5 => if asked.take().is_some() { Event::RenewFailed } else { Event::Elapsed },
                6 if sealing => { sealing = false; Event::Sealed }
                6 => Event::SweepOver,
                _ => Event::Surveyed(fleet(&["me"])),
            };
            let late = node.now >= holds;
            node.tell(event);
            let mut lapsed = false;
            for effect in node.told.clone() {
                match effect {
                    Effect::Renew => {
                        prop_assert!(asked.is_none(), "one renewal at a time");
                        asked = Some(node.now);
                    }
                    Effect::Lapse => { prop_assert!(!sealing); sealing = true; lapsed = true; holds = at(u64::MAX); }
                    Effect::Hold { until } => {
                        prop_assert!(!sealing, "held while links may be open");
                        prop_assert!(until > node.now && until.as_millis() <= node.now.as_millis() + 54_000);
                        holds = until;
                    }
                    Effect::Adopt { .. } | Effect::HandOver { .. } | Effect::Survey => prop_assert!(node.keeper.holds()),
                    Effect::Resume | Effect::Stop => {}
                }
            }
            prop_assert!(!late || lapsed, "the end was not told");
            prop_assert!(node.keeper.deadline().is_some() || sealing || asked.is_some(), "it waits for nothing");
        }
    }
}

struct Node {
    keeper: Keeper,
    now: Timestamp,
    told: Vec<Effect>,
}

impl Node {
    fn joined() -> Self {
        let mut node = Self { keeper: Keeper::new(), now: at(0), told: Vec::new() };
        node.tell(Event::Renewed { asked_at: at(0) });
        node
    }

    fn manned() -> Self {
        let mut node = Self::joined();
        node.tell(Event::Manned);
        node
    }

    fn tell(&mut self, event: Event) {
        self.told = self.keeper.step(event, Env { now: self.now, jitter: 0.5, policy: &POLICY });
    }

    /// Lets time pass until the next deadline.
    fn elapse(&mut self) {
        if let Some(due) = self.keeper.deadline() {
            self.now = self.now.max(due);
        }
        self.tell(Event::Elapsed);
    }

    /// Lets time pass; looks at the fleet find nothing to do. Keeps what was told at the end.
    fn until(&mut self, millis: u64) {
        while self.keeper.deadline().is_some_and(|due| due < at(millis)) {
            self.elapse();
            if self.told.contains(&Effect::Survey) {
                self.tell(Event::SweepOver);
            }
            if self.told.contains(&Effect::Renew) {
                return self.tell(Event::Elapsed);
            }
        }
        self.now = at(millis);
        self.tell(Event::Elapsed);
        if self.told.contains(&Effect::Survey) {
            self.told.retain(|effect| *effect != Effect::Survey);
            self.keeper.step(Event::SweepOver, Env { now: self.now, jitter: 0.5, policy: &POLICY }).clear();
        }
    }

    /// Lets time pass to the next deadline, where everything answers well.
    fn works(&mut self) {
        self.elapse();
        for effect in self.told.clone() {
            match effect {
                Effect::Renew => self.tell(Event::Renewed { asked_at: self.now }),
                Effect::Survey => self.tell(Event::SweepOver),
                Effect::Hold { .. }
                | Effect::Lapse
                | Effect::Resume
                | Effect::Stop
                | Effect::Adopt { .. }
                | Effect::HandOver { .. } => {}
            }
        }
    }

    /// Says that everything that was asked for never comes.
    fn drop_answers(&mut self) {
        while !self.told.contains(&Effect::Lapse) && self.keeper.holds() {
            self.elapse();
        }
    }

    fn sees(&mut self, survey: Survey) {
        self.tell(Event::Surveyed(survey));
    }

    fn adopts(&self) -> bool {
        self.told.iter().any(|effect| matches!(effect, Effect::Adopt { .. }))
    }
}

fn fleet(nodes: &[&str]) -> Survey {
    let share = |node: &&str| Share { node: (*node).to_owned(), own: *node == "me", draining: false, instances: 0 };
    Survey { nodes: nodes.iter().map(share).collect(), ..Survey::default() }
}

fn hold(seconds: u64) -> Effect {
    Effect::Hold { until: at(seconds * 1000) }
}

const fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
