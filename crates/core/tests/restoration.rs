//! What becomes of instances at the start: the whole matrix of what three places can say, and what must hold in each row.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_core::id::{Epoch, InstanceId, Revision};
use holdfast_core::restoration::{
    Action, Before, Database, Facts, Layer, Mark, Member, Memory, Silence, Source, Standing, Verdict, decide,
    decide_all,
};
use proptest::prelude::*;

const AGE: Duration = Duration::from_secs(7);

/// What a place can be found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Fresh,
    Newer,
    Stale,
    Empty,
    Down,
    Slow,
    Corrupt,
}

const ALL: [Found; 7] =
    [Found::Fresh, Found::Newer, Found::Stale, Found::Empty, Found::Down, Found::Slow, Found::Corrupt];

fn mark(epoch: u64, revision: u64) -> Mark {
    Mark { epoch: Epoch(epoch), revision: Revision(revision) }
}

impl Found {
    fn mark(self) -> Option<Mark> {
        match self {
            Self::Fresh => Some(mark(5, 100)),
            Self::Newer => Some(mark(5, 101)),
            Self::Stale => Some(mark(5, 99)),
            Self::Empty | Self::Down | Self::Slow | Self::Corrupt => None,
        }
    }

    fn layer(self) -> Layer {
        match self {
            Self::Fresh | Self::Newer | Self::Stale => {
                self.mark().map_or(Layer::Absent, |mark| Layer::Holds { mark, age: AGE })
            }
            Self::Empty => Layer::Absent,
            Self::Down => Layer::Silent(Silence::Down),
            Self::Slow => Layer::Silent(Silence::Slow),
            Self::Corrupt => Layer::Corrupt,
        }
    }

    /// What is damaged in the database is the login; its state can be read, and is the usual one.
    fn database(self) -> Database {
        match self {
            Self::Fresh | Self::Newer | Self::Stale => self.mark().map_or(Database::Absent, Database::Holds),
            Self::Empty => Database::Absent,
            Self::Down => Database::Silent(Silence::Down),
            Self::Slow => Database::Silent(Silence::Slow),
            Self::Corrupt => Database::Corrupt(Some(mark(5, 100))),
        }
    }

    fn is_silent(self) -> bool {
        matches!(self, Self::Down | Self::Slow)
    }
}

/// Every row: what Redis, the database and the files are found in.
fn matrix() -> impl Iterator<Item = [Found; 3]> {
    ALL.into_iter().flat_map(|redis| {
        ALL.into_iter().flat_map(move |database| ALL.into_iter().map(move |files| [redis, database, files]))
    })
}

fn facts([redis, database, files]: [Found; 3]) -> Facts {
    Facts { redis: redis.layer(), database: database.database(), files: files.layer(), before: Before::default() }
}

#[test]
fn the_matrix_is_whole() {
    assert_eq!(matrix().count(), 343);
}

#[test]
fn nothing_dials_without_the_database() {
    for row in matrix().filter(|[_, database, _]| database.is_silent()) {
        let decision = decide(&facts(row));
        assert_eq!((decision.action, decision.verdict), (Action::Wait, Verdict::DatabaseSilent), "{row:?}");
        // The name and the settings are shown meanwhile, from the newest copy that there is.
        let copies = [row[0], row[2]].into_iter().filter_map(Found::mark);
        assert_eq!(decision.mark, copies.max_by_key(|mark| mark.revision), "{row:?}");
    }
}

#[test]
fn sessions_go_on_only_from_the_state_of_the_database() {
    for row in matrix() {
        let decision = decide(&facts(row));
        if decision.action.keeps_sessions() {
            let held = if row[1] == Found::Corrupt { Some(mark(5, 100)) } else { row[1].mark() };
            assert_eq!(decision.mark, held, "{row:?}");
            let newer = [row[0], row[2]].into_iter().filter_map(Found::mark).any(|copy| Some(copy) > held);
            assert!(!newer || row[1] == Found::Corrupt, "a copy is newer than the database: {row:?}");
        }
    }
}

