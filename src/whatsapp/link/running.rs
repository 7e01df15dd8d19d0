//! One call of the library's `run()`, and what becomes of one that does not return.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdfast_core::connection::{DownReason, Event, Method};
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::{error, warn};

use super::driver::{Driver, Live, Order};
use super::holder::Holder;
use crate::failpoint::fails;
use crate::ports::link::SealReason;
use crate::whatsapp::events::Dial;
use crate::whatsapp::evidence::Attempt;
use crate::whatsapp::pairing_code::PairingCode;

/// How long `run()` may take to return when its dial is over, besides what the store may take twice: for what was under way, and for the
/// keys that are settled last.
const RETURNS_WITHIN: Duration = Duration::from_secs(5);

/// How a call of `run()` ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ran {
    /// The client can be used again.
    Done,
    /// It has returned, but the client cannot be used again.
    Unfinished,
    /// It has not returned in its time: its client is left behind, and the link has ended for this reason.
    GivenUp(DownReason),
}

impl Driver {
    /// One call of `run()`, from which everything of this dial follows.
    pub(super) async fn run(&self, holder: &Holder, order: &Order, attempt: &Arc<Attempt>) -> Ran {
        let number = match &order.method {
            Some(Method::Code(number)) => Some(number.clone()),
            Some(Method::Qr) | None => None,
        };
        let dial = Dial {
            link: order.link,
            attempt: Arc::clone(attempt),
            code: PairingCode::new(number),
            pairs: !holder.backend.is_linked(),
            paired: AtomicBool::new(false),
            pairing_done: Notify::new(),
        };
        let dial = Arc::new(dial);
        holder.listener.belong_to(Some(Arc::clone(&dial)));
        holder.sockets.belong_to(Some(Arc::clone(attempt)));
        self.set_live(order.link, Some(self.live_of(holder, attempt)));

        let returned = self.returns(holder, attempt).await;
        self.set_live(order.link, None);
        holder.sockets.belong_to(None);
        attempt.close(false);
        if !returned {
            return Ran::GivenUp(self.give_up(holder, order, attempt).await);
        }
        attempt.all_gone().await;
        if holder.listener.ended(&dial).await { Ran::Done } else { Ran::Unfinished }
    }

    fn live_of(&self, holder: &Holder, attempt: &Arc<Attempt>) -> Live {
        Live {
            client: Arc::clone(&holder.client),
            backend: Arc::clone(&holder.backend),
            listener: Arc::clone(&holder.listener),
            attempt: Arc::clone(attempt),
            accounts: Arc::clone(self.accounts()),
            seal: Arc::clone(&holder.seal),
        }
    }

    /// Calls `run()` and tells whether it returned before it was overdue. On a task of its own, for such a call is never aborted: it would
    /// leave the client in a state in which it cannot even be ended.
    async fn returns(&self, holder: &Holder, attempt: &Attempt) -> bool {
        let shared = self.shared();
        let client = Arc::clone(&holder.client);
        // The library must not dial by itself, whatever it did to this switch since the last time.
        client.enable_auto_reconnect.store(false, Ordering::Relaxed);
        let mut running = shared.handle.spawn(async move {
            Box::pin(client.run()).await;
            if fails("run.return") {
                pending::<()>().await;
            }
        });
        let noise = async {
            if holder.client.wait_for_socket(shared.settings.connect_timeout * 2).await.is_ok() {
                attempt.noise_finished();
            }
            pending::<Infallible>().await
        };
        let overdue = async {
            tokio::select! {
                () = attempt.over() => {}
                _ = holder.seal.sealed() => {}
            }
            sleep(RETURNS_WITHIN + shared.settings.store_grace * 2).await;
        };
        let returned = tokio::select! {
            returned = &mut running => returned,
            never = noise => match never {},
            () = overdue => return false,
        };
        if returned.is_err_and(|failed| failed.is_panic()) {
            holder.seal.set(SealReason::Panicked);
            error!(instance.id = %self.spec().instance, "The call of the library panicked; its link is sealed");
        }
        true
    }

    /// Lets nothing more come of a client whose `run()` does not return: it would hold up every later dial.
    async fn give_up(&self, holder: &Holder, order: &Order, attempt: &Attempt) -> DownReason {
        // Before it is sealed: that it is abandoned is no reason of an end.
        let why = attempt.reason(holder.seal.reason());
        let code = why.code();
        warn!(
            instance.id = %self.spec().instance,
            link = order.link.0,
            code,
            "The client of link {} has not come to an end though its dial is over ({code}); it is left behind, and the next one is new",
            order.link
        );
        // Its last changes may be in its memory: who saves amid a shutdown is to know.
        self.reports().fact(Event::Saved { link: order.link, ok: false });
        holder.cut_off();
        // That it is cut does not take long, and no other socket may be opened before.
        attempt.all_gone().await;
        why
    }
}
