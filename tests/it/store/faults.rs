//! The store that fails as planned does so, or the tests that rely on it prove nothing.

use std::sync::Arc;
use std::time::Duration;

use holdfast::ports::session::Sessions as _;
use holdfast::ports::store::{Store as _, StoreError};
use holdfast_core::id::Revision;

use super::bench::{Bench, Outcome, put, writes};
use crate::harness::faulty_store::{Failing, Faults, FaultyStore, Op};

pub(super) async fn planned_faults_happen_and_heal(bench: Bench) -> Outcome {
    let (id, epoch) = bench.session("shop").await?;
    let faults = Faults::none()
        .nth(Op::Commit, 2, Failing::Unavailable)
        .nth(Op::Commit, 3, Failing::AnswerLost)
        .nth(Op::Commit, 4, Failing::FencedOff)
        .from(Op::Read, 1, Failing::Corrupt);
    let store = FaultyStore::new(Arc::clone(&bench.store), faults);
    let commit = || store.commit(&id, epoch, writes(vec![put("session", "a", "1")]));
    assert_eq!(commit().await?, Revision(1));
    assert!(matches!(commit().await, Err(StoreError::Unavailable { .. })));
    assert!(matches!(commit().await, Err(StoreError::Unavailable { .. })));
    assert!(matches!(commit().await, Err(StoreError::FencedOff(fenced)) if fenced == id));
    assert_eq!(commit().await?, Revision(3), "the third was done, though nobody was told");
    for _ in 0..2 {
        assert!(matches!(store.read(&id, "session", "a").await, Err(StoreError::Corrupt { .. })));
    }
    assert_eq!((store.calls(Op::Commit), store.calls(Op::Read), store.calls(Op::Ping)), (5, 2, 0));

    store.plan(Faults::none().outage(Failing::Hang));
    let mut hung = Box::pin(commit());
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut hung).await.is_err());
    store.heal();
    assert_eq!(hung.await?, Revision(4));
    store.ping().await?;
    Ok(())
}