#[test]
fn a_qr_code_is_asked_for_only_where_nothing_was_ever_found() {
    for row in matrix() {
        let decision = decide(&facts(row));
        assert_eq!(decision.action.may_pair(), row == [Found::Empty; 3], "{row:?}: {decision:?}");
    }
}

#[test]
fn whoever_has_a_whole_copy_and_a_database_dials() {
    for row in matrix().filter(|[_, database, _]| !database.is_silent()) {
        let decision = decide(&facts(row));
        let has_copy = row.into_iter().any(|found| found.mark().is_some());
        assert_eq!(decision.action.dials(), has_copy, "{row:?}: {decision:?}");
        assert_eq!(decision.source.is_some(), has_copy, "{row:?}");
    }
}

#[test]
fn what_is_damaged_or_could_not_be_read_is_named() {
    for row in matrix() {
        let decision = decide(&facts(row));
        let [redis, database, files] = row;
        let places = [(Source::Redis, redis), (Source::Database, database), (Source::Files, files)];
        let named = |is: fn(Found) -> bool| -> Vec<Source> {
            places.into_iter().filter(|(_, found)| is(*found)).map(|(source, _)| source).collect()
        };
        assert_eq!(decision.corrupt, named(|found| found == Found::Corrupt), "{row:?}");
        let silent: Vec<Source> = decision.silent.iter().map(|(source, _)| *source).collect();
        assert_eq!(silent, named(Found::is_silent), "{row:?}");
    }
}

#[test]
fn what_cannot_be_read_is_not_taken_for_absent() {
    for row in matrix().filter(|row| row.iter().all(|found| found.mark().is_none())) {
        let decision = decide(&facts(row));
        let expected = if row.into_iter().any(Found::is_silent) {
            Action::Wait
        } else if row.contains(&Found::Corrupt) {
            Action::Park
        } else {
            Action::Nothing
        };
        assert_eq!(decision.action, expected, "{row:?}");
    }
}

#[test]
fn a_layer_more_or_less_never_stops_what_the_database_holds() {
    for row in matrix().filter(|[_, database, _]| database.mark().is_some()) {
        assert!(decide(&facts(row)).action.dials(), "{row:?}");
    }
}

#[test]
fn layers_that_do_not_hold_what_goes_on_are_written() {
    for row in matrix() {
        let decision = decide(&facts(row));
        for (source, found) in [(Source::Redis, row[0]), (Source::Files, row[2])] {
            let outdated = decision.outdated.contains(&source);
            let expected = match decision.action {
                Action::Dial => !found.is_silent() && found.mark() != row[1].mark(),
                Action::Repair | Action::Adopt | Action::Renew => !found.is_silent(),
                Action::Wait | Action::Park | Action::Leave | Action::Nothing => false,
            };
            assert_eq!(outdated, expected, "{row:?}: {source:?}");
        }
    }
}

/// Returns action, verdict and source of a row.
fn outcome(row: [Found; 3]) -> (Action, Verdict, Option<Source>) {
    let decision = decide(&facts(row));
    (decision.action, decision.verdict, decision.source)
}

