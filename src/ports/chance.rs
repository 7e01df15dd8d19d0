//! The only place that draws random numbers for decisions.

/// Returns a random number from 0 to 1, for jitter.
pub fn unit() -> f64 {
    let mut bytes = [0_u8; 4];
    // Without randomness from the system the full wait is the safe choice: it only costs time.
    if getrandom::fill(&mut bytes).is_err() {
        return 1.0;
    }
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}
