//! Whoever keeps the copies of a layer up to date, as others see it.

use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::restoration::Source;

/// How it goes with the copies of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyFigures {
    pub source: Source,
    /// Copies that were written since the start.
    pub written: u64,
    /// Writes that failed, each of which is tried again.
    pub failed: u64,
    /// Instances whose copy is not up to date.
    pub waiting: usize,
    /// Changes that were left out because too many waited; each comes with the next change of its instance.
    pub left_out: u64,
}

/// Keeps copies up to date.
#[async_trait]
pub trait Copying: Send + Sync {
    /// Says how it goes.
    fn figures(&self) -> CopyFigures;

    /// Writes what waits, as far as that time allows, and ends. Returns how many copies are not up to date then.
    async fn close(&self, within: Duration) -> usize;
}
