//! Many callers at once, callers that go away, and the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::try_join_all;
use holdfast::ports::store::{Store, StoreError};
use holdfast_core::event::EventName;
use holdfast_core::id::{Epoch, InstanceId, Revision};

use super::bench::{Bench, LATE, Outcome, chain, event, eventually, put, writes};

pub(super) async fn twenty_instances_write_and_read_at_once(bench: Bench) -> Outcome {
    const ROUNDS: u64 = 25;
    let mut sessions = Vec::new();
    for number in 0..20 {
        let id = bench.subscriber(&format!("i{number}"), &[EventName::Call]).await?;
        sessions.push((id.clone(), bench.store.claim(&id).await?.epoch));
    }
    let one = async |store: Arc<dyn Store>, id: InstanceId, epoch: Epoch| -> Outcome {
        for round in 1..=ROUNDS {
            let value = format!("{id} {round}");
            let mut batch = writes(vec![put("session", "counter", &value)]);
            batch.events = vec![event(EventName::Call, &round.to_string())];
            assert_eq!(store.commit(&id, epoch, batch).await?, Revision(round));
            assert_eq!(
                store.read(&id, "session", "counter").await?,
                Some(value.into_bytes()),
                "a write is read as soon as it is answered"
            );
        }
        Ok(())
    };
    try_join_all(sessions.iter().map(|(id, epoch)| one(Arc::clone(&bench.store), id.clone(), *epoch))).await?;
    assert_eq!(bench.store.lag().await?.pending, 20 * ROUNDS);
    assert_eq!(bench.deliveries(LATE).await?.len(), 20);
    Ok(())
}

pub(super) async fn a_refused_batch_takes_no_other_with_it(bench: Bench) -> Outcome {
    let (good, epoch) = bench.session("good").await?;
    let (bad, stale) = bench.session("bad").await?;
    bench.store.claim(&bad).await?;
    let calls = (0..200).map(|number| {
        let (store, id) = (Arc::clone(&bench.store), if number % 2 == 0 { &good } else { &bad }.clone());
        async move {
            let claimed = if number % 2 == 0 { epoch } else { stale };
            store.commit(&id, claimed, writes(vec![put("session", &number.to_string(), "1")])).await
        }
    });
    let answers = futures_util::future::join_all(calls).await;
    for (number, answer) in answers.iter().enumerate() {
        match number % 2 {
            0 => assert!(answer.is_ok(), "{number}: {answer:?}"),
            _ => assert!(matches!(answer, Err(StoreError::FencedOff(_))), "{number}: {answer:?}"),
        }
    }
    assert_eq!(bench.store.scan(&good, "session", "").await?.len(), 100);
    assert_eq!(bench.store.scan(&bad, "session", "").await?.len(), 0);
    Ok(())
}

pub(super) async fn dropping_the_callers_cancels_nothing(bench: Bench) -> Outcome {
    let (id, epoch) = bench.session("shop").await?;
    for number in 0..200 {
        let key = number.to_string();
        // One poll hands the job over; then the caller is gone.
        let dropped = bench.store.commit(&id, epoch, writes(vec![put("session", &key, "1")])).now_or_never();
        assert!(dropped.is_none(), "nothing is on disk so soon");
        let _read_and_gone = bench.store.read(&id, "session", &key).now_or_never();
    }
    eventually("every submitted batch is written", || async {
        Ok(bench.store.scan(&id, "session", "").await?.len() == 200)
    })
    .await?;
    assert_eq!(bench.store.claim(&id).await?.revision, Revision(200));
    Ok(())
}

pub(super) async fn callers_on_actix_threads_may_come_and_go(bench: Bench) -> Outcome {
    let (id, epoch) = bench.session("shop").await?;
    let written = Arc::new(AtomicU64::new(0));
    let threads = (0..4).map(|thread| {
        let (store, id, written) = (Arc::clone(&bench.store), id.clone(), Arc::clone(&written));
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                for number in 0..50 {
                    let key = format!("{thread} {number}");
                    let commit = store.commit(&id, epoch, writes(vec![put("session", &key, "1")]));
                    let deadline = std::time::Duration::from_micros(u64::from(number % 3 == 0) * 100_000_000 + 100);
                    if let Ok(answer) = actix_web::rt::time::timeout(deadline, commit).await {
                        answer?;
                        written.fetch_add(1, Ordering::Relaxed);
                    }
                    let _gone = actix_web::rt::time::timeout(
                        std::time::Duration::from_micros(50),
                        store.scan(&id, "session", ""),
                    )
                    .await;
                }
                Ok::<_, StoreError>(())
            })
        })
    });
    let threads: Vec<_> = threads.collect();
    tokio::task::spawn_blocking(move || {
        threads.into_iter().try_for_each(|thread| {
            thread.join().map_err(|_panic| anyhow::anyhow!("a thread panicked"))?.map_err(Into::into)
        })
    })
    .await?
    .map_err(|error: anyhow::Error| error)?;
    let found = bench.store.scan(&id, "session", "").await?.len() as u64;
    assert!(
        written.load(Ordering::Relaxed) >= 4 * 16 && found >= written.load(Ordering::Relaxed),
        "{found} {written:?}"
    );
    Ok(())
}

pub(super) async fn a_closed_store_has_finished_and_answers_no_more(bench: Bench) -> Outcome {
    let (id, epoch) = bench.session("shop").await?;
    let submitted: Vec<_> = (0..100)
        .map(|number| {
            let (store, id) = (Arc::clone(&bench.store), id.clone());
            let mut commit = Box::pin(async move {
                store.commit(&id, epoch, writes(vec![put("session", &number.to_string(), "1")])).await
            });
            assert!(commit.as_mut().now_or_never().is_none());
            commit
        })
        .collect();
    bench.store.close().await?;
    for answer in futures_util::future::join_all(submitted).await {
        answer?;
    }
    let later = [
        bench.store.ping().await.err(),
        bench.store.read(&id, "session", "1").await.err(),
        bench.store.commit(&id, epoch, writes(vec![])).await.err(),
    ];
    for answer in later {
        let error = answer.expect("the store is closed");
        assert!(
            matches!(error, StoreError::Unavailable { .. }) && chain(&error).contains("closed"),
            "{}",
            chain(&error)
        );
    }
    bench.store.close().await?;
    let mut bench = bench;
    bench.store = bench.database.open(super::bench::Opening::default()).await?;
    assert_eq!(bench.store.scan(&id, "session", "").await?.len(), 100);
    Ok(())
}

pub(super) async fn it_answers_a_ping(bench: Bench) -> Outcome {
    bench.store.ping().await?;
    bench.store.ping().await?;
    Ok(())
}
