//! The documents say what the code reads, and mistakes are reported as they are meant to be.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Problem, Settings};

const REFERENCE: &str = include_str!("../../docs/configuration.md");
const EXAMPLE: &str = include_str!("../../.env.example");

/// What no single text can be wrong for, or what is judged elsewhere.
const ANY_TEXT: [&str; 21] = [
    "AUTHENTICATION_API_KEY",
    "CONFIG_SESSION_PHONE_CLIENT",
    "CONFIG_SESSION_PHONE_NAME",
    "CORS_METHODS",
    "CORS_ORIGIN",
    "DATABASE_CONNECTION_CLIENT_NAME",
    "DATABASE_CONNECTION_URI",
    "DATABASE_SAVE_DATA_INSTANCE",
    "DATA_DIR",
    "METRICS_PASSWORD",
    "METRICS_USER",
    "NODE_ID",
    "NOTIFY_SOCKET",
    "PROXY_HOST",
    "PROXY_PASSWORD",
    "PROXY_USERNAME",
    "SERVER_HOST",
    "SERVER_URL",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "WEBHOOK_HMAC_KEY",
];

#[test]
fn the_reference_and_the_example_name_exactly_what_is_read() {
    let read = RefCell::new(BTreeSet::new());
    Settings::read(|name| {
        read.borrow_mut().insert(name.to_owned());
        None
    })
    .unwrap();
    let read = read.into_inner();
    assert_eq!(reference().into_keys().map(str::to_owned).collect::<BTreeSet<_>>(), read);
    assert_eq!(example().into_keys().map(str::to_owned).collect::<BTreeSet<_>>(), read);
}

#[test]
fn the_documented_defaults_are_the_defaults() {
    let (example, reference) = (example(), reference());
    for (name, (default, _)) in &reference {
        assert_eq!(example.get(name), Some(default), "{name} in .env.example");
    }
    let (unset, none) = Settings::read(|_| None).unwrap();
    let (given, problems) = Settings::read(|name| example.get(name).map(|value| (*value).to_owned())).unwrap();
    assert_eq!((none, problems), (Vec::new(), Vec::new()));
    assert_eq!(format!("{given:?}"), format!("{unset:?}"));
}

#[test]
fn the_documented_ranges_are_the_ranges() {
    let mut checked = 0;
    for (name, (_, range)) in reference() {
        let bounds = range
            .split_once(" to ")
            .and_then(|(low, high)| Some((low.parse::<u64>().ok()?, high.parse::<u64>().ok()?)));
        let Some((low, high)) = bounds else { continue };
        let refused = |value: u64| {
            let found = problems(|asked| (asked == name).then(|| value.to_string()));
            found.iter().any(|problem| {
                problem.variable == name && ["cfg-out-of-range", "cfg-not-a-number"].contains(&problem.code)
            })
        };
        assert!(!refused(low) && !refused(high), "{name} takes {range}");
        assert!(refused(high + 1), "{name} takes more than {range}");
        assert!(low == 0 || refused(low - 1), "{name} takes less than {range}");
        checked += 1;
    }
    assert!(checked > 15, "only {checked} ranges were found in docs/configuration.md");
}

#[test]
fn all_mistakes_are_reported_at_once_and_no_value_is_repeated() {
    const WRONG: &str = "s3cret-f00";
    let found = problems(|_| Some(WRONG.to_owned()));
    let mut named: Vec<&str> = found.iter().map(|problem| problem.variable).collect();
    named.sort_unstable();
    let expected: Vec<&str> = reference().into_keys().filter(|name| !ANY_TEXT.contains(name)).collect();
    assert_eq!(named, expected, "each once");
    for problem in &found {
        assert!(!problem.to_string().contains(WRONG), "{problem}");
        assert!(problem.code.starts_with("cfg-"), "{problem}");
    }
}

#[test]
fn a_database_of_another_kind_is_refused_without_its_password() {
    for uri in ["postgresql://me:s3cret@db", "mysql://me:s3cret@db/evolution", "mongodb://me:s3cret@db"] {
        let found = problems(|name| (name == "DATABASE_CONNECTION_URI").then(|| uri.to_owned()));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(!found.iter().any(|problem| problem.to_string().contains("s3cret")), "{found:?}");
    }
}

#[test]
fn a_provider_and_an_address_must_fit_each_other() {
    let read = |provider: Option<&str>, uri: Option<&str>| {
        Settings::read(|name| match name {
            "DATABASE_PROVIDER" => provider.map(str::to_owned),
            "DATABASE_CONNECTION_URI" => uri.map(str::to_owned),
            _ => None,
        })
    };
    const SERVER: &str = "postgresql://me:s3cret@db:5432/evolution?schema=evolution_api";
    for provider in [None, Some("postgresql"), Some("psql_bouncer")] {
        let (settings, problems) = read(provider, Some(SERVER)).unwrap();
        assert!(settings.database.file().is_none() && problems.is_empty());
        assert!(!format!("{settings:?}").contains("s3cret"));
    }
    for (provider, uri) in [
        (Some("postgresql"), None),
        (Some("psql_bouncer"), Some("sqlite://a.db")),
        (Some("sqlite"), Some(SERVER)),
        (Some("mysql"), Some(SERVER)),
    ] {
        let found = read(provider, uri).unwrap_err();
        assert!(found.len() == 1 && !found[0].to_string().contains("s3cret"), "{found:?}");
    }
}

