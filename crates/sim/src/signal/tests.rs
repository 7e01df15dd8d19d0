use super::*;
use crate::address::Phone;

fn somebody(number: &str) -> (Address, SignalIdentity) {
    let address = Address::new(Phone::parse(number).unwrap(), 0);
    (address, SignalIdentity::generate(0, &mut rand::make_rng::<StdRng>()).unwrap())
}

#[test]
fn two_people_talk_and_a_message_opens_only_once() {
    let rng = &mut rand::make_rng::<StdRng>();
    let ((ana, mut anas), (bob, mut bobs)) = (somebody("5511999990001"), somebody("5511999990002"));
    anas.begin_session(&bob, &bobs.bundle(rng).unwrap(), rng).unwrap();

    let hello = anas.seal(&bob, b"hello", rng).unwrap();
    assert_eq!(hello.kind, "pkmsg");
    assert_eq!(bobs.open(&ana, hello.kind, &hello.bytes, rng).unwrap(), b"hello");
    assert!(bobs.open(&ana, hello.kind, &hello.bytes, rng).is_err());

    let answer = bobs.seal(&ana, b"hi", rng).unwrap();
    assert_eq!(answer.kind, "msg");
    assert_eq!(anas.open(&bob, answer.kind, &answer.bytes, rng).unwrap(), b"hi");
}

#[test]
fn each_message_has_its_own_place_in_the_chain() {
    let rng = &mut rand::make_rng::<StdRng>();
    let ((_, mut anas), (bob, mut bobs)) = (somebody("5511999990001"), somebody("5511999990002"));
    anas.begin_session(&bob, &bobs.bundle(rng).unwrap(), rng).unwrap();
    let first = anas.seal(&bob, b"1", rng).unwrap();
    let second = anas.seal(&bob, b"2", rng).unwrap();
    let (first, second) =
        (chain_position(first.kind, &first.bytes).unwrap(), chain_position(second.kind, &second.bytes).unwrap());
    assert_eq!(first.ratchet, second.ratchet);
    assert_eq!((first.counter, second.counter), (0, 1));
}

#[test]
fn sessions_survive_the_state_file() {
    let rng = &mut rand::make_rng::<StdRng>();
    let ((ana, mut anas), (bob, mut bobs)) = (somebody("5511999990001"), somebody("5511999990002"));
    anas.begin_session(&bob, &bobs.bundle(rng).unwrap(), rng).unwrap();
    let hello = anas.seal(&bob, b"hello", rng).unwrap();

    let mut anas: SignalIdentity = serde_json::from_str(&serde_json::to_string(&anas).unwrap()).unwrap();
    let mut bobs: SignalIdentity = serde_json::from_str(&serde_json::to_string(&bobs).unwrap()).unwrap();
    assert_eq!(bobs.open(&ana, hello.kind, &hello.bytes, rng).unwrap(), b"hello");
    let again = anas.seal(&bob, b"again", rng).unwrap();
    assert_eq!(bobs.open(&ana, again.kind, &again.bytes, rng).unwrap(), b"again");
}

#[test]
fn padding_is_between_one_and_sixteen_bytes() {
    let rng = &mut rand::make_rng::<StdRng>();
    for _ in 0..64 {
        assert_eq!(unpad(pad(b"text", rng)).unwrap(), b"text");
    }
    for wrong in [&b""[..], &[0], &[17; 17], &[3, 3]] {
        assert!(unpad(wrong.to_vec()).is_err());
    }
}
