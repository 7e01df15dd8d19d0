//! Who owns which instances: what one look asks for, that fleets come to rest, and when a node may act.

#[path = "tenancy/fleets.rs"]
mod fleets;
#[path = "tenancy/keeping.rs"]
mod keeping;

use holdfast_core::tenancy::{Plan, Share, Standing, Survey, plan};

const CALM: Standing = Standing { settled: true, steady: true };

#[test]
fn a_node_claims_up_to_its_share_and_leaves_the_rest_to_the_others() {
    for (free, others, adopts) in
        [(10, vec![], 10), (10, vec![0], 5), (11, vec![0], 6), (6, vec![4, 4], 5), (1, vec![9], 1)]
    {
        let survey = seen(0, &others, free);
        assert_eq!(plan(&survey, CALM).adopt, adopts, "{survey:?}");
    }
    assert_eq!(plan(&seen(5, &[0], 3), CALM).adopt, 0, "it has its share");
    let waits = Survey { overdue: 2, ..seen(5, &[0], 3) };
    assert_eq!(plan(&waits, CALM).adopt, 2, "somebody who should have come has not");
}

#[test]
fn the_instances_of_a_dead_node_are_left_alone_while_it_may_only_be_late() {
    let survey = Survey { abandoned: 6, ..seen(4, &[], 2) };
    let adopts = |settled| plan(&survey, Standing { settled, steady: false });
    assert_eq!(adopts(false), Plan { adopt: 2, abandoned: false, hand_over: 0 });
    assert_eq!(adopts(true), Plan { adopt: 8, abandoned: true, hand_over: 0 });
}

#[test]
fn a_node_that_stops_takes_nothing_and_counts_for_nothing() {
    let mut survey = seen(0, &[10], 10);
    survey.nodes[1].draining = true;
    assert_eq!(plan(&survey, CALM).adopt, 10, "all of it will be this node's");
    survey.nodes[0].draining = true;
    assert_eq!(plan(&survey, CALM), Plan::default());
    survey.nodes.remove(0);
    assert_eq!(plan(&survey, CALM), Plan::default(), "to the database it is dead itself");
}

#[test]
fn a_surplus_is_handed_over_in_small_steps_and_only_in_a_fleet_at_rest() {
    let gives = |own, others: &[u32]| plan(&seen(own, others, 0), CALM).hand_over;
    assert_eq!((gives(100, &[0]), gives(4, &[0]), gives(3, &[1]), gives(2, &[0])), (10, 2, 1, 1));
    assert_eq!((gives(2, &[1]), gives(105, &[95]), gives(112, &[88])), (0, 0, 10), "a tenth stays where it is");
    assert_eq!(gives(30, &[0, 29]), 10);
    let calm = seen(4, &[0], 0);
    assert_eq!(plan(&calm, Standing { settled: true, steady: false }).hand_over, 0, "somebody has just come or gone");
    assert_eq!(plan(&Survey { abandoned: 1, ..calm }, CALM).hand_over, 0);
}

fn seen(own: u32, others: &[u32], free: u32) -> Survey {
    let share =
        |(at, instances): (usize, u32)| Share { node: format!("n{at}"), own: at == 0, draining: false, instances };
    let nodes = std::iter::once(own).chain(others.iter().copied()).enumerate().map(share).collect();
    Survey { nodes, free, overdue: 0, abandoned: 0 }
}
