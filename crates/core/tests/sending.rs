//! Sending: how many, under which id again, and what a refusal means.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_core::sending::allowance::{Allowance, Rate};
use holdfast_core::sending::key::{Earlier, Fate, InvalidKey, Keep, Key, Repeat};
use holdfast_core::sending::nack::Nack;
use holdfast_core::sending::tries::{MOST, Next, Outcome, Tries};
use holdfast_core::time::Timestamp;
use proptest::prelude::*;

#[test]
fn a_key_is_read_bare_and_in_quotation_marks() {
    let longest = "k".repeat(Key::LONGEST);
    for (header, key) in [
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("\"8e03978e\"", "8e03978e"),
        ("  order 17, line 2\t", "order 17, line 2"),
        (r#""a \"quoted\" \\ text""#, r#"a "quoted" \ text"#),
        (r#"in"side"#, r#"in"side"#),
        (longest.as_str(), longest.as_str()),
    ] {
        assert_eq!(Key::parse(header).as_ref().map(Key::as_str), Ok(key), "{header}");
    }
}

#[test]
fn what_is_no_key_is_refused() {
    let too_long = "k".repeat(Key::LONGEST + 1);
    for (header, why) in [
        ("", InvalidKey::Empty),
        (" \t ", InvalidKey::Empty),
        ("\"\"", InvalidKey::Empty),
        (too_long.as_str(), InvalidKey::TooLong),
        ("tab\tinside", InvalidKey::Unprintable),
        ("schlüssel", InvalidKey::Unprintable),
        ("\"never closed", InvalidKey::Quotes),
        ("\"", InvalidKey::Quotes),
        (r#""a" b"#, InvalidKey::Quotes),
        (r#""a";b=1"#, InvalidKey::Quotes),
        (r#""\n""#, InvalidKey::Quotes),
    ] {
        assert_eq!(Key::parse(header), Err(why), "{header}");
    }
}

#[test]
fn a_key_that_comes_again_never_makes_a_second_message() {
    let earlier = |same_request, answered| Some(Earlier { same_request, answered });
    for (known, repeat) in [
        (None, Repeat::Send),
        (earlier(true, false), Repeat::Send),
        (earlier(true, true), Repeat::Replay),
        (earlier(false, false), Repeat::Mismatch),
        (earlier(false, true), Repeat::Mismatch),
    ] {
        assert_eq!(Repeat::of(known), repeat, "{known:?}");
    }
}

#[test]
fn what_is_kept_and_said_of_an_outcome_depends_on_what_may_have_left_before() {
    for (fate, left_before, keep, unconfirmed) in [
        (Fate::Final, false, Keep::Answer, false),
        (Fate::Final, true, Keep::Answer, false),
        (Fate::Refused, false, Keep::NotLeft, false),
        (Fate::Refused, true, Keep::Nothing, false),
        (Fate::NotSent, false, Keep::NotLeft, false),
        (Fate::NotSent, true, Keep::Nothing, true),
        (Fate::Unknown, false, Keep::Nothing, true),
        (Fate::Unknown, true, Keep::Nothing, true),
    ] {
        assert_eq!(
            (fate.keep(left_before), fate.is_unconfirmed(left_before)),
            (keep, unconfirmed),
            "{fate:?} {left_before}"
        );
    }
}

#[test]
fn only_what_has_a_key_and_time_is_sent_again() {
    const LEFT: Duration = Duration::from_secs(1);
    let first = |keyed, outcome, left| Tries::new(keyed).after(outcome, left);
    for keyed in [true, false] {
        assert_eq!(first(keyed, Outcome::Answered, LEFT), Next::Answer);
        assert_eq!(first(keyed, Outcome::NotSent, LEFT), Next::Answer);
        assert_eq!(first(keyed, Outcome::Unknown, Duration::ZERO), Next::Unconfirmed);
    }
    assert_eq!(first(false, Outcome::Unknown, LEFT), Next::Unconfirmed);
    assert_eq!(first(true, Outcome::Unknown, LEFT), Next::Again);
}

#[test]
fn what_may_have_left_once_is_not_called_unsent_later() {
    const LEFT: Duration = Duration::from_secs(1);
    let mut tries = Tries::new(true);
    assert_eq!(tries.after(Outcome::Unknown, LEFT), Next::Again);
    assert_eq!(tries.after(Outcome::NotSent, LEFT), Next::Again);
    assert_eq!(tries.after(Outcome::NotSent, LEFT), Next::Unconfirmed);

    let mut tries = Tries::new(true);
    assert_eq!(tries.after(Outcome::Unknown, LEFT), Next::Again);
    assert_eq!(tries.after(Outcome::Answered, LEFT), Next::Answer, "WhatsApp has the last word");
}

#[test]
fn each_kind_of_refusal_says_its_own() {
    let codes: BTreeSet<_> = Nack::ALL.iter().map(|nack| nack.code()).collect();
    let sentences: BTreeSet<_> = Nack::ALL.iter().map(|nack| nack.sentence()).collect();
    assert_eq!((codes.len(), sentences.len()), (Nack::ALL.len(), Nack::ALL.len()));
    for (code, nack) in [
        (403, Nack::Forbidden),
        (406, Nack::Forbidden),
        (404, Nack::NoSuchChat),
        (463, Nack::Restricted),
        (475, Nack::Restricted),
        (429, Nack::TooFast),
        (421, Nack::GroupChanged),
        (400, Nack::NotUnderstood),
        (479, Nack::NotUnderstood),
        (503, Nack::Unavailable),
        (0, Nack::Other),
        (499, Nack::Other),
        (999, Nack::Other),
    ] {
        assert_eq!(Nack::of(code), nack, "{code}");
    }
    for code in 0..=u16::MAX {
        assert!(Nack::ALL.contains(&Nack::of(code)));
    }
}

#[test]
fn a_burst_uses_the_minute_up_and_the_wait_is_said_exactly() {
    let rate = Rate::per_minute(3).unwrap();
    let at = |seconds: u64| Timestamp::from_millis(seconds * 1000);
    let mut allowance = Allowance::default();
    for _ in 0..3 {
        allowance = allowance.take(rate, at(100)).unwrap();
    }
    assert_eq!(allowance.take(rate, at(100)), Err(Duration::from_secs(20)));
    assert_eq!(allowance.take(rate, at(119)), Err(Duration::from_secs(1)));
    allowance = allowance.take(rate, at(120)).unwrap();
    assert_eq!(allowance.take(rate, at(120)), Err(Duration::from_secs(20)));
    assert_eq!(Rate::per_minute(0), None);
}

proptest! {
    /// Over any stretch of time no more than a minute's worth and what comes back meanwhile.
    #[test]
    fn no_stretch_of_time_sees_more_than_the_rate_allows(
        per_minute in 1_u32..400,
        gaps in proptest::collection::vec(0_u64..40_000, 1..200),
    ) {
        let rate = Rate::per_minute(per_minute).unwrap();
        let mut allowance = Allowance::default();
        let mut now = 0;
        let mut sent = Vec::new();
        for gap in gaps {
            now += gap;
            if let Ok(after) = allowance.take(rate, Timestamp::from_millis(now)) {
                allowance = after;
                sent.push(now);
            }
        }
        for (first, from) in sent.iter().enumerate() {
            for (last, until) in sent.iter().enumerate().skip(first) {
                let most = u64::from(per_minute) + (until - from) * u64::from(per_minute) / 60_000 + 1;
                prop_assert!((last - first + 1) as u64 <= most);
            }
        }
    }

    /// Whoever waits as long as was said may send, and not a moment before.
    #[test]
    fn the_wait_that_is_told_is_the_wait(per_minute in 1_u32..400, gaps in proptest::collection::vec(0_u64..2_000, 1..500)) {
        let rate = Rate::per_minute(per_minute).unwrap();
        let mut allowance = Allowance::default();
        let mut now = Timestamp::from_millis(0);
        for gap in gaps {
            now = now.after(Duration::from_millis(gap));
            match allowance.take(rate, now) {
                Ok(after) => allowance = after,
                Err(wait) => {
                    // Moments are whole milliseconds.
                    let rounded = Duration::from_millis(u64::try_from(wait.as_micros().div_ceil(1000)).unwrap());
                    let later = now.after(rounded);
                    prop_assert!(allowance.take(rate, later).is_ok());
                    let before = Timestamp::from_millis(later.as_millis() - 1);
                    prop_assert!(allowance.take(rate, before).is_err());
                }
            }
        }
    }

    /// However the clock behaves, nothing overflows and nobody is told to wait longer than a minute.
    #[test]
    fn a_clock_that_leaps_does_no_harm(per_minute in 1_u32..1_000_000, moments in proptest::collection::vec(any::<u64>(), 1..50)) {
        let rate = Rate::per_minute(per_minute).unwrap();
        let mut allowance = Allowance::default();
        for moment in moments {
            match allowance.take(rate, Timestamp::from_millis(moment)) {
                Ok(after) => allowance = after,
                Err(wait) => prop_assert!(wait <= Duration::from_secs(60)),
            }
        }
    }

    #[test]
    fn a_key_in_quotation_marks_is_the_same_key(text in "[ -~]{1,255}") {
        let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let key = Key::parse(&quoted);
        if !text.trim().is_empty() {
            prop_assert_eq!(key.as_ref().map(Key::as_str), Ok(text.as_str()));
        }
        if !text.starts_with(['"', ' ']) && !text.ends_with(' ') {
            prop_assert_eq!(Key::parse(&text), key);
        }
    }

    #[test]
    fn no_request_tries_for_ever(outcomes in proptest::collection::vec(0_u8..3, 10)) {
        let mut tries = Tries::new(true);
        let again = outcomes.iter().take_while(|outcome| {
            let outcome = [Outcome::Answered, Outcome::NotSent, Outcome::Unknown][usize::from(**outcome)];
            tries.after(outcome, Duration::from_secs(60)) == Next::Again
        });
        prop_assert!(again.count() < MOST as usize);
    }
}
