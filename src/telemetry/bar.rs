//! The bar that a terminal shows while instances come back. Where the log does not go to a terminal there is none.

use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};

/// The bar that is shown now.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// A bar; it goes when this is dropped.
#[derive(Debug)]
pub struct Bar(ProgressBar);

impl Bar {
    /// Shows one, in the place of any other.
    pub fn show(doing: &'static str, of: usize) -> Self {
        let bar = ProgressBar::new(of as u64).with_message(doing);
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:40} {pos} of {len}, {elapsed}") {
            bar.set_style(style);
        }
        *shown() = Some(bar.clone());
        bar.tick();
        Self(bar)
    }

    /// Moves it by one.
    pub fn advance(&self) {
        self.0.inc(1);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
        *shown() = None;
    }
}

/// Writes something to the terminal without breaking the bar.
pub(super) fn beside<T>(write: impl FnOnce() -> T) -> T {
    let bar = shown().clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

fn shown() -> MutexGuard<'static, Option<ProgressBar>> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}
