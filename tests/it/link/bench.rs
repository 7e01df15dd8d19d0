//! One instance's link, its store, and a simulated WhatsApp.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use holdfast::ports::clock::Clock;
use holdfast::ports::link::{Link, LinkSpec, Links, OutgoingText, Report};
use holdfast::ports::tenure::Tenure;
use holdfast::whatsapp::{LinkSettings, WhatsApp};
use holdfast_core::connection::{DownReason, Event, Method};
use holdfast_core::event::{EngineEvent, EventName};
use holdfast_core::id::{Generation, InstanceId, LinkId};
use holdfast_sim::{Action, FaultRequest, MessageRequest, Options, ScanRequest, Simulator};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::stored::Stored;

/// How long anything may take before a test says that it did not happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a store may fail where it is to fail: hardly longer than a busy disk takes.
const SHORT_GRACE: Duration = Duration::from_secs(1);
/// How long it may fail elsewhere.
const GRACE: Duration = Duration::from_secs(10);

pub(crate) const ANA: &str = "4915100000001";

pub(crate) struct Bench {
    pub(crate) sim: Simulator,
    pub(crate) store: Stored,
    pub(crate) links: WhatsApp,
    pub(crate) link: Arc<dyn Link>,
    clock: Clock,
    tenure: Arc<Tenure>,
    reports: mpsc::Receiver<Report>,
    /// What was reported so far.
    pub(crate) story: Vec<Report>,
    next: u64,
    /// The JID of the linked device.
    pub(crate) jid: String,
}

impl Bench {
    pub(crate) async fn start() -> Result<Self> {
        let sim = Simulator::start(Options::default()).await?;
        let url = sim.ws_url().to_owned();
        Self::with(sim, timings(url, GRACE)).await
    }

    /// A bench that dials another address than the simulator's.
    pub(crate) async fn at(url: String) -> Result<Self> {
        Self::with(Simulator::start(Options::default()).await?, timings(url, GRACE)).await
    }

    async fn with(sim: Simulator, settings: LinkSettings) -> Result<Self> {
        // Silent unless RUST_LOG says otherwise.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_log::LogTracer::init();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let store = Stored::open().await?;
        let (clock, tenure) = (Clock::start(), Arc::clone(&settings.tenure));
        let links = WhatsApp::new(settings, Arc::clone(&store.faulty) as _, Handle::current(), clock)?;
        let (reports, heard) = mpsc::channel(8);
        let link = links.make(spec(), reports);
        Ok(Self {
            sim,
            store,
            links,
            link,
            clock,
            tenure,
            reports: heard,
            story: Vec::new(),
            next: 0,
            jid: String::new(),
        })
    }

    /// Lets the process act for this long.
    pub(crate) fn tenure_for(&self, time: Duration) {
        self.tenure.hold_until(self.clock.now().after(time));
    }

    /// A bench whose instance is paired, logged in and ready.
    pub(crate) async fn online() -> Result<(Self, LinkId)> {
        Self::start().await?.go_online().await
    }

    /// The same, and its link does not bear with a failing store for long.
    pub(crate) async fn impatient() -> Result<(Self, LinkId)> {
        let sim = Simulator::start(Options::default()).await?;
        let settings = timings(sim.ws_url().to_owned(), SHORT_GRACE);
        Self::with(sim, settings).await?.go_online().await
    }

    /// The same, whose link waits so long for acknowledgements.
    pub(crate) async fn patient_for(ack_within: Duration) -> Result<(Self, LinkId)> {
        let sim = Simulator::start(Options::default()).await?;
        let settings = LinkSettings { ack_within, ..timings(sim.ws_url().to_owned(), GRACE) };
        Self::with(sim, settings).await?.go_online().await
    }

    async fn go_online(self) -> Result<(Self, LinkId)> {
        let mut bench = self;
        let link = bench.dial(Some(Method::Qr), false);
        let Event::QrShown { text, .. } = bench.until(|event| matches!(event, Event::QrShown { .. })).await? else {
            bail!("no QR")
        };
        bench.scan(text.as_str().to_owned()).await?;
        bench.until(|event| matches!(event, Event::Paired { .. })).await?;
        assert_eq!(bench.down(link).await?, DownReason::RestartRequired);
        let link = bench.dial(None, false);
        bench.ready(link).await?;
        Ok((bench, link))
    }

    pub(crate) async fn scan(&mut self, qr: String) -> Result<()> {
        let scanned = self.sim.scan(&ScanRequest { qr, ..ScanRequest::default() }).await?;
        self.jid = scanned.jid;
        Ok(())
    }

