//! Copies in Redis.

use std::time::Duration;

use async_trait::async_trait;
use holdfast::cache::{RedisCache, RedisOptions};
use holdfast::ports::clock::Clock;
use holdfast::ports::layer::{Layer, LayerError, Reading};

use super::bench::{Place, copy, copy_of, id, read, revision};
use crate::harness::eventually::eventually;
use crate::harness::redis::Redis;

const PREFIX: &str = "evolution*test";

pub(super) struct InRedis {
    pub(super) server: Redis,
    pub(super) layer: RedisCache,
}

pub(super) async fn in_redis() -> anyhow::Result<InRedis> {
    let server = Redis::start().await?;
    let layer = open(&server.uri())?;
    Ok(InRedis { server, layer })
}

fn options(uri: &str) -> RedisOptions {
    RedisOptions {
        uri: uri.to_owned().into(),
        prefix: PREFIX.to_owned(),
        ttl: Duration::from_secs(600),
        authorities: None,
    }
}

pub(super) fn open(uri: &str) -> anyhow::Result<RedisCache> {
    Ok(RedisCache::new(options(uri), Clock::start())?)
}

fn key(id: &str) -> String {
    format!("{PREFIX}:holdfast:copy:{id}")
}

#[async_trait]
impl Place for InRedis {
    fn layer(&self) -> &dyn Layer {
        &self.layer
    }

    async fn damage(&self, id: &str) -> anyhow::Result<()> {
        self.server.ask(0, &["HSET", &key(id), "copy", "HFCOPY, and no more"]).await?;
        Ok(())
    }

    async fn misplace(&self, from: &str, to: &str) -> anyhow::Result<()> {
        self.server.ask(0, &["COPY", &key(from), &key(to), "REPLACE"]).await?;
        Ok(())
    }

    async fn break_off(&self) -> anyhow::Result<()> {
        self.server.kill();
        Ok(())
    }

