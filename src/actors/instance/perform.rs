//! Carrying out the machine's effects: each is one call of one port.

use std::time::Duration;

use actix::prelude::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use chrono::SecondsFormat;
use holdfast_core::connection::state::PublicState;
use holdfast_core::connection::{DownReason, Effect, Event, Method, Notice};
use holdfast_core::event::{EngineEvent, EventName, Owner, disconnection_object};
use holdfast_core::fleet::Standing;
use holdfast_core::id::LinkId;
use holdfast_core::status::InstanceStatus;
use holdfast_core::supervision::ExitReason;
use tracing::{info, warn};

use super::InstanceActor;
use crate::actors::supervisor::protocol::Stands;
use crate::failpoint::reach;
use crate::ports::link::SealReason;
use crate::ports::store::InstancePatch;

/// How long the rows of an ended instance may take to be written.
const LAST_WRITES: Duration = Duration::from_secs(5);

impl InstanceActor {
    pub(super) fn perform(&mut self, effect: Effect, ctx: &mut Context<Self>) {
        match effect {
            Effect::Stand(standing) => self.stand(standing),
            Effect::OpenLink { link, method, rebuild, refresh_version } => {
                self.open(link, method, rebuild, refresh_version, ctx);
            }
            Effect::RequestCode { link, number } => self.link.request_code(link, number),
            Effect::CloseLink { link } => self.link.close(link),
            Effect::LogOutLink { link } => self.link.log_out(link),
            Effect::AbandonLink { link } => {
                warn!(instance.id = %self.id, link = link.0, "The close of link {link} did not come to an end; it is cut");
                self.link.seal(SealReason::Abandoned);
            }
            Effect::Ping { link, within } => {
                self.probe.sent(link, self.parts.clock.now());
                self.link.ping(link, within);
            }
            Effect::Save { link } => self.link.save(link),
            Effect::ArchiveCredentials => self.scribe.archive("logged out"),
            Effect::SetDesired(desired) => self.scribe.desire(desired),
            Effect::Publish(notice) => self.publish(notice),
            Effect::Refuse(refusal) => self.refusal = Some(refusal),
            Effect::Exit { clean } => self.leave(clean, ctx),
            Effect::Fail { why } => {
                warn!(instance.id = %self.id, code = why.code(), "Instance {} starts afresh: {}", self.name, why.sentence());
                self.end(ExitReason::Failed, false, ctx);
            }
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a few notices for each dial; a lost one would cost the fleet a slot"
    )]
    fn stand(&self, standing: Standing) {
        self.parts.supervisor.stands.do_send(Stands {
            id: self.id.clone(),
            generation: self.generation,
            standing,
            last_link: self.machine.last_link(),
            desired: self.machine.desired,
        });
    }

    /// Dials once nothing that an earlier session left behind waits to be written.
    fn open(
        &mut self,
        link: LinkId,
        method: Option<Method>,
        rebuild: bool,
        refresh_version: bool,
        ctx: &mut Context<Self>,
    ) {
        if self.scribe.is_archived() {
            return self.link.dial(link, method, rebuild, refresh_version);
        }
        let archived = self.scribe.archived(LAST_WRITES);
        ctx.spawn(archived.into_actor(self).map(move |archived, actor, ctx| {
            if actor.machine.link() != Some(link) {
                return;
            }
            if archived {
                actor.link.dial(link, method, rebuild, refresh_version);
            } else {
                actor.feed(Event::LinkDown { link, why: DownReason::StoreUnavailable }, ctx);
            }
        }));
    }

    pub(super) fn publish(&mut self, notice: Notice) {
        let name = self.name.as_str();
        let clock = self.parts.clock;
        let date = |at| clock.wall_at(at).to_rfc3339_opts(SecondsFormat::Millis, true);
        let told = InstanceStatus::of(&self.machine, self.since).explanation_at(clock.now());
        match notice {
            Notice::Connecting { why } => {
                if let Some(why) = &why {
                    info!(instance.id = %self.id, code = why.code(), "Instance {} lost its connection: {}", self.name, why.sentence());
                }
                self.scribe.patch(InstancePatch {
                    connection_status: Some(PublicState::Connecting),
                    events: vec![EngineEvent::connecting(name, told.filter(|_| why.is_some()).as_ref(), &date)],
                    ..InstancePatch::default()
                });
            }
            Notice::Open => {
                self.scribe.patch(InstancePatch {
                    connection_status: Some(PublicState::Open),
                    online_now: true,
                    owner_jid: self.owner.jid.clone(),
                    profile_name: self.owner.name.clone(),
                    events: vec![EngineEvent::open(name, &self.owner)],
                    ..InstancePatch::default()
                });
            }
            Notice::Closed { why } => {
                let closed = InstancePatch { connection_status: Some(PublicState::Close), ..InstancePatch::default() };
                if let (Some(why), Some(told)) = (why, &told) {
                    let at = date(clock.now());
                    let object = disconnection_object(&why, &at);
                    let disconnection = Some((i32::from(told.status_reason), object.clone()));
                    let ended = EngineEvent::ended(name, told, &date, &at, &object);
                    let events = vec![ended, EngineEvent::closed(name, Some(told), &date)];
                    self.scribe.patch(InstancePatch { disconnection, events, ..closed });
                } else {
                    let events = vec![EngineEvent::closed(name, told.as_ref(), &date)];
                    self.scribe.patch(InstancePatch { events, ..closed });
                }
            }
            Notice::Qr { text, count } => {
                self.pairing.qr = Some(text.as_str().to_owned());
                self.pairing.count = count;
                self.scribe.publish(EngineEvent::qr(name, Some(text.as_str()), None, self.pairing.code.as_deref()));
            }
            Notice::Code { number, code } => {
                self.scribe.publish(EngineEvent::qr(name, self.pairing.qr.as_deref(), None, Some(code.as_str())));
                self.pairing.code = Some(code.as_str().to_owned());
                self.pairing.number = Some(number);
            }
            Notice::QrLimit => {
                self.scribe.publish(EngineEvent::qr_limit());
                self.scribe.publish(EngineEvent::refused(name, &self.owner));
            }
            Notice::LoggedOut { .. } => self.scribe.publish(EngineEvent::bare(EventName::LogoutInstance)),
        }
    }

    pub(super) fn learn_owner(&mut self, owner: Owner) {
        let known = &mut self.owner;
        let before = known.clone();
        known.jid = owner.jid.or(known.jid.take());
        known.name = owner.name.or(known.name.take());
        known.picture = owner.picture.or(known.picture.take());
        // It is told at each login.
        if *known == before {
            return;
        }
        self.scribe.patch(InstancePatch {
            owner_jid: known.jid.clone(),
            profile_name: known.name.clone(),
            profile_picture: known.picture.clone(),
            ..InstancePatch::default()
        });
    }

    /// Ends the actor after its last rows were written.
    fn leave(&mut self, clean: bool, ctx: &mut Context<Self>) {
        reach!("instance.leaving");
        self.hang();
        let written = self.scribe.written(LAST_WRITES);
        ctx.spawn(written.into_actor(self).map(move |written, actor, ctx| {
            reach!("instance.written");
            actor.end(ExitReason::Shutdown, clean && written, ctx);
        }));
    }
}
