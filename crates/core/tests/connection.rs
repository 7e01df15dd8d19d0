//! The life of one instance, told as short stories.

use std::time::Duration;

use holdfast_core::connection::state::PublicState;
use holdfast_core::connection::{
    Desired, DownReason, Effect, Env, Event, Machine, Method, Notice, ParkReason, Phase, Policy, Refusal, State,
    WaitReason,
};
use holdfast_core::fleet::Standing;
use holdfast_core::id::LinkId;
use holdfast_core::status::InstanceStatus;
use holdfast_core::time::Timestamp;

#[path = "connection/codes.rs"]
mod codes;
#[path = "connection/logins.rs"]
mod logins;
#[path = "connection/proofs.rs"]
mod proofs;
#[path = "connection/rate_limits.rs"]
mod rate_limits;
#[path = "connection/turns.rs"]
mod turns;

#[test]
fn a_new_instance_pairs_by_qr_and_comes_online() {
    let mut story = Story::unpaired();
    story.happens(Event::Connect { method: Method::Qr });
    assert_eq!(story.dialled(), [1]);
    story.happens(Event::QrShown { link: LinkId(1), text: "qr".into(), valid: secs(20) });
    assert!(story.published(&Notice::Qr { text: "qr".into(), count: 1 }));
    assert_eq!(story.phase(), Phase::Pairing);
    story.happens(Event::Paired { link: LinkId(1) });
    story.down(1, DownReason::RestartRequired);
    assert_eq!(story.dialled(), [1, 2], "a 515 is redialled at once");
    story.comes_online(2);
    assert_eq!(story.phase(), Phase::Online);
    assert!(story.published(&Notice::Open));
    assert_eq!(story.machine.failures(), 0);
}

#[test]
fn s04_a_login_without_an_answered_request_is_never_open() {
    let mut story = Story::paired();
    story.happens(Event::Authenticated { link: LinkId(1) });
    story.happens(Event::Ready { link: LinkId(1) });
    assert_eq!(story.public(), PublicState::Connecting);
    story.happens(Event::PingFailed { link: LinkId(1) });
    assert_eq!(story.phase(), Phase::BackingOff);
    assert_eq!(story.closed(), [1]);
    assert!(!story.published(&Notice::Open));
}

#[test]
fn open_is_not_claimed_beyond_the_proof_window_even_if_nobody_steps() {
    let mut story = Story::online();
    let status = InstanceStatus::of(&story.machine, story.now);
    let window = story.policy.proof_window();
    assert_eq!(status.state_at(story.now), PublicState::Open);
    assert_eq!(status.phase_at(story.now.after(window)), Phase::Suspect);
    story.passes(window);
    story.happens(Event::Elapsed);
    assert_eq!(story.phase(), Phase::BackingOff);
    assert_eq!(story.closed(), [1]);
}

#[test]
fn a_silent_link_is_closed_when_its_ping_is_overdue_and_redialled_once_it_is_gone() {
    let mut story = Story::online();
    story.passes(secs(30));
    story.happens(Event::PingDue);
    assert!(story.did(&Effect::Ping { link: LinkId(1), within: secs(10) }));
    story.passes(secs(10));
    story.happens(Event::Elapsed);
    assert_eq!(story.closed(), [1]);
    story.passes(secs(5));
    story.happens(Event::Elapsed);
    assert_eq!(story.dialled(), [1], "the old socket still exists");
    story.down(1, DownReason::Requested);
    assert_eq!(story.dialled(), [1, 2]);
}

#[test]
fn a_close_that_never_ends_is_cut_and_the_next_link_has_a_new_client() {
    let mut story = Story::online();
    story.happens(Event::PingFailed { link: LinkId(1) });
    story.passes(story.policy.close_timeout);
    story.happens(Event::Elapsed);
    assert!(story.did(&Effect::AbandonLink { link: LinkId(1) }));
    assert!(story.did(&Effect::OpenLink { link: LinkId(2), method: None, rebuild: true, refresh_version: false }));
    story.down(1, DownReason::SocketLost { code: None });
    assert!(matches!(story.machine.state, State::Connecting { link: LinkId(2), .. }), "the old link's end is no news");
}

