//! The sign that this engine lives, left at the place of the copies, and what it shows of others.

use std::time::Duration;

use holdfast_core::restoration::neighbours::SIGN_EVERY;
use tokio::time::timeout;

use super::Mirror;
use crate::ports::layer::LayerError;

/// How long the last word may take.
const FAREWELL: Duration = Duration::from_secs(1);

impl Mirror {
    /// Leaves a new sign every few seconds, until the end.
    pub(super) async fn show_life(&self) {
        let mut own: Option<String> = None;
        let mut warned = false;
        loop {
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return,
                shown = self.show_once(&mut own, &mut warned) => {
                    if let Err(error) = shown {
                        tracing::debug!(%error, "No sign of life was left at the copies");
                    }
                }
            }
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return,
                () = tokio::time::sleep(SIGN_EVERY) => {}
            }
        }
    }

    async fn show_once(&self, own: &mut Option<String>, warned: &mut bool) -> Result<(), LayerError> {
        let (layer, copies) = (&self.parts.layer, &self.parts.copies);
        let seen = layer.signs_of_life().await;
        // Others have to see that this one lives, also if it cannot see them.
        let sign = uuid::Uuid::new_v4().simple().to_string();
        layer.show_life(&copies.database(), &sign).await?;
        let before = own.replace(sign);
        let mut signs = seen?;
        let there = signs.remove(&copies.database());
        // Several processes may work with a server; an embedded database has one.
        let somebody = self.parts.alone && before.is_some() && there.is_some() && there != before;
        if somebody && !std::mem::replace(warned, true) {
            tracing::error!(
                code = "live-database-copied",
                "Another engine works with a copy of this database, and has the same logins: stop one of them"
            );
        }
        let now = self.parts.clock.now();
        self.parts.neighbours.hear(layer.source(), &signs, copies.as_ref(), now).await;
        Ok(())
    }

    /// Says that this engine is no more, so that nobody has to wait for that to show.
    pub(super) async fn end_life(&self) {
        // Other processes may go on with the same server.
        if !self.parts.alone {
            return;
        }
        let (layer, database) = (&self.parts.layer, self.parts.copies.database());
        match timeout(FAREWELL, layer.end_life(&database)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "The sign of life stays"),
            Err(_elapsed) => tracing::debug!("The sign of life stays"),
        }
    }
}
