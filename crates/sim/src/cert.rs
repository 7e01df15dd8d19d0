//! The server's Noise identity: a static key, and the chain of certificates that vouches for it.

use rand::{CryptoRng, Rng};
use serde::{Deserialize, Serialize};
use wacore_libsignal::protocol::{CurveError, KeyPair, PrivateKey};
use waproto::buffa::{Message as _, MessageField};
use waproto::whatsapp::CertChain;
use waproto::whatsapp::cert_chain::{NoiseCertificate, noise_certificate::Details};

use crate::encoding;

/// Certificates are valid from this long before they are made, so that a client with a slow clock accepts them.
const BACKDATED_SECONDS: u64 = 24 * 3600;
const VALID_SECONDS: u64 = 10 * 365 * 24 * 3600;
const INTERMEDIATE_SERIAL: u32 = 1;
const LEAF_SERIAL: u32 = 2;

/// The keys of the simulated server, from the root of trust down to the Noise static key.
#[derive(Clone, Serialize, Deserialize)]
pub struct ServerIdentity {
    #[serde(with = "encoding::key")]
    root: [u8; 32],
    #[serde(with = "encoding::key")]
    noise: [u8; 32],
    #[serde(with = "encoding::bytes")]
    chain: Vec<u8>,
}

impl ServerIdentity {
    /// Makes a new root, intermediate and static key, and signs the chain.
    ///
    /// # Errors
    /// When a key refuses to sign, which no generated key does.
    pub fn generate<R: Rng + CryptoRng>(now_seconds: u64, rng: &mut R) -> Result<Self, CurveError> {
        Self::issue(*KeyPair::generate(rng).private_key.serialize(), now_seconds, rng)
    }

    /// The same root of trust with a new static key. Clients that remember the old one have to do the full handshake.
    ///
    /// # Errors
    /// When a key refuses to sign, which no generated key does.
    pub fn rotated<R: Rng + CryptoRng>(&self, now_seconds: u64, rng: &mut R) -> Result<Self, CurveError> {
        Self::issue(self.root, now_seconds, rng)
    }

    fn issue<R: Rng + CryptoRng>(root: [u8; 32], now_seconds: u64, rng: &mut R) -> Result<Self, CurveError> {
        let root_key = PrivateKey::deserialize(&root)?;
        let intermediate = KeyPair::generate(rng);
        let noise = KeyPair::generate(rng);
        let not_before = now_seconds.saturating_sub(BACKDATED_SECONDS);
        let details = |serial, issuer, key: &KeyPair| Details {
            serial: Some(serial),
            // Baileys compares the intermediate's issuer with `!==`, so a zero has to be on the wire as well.
            issuer_serial: Some(issuer),
            key: Some(key.public_key.public_key_bytes().to_vec()),
            not_before: Some(not_before),
            not_after: Some(not_before + VALID_SECONDS),
        };
        let intermediate_details = details(INTERMEDIATE_SERIAL, 0, &intermediate).encode_to_vec();
        let leaf_details = details(LEAF_SERIAL, INTERMEDIATE_SERIAL, &noise).encode_to_vec();
        let chain = CertChain {
            intermediate: MessageField::some(signed(&root_key, intermediate_details, rng)?),
            leaf: MessageField::some(signed(&intermediate.private_key, leaf_details, rng)?),
        };
        Ok(Self { root, noise: *noise.private_key.serialize(), chain: chain.encode_to_vec() })
    }

    /// The public key of the root, which a client that wants to check the chain must be told.
    ///
    /// # Errors
    /// When the stored key is unusable.
    pub fn root_public_key(&self) -> Result<[u8; 32], CurveError> {
        public_half(&self.root)
    }

    /// The private half of the Noise static key.
    #[must_use]
    pub fn noise_private_key(&self) -> &[u8; 32] {
        &self.noise
    }

    /// The public half of the Noise static key.
    ///
    /// # Errors
    /// When the stored key is unusable.
    pub fn noise_public_key(&self) -> Result<[u8; 32], CurveError> {
        public_half(&self.noise)
    }

    /// The encoded chain that the handshake shows to clients.
    #[must_use]
    pub fn chain(&self) -> &[u8] {
        &self.chain
    }
}

fn signed<R: Rng + CryptoRng>(
    issuer: &PrivateKey,
    details: Vec<u8>,
    rng: &mut R,
) -> Result<NoiseCertificate, CurveError> {
    let signature = issuer.calculate_signature(&details, rng)?;
    Ok(NoiseCertificate { details: Some(details), signature: Some(signature.to_vec()) })
}

fn public_half(private: &[u8; 32]) -> Result<[u8; 32], CurveError> {
    let public = PrivateKey::deserialize(private)?.public_key()?;
    let mut bytes = [0; 32];
    bytes.copy_from_slice(public.public_key_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use wacore_libsignal::protocol::PublicKey;

    #[test]
    fn the_chain_verifies_from_the_root_down_to_the_static_key() {
        let identity = ServerIdentity::generate(1_800_000_000, &mut rand::make_rng::<StdRng>()).unwrap();
        let chain = CertChain::decode_from_slice(identity.chain()).unwrap();
        let (intermediate, leaf) = (chain.intermediate.into_option().unwrap(), chain.leaf.into_option().unwrap());
        let middle = Details::decode_from_slice(intermediate.details.as_deref().unwrap()).unwrap();
        let end = Details::decode_from_slice(leaf.details.as_deref().unwrap()).unwrap();

        let root = PublicKey::from_djb_public_key_bytes(&identity.root_public_key().unwrap()).unwrap();
        assert!(
            root.verify_signature(intermediate.details.as_deref().unwrap(), intermediate.signature.as_deref().unwrap())
        );
        let issuer = PublicKey::from_djb_public_key_bytes(middle.key.as_deref().unwrap()).unwrap();
        assert!(issuer.verify_signature(leaf.details.as_deref().unwrap(), leaf.signature.as_deref().unwrap()));
        assert!(!root.verify_signature(leaf.details.as_deref().unwrap(), leaf.signature.as_deref().unwrap()));

        assert_eq!(middle.issuer_serial, Some(0));
        assert_eq!(end.issuer_serial, middle.serial);
        assert_eq!(end.key.as_deref(), Some(&identity.noise_public_key().unwrap()[..]));
    }
}