#[test]
fn only_a_stable_connection_resets_the_backoff() {
    let mut story = Story::online();
    for round in 1..=8 {
        story.passes(secs(2));
        story.down(round, DownReason::SocketLost { code: None });
        assert_eq!(story.machine.failures(), u32::try_from(round).unwrap());
        story.passes(secs(400));
        story.happens(Event::Elapsed);
        story.comes_online(round + 1);
    }
    story.passes(secs(29));
    story.happens(Event::Proof { link: LinkId(9), at: story.now });
    story.passes(secs(1));
    story.down(9, DownReason::SocketLost { code: None });
    assert_eq!(story.machine.failures(), 1);
}

#[test]
fn s09_a_logout_is_believed_unless_the_pairing_is_only_just_done() {
    let mut story = Story::unpaired();
    story.happens(Event::Connect { method: Method::Qr });
    story.happens(Event::Paired { link: LinkId(1) });
    story.down(1, DownReason::RestartRequired);
    story.down(2, DownReason::LoggedOut { code: 401 });
    assert_eq!(story.dialled(), [1, 2, 3], "doubted once");
    assert!(!story.did(&Effect::ArchiveCredentials));
    story.down(3, DownReason::LoggedOut { code: 401 });
    assert!(story.did(&Effect::ArchiveCredentials));
    assert!(story.published(&Notice::LoggedOut { why: DownReason::LoggedOut { code: 401 } }));
    assert_eq!(story.phase(), Phase::Parked);
    story.passes(secs(86_400));
    story.happens(Event::Elapsed);
    assert_eq!(story.dialled(), [1, 2, 3], "parked for good");
    story.happens(Event::Connect { method: Method::Qr });
    assert!(story.did(&Effect::OpenLink {
        link: LinkId(4),
        method: Some(Method::Qr),
        rebuild: true,
        refresh_version: false
    }));
}

#[test]
fn a_logout_right_after_a_boot_is_doubted_once() {
    let mut story = Story::paired();
    story.down(1, DownReason::LoggedOut { code: 401 });
    assert!(!story.did(&Effect::ArchiveCredentials));
    story.down(2, DownReason::LoggedOut { code: 401 });
    assert!(story.did(&Effect::ArchiveCredentials));
    let mut story = Story::online();
    story.passes(secs(61));
    story.down(1, DownReason::LoggedOut { code: 401 });
    assert!(story.did(&Effect::ArchiveCredentials), "later it is believed at once");
}

#[test]
fn s06_a_takeover_is_no_duel() {
    let mut story = Story::online();
    story.down(1, DownReason::Replaced);
    assert!(matches!(story.machine.state, State::Parked { why: ParkReason::Replaced, retry: Some(_) }));
    assert_eq!(story.public(), PublicState::Close);
    story.passes(secs(29));
    story.happens(Event::Elapsed);
    assert_eq!(story.dialled(), [1]);
    story.passes(secs(60));
    story.happens(Event::Elapsed);
    assert_eq!(story.dialled(), [1, 2]);
}

#[test]
fn s10_a_ban_is_waited_out_and_tried_once() {
    let mut story = Story::online();
    story.down(1, DownReason::TemporaryBan { seconds: Some(600) });
    story.passes(secs(599));
    story.happens(Event::Elapsed);
    assert_eq!(story.dialled(), [1]);
    story.passes(secs(1));
    story.happens(Event::Elapsed);
    assert_eq!(story.dialled(), [1, 2]);
}

