//! What only the SQLite store promises.

use std::sync::Arc;

use diesel::connection::SimpleConnection as _;
use futures_util::future::join_all;
use holdfast::ports::clock::Clock;
use holdfast::ports::outbox::Loaded;
use holdfast::ports::session::Sessions as _;
use holdfast::ports::store::{Store, StoreError};
use holdfast_core::id::{Epoch, InstanceId, Revision};
use holdfast_core::time::Timestamp;

use super::bench::{Bench, Database as _, Opening, Outcome, SqliteFile, chain, device, new_instance, put, writes};

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_come_together_share_one_wait_for_the_disk() -> Outcome {
    let file = SqliteFile::new()?;
    let store = file.open_sqlite().await?;
    let (id, epoch) = session(&*store).await?;
    let before = store.stats();
    let commits = (0..500).map(|number| {
        let (store, id) = (Arc::clone(&store), id.clone());
        tokio::spawn(
            async move { store.commit(&id, epoch, writes(vec![put("session", &number.to_string(), "1")])).await },
        )
    });
    let mut revisions = Vec::new();
    for answer in join_all(commits).await {
        revisions.push(answer??);
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=500).map(Revision).collect::<Vec<_>>(), "each got a revision of its own");
    let after = store.stats();
    assert_eq!(after.jobs - before.jobs, 500);
    let transactions = after.transactions - before.transactions;
    assert!(transactions < 100, "500 commits took {transactions} transactions");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_there_after_a_kill() -> Outcome {
    let file = SqliteFile::new()?;
    let store = file.open_sqlite().await?;
    let (id, epoch) = session(&*store).await?;
    store.commit(&id, epoch, device("the device")).await?;
    let answered = store.commit(&id, epoch, writes(vec![put("session", "a", "1")])).await?;
    let left = file.as_after_a_kill()?;
    let again = left.open(Opening::default()).await?;
    assert_eq!(again.read(&id, "session", "a").await?.as_deref(), Some(&b"1"[..]));
    assert_eq!(again.device(&id).await?.as_deref(), Some(&b"the device"[..]));
    assert_eq!(again.claim(&id).await?.revision, answered);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_program_holds_is_unavailable_in_words_that_nobody_retries_on() -> Outcome {
    let file = SqliteFile::new()?;
    let store = file.open(Opening::default()).await?;
    let (id, epoch) = session(&*store).await?;
    let mut other = file.connect()?;
    other.batch_execute("BEGIN IMMEDIATE")?;
    let commits = (0..3).map(|number| store.commit(&id, epoch, writes(vec![put("session", &number.to_string(), "1")])));
    for answer in join_all(commits).await {
        let error = answer.expect_err("the file is held");
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        let said = chain(&error).to_lowercase();
        assert!(!said.contains("locked") && !said.contains("busy") && said.contains("another connection"), "{said}");
    }
    assert!(store.read(&id, "session", "a").await?.is_none(), "reading goes on meanwhile");
    other.batch_execute("ROLLBACK")?;
    assert_eq!(store.commit(&id, epoch, writes(vec![put("session", "a", "1")])).await?, Revision(1));
    Ok(())
}

/// A full disk makes SQLite give the whole transaction up at once; a trigger does the same.
#[tokio::test(flavor = "multi_thread")]
async fn when_the_database_gives_up_everybody_is_told_and_nothing_is_kept() -> Outcome {
    let file = SqliteFile::new()?;
    let store = file.open(Opening::default()).await?;
    let (id, epoch) = session(&*store).await?;
    file.execute(
        "CREATE TRIGGER full BEFORE INSERT ON holdfast_session_value WHEN NEW.category = 'full' \
         BEGIN SELECT RAISE(ROLLBACK, 'database or disk is full'); END",
    )?;
    let commits = (0..40).map(|number| {
        let (store, id) = (Arc::clone(&store), id.clone());
        let category = if number % 10 == 3 { "full" } else { "session" };
        tokio::spawn(async move {
            (number, store.commit(&id, epoch, writes(vec![put(category, &number.to_string(), "1")])).await)
        })
    });
    let mut kept = Vec::new();
    for answer in join_all(commits).await {
        match answer? {
            (number, Ok(_)) => kept.push(number.to_string()),
            (_, Err(error)) => {
                assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
                assert!(chain(&error).contains("full"), "{}", chain(&error));
            }
        }
    }
    kept.sort_unstable();
    let found: Vec<String> = store.scan(&id, "session", "").await?.into_iter().map(|(key, _)| key).collect();
    assert_eq!(found, kept, "what was answered well is there, and nothing else");
    assert!(store.scan(&id, "full", "").await?.is_empty());
    file.execute("DROP TRIGGER full")?;
    assert_eq!(store.commit(&id, epoch, writes(vec![put("full", "a", "1")])).await?, Revision(kept.len() as u64 + 1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_database_is_corrupt_and_left_as_it_is() -> Outcome {
    let file = SqliteFile::new()?;
    let garbage = b"this is somebody's holiday diary, and no database at all. ".repeat(100);
    std::fs::write(file.path(), &garbage)?;
    let error = file.open(Opening::default()).await.err().expect("it is no database");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    assert_eq!(std::fs::read(file.path())?, garbage);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_hold_no_json_are_named_and_the_rest_of_the_row_is_read() -> Outcome {
    let bench = Bench::new(SqliteFile::new()?).await?;
    let id = bench.instance("shop").await?;
    bench.database.execute(r#"UPDATE "Instance" SET "disconnectionObject" = '{"half'"#)?;
    bench.database.execute(
        r#"INSERT INTO "Chatwoot" ("id", "accountId", "ignoreJids", "updatedAt", "instanceId") VALUES ('w', '7', '[', CURRENT_TIMESTAMP, 'shop')"#,
    )?;
    let record = bench.record(&id).await?;
    assert_eq!(record.unreadable, ["Instance.disconnectionObject", "Chatwoot.ignoreJids"]);
    assert_eq!(record.disconnection_object, None);
    assert_eq!(record.chatwoot.expect("there is a row")["accountId"], "7");
    assert!(record.setting.is_some());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_missing_is_said_so() -> Outcome {
    let file = SqliteFile::new()?;
    let mut options = file.options(Opening::default());
    options.url = format!("{}/missing/holdfast.db", file.path().display());
    let error = holdfast::store::open(options).await.err().expect("there is no such folder");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_of_each_instance_is_found_quickly_behind_a_long_queue() -> Outcome {
    let bench = Bench::new(SqliteFile::new()?).await?;
    queue(&bench, 100_000, 20)?;
    let clock = Clock::start();
    for _ in 0..20 {
        let heads = bench.store.heads().await?;
        assert_eq!((heads.len(), heads.iter().map(|head| head.due_ms).min()), (20, Some(1)));
        assert!(matches!(bench.store.next(&InstanceId::new("i7"), 7).await?, Loaded::Ready(_)));
        assert!(matches!(bench.store.next(&InstanceId::new("i7"), 6).await?, Loaded::Nothing));
    }
    let leaping = clock.now();
    for _ in 0..20 {
        let walk = "SELECT instance_id || min(seq) FROM holdfast_outbox \
            WHERE state = 'pending' AND sink = 'webhook' GROUP BY instance_id";
        assert_eq!(bench.database.texts(walk)?.len(), 20);
    }
    let walking = leaping.until(clock.now());
    let leaping = Timestamp::from_millis(0).until(leaping);
    assert!(leaping < walking / 2, "sixty leaps took {leaping:?}, twenty walks over every row {walking:?}");
    Ok(())
}

/// Queues so many rows, spread over so many instances.
fn queue(bench: &Bench, rows: u32, instances: u32) -> Outcome {
    bench.database.execute(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
         INSERT INTO holdfast_outbox \
         (event_id, instance_id, instance_name, sink, event, data, at_ms, due_ms, waiting_ms, url, by_events) \
         SELECT 'e' || i, 'i' || (i % {instances}), 'shop', 'webhook', 'call', '{{}}', i, i, i, 'http://receiver.test', FALSE FROM n"
    ))
}

async fn session(store: &dyn Store) -> anyhow::Result<(InstanceId, Epoch)> {
    let id = store.insert(new_instance("shop")).await?.id;
    let epoch = store.claim(&id).await?.epoch;
    Ok((id, epoch))
}
