//! What one wait for the disk costs here: the unit of what durability costs.

use std::io::Write as _;
use std::time::Duration;

use crate::meter::now;

const TIMES: u32 = 100;

/// Returns the mean time in which four kilobytes are on the disk of the temporary directory.
pub(crate) fn wait() -> anyhow::Result<Duration> {
    let mut file = tempfile::tempfile()?;
    let began = now();
    for _ in 0..TIMES {
        file.write_all(&[1; 4096])?;
        file.sync_data()?;
    }
    Ok(began.elapsed() / TIMES)
}
