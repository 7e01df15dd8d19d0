//! Copies of sessions: taking them, and writing them back.

use std::error::Error;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use holdfast::ports::clock::Clock;
use holdfast::ports::copies::{Adopted, Adoption, Export};
use holdfast::ports::layer::SessionCopy;
use holdfast::ports::restore::{Renewal, Renewed};
use holdfast::ports::session::{SessionBatch, Write};
use holdfast::ports::store::{ProxySpec, SettingsSpec, StoreError};
use holdfast::store::{EncryptionKey, open_copy};
use holdfast_core::connection::Desired;
use holdfast_core::event::EventName;
use holdfast_core::id::{DatabaseId, Epoch, InstanceId, Revision};
use holdfast_core::restoration::{Database, Mark, Standing};

use super::bench::{Bench, Opening, Outcome, device, eventually, put, writes};

const DEVICE: &str = "the device";
const RENEWED: &str = "the renewed device";

/// Renews the device of these tests, and no other.
pub(super) struct TestRenewal;

impl Renewal for TestRenewal {
    fn renew(&self, device: &[u8]) -> Result<Renewed, Box<dyn Error + Send + Sync>> {
        if device != DEVICE.as_bytes() {
            return Err("it is another device".into());
        }
        let outgoing = Write {
            category: "signed-pre-key",
            key: "1".to_owned(),
            value: Some(b"outgoing".to_vec()),
            expires_at: None,
        };
        Ok(Renewed { device: RENEWED.into(), own: vec!["5511".to_owned()], writes: vec![outgoing] })
    }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_800_000_000_000).expect("a moment")
}

/// Returns the present second since 1970.
fn second() -> u64 {
    Clock::start().wall().timestamp().cast_unsigned()
}

/// Makes a session with a value of each fate, and returns the state that it is in.
async fn login(bench: &Bench, name: &str) -> anyhow::Result<(InstanceId, Epoch)> {
    let (id, epoch) = bench.session(name).await?;
    bench.store.commit(&id, epoch, device(DEVICE)).await?;
    let values = vec![
        put("session", "5512.0", "a ratchet"),
        put("identity", "5512.0", "who somebody is"),
        put("pre-key", "7", "what only decrypts"),
        put("sender-key", "120@g.us:5511:7@s.whatsapp.net.0", "ours"),
        put("sender-key", "120@g.us:5512@s.whatsapp.net.0", "theirs"),
        put("something-new", "a", "what nobody has decided about"),
        Write { expires_at: Some(2_000_000_000), ..put("sent-message", "3EB0", "for those who ask again") },
    ];
    bench.store.commit(&id, epoch, writes(values)).await?;
    Ok((id, epoch))
}

async fn export(bench: &Bench, id: &InstanceId) -> anyhow::Result<SessionCopy> {
    bench.store.export(id, now()).await?.ok_or_else(|| anyhow::anyhow!("there is a login"))
}

async fn adopt(bench: &Bench, copy: &SessionCopy, seen: Option<Mark>) -> Result<Adopted, StoreError> {
    let adoption = Adoption { node: "node".to_owned(), seen, proved: None };
    bench.store.adopt_copy(copy.clone(), adoption, Arc::new(TestRenewal)).await
}

/// Returns what the database says of an instance.
async fn says(bench: &Bench, id: &InstanceId) -> anyhow::Result<Option<Database>> {
    Ok(bench.store.states().await?.into_iter().find(|(found, _)| found == id).map(|(_, member)| member.says))
}

async fn value(bench: &Bench, id: &InstanceId, category: &'static str, key: &str) -> anyhow::Result<Option<String>> {
    Ok(bench.store.read(id, category, key).await?.map(|value| String::from_utf8_lossy(&value).into_owned()))
}

/// Checks that identity and messages are there, and that no ratchet is.
async fn is_renewed(bench: &Bench, id: &InstanceId) -> Outcome {
    assert_eq!(bench.store.device(id).await?.as_deref(), Some(RENEWED.as_bytes()));
    for (category, key, expected) in [
        ("session", "5512.0", None),
        ("sender-key", "120@g.us:5511:7@s.whatsapp.net.0", None),
        ("something-new", "a", None),
        ("identity", "5512.0", Some("who somebody is")),
        ("pre-key", "7", Some("what only decrypts")),
        ("sender-key", "120@g.us:5512@s.whatsapp.net.0", Some("theirs")),
        ("sent-message", "3EB0", Some("for those who ask again")),
        ("signed-pre-key", "1", Some("outgoing")),
    ] {
        assert_eq!(value(bench, id, category, key).await?.as_deref(), expected, "{category}");
    }
    Ok(())
}

