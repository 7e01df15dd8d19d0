//! The responder's side of WhatsApp's Noise handshake: XX, IK, and XXfallback when IK does not fit.

use std::sync::Arc;

use rand::{CryptoRng, Rng};
use thiserror::Error;
use wacore_binary::consts::{NOISE_PATTERN_IK, NOISE_PATTERN_XX, NOISE_PATTERN_XXFALLBACK, WA_CONN_HEADER};
use wacore_libsignal::protocol::KeyPair;
use wacore_noise::{HandshakeError, NoiseCipher, NoiseHandshake};
use waproto::buffa::{Message as _, MessageField};
use waproto::whatsapp::HandshakeMessage;
use waproto::whatsapp::handshake_message::{ClientHello, ServerHello};

use crate::cert::ServerIdentity;

/// Why a handshake could not go on.
#[derive(Debug, Error)]
pub enum NoiseError {
    /// The bytes are no handshake message.
    #[error("not a handshake message: {0}")]
    Malformed(String),
    /// The message lacks a field that this step needs.
    #[error("the handshake message has no {0}")]
    Missing(&'static str),
    /// A key or a tag did not fit.
    #[error(transparent)]
    Crypto(#[from] HandshakeError),
}

/// Which pattern a connection was set up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// The full exchange.
    Xx,
    /// The short exchange of a client that remembers our static key.
    Ik,
    /// A short exchange that we turned into a full one.
    XxFallback,
}

impl Pattern {
    /// The name shown by the control interface.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Xx => "XX",
            Self::Ik => "IK",
            Self::XxFallback => "XXfallback",
        }
    }
}

/// A finished handshake.
pub struct Established {
    /// How it was set up.
    pub pattern: Pattern,
    /// The client's Noise static key.
    pub client_static: [u8; 32],
    /// The encoded login or registration.
    pub payload: Vec<u8>,
    /// Decrypts what the client sends.
    pub incoming: NoiseCipher,
    /// Encrypts what we send.
    pub outgoing: NoiseCipher,
}

/// What reading a ClientHello led to.
pub enum AfterHello {
    /// IK was accepted: send the reply, the channel is open.
    Done(Vec<u8>, Box<Established>),
    /// Send the reply and wait for the ClientFinish.
    AwaitFinish(Vec<u8>, Box<Pending>),
}

/// A handshake that waits for the client's last message.
pub struct Pending {
    pattern: Pattern,
    noise: NoiseHandshake,
    ephemeral: KeyPair,
}

/// What a connection answers handshakes with.
#[derive(Clone)]
pub struct Responder {
    /// The server's keys.
    pub identity: Arc<ServerIdentity>,
    /// Whether a client that asks for the short exchange is made to do the full one.
    pub decline_ik: bool,
}

/// Answers the first message of a client.
///
/// # Errors
/// When the message is malformed or carries unusable keys.
pub fn read_client_hello<R: Rng + CryptoRng>(
    responder: &Responder,
    bytes: &[u8],
    rng: &mut R,
) -> Result<AfterHello, NoiseError> {
    let server = &responder.identity;
    let message = decode(bytes)?;
    let hello = message.client_hello.into_option().ok_or(NoiseError::Missing("clientHello"))?;
    let client_ephemeral = hello.ephemeral.clone().ok_or(NoiseError::Missing("ephemeral"))?;
    if hello.r#static.is_some() && hello.payload.is_some() {
        let accepted = (!responder.decline_ik).then(|| accept_ik(server, &hello, &client_ephemeral, rng));
        return match accepted {
            Some(Ok(done)) => Ok(done),
            // A `static` in our answer tells the client that it is to begin again: it sealed its hello for another key
            // than ours, or we were asked to do without the short exchange.
            Some(Err(_)) | None => answer_xx(server, Pattern::XxFallback, &client_ephemeral, rng),
        };
    }
    answer_xx(server, Pattern::Xx, &client_ephemeral, rng)
}

impl Pending {
    /// Reads the client's last message and opens the channel.
    ///
    /// # Errors
    /// When the message is malformed or was not sealed with the right keys.
    pub fn read_client_finish(mut self, bytes: &[u8]) -> Result<Established, NoiseError> {
        let message = decode(bytes)?;
        let finish = message.client_finish.into_option().ok_or(NoiseError::Missing("clientFinish"))?;
        let sealed_static = finish.r#static.ok_or(NoiseError::Missing("static"))?;
        let sealed_payload = finish.payload.ok_or(NoiseError::Missing("payload"))?;
        let client_static = key(self.noise.decrypt(&sealed_static)?)?;
        self.noise.mix_shared_secret(self.ephemeral.private_key.serialize(), &client_static)?;
        let payload = self.noise.decrypt(&sealed_payload)?;
        establish(self.pattern, self.noise, client_static, payload)
    }
}

