//! The library's runtime: the shared one, with a net under every task.
//!
//! The library's own tasks are detached, so a panic in one would go unseen while the state says open. Here it seals the link, and so does
//! one in a task that we do for a link. And some outlive their client by minutes, and hold it: what shows QR codes sleeps through all of
//! them, whatever became of the connection. Here they end with it.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::error;
use wacore::runtime::{AbortHandle, Runtime};

use super::seal::Seal;
use crate::ports::link::SealReason;

type Task = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// Spawns the tasks of one client.
pub(super) struct GuardedRuntime {
    handle: Handle,
    seal: Arc<Seal>,
    /// The end of the client.
    retired: CancellationToken,
}

impl GuardedRuntime {
    pub(super) fn new(handle: Handle, seal: Arc<Seal>, retired: CancellationToken) -> Self {
        Self { handle, seal, retired }
    }

    fn guarded(&self, task: Task) -> impl Future<Output = ()> + Send + 'static {
        let (seal, retired) = (Arc::clone(&self.seal), self.retired.clone());
        async move {
            retired.run_until_cancelled(netted(&seal, LIBRARY, task)).await;
        }
    }
}

/// What the tasks of the library are called.
const LIBRARY: &str = "working for the library";

/// Does something for a link; a panic in it seals the link, and is `None`.
pub(super) async fn netted<T>(seal: &Seal, doing: &str, task: impl Future<Output = T>) -> Option<T> {
    let done = AssertUnwindSafe(task).catch_unwind().await;
    if done.is_err() {
        panicked(seal, doing);
    }
    done.ok()
}

fn panicked(seal: &Seal, doing: &str) {
    seal.set(SealReason::Panicked);
    error!(doing, "A task of a link panicked while {doing}; its link is sealed");
}

#[async_trait]
impl Runtime for GuardedRuntime {
    fn spawn(&self, future: Task) -> AbortHandle {
        let task = self.handle.spawn(self.guarded(future));
        AbortHandle::new(move || task.abort())
    }

    fn spawn_detached(&self, future: Task) {
        self.handle.spawn(self.guarded(future));
    }

    fn sleep(&self, duration: Duration) -> Task {
        // Made when it is first polled, and thus inside the runtime, whoever asked for it.
        Box::pin(async move { tokio::time::sleep(duration).await })
    }

    fn spawn_blocking(&self, f: Box<dyn FnOnce() + Send + 'static>) -> Task {
        let seal = Arc::clone(&self.seal);
        let work = self.handle.spawn_blocking(f);
        Box::pin(async move {
            if work.await.is_err_and(|failed| failed.is_panic()) {
                panicked(&seal, LIBRARY);
            }
        })
    }

    fn yield_now(&self) -> Option<Task> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::clock::Clock;
    use crate::ports::tenure::Tenure;

    #[tokio::test]
    async fn a_panic_in_a_task_seals_the_link() {
        for blocking in [false, true] {
            let seal = Arc::new(Seal::new(Clock::start(), Arc::new(Tenure::forever())));
            let runtime = GuardedRuntime::new(Handle::current(), Arc::clone(&seal), CancellationToken::new());
            if blocking {
                runtime.spawn_blocking(Box::new(|| panic!("planned"))).await;
            } else {
                runtime.spawn(Box::pin(async { panic!("planned") })).detach();
            }
            assert_eq!(seal.sealed().await, SealReason::Panicked);
        }
    }

    #[tokio::test]
    async fn what_still_runs_of_a_client_ends_with_it() {
        let (seal, retired) =
            (Arc::new(Seal::new(Clock::start(), Arc::new(Tenure::forever()))), CancellationToken::new());
        let runtime = GuardedRuntime::new(Handle::current(), Arc::clone(&seal), retired.clone());
        let client = Arc::new(());
        let sleeper = |client: Arc<()>| {
            let sleep = runtime.sleep(Duration::from_secs(600));
            Box::pin(async move {
                sleep.await;
                drop(client);
            })
        };
        runtime.spawn(sleeper(Arc::clone(&client))).detach();
        runtime.spawn_detached(sleeper(Arc::clone(&client)));
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&client), 3);
        retired.cancel();
        // And whatever it begins afterwards.
        runtime.spawn_detached(sleeper(Arc::clone(&client)));
        while Arc::strong_count(&client) > 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(seal.reason(), None, "an end on purpose is no panic");
    }
}
