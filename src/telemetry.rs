//! Logs: one subscriber for the whole process, on standard error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// What is logged unless `RUST_LOG` says otherwise: our own lines, and of the libraries only what is wrong.
const USUAL: &str = "warn,holdfast=info";

/// Installs the subscriber.
///
/// # Errors
/// If one is installed already.
pub fn install(json: bool, color: bool) -> Result<(), TryInitError> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(USUAL));
    let registry = tracing_subscriber::registry().with(filter);
    if json {
        registry.with(tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr)).try_init()
    } else {
        registry
            .with(tracing_subscriber::fmt::layer().with_ansi(color).with_target(false).with_writer(std::io::stderr))
            .try_init()
    }
}
