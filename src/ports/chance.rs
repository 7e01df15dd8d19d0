//! The only place that draws random numbers for decisions, and for the names of messages.

/// Returns a random number from 0 to 1, for jitter.
pub fn unit() -> f64 {
    let mut bytes = [0_u8; 4];
    // Without randomness from the system the full wait is the safe choice: it only costs time.
    if getrandom::fill(&mut bytes).is_err() {
        return 1.0;
    }
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

/// Makes the id of a message as WhatsApp's web client does, `None` without randomness from the system: two messages must not share one.
pub fn message_id() -> Option<String> {
    use std::fmt::Write as _;
    let mut bytes = [0_u8; 9];
    getrandom::fill(&mut bytes).ok()?;
    let mut id = "3EB0".to_owned();
    for byte in bytes {
        write!(id, "{byte:02X}").ok()?;
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_of_messages_look_like_those_of_the_web_client_and_differ() {
        let ids: HashSet<String> = (0..1000).filter_map(|_| message_id()).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            assert!(id.len() == 22 && id.starts_with("3EB0"), "{id}");
            assert!(id.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte)), "{id}");
        }
    }
}