    async fn set_aside(&self) -> anyhow::Result<usize> {
        let keys = self.server.ask(0, &["KEYS", "*:holdfast:corrupt:shop:*"]).await?;
        Ok(keys.iter().filter(|key| !key.is_empty()).count())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_when_its_instance_gives_no_sign_of_life() -> anyhow::Result<()> {
    let place = in_redis().await?;
    place.layer.write(&copy("shop", 1, 1)).await?;
    let left = async || anyhow::Ok(place.server.ask(0, &["TTL", &key("shop")]).await?[0].parse::<i64>()?);
    assert!((590..=600).contains(&left().await?));
    place.server.ask(0, &["EXPIRE", &key("shop"), "100"]).await?;
    place.layer.refresh(&[id("shop")]).await?;
    assert!(left().await? > 500, "it lives");
    place.server.ask(0, &["EXPIRE", &key("shop"), "100"]).await?;
    place.layer.write(&copy("shop", 1, 2)).await?;
    assert!(left().await? > 500, "it was written");
    place.damage("shop").await?;
    place.layer.set_aside(&id("shop")).await?;
    let aside = place.server.ask(0, &["KEYS", "*:holdfast:corrupt:shop:*"]).await?;
    assert!(place.server.ask(0, &["TTL", &aside[0]]).await?[0].parse::<i64>()? > 0, "what is set aside goes too");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_keep_under_such_names_is_no_copy() -> anyhow::Result<()> {
    let place = in_redis().await?;
    place.layer.write(&copy("shop", 1, 1)).await?;
    place.server.ask(0, &["SET", &key("cafe"), "something else"]).await?;
    // The prefix is a pattern elsewhere, and a name here.
    place.server.ask(0, &["SET", "evolution-and-test:holdfast:copy:bar", "somebody else's"]).await?;
    assert_eq!(place.layer.list().await?, [id("cafe"), id("shop")]);
    let readings = place.layer.read(&[id("shop"), id("cafe"), id("bar")]).await;
    let shown: Vec<&Reading> = readings.iter().map(|(_, reading)| reading).collect();
    assert!(matches!(shown[..], [Reading::Found(_), Reading::Corrupt { .. }, Reading::Absent]), "{shown:?}");
    // It answered: it is asked again, however often it refuses.
    for _ in 0..10 {
        assert!(place.layer.write(&copy("cafe", 1, 1)).await.is_err());
    }
    assert_eq!(revision(&place.layer, "shop").await, Some(1));
    place.layer.set_aside(&id("cafe")).await?;
    place.layer.write(&copy("cafe", 1, 1)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn s31_it_is_left_alone_while_it_is_down_and_comes_back_by_itself() -> anyhow::Result<()> {
    let place = in_redis().await?;
    place.layer.write(&copy("shop", 1, 1)).await?;
    place.server.kill();
    let mut left_alone = 0;
    for _ in 0..20 {
        match place.layer.write(&copy("shop", 1, 2)).await {
            Err(LayerError::LeftAlone { .. }) => left_alone += 1,
            Err(LayerError::Unavailable { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(left_alone >= 10, "{left_alone} of 20");
    anyhow::ensure!(place.server.run().await?, "it does not start again");
    eventually("a write after Redis is back", || async { place.layer.write(&copy("shop", 1, 3)).await.ok() }).await;
    // S-30: it has forgotten everything else.
    assert_eq!(revision(&place.layer, "shop").await, Some(3));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn s31_one_that_stands_still_is_waited_for_within_limits() -> anyhow::Result<()> {
    let place = in_redis().await?;
    place.layer.write(&copy("shop", 1, 1)).await?;
    place.server.freeze()?;
    let ids: Vec<_> = (0..1_000).map(|number| id(&format!("shop-{number}"))).collect();
    let reading = tokio::time::timeout(Duration::from_secs(15), place.layer.read(&ids)).await?;
    assert_eq!(reading.len(), ids.len());
    assert!(reading.iter().all(|(_, reading)| matches!(reading, Reading::Unreadable { .. })));
    place.server.thaw()?;
    eventually("an answer after it goes on", || async { revision(&place.layer, "shop").await }).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_and_a_database_of_its_own_are_used() -> anyhow::Result<()> {
    let account = "user holdfast on >s3cret ~evolution* +@all -@dangerous";
    let words: Vec<&str> = std::iter::once("--user").chain(account.split(' ').skip(1)).collect();
    let server = Redis::start_with(&words).await?;
    let layer = open(&server.uri_as("holdfast:s3cret@", 3))?;
    layer.write(&copy("shop", 1, 1)).await?;
    assert_eq!(revision(&layer, "shop").await, Some(1));
    assert_eq!(layer.list().await?, [id("shop")]);
    assert_eq!(server.ask(3, &["EXISTS", &key("shop")]).await?, ["1"]);
    assert_eq!(server.ask(0, &["EXISTS", &key("shop")]).await?, ["0"]);
    layer.remove(&id("shop")).await?;
    let stranger = open(&server.uri_as("holdfast:wr0ng@", 3))?;
    let reading = read(&stranger, "shop").await;
    let Reading::Unreadable { why } = reading else { panic!("{reading:?}") };
    assert!(!why.contains("wr0ng"), "{why}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_is_encrypted_and_for_the_right_server_alone() -> anyhow::Result<()> {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let pem = certified.cert.pem();
    let server = Redis::start_with_tls(&pem, &certified.signing_key.serialize_pem()).await?;
    let trusting = RedisOptions { authorities: Some(pem.into_bytes()), ..options(&server.uri()) };
    let layer = RedisCache::new(trusting, Clock::start())?;
    layer.write(&copy_of("shop", 1, 1, 100_000)).await?;
    assert_eq!(revision(&layer, "shop").await, Some(1));
    let layer = open(&server.uri())?;
    assert!(matches!(read(&layer, "shop").await, Reading::Unreadable { .. }), "nobody vouches for this server");
    Ok(())
}
