//! Copies in the HTTP session provider.

use async_trait::async_trait;
use holdfast::ports::clock::Clock;
use holdfast::ports::layer::{Layer, LayerError, Reading};
use holdfast::provider::{HttpProvider, HttpProviderOptions};

use super::bench::{Place, copy, id, read, revision};
use crate::harness::provider::{API_KEY, Provider};

const GROUP: &str = "evolution";

pub(super) struct InProvider {
    server: Provider,
    layer: HttpProvider,
}

pub(super) async fn in_a_provider() -> anyhow::Result<InProvider> {
    let server = Provider::start()?;
    let layer = open(&server, API_KEY)?;
    Ok(InProvider { server, layer })
}

fn open(server: &Provider, key: &str) -> anyhow::Result<HttpProvider> {
    let options =
        HttpProviderOptions { url: server.url().parse()?, group: GROUP.to_owned(), api_key: key.to_owned().into() };
    Ok(HttpProvider::new(options, Clock::start())?)
}

#[async_trait]
impl Place for InProvider {
    fn layer(&self) -> &dyn Layer {
        &self.layer
    }

    async fn damage(&self, id: &str) -> anyhow::Result<()> {
        self.server.change(GROUP, id, |_key, document| document.truncate(document.len() / 2));
        Ok(())
    }

    async fn misplace(&self, from: &str, to: &str) -> anyhow::Result<()> {
        let theirs = std::sync::Mutex::new(Vec::new());
        self.server.change(GROUP, from, |_key, document| theirs.lock().expect("no panic").clone_from(document));
        let theirs = theirs.into_inner().expect("no panic");
        self.server.change(GROUP, to, |_key, document| document.clone_from(&theirs));
        Ok(())
    }

    async fn break_off(&self) -> anyhow::Result<()> {
        self.server.stop().await;
        Ok(())
    }

    async fn set_aside(&self) -> anyhow::Result<usize> {
        Ok(self.server.keys(GROUP, "shop").iter().filter(|key| key.contains("corrupt")).count())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s29_a_write_that_was_cut_leaves_the_earlier_copy() -> anyhow::Result<()> {
    let place = in_a_provider().await?;
    place.layer.write(&copy("shop", 1, 1)).await?;
    for number in 2..6 {
        place.server.tear_next();
        place.layer.write(&copy("shop", 1, number)).await?;
        // Another process reads what the crash has left.
        let restarted = open(&place.server, API_KEY)?;
        assert_eq!(revision(&restarted, "shop").await, Some(number - 1));
        restarted.write(&copy("shop", 1, number)).await?;
        assert_eq!(revision(&place.layer, "shop").await, Some(number), "the torn one was written over");
        place.layer.remove(&id("shop")).await?;
        place.layer.write(&copy("shop", 1, number)).await?;
    }
    assert!(place.server.keys(GROUP, "shop").len() <= 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_asked_again_a_few_times_where_it_fails_and_no_more() -> anyhow::Result<()> {
    let place = in_a_provider().await?;
    place.layer.write(&copy("shop", 1, 1)).await?;
    place.server.refuse(2, 503);
    assert_eq!(revision(&place.layer, "shop").await, Some(1));
    let before = place.server.requests();
    place.server.refuse(100, 500);
    assert!(matches!(read(&place.layer, "shop").await, Reading::Unreadable { .. }));
    assert_eq!(place.server.requests() - before, 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_refusal_is_taken_for_absent() -> anyhow::Result<()> {
    let place = in_a_provider().await?;
    place.layer.write(&copy("shop", 1, 1)).await?;
    for status in [400, 401, 403, 404, 429] {
        place.server.refuse(1, status);
        let reading = read(&place.layer, "shop").await;
        assert!(matches!(reading, Reading::Unreadable { .. }), "{status}: {reading:?}");
    }
    // A redirect is not followed: the key is not for whoever it leads to.
    let before = place.server.requests();
    place.server.refuse(1, 302);
    assert!(matches!(read(&place.layer, "shop").await, Reading::Unreadable { .. }));
    assert_eq!(place.server.requests() - before, 1);
    let stranger = open(&place.server, "another-key")?;
    assert!(matches!(read(&stranger, "shop").await, Reading::Unreadable { .. }));
    assert!(stranger.write(&copy("shop", 1, 2)).await.is_err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_gone_is_not_asked_for_each_instance() -> anyhow::Result<()> {
    let place = in_a_provider().await?;
    place.server.refuse(10_000, 503);
    let ids: Vec<_> = (0..200).map(|number| id(&format!("shop-{number}"))).collect();
    let readings = place.layer.read(&ids).await;
    assert_eq!(readings.len(), ids.len());
    assert!(readings.iter().all(|(_, reading)| matches!(reading, Reading::Unreadable { .. })));
    assert!(place.server.requests() <= 16 * 3, "{} requests", place.server.requests());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_longer_than_it_takes_is_said_to_be() -> anyhow::Result<()> {
    let place = in_a_provider().await?;
    place.layer.write(&copy("shop", 1, 1)).await?;
    place.server.refuse(1, 413);
    let refused = place.layer.write(&copy("shop", 1, 2)).await;
    assert!(matches!(refused, Err(LayerError::Unfit { .. })), "{refused:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_tells_whether_it_is_a_provider() -> anyhow::Result<()> {
    let place = in_a_provider().await?;
    place.layer.ping().await?;
    place.server.refuse(1, 200);
    assert!(place.layer.ping().await.is_err(), "somebody else answers there");
    place.server.stop().await;
    let gone = place.layer.ping().await;
    let text = gone.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(!text.is_empty() && !text.contains(API_KEY) && !text.contains("127.0.0.1"), "{text}");
    Ok(())
}
