//! Which way requests go, and what is said of instances that are elsewhere.

use holdfast_core::connection::state::PublicState;
use holdfast_core::elsewhere::{Absence, Course, Owner, course};

const URL: &str = "http://b:8080";

fn owner(node: &'static str, url: Option<&'static str>, alive: bool) -> Owner<'static> {
    Owner { node, url, alive }
}

#[test]
fn a_request_goes_to_the_living_owner_and_nowhere_else() {
    let refused = Course::Refused;
    for (found, first, forwarded) in [
        (None, Course::Unknown, Course::Unknown),
        (Some(None), refused(Absence::Unowned), refused(Absence::Moving)),
        (Some(Some(owner("b", Some(URL), true))), Course::HandedOn { node: "b", url: URL }, refused(Absence::Moving)),
        (Some(Some(owner("b", None, true))), refused(Absence::WithoutUrl), refused(Absence::Moving)),
        (Some(Some(owner("b", Some(URL), false))), refused(Absence::Unowned), refused(Absence::Moving)),
        (Some(Some(owner("a", Some(URL), true))), refused(Absence::Moving), refused(Absence::Moving)),
        (Some(Some(owner("a", None, true))), refused(Absence::Moving), refused(Absence::Moving)),
        (Some(Some(owner("a", Some(URL), false))), refused(Absence::Unowned), refused(Absence::Moving)),
    ] {
        assert_eq!(course("a", found, false), first, "{found:?}");
        assert_eq!(course("a", found, true), forwarded, "{found:?}, forwarded");
    }
}

#[test]
fn what_nobody_answers_for_is_never_called_open() {
    let (connecting, close) = (PublicState::Connecting, PublicState::Close);
    for (absence, wanted, expected) in [
        (Absence::Unowned, true, (connecting, true)),
        (Absence::Unowned, false, (close, false)),
        (Absence::Moving, true, (connecting, true)),
        (Absence::Moving, false, (close, false)),
        (Absence::WithoutUrl, true, (connecting, true)),
        (Absence::WithoutUrl, false, (connecting, true)),
        (Absence::Unreachable, true, (connecting, true)),
        (Absence::Unreachable, false, (connecting, true)),
    ] {
        assert_eq!(absence.state(wanted), expected, "{absence:?} {wanted}");
    }
}
