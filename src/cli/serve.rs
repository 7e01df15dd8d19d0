//! `holdfast serve`: the engine.

use std::process::ExitCode;
use std::time::Duration;

use holdfast::app::{self, Announce};
use holdfast::config::{Log, Settings};
use holdfast::telemetry::log::{self, Chosen};
use secrecy::{ExposeSecret, SecretString};
use tokio::runtime::Builder;

use super::complain;

/// How long tasks that are still under way may take once everything has stopped.
const LAST_TASKS: Duration = Duration::from_secs(1);

pub(super) fn serve(settings: Settings) -> ExitCode {
    let Log { json, color, selection, directives } = settings.log.clone();
    if let Err(error) = log::install(json, color, Chosen { selection, directives }) {
        complain(&format!("error: the log cannot be set up: {error}"));
        return ExitCode::FAILURE;
    }
    let runtime = match Builder::new_multi_thread().enable_all().thread_name("holdfast").build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("error: no threads can be started: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let handle = runtime.handle().clone();
    let served = actix::System::new().block_on(app::run(settings, handle, &OnStandardError));
    runtime.shutdown_timeout(LAST_TASKS);
    match served {
        Ok(report) if report.clean => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            complain(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

struct OnStandardError;

impl Announce for OnStandardError {
    fn new_api_key(&self, key: &SecretString, settings: &Settings) {
        let kept = settings.data_dir.join("api-key");
        complain(&format!(
            "A new API key was made, because AUTHENTICATION_API_KEY is not set. It is kept in {} and shown this once:\n\n    {}\n",
            kept.display(),
            key.expose_secret()
        ));
    }
}