#[test]
fn rows_that_people_know() {
    use Action::{Adopt, Dial, Park, Repair, Wait};
    use Found::{Corrupt, Down, Empty, Fresh, Newer, Slow, Stale};
    use Source::{Database, Files, Redis};
    for (row, expected) in [
        // An ordinary restart: thousands start without a read of the database for each.
        ([Fresh, Fresh, Stale], (Dial, Verdict::Newest, Some(Database))),
        // S-30: Redis was flushed.
        ([Empty, Fresh, Stale], (Dial, Verdict::Newest, Some(Database))),
        // S-31: Redis is down.
        ([Down, Fresh, Fresh], (Dial, Verdict::Newest, Some(Database))),
        ([Slow, Fresh, Empty], (Dial, Verdict::Newest, Some(Database))),
        // S-32: Redis is behind.
        ([Stale, Fresh, Empty], (Dial, Verdict::Newest, Some(Database))),
        // The database was set back, or emptied.
        ([Newer, Fresh, Stale], (Adopt, Verdict::DatabaseSetBack, Some(Redis))),
        ([Fresh, Fresh, Newer], (Adopt, Verdict::DatabaseSetBack, Some(Files))),
        ([Stale, Empty, Fresh], (Adopt, Verdict::DatabaseEmptied, Some(Files))),
        ([Fresh, Empty, Fresh], (Adopt, Verdict::DatabaseEmptied, Some(Redis))),
        ([Down, Empty, Stale], (Adopt, Verdict::DatabaseEmptied, Some(Files))),
        // S-28: the credentials in the database are damaged.
        ([Empty, Corrupt, Fresh], (Repair, Verdict::DamageRepaired, Some(Files))),
        ([Stale, Corrupt, Empty], (Adopt, Verdict::DamageReplaced, Some(Redis))),
        ([Newer, Corrupt, Fresh], (Adopt, Verdict::DamageReplaced, Some(Redis))),
        ([Empty, Corrupt, Corrupt], (Park, Verdict::AllDamaged, None)),
        ([Down, Corrupt, Empty], (Wait, Verdict::LayersSilent, None)),
        // S-54: the database errs.
        ([Fresh, Down, Empty], (Wait, Verdict::DatabaseSilent, Some(Redis))),
        ([Empty, Slow, Empty], (Wait, Verdict::DatabaseSilent, None)),
    ] {
        assert_eq!(outcome(row), expected, "{row:?}");
    }
}

#[test]
fn a_login_that_the_database_has_seen_end_does_not_come_back() {
    let old = Layer::Holds { mark: mark(5, 100), age: AGE };
    let ended = Facts {
        redis: old,
        database: Database::Unpaired(mark(5, 101)),
        files: Layer::Corrupt,
        before: Before::default(),
    };
    let decision = decide(&ended);
    assert_eq!((decision.action, decision.verdict, decision.source), (Action::Nothing, Verdict::NoLogin, None));
    assert_eq!(decision.outdated, [Source::Redis, Source::Files]);
    let set_back = Facts { database: Database::Unpaired(mark(1, 0)), ..ended };
    assert_eq!(decide(&set_back).action, Action::Adopt);
}

#[test]
fn whoever_has_no_login_is_judged_anew_when_a_silent_place_speaks() {
    let databases = [Database::Absent, Database::Unpaired(mark(5, 100)), Database::Corrupt(Some(mark(5, 100)))];
    for database in databases {
        for files in ALL {
            let silent =
                Facts { redis: Found::Down.layer(), database, files: files.layer(), before: Before::default() };
            let early = decide(&silent);
            for redis in ALL {
                let late = decide(&Facts { redis: redis.layer(), ..silent });
                let has_changed = early.action != late.action && !early.action.dials();
                assert!(early.may_change() || !has_changed, "{database:?}, {files:?}, {redis:?}: {early:?}");
            }
        }
        let spoken = Facts { redis: Layer::Absent, database, files: Layer::Absent, before: Before::default() };
        let decision = decide(&spoken);
        assert_eq!(decision.may_change(), decision.action == Action::Park, "{decision:?}");
    }
}

#[test]
fn what_an_operator_deleted_does_not_come_back() {
    let old = Layer::Holds { mark: mark(5, 100), age: AGE };
    let decision =
        decide(&Facts { redis: old, database: Database::Deleted, files: Layer::Off, before: Before::default() });
    assert_eq!((decision.action, decision.verdict), (Action::Nothing, Verdict::Deleted));
    assert_eq!(decision.outdated, [Source::Redis]);
}

