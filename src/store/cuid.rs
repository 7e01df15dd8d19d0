//! Primary keys of the rows beside `Instance`, in the shape that Evolution gives them.

use super::cipher::CipherError;

const LENGTH: usize = 25;

/// Makes a key: 25 characters of which the first is `c`, as a cuid has, all the others random.
pub(super) fn cuid() -> Result<String, CipherError> {
    let mut bytes = [0_u8; LENGTH - 1];
    getrandom::fill(&mut bytes).map_err(|_no_source| CipherError::NoRandomness)?;
    // 256 is no multiple of 36, so some letters are a little more likely; 120 bits of choice remain.
    let letters = bytes.iter().filter_map(|byte| char::from_digit(u32::from(byte % 36), 36));
    Ok(std::iter::once('c').chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_looks_like_a_cuid_and_does_not_repeat() {
        let keys: std::collections::HashSet<_> = (0..100).map(|_| cuid().unwrap()).collect();
        assert_eq!(keys.len(), 100);
        assert!(keys.iter().all(|key| key.len() == 25
            && key.starts_with('c')
            && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())));
    }
}
