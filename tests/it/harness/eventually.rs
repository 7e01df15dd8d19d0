//! Waiting for conditions, never for time.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a condition may take. Generous: a machine under load is slow, and a passing test does not wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Waits until `look` finds something, and panics with `what` if it does not in its time.
pub(crate) async fn eventually<T, F>(what: &str, look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    eventually_within(PATIENCE, what, look).await
}

/// The same for what takes longer by itself than anybody is patient.
#[expect(clippy::disallowed_methods, reason = "the patience of a test, which no decision depends on")]
pub(crate) async fn eventually_within<T, F>(patience: Duration, what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let until = Instant::now() + patience;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain for: {what}");
        sleep(LOOK_AGAIN).await;
    }
}
