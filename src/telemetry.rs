//! Logs: one subscriber for the whole process, on standard error. Figures: [`figures`], in the format of Prometheus.

pub mod figures;

use tracing_log::LogTracer;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// What is logged unless `RUST_LOG` says otherwise: our own lines, and of the libraries only what is wrong.
pub const USUAL: &str = "warn,holdfast=info";

/// Installs the subscriber. `usual` is what is logged unless `RUST_LOG` says otherwise.
///
/// The WhatsApp library writes people's numbers and names into its lines, at every level; they are let in only where `RUST_LOG` asks
/// for something.
///
/// # Errors
/// If one is installed already.
pub fn install(json: bool, color: bool, usual: &str) -> Result<(), TryInitError> {
    let asked = std::env::var_os(EnvFilter::DEFAULT_ENV).is_some();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    if asked {
        // It fails where a program that embeds this one has the log crate already: the lines go there then.
        let _ = LogTracer::init();
    }
    let registry = tracing_subscriber::registry().with(filter);
    if json {
        registry.with(tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr)).try_init()
    } else {
        registry
            .with(tracing_subscriber::fmt::layer().with_ansi(color).with_target(false).with_writer(std::io::stderr))
            .try_init()
    }
}