#[test]
fn s11_an_outdated_client_looks_its_version_up_once() {
    let mut story = Story::paired();
    story.down(1, DownReason::Outdated);
    assert!(story.did(&Effect::OpenLink { link: LinkId(2), method: None, rebuild: true, refresh_version: true }));
    story.down(2, DownReason::Outdated);
    assert!(matches!(story.machine.state, State::Parked { why: ParkReason::Outdated, retry: None }));
}

#[test]
fn a_missing_store_is_waited_for() {
    let mut story = Story::online();
    story.down(1, DownReason::StoreUnavailable);
    assert!(matches!(story.machine.state, State::Waiting { what: WaitReason::Store, .. }));
    story.passes(secs(4));
    story.happens(Event::Elapsed);
    assert!(story.did(&Effect::OpenLink { link: LinkId(2), method: None, rebuild: true, refresh_version: false }));
}

#[test]
fn s28_a_damaged_login_is_parked_and_looked_at_again_every_few_minutes() {
    let mut story = Story::online();
    story.down(1, DownReason::CredentialsCorrupt);
    assert!(matches!(story.machine.state, State::Parked { why: ParkReason::Damaged, retry: Some(_) }));
    let status = InstanceStatus::of(&story.machine, story.now);
    assert_eq!((status.code(), story.phase().public()), (Some("credentials-corrupt"), PublicState::Close));
    story.passes(secs(600));
    story.happens(Event::Elapsed);
    assert!(story.did(&Effect::OpenLink { link: LinkId(2), method: None, rebuild: true, refresh_version: false }));
}

#[test]
fn what_keeps_it_from_being_connected_is_told_through_every_try_with_its_beginning() {
    let mut story = Story::online();
    let told = |story: &Story| {
        let status = InstanceStatus::of(&story.machine, story.now);
        (status.code(), status.why_since())
    };
    assert_eq!(told(&story), (None, None));
    let began = story.now;
    story.down(1, DownReason::StoreUnavailable);
    for link in 2..5 {
        assert_eq!(told(&story), (Some("store-unavailable"), Some(began)));
        story.passes(secs(4));
        story.happens(Event::Elapsed);
        assert_eq!((story.phase(), told(&story)), (Phase::Connecting, (Some("store-unavailable"), Some(began))));
        story.down(link, DownReason::StoreUnavailable);
    }
    story.passes(secs(4));
    story.happens(Event::Elapsed);
    let other = story.now;
    story.down(5, DownReason::Dns);
    assert_eq!(told(&story), (Some("net-dns"), Some(other)), "another reason has another beginning");
    story.passes(secs(4));
    story.happens(Event::Elapsed);
    story.comes_online(6);
    assert_eq!(told(&story), (None, None), "what is over is not told");
    story.down(6, DownReason::Dns);
    story.happens(Event::Restart);
    assert_eq!(told(&story), (None, None), "an operator starts afresh");
}

#[test]
fn a_restart_closes_first_and_dials_when_the_socket_is_gone() {
    let mut story = Story::online();
    story.happens(Event::Restart);
    assert_eq!((story.closed(), story.dialled()), (vec![1], vec![1]));
    assert_eq!(story.public(), PublicState::Connecting);
    story.down(1, DownReason::Requested);
    assert_eq!(story.dialled(), [1, 2]);
}

#[test]
fn s24_connecting_again_and_again_opens_one_socket() {
    let mut story = Story::unpaired();
    for _ in 0..100 {
        story.happens(Event::Connect { method: Method::Qr });
    }
    assert_eq!(story.dialled(), [1]);
    story.happens(Event::QrShown { link: LinkId(1), text: "qr".into(), valid: secs(20) });
    story.happens(Event::Connect { method: Method::Code("5511999999999".into()) });
    story.happens(Event::Connect { method: Method::Code("5511999999999".into()) });
    assert_eq!(
        story.count(|effect| matches!(effect, Effect::RequestCode { .. })),
        1,
        "the code that is being typed stays valid"
    );
    assert_eq!(story.dialled(), [1]);
}

