//! The figures of the real engine.

use holdfast_sim::{Options, Simulator};

use super::{count, figures, measured, phone};
use crate::harness::engine::Home;

#[tokio::test(flavor = "multi_thread")]
async fn the_series_of_a_deleted_instance_are_gone() {
    let sim = Simulator::start(Options::default()).await.unwrap();
    let home = measured(sim.ws_url());
    let engine = home.start().await;
    engine.pair(&sim, "shop", &phone(0), None).await;
    engine.create("other", None).await;
    let told = figures(&engine).await;
    let up = |name: &str| format!(r#"evolution_instance_up{{instance="{name}",integration="WHATSAPP-BAILEYS"}}"#);
    assert_eq!((count(&told, &up("shop")), count(&told, "evolution_instances_total")), (1, 2), "{told}");
    assert!(told.contains(&up("other")));
    engine.api().delete("/instance/delete/shop").await.good();
    let told = figures(&engine).await;
    assert_eq!(count(&told, "evolution_instances_total"), 1, "{told}");
    assert!(!told.contains("shop"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_blocked_as_the_settings_say() {
    let home = Home::new("ws://127.0.0.1:1/").set("PROMETHEUS_METRICS", "true").set("METRICS_ALLOWED_IPS", "10.9.8.7");
    let engine = home.start().await;
    let refused = engine.api().get("/metrics").await;
    assert_eq!((refused.status, refused.body.as_str()), (403, Some("Forbidden: IP not allowed")));
    drop(engine);
    let unasked = Home::new("ws://127.0.0.1:1/");
    let engine = unasked.start().await;
    assert_eq!(engine.api().get("/metrics").await.status, 404, "off unless it is asked for");
}
