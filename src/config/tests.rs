//! Every variable is read as the table says, and mistakes are reported as they are meant to be.

mod documents;
mod rules;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::delivery::RetryPolicy;
use holdfast_core::fleet;
use proptest::prelude::*;

use super::table::{self, Kind, Variable};
use super::{Problem, Report, Settings, Severity};

/// For each variable with a syntax of its own a text that is wrong, but for a path, which can be any.
const WRONG: [(&str, &str); 25] = [
    ("CACHE_REDIS_CA_FILE", "/no/such/file.pem"),
    ("CACHE_REDIS_URI", "redis://cache/first"),
    ("CORS_METHODS", "GET,??"),
    ("CORS_ORIGIN", "https://a.example/"),
    ("DATABASE_CONNECTION_URI", "postgresql://nobody"),
    ("DATABASE_PROVIDER", "oracle"),
    ("LOG_LEVEL", "LOUD"),
    ("METRICS_ALLOWED_IPS", "here"),
    ("NODE_URL", "http://me:s3cret@node"),
    ("NOTIFY_SOCKET", "socket"),
    ("PROVIDER_DIR", "/dev/null"),
    ("PROVIDER_HOST", "http://provider:5656"),
    ("PROXY_HOST", "http://proxy.example"),
    ("RUST_LOG", "holdfast=loud"),
    ("SERVER_HOST", "not a host"),
    ("SERVER_URL", "here"),
    ("SESSION_ENCRYPTION_KEY", "short"),
    ("SESSION_ENCRYPTION_KEY_OLD", "short"),
    ("WATCHDOG_PID", "me"),
    ("WATCHDOG_USEC", "often"),
    ("WEBHOOK_ALLOWED_NETWORKS", "everywhere"),
    ("WEBHOOK_HMAC_KEY", "whsec_not-base64!"),
    ("WHATSAPP_WEBSOCKET_URL", "https://web.whatsapp.com"),
    ("WHATSAPP_WEB_VERSION", "newest"),
    ("CONFIG_SESSION_PHONE_NAME", "Lynx"),
];

#[test]
fn what_is_read_is_what_is_in_the_table() {
    let read = RefCell::new(BTreeSet::new());
    Settings::read(|name| {
        read.borrow_mut().insert(name.to_owned());
        None
    })
    .unwrap();
    let mut names: BTreeSet<String> = table::all().map(|variable| variable.name.to_owned()).collect();
    assert_eq!(names.len(), table::all().count(), "a variable is in the table twice");
    // How the platform is recognised.
    names.extend(["DOCKER_ENV", "KUBERNETES_SERVICE_HOST"].map(str::to_owned));
    assert_eq!(read.into_inner(), names);
}

#[test]
fn the_defaults_of_the_table_are_the_defaults() {
    let defaults: BTreeMap<&str, &str> = table::all().map(|variable| (variable.name, variable.default)).collect();
    let (unset, none) = Settings::read(|_| None).unwrap();
    let (given, problems) = Settings::read(|name| defaults.get(name).map(|value| (*value).to_owned())).unwrap();
    assert_eq!((none, problems), (Vec::new(), Vec::new()));
    assert_eq!(shown(given), shown(unset.clone()));
    let usual = fleet::Policy::default();
    assert_eq!(
        (unset.fleet.concurrency, unset.fleet.per_second, unset.fleet.outage_min),
        (usual.concurrency, usual.per_second, usual.outage_min)
    );
    assert_eq!(format!("{:?}", unset.webhook.retry), format!("{:?}", RetryPolicy::default()));
    assert_eq!(unset.policy.redial.base, Duration::from_secs(1));
    assert_eq!(unset.accepted_retention, Duration::from_secs(90 * 24 * 60 * 60));
}

#[test]
fn both_ends_of_every_range_are_taken_and_nothing_beyond() {
    let mut checked = 0;
    for variable in table::all() {
        let (from, to) = match variable.kind {
            Kind::Number { from, to } | Kind::Time { from, to, .. } => (from, to),
            Kind::MinutesOrFalse { to } => (0, to),
            Kind::Text
            | Kind::Form(_)
            | Kind::Flag
            | Kind::Fraction
            | Kind::Choice(_)
            | Kind::Choices(_)
            | Kind::List
            | Kind::Statuses
            | Kind::Color => continue,
        };
        let refused = |value: u64| found(variable.name, &value.to_string()).contains(&"cfg-out-of-range");
        assert!(!refused(from) && !refused(to), "{}", variable.name);
        assert!(refused(to + 1) && (from == 0 || refused(from - 1)), "{}", variable.name);
        checked += 1;
    }
    assert!(checked > 25, "only {checked} ranges are in the table");
}

