//! What is logged: chosen at the start, and again while the process runs.
//!
//! The WhatsApp library writes through another crate and writes people's numbers and names into its lines. They are let in only where somebody asks
//! for them, and in every line numbers are replaced by a hash ([`redaction`](super::redaction)).

use std::sync::{Mutex, OnceLock, PoisonError};

use holdfast_core::logging::{Origin, Selection, Weight};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata, Subscriber};
use tracing_log::LogTracer;
use tracing_log::log as other;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use super::redaction::Redacted;

/// The crates that speak to WhatsApp.
const PROTOCOL: [&str; 3] = ["whatsapp_rust", "wacore", "waproto"];
/// The part of the engine that delivers.
const DELIVERIES: [&str; 2] = ["holdfast::sinks::webhook", "holdfast::actors::dispatcher"];

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    pub selection: Selection,
    /// Says all of it in the place of the selection, in the syntax of tracing.
    pub directives: Option<String>,
}

/// Changes what is logged by the subscriber of this process.
pub struct Control {
    handle: reload::Handle<Chooser, Registry>,
    chosen: Mutex<Chosen>,
}

type Chooser = Box<dyn Layer<Registry> + Send + Sync>;

static CONTROL: OnceLock<Control> = OnceLock::new();

/// Installs the subscriber. Directives that cannot be understood are ignored; the settings have warned of them.
///
/// # Errors
/// If one is installed already.
pub fn install(json: bool, color: bool, chosen: Chosen) -> Result<(), TryInitError> {
    let chosen = match chooser(&chosen) {
        Ok(_) => chosen,
        Err(_) => Chosen { directives: None, ..chosen },
    };
    let (layer, handle) = reload::Layer::new(chooser(&chosen).unwrap_or_else(|_| Box::new(Selected(chosen.selection))));
    let registry = tracing_subscriber::registry().with(layer);
    let lines = tracing_subscriber::fmt::layer().with_writer(Redacted::new());
    if json {
        registry.with(lines.json()).try_init()?;
    } else {
        registry.with(lines.with_ansi(color).with_target(false)).try_init()?;
    }
    // It fails where a program that embeds this one has the log crate already: the lines go there then.
    let _ = LogTracer::init();
    other::set_max_level(most(&chosen));
    let _ = CONTROL.set(Control { handle, chosen: Mutex::new(chosen) });
    Ok(())
}

/// Returns what changes the log, if this process has installed it.
pub fn control() -> Option<&'static Control> {
    CONTROL.get()
}

impl Control {
    /// Returns what is logged.
    pub fn chosen(&self) -> Chosen {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Logs this from now on.
    ///
    /// # Errors
    /// If the directives cannot be understood; nothing is changed then.
    pub fn choose(&self, chosen: Chosen) -> Result<(), ParseError> {
        let layer = chooser(&chosen)?;
        let mut kept = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        // It fails only when the subscriber is gone, and then nothing is logged anyway.
        let _ = self.handle.reload(layer);
        other::set_max_level(most(&chosen));
        *kept = chosen;
        Ok(())
    }
}

fn chooser(chosen: &Chosen) -> Result<Chooser, ParseError> {
    Ok(match &chosen.directives {
        Some(directives) => Box::new(EnvFilter::try_new(directives)?),
        None => Box::new(Selected(chosen.selection)),
    })
}

/// Returns how much of the other crate's lines can be wanted; the rest costs nothing.
fn most(chosen: &Chosen) -> other::LevelFilter {
    let Chosen { selection, directives: None } = chosen else { return other::LevelFilter::Trace };
    let passes =
        |weight| [Origin::Protocol, Origin::Library].into_iter().any(|origin| selection.passes(origin, weight));
    let levels = [
        (Weight::Trace, other::LevelFilter::Trace),
        (Weight::Debug, other::LevelFilter::Debug),
        (Weight::Info, other::LevelFilter::Info),
        (Weight::Warn, other::LevelFilter::Warn),
        (Weight::Error, other::LevelFilter::Error),
    ];
    levels.into_iter().find(|(weight, _)| passes(*weight)).map_or(other::LevelFilter::Off, |(_, level)| level)
}

/// Lets the lines of a selection through.
struct Selected(Selection);

impl<S: Subscriber> Layer<S> for Selected {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let weight = weight(metadata.level());
        match origin(metadata) {
            Some(origin) => self.0.passes(origin, weight),
            // The other crate asks first whether there is any use in asking.
            None => self.0.passes(Origin::Protocol, weight) || self.0.passes(Origin::Library, weight),
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let origins = [Origin::Engine, Origin::Deliveries, Origin::Protocol, Origin::Library];
        let levels = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
        let wanted =
            levels.into_iter().find(|level| origins.iter().any(|origin| self.0.passes(*origin, weight(level))));
        Some(wanted.map_or(LevelFilter::OFF, LevelFilter::from_level))
    }
}

fn weight(level: &Level) -> Weight {
    match *level {
        Level::ERROR => Weight::Error,
        Level::WARN => Weight::Warn,
        Level::INFO => Weight::Info,
        Level::DEBUG => Weight::Debug,
        Level::TRACE => Weight::Trace,
    }
}

fn origin(metadata: &Metadata<'_>) -> Option<Origin> {
    let module = metadata.module_path()?;
    let within = |parts: &[&str]| parts.iter().any(|part| module.starts_with(part));
    Some(if within(&DELIVERIES) {
        Origin::Deliveries
    } else if module == "holdfast" || module.starts_with("holdfast::") {
        Origin::Engine
    } else if within(&PROTOCOL) {
        Origin::Protocol
    } else {
        Origin::Library
    })
}
