//! A connected instance, to which people write and which writes to them.

use super::trial::Trial;

pub(super) const RECEIVING: &[&str] = &[
    "received.session",
    "received.session:2",
    "commit.pending-inbound.before",
    "store.begin.before",
    "store.begin.after",
    "store.job.done",
    "session.values-written",
    "session.events-queued",
    "store.commit.before",
    "store.commit.after",
    "store.answers.before",
    "store.answers.after",
    "commit.pending-inbound.after",
    "commit.identity.before",
    "commit.identity.after",
    "commit.lid.before",
    "commit.lid.after",
    "commit.pre-key-gone.before",
    "commit.pre-key-gone.after",
    "commit.session.before",
    "commit.session.after",
    "commit.sender-key.before",
    "commit.sender-key.after",
    "hand-over.before",
    "commit.accepted.before",
    "commit.accepted.after",
    "hand-over.after",
    "frame.session.before",
    "frame.session.after",
    "frame.session.before:2",
    "frame.session.after:2",
    "store.job.done:2",
    "store.commit.before:2",
    "store.commit.after:2",
    "store.job.done:3",
    "store.commit.before:3",
    "store.commit.after:3",
    "store.commit.before:4",
    "store.commit.after:4",
    "store.commit.before:5",
    "store.commit.after:5",
    "deliver.before",
    "deliver.after",
    "deliver.settled",
    "hand-over.before:2",
    "hand-over.after:2",
    "hand-over.before:3",
    "hand-over.after:3",
    "received.session:5",
    "received.session:20",
    "store.commit.before:25",
    "store.commit.after:25",
];

pub(super) const SENDING: &[&str] = &[
    "send.asked",
    "send.resolved",
    "commit.session.before",
    "commit.session.after",
    "commit.session.before:2",
    "commit.session.after:2",
    "commit.sent-message.before",
    "commit.sent-message.after",
    "commit.message-secret.before",
    "commit.message-secret.after",
    "commit.privacy-token.before",
    "commit.privacy-token.after",
    "commit.devices.before",
    "commit.devices.after",
    "commit.group.before",
    "commit.group.after",
    "commit.sender-key.before",
    "commit.sender-key.after",
    "commit.sender-key-device.before",
    "commit.sender-key-device.after",
    "frame.session.before",
    "frame.session.after",
    "frame.session.before:2",
    "frame.session.after:2",
    "frame.session.before:3",
    "frame.session.after:3",
    "frame.session.before:5",
    "frame.session.after:5",
    "send.given",
    "ack.heard",
    "send.acked",
    "send.told",
    "send.answer",
    "send.given:3",
    "ack.heard:3",
    "send.answer:3",
    "receipt.heard",
    "scribe.events.before",
    "scribe.events.after",
    "session.values-written:2",
    "store.job.done:3",
    "store.commit.before",
    "store.commit.after",
    "store.answers.before:2",
    "store.commit.before:4",
    "store.commit.after:4",
    "deliver.before",
    "deliver.after",
    "deliver.settled",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_is_delivered_wherever_the_process_ends() {
    let trial = Trial::paired().await;
    for point in RECEIVING {
        let engine = trial.home.start().await;
        trial.check(&engine).await;
        trial.arm(point).await;
        trial.dies(engine, point, trial.keep_writing()).await;
    }
    trial.check(&trial.home.start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_has_arrived_once_wherever_the_process_ends() {
    let trial = Trial::paired().await;
    for point in SENDING {
        let engine = trial.home.start().await;
        trial.check(&engine).await;
        trial.arm(point).await;
        let sender = engine.api();
        let sending = async {
            loop {
                trial.outgoing(&sender).await;
            }
        };
        trial.dies(engine, point, sending).await;
    }
    trial.check(&trial.home.start().await).await;
}
