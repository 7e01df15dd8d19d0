//! Backups at the level of the store: what is in them, what of it comes back, and what of it must not.

use std::error::Error;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use holdfast::ports::clock::Clock;
use holdfast::ports::restore::{Renewal, Renewed};
use holdfast::ports::session::{Accepted, MessageKey, SessionBatch};
use holdfast::ports::store::Store;
use holdfast::store::EncryptionKey;
use holdfast::store::sqlite::upkeep::{
    self, BackupError, BackupRequest, StagingRequest, WorkFolder, Written, adopt, merge, stage,
};
use holdfast_core::event::EventName;
use holdfast_core::id::InstanceId;
use secrecy::SecretString;

use super::bench::{
    CLIENT, Database as _, Opening, Outcome, SqliteFile, device, event, new_instance, put, webhook, writes,
};

const THEIRS: [u8; 32] = [42; 32];
const OURS: [u8; 32] = [7; 32];

/// Marks a device as renewed, and adds a value.
struct Mark;

impl Renewal for Mark {
    fn renew(&self, device: &[u8]) -> Result<Renewed, Box<dyn Error + Send + Sync>> {
        let device = [device, b" renewed"].concat();
        Ok(Renewed { device, own: vec!["5511".to_owned()], writes: vec![put("signed-pre-key", "0000000001", "kept")] })
    }
}

fn passphrase() -> SecretString {
    SecretString::from("a passphrase")
}

fn back_up(file: &SqliteFile, to: &Path) -> Result<Written, BackupError> {
    upkeep::back_up(&BackupRequest {
        database: &file.path(),
        key: &EncryptionKey::new(THEIRS),
        api_key: None,
        client_name: CLIENT,
        passphrase: &passphrase(),
        file: to,
        replace: true,
        now: Clock::start().wall(),
    })
}

fn staging<'a>(backup: &'a Path, passphrase: &'a SecretString, renewal: &'a dyn Renewal) -> StagingRequest<'a> {
    StagingRequest { file: backup, passphrase, key: &OURS, client_name: CLIENT, renewal, now_ms: 1 }
}

fn ours() -> Opening {
    Opening { key: OURS, ..Opening::default() }
}

fn message(id: &str) -> MessageKey {
    MessageKey { chat: "ana".to_owned(), sender: "ana".to_owned(), id: id.to_owned() }
}

fn accepted(id: &str) -> SessionBatch {
    let event = Some(event(EventName::MessagesUpsert, id));
    SessionBatch { accepted: vec![Accepted { key: message(id), event, recovered: false }], ..SessionBatch::default() }
}

/// A paired instance with a webhook, some values of each kind, a message and its delivery.
async fn lived_in(store: &dyn Store, name: &str) -> anyhow::Result<InstanceId> {
    let id = store.insert(new_instance(name)).await?.id;
    store.set_webhook(&id, webhook(&[EventName::MessagesUpsert])).await?;
    let epoch = store.claim(&id).await?.epoch;
    store.commit(&id, epoch, device("the device")).await?;
    let values = [
        ("session", "ana"),
        ("sender-key", "1@g.us:5511:2@s.whatsapp.net.0"),
        ("sender-key", "1@g.us:5522:2@s.whatsapp.net.0"),
        ("sender-key-device", "1@g.us|ana"),
        ("identity", "ana"),
        ("pre-key", "0000000002"),
        ("pending-inbound", "ana|ana|9"),
        ("something-new", "x"),
    ];
    store.commit(&id, epoch, writes(values.map(|(category, key)| put(category, key, "value")).to_vec())).await?;
    store.commit(&id, epoch, accepted("before")).await?;
    Ok(id)
}

async fn keys(store: &dyn Store, id: &InstanceId) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for category in [
        "session",
        "sender-key",
        "sender-key-device",
        "identity",
        "pre-key",
        "signed-pre-key",
        "pending-inbound",
        "something-new",
    ] {
        found.extend(store.scan(id, category, "").await?.into_iter().map(|(key, _)| format!("{category} {key}")));
    }
    Ok(found)
}

fn event_ids(database: &SqliteFile) -> anyhow::Result<Vec<String>> {
    database.texts("SELECT event_id FROM holdfast_outbox ORDER BY seq")
}

struct Shelf(tempfile::TempDir);