#[test]
fn a_code_belongs_to_one_number_and_later_dials_ask_for_that_one_too() {
    let code = |number: &str| Method::Code(number.into());
    let shown = |link, number: &str| Event::CodeShown {
        link: LinkId(link),
        number: number.into(),
        code: "ABCD1234".into(),
        valid: secs(180),
    };
    let qr = |link| Event::QrShown { link: LinkId(link), text: "qr".into(), valid: secs(20) };
    let mut story = Story::unpaired();
    story.happens(Event::Connect { method: code("1") });
    story.happens(qr(1));
    story.happens(Event::Connect { method: code("2") });
    assert!(story.did(&Effect::RequestCode { link: LinkId(1), number: "2".into() }));
    story.happens(shown(1, "1"));
    assert!(
        !story.published(&Notice::Code { number: "1".into(), code: "ABCD1234".into() }),
        "it is for the number of before"
    );
    story.happens(shown(1, "2"));
    assert!(story.published(&Notice::Code { number: "2".into(), code: "ABCD1234".into() }));
    // A QR code that is void soon does not take the pairing code with it.
    story.happens(qr(1));
    story.passes(secs(100));
    story.happens(Event::Elapsed);
    assert_eq!((story.phase(), story.closed()), (Phase::Pairing, vec![]));

    story.happens(Event::Restart);
    story.down(1, DownReason::Requested);
    assert!(story.did(&Effect::OpenLink {
        link: LinkId(2),
        method: Some(code("2")),
        rebuild: false,
        refresh_version: false
    }));
}

#[test]
fn a_logout_by_the_operator_tells_whatsapp_then_archives() {
    let mut story = Story::online();
    story.happens(Event::LogOut);
    assert!(story.did(&Effect::LogOutLink { link: LinkId(1) }));
    assert!(!story.did(&Effect::ArchiveCredentials), "not before WhatsApp had its chance");
    story.down(1, DownReason::LoggedOut { code: 401 });
    assert!(story.did(&Effect::ArchiveCredentials));
    assert_eq!(story.phase(), Phase::Unpaired);
    assert!(!story.machine.paired);
    story.happens(Event::LogOut);
    assert!(story.did(&Effect::Refuse(Refusal::NotConnected)));
}

#[test]
fn shutdown_saves_then_closes_then_exits() {
    let mut story = Story::online();
    story.happens(Event::Shutdown { within: secs(16) });
    assert_eq!((story.closed().len(), story.exits()), (0, vec![]));
    story.happens(Event::Saved { link: LinkId(1), ok: true });
    assert_eq!((story.closed(), story.exits()), (vec![1], vec![]));
    story.down(1, DownReason::Requested);
    assert_eq!(story.exits(), [true]);
}

#[test]
fn a_shutdown_that_could_not_save_says_so() {
    let mut story = Story::online();
    story.happens(Event::Shutdown { within: secs(16) });
    story.happens(Event::Saved { link: LinkId(1), ok: false });
    story.down(1, DownReason::Requested);
    assert_eq!(story.exits(), [false]);
}

#[test]
fn a_link_that_ends_by_itself_amid_a_shutdown_was_saved_unless_its_end_says_otherwise() {
    for (why, saved) in [
        (DownReason::SocketLost { code: None }, true),
        (DownReason::UpgradeRefused { status: 503 }, true),
        (DownReason::LoggedOut { code: 401 }, true),
        (DownReason::StoreUnavailable, false),
        (DownReason::CredentialsCorrupt, false),
        (DownReason::LeaseLost, false),
        (DownReason::Panicked, false),
    ] {
        let mut story = Story::online();
        story.happens(Event::Shutdown { within: secs(16) });
        story.down(1, why.clone());
        assert_eq!(story.exits(), [saved], "{why:?}");
    }
}

#[test]
fn a_panic_in_a_task_of_the_link_ends_the_actor() {
    let mut story = Story::online();
    story.down(1, DownReason::Panicked);
    assert!(story.did(&Effect::Fail { why: DownReason::Panicked }));
}

