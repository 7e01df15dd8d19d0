//! Figures in the text format of Prometheus: Evolution's four gauges, and those of our own behind `holdfast_`.
//!
//! What is counted over time belongs to the process and names no instance. What names one is read from the board at the moment of the
//! scrape, so it goes with the instance, and there are never more series than instances.

use std::time::Duration;

use anyhow::Result;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use tracing::error;

use crate::ports::copying::CopyFigures;
use crate::ports::meter::{Measure, Meter, Picture, SinkFigures};

/// The format that every Prometheus reads.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Seconds. At once, and up to one interval and deadline (40 s unless set otherwise) with what a timer may be late.
const DETECTION: &[f64] = &[0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 41.0, 60.0, 120.0, 300.0];
const RECOVERY: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];
const PING: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The phases, each of which has a series even if no instance is in it.
const PHASES: [&str; 11] = [
    "unpaired",
    "waiting",
    "connecting",
    "pairing",
    "syncing",
    "online",
    "suspect",
    "backing-off",
    "parked",
    "draining",
    "stopped",
];

/// Everything that is counted by this process.
pub struct Figures {
    registry: Registry,
    dials: IntCounterVec,
    detection: HistogramVec,
    recovery: Histogram,
    ping: Histogram,
    pings_failed: IntCounter,
    restarts: IntCounter,
    quarantines: IntCounter,
    mismatches: IntCounter,
    credentials_refused: IntCounter,
}

impl Figures {
    /// Makes figures that are all zero.
    ///
    /// # Errors
    /// If a name is used twice or is none.
    pub fn new() -> Result<Self> {
        let buckets = |name: &str, help: &str, bounds: &[f64]| HistogramOpts::new(name, help).buckets(bounds.to_vec());
        let figures = Self {
            registry: Registry::new(),
            dials: IntCounterVec::new(
                Opts::new("holdfast_dials_total", "Dials, by what made them necessary: a code, start or operator."),
                &["reason"],
            )?,
            detection: HistogramVec::new(
                buckets(
                    "holdfast_detection_seconds",
                    "From the last proof of life of an open connection to the moment at which its end was known.",
                    DETECTION,
                ),
                &["reason"],
            )?,
            recovery: Histogram::with_opts(buckets(
                "holdfast_recovery_seconds",
                "From the end of an open connection to the moment at which the instance was open again by itself.",
                RECOVERY,
            ))?,
            ping: Histogram::with_opts(buckets("holdfast_ping_seconds", "Round trips of answered pings.", PING))?,
            pings_failed: IntCounter::new(
                "holdfast_pings_failed_total",
                "Pings that were not answered in their time.",
            )?,
            restarts: IntCounter::new(
                "holdfast_instance_restarts_total",
                "Crashed instances that were started again.",
            )?,
            quarantines: IntCounter::new(
                "holdfast_instance_quarantines_total",
                "Instances that crashed too often and were parked.",
            )?,
            mismatches: IntCounter::new(
                "holdfast_state_mismatches_corrected_total",
                "Claims of being open that had no proof behind them and were corrected.",
            )?,
            credentials_refused: IntCounter::new(
                "holdfast_node_credentials_refused_total",
                "Requests that said that they came from another node, and could not show it.",
            )?,
        };
        let all: [Box<dyn Collector>; 9] = [
            Box::new(figures.dials.clone()),
            Box::new(figures.detection.clone()),
            Box::new(figures.recovery.clone()),
            Box::new(figures.ping.clone()),
            Box::new(figures.pings_failed.clone()),
            Box::new(figures.restarts.clone()),
            Box::new(figures.quarantines.clone()),
            Box::new(figures.mismatches.clone()),
            Box::new(figures.credentials_refused.clone()),
        ];
        for one in all {
            figures.registry.register(one)?;
        }
        Ok(figures)
    }

    fn text(&self, picture: &Picture) -> Result<String> {
        let now = Registry::new();
        evolution(&now, picture)?;
        ours(&now, picture)?;
        if let Some(sink) = picture.sink {
            deliveries(&now, sink)?;
        }
        copies(&now, &picture.copies)?;
        let mut families = now.gather();
        families.extend(self.registry.gather());
        Ok(TextEncoder::new().encode_to_string(&families)?)
    }
}