impl Shelf {
    fn new() -> anyhow::Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("backup")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_login_keeps_its_identity_and_gives_up_its_ratchets() -> Outcome {
    let (from, to, shelf) = (SqliteFile::new()?, SqliteFile::new()?, Shelf::new()?);
    let store = from.open(Opening::default()).await?;
    let id = lived_in(&*store, "shop").await?;
    let sent = event_ids(&from)?;
    assert_eq!(sent.len(), 1);
    // The store is open and in use while the backup is taken.
    let written = back_up(&from, &shelf.file())?;
    assert_eq!((written.summary.paired, written.summary.unreadable), (1, 0));
    let (first, last) = written.summary.revisions;
    assert_eq!((written.summary.rows("holdfast_session_value"), first), (8, last));
    let plain = std::fs::read(shelf.file())?;
    for secret in [&b"the device"[..], b"token-of-shop", b"receiver.test", b"SQLite format"] {
        assert!(!plain.windows(secret.len()).any(|window| window == secret), "{}", String::from_utf8_lossy(secret));
    }

    let passphrase = passphrase();
    let work = WorkFolder::make(&to.path())?;
    let staged = stage(&staging(&shelf.file(), &passphrase, &Mark), &work)?;
    assert_eq!(adopt(&to.path(), staged, "now")?, None);
    drop(work);
    let restored = to.open(ours()).await?;
    assert_eq!(restored.device(&id).await?.as_deref(), Some(&b"the device renewed"[..]));
    assert_eq!(
        keys(&*restored, &id).await?,
        [
            "sender-key 1@g.us:5522:2@s.whatsapp.net.0",
            "identity ana",
            "pre-key 0000000002",
            "signed-pre-key 0000000001",
            "pending-inbound ana|ana|9",
        ]
    );
    assert!(restored.is_accepted(&id, &message("before")).await?);
    assert_eq!(event_ids(&to)?, sent, "a delivery keeps its id");
    let claim = restored.claim(&id).await?;
    assert!(claim.revision.0 > last as u64 + 1_000_000, "no copy of the other history can have this revision");
    assert!(restored.get(&id).await?.context("the instance")?.paired);
    // Nothing is left under the key that it was under.
    let theirs = to.open(Opening::default()).await;
    assert!(theirs.is_err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_stays_accepted_and_what_waits_is_not_doubled() -> Outcome {
    let (from, to, shelf) = (SqliteFile::new()?, SqliteFile::new()?, Shelf::new()?);
    let store = from.open(Opening::default()).await?;
    let id = lived_in(&*store, "shop").await?;
    lived_in(&*store, "bar").await?;
    back_up(&from, &shelf.file())?;

    // Another database has an older copy of both, and has gone on.
    let passphrase = passphrase();
    let work = WorkFolder::make(&to.path())?;
    adopt(&to.path(), stage(&staging(&shelf.file(), &passphrase, &Mark), &work)?, "now")?;
    let present = to.open(ours()).await?;
    let epoch = present.claim(&id).await?.epoch;
    present.commit(&id, epoch, accepted("after")).await?;
    let before = event_ids(&to)?;
    present.close().await?;
    to.execute("INSERT INTO holdfast_unrecovered VALUES ('shop', 'ana', 'ana', 'lost', 'undecryptable', 9999999999999, 2, NULL)")?;

    let staged = stage(&staging(&shelf.file(), &passphrase, &Mark), &work)?;
    let key = EncryptionKey::new(OURS);
    assert!(merge(&to.path(), &staged, &key, &["nobody".to_owned()]).is_err());
    let merged = merge(&to.path(), &staged, &key, &["shop".to_owned()])?;
    assert_eq!((merged.taken, merged.left), (vec![(id.clone(), "shop".to_owned())], vec!["bar".to_owned()]));
    let present = to.open(ours()).await?;
    for known in ["before", "after"] {
        assert!(present.is_accepted(&id, &message(known)).await?, "{known}");
    }
    assert_eq!(to.texts("SELECT message_id FROM holdfast_unrecovered")?, ["lost"]);
    assert_eq!(event_ids(&to)?, before);
    assert_eq!(present.list().await?.len(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_was_damaged_is_counted_and_stays_an_error() -> Outcome {
    let (from, to, shelf) = (SqliteFile::new()?, SqliteFile::new()?, Shelf::new()?);
    let store = from.open(Opening::default()).await?;
    let id = lived_in(&*store, "shop").await?;
    from.execute("UPDATE holdfast_session_value SET value = X'00' WHERE category = 'identity'")?;
    assert_eq!(back_up(&from, &shelf.file())?.summary.unreadable, 1);
    let passphrase = passphrase();
    let work = WorkFolder::make(&to.path())?;
    adopt(&to.path(), stage(&staging(&shelf.file(), &passphrase, &Mark), &work)?, "now")?;
    let restored = to.open(ours()).await?;
    assert!(restored.read(&id, "identity", "ana").await.is_err());
    assert!(restored.read(&id, "pre-key", "0000000002").await?.is_some());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_makes_no_backup_and_takes_nothing_in() -> Outcome {
    let (from, shelf) = (SqliteFile::new()?, Shelf::new()?);
    let store = from.open(ours()).await?;
    lived_in(&*store, "shop").await?;
    assert!(back_up(&from, &shelf.file()).is_err());
    assert!(!shelf.file().exists());

    let other = SqliteFile::new()?;
    let store = other.open(Opening::default()).await?;
    lived_in(&*store, "bar").await?;
    back_up(&other, &shelf.file())?;
    let passphrase = passphrase();
    let work = WorkFolder::make(&from.path())?;
    let staged = stage(&staging(&shelf.file(), &passphrase, &Mark), &work)?;
    assert!(merge(&from.path(), &staged, &EncryptionKey::new(THEIRS), &[]).is_err());
    assert!(upkeep::prepared(&from.path(), &staged.id, &EncryptionKey::new(THEIRS)).is_err());
    Ok(())
}
