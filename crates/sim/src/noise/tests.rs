use super::*;
use rand::rngs::StdRng;
use wacore_noise::{IkHandshakeState, IkServerHelloOutcome, NoiseCipher, XxHandshakeState};

fn server() -> Responder {
    let identity = ServerIdentity::generate(1_800_000_000, &mut rand::make_rng::<StdRng>()).unwrap();
    Responder { identity: Arc::new(identity), decline_ik: false }
}

fn agree(writer: &NoiseCipher, reader: &NoiseCipher) {
    let mut sealed = writer.encrypt_with_counter(0, b"stanza").unwrap();
    reader.decrypt_in_place_with_counter(0, &mut sealed).unwrap();
    assert_eq!(sealed, b"stanza");
}

// The published initiator checks the chain against WhatsApp's own root, so the XX reply is judged by its refusal of
// ours: it gets as far as the signature, which needs every key before it to be right.
#[test]
fn an_xx_initiator_reads_our_hello_up_to_the_signature_of_a_root_it_does_not_know() {
    let client = KeyPair::generate(&mut rand::make_rng::<StdRng>());
    let mut state = XxHandshakeState::new(client, b"login".to_vec(), &WA_CONN_HEADER).unwrap();
    let AfterHello::AwaitFinish(reply, _) =
        read_client_hello(&server(), &state.build_client_hello().unwrap(), &mut rand::make_rng::<StdRng>()).unwrap()
    else {
        panic!("XX needs a ClientFinish");
    };
    let outcome = state.read_server_hello_and_build_client_finish(&reply);
    assert!(outcome.is_ok() || outcome.unwrap_err().to_string().contains("signature failed"));
}

#[test]
fn ik_is_accepted_when_the_static_key_is_ours() {
    let (server, client) = (server(), KeyPair::generate(&mut rand::make_rng::<StdRng>()));
    let mut state = IkHandshakeState::new(
        client.clone(),
        server.identity.noise_public_key().unwrap(),
        b"login".to_vec(),
        &WA_CONN_HEADER,
    )
    .unwrap();
    let hello = state.build_client_hello().unwrap();
    let AfterHello::Done(reply, established) =
        read_client_hello(&server, &hello, &mut rand::make_rng::<StdRng>()).unwrap()
    else {
        panic!("IK must be accepted");
    };
    let IkServerHelloOutcome::Continue(outcome) = state.read_server_hello(&reply).unwrap() else {
        panic!("the client must go on")
    };
    assert_eq!(established.payload, b"login");
    assert_eq!(established.client_static, client.public_key.public_key_bytes());
    agree(&outcome.write_cipher, &established.incoming);
    agree(&established.outgoing, &outcome.read_cipher);
}

#[test]
fn ik_for_another_static_key_falls_back_to_xx() {
    let client = KeyPair::generate(&mut rand::make_rng::<StdRng>());
    let mut state = IkHandshakeState::new(
        client,
        server().identity.noise_public_key().unwrap(),
        b"login".to_vec(),
        &WA_CONN_HEADER,
    )
    .unwrap();
    let hello = state.build_client_hello().unwrap();
    let AfterHello::AwaitFinish(reply, pending) =
        read_client_hello(&server(), &hello, &mut rand::make_rng::<StdRng>()).unwrap()
    else {
        panic!("IK must be refused");
    };
    assert_eq!(pending.pattern, Pattern::XxFallback);
    assert!(matches!(state.read_server_hello(&reply).unwrap(), IkServerHelloOutcome::Fallback(_)));
}

#[test]
fn ik_is_declined_while_a_rule_says_so() {
    let (mut server, client) = (server(), KeyPair::generate(&mut rand::make_rng::<StdRng>()));
    server.decline_ik = true;
    let key = server.identity.noise_public_key().unwrap();
    let mut state = IkHandshakeState::new(client, key, b"login".to_vec(), &WA_CONN_HEADER).unwrap();
    let hello = state.build_client_hello().unwrap();
    let AfterHello::AwaitFinish(reply, _) =
        read_client_hello(&server, &hello, &mut rand::make_rng::<StdRng>()).unwrap()
    else {
        panic!("IK must be refused");
    };
    assert!(matches!(state.read_server_hello(&reply).unwrap(), IkServerHelloOutcome::Fallback(_)));
}