#[test]
fn what_another_database_goes_on_with_is_left_alone() {
    let used = |surely| Layer::Used { mark: mark(5, 100), surely };
    let own = Layer::Holds { mark: mark(5, 99), age: AGE };
    let decided = |redis, database, files| {
        let decision = decide(&Facts { redis, database, files, before: Before::default() });
        (decision.action, decision.verdict)
    };
    let (waits, leaves) = ((Action::Wait, Verdict::UsedElsewhere), (Action::Leave, Verdict::UsedElsewhere));
    assert_eq!(decided(used(false), Database::Absent, Layer::Off), waits);
    assert_eq!(decided(used(true), Database::Absent, Layer::Silent(Silence::Down)), leaves);
    assert_eq!(decided(own, Database::Absent, used(true)), leaves, "whatever another layer has of it");
    assert_eq!(decided(used(false), Database::Absent, used(true)), leaves);
    assert_eq!(decided(used(true), Database::Holds(mark(4, 99)), Layer::Off), leaves, "it was taken in there");
    assert_eq!(decided(used(true), Database::Corrupt(None), own), leaves);
    assert_eq!(decided(used(true), Database::Unpaired(mark(4, 99)), Layer::Off), leaves);
    // It took a copy, and this database has gone on since.
    let newest = (Action::Dial, Verdict::Newest);
    assert_eq!(decided(used(true), Database::Holds(mark(5, 101)), Layer::Off), newest);
    let decision = decide(&Facts {
        redis: used(true),
        database: Database::Holds(mark(5, 101)),
        files: Layer::Off,
        before: Before::default(),
    });
    assert_eq!(decision.outdated, [Source::Redis]);
    let deleted =
        Facts { redis: used(true), database: Database::Deleted, files: Layer::Off, before: Before::default() };
    assert!(decide(&deleted).outdated.is_empty(), "the copy of somebody else stays");
}

#[test]
fn a_later_epoch_is_a_later_history() {
    let database = mark(5, 100);
    for (copy, expected) in [
        (mark(5, 100), Standing::Exact),
        // A claim alone writes nothing.
        (mark(4, 100), Standing::Exact),
        (mark(4, 99), Standing::Older),
        (mark(6, 100), Standing::Newer),
        (mark(6, 90), Standing::Newer),
        (mark(4, 101), Standing::Newer),
    ] {
        assert_eq!(copy.against(database), expected, "{copy:?}");
    }
}

#[test]
fn an_installation_without_layers_has_the_database_alone() {
    let alone = |database| decide(&Facts { redis: Layer::Off, database, files: Layer::Off, before: Before::default() });
    assert_eq!(alone(Database::Holds(mark(1, 1))).action, Action::Dial);
    assert_eq!(alone(Database::Corrupt(None)).action, Action::Park);
    assert_eq!(alone(Database::Unpaired(mark(1, 1))).action, Action::Nothing);
    assert_eq!(alone(Database::Silent(Silence::Down)).action, Action::Wait);
    assert!(alone(Database::Holds(mark(1, 1))).outdated.is_empty());
}

fn layers() -> impl Strategy<Value = Layer> {
    prop_oneof![
        (0_u64..4, 0_u64..4).prop_map(|(epoch, revision)| Layer::Holds { mark: mark(epoch, revision), age: AGE }),
        (0_u64..4, 0_u64..4, any::<bool>())
            .prop_map(|(epoch, revision, surely)| Layer::Used { mark: mark(epoch, revision), surely }),
        Just(Layer::Absent),
        Just(Layer::Corrupt),
        Just(Layer::Silent(Silence::Down)),
        Just(Layer::Off),
    ]
}

fn databases() -> impl Strategy<Value = Database> {
    let marks = || (0_u64..4, 0_u64..4).prop_map(|(epoch, revision)| mark(epoch, revision));
    prop_oneof![
        marks().prop_map(Database::Holds),
        prop::option::of(marks()).prop_map(Database::Corrupt),
        marks().prop_map(Database::Unpaired),
        Just(Database::Deleted),
        Just(Database::Absent),
        Just(Database::Silent(Silence::Slow)),
    ]
}

