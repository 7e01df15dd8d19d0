//! What earlier rounds of a start have shown counts on in later ones.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_core::id::{Epoch, InstanceId, Revision};
use holdfast_core::restoration::{
    Action, Before, Database, Facts, Layer, Mark, Member, Memory, Silence, Source, Standing, Verdict, decide,
    decide_all,
};
use proptest::prelude::*;

const AGE: Duration = Duration::from_secs(7);

fn mark(epoch: u64, revision: u64) -> Mark {
    Mark { epoch: Epoch(epoch), revision: Revision(revision) }
}

/// What is decided in each round about one instance, by what Redis and the files say in it; the database always says the same.
fn rounds<const N: usize>(database: Database, said: [(Layer, Layer); N]) -> [(Action, Verdict); N] {
    let (id, mut memory) = (InstanceId::new("a"), Memory::default());
    let member = |says| BTreeMap::from([(id.clone(), Member { says, last_online_ms: None })]);
    let database = Ok(BTreeMap::from([(id.clone(), Member { says: database, last_online_ms: None })]));
    said.map(|(redis, files)| {
        let decided = decide_all(Some(&Ok(member(redis))), &database, Some(&Ok(member(files))), &memory);
        let [one] = decided.as_slice() else { panic!("one instance") };
        memory.learn(one);
        (one.decision.action, one.decision.verdict)
    })
}

#[test]
fn a_database_that_was_proved_to_be_set_back_never_goes_on_exactly() {
    let (newer, silent) = (Layer::Holds { mark: mark(5, 100), age: AGE }, Layer::Silent(Silence::Down));
    let older = Layer::Holds { mark: mark(4, 98), age: AGE };
    let set_back = |action| (action, Verdict::DatabaseSetBack);
    let said = [(newer, Layer::Absent), (silent, Layer::Absent), (Layer::Absent, older), (newer, silent)];
    assert_eq!(
        rounds(Database::Holds(mark(5, 99)), said),
        [Action::Adopt, Action::Wait, Action::Renew, Action::Adopt].map(set_back)
    );
    // What was renewed is beyond all that was seen.
    assert_eq!(rounds(Database::Holds(mark(6, 200)), said), [(Action::Dial, Verdict::Newest); 4]);
    let unpaired = rounds(Database::Unpaired(mark(1, 0)), said);
    assert_eq!(unpaired[..2], [Action::Adopt, Action::Wait].map(set_back));
    // Seen while the database was away, and gone when it is back.
    let away = Ok::<_, Silence>(BTreeMap::new());
    let mut memory = Memory::default();
    let seen = Ok(BTreeMap::from([(InstanceId::new("a"), Member { says: newer, last_online_ms: None })]));
    for one in decide_all(Some(&seen), &Err(Silence::Down), None, &memory) {
        memory.learn(&one);
    }
    let database = Member { says: Database::Holds(mark(5, 99)), last_online_ms: None };
    let back = Ok(BTreeMap::from([(InstanceId::new("a"), database)]));
    assert_eq!(decide_all(Some(&away), &back, None, &memory)[0].decision.action, Action::Renew);
}

#[test]
fn what_is_lost_since_has_been_seen_and_what_does_not_open_proves_nothing() {
    let newer = Layer::Holds { mark: mark(5, 100), age: AGE };
    let database = Database::Holds(mark(5, 99));
    let facts = Facts { redis: newer, database, files: Layer::Absent, before: Before::default() };
    let lost = decide(&facts.lost(Source::Redis, Layer::Absent));
    assert_eq!((lost.action, lost.source, lost.mark), (Action::Renew, Some(Source::Database), Some(mark(5, 99))));
    assert_eq!(lost.outdated, [Source::Redis, Source::Files]);
    assert_eq!(decide(&facts.lost(Source::Redis, Layer::Silent(Silence::Down))).action, Action::Wait);
    assert_eq!(decide(&facts.without(Source::Redis)).action, Action::Dial);
    let boundless = Layer::Holds { mark: mark(u64::MAX, u64::MAX), age: AGE };
    let facts = Facts { redis: boundless, ..facts };
    assert_eq!(decide(&facts.lost(Source::Redis, Layer::Absent)).action, Action::Dial, "no engine has got that far");
    // Damage is not mended with a state that is known not to be the newest.
    let held = Layer::Holds { mark: mark(5, 99), age: AGE };
    let before = Before { proved: Some(mark(5, 100)), used: false };
    let damaged = Facts { redis: held, database: Database::Corrupt(Some(mark(5, 99))), files: Layer::Off, before };
    assert_eq!((decide(&damaged).action, decide(&damaged).verdict), (Action::Adopt, Verdict::DamageReplaced));
}

#[test]
fn what_another_engine_was_seen_to_use_is_free_only_when_all_places_say_so() {
    let used = Layer::Used { mark: mark(5, 100), surely: false };
    let gone = Layer::Holds { mark: mark(4, 99), age: AGE };
    let silent = Layer::Silent(Silence::Slow);
    let waits = (Action::Wait, Verdict::UsedElsewhere);
    let said = [(used, Layer::Absent), (silent, Layer::Absent), (Layer::Absent, silent), (gone, Layer::Absent)];
    let newest = (Action::Dial, Verdict::Newest);
    assert_eq!(rounds(Database::Holds(mark(4, 99)), said), [waits, waits, waits, newest]);
    let after = [said[0], said[3], (silent, Layer::Absent)];
    assert_eq!(rounds(Database::Holds(mark(4, 99)), after), [waits, newest, newest], "it was heard that it is not");
}

fn marks() -> impl Strategy<Value = Mark> {
    (0_u64..4, 0_u64..4).prop_map(|(epoch, revision)| mark(epoch, revision))
}

fn layers() -> impl Strategy<Value = Layer> {
    prop_oneof![
        marks().prop_map(|mark| Layer::Holds { mark, age: AGE }),
        (marks(), any::<bool>()).prop_map(|(mark, surely)| Layer::Used { mark, surely }),
        Just(Layer::Absent),
        Just(Layer::Corrupt),
        Just(Layer::Silent(Silence::Down)),
    ]
}

proptest! {
    #[test]
    fn nothing_goes_on_exactly_that_was_proved_to_be_old(
        redis in layers(),
        held in marks(),
        whole in any::<bool>(),
        files in layers(),
        proved in marks(),
        used in any::<bool>(),
    ) {
        let database = if whole { Database::Holds(held) } else { Database::Corrupt(Some(held)) };
        let decision = decide(&Facts { redis, database, files, before: Before { proved: Some(proved), used } });
        if decision.action.keeps_sessions() {
            prop_assert!(proved.against(held) != Standing::Newer);
        }
        if used && [redis, files].iter().any(|layer| matches!(layer, Layer::Silent(_))) {
            prop_assert!(!decision.action.dials());
        }
    }
}
