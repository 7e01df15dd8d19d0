//! Whole fleets: nodes come, stop, die and look in any order, also at what is not true any more.

use holdfast_core::tenancy::{Plan, Share, Standing, Survey, plan};
use proptest::prelude::*;

proptest! {
    #[test]
    fn every_fleet_comes_to_rest_with_each_instance_owned_once_and_the_counts_within_the_share(
        instances in 0_usize..120,
        changes in prop::collection::vec(change(), 0..60),
        order in prop::collection::vec(0_usize..8, 400..401),
    ) {
        let mut fleet = Fleet::new(instances);
        for change in changes {
            fleet.happens(change);
        }
        fleet.revive();
        // Long enough for everything that is too much to move in steps of ten, one look after the other.
        for who in &order {
            fleet.look(*who, true);
        }
        for who in 0..8 {
            fleet.look(who, true);
        }
        let living: Vec<usize> = (0..8).filter(|who| fleet.nodes[*who] == Life::Lives).collect();
        let share = instances.div_ceil(living.len());
        prop_assert!(fleet.owners.iter().all(|owner| owner.is_some_and(|owner| living.contains(&owner))), "{fleet:?}");
        for who in &living {
            prop_assert!(fleet.count(*who) <= share + share / 10, "{who} has too much: {fleet:?}");
        }
        let rest = fleet.moves;
        for who in living.iter().cycle().take(50) {
            fleet.look(*who, true);
        }
        prop_assert_eq!(fleet.moves, rest, "a fleet at rest stays as it is");
    }

    #[test]
    fn two_nodes_that_look_at_the_same_moment_do_not_hand_one_instance_back_and_forth(
        held in prop::collection::vec(0_u32..60, 2..6),
    ) {
        let mut held = held;
        // Everybody looks, then everybody acts: the most simultaneous that it can be.
        for _ in 0..100 {
            let before = held.clone();
            let gone: Vec<u32> = (0..held.len()).map(|who| plan(&seen(&before, who, 0), CALM).hand_over).collect();
            for (who, gone) in gone.iter().enumerate() {
                held[who] -= gone;
            }
            let seen_free: u32 = gone.iter().sum();
            let (mut free, handed) = (seen_free, held.clone());
            for who in 0..held.len() {
                let Plan { adopt, .. } = plan(&seen(&handed, who, seen_free), CALM);
                prop_assert!(adopt == 0 || gone[who] == 0, "it takes back what it has just given");
                let taken = adopt.min(free);
                held[who] += taken;
                free -= taken;
            }
            prop_assert_eq!(free, 0, "what is handed over is taken at the next look");
            if gone.iter().all(|gone| *gone == 0) {
                return Ok(());
            }
        }
        prop_assert!(false, "it never ends: {:?}", held);
    }
}

const CALM: Standing = Standing { settled: true, steady: true };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Absent,
    Lives,
    Stops,
}

#[derive(Debug, Clone, Copy)]
enum Change {
    /// A node comes, or is well again.
    Comes(usize),
    /// A node stops, and lets this many go before it is gone.
    Stops(usize, usize),
    /// A node is killed.
    Dies(usize),
    /// A node looks, and acts on what it saw.
    Looks(usize, bool),
    /// A node acts on what it saw before the one before it acted.
    LooksLate(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (0_usize..8).prop_map(Change::Comes),
        (0_usize..8, 0_usize..50).prop_map(|(who, gone)| Change::Stops(who, gone)),
        (0_usize..8).prop_map(Change::Dies),
        (0_usize..8, any::<bool>()).prop_map(|(who, steady)| Change::Looks(who, steady)),
        (0_usize..8, 0_usize..8).prop_map(|(first, second)| Change::LooksLate(first, second)),
    ]
}

#[derive(Debug)]
struct Fleet {
    owners: Vec<Option<usize>>,
    nodes: [Life; 8],
    moves: u32,
}

impl Fleet {
    fn new(instances: usize) -> Self {
        Self { owners: vec![None; instances], nodes: [Life::Absent; 8], moves: 0 }
    }

    fn happens(&mut self, change: Change) {
        match change {
            Change::Comes(who) => self.nodes[who] = Life::Lives,
            Change::Dies(who) => self.nodes[who] = Life::Absent,
            Change::Stops(who, gone) if self.nodes[who] == Life::Lives => {
                self.nodes[who] = Life::Stops;
                self.let_go(who, gone);
            }
            Change::Stops(..) => {}
            Change::Looks(who, steady) => self.look(who, steady),
            Change::LooksLate(first, second) => {
                let seen = self.survey(second);
                self.look(first, true);
                self.act(second, plan(&seen, CALM));
            }
        }
    }

    /// Somebody lives in the end, and nobody stops for ever.
    fn revive(&mut self) {
        for node in &mut self.nodes {
            if *node == Life::Stops {
                *node = Life::Absent;
            }
        }
        self.nodes[0] = Life::Lives;
    }

    fn look(&mut self, who: usize, steady: bool) {
        let plan = plan(&self.survey(who), Standing { settled: true, steady });
        self.act(who, plan);
    }

    fn act(&mut self, who: usize, plan: Plan) {
        if self.nodes[who] != Life::Lives {
            return;
        }
        let nodes = self.nodes;
        let dead = |owner: usize| nodes[owner] == Life::Absent;
        let claimable = |owner: &Option<usize>| owner.is_none_or(|owner| plan.abandoned && dead(owner));
        let claimed: Vec<_> =
            self.owners.iter_mut().filter(|owner| claimable(owner)).take(plan.adopt as usize).collect();
        self.moves += claimed.len() as u32;
        for owner in claimed {
            *owner = Some(who);
        }
        self.let_go(who, plan.hand_over as usize);
    }

    fn let_go(&mut self, who: usize, most: usize) {
        for owner in self.owners.iter_mut().filter(|owner| **owner == Some(who)).take(most) {
            *owner = None;
            self.moves += 1;
        }
    }

    fn count(&self, who: usize) -> usize {
        self.owners.iter().filter(|owner| **owner == Some(who)).count()
    }

    fn survey(&self, who: usize) -> Survey {
        let alive = (0..8).filter(|node| self.nodes[*node] != Life::Absent);
        let share = |node| Share {
            node: format!("n{node}"),
            own: node == who,
            draining: self.nodes[node] == Life::Stops,
            instances: self.count(node) as u32,
        };
        let dead = |owner: &Option<usize>| owner.is_some_and(|owner| self.nodes[owner] == Life::Absent);
        Survey {
            nodes: alive.map(share).collect(),
            free: self.owners.iter().filter(|owner| owner.is_none()).count() as u32,
            overdue: 0,
            abandoned: self.owners.iter().filter(|owner| dead(owner)).count() as u32,
        }
    }
}

fn seen(held: &[u32], who: usize, free: u32) -> Survey {
    let share =
        |(at, held): (usize, &u32)| Share { node: format!("n{at}"), own: at == who, draining: false, instances: *held };
    Survey { nodes: held.iter().enumerate().map(share).collect(), free, overdue: 0, abandoned: 0 }
}