/// The names, labels and values of Evolution API.
fn evolution(registry: &Registry, picture: &Picture) -> Result<()> {
    let environment = IntGaugeVec::new(
        Opts::new("evolution_environment_info", "Environment information"),
        &["version", "clientName", "serverUrl"],
    )?;
    environment.with_label_values(&[&picture.version, &picture.client_name, &picture.server_url]).set(1);
    registry.register(Box::new(environment))?;

    let total = IntGauge::new("evolution_instances_total", "Total number of instances")?;
    let here = picture.instances.iter().map(|one| (&one.name, &one.integration, one.state));
    let elsewhere = picture.elsewhere.iter().map(|one| (&one.name, &one.integration, one.state));
    total.set((picture.instances.len() + picture.elsewhere.len()) as i64);
    registry.register(Box::new(total))?;

    let up = IntGaugeVec::new(
        Opts::new("evolution_instance_up", "1 if instance state is open, else 0"),
        &["instance", "integration"],
    )?;
    let state = IntGaugeVec::new(
        Opts::new("evolution_instance_state", "Instance state as a labelled gauge"),
        &["instance", "integration", "state"],
    )?;
    for (name, integration, known) in here.chain(elsewhere) {
        let word = known.as_str();
        up.with_label_values(&[name, integration]).set(i64::from(word == "open"));
        state.with_label_values(&[name.as_str(), integration.as_str(), word]).set(1);
    }
    registry.register(Box::new(up))?;
    registry.register(Box::new(state))?;
    Ok(())
}

fn ours(registry: &Registry, picture: &Picture) -> Result<()> {
    let phases = IntGaugeVec::new(Opts::new("holdfast_instances", "Instances by phase."), &["phase"])?;
    for phase in PHASES {
        phases.with_label_values(&[phase]).set(0);
    }
    let troubled = IntGaugeVec::new(
        Opts::new("holdfast_instances_not_open", "Instances that something keeps from being open, by its code."),
        &["code"],
    )?;
    for one in &picture.instances {
        phases.with_label_values(&[one.phase.as_str()]).inc();
        if let Some(code) = one.code {
            troubled.with_label_values(&[code]).inc();
        }
    }
    let complete = IntGauge::new(
        "holdfast_fleet_complete",
        "1 if every living node has told of its instances, so that Evolution's gauges cover all of them, else 0.",
    )?;
    complete.set(i64::from(picture.complete));
    registry.register(Box::new(complete))?;
    registry.register(Box::new(phases))?;
    registry.register(Box::new(troubled))?;
    Ok(())
}

fn deliveries(registry: &Registry, sink: SinkFigures) -> Result<()> {
    let under_way = IntGauge::new("holdfast_deliveries_under_way", "Deliveries to webhooks that are under way.")?;
    under_way.set(sink.under_way as i64);
    registry.register(Box::new(under_way))?;
    let tries = IntCounterVec::new(
        Opts::new("holdfast_deliveries_total", "Deliveries to webhooks, by what came of them."),
        &["outcome"],
    )?;
    for (outcome, count) in [("delivered", sink.delivered), ("failed", sink.failed), ("given-up", sink.given_up)] {
        tries.with_label_values(&[outcome]).inc_by(count);
    }
    registry.register(Box::new(tries))?;
    Ok(())
}

fn copies(registry: &Registry, copies: &[CopyFigures]) -> Result<()> {
    let waiting = IntGaugeVec::new(
        Opts::new("holdfast_copies_waiting", "Instances whose copy in a layer is not up to date."),
        &["layer"],
    )?;
    let writes = IntCounterVec::new(
        Opts::new("holdfast_copies_total", "Copies of sessions for a layer, by what came of them."),
        &["layer", "outcome"],
    )?;
    for one in copies {
        let layer = one.source.word();
        waiting.with_label_values(&[layer]).set(one.waiting as i64);
        for (outcome, count) in [("written", one.written), ("failed", one.failed), ("left-out", one.left_out)] {
            writes.with_label_values(&[layer, outcome]).inc_by(count);
        }
    }
    registry.register(Box::new(waiting))?;
    registry.register(Box::new(writes))?;
    Ok(())
}

