//! Which other databases are at work: told by signs that change, and by the clock of whoever looks.

use std::time::Duration;

use holdfast_core::id::DatabaseId;
use holdfast_core::restoration::Source;
use holdfast_core::restoration::neighbours::{GONE_AFTER, Neighbours, Presence, SIGN_EVERY, Signs};
use holdfast_core::time::Timestamp;

fn database(number: u8) -> DatabaseId {
    DatabaseId::of([number; 16])
}

fn signs(of: &[(u8, &str)]) -> Signs {
    of.iter().map(|(number, sign)| (database(*number), (*sign).to_owned())).collect()
}

fn at(time: Duration) -> Timestamp {
    Timestamp::default().after(time)
}

const MOMENT: Duration = Duration::from_millis(1);

#[test]
fn a_sign_that_does_not_change_is_of_an_engine_that_is_gone() {
    let mut heard = Neighbours::default();
    assert_eq!(heard.presence(&database(1), at(MOMENT)), Presence::Gone, "nobody left a sign");
    for round in 0..3 {
        assert!(heard.hear(Source::Redis, &signs(&[(1, "a")]), at(SIGN_EVERY * round)).is_empty());
    }
    assert_eq!(
        heard.presence(&database(1), at(GONE_AFTER.saturating_sub(MOMENT))),
        Presence::Lives,
        "that is not known yet"
    );
    assert_eq!(heard.presence(&database(1), at(GONE_AFTER)), Presence::Gone);
}

#[test]
fn a_sign_that_changes_is_of_an_engine_that_lives() {
    let mut heard = Neighbours::default();
    heard.hear(Source::Files, &signs(&[(1, "a")]), at(Duration::ZERO));
    let later = GONE_AFTER * 10;
    assert_eq!(heard.presence(&database(1), at(later)), Presence::Gone);
    assert_eq!(heard.hear(Source::Files, &signs(&[(1, "b")]), at(later)), [database(1)]);
    assert_eq!(heard.presence(&database(1), at(later + GONE_AFTER.saturating_sub(MOMENT))), Presence::Lives);
    assert_eq!(heard.presence(&database(2), at(later)), Presence::Gone);
}

#[test]
fn whoever_takes_the_sign_away_is_gone_at_once() {
    let mut heard = Neighbours::default();
    heard.hear(Source::Redis, &signs(&[(1, "a"), (2, "a")]), at(Duration::ZERO));
    heard.hear(Source::Files, &signs(&[(2, "a")]), at(Duration::ZERO));
    heard.hear(Source::Redis, &signs(&[]), at(MOMENT));
    assert_eq!(heard.presence(&database(1), at(MOMENT)), Presence::Gone);
    assert_eq!(heard.presence(&database(2), at(MOMENT)), Presence::Lives, "another place still has its sign");
}

#[test]
fn another_installation_stays_one_while_it_is_away() {
    let mut heard = Neighbours::default();
    heard.remember(database(1));
    assert_eq!(heard.presence(&database(1), at(GONE_AFTER * 100)), Presence::Neighbour);
}

#[test]
fn a_name_of_a_database_means_nothing_in_a_path() {
    assert_eq!(DatabaseId::parse(database(7).as_str()), Some(database(7)));
    for text in [
        "",
        "..",
        "0707",
        "0707070707070707070707070707070G",
        "0707070707070707/707070707070707",
        "07070707070707070707070707070707 ",
    ] {
        assert_eq!(DatabaseId::parse(text), None, "{text}");
    }
}