#[test]
fn boot_follows_the_desired_state() {
    for (paired, desired, phase) in [
        (true, Desired::Connected, Phase::Connecting),
        (true, Desired::Stopped, Phase::Parked),
        (false, Desired::Connected, Phase::Unpaired),
        (false, Desired::Stopped, Phase::Unpaired),
    ] {
        let mut story = Story::new();
        story.happens(Event::Booted { paired, desired });
        assert_eq!(story.phase(), phase, "{paired} {desired:?}");
    }
}

#[test]
fn what_links_a_device_is_never_printed() {
    let shown = Event::QrShown { link: LinkId(1), text: "ref,noise,identity,secret".into(), valid: secs(20) };
    let typed = Notice::Code { number: "1".into(), code: "ABCD1234".into() };
    assert!(!format!("{shown:?}{typed:?}").contains("secret") && !format!("{typed:?}").contains("ABCD1234"));
}

struct Story {
    machine: Machine,
    now: Timestamp,
    policy: Policy,
    effects: Vec<Effect>,
    /// Whether each turn that is asked for is granted at once.
    turns: bool,
}

impl Story {
    fn new() -> Self {
        Self {
            machine: Machine::new(),
            now: Timestamp::from_millis(1_000_000),
            policy: Policy::default(),
            effects: Vec::new(),
            turns: true,
        }
    }

    fn unpaired() -> Self {
        let mut story = Self::new();
        story.happens(Event::Booted { paired: false, desired: Desired::Stopped });
        story
    }

    fn paired() -> Self {
        let mut story = Self::new();
        story.happens(Event::Booted { paired: true, desired: Desired::Connected });
        story
    }

    fn online() -> Self {
        let mut story = Self::paired();
        story.comes_online(1);
        story
    }

    fn comes_online(&mut self, link: u64) {
        let link = LinkId(link);
        self.happens(Event::Authenticated { link });
        self.happens(Event::Ready { link });
        self.happens(Event::Pong { link, at: self.now });
        assert_eq!(self.phase(), Phase::Online);
    }

    fn happens(&mut self, event: Event) {
        self.step(event);
        if let (true, Standing::Asks { link, .. }) = (self.turns, self.machine.standing()) {
            self.step(Event::TurnGranted { link });
        }
    }

    fn step(&mut self, event: Event) {
        let env = Env { now: self.now, jitter: 0.5, policy: &self.policy };
        let (machine, effects) = std::mem::take(&mut self.machine).step(event, env);
        self.machine = machine;
        self.effects.extend(effects);
    }

    fn down(&mut self, link: u64, why: DownReason) {
        self.happens(Event::LinkDown { link: LinkId(link), why });
    }

    fn passes(&mut self, wait: Duration) {
        self.now = self.now.after(wait);
    }

    fn phase(&self) -> Phase {
        self.machine.state.phase()
    }

    fn public(&self) -> PublicState {
        self.phase().public()
    }

    fn did(&self, effect: &Effect) -> bool {
        self.effects.contains(effect)
    }

    fn published(&self, notice: &Notice) -> bool {
        self.did(&Effect::Publish(notice.clone()))
    }

    fn count(&self, which: impl Fn(&Effect) -> bool) -> usize {
        self.effects.iter().filter(|effect| which(effect)).count()
    }

    fn dialled(&self) -> Vec<u64> {
        self.effects
            .iter()
            .filter_map(|effect| if let Effect::OpenLink { link, .. } = effect { Some(link.0) } else { None })
            .collect()
    }

    fn closed(&self) -> Vec<u64> {
        self.effects
            .iter()
            .filter_map(|effect| if let Effect::CloseLink { link } = effect { Some(link.0) } else { None })
            .collect()
    }

    fn exits(&self) -> Vec<bool> {
        self.effects
            .iter()
            .filter_map(|effect| if let Effect::Exit { clean } = effect { Some(*clean) } else { None })
            .collect()
    }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
