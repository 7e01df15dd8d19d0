//! An engine as it is in production, where those of the tests are quick, talkative, and look for orders all the time.

use crate::harness::engine::Home;

/// What only tests set.
const OF_TESTS: [&str; 5] = [
    "HEALTH_CHECK_INTERVAL_SECONDS",
    "HEALTH_PING_TIMEOUT_SECONDS",
    "RECONNECT_BASE_MS",
    "LOG_FORMAT",
    "HOLDFAST_FAILPOINTS",
];

/// Prepares an engine for the simulator at this address.
pub(crate) fn home(simulator: &str) -> Home {
    OF_TESTS.into_iter().fold(Home::new(simulator).set("RUST_LOG", "warn"), Home::unset)
}
