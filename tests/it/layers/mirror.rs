//! Who writes to a layer after the database has.

use std::sync::Arc;
use std::time::Duration;

use holdfast::cache::{Mirror, MirrorPolicy, RedisCache};
use holdfast::ports::clock::Clock;
use holdfast::ports::layer::Reading;
use holdfast_core::id::{Epoch, InstanceId};
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
    let policy = MirrorPolicy { every: Duration::from_millis(50), ..MirrorPolicy::default() };
    let mirror = Mirror::start(layer.clone(), bench.store.clone(), Clock::start(), policy, &Handle::current());
    Ok(Scene { server, layer, bench, mirror, id, epoch })
}

impl Scene {
    async fn change(&self, value: &str) -> anyhow::Result<u64> {
        let batch = writes(vec![put("session", "5511.0", value)]);
        let revision = self.bench.store.commit(&self.id, self.epoch, batch).await?;
        self.mirror.changed(&self.id);
        Ok(revision.0)
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
    scene.mirror.changed(&scene.id);
    eventually("no copy of what has no login", || async {
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
    assert_eq!(scene.mirror.lag().1, 0, "nothing was left out");
    anyhow::ensure!(scene.server.run().await?, "it does not start again");
    scene.shows(last).await;
    eventually("nobody waits", || async { (scene.mirror.lag().0 == 0).then_some(()) }).await;
    scene.mirror.gone(&scene.id);
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
    scene.mirror.close().await;
    let Reading::Found(found) = read(scene.layer.as_ref(), "shop").await else { panic!("it was written") };
    assert_eq!(found.revision.0, last);

    let scene = self::scene().await?;
    scene.server.freeze()?;
    scene.change("never").await?;
    tokio::time::timeout(Duration::from_secs(15), scene.mirror.close()).await?;
    Ok(())
}