fn answer_xx<R: Rng + CryptoRng>(
    server: &ServerIdentity,
    pattern: Pattern,
    client_ephemeral: &[u8],
    rng: &mut R,
) -> Result<AfterHello, NoiseError> {
    let name = if pattern == Pattern::XxFallback { NOISE_PATTERN_XXFALLBACK } else { NOISE_PATTERN_XX };
    let mut noise = NoiseHandshake::new(name, &WA_CONN_HEADER)?;
    noise.authenticate(client_ephemeral);
    let ephemeral = KeyPair::generate(rng);
    noise.authenticate(ephemeral.public_key.public_key_bytes());
    noise.mix_shared_secret(ephemeral.private_key.serialize(), client_ephemeral)?;
    let sealed_static = noise.encrypt(&public_static(server)?)?;
    noise.mix_shared_secret(server.noise_private_key(), client_ephemeral)?;
    let sealed_chain = noise.encrypt(server.chain())?;
    let reply = server_hello(&ephemeral, Some(sealed_static), sealed_chain);
    Ok(AfterHello::AwaitFinish(reply, Box::new(Pending { pattern, noise, ephemeral })))
}

fn accept_ik<R: Rng + CryptoRng>(
    server: &ServerIdentity,
    hello: &ClientHello,
    client_ephemeral: &[u8],
    rng: &mut R,
) -> Result<AfterHello, NoiseError> {
    let sealed_static = hello.r#static.as_deref().ok_or(NoiseError::Missing("static"))?;
    let sealed_payload = hello.payload.as_deref().ok_or(NoiseError::Missing("payload"))?;
    let mut noise = NoiseHandshake::new(NOISE_PATTERN_IK, &WA_CONN_HEADER)?;
    noise.authenticate(&public_static(server)?);
    noise.authenticate(client_ephemeral);
    noise.mix_shared_secret(server.noise_private_key(), client_ephemeral)?;
    let client_static = key(noise.decrypt(sealed_static)?)?;
    noise.mix_shared_secret(server.noise_private_key(), &client_static)?;
    let payload = noise.decrypt(sealed_payload)?;

    let ephemeral = KeyPair::generate(rng);
    noise.authenticate(ephemeral.public_key.public_key_bytes());
    noise.mix_shared_secret(ephemeral.private_key.serialize(), client_ephemeral)?;
    noise.mix_shared_secret(ephemeral.private_key.serialize(), &client_static)?;
    let sealed_chain = noise.encrypt(server.chain())?;
    let reply = server_hello(&ephemeral, None, sealed_chain);
    Ok(AfterHello::Done(reply, Box::new(establish(Pattern::Ik, noise, client_static, payload)?)))
}

fn establish(
    pattern: Pattern,
    noise: NoiseHandshake,
    client_static: [u8; 32],
    payload: Vec<u8>,
) -> Result<Established, NoiseError> {
    // The first half of the split is what the initiator writes with.
    let (incoming, outgoing) = noise.finish()?;
    Ok(Established { pattern, client_static, payload, incoming, outgoing })
}

fn server_hello(ephemeral: &KeyPair, sealed_static: Option<Vec<u8>>, payload: Vec<u8>) -> Vec<u8> {
    HandshakeMessage {
        server_hello: MessageField::some(ServerHello {
            ephemeral: Some(ephemeral.public_key.public_key_bytes().to_vec()),
            r#static: sealed_static,
            payload: Some(payload),
            ..ServerHello::default()
        }),
        ..HandshakeMessage::default()
    }
    .encode_to_vec()
}

fn decode(bytes: &[u8]) -> Result<HandshakeMessage, NoiseError> {
    HandshakeMessage::decode_from_slice(bytes).map_err(|error| NoiseError::Malformed(error.to_string()))
}

fn key(bytes: Vec<u8>) -> Result<[u8; 32], NoiseError> {
    bytes.try_into().ok().ok_or(NoiseError::Missing("32-byte static key"))
}

fn public_static(server: &ServerIdentity) -> Result<[u8; 32], NoiseError> {
    server.noise_public_key().map_err(|error| NoiseError::Crypto(HandshakeError::Crypto(error.to_string())))
}

#[cfg(test)]
mod tests;
