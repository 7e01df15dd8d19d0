//! The text of `Session.creds`: our envelope round the encrypted device, or something that another program wrote.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_core::id::InstanceId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cipher::{Cipher, CipherError, Place};
use crate::ports::store::StoreError;

const FORMAT: &str = "holdfast/1";
const MARK: &str = "holdfast/";

/// What the text of `Session.creds` is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Creds {
    /// Our device, decrypted.
    Device(Vec<u8>),
    /// Credentials in another program's format: they can be imported, and are never lost.
    Foreign,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    format: String,
    key_id: String,
    device: String,
}

/// Puts a device into its envelope.
pub(super) fn wrap(cipher: &Cipher, instance: &InstanceId, device: &[u8]) -> Result<String, CipherError> {
    let sealed = cipher.seal(Place::Device { instance }, device)?;
    let fields = serde_json::json!({ "format": FORMAT, "keyId": cipher.key_id(), "device": STANDARD.encode(sealed) });
    Ok(fields.to_string())
}

/// Reads the device out of its envelope.
pub(super) fn unwrap(cipher: &Cipher, instance: &InstanceId, text: &str) -> Result<Creds, StoreError> {
    let corrupt = |cause: Box<dyn std::error::Error + Send + Sync>| StoreError::Corrupt {
        what: Place::Device { instance }.describe(),
        cause,
    };
    if is_foreign(text) {
        return Ok(Creds::Foreign);
    }
    let envelope: Envelope = serde_json::from_str(text).map_err(|error| corrupt(error.into()))?;
    if envelope.format != FORMAT {
        return Err(corrupt(format!("its format {:?} is unknown", envelope.format).into()));
    }
    let sealed = STANDARD.decode(envelope.device).map_err(|error| corrupt(error.into()))?;
    cipher.open(Place::Device { instance }, &sealed).map(Creds::Device).map_err(|error| corrupt(error.into()))
}

/// Tells whether an envelope of ours is sealed with the current key.
pub(super) fn is_current(cipher: &Cipher, text: &str) -> bool {
    serde_json::from_str::<Envelope>(text).is_ok_and(|envelope| envelope.key_id == cipher.key_id())
}

/// Tells whether another program wrote this text.
///
/// Evolution stores a JSON string that contains JSON. What begins otherwise and is no JSON at all is a damaged envelope of ours, not a
/// foreign value: it must not pass for an instance without credentials.
pub(super) fn is_foreign(text: &str) -> bool {
    if text.trim_start().starts_with('"') {
        return true;
    }
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(fields)) => {
            !fields.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with(MARK))
        }
        Ok(_) => true,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::cipher::EncryptionKey;
    use super::*;

    fn cipher() -> Cipher {
        Cipher::new(&EncryptionKey::new([7; 32]))
    }

    #[test]
    fn a_device_comes_back_and_is_not_readable_in_between() {
        let shop = InstanceId::new("shop");
        let text = wrap(&cipher(), &shop, b"{\"noise\":1}").unwrap();
        assert!(text.contains(FORMAT) && !text.contains("noise"), "{text}");
        assert_eq!(unwrap(&cipher(), &shop, &text).unwrap(), Creds::Device(b"{\"noise\":1}".to_vec()));
        assert!(matches!(unwrap(&cipher(), &InstanceId::new("bar"), &text), Err(StoreError::Corrupt { .. })));
    }

    #[test]
    fn text_of_another_program_is_foreign() {
        let shop = InstanceId::new("shop");
        for text in [
            r#""{\"noiseKey\":{}}""#,
            r#"{"noiseKey":{}}"#,
            r#""cut in the mid"#,
            "{}",
            "null",
            r#"{"format":"other"}"#,
        ] {
            assert_eq!(unwrap(&cipher(), &shop, text).unwrap(), Creds::Foreign, "{text}");
        }
    }

    #[test]
    fn a_damaged_envelope_is_an_error() {
        let shop = InstanceId::new("shop");
        let whole = wrap(&cipher(), &shop, b"device").unwrap();
        let half = &whole[..whole.len() / 2];
        for text in [half, "", r#"{"format":"holdfast/2"}"#, r#"{"format":"holdfast/1","keyId":"","device":"?"}"#] {
            assert!(matches!(unwrap(&cipher(), &shop, text), Err(StoreError::Corrupt { .. })), "{text}");
        }
        assert!(matches!(
            unwrap(&cipher(), &shop, &whole.replace("holdfast/1", "holdfast/9")),
            Err(StoreError::Corrupt { .. })
        ));
    }
}