impl Meter for Figures {
    fn note(&self, measure: Measure) {
        let seconds = |time: Duration| time.as_secs_f64();
        match measure {
            Measure::Dialled { why } => self.dials.with_label_values(&[why]).inc(),
            Measure::Detected { why, after } => self.detection.with_label_values(&[why]).observe(seconds(after)),
            Measure::Recovered { after } => self.recovery.observe(seconds(after)),
            Measure::Ponged { after } => self.ping.observe(seconds(after)),
            Measure::PingFailed => self.pings_failed.inc(),
            Measure::Restarted => self.restarts.inc(),
            Measure::Quarantined => self.quarantines.inc(),
            Measure::Mismatch => self.mismatches.inc(),
            Measure::CredentialRefused => self.credentials_refused.inc(),
        }
    }

    fn write(&self, picture: &Picture) -> String {
        self.text(picture).unwrap_or_else(|error| {
            error!(error = &*error as &dyn std::error::Error, "The figures could not be written");
            format!("# the figures could not be written: {error}\n")
        })
    }

    fn content_type(&self) -> &'static str {
        TEXT
    }
}

#[cfg(test)]
mod tests {
    use holdfast_core::connection::Phase;
    use holdfast_core::connection::state::PublicState;
    use holdfast_core::restoration::Source;

    use super::*;
    use crate::ports::meter::{Portrait, Sketch};

    fn shop(name: &str) -> Portrait {
        Portrait {
            name: name.to_owned(),
            integration: "WHATSAPP-BAILEYS".to_owned(),
            state: PublicState::Close,
            phase: Phase::Parked,
            code: Some("wa-client-outdated"),
        }
    }

    #[test]
    fn s11_evolutions_names_and_labels_stand_beside_ours_and_a_refused_version_raises_an_alarm() {
        let figures = Figures::new().unwrap();
        figures.note(Measure::Dialled { why: "net-lost" });
        figures.note(Measure::Detected { why: "net-silent", after: Duration::from_secs(39) });
        let picture = Picture {
            version: "2.3.6".to_owned(),
            client_name: "evo".to_owned(),
            server_url: "http://host".to_owned(),
            instances: vec![shop("demo")],
            elsewhere: vec![Sketch {
                name: "far".to_owned(),
                integration: "WHATSAPP-BAILEYS".to_owned(),
                state: PublicState::Open,
            }],
            complete: true,
            sink: Some(SinkFigures { delivered: 3, ..SinkFigures::default() }),
            copies: vec![CopyFigures { source: Source::Redis, written: 5, failed: 1, waiting: 2, left_out: 0 }],
        };
        let text = figures.write(&picture);
        for line in [
            r#"holdfast_copies_total{layer="redis",outcome="written"} 5"#,
            r#"holdfast_copies_waiting{layer="redis"} 2"#,
            r#"evolution_environment_info{clientName="evo",serverUrl="http://host",version="2.3.6"} 1"#,
            "evolution_instances_total 2",
            r#"evolution_instance_up{instance="far",integration="WHATSAPP-BAILEYS"} 1"#,
            r#"holdfast_instances{phase="online"} 0"#,
            "holdfast_fleet_complete 1",
            r#"evolution_instance_up{instance="demo",integration="WHATSAPP-BAILEYS"} 0"#,
            r#"evolution_instance_state{instance="demo",integration="WHATSAPP-BAILEYS",state="close"} 1"#,
            r#"holdfast_instances{phase="parked"} 1"#,
            r#"holdfast_instances{phase="online"} 0"#,
            r#"holdfast_instances_not_open{code="wa-client-outdated"} 1"#,
            r#"holdfast_dials_total{reason="net-lost"} 1"#,
            r#"holdfast_detection_seconds_bucket{reason="net-silent",le="41"} 1"#,
            r#"holdfast_detection_seconds_bucket{reason="net-silent",le="30"} 0"#,
            "holdfast_ping_seconds_count 0",
            "holdfast_state_mismatches_corrected_total 0",
            r#"holdfast_deliveries_total{outcome="delivered"} 3"#,
        ] {
            assert!(text.lines().any(|written| written == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn a_name_cannot_break_out_of_its_label_and_goes_with_its_instance() {
        let figures = Figures::new().unwrap();
        let named = |name| Picture { instances: vec![shop(name)], ..Picture::default() };
        let text = figures.write(&named("a\"} 1\nevil{x=\"\\"));
        assert!(text.contains(r#"instance="a\"} 1\nevil{x=\"\\","#), "{text}");
        assert!(!text.lines().any(|line| line.starts_with("evil")), "{text}");
        assert!(!figures.write(&named("b")).contains("evil"), "a series of an instance that is gone");
    }
}
