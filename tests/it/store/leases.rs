//! Who owns what, as far as one node can tell.

use std::collections::HashMap;
use std::slice::from_ref;

use holdfast::ports::clock::Clock;
use holdfast::ports::store::{InstancePatch, StoreError};
use holdfast_core::event::EventName;
use holdfast_core::id::InstanceId;

use super::bench::{Bench, CLIENT, Outcome, device, event, profile, put, writes};

pub(super) async fn a_new_instance_belongs_to_the_node_that_made_it(bench: Bench) -> Outcome {
    bench.store.join(profile("node")).await?;
    let id = bench.instance("shop").await?;
    assert_eq!(bench.store.renew().await?, from_ref(&id));
    let found = bench.store.whereabouts("shop").await?.expect("it is there");
    let owner = found.owner.expect("it is owned");
    assert_eq!((&found.id, owner.node.as_str(), owner.alive), (&id, "node", true));
    assert_eq!(owner.url, profile("node").url);
    assert!(bench.store.whereabouts("nobody").await?.is_none());
    assert_eq!(bench.store.owners().await?, HashMap::from([(id, "node".to_owned())]));

    let survey = bench.store.survey().await?;
    assert_eq!((survey.free, survey.overdue, survey.abandoned), (0, 0, 0));
    let shares: Vec<_> = survey.nodes.iter().map(|share| (share.node.as_str(), share.own, share.instances)).collect();
    assert_eq!(shares, [("node", true, 1)]);
    assert!(bench.store.adopt(10, true).await?.is_empty(), "it is ours");
    Ok(())
}

pub(super) async fn what_was_let_go_is_written_by_nobody_until_it_is_adopted(bench: Bench) -> Outcome {
    bench.store.join(profile("node")).await?;
    let (id, epoch) = bench.session("shop").await?;
    let write = |epoch| bench.store.commit(&id, epoch, writes(vec![put("session", "a", "1")]));
    write(epoch).await?;
    bench.store.let_go(vec![id.clone(), InstanceId::new("nobody")]).await?;
    assert!(matches!(write(epoch).await, Err(StoreError::FencedOff(_))), "nobody owns it");
    assert!(bench.store.renew().await?.is_empty());
    assert!(bench.store.whereabouts("shop").await?.expect("it is there").owner.is_none());
    assert!(bench.store.owners().await?.is_empty());
    let survey = bench.store.survey().await?;
    assert_eq!((survey.free, survey.overdue, survey.abandoned), (1, 0, 0));

    assert!(bench.store.adopt(0, true).await?.is_empty());
    assert_eq!(bench.store.adopt(10, false).await?, from_ref(&id));
    assert!(matches!(write(epoch).await, Err(StoreError::FencedOff(_))), "the epoch is another");
    assert_eq!(bench.store.renew().await?, from_ref(&id));
    let claim = bench.store.claim(&id).await?;
    assert!(claim.epoch > epoch.next());
    write(claim.epoch).await?;
    Ok(())
}

pub(super) async fn what_has_waited_longest_is_adopted_first(bench: Bench) -> Outcome {
    bench.store.join(profile("node")).await?;
    let mut ids = Vec::new();
    for name in ["a", "b", "c", "d"] {
        ids.push(bench.instance(name).await?);
    }
    bench.store.let_go(ids).await?;
    for (id, ended) in [("a", "9000"), ("b", "3000"), ("c", "NULL"), ("d", "6000")] {
        bench
            .database
            .execute(&format!("UPDATE holdfast_session SET lease_ended_at = {ended} WHERE instance_id = '{id}'"))?;
    }
    let survey = bench.store.survey().await?;
    assert_eq!((survey.free, survey.overdue), (4, 4), "for decades");
    let mut order = bench.store.adopt(3, false).await?;
    order.sort();
    assert_eq!(order, ["b", "c", "d"].map(InstanceId::new));
    assert_eq!(bench.store.adopt(3, false).await?, [InstanceId::new("a")]);
    Ok(())
}

pub(super) async fn an_archived_session_stays_with_its_node(bench: Bench) -> Outcome {
    bench.store.join(profile("node")).await?;
    let (id, epoch) = bench.session("shop").await?;
    bench.store.commit(&id, epoch, device("device")).await?;
    bench.store.archive(&id, "logged-out").await?;
    let late = bench.store.commit(&id, epoch, device("device")).await;
    assert!(matches!(late, Err(StoreError::FencedOff(_))), "{late:?}");
    assert_eq!(bench.store.renew().await?, from_ref(&id));
    assert!(bench.store.adopt(10, true).await?.is_empty());
    let claim = bench.store.claim(&id).await?;
    bench.store.commit(&id, claim.epoch, device("another")).await?;
    Ok(())
}

pub(super) async fn instances_of_another_program_are_adopted_and_those_of_another_installation_are_not(
    bench: Bench,
) -> Outcome {
    bench.store.join(profile("node")).await?;
    for (id, client) in [("theirs", CLIENT), ("strangers", "another_installation")] {
        bench.database.execute(&format!(
            r#"INSERT INTO "Instance" ("id", "name", "clientName") VALUES ('{id}', '{id}', '{client}')"#
        ))?;
    }
    let survey = bench.store.survey().await?;
    assert_eq!((survey.free, survey.overdue), (1, 1), "what never had an owner is overdue");
    let found = bench.store.whereabouts("theirs").await?.expect("it is there");
    assert!(found.owner.is_none() && bench.store.whereabouts("strangers").await?.is_none());
    assert_eq!(bench.store.adopt(10, true).await?, [InstanceId::new("theirs")]);
    assert_eq!(bench.store.renew().await?, [InstanceId::new("theirs")]);
    bench.store.claim(&InstanceId::new("theirs")).await?;
    Ok(())
}

pub(super) async fn what_nobody_owns_can_be_written_by_hand(bench: Bench) -> Outcome {
    bench.store.join(profile("node")).await?;
    let id = bench.subscriber("shop", &[EventName::Call]).await?;
    bench.store.let_go(vec![id.clone()]).await?;
    bench.store.patch(&id, InstancePatch::default()).await?;
    bench.store.set_desired(&id, holdfast_core::connection::Desired::Connected).await?;
    assert_eq!(bench.store.append(&id, vec![event(EventName::Call, "1")]).await?, 1);
    bench.store.delete(&id).await?;
    Ok(())
}

pub(super) async fn a_node_is_listed_until_it_leaves(bench: Bench) -> Outcome {
    bench.store.join(profile("node")).await?;
    let id = bench.instance("shop").await?;
    bench.store.retire().await?;
    let nodes = bench.store.nodes().await?;
    let node = nodes.first().expect("the node");
    assert_eq!((nodes.len(), node.name.as_str(), node.version.as_str()), (1, "node", "0.1.0"));
    assert_eq!((node.alive, node.draining, node.instances), (true, true, 1));
    assert!(node.silent_for < std::time::Duration::from_secs(30), "{:?}", node.silent_for);
    assert!((Clock::start().wall() - node.since).num_seconds().abs() < 30, "{}", node.since);
    assert!(bench.store.survey().await?.nodes[0].draining);

    let mut stranger = profile("node");
    "another".clone_into(&mut stranger.node);
    assert!(matches!(bench.store.join(stranger).await, Err(StoreError::Unavailable { .. })));
    bench.store.let_go(vec![id]).await?;
    bench.store.leave().await?;
    assert!(bench.store.survey().await?.nodes.is_empty());
    assert!(bench.store.renew().await.is_err(), "it has left");
    bench.store.join(profile("node")).await?;
    assert!(!bench.store.nodes().await?[0].draining, "it is another process");
    Ok(())
}
