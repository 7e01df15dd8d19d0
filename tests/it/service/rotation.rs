use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use holdfast::app::data_dir::{SessionKeys, read_session_keys};
use holdfast::config::SessionKey;
use holdfast::ports::clock::Clock;
use holdfast::ports::session::{SessionBatch, Write};
use holdfast::ports::store::{NewInstance, Settings, Store, StoreError};
use holdfast::store::{EncryptionKey, PoolOptions, Retention, StoreOptions};
use holdfast_core::id::InstanceId;
use holdfast_sim::{Options, Simulator};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use crate::harness::engine::Home;

const VALUES: usize = 3_000;
const OLD: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const NEW: &str = "2222222222222222222222222222222222222222222222222222222222222222";

async fn open(home: &Home, key: EncryptionKey) -> Result<Arc<dyn Store>, StoreError> {
    let options = StoreOptions {
        url: home.data_dir().join("holdfast.db").display().to_string(),
        client_name: "evolution".to_owned(),
        node: "node".to_owned(),
        lease_ttl: Duration::from_secs(60),
        key,
        runtime: Handle::current(),
        clock: Clock::start(),
        retention: Retention::default(),
        pool: PoolOptions::default(),
    };
    holdfast::store::open(options).await
}

fn key(text: &str) -> SessionKey {
    SessionKey::parse(text).expect("a key")
}

fn only(text: &str) -> EncryptionKey {
    EncryptionKey::new(key(text).0)
}

fn value(number: usize) -> Vec<u8> {
    format!("value {number} {}", "x".repeat(200)).into_bytes()
}

fn put(number: usize) -> Write {
    Write { category: "session", key: format!("k{number:06}"), value: Some(value(number)), expires_at: None }
}

/// Fills a database under the old key: values, a device, an archived login.
async fn fill(home: &Home) -> anyhow::Result<()> {
    fs::create_dir_all(home.data_dir())?;
    let store = open(home, only(OLD)).await?;
    for name in ["shop", "gone"] {
        let new = NewInstance {
            id: InstanceId::new(name),
            name: name.to_owned(),
            token: name.to_owned(),
            integration: "WHATSAPP-BAILEYS".to_owned(),
            number: None,
            settings: Settings::default(),
            webhook: None,
            proxy: None,
        };
        let id = store.insert(new).await?.id;
        let epoch = store.claim(&id).await?.epoch;
        let device = SessionBatch { device: Some(b"device".to_vec()), paired: Some(true), ..SessionBatch::default() };
        store.commit(&id, epoch, device).await?;
        for numbers in (0..VALUES).collect::<Vec<_>>().chunks(500) {
            let writes = numbers.iter().copied().map(put).collect();
            store.commit(&id, epoch, SessionBatch { writes, ..SessionBatch::default() }).await?;
        }
    }
    store.archive(&InstanceId::new("gone"), "a test").await?;
    store.close().await?;
    Ok(())
}

async fn whole(store: &dyn Store) -> anyhow::Result<()> {
    let shop = InstanceId::new("shop");
    let found = store.scan(&shop, "session", "").await?;
    assert_eq!(found.len(), VALUES);
    for (number, (_key, plain)) in found.into_iter().enumerate() {
        assert_eq!(plain, value(number));
    }
    assert_eq!(store.device(&shop).await?.as_deref(), Some(&b"device"[..]));
    Ok(())
}

/// Tells whether the id of a key is anywhere in the files of the database, as bytes or as text.
fn mentions(data_dir: &Path, key: &SessionKey) -> bool {
    let id = &Sha256::digest(key.0)[..8];
    let text = id.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    ["holdfast.db", "holdfast.db-wal"].iter().filter_map(|name| fs::read(data_dir.join(name)).ok()).any(|bytes| {
        [id, text.as_bytes()].iter().any(|wanted| bytes.windows(wanted.len()).any(|window| window == *wanted))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_is_killed_at_any_moment_leaves_a_database_that_opens() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url());
    fill(&home).await.unwrap();
    fs::write(home.data_dir().join("session-key"), OLD).unwrap();
    assert!(mentions(&home.data_dir(), &key(OLD)));

    let (mut kills, mut halfway) = (0, 0);
    for milliseconds in (5..).step_by(30) {
        let mut child = home.command(&["rotate-key"]).stdout(Stdio::null()).spawn().unwrap();
        let ended = tokio::time::timeout(Duration::from_millis(milliseconds), child.wait()).await;
        if let Ok(status) = ended {
            assert!(status.unwrap().success());
            break;
        }
        child.kill().await.unwrap();
        kills += 1;
        let kept = read_session_keys(&home.data_dir()).unwrap();
        halfway += usize::from(kept.old.is_some());
        let store = open(&home, kept.encryption_key()).await.unwrap();
        whole(&*store).await.unwrap();
        store.close().await.unwrap();
    }
    assert!(kills > 3 && halfway > 0, "{kills} kills, {halfway} of them midway");

    let SessionKeys { current, old } = read_session_keys(&home.data_dir()).unwrap();
    assert_eq!(old, None);
    assert_ne!(current, key(OLD));
    assert!(!mentions(&home.data_dir(), &key(OLD)), "a value is left under the old key");
    let error = open(&home, only(OLD)).await.err().expect("the old key opens nothing").to_string();
    assert!(error.contains("check value"), "{error}");
    let store = open(&home, EncryptionKey::new(current.0)).await.unwrap();
    whole(&*store).await.unwrap();
    store.close().await.unwrap();
    // And the engine starts on it.
    let engine = home.start().await;
    assert_eq!(engine.api().get("/instance/fetchInstances").await.good().as_array().unwrap().len(), 2);

    let output = home.command(&["rotate-key"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("an engine runs"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_set_is_rotated_by_setting_both() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = Home::new(sim.ws_url()).set("SESSION_ENCRYPTION_KEY", OLD);
    fill(&home).await.unwrap();
    let output = home.command(&["rotate-key"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("SESSION_ENCRYPTION_KEY_OLD"), "{said}");

    let home = home.set("SESSION_ENCRYPTION_KEY", NEW).set("SESSION_ENCRYPTION_KEY_OLD", OLD);
    let output = home.command(&["rotate-key"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("Remove SESSION_ENCRYPTION_KEY_OLD"), "{said}");
    assert!(!home.data_dir().join("session-key").exists());
    assert!(!mentions(&home.data_dir(), &key(OLD)));
    let store = open(&home, only(NEW)).await.unwrap();
    whole(&*store).await.unwrap();
    store.close().await.unwrap();
    let home = home.unset("SESSION_ENCRYPTION_KEY_OLD");
    home.start().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_version_is_not_opened() {
    let home = Home::new("ws://127.0.0.1:1/").set("SESSION_ENCRYPTION_KEY", OLD);
    fill(&home).await.unwrap();
    let sql = "INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')";
    let path = home.data_dir().join("holdfast.db").display().to_string();
    {
        use diesel::connection::SimpleConnection as _;
        use diesel::prelude::*;
        SqliteConnection::establish(&path).unwrap().batch_execute(sql).unwrap();
    }
    let output = home.command(&["serve"]).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("a newer version of Holdfast has changed it (migration 9999)"), "{said}");
}
