//! The token that a webhook with a `jwt_key` carries: HS256, valid for ten minutes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::signature::hmac;

/// How long a token is valid, in seconds.
const VALID: i64 = 600;

/// Signs a token issued at `now`, in Unix seconds.
pub(super) fn signed(key: &str, now: i64) -> String {
    let header = json!({ "alg": "HS256", "typ": "JWT" }).to_string();
    let claims = json!({ "iat": now, "exp": now + VALID, "app": "evolution", "action": "webhook" }).to_string();
    let token = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = hmac(key.as_bytes(), &[&token]);
    format!("{token}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::{hmac, signed};

    #[test]
    fn the_signature_is_that_of_the_published_example() {
        // RFC 7515, appendix A.1.
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let text = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = hmac(&URL_SAFE_NO_PAD.decode(key).unwrap(), &[text]);
        assert_eq!(URL_SAFE_NO_PAD.encode(signature), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    #[test]
    fn the_claims_are_the_contracts() {
        let token = signed("key", 1_700_000_000);
        let parts: Vec<&str> = token.split('.').collect();
        let part =
            |at: usize| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[at]).unwrap()).unwrap() };
        assert_eq!(part(0), json!({ "alg": "HS256", "typ": "JWT" }));
        assert_eq!(
            part(1),
            json!({ "iat": 1_700_000_000, "exp": 1_700_000_600, "app": "evolution", "action": "webhook" })
        );
        assert_eq!(parts.len(), 3);
    }
}