#[test]
fn a_key_for_webhooks_is_never_shown() {
    let found = problems(|name| (name == "WEBHOOK_HMAC_KEY").then(|| "whsec_s3cret!".to_owned()));
    assert_eq!(found.iter().map(|problem| problem.code).collect::<Vec<_>>(), ["cfg-hmac-key"]);
    assert!(!format!("{found:?}").contains("s3cret"));
    let (settings, _) = Settings::read(|name| (name == "WEBHOOK_HMAC_KEY").then(|| "s3cret".to_owned())).unwrap();
    assert!(settings.webhook.signing_key.is_some() && !format!("{settings:?}").contains("s3cret"));
}

#[test]
fn a_proxy_that_is_half_set_keeps_the_engine_from_starting() {
    let found = |set: &[(&str, &str)]| {
        let found = problems(|name| set.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned()));
        found.into_iter().map(|problem| (problem.variable, problem.code)).collect::<Vec<_>>()
    };
    let host = ("PROXY_HOST", "proxy.example");
    assert_eq!(found(&[host]), []);
    assert_eq!(found(&[host, ("PROXY_PROTOCOL", "socks5"), ("PROXY_PORT", "1080")]), []);
    assert_eq!(found(&[("PROXY_USERNAME", "me")]), [("PROXY_HOST", "cfg-proxy-incomplete")]);
    assert_eq!(found(&[("PROXY_PASSWORD", "s3cret")]), [("PROXY_HOST", "cfg-proxy-incomplete")]);
    assert_eq!(found(&[host, ("PROXY_PASSWORD", "s3cret")]), [("PROXY_USERNAME", "cfg-proxy")]);
    assert_eq!(found(&[("PROXY_HOST", "http://proxy.example")]), [("PROXY_HOST", "cfg-proxy")]);
    assert_eq!(found(&[host, ("PROXY_PROTOCOL", "https")]), [("PROXY_PROTOCOL", "cfg-not-a-choice")]);
    let socks = [host, ("PROXY_PROTOCOL", "socks"), ("PROXY_USERNAME", "me")];
    assert_eq!(found(&socks), [("PROXY_PASSWORD", "cfg-proxy")]);

    let set = [host, ("PROXY_USERNAME", "s3cret-me"), ("PROXY_PASSWORD", "s3cret-pw")];
    let lookup = |name: &str| set.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
    let (settings, _) = Settings::read(lookup).unwrap();
    assert!(settings.whatsapp.proxy.is_some() && !format!("{settings:?}").contains("s3cret"));
}

#[test]
fn only_a_number_of_minutes_deletes_what_nobody_paired() {
    let minutes = |number: u64| Some(Duration::from_secs(number * 60));
    let warned = ["cfg-del-instance"].as_slice();
    for (text, after, told) in [
        ("false", None, [].as_slice()),
        ("0", None, &[]),
        ("15", minutes(15), &[]),
        (" 15 ", minutes(15), &[]),
        ("525600", minutes(525_600), &[]),
        // Evolution disables it for these, and an operator who means minutes is told.
        ("true", None, warned),
        ("15m", None, warned),
        ("1.5", None, warned),
        ("yes", None, warned),
    ] {
        let lookup = |name: &str| (name == "DEL_INSTANCE").then(|| text.to_owned());
        let (settings, problems) = Settings::read(lookup).unwrap();
        let codes: Vec<&str> = problems.iter().map(|problem| problem.code).collect();
        assert_eq!((settings.expire_unpaired, codes.as_slice()), (after, told), "{text}");
    }
    for text in ["-1", "525601", "99999999999999999999"] {
        let found = problems(|name| (name == "DEL_INSTANCE").then(|| text.to_owned()));
        assert_eq!(found.len(), 1, "{text}");
        assert!(text.len() > 10 || found[0].code == "cfg-out-of-range", "{found:?}");
    }
}

#[test]
fn an_empty_value_counts_as_unset() {
    let (empty, problems) = Settings::read(|_| Some("  ".to_owned())).unwrap();
    assert_eq!(problems, Vec::new());
    assert_eq!(format!("{empty:?}"), format!("{:?}", Settings::read(|_| None).unwrap().0));
}

fn problems(lookup: impl Fn(&str) -> Option<String>) -> Vec<Problem> {
    match Settings::read(lookup) {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    }
}

/// The tables of the reference: each variable with its default and its range.
fn reference() -> BTreeMap<&'static str, (&'static str, &'static str)> {
    let rows = REFERENCE.lines().filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, default, range, _meaning] = cells.as_slice() else { return None };
        let name = name.strip_prefix('`')?.strip_suffix('`')?;
        let default = if *default == "unset" { "" } else { default.trim_matches('`') };
        Some((name, (default, *range)))
    });
    let found: Vec<_> = rows.collect();
    let table: BTreeMap<_, _> = found.iter().copied().collect();
    assert_eq!(table.len(), found.len(), "a variable is documented twice");
    table
}

/// The lines of the example, as they are once their `#` is taken away.
fn example() -> BTreeMap<&'static str, &'static str> {
    let lines = EXAMPLE.lines().filter_map(|line| line.strip_prefix('#')?.split_once('='));
    lines.filter(|(name, _)| !name.starts_with(' ')).map(|(name, value)| (name, value.trim_matches('"'))).collect()
}