    pub(crate) fn dial(&mut self, method: Option<Method>, rebuild: bool) -> LinkId {
        self.next += 1;
        let link = LinkId(self.next);
        self.link.dial(link, method, rebuild, false);
        link
    }

    /// Gives the link up and makes another, as an actor that starts afresh does.
    pub(crate) fn restart(&mut self) {
        let (reports, heard) = mpsc::channel(8);
        self.link = self.links.make(spec(), reports);
        self.reports = heard;
    }

    pub(crate) async fn report(&mut self) -> Result<Report> {
        let report = timeout(PATIENCE, self.reports.recv()).await;
        let report = report
            .with_context(|| format!("nothing was reported after {:?}", self.story))?
            .context("the driver is gone")?;
        self.story.push(report.clone());
        Ok(report)
    }

    /// Waits for a fact.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Result<Event> {
        loop {
            if let Report::Fact(event) = self.report().await?
                && wanted(&event)
            {
                return Ok(event);
            }
        }
    }

    /// Waits for an event of this name.
    pub(crate) async fn event(&mut self, name: EventName) -> Result<EngineEvent> {
        loop {
            if let Report::Event { event, .. } = self.report().await?
                && event.name == name
            {
                return Ok(event);
            }
        }
    }

    pub(crate) async fn ready(&mut self, link: LinkId) -> Result<()> {
        let event = self.until(|event| matches!(event, Event::Ready { .. } | Event::LinkDown { .. })).await?;
        if event != (Event::Ready { link }) {
            bail!("{event:?} instead of ready");
        }
        Ok(())
    }

    pub(crate) async fn down(&mut self, link: LinkId) -> Result<DownReason> {
        let event = self.until(|event| matches!(event, Event::LinkDown { .. })).await?;
        if let Event::LinkDown { link: ended, why } = &event
            && *ended == link
        {
            // A sealed socket is cut; what was sent before is still read by the server, which is no fault of a later dial.
            self.eventually("the end of the socket at the server", |bench| bench.sim.sessions().is_empty()).await?;
            return Ok(why.clone());
        }
        bail!("{event:?} instead of the end of link {link}")
    }

    pub(crate) async fn fault(&self, action: Action) -> Result<()> {
        let hit = self.sim.fault(FaultRequest { target: "all".to_owned(), action }).await?;
        assert!(hit.hit > 0, "the fault struck nobody");
        Ok(())
    }

    pub(crate) async fn clear_faults(&self) -> Result<()> {
        self.sim.fault(FaultRequest { target: "all".to_owned(), action: Action::Clear }).await?;
        Ok(())
    }

    /// A contact writes.
    pub(crate) async fn receive(&self, from: &str, text: &str) -> Result<String> {
        let to = self.jid.clone();
        let request = MessageRequest { from: from.to_owned(), to, text: text.to_owned(), id: None, group: None };
        Ok(self.sim.message(request).await?.id)
    }

    /// Waits for a condition.
    pub(crate) async fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<()> {
        let waiting = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, waiting)
            .await
            .with_context(|| format!("{what} did not come about; {:?}", self.sim.counters(None)))
    }

    pub(crate) fn counters(&self) -> holdfast_sim::api::CountersView {
        self.sim.counters(None).expect("the counters of everybody")
    }

    /// Checks what has to hold of every test: no two sockets, no key twice, nothing refused.
    pub(crate) fn assert_harmless(&self) {
        let counters = self.counters().tally;
        assert!(!counters.overlapped, "two sockets were open");
        assert_eq!(counters.stale_frames, 0);
        assert_eq!(counters.counters_reused, 0);
        assert_eq!(counters.nacked, 0);
        assert_eq!(counters.static_mismatches, 0);
    }
}

fn timings(url: String, store_grace: Duration) -> LinkSettings {
    LinkSettings { url, store_grace, connect_timeout: Duration::from_secs(5), ..LinkSettings::default() }
}

pub(crate) fn spec() -> LinkSpec {
    LinkSpec { instance: InstanceId::new("i-1"), name: "shop".to_owned(), generation: Generation(1) }
}

pub(crate) fn text(number: &str, text: &str) -> OutgoingText {
    OutgoingText {
        id: None,
        number: number.to_owned(),
        text: text.to_owned(),
        delay: Duration::ZERO,
        link_preview: true,
        mentioned: Vec::new(),
        quoted: None,
    }
}
