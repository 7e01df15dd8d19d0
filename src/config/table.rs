//! Every variable in one table: how it is read, what it is unless set, and what it means.
//!
//! The reader, the checks, `docs/configuration.md`, `.env.example` and `holdfast check-config` all come from here. A new variable is one entry in
//! the file of its group, and a call of the [reader](super::reader) that names it.

/// Makes a constant of each variable, and the list of the group.
macro_rules! variables {
    ($group:ident: $($name:ident = $make:ident($($argument:expr),*) $(.$detail:ident($($value:expr),*))*;)+) => {
        $(pub(in crate::config) const $name: Variable = $make($($argument),*)$(.$detail($($value),*))*.named(stringify!($name));)+

        /// The variables, in the order of the documentation.
        pub(super) static $group: &[Variable] = &[$($name),+];
    };
}

mod connections;
mod layers;
mod logs;
mod service;
mod store;
mod webhooks;
mod whatsapp;

pub(super) use self::connections::*;
pub(super) use self::layers::*;
pub(super) use self::logs::*;
pub(super) use self::service::*;
pub(super) use self::store::*;
pub(super) use self::webhooks::*;
pub(super) use self::whatsapp::*;

/// The groups, in the order of the documentation.
pub(super) static GROUPS: [Group; 7] = [
    Group { title: "Service", variables: SERVICE },
    Group { title: "Logs", variables: LOGS },
    Group { title: "Store", variables: STORE },
    Group { title: "Copies of sessions", variables: LAYERS },
    Group { title: "WhatsApp", variables: WHATSAPP },
    Group { title: "Connections", variables: CONNECTIONS },
    Group { title: "Webhooks", variables: WEBHOOKS },
];

/// Variables that belong together.
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) variables: &'static [Variable],
}

/// One variable of the environment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variable {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What it is unless set, as it would be written; empty if it is nothing then.
    pub(super) default: &'static str,
    pub(super) meaning: &'static str,
    /// Whether its value is never shown.
    pub(super) secret: bool,
    pub(super) rank: Option<Rank>,
}

/// How a value is written, and what is taken.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// A text with a syntax of its own, which is checked where it is read.
    Form(&'static str),
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Number { from: u64, to: u64 },
    /// A whole number of units of time.
    Time { unit: Unit, from: u64, to: u64 },
    /// A number of minutes, or `false`.
    MinutesOrFalse { to: u64 },
    /// A number from 0 to 1.
    Fraction,
    /// One of these.
    Choice(&'static [&'static str]),
    /// Some of these, with commas between them.
    Choices(&'static [&'static str]),
    /// Texts with commas between them.
    List,
    /// HTTP statuses with commas between them.
    Statuses,
    /// `#rrggbb`.
    Color,
}

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Milliseconds,
    Seconds,
    Hours,
    Days,
}

impl Unit {
    /// Returns its length in milliseconds.
    pub(super) fn millis(self) -> u64 {
        match self {
            Self::Milliseconds => 1,
            Self::Seconds => 1000,
            Self::Hours => 60 * 60 * 1000,
            Self::Days => 24 * 60 * 60 * 1000,
        }
    }

    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Milliseconds => "milliseconds",
            Self::Seconds => "seconds",
            Self::Hours => "hours",
            Self::Days => "days",
        }
    }
}

/// How much depends on a variable, and how it is best set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    /// Instances are lost or mixed up if it is wrong.
    Critical(&'static str),
    /// Worth a look before a service goes into production.
    Recommended(&'static str),
}

impl Variable {
    const fn of(kind: Kind, default: &'static str) -> Self {
        Self { name: "", kind, default, meaning: "", secret: false, rank: None }
    }

    const fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    const fn or(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    const fn means(self, meaning: &'static str) -> Self {
        Self { meaning, ..self }
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    const fn critical(self, advice: &'static str) -> Self {
        Self { rank: Some(Rank::Critical(advice)), ..self }
    }

    const fn recommended(self, advice: &'static str) -> Self {
        Self { rank: Some(Rank::Recommended(advice)), ..self }
    }

    /// Says what may be written, in the words of the documentation.
    pub(super) fn range(&self) -> String {
        let any_of =
            |choices: &[&str]| choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", ");
        match self.kind {
            Kind::Text => "any text".to_owned(),
            Kind::Form(form) => form.to_owned(),
            Kind::Flag => "`true` or `false`".to_owned(),
            Kind::Number { from, to } => format!("{from} to {to}"),
            Kind::Time { unit, from, to } => format!("{from} to {to} {}", unit.plural()),
            Kind::MinutesOrFalse { to } => format!("0 to {to} minutes, or `false`"),
            Kind::Fraction => "a number from 0 to 1".to_owned(),
            Kind::Choice(choices) => any_of(choices),
            Kind::Choices(choices) => format!("some of {}, with commas between them", any_of(choices)),
            Kind::List => "a list, with commas between".to_owned(),
            Kind::Statuses => "HTTP statuses, with commas between".to_owned(),
            Kind::Color => "`#rrggbb`".to_owned(),
        }
    }
}

const fn text() -> Variable {
    Variable::of(Kind::Text, "")
}

const fn form(form: &'static str) -> Variable {
    Variable::of(Kind::Form(form), "")
}

const fn flag(default: bool) -> Variable {
    Variable::of(Kind::Flag, if default { "true" } else { "false" })
}

const fn number(default: &'static str, from: u64, to: u64) -> Variable {
    Variable::of(Kind::Number { from, to }, default)
}

const fn time(unit: Unit, default: &'static str, from: u64, to: u64) -> Variable {
    Variable::of(Kind::Time { unit, from, to }, default)
}

const fn millis(default: &'static str, from: u64, to: u64) -> Variable {
    time(Unit::Milliseconds, default, from, to)
}

const fn seconds(default: &'static str, from: u64, to: u64) -> Variable {
    time(Unit::Seconds, default, from, to)
}

const fn hours(default: &'static str, from: u64, to: u64) -> Variable {
    time(Unit::Hours, default, from, to)
}

const fn days(default: &'static str, from: u64, to: u64) -> Variable {
    time(Unit::Days, default, from, to)
}

const fn minutes_or_false(to: u64) -> Variable {
    Variable::of(Kind::MinutesOrFalse { to }, "false")
}

const fn fraction(default: &'static str) -> Variable {
    Variable::of(Kind::Fraction, default)
}

/// The first is the default.
const fn choice(choices: &'static [&'static str]) -> Variable {
    Variable::of(Kind::Choice(choices), choices[0])
}

const fn choices(choices: &'static [&'static str]) -> Variable {
    Variable::of(Kind::Choices(choices), "")
}

const fn list(default: &'static str) -> Variable {
    Variable::of(Kind::List, default)
}

const fn statuses(default: &'static str) -> Variable {
    Variable::of(Kind::Statuses, default)
}

const fn color(default: &'static str) -> Variable {
    Variable::of(Kind::Color, default)
}

/// Returns every variable, in the order of the documentation.
pub(super) fn all() -> impl Iterator<Item = &'static Variable> {
    GROUPS.iter().flat_map(|group| group.variables)
}

/// Tells whether a variable is read.
pub(super) fn knows(name: &str) -> bool {
    all().any(|variable| variable.name == name)
}
