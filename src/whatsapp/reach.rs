//! Whether WhatsApp can be reached from here, found out without logging in.

use holdfast_core::connection::DownReason;
use tokio::time::timeout;

use super::dial::Dialler;
use super::settings::LinkSettings;
use std::time::Duration;

/// A peer that is hung up on may be slow to say so.
const HANG_UP_WITHIN: Duration = Duration::from_secs(1);

/// Why WhatsApp was not reached.
#[derive(Debug, thiserror::Error)]
#[error("{}", .why.sentence())]
pub struct Unreached {
    pub why: DownReason,
}

/// Opens WhatsApp's WebSocket on the way that the settings say, and hangs up.
///
/// # Errors
/// With the stage at which it failed.
pub async fn reach(settings: &LinkSettings) -> Result<(), Unreached> {
    let dialler = Dialler::new(settings).map_err(|error| {
        tracing::debug!("WhatsApp cannot be dialled: {error}");
        Unreached { why: DownReason::Unreachable }
    })?;
    let mut socket = dialler.open(settings.proxy.as_ref()).await.map_err(|error| Unreached { why: error.why })?;
    let _ = timeout(HANG_UP_WITHIN, socket.close(None)).await;
    Ok(())
}