fn mark(epoch: u64, revision: u64) -> Mark {
    Mark { epoch: Epoch(epoch), revision: Revision(revision) }
}

pub(super) async fn a_copy_holds_the_whole_session_and_nothing_readable(bench: Bench) -> Outcome {
    let begun = second();
    let (id, epoch) = login(&bench, "shop").await?;
    let copy = export(&bench, &id).await?;
    assert_eq!(copy.mark().epoch, epoch);
    assert!(copy.mark().era() >= begun && copy.mark().era() <= begun + 60, "{:?} {begun}", copy.mark());
    assert_eq!((copy.header.name.as_str(), copy.values.len()), ("shop", 7));
    assert_eq!(copy.header.taken_at_ms, now().timestamp_millis());
    assert!(copy.values.iter().any(|value| value.expires_at == Some(2_000_000_000)));
    let bytes = copy.encode()?;
    for secret in ["token-of-shop", "a ratchet", DEVICE] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
    }
    assert_eq!(SessionCopy::decode(&bytes)?, copy);
    assert_eq!(open_copy(&EncryptionKey::new(Opening::default().key), &copy)?.token, "token-of-shop");
    Ok(())
}

pub(super) async fn what_has_no_login_has_no_copy(bench: Bench) -> Outcome {
    let unpaired = bench.instance("unpaired").await?;
    let (shop, _) = login(&bench, "shop").await?;
    assert!(bench.store.export(&unpaired, now()).await?.is_none());
    let gone = InstanceId::new("nobody");
    assert!(matches!(bench.store.export(&gone, now()).await, Err(StoreError::NoSuchInstance(_))));
    let copies = bench.store.export_many(&[shop.clone(), gone, unpaired.clone()], now()).await?;
    let [(first, Ok(Export::Login(copy))), (second, Ok(Export::NoLogin(held)))] = &copies[..] else {
        panic!("one has a login, one has none, and nobody knows the third: {copies:?}");
    };
    assert_eq!((first, &copy.header.id, second, held.revision), (&shop, &shop, &unpaired, Revision(0)));
    bench.store.delete(&shop).await?;
    let deleted = bench.store.export_many(&[shop], now()).await?;
    assert!(matches!(&deleted[..], [(_, Ok(Export::Deleted))]), "{deleted:?}");
    Ok(())
}