proptest! {
    #[test]
    fn with_any_numbers_too(redis in layers(), database in databases(), files in layers()) {
        let decision = decide(&Facts { redis, database, files, before: Before::default() });
        let copies: Vec<Mark> = [redis, files]
            .into_iter()
            .filter_map(|layer| if let Layer::Holds { mark, .. } = layer { Some(mark) } else { None })
            .collect();
        let used = [redis, files].into_iter().filter_map(|layer| if let Layer::Used { mark, .. } = layer { Some(mark) } else { None });
        let newer_elsewhere = used.clone().any(|mark| match database {
            Database::Holds(held) | Database::Corrupt(Some(held)) | Database::Unpaired(held) => {
                mark.against(held) == Standing::Newer
            }
            Database::Corrupt(None) | Database::Absent => true,
            Database::Deleted | Database::Silent(_) => false,
        });
        prop_assert_eq!(decision.verdict == Verdict::UsedElsewhere, newer_elsewhere);
        if newer_elsewhere {
            prop_assert!(matches!(decision.action, Action::Wait | Action::Leave));
            prop_assert!(decision.outdated.is_empty() && decision.source.is_none());
            return Ok(());
        }
        match database {
            Database::Silent(_) => prop_assert_eq!(decision.action, Action::Wait),
            Database::Deleted => prop_assert_eq!(decision.action, Action::Nothing),
            Database::Holds(held) | Database::Corrupt(Some(held)) => {
                prop_assert!(!decision.action.may_pair());
                if decision.action.keeps_sessions() {
                    prop_assert_eq!(decision.mark.map(|mark| mark.revision), Some(held.revision));
                    if matches!(database, Database::Holds(_)) {
                        prop_assert!(copies.iter().all(|copy| copy.against(held) != Standing::Newer));
                    }
                }
            }
            Database::Corrupt(None) | Database::Absent => {
                prop_assert!(!decision.action.keeps_sessions());
                prop_assert_eq!(decision.action == Action::Adopt, !copies.is_empty());
            }
            Database::Unpaired(held) => {
                let newer = copies.iter().any(|copy| copy.against(held) == Standing::Newer);
                prop_assert_eq!(decision.action, if newer { Action::Adopt } else { Action::Nothing });
            }
        }
        if decision.action == Action::Adopt {
            prop_assert!(decision.mark.is_some_and(|mark| copies.contains(&mark)));
        }
    }
}

fn fleet<T: Copy>(members: &[(&str, T, Option<i64>)]) -> BTreeMap<InstanceId, Member<T>> {
    let member = |(id, says, online): &(&str, T, Option<i64>)| {
        (InstanceId::new(id), Member { says: *says, last_online_ms: *online })
    };
    members.iter().map(member).collect()
}

#[test]
fn the_fleet_is_every_instance_that_any_place_knows_the_last_connected_first() {
    let copy = Layer::Holds { mark: mark(1, 1), age: AGE };
    let redis = Ok(fleet(&[("cafe", copy, Some(30)), ("bar", copy, Some(10))]));
    let database = Ok(fleet(&[
        ("bar", Database::Holds(mark(1, 1)), Some(20)),
        ("atelier", Database::Unpaired(mark(0, 0)), None),
        ("shop", Database::Holds(mark(1, 1)), Some(40)),
    ]));
    let decided = decide_all(Some(&redis), &database, None, &Memory::default());
    let shown: Vec<(&str, Action, Option<Source>)> =
        decided.iter().map(|one| (one.id.as_str(), one.decision.action, one.decision.source)).collect();
    assert_eq!(
        shown,
        [
            ("shop", Action::Dial, Some(Source::Database)),
            ("cafe", Action::Adopt, Some(Source::Redis)),
            ("bar", Action::Dial, Some(Source::Database)),
            ("atelier", Action::Nothing, None),
        ]
    );
    assert_eq!(decided[2].last_online_ms, Some(20));
}

#[test]
fn a_place_that_says_nothing_says_nothing_of_anybody() {
    let files = Ok(fleet(&[("shop", Layer::Corrupt, None)]));
    let decided = decide_all(Some(&Err(Silence::Slow)), &Ok(BTreeMap::new()), Some(&files), &Memory::default());
    assert_eq!(decided[0].decision.action, Action::Wait, "Redis may have it");
    assert_eq!(decided[0].decision.silent, [(Source::Redis, Silence::Slow)]);
    let decided = decide_all(None, &Err(Silence::Down), Some(&files), &Memory::default());
    assert_eq!(decided[0].decision.action, Action::Wait);
}
