//! A day of connections that do not last.

use std::time::Duration;

use holdfast_core::connection::{DownReason, Event, Phase};
use holdfast_core::id::LinkId;
use tokio::runtime::Handle;

use super::SOON;
use crate::actors::testing::World;
use crate::ports::link::Report;
use crate::ports::process::Usage;

const HOUR: Duration = Duration::from_secs(3600);
/// What the allocator may keep more of after the day than after its first hours.
const GROWTH_KIB: u64 = 1024;

#[actix::test]
async fn s51_a_day_of_flapping_leaves_tasks_and_memory_as_they_were() {
    let world = World::start();
    let id = world.add("shop").await;
    let (began, mut ends, mut early) = (world.clock.now(), 0_u64, None);
    while world.clock.now().since(began) < 24 * HOUR {
        world.pass(SOON).await;
        let status = world.entry(&id).status;
        if status.phase != Phase::Online {
            world.pass(Duration::from_secs(1)).await;
            continue;
        }
        // Two short ones, on which the waits grow, and one that is long enough to end them.
        let lasts = if ends % 3 == 2 { 45 } else { 2 };
        world.pass(Duration::from_secs(lasts)).await;
        let link = LinkId(status.link);
        let lost = Event::LinkDown { link, why: DownReason::SocketLost { code: None } };
        world.links.report(&id, Report::Fact(lost)).await;
        ends += 1;
        // What the script and the store in memory note down is not the engine's.
        world.links.story();
        world.store.written();
        if early.is_none() && world.clock.now().since(began) > 3 * HOUR {
            early = Some(used());
        }
    }
    world.pass(Duration::from_secs(600)).await;
    let (early, late) = (early.unwrap(), used());
    assert!(ends > 3_000, "{ends} connections in a day");
    assert_eq!(world.entry(&id).status.phase, Phase::Online, "the day over, it is connected");
    assert!(late.tasks <= early.tasks, "{early:?} became {late:?}");
    assert!(late.resident_kib <= early.resident_kib + GROWTH_KIB, "{early:?} became {late:?} in {ends} connections");
    let fleet = world.board.fleet();
    assert_eq!((fleet.running, fleet.restarts, fleet.dials.in_flight, fleet.dials.waiting), (1, 0, 0, 0));
}

fn used() -> Usage {
    Usage::now(&Handle::current()).unwrap()
}