pub(super) async fn what_is_damaged_is_not_copied(bench: Bench) -> Outcome {
    let (shop, _) = login(&bench, "shop").await?;
    let (cafe, _) = login(&bench, "cafe").await?;
    let bytes = bench.database.bytes("0102030405");
    bench.database.execute(&format!(
        "UPDATE holdfast_session_value SET value = {bytes} WHERE instance_id = 'shop' AND category = 'identity'"
    ))?;
    assert!(matches!(bench.store.export(&shop, now()).await, Err(StoreError::Corrupt { .. })));
    let mut copies = bench.store.export_many(&[shop.clone(), cafe], now()).await?;
    assert!(matches!(copies.pop(), Some((_, Ok(Export::Login(_))))), "its neighbour is copied");
    assert!(matches!(copies.pop(), Some((_, Err(StoreError::Corrupt { .. })))));
    let (bar, _) = login(&bench, "bar").await?;
    bench.database.execute(
        r#"UPDATE "Session" SET "creds" = '{"format":"holdfast/1","keyId":"0","device":"AQID"}' WHERE "sessionId" = 'bar'"#,
    )?;
    assert!(matches!(bench.store.export(&bar, now()).await, Err(StoreError::Corrupt { .. })), "its device is damaged");
    bench.database.execute(r#"DELETE FROM "Session" WHERE "sessionId" = 'shop'"#)?;
    assert!(matches!(bench.store.export(&shop, now()).await, Err(StoreError::Corrupt { .. })));
    Ok(())
}

pub(super) async fn a_copy_is_adopted_by_an_emptied_database_without_its_sessions(mut bench: Bench) -> Outcome {
    let (id, _) = login(&bench, "shop").await?;
    bench.store.set_desired(&id, Desired::Connected).await?;
    bench.store.set_webhook(&id, super::bench::webhook(&[EventName::MessagesUpsert])).await?;
    bench.store.set_settings(&id, SettingsSpec { always_online: true, ..SettingsSpec::default() }).await?;
    let proxy = ProxySpec {
        enabled: true,
        host: "proxy.test".to_owned(),
        port: "3128".to_owned(),
        protocol: "http".to_owned(),
        username: "ana".to_owned(),
        password: "secret".to_owned(),
    };
    bench.store.set_proxy(&id, proxy.clone()).await?;
    let (before, copy) = (bench.record(&id).await?, export(&bench, &id).await?);
    // Emptied, and not by an operator who deletes.
    bench.database.execute(r#"DELETE FROM "Instance""#)?;
    assert_eq!(says(&bench, &id).await?, None);
    assert!(matches!(adopt(&bench, &copy, Some(copy.mark())).await, Err(StoreError::FencedOff(_))), "it was seen");

    let adopted = adopt(&bench, &copy, None).await?;
    let Adopted::Renewed(expected) = adopted else { anyhow::bail!("its sessions were to be given up: {adopted:?}") };
    assert_eq!(expected.against(copy.mark()), Standing::Newer);
    bench.reopen(Opening::default()).await?;
    assert_eq!(says(&bench, &id).await?, Some(Database::Holds(expected)));
    is_renewed(&bench, &id).await?;
    let record = bench.record(&id).await?;
    assert_eq!((&record.name, &record.token, record.desired), (&before.name, &before.token, Desired::Connected));
    assert_eq!(record.client_name, before.client_name);
    assert_eq!(record.proxy.map(|row| row.spec), Some(proxy));
    assert!(record.paired && record.setting.is_some_and(|row| row.settings.always_online));
    let webhook = bench.store.webhook(&id).await?.ok_or_else(|| anyhow::anyhow!("no webhook"))?;
    assert_eq!(webhook.events, ["MESSAGES_UPSERT"]);
    // Whoever dials claims first, and no copy of the former history passes for this one.
    let claim = bench.store.claim(&id).await?;
    assert!(claim.epoch > expected.epoch && claim.revision == expected.revision);
    assert_eq!(copy.mark().against(expected), Standing::Older);
    assert!(matches!(adopt(&bench, &copy, Some(expected)).await, Err(StoreError::FencedOff(_))));
    Ok(())
}

pub(super) async fn a_copy_of_the_databases_state_changes_nothing(bench: Bench) -> Outcome {
    let (id, epoch) = login(&bench, "shop").await?;
    let copy = export(&bench, &id).await?;
    assert_eq!(adopt(&bench, &copy, Some(copy.mark())).await?, Adopted::Held(copy.mark()));
    assert_eq!(bench.store.device(&id).await?.as_deref(), Some(DEVICE.as_bytes()));
    // Its owner has noticed nothing.
    bench.store.commit(&id, epoch, writes(vec![put("session", "a", "1")])).await?;
    assert!(matches!(adopt(&bench, &copy, Some(copy.mark())).await, Err(StoreError::FencedOff(_))), "it has gone on");
    let present = export(&bench, &id).await?.mark();
    assert!(matches!(adopt(&bench, &copy, Some(present)).await, Err(StoreError::FencedOff(_))), "the copy is older");
    assert_eq!(value(&bench, &id, "session", "a").await?.as_deref(), Some("1"));
    Ok(())
}

pub(super) async fn s28_a_copy_of_the_same_state_repairs_damage_exactly(bench: Bench) -> Outcome {
    let (id, epoch) = login(&bench, "shop").await?;
    let copy = export(&bench, &id).await?;
    bench.database.execute(r#"UPDATE "Session" SET "creds" = '{"format":"holdfast/1",'"#)?;
    assert_eq!(says(&bench, &id).await?, Some(Database::Corrupt(Some(copy.mark()))));
    let adopted = adopt(&bench, &copy, Some(copy.mark())).await?;
    assert_eq!(adopted, Adopted::Repaired(mark(copy.mark().epoch.0 + 1, copy.mark().revision.0 + 1)));
    assert_eq!(says(&bench, &id).await?, Some(Database::Holds(adopted.mark())));
    assert_eq!(bench.store.device(&id).await?.as_deref(), Some(DEVICE.as_bytes()));
    assert_eq!(value(&bench, &id, "session", "5512.0").await?.as_deref(), Some("a ratchet"), "it goes on exactly");
    let aside = bench
        .database
        .texts(&format!("SELECT {} FROM holdfast_archive WHERE category = 'creds'", bench.database.text_of("value")))?;
    assert_eq!(aside, [r#"{"format":"holdfast/1","#], "what was damaged is kept");
    let refused = bench.store.commit(&id, epoch, writes(vec![put("session", "a", "1")])).await;
    assert!(matches!(refused, Err(StoreError::FencedOff(_))), "a former owner writes nothing more");
    let again = bench.store.claim(&id).await?.epoch;
    bench.store.commit(&id, again, writes(vec![put("session", "a", "1")])).await?;
    Ok(())
}

pub(super) async fn a_newer_or_an_older_copy_gives_its_sessions_up(bench: Bench) -> Outcome {
    // The database is set back: it holds less than the copy.
    let (id, epoch) = login(&bench, "shop").await?;
    let older = export(&bench, &id).await?;
    bench.store.commit(&id, epoch, writes(vec![put("session", "later", "1")])).await?;
    let newer = export(&bench, &id).await?;
    bench.database.execute("UPDATE holdfast_session SET revision = revision - 1")?;
    let adopted = adopt(&bench, &newer, Some(older.mark())).await?;
    assert!(matches!(adopted, Adopted::Renewed(_)), "{adopted:?}");
    is_renewed(&bench, &id).await?;
    assert_eq!(value(&bench, &id, "session", "later").await?, None);

    // The database is damaged, and the copy is not of its state.
    let (id, epoch) = login(&bench, "cafe").await?;
    let older = export(&bench, &id).await?;
    bench.store.commit(&id, epoch, writes(vec![put("session", "later", "1")])).await?;
    bench.database.execute(r#"DELETE FROM "Session" WHERE "sessionId" = 'cafe'"#)?;
    let seen = mark(epoch.0, older.mark().revision.0 + 1);
    assert_eq!(says(&bench, &id).await?, Some(Database::Corrupt(Some(seen))));
    let adopted = adopt(&bench, &older, Some(seen)).await?;
    assert!(matches!(adopted, Adopted::Renewed(at) if at.against(seen) == Standing::Newer), "{adopted:?}");
    is_renewed(&bench, &id).await?;
    assert_eq!(value(&bench, &id, "session", "later").await?, None, "a value without its device is none of this login");
    Ok(())
}

pub(super) async fn a_login_that_ended_or_was_deleted_does_not_come_back(bench: Bench) -> Outcome {
    let (id, _) = login(&bench, "shop").await?;
    let copy = export(&bench, &id).await?;
    bench.store.archive(&id, "logged-out").await?;
    // Which ends its epoch.
    let seen = copy.mark().next();
    assert_eq!(says(&bench, &id).await?, Some(Database::Unpaired(seen)));
    assert!(matches!(adopt(&bench, &copy, Some(seen)).await, Err(StoreError::FencedOff(_))));
    assert_eq!(bench.store.device(&id).await?, None);

    bench.store.delete(&id).await?;
    assert_eq!(says(&bench, &id).await?, Some(Database::Deleted));
    assert!(matches!(adopt(&bench, &copy, None).await, Err(StoreError::NoSuchInstance(_))));
    // One that never had a session leaves no trace.
    let id = bench.instance("brief").await?;
    bench.store.delete(&id).await?;
    assert_eq!(says(&bench, &id).await?, None);
    Ok(())
}

pub(super) async fn a_copy_of_an_earlier_login_does_not_replace_a_later_one(bench: Bench) -> Outcome {
    let (id, _) = login(&bench, "shop").await?;
    // The earlier login has lived long: many claims and writes.
    bench.database.execute("UPDATE holdfast_session SET epoch = epoch + 50, revision = revision + 1000")?;
    let earlier = export(&bench, &id).await?;
    // The database is set back to before it, and the instance is paired anew, a little later.
    bench.database.execute(r#"DELETE FROM "Session""#)?;
    bench.database.execute("UPDATE holdfast_session SET epoch = 1, revision = 0, paired = FALSE")?;
    eventually("the next second", || async { Ok(second() > earlier.mark().era()) }).await?;
    let epoch = bench.store.claim(&id).await?.epoch;
    bench.store.commit(&id, epoch, device("the later device")).await?;
    let later = export(&bench, &id).await?.mark();
    assert!(later.epoch < earlier.mark().epoch && earlier.mark().against(later) == Standing::Older, "{later:?}");
    assert!(matches!(adopt(&bench, &earlier, Some(later)).await, Err(StoreError::FencedOff(_))));
    assert_eq!(bench.store.device(&id).await?.as_deref(), Some(&b"the later device"[..]));
    Ok(())
}

pub(super) async fn what_another_node_owns_or_another_instance_is_called_is_left_alone(bench: Bench) -> Outcome {
    let (id, _) = login(&bench, "shop").await?;
    let copy = export(&bench, &id).await?;
    bench.database.execute(r#"DELETE FROM "Session""#)?;
    bench.database.execute("UPDATE holdfast_session SET lease_node = 'another'")?;
    // An embedded database has one node at a time.
    if bench.store.lease_ttl().is_some() {
        bench.database.execute(
            "INSERT INTO holdfast_node (client_name, name, home, incarnation, version, joined_ms, seen_ms, expires_ms, draining) \
             VALUES ('holdfast_test', 'another', '', '', '', 0, 0, 9000000000000, FALSE)",
        )?;
        let refused = adopt(&bench, &copy, Some(copy.mark())).await;
        assert!(matches!(&refused, Err(StoreError::LeaseHeld { by, .. }) if by == "another"), "{refused:?}");
        bench.database.execute("UPDATE holdfast_node SET expires_ms = 1 WHERE name = 'another'")?;
    }
    // It is gone: nobody else would do it before somebody claims the row.
    assert!(matches!(adopt(&bench, &copy, Some(copy.mark())).await?, Adopted::Repaired(_)));

    bench.database.execute(r#"DELETE FROM "Instance""#)?;
    let mut namesake = super::bench::new_instance("shop");
    namesake.id = InstanceId::new("another-id");
    bench.store.insert(namesake).await?;
    assert!(matches!(adopt(&bench, &copy, None).await, Err(StoreError::NameTaken(_))));
    assert!(bench.store.get(&id).await?.is_none(), "nothing was written");
    Ok(())
}

pub(super) async fn a_login_that_was_set_back_goes_on_from_itself_beyond_what_was_seen(bench: Bench) -> Outcome {
    let (id, _) = login(&bench, "shop").await?;
    let own = export(&bench, &id).await?;
    let Mark { epoch, revision } = own.mark();
    let proved = Mark { epoch: Epoch(epoch.0 + 3), revision: Revision(revision.0 + 70) };
    let adoption = Adoption { node: "node".to_owned(), seen: Some(own.mark()), proved: Some(proved) };
    let Adopted::Renewed(mark) = bench.store.adopt_copy(own.clone(), adoption, Arc::new(TestRenewal)).await? else {
        anyhow::bail!("its sessions were to be given up");
    };
    assert_eq!(proved.against(mark), Standing::Older, "{mark:?}");
    assert_eq!(says(&bench, &id).await?, Some(Database::Holds(mark)));
    assert_eq!(value(&bench, &id, "session", "5511.0").await?, None);
    // What is no later than the database proves nothing.
    let own = export(&bench, &id).await?;
    let adoption = Adoption { node: "node".to_owned(), seen: Some(mark), proved: Some(proved) };
    assert!(matches!(bench.store.adopt_copy(own, adoption, Arc::new(TestRenewal)).await?, Adopted::Held(_)));
    Ok(())
}

pub(super) async fn a_copy_that_was_tampered_with_is_not_adopted(bench: Bench) -> Outcome {
    let (id, epoch) = login(&bench, "shop").await?;
    let older = export(&bench, &id).await?;
    bench.store.commit(&id, epoch, writes(vec![put("session", "5512.0", "the ratchet has advanced")])).await?;
    let whole = export(&bench, &id).await?;
    bench.database.execute(r#"DELETE FROM "Instance""#)?;

    // An older ratchet, dressed up as the newest state: every part is genuine, and they are not of one copy.
    let mut forged = older.clone();
    forged.header.revision = whole.header.revision;
    let mut mixed = whole.clone();
    mixed.values = older.values.clone();
    let mut fewer = whole.clone();
    fewer.values.pop();
    let mut foreign = whole.clone();
    r#""{\"noiseKey\":{}}""#.clone_into(&mut foreign.device);
    let mut renamed = whole.clone();
    renamed.header.id = InstanceId::new("cafe");
    for copy in [forged, mixed, fewer, foreign, renamed] {
        let refused = adopt(&bench, &copy, None).await;
        assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{refused:?}");
    }
    let other_key = EncryptionKey::new([7; 32]);
    assert!(matches!(open_copy(&other_key, &whole), Err(StoreError::Corrupt { .. })));
    assert!(bench.store.list().await?.is_empty(), "nothing was written");
    adopt(&bench, &whole, None).await?;
    Ok(())
}

pub(super) async fn a_copy_from_before_a_change_of_the_key_is_put_under_the_new_one(bench: Bench) -> Outcome {
    let (id, _) = login(&bench, "shop").await?;
    let copy = export(&bench, &id).await?;
    // The same installation with a new key, in a database of its own.
    let key = || EncryptionKey::new([9; 32]);
    let folder = tempfile::tempdir()?;
    let options = |key| holdfast::store::StoreOptions {
        node: "node".to_owned(),
        lease_ttl: std::time::Duration::from_secs(60),
        url: folder.path().join("new.db").display().to_string(),
        client_name: super::bench::CLIENT.to_owned(),
        key,
        runtime: tokio::runtime::Handle::current(),
        clock: Clock::start(),
        retention: holdfast::store::Retention::default(),
        pool: holdfast::store::PoolOptions::default(),
    };
    let both = holdfast::store::open(options(key().and_older(Opening::default().key))).await?;
    both.adopt_copy(copy, Adoption { node: "node".to_owned(), seen: None, proved: None }, Arc::new(TestRenewal))
        .await?;
    both.close().await?;
    let new = holdfast::store::open(options(key())).await?;
    assert_eq!(new.device(&id).await?.as_deref(), Some(RENEWED.as_bytes()));
    assert_eq!(new.read(&id, "pre-key", "7").await?.as_deref(), Some(&b"what only decrypts"[..]));
    assert!(new.export(&id, now()).await?.is_some(), "every value opens with the new key alone");
    new.close().await?;
    Ok(())
}

pub(super) async fn the_survey_is_of_this_installation_and_tells_times(bench: Bench) -> Outcome {
    let (shop, _) = login(&bench, "shop").await?;
    bench.store.patch(&shop, holdfast::ports::store::InstancePatch { online_now: true, ..Default::default() }).await?;
    bench.instance("unpaired").await?;
    login(&bench, "theirs").await?;
    bench.database.execute(r#"UPDATE "Instance" SET "clientName" = 'another' WHERE "name" = 'theirs'"#)?;
    let survey = bench.store.states().await?;
    let shown: Vec<(&str, bool)> =
        survey.iter().map(|(id, member)| (id.as_str(), member.last_online_ms.is_some())).collect();
    assert_eq!(shown, [("shop", true), ("unpaired", false)]);
    assert_eq!(survey[1].1.says, Database::Unpaired(mark(0, 0)));
    let copy = export(&bench, &shop).await?;
    assert_eq!(copy.header.last_online_ms, survey[0].1.last_online_ms);
    // A batch without a change of the login raises the revision all the same.
    let epoch = bench.store.claim(&shop).await?.epoch;
    bench.store.commit(&shop, epoch, SessionBatch { paired: Some(true), ..SessionBatch::default() }).await?;
    assert_eq!(says(&bench, &shop).await?, Some(Database::Holds(copy.mark().next())));
    Ok(())
}

pub(super) async fn a_database_has_a_name_and_remembers_others_once_it_has_a_login(mut bench: Bench) -> Outcome {
    let (ours, other) = (bench.store.database(), DatabaseId::of([7; 16]));
    let today = Clock::start().wall();
    assert_ne!(ours, other);
    assert!(!bench.store.note_neighbour(&other).await?, "it may be the one before this one");
    assert!(bench.store.neighbours(today).await?.is_empty());
    let (id, _) = login(&bench, "shop").await?;
    let copy = bench.store.export(&id, now()).await?.expect("a login");
    assert_eq!(copy.header.database.as_ref(), Some(&ours));
    assert!(bench.store.note_neighbour(&other).await?);
    assert!(bench.store.note_neighbour(&other).await?);
    bench.reopen(Opening::default()).await?;
    assert_eq!(bench.store.database(), ours);
    assert_eq!(bench.store.neighbours(today).await?, [other]);
    let later = today + chrono::Duration::days(8);
    assert!(bench.store.neighbours(later).await?.is_empty(), "not seen for a week");
    Ok(())
}
