//! What is encrypted, and what happens when it cannot be decrypted.

use holdfast::ports::session::SessionBatch;
use holdfast::ports::store::StoreError;

use super::bench::{Bench, Opening, Outcome, chain, device, put, writes};

pub(super) async fn nothing_secret_is_readable_in_the_files(mut bench: Bench) -> Outcome {
    let (id, epoch) = bench.session("shop").await?;
    bench.store.commit(&id, epoch, device("SECRET-DEVICE-BYTES")).await?;
    bench.store.commit(&id, epoch, writes(vec![put("session", "public-key-name", "SECRET-VALUE-BYTES")])).await?;
    bench.store.archive(&id, "logged-out").await?;
    let epoch = bench.store.claim(&id).await?.epoch;
    bench.store.commit(&id, epoch, writes(vec![put("session", "public-key-name", "SECRET-VALUE-BYTES")])).await?;
    for reopened in [false, true] {
        if reopened {
            bench.reopen(Opening::default()).await?;
        }
        assert!(!bench.database.contains(b"SECRET")?, "reopened: {reopened}");
        assert!(bench.database.contains(b"public-key-name")?, "the search works");
    }
    Ok(())
}

pub(super) async fn another_key_does_not_open_the_database(bench: Bench) -> Outcome {
    bench.store.close().await?;
    let other = Opening { key: [7; 32], ..Opening::default() };
    let error = bench.database.open(other).await.err().expect("it is another key");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    assert!(chain(&error).contains("encrypted with the key"), "{}", chain(&error));
    bench.database.open(Opening::default()).await?;
    Ok(())
}

pub(super) async fn a_damaged_value_is_an_error_and_never_absent(bench: Bench) -> Outcome {
    let (id, epoch) = bench.session("shop").await?;
    let both = vec![put("session", "5511999", "1"), put("session", "b", "2")];
    bench.store.commit(&id, epoch, writes(both)).await?;
    for damaged in ["", "00", "0102030405", "01000000000000000000"] {
        let bytes = bench.database.bytes(damaged);
        bench.database.execute(&format!("UPDATE holdfast_session_value SET value = {bytes} WHERE key = '5511999'"))?;
        let answers = [
            bench.store.read(&id, "session", "5511999").await.err(),
            bench.store.read_many(&id, "session", &["5511999".to_owned()]).await.err(),
            bench.store.scan(&id, "session", "").await.err(),
        ];
        for answer in answers {
            let error = answer.expect("it cannot be read");
            assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
            assert!(!chain(&error).contains("5511999"), "no phone number in {}", chain(&error));
        }
    }
    assert!(bench.store.read(&id, "session", "b").await?.is_some(), "its neighbour is well");
    Ok(())
}

pub(super) async fn a_value_in_another_row_is_an_error(bench: Bench) -> Outcome {
    let (id, epoch) = bench.session("shop").await?;
    let (other, other_epoch) = bench.session("other").await?;
    bench
        .store
        .commit(&id, epoch, writes(vec![put("session", "a", "1"), put("session", "b", "2"), put("identity", "a", "3")]))
        .await?;
    bench.store.commit(&other, other_epoch, writes(vec![put("session", "a", "4")])).await?;
    let copy = |to: &str| {
        bench.database.execute(&format!(
            "UPDATE holdfast_session_value SET value = (SELECT value FROM holdfast_session_value \
               WHERE instance_id = 'shop' AND category = 'session' AND key = 'a') WHERE {to}"
        ))
    };
    copy("instance_id = 'shop' AND key = 'b'")?;
    copy("instance_id = 'shop' AND category = 'identity'")?;
    copy("instance_id = 'other'")?;
    for (id, category, key) in [(&id, "session", "b"), (&id, "identity", "a"), (&other, "session", "a")] {
        let moved = bench.store.read(id, category, key).await;
        assert!(matches!(moved, Err(StoreError::Corrupt { .. })), "{id} {category} {key}: {moved:?}");
    }
    assert_eq!(bench.store.read(&id, "session", "a").await?.as_deref(), Some(&b"1"[..]));
    Ok(())
}

pub(super) async fn s28_a_damaged_device_is_an_error_and_not_overwritten(bench: Bench) -> Outcome {
    let (id, epoch) = bench.session("shop").await?;
    bench.store.commit(&id, epoch, device("the device")).await?;
    let creds = r#"SELECT "creds" FROM "Session""#;
    let whole = bench.database.texts(creds)?.remove(0);
    for damaged in
        [&whole[..whole.len() / 2], &whole.replace("holdfast/1", "holdfast/2"), "", r#"{"format":"holdfast/1"}"#]
    {
        bench.database.execute(&format!(r#"UPDATE "Session" SET "creds" = '{damaged}'"#))?;
        let read = bench.store.device(&id).await;
        assert!(matches!(read, Err(StoreError::Corrupt { .. })), "{damaged}: {read:?}");
        let overwritten = bench.store.commit(&id, epoch, device("a new identity")).await;
        assert!(matches!(overwritten, Err(StoreError::Corrupt { .. })), "{damaged}: {overwritten:?}");
        assert_eq!(bench.database.texts(creds)?, [damaged], "no identity is minted over one that cannot be read");
    }
    bench.database.execute(&format!(r#"UPDATE "Session" SET "creds" = '{whole}'"#))?;
    assert_eq!(bench.store.device(&id).await?.as_deref(), Some(&b"the device"[..]));
    Ok(())
}

pub(super) async fn a_device_of_another_instance_is_an_error(bench: Bench) -> Outcome {
    let (id, epoch) = bench.session("shop").await?;
    let (other, other_epoch) = bench.session("other").await?;
    for (id, epoch) in [(&id, epoch), (&other, other_epoch)] {
        let batch =
            SessionBatch { device: Some(b"the device".to_vec()), paired: Some(true), ..SessionBatch::default() };
        bench.store.commit(id, epoch, batch).await?;
    }
    bench
        .database
        .execute(r#"UPDATE "Session" SET "creds" = (SELECT "creds" FROM "Session" WHERE "sessionId" = 'shop')"#)?;
    assert!(bench.store.device(&id).await?.is_some());
    assert!(matches!(bench.store.device(&other).await, Err(StoreError::Corrupt { .. })));
    Ok(())
}
