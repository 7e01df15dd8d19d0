use super::*;

fn rng() -> StdRng {
    rand::make_rng()
}

#[test]
fn a_code_is_read_however_it_is_typed() {
    for typed in ["ABCD1234", "abcd-1234", " ABCD 1234 "] {
        assert_eq!(parse(typed).as_deref(), Some("ABCD1234"), "{typed}");
    }
    for typed in ["", "ABCD123", "ABCD12345", "ABCD123O", "ABCD1230", "ÄBCD123"] {
        assert_eq!(parse(typed), None, "{typed}");
    }
}

#[test]
fn a_wrapped_key_opens_with_its_code_and_is_another_key_with_another() {
    let wrapped = WrappedKey::wrap([7; KEY], "ABCD1234", &mut rng());
    let wrapped = WrappedKey::parse(wrapped.as_bytes()).unwrap();
    assert_eq!(wrapped.unwrap("ABCD1234"), [7; KEY]);
    assert_ne!(wrapped.unwrap("ABCD1235"), [7; KEY]);
    assert_eq!(WrappedKey::parse(&[0; 79]), None);
}

#[test]
fn the_phone_takes_only_a_bundle_about_the_two_of_them() {
    let (rng, phone) = (&mut rng(), SignalIdentity::generate(0, &mut rng()).unwrap());
    let (companion, identity) = (KeyPair::generate(rng), KeyPair::generate(rng));
    let public = |pair: &KeyPair| <[u8; KEY]>::try_from(pair.public_key.public_key_bytes()).unwrap();
    let typed = TypedCode { ephemeral: KeyPair::generate(rng), companion: public(&companion) };
    let shared = companion.calculate_agreement(&typed.ephemeral.public_key).unwrap();
    let bundle = |first: [u8; KEY], second: [u8; KEY]| {
        let key = derive(&shared, Some(&[1; SALT]), b"link_code_pairing_key_bundle_encryption_key");
        let sealed =
            Aes256Gcm::new(&key.into()).encrypt(&Nonce::from([2; NONCE]), &[first, second, [3; KEY]].concat()[..]);
        [&[1; SALT][..], &[2; NONCE], &sealed.unwrap()].concat()
    };
    let good = bundle(public(&identity), phone.identity());
    let secret = typed.open(&good, &public(&identity), &phone).unwrap();
    let own = identity.calculate_agreement(&PublicKey::from_djb_public_key_bytes(&phone.identity()).unwrap()).unwrap();
    assert_eq!(secret, derive(&[shared, own, [3; KEY]].concat(), None, b"adv_secret"));

    let about_others = bundle(public(&identity), [9; KEY]);
    assert!(matches!(typed.open(&about_others, &public(&identity), &phone), Err(BundleError::Keys)));
    let mut spoilt = good;
    spoilt[60] ^= 1;
    for sealed in [&spoilt[..], &spoilt[..20], &[]] {
        assert!(matches!(typed.open(sealed, &public(&identity), &phone), Err(BundleError::Sealed)));
    }
}
