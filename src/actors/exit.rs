//! A child's last word: it is sent even if a handler panicked.

use std::sync::Arc;

use actix::prelude::Recipient;
use holdfast_core::connection::{Desired, Machine};
use holdfast_core::id::{Generation, InstanceId, LinkId};
use holdfast_core::supervision::ExitReason;

use crate::actors::instance::Birth;
use crate::actors::supervisor::protocol::ChildExited;
use crate::ports::link::{Link, SealReason};

/// Tells the supervisor that the actor which holds it is gone, and seals its link.
///
/// actix drops an actor whose handler panicked without a word to anybody; its fields are dropped all the same. So the reason is
/// [`ExitReason::Panicked`] unless the actor has said something else before.
pub struct ExitGuard {
    id: InstanceId,
    generation: Generation,
    supervisor: Recipient<ChildExited>,
    link: Arc<dyn Link>,
    reason: ExitReason,
    clean: bool,
    last_link: LinkId,
    listed: bool,
    desired: Desired,
}

impl ExitGuard {
    /// Makes the guard of the incarnation that `birth` describes.
    pub fn new(birth: &Birth, supervisor: Recipient<ChildExited>, link: Arc<dyn Link>) -> Self {
        Self {
            id: birth.id.clone(),
            generation: birth.generation,
            supervisor,
            link,
            reason: ExitReason::Panicked,
            clean: false,
            last_link: birth.last_link,
            listed: birth.paired,
            desired: birth.desired,
        }
    }

    /// Records what the next incarnation has to go on from.
    pub fn remember(&mut self, machine: &Machine) {
        self.last_link = machine.last_link();
        self.listed = machine.may_be_listed();
        self.desired = machine.desired;
    }

    /// Records that the end is on purpose.
    pub fn leave(&mut self, reason: ExitReason, clean: bool) {
        self.reason = reason;
        self.clean = clean;
    }
}

impl Drop for ExitGuard {
    #[expect(clippy::disallowed_methods, reason = "a notice from child to parent, once in a life")]
    fn drop(&mut self) {
        self.link.seal(SealReason::ActorGone);
        self.supervisor.do_send(ChildExited {
            id: self.id.clone(),
            generation: self.generation,
            reason: self.reason,
            last_link: self.last_link,
            desired: self.desired,
            clean: self.clean,
            listed: self.listed,
        });
    }
}
