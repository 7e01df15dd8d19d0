//! An instance that is made and paired: afterwards either both sides know the device, or neither does.

use reqwest::Method;
use serde_json::json;

use super::trial::Trial;
use crate::harness::engine::Engine;
use crate::harness::eventually::eventually;

pub(super) const CREATING: &[&str] = &[
    "store.begin.before",
    "store.commit.before",
    "store.commit.after",
    "create.inserted",
    "child.starts",
    "instance.started",
    "create.started",
    "scribe.desired.before",
    "scribe.desired.after",
    "scribe.patch.before",
    "scribe.patch.after",
    "dial.asked",
    "claim.before",
    "claim.raised",
    "claim.after",
    "dial.device-read",
    "dial.client-made",
    "dial.runs",
    "socket.opened",
    "frame.handshake.before",
    "received.handshake",
    "frame.handshake.before:2",
    "frame.handshake.after:2",
    "pair.offered",
    "scribe.events.before",
    "scribe.events.after",
    "create.answer",
];

pub(super) const SCANNED: &[&str] = &[
    "received.session",
    "commit.device.before",
    "store.begin.before",
    "session.values-written",
    "store.commit.before",
    "store.commit.after",
    "commit.device.after",
    "frame.session.before",
    "frame.session.after",
    "received.session:2",
    "received.session:3",
    "pair.told",
    "pair.saved",
    "commit.device.before:2",
    "commit.device.after:2",
    "socket.leaving",
    "socket.gone",
    "dial.ran",
    "dial.over",
    "dial.asked",
    "claim.before",
    "claim.raised",
    "claim.after",
    "dial.runs",
    "socket.opened",
    "frame.handshake.before",
    "frame.handshake.after",
    "received.handshake",
    "login.accepted",
    "commit.device.before:4",
    "commit.device.after:4",
    "commit.device.before:6",
    "commit.device.after:6",
    "frame.session.before:3",
    "frame.session.after:3",
    "received.session:6",
    "commit.pre-key.before",
    "commit.pre-key.after",
    "commit.pre-key.before:2",
    "commit.pre-key.after:2",
    "frame.session.after:6",
    "frame.session.after:8",
    "frame.session.after:10",
    "received.session:10",
    "received.session:14",
    "commit.identity.before",
    "commit.lid.before",
    "commit.devices.before",
    "commit.devices.after",
    "commit.app-state-key.before",
    "commit.app-state-key.after",
    "commit.app-state-mac.before",
    "commit.app-state-mac.after",
    "commit.app-state-mac.before:3",
    "commit.app-state-version.before",
    "commit.app-state-version.after",
    "commit.app-state-version.after:3",
    "commit.session.before",
    "commit.session.after",
    "commit.accepted.before",
    "commit.accepted.after",
    "login.ready",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_whose_creation_was_cut_short_can_be_made_and_paired() {
    let trial = Trial::new().await;
    for point in CREATING {
        let shop = Shop::new(&trial);
        let engine = trial.home.start().await;
        trial.arm(point).await;
        let api = engine.api();
        let creating = async {
            let _cut_short = api.try_call(Method::POST, "/instance/create", Some(shop.body(&trial).to_string())).await;
        };
        trial.dies(engine, point, creating).await;
        shop.pairs_at_last(&trial, point).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pairing_that_was_cut_short_is_known_to_both_sides_or_to_neither() {
    let trial = Trial::new().await;
    for point in SCANNED {
        let shop = Shop::new(&trial);
        let engine = trial.home.start().await;
        engine.api().post("/instance/create", shop.body(&trial)).await.good();
        let qr = shop.qr(&engine).await;
        trial.arm(point).await;
        let request = holdfast_sim::ScanRequest { qr, phone: Some(shop.phone.clone()), ..Default::default() };
        let scanning = async {
            let _cut_short = trial.sim.scan(&request).await;
        };
        trial.dies(engine, point, scanning).await;
        shop.pairs_at_last(&trial, point).await;
    }
}

/// An instance for one point, and its phone.
struct Shop {
    name: String,
    phone: String,
}

impl Shop {
    fn new(trial: &Trial) -> Self {
        let number = trial.number();
        Self { name: format!("shop{number}"), phone: (5_511_999_000_000 + u64::from(number)).to_string() }
    }

    fn body(&self, trial: &Trial) -> serde_json::Value {
        json!({
            "instanceName": self.name, "integration": "WHATSAPP-BAILEYS", "qrcode": true,
            "webhook": { "url": trial.hook(), "events": [] },
        })
    }

    async fn qr(&self, engine: &Engine<'_>) -> String {
        eventually("a QR code", || async {
            let shown = engine.api().get(&format!("/instance/connect/{}", self.name)).await.good();
            shown["code"].as_str().map(ToOwned::to_owned)
        })
        .await
    }

    /// Starts the engine, and ends with the instance connected, whether or not that takes another scan, and then gone.
    async fn pairs_at_last(&self, trial: &Trial, point: &str) {
        let engine = trial.home.start().await;
        let state = engine.api().get(&format!("/instance/connectionState/{}", self.name)).await;
        if state.status == 404 {
            engine.api().post("/instance/create", self.body(trial)).await.good();
        }
        let said = eventually(&format!("{point}: an instance that knows where it stands"), || async {
            let said = engine.state(&self.name).await;
            (said["state"] == "open" || said["paired"] == false).then_some(said)
        })
        .await;
        if said["state"] != "open" {
            assert_eq!(self.devices(trial), 0, "{point}: the phone lists a device that the engine forgot: {said}");
            engine.scan(&trial.sim, &self.name, &self.phone).await;
            engine.reaches(&self.name, "open").await;
        }
        assert_eq!(self.devices(trial), 1, "{point}");
        let sent = engine.send(&self.name, super::trial::ANA, &format!("hello at {point}")).await;
        assert_eq!(sent.status, 201, "{point}: {sent:?}");
        trial.no_harm_done();
        engine.api().delete(&format!("/instance/delete/{}", self.name)).await.good();
        assert_eq!(self.devices(trial), 0, "{point}: the phone lists a device that was deleted");
        engine.kill_9().await;
    }

    fn devices(&self, trial: &Trial) -> usize {
        trial.devices(&self.phone)
    }
}