#[test]
fn a_syntax_of_its_own_is_checked_for_each_variable_that_has_one() {
    for (name, text) in WRONG {
        assert!(!found(name, text).is_empty(), "{name}={text}");
    }
    let checked: BTreeSet<&str> = WRONG.iter().map(|(name, _)| *name).collect();
    let judged_here = |kind| matches!(kind, Kind::Form(_) | Kind::List | Kind::Choices(_));
    let all: BTreeSet<&str> =
        table::all().filter(|variable| judged_here(variable.kind)).map(|variable| variable.name).collect();
    assert_eq!(all.difference(&checked).copied().collect::<Vec<_>>(), ["DATA_DIR"]);
}

/// Judges a text again, in another way than the reader does; `None` where any text may be right.
fn is_right(variable: &Variable, text: &str) -> Option<bool> {
    let within = |from: u64, to: u64| text.parse::<u64>().is_ok_and(|number| number >= from && number <= to);
    Some(match variable.kind {
        Kind::Flag => ["true", "false"].contains(&text),
        Kind::Number { from, to } | Kind::Time { from, to, .. } => within(from, to),
        Kind::MinutesOrFalse { to } => text == "false" || within(0, to),
        Kind::Fraction => text.parse::<f64>().is_ok_and(|number| (0.0..=1.0).contains(&number)),
        Kind::Choice(choices) => choices.contains(&text),
        Kind::Choices(choices) => {
            let mut items = text.split(',').map(str::trim).filter(|item| !item.is_empty()).peekable();
            items.peek().is_some() && items.all(|item| choices.contains(&item))
        }
        Kind::Statuses => {
            text.split(',').all(|item| item.trim().parse::<u16>().is_ok_and(|status| status / 100 > 0 && status < 600))
        }
        Kind::Color => {
            text.len() == 7
                && u32::from_str_radix(text.trim_start_matches('#'), 16).is_ok()
                && text.starts_with('#')
                && !text.contains('+')
        }
        Kind::Text | Kind::Form(_) | Kind::List => return None,
    })
}

