//! The signature of a delivery, after Standard Webhooks: receivers check it with a library that exists for their language.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::ports::signing_key::SigningKey;

/// Signs a body that is sent under this id at `now`, in Unix seconds.
pub(super) fn signed(key: &SigningKey, id: &str, now: i64, body: &str) -> String {
    let signature = hmac(key.bytes(), &[id, ".", &now.to_string(), ".", body]);
    format!("v1,{}", STANDARD.encode(signature))
}

/// Computes HMAC-SHA256 over the parts, one after the other.
pub(super) fn hmac(key: &[u8], parts: &[&str]) -> Vec<u8> {
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    for part in parts {
        mac.update(part.as_bytes());
    }
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::{SigningKey, signed};

    #[test]
    fn the_signature_is_that_of_the_published_example() {
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = signed(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
