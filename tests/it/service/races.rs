use futures_util::future::join_all;
use serde_json::json;

use crate::harness::engine::Home;

#[tokio::test(flavor = "multi_thread")]
async fn s43_deleting_at_the_same_moment_leaves_nothing_behind_and_the_name_free() {
    let home = Home::new("ws://127.0.0.1:1/");
    let engine = home.start().await;
    let api = engine.api();
    let body = json!({ "instanceName": "shop", "integration": "WHATSAPP-BAILEYS" });
    for round in 0..100 {
        let created = api.post("/instance/create", body.clone()).await;
        assert_eq!(created.status, 201, "round {round}: {created:?}");
        let deleted = join_all((0..3).map(|_| api.delete("/instance/delete/shop"))).await;
        assert!(deleted.iter().any(|answer| answer.status == 200), "round {round}: {deleted:?}");
        assert!(deleted.iter().all(|answer| [200, 404, 503].contains(&answer.status)), "round {round}: {deleted:?}");
        assert_eq!(api.get("/instance/connectionState/shop").await.status, 404, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_create_the_same_name_one_succeeds() {
    let home = Home::new("ws://127.0.0.1:1/");
    let engine = home.start().await;
    let api = engine.api();
    let body = json!({ "instanceName": "shop", "integration": "WHATSAPP-BAILEYS" });
    let mut statuses: Vec<u16> = join_all((0..20).map(|_| api.post("/instance/create", body.clone())))
        .await
        .into_iter()
        .map(|answer| answer.status)
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses.first(), Some(&201));
    assert!(statuses.iter().skip(1).all(|status| *status == 403), "{statuses:?}");
}