/// Texts of every kind: noise, numbers in and out of range, and what is right for some variable.
fn any_text() -> impl Strategy<Value = String> {
    let right = prop::sample::select(vec![
        "true",
        "false",
        "TRUE",
        "0",
        "1",
        "0.5",
        "-1",
        "1e3",
        "NaN",
        "inf",
        "#aabbcc",
        "text",
        "json",
        "debug",
        "ERROR,WARN",
        ",",
        "200,599",
        "postgresql://me@db/x",
        "sqlite://",
        "mysql://",
        "ws://127.0.0.1/",
        "2.3000.1",
        "whsec_",
        "private",
        "*",
        "socks5",
        "tcp://10.0.0.1:80",
    ]);
    prop_oneof![
        any::<String>(),
        "[ -~]{0,40}",
        any::<i128>().prop_map(|number| number.to_string()),
        right.prop_map(str::to_owned),
        any::<f64>().prop_map(|number| number.to_string())
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_text_for_any_variable_is_taken_or_found_and_never_panics(text in any_text()) {
        for variable in table::all() {
            let codes = found(variable.name, &text);
            let given = text.trim();
            if given.is_empty() {
                prop_assert!(codes.is_empty(), "{} is unset, and {codes:?}", variable.name);
            } else if is_right(variable, given) == Some(false) {
                prop_assert!(!codes.is_empty(), "{} takes {given:?}", variable.name);
            } else if is_right(variable, given) == Some(true) {
                prop_assert!(!codes.iter().any(|code| code.starts_with("cfg-not-a-") || *code == "cfg-out-of-range"), "{} refuses {given:?}: {codes:?}", variable.name);
            }
        }
    }

    #[test]
    fn any_text_for_all_variables_at_once_is_never_repeated(texts in prop::collection::vec(any_text(), 16), secret in "[a-z0-9]{12}") {
        let value = |name: &str| format!("{}s3cret-{secret}{}", texts[name.len() % 16], texts[(name.len() + 5) % 16]);
        let (_, report) = Settings::examine(&BTreeSet::new(), |name| Some(value(name)));
        for problem in &report.findings {
            prop_assert!(!format!("{problem} {problem:?}").contains(&secret), "{problem}");
        }
        let secrets = report.values.iter().filter(|shown| table::all().any(|variable| variable.name == shown.name && variable.secret));
        for shown in secrets {
            prop_assert_eq!(shown.value.as_deref(), Some("[hidden]"));
        }
    }
}

#[test]
fn all_mistakes_are_reported_at_once_and_no_value_is_repeated() {
    const WRONG: &str = "s3cret-f00";
    let found = problems(|_| Some(WRONG.to_owned()));
    let named: BTreeSet<&str> = found.iter().map(|problem| problem.variable.as_ref()).collect();
    for variable in table::all().filter(|variable| is_right(variable, WRONG) == Some(false)) {
        assert!(named.contains(variable.name), "{}", variable.name);
    }
    assert!(found.is_sorted_by_key(|problem| problem.severity), "the worst first");
    for problem in &found {
        assert!(!problem.to_string().contains(WRONG), "{problem}");
        assert!(problem.code.starts_with("cfg-"), "{problem}");
    }
}

#[test]
fn names_that_are_nearly_right_are_told_which_was_meant() {
    let meant = |name: &str| {
        let report = examined(&[(name, "1")]);
        let said = report.findings.iter().find(|problem| problem.variable == name).map(ToString::to_string);
        said.and_then(|said| Some(said.split_once("did you mean ")?.1.split_once('?')?.0.to_owned()))
    };
    for (written, right) in [
        ("SERVER_PROT", "SERVER_PORT"),
        ("server_port", "SERVER_PORT"),
        ("DATABASE_CONNECTION_URL", "DATABASE_CONNECTION_URI"),
        ("DATABASE_CONECTION_CLIENT_NAME", "DATABASE_CONNECTION_CLIENT_NAME"),
        ("HEALTH-CHECK-INTERVAL-SECONDS", "HEALTH_CHECK_INTERVAL_SECONDS"),
        ("RECONNECT_MAX_SECS", "RECONNECT_MAX_SECONDS"),
        ("LOG_LEVELS", "LOG_LEVEL"),
    ] {
        assert_eq!(meant(written).as_deref(), Some(right), "{written}");
    }
    for other in [
        "PATH",
        "HOME",
        "LANG",
        "SHELL",
        "HOSTNAME",
        "NODE_ENV",
        "TERM",
        "PWD",
        "LOGNAME",
        "POSTGRES_PASSWORD",
        "NODE_VERSION",
    ] {
        assert_eq!(meant(other), None, "{other}");
    }
    let both = examined(&[("LOG_LEVELS", "ERROR"), ("LOG_LEVEL", "ERROR")]);
    assert!(both.findings.is_empty(), "what was meant is set: {:?}", both.findings);
}

#[test]
fn what_evolution_has_and_this_engine_has_not_is_named_once_with_what_there_is_instead() {
    let report = examined(&[
        ("RABBITMQ_ENABLED", "true"),
        ("RABBITMQ_URI", "amqp://me:s3cret@mq"),
        ("RABBITMQ_EVENTS_CALL", "false"),
    ]);
    let [found] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
    assert_eq!(
        (found.code, found.severity, found.variable.as_ref()),
        ("cfg-not-honoured", Severity::Warning, "RABBITMQ_ENABLED")
    );
    let said = found.to_string();
    assert!(said.contains("RABBITMQ_URI") && said.contains("/webhook/set") && !said.contains("s3cret"), "{said}");

    let idle = examined(&[
        ("RABBITMQ_ENABLED", "false"),
        ("TELEMETRY_ENABLED", "true"),
        ("LANGUAGE", "en"),
        ("SERVER_TYPE", "http"),
    ]);
    let [found] = idle.findings.as_slice() else { panic!("{:?}", idle.findings) };
    assert_eq!((found.code, found.severity), ("cfg-idle", Severity::Recommendation));

    for (name, value) in [
        ("SERVER_TYPE", "https"),
        ("CHATWOOT_ENABLED", "true"),
        ("S3_ENABLED", "true"),
        ("DATABASE_SAVE_DATA_NEW_MESSAGE", "true"),
    ] {
        let found = examined(&[(name, value)]).findings;
        assert!(found.len() == 1 && found[0].variable == name && found[0].severity == Severity::Warning, "{found:?}");
    }
}

#[test]
fn the_report_shows_what_is_in_force_and_no_secret() {
    let set = [
        ("SERVER_PORT", "9090"),
        ("AUTHENTICATION_API_KEY", "s3cret-key-of-a-service"),
        ("SERVER_URL", "https://me:s3cret@api.example"),
        ("QRCODE_LIMIT", "5"),
    ];
    let view = examined(&set).view();
    let value =
        |name: &str| view["values"].as_array().unwrap().iter().find(|value| value["name"] == name).unwrap().clone();
    assert_eq!((&value("SERVER_PORT")["value"], &value("SERVER_PORT")["set"]), (&"9090".into(), &true.into()));
    assert_eq!(value("SHUTDOWN_TIMEOUT_SECONDS")["unit"], "seconds");
    assert_eq!(value("AUTHENTICATION_API_KEY")["value"], "[hidden]");
    assert!(!view.to_string().contains("s3cret"), "{view}");
    let ranked = |rank: &str| {
        view[rank]
            .as_array()
            .unwrap()
            .iter()
            .map(|value| value["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ranked("critical"), ["DATABASE_CONNECTION_CLIENT_NAME", "DATABASE_SAVE_DATA_INSTANCE"]);
    assert!(ranked("recommended").contains(&"QRCODE_LIMIT".to_owned()));
    assert!(!view.to_string().contains("](") && !view.to_string().contains('`'), "no marks of the documentation");
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
        let told: Vec<&str> = problems.iter().map(|problem| problem.code).collect();
        let usual = ["cfg-client-name", "cfg-node-url-unset"];
        assert!(settings.database.file().is_none() && told.iter().all(|code| usual.contains(code)), "{told:?}");
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
fn the_address_of_a_node_is_one_that_others_can_ask() {
    let read = |url: &str| Settings::read(|name| (name == "NODE_URL").then(|| url.to_owned()));
    for url in ["http://10.0.0.7:8080", "https://node-a.internal/holdfast/", "http://[fd00::1]:8080"] {
        let (settings, problems) = read(url).unwrap();
        assert!(settings.node_url.is_some() && problems.is_empty(), "{url}");
    }
    for url in [
        "10.0.0.7:8080",
        "node-a",
        "ftp://host",
        "http://",
        "http://me:s3cret@host",
        "http://host/?k=s3cret",
        "http://host/#s3cret",
    ] {
        let found = read(url).unwrap_err();
        let codes: Vec<&str> = found.iter().map(|problem| problem.code).collect();
        assert!(codes == ["cfg-node-url"] && !found[0].to_string().contains("s3cret"), "{url}: {found:?}");
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
        found.into_iter().map(|problem| (problem.variable.to_string(), problem.code)).collect::<Vec<_>>()
    };
    let named = |expected: &[(&str, &'static str)]| {
        expected.iter().map(|(name, code)| ((*name).to_owned(), *code)).collect::<Vec<_>>()
    };
    let host = ("PROXY_HOST", "proxy.example");
    assert_eq!(found(&[host]), named(&[]));
    assert_eq!(found(&[host, ("PROXY_PROTOCOL", "socks5"), ("PROXY_PORT", "1080")]), named(&[]));
    assert_eq!(found(&[("PROXY_USERNAME", "me")]), named(&[("PROXY_HOST", "cfg-proxy-incomplete")]));
    assert_eq!(found(&[("PROXY_PASSWORD", "s3cret")]), named(&[("PROXY_HOST", "cfg-proxy-incomplete")]));
    assert_eq!(found(&[host, ("PROXY_PASSWORD", "s3cret")]), named(&[("PROXY_USERNAME", "cfg-proxy")]));
    assert_eq!(found(&[("PROXY_HOST", "http://proxy.example")]), named(&[("PROXY_HOST", "cfg-proxy")]));
    assert_eq!(found(&[host, ("PROXY_PROTOCOL", "https")]), named(&[("PROXY_PROTOCOL", "cfg-not-a-choice")]));
    let socks = [host, ("PROXY_PROTOCOL", "socks"), ("PROXY_USERNAME", "me")];
    assert_eq!(found(&socks), named(&[("PROXY_PASSWORD", "cfg-proxy")]));

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
    assert_eq!(shown(empty), shown(Settings::read(|_| None).unwrap().0));
}

/// The settings, whoever has set them.
fn shown(settings: Settings) -> String {
    format!("{:?}", Settings { report: Arc::default(), ..settings })
}

fn problems(lookup: impl Fn(&str) -> Option<String>) -> Vec<Problem> {
    Settings::examine(&BTreeSet::new(), lookup).1.findings.clone()
}

/// The codes that are found about one variable if it alone is set.
fn found(name: &str, text: &str) -> Vec<&'static str> {
    let found = problems(|asked| (asked == name).then(|| text.to_owned()));
    found.into_iter().filter(|problem| problem.variable == name).map(|problem| problem.code).collect()
}

/// What is found in an environment of these variables.
fn examined(set: &[(&str, &str)]) -> Report {
    let names = set.iter().map(|(name, _)| (*name).to_owned()).collect();
    let lookup = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    (*Settings::examine(&names, lookup).1).clone()
}
