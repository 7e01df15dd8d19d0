//! Which state of a session comes after which, and what must not dial until that is settled.

use std::time::Duration;

use holdfast_core::id::{Epoch, Revision};
use holdfast_core::restoration::{
    Action, Before, Database, Facts, Layer, Mark, Silence, Source, Standing, Verdict, decide,
};
use proptest::prelude::*;

const AGE: Duration = Duration::from_secs(7);
/// A moment in Unix milliseconds.
const NOW: u64 = 1_790_000_000_000;

fn mark(epoch: u64, revision: u64) -> Mark {
    Mark { epoch: Epoch(epoch), revision: Revision(revision) }
}

fn facts(database: Database, redis: Layer) -> Facts {
    Facts { redis, database, files: Layer::Absent, before: Before::default() }
}

#[test]
fn a_login_is_later_than_any_copy_of_an_earlier_one() {
    let earlier = mark(50, Revision::begun_at(NOW, Revision(3)).0 + 100_000);
    // The database was set back to before that login, and the instance was paired anew while no layer could be read.
    let set_back = Revision(7);
    let anew = Mark { epoch: Epoch(4), revision: Revision::begun_at(NOW + 60_000, set_back) };
    assert_eq!(earlier.against(anew), Standing::Older);
    assert!(anew > earlier, "its copy takes the place of the earlier one's");
    let copy = Layer::Holds { mark: earlier, age: AGE };
    assert_eq!(decide(&facts(Database::Holds(anew), copy)).action, Action::Dial);
    assert_eq!(decide(&facts(Database::Unpaired(anew), copy)).action, Action::Nothing);
    // The other way round the copy is of the later login.
    let copy = Layer::Holds { mark: anew, age: AGE };
    assert_eq!(decide(&facts(Database::Holds(earlier), copy)).action, Action::Adopt);
}

#[test]
fn within_one_login_a_later_number_of_either_kind_is_a_later_history() {
    let begun = Revision::begun_at(NOW, Revision(0)).0;
    let held = mark(9, begun + 500);
    assert_eq!(mark(9, begun + 501).against(held), Standing::Newer);
    assert_eq!(mark(10, begun + 400).against(held), Standing::Newer);
    assert_eq!(mark(3, begun + 500).against(held), Standing::Exact);
    assert_eq!(mark(9, begun + 499).against(held), Standing::Older);
}

#[test]
fn a_database_that_falls_silent_takes_back_nothing() {
    let newer = Layer::Holds { mark: mark(5, 100), age: AGE };
    let adopt = decide(&facts(Database::Holds(mark(5, 90)), newer));
    assert!(adopt.action.writes() && adopt.withholds(false));
    let away = decide(&facts(Database::Silent(Silence::Down), newer));
    assert_eq!((away.action, away.verdict), (Action::Wait, Verdict::DatabaseSilent));
    assert!(away.withholds(true), "what was to be adopted is not dialled while nobody knows");
    assert!(!away.withholds(false));
    let settled = decide(&facts(Database::Holds(mark(6, 200)), newer));
    assert!(!settled.withholds(true) && !settled.withholds_for_good());
}

#[test]
fn a_damaged_login_that_is_known_to_be_too_old_is_not_dialled_should_it_be_readable_again() {
    let mut known = facts(Database::Corrupt(Some(mark(5, 90))), Layer::Silent(Silence::Down));
    assert_eq!(decide(&known).verdict, Verdict::LayersSilent);
    known = facts(Database::Corrupt(Some(mark(5, 90))), Layer::Holds { mark: mark(5, 100), age: AGE });
    known = known.lost(Source::Redis, Layer::Silent(Silence::Down));
    let decision = decide(&known);
    assert_eq!((decision.action, decision.verdict), (Action::Wait, Verdict::DatabaseSetBack));
    assert!(decision.withholds_for_good());
}

proptest! {
    #[test]
    fn what_begins_is_beyond_all_that_was_seen(epoch in 0..1_u64 << 40, revision in 0..1_u64 << 62, now in 0..1_u64 << 43) {
        let latest = mark(epoch, revision);
        for begun in [latest.begun_at(now), Mark { revision: Revision::begun_at(now, latest.revision), ..latest }] {
            prop_assert!(begun > latest);
            prop_assert_eq!(begun.against(latest), Standing::Newer);
            prop_assert_eq!(latest.against(begun), Standing::Older);
        }
    }

    #[test]
    fn of_two_states_one_comes_first(one in any::<(u32, u64)>(), other in any::<(u32, u64)>()) {
        let (one, other) = (mark(one.0.into(), one.1), mark(other.0.into(), other.1));
        prop_assert_eq!(one.cmp(&other), other.cmp(&one).reverse());
        if one > other && one.revision != other.revision {
            prop_assert_eq!(one.against(other), Standing::Newer);
        }
    }
}
