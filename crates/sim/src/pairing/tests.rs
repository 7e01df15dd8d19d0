use super::*;
use crate::address::Phone;
use wacore_libsignal::protocol::KeyPair;

fn scanned() -> (Signing, KeyPair) {
    let rng = &mut rand::make_rng::<StdRng>();
    let device = KeyPair::generate(rng);
    let phone = Phone::parse("5511999990001").unwrap();
    let person = Person::generate(phone.clone(), 0, rng).unwrap();
    let registration = Registration {
        noise_key: [1; 32],
        identity: device.public_key.public_key_bytes().try_into().unwrap(),
        registration_id: 7,
        signed_key: SignedKey { id: 1, value: [2; 32], signature: vec![3; 64] },
        require_full_sync: None,
    };
    (sign_device(&person, &registration, Address::new(phone, 1), 1_800_000_000_000, rng).unwrap(), device)
}

fn answer(signing: &Signing, device: &KeyPair) -> ADVSignedDeviceIdentity {
    let container = ADVSignedDeviceIdentityHMAC::decode_from_slice(&signing.for_device(&[9; 32])).unwrap();
    let mut statement = ADVSignedDeviceIdentity::decode_from_slice(container.details.as_deref().unwrap()).unwrap();
    let signed = [
        &DEVICE_PREFIX[..],
        statement.details.as_deref().unwrap(),
        device.public_key.public_key_bytes(),
        &signing.account_key,
    ]
    .concat();
    statement.device_signature =
        Some(device.private_key.calculate_signature(&signed, &mut rand::make_rng::<StdRng>()).unwrap().to_vec());
    statement
}

#[test]
fn a_device_that_signs_is_accepted_with_or_without_the_account_key_in_its_answer() {
    let (signing, device) = scanned();
    let mut answer = answer(&signing, &device);
    assert!(signing.verify(&answer.encode_to_vec()).is_some());
    answer.account_signature_key = None;
    let statement =
        ADVSignedDeviceIdentity::decode_from_slice(&signing.verify(&answer.encode_to_vec()).unwrap()).unwrap();
    assert_eq!(statement.account_signature_key.as_deref(), Some(&signing.account_key[..]));
}

#[test]
fn a_device_that_signs_wrongly_is_refused() {
    let (signing, device) = scanned();
    let good = answer(&signing, &device);
    let stranger = KeyPair::generate(&mut rand::make_rng::<StdRng>());
    assert!(signing.verify(&answer(&signing, &stranger).encode_to_vec()).is_none());
    for spoil in [
        |answer: &mut ADVSignedDeviceIdentity| answer.device_signature = None,
        |answer: &mut ADVSignedDeviceIdentity| answer.details = Some(vec![8]),
        |answer: &mut ADVSignedDeviceIdentity| answer.account_signature_key = Some(vec![8; 32]),
    ] {
        let mut bad = good.clone();
        spoil(&mut bad);
        assert!(signing.verify(&bad.encode_to_vec()).is_none());
    }
    assert!(signing.verify(b"\xff").is_none());
}

#[test]
fn the_seal_depends_on_the_secret() {
    let (signing, _) = scanned();
    assert_ne!(signing.for_device(&[1; 32]), signing.for_device(&[2; 32]));
    // RFC 4231, test case 2.
    assert_eq!(
        crate::encoding::hex(&mac(b"Jefe", b"what do ya want for nothing?")),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}

#[test]
fn qr_codes_are_read_with_and_without_a_link_before_them() {
    let key = STANDARD.encode([5; 32]);
    let bare = format!("2@ref,{key},{key},{key},1");
    let code = QrCode::parse(&bare).unwrap();
    assert_eq!((code.reference.as_str(), code.noise_key), ("2@ref", [5; 32]));
    assert_eq!(QrCode::parse(&format!("https://wa.me/settings/linked_devices#{bare}")).unwrap(), code);
    assert_eq!(QrCode::parse(&format!("2@ref,{key},{key},{key}")).unwrap(), code);
    assert_eq!(QrCode::parse("nonsense"), Err(QrError::Parts));
    assert_eq!(QrCode::parse(&format!("r,{key},AAAA,{key}")), Err(QrError::Key("identity key")));
}
