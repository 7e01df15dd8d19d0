//! Who writes to a layer after the database has.

use std::sync::Arc;
use std::time::Duration;

use holdfast::cache::RedisCache;
use holdfast::mirror::{Mirror, MirrorParts, MirrorPolicy};
use holdfast::ports::board::{Board, Entry, PairingView, Token};
use holdfast::ports::changes::{Change, Observer as _};
use holdfast::ports::clock::Clock;
use holdfast::ports::copying::Copying as _;
use holdfast::ports::layer::{Layer as _, Reading};
use holdfast_core::connection::{Desired, Phase};
use holdfast_core::event::Owner;
use holdfast_core::id::{Epoch, InstanceId, Revision};
use holdfast_core::status::InstanceStatus;
use holdfast_core::time::Timestamp;
use tokio::runtime::Handle;

use super::bench::read;
use super::redis::open;
use crate::harness::eventually::eventually;
use crate::harness::redis::Redis;
use crate::store::bench::{Bench, SqliteFile, device, put, writes};

struct Scene {
    server: Redis,
    layer: Arc<RedisCache>,
    bench: Bench,
    mirror: Arc<Mirror>,
    id: InstanceId,
    epoch: Epoch,
}

async fn scene() -> anyhow::Result<Scene> {
    let server = Redis::start().await?;
    let layer = Arc::new(open(&server.uri())?);
    let bench = Bench::new(SqliteFile::new()?).await?;
    let (id, epoch) = bench.session("shop").await?;
    bench.store.commit(&id, epoch, device("the device")).await?;
    let brief = Duration::from_millis(50);
    let policy = MirrorPolicy { every: brief, rest: brief, refresh_every: brief * 4, ..MirrorPolicy::default() };
    let board = Arc::new(Board::default());
    let status = InstanceStatus::without_actor(Phase::Parked, Timestamp::default(), true, false);
    board.hang(
        &id,
        Entry {
            name: "shop".to_owned(),
            token: Token("a token".to_owned()),
            integration: String::new(),
            status,
            pairing: PairingView::default(),
            owner: Owner::default(),
        },
    );
    let parts = MirrorParts {
        layer: layer.clone(),
        copies: bench.store.clone(),
        board,
        neighbours: Arc::default(),
        alone: true,
        clock: Clock::start(),
        policy,
    };
    let mirror = Mirror::start(parts, &Handle::current());
    Ok(Scene { server, layer, bench, mirror, id, epoch })
}

impl Scene {
    async fn change(&self, value: &str) -> anyhow::Result<u64> {
        let batch = writes(vec![put("session", "5511.0", value)]);
        let revision = self.bench.store.commit(&self.id, self.epoch, batch).await?;
        Ok(revision.0)
    }

    /// Waits until nothing waits to be copied.
    async fn rests(&self) {
        eventually("nobody waits", || async { (self.mirror.figures().waiting == 0).then_some(()) }).await;
    }

    async fn shows(&self, revision: u64) {
        eventually(&format!("revision {revision} in Redis"), || async {
            (super::bench::revision(self.layer.as_ref(), "shop").await == Some(revision)).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_changed_is_written_in_its_newest_state() -> anyhow::Result<()> {
    let scene = scene().await?;
    let mut last = 0;
    for number in 0..50 {
        last = scene.change(&number.to_string()).await?;
    }
    scene.shows(last).await;
    scene.bench.store.archive(&scene.id, "logged-out").await?;
    eventually("no copy of what has no login", || async {
        (read(scene.layer.as_ref(), "shop").await == Reading::Absent).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn s31_a_copy_that_was_lost_is_made_again_though_nothing_changes() -> anyhow::Result<()> {
    let scene = scene().await?;
    let last = scene.change("the last for a long time").await?;
    scene.shows(last).await;
    scene.server.ask(0, &["FLUSHALL"]).await?;
    scene.shows(last).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_newer_than_the_database_stays_and_is_not_tried_for_ever() -> anyhow::Result<()> {
    let scene = scene().await?;
    let last = scene.change("the last before it was set back").await?;
    scene.shows(last).await;
    let mut newer = scene.bench.store.export(&scene.id, Clock::start().wall()).await?.expect("a login");
    newer.header.revision = Revision(last + 1_000);
    scene.layer.write(&newer).await?;
    let failed = scene.mirror.figures().failed;
    scene.change("goes on").await?;
    eventually("a second try", || async { (scene.mirror.figures().failed > failed).then_some(()) }).await;
    scene.rests().await;
    scene.shows(last + 1_000).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn s30_the_only_copy_of_a_login_is_not_removed_because_the_database_was_set_back() -> anyhow::Result<()> {
    let scene = scene().await?;
    let last = scene.change("the last before it was set back").await?;
    scene.shows(last).await;
    let before_the_pairing = [
        r#"DELETE FROM "Session""#,
        "DELETE FROM holdfast_session_value",
        "UPDATE holdfast_session SET paired = FALSE, revision = 0",
    ];
    for back in before_the_pairing {
        scene.bench.database.execute(back)?;
    }
    scene.bench.store.set_desired(&scene.id, Desired::Connected).await?;
    scene.rests().await;
    scene.shows(last).await;
    // Then to a time at which there was no such instance, which is not an operator's deletion of it.
    scene.bench.database.execute(r#"DELETE FROM "Instance""#)?;
    scene.mirror.changed(&scene.id, Change::Content);
    scene.rests().await;
    scene.shows(last).await;
    // An operator's deletion is one, also of an instance that the database had set back.
    scene.bench.instance("shop").await?;
    scene.bench.store.delete(&scene.id).await?;
    eventually("no copy of what was deleted", || async {
        (read(scene.layer.as_ref(), "shop").await == Reading::Absent).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn s31_what_was_not_written_while_redis_was_down_is_written_later() -> anyhow::Result<()> {
    let scene = scene().await?;
    scene.server.kill();
    let mut last = 0;
    for number in 0..10 {
        last = scene.change(&number.to_string()).await?;
    }
    assert_eq!(scene.mirror.figures().left_out, 0, "nothing was left out");
    anyhow::ensure!(scene.server.run().await?, "it does not start again");
    scene.shows(last).await;
    scene.rests().await;
    scene.bench.store.delete(&scene.id).await?;
    eventually("no copy of what is gone", || async {
        (read(scene.layer.as_ref(), "shop").await == Reading::Absent).then_some(())
    })
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_writes_what_waits_and_does_not_wait_for_what_is_down() -> anyhow::Result<()> {
    let scene = scene().await?;
    let last = scene.change("last").await?;
    assert_eq!(scene.mirror.close(Duration::from_secs(10)).await, 0);
    let Reading::Found(found) = read(scene.layer.as_ref(), "shop").await else { panic!("it was written") };
    assert_eq!(found.revision.0, last);

    let scene = self::scene().await?;
    scene.server.freeze()?;
    scene.change("never").await?;
    let behind = tokio::time::timeout(Duration::from_secs(15), scene.mirror.close(Duration::from_secs(1))).await?;
    assert_eq!(behind, 1);
    Ok(())
}
