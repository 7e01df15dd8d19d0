//! What only a look at the world shows: disks, the database, places for copies, and the way to WhatsApp. Nothing is changed, and nobody logs in.

pub(super) mod copies;
mod space;
mod stored;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tracing::warn;

use super::data_dir::{SessionKeys, read_session_keys};
use super::{set_session_keys, wiring};
use crate::config::{Place, Problem, Settings, Severity};
use crate::ports::clock::Clock;
use crate::ports::store::StoreError;
use crate::ports::tenure::Tenure;
use crate::store::{Look, Looking, PoolOptions, Server, look};
use crate::whatsapp::reach;

/// Connections to a server beside those of the pool: one brings the database into shape.
const BESIDE_POOL: u64 = 1;
/// Tokens and deadlines do not bear more.
const MOST_SKEW: Duration = Duration::from_secs(5);

/// What was seen around.
#[derive(Debug, Clone, Default)]
pub struct Around {
    pub findings: Vec<Problem>,
    /// What the database holds, if it could be read.
    pub database: Option<Look>,
}

/// Looks at everything that the settings name.
pub async fn live(settings: &Settings) -> Around {
    let mut findings = space::data_dir(&settings.data_dir);
    let keys = keys(settings);
    let (stored, database) = database(settings, keys.as_ref()).await;
    findings.extend(stored);
    findings.extend(copies::redis(settings, keys.as_ref()).await);
    findings.extend(copies::files(settings).await);
    findings.extend(whatsapp(settings).await);
    Around { findings, database }
}

/// Looks at the disk under the data directory, or under where it would be.
pub fn disk(data_dir: &Path) -> Vec<Problem> {
    space::data_dir(data_dir)
}

/// Says what is wrong in the log.
pub fn complain(problems: &[Problem]) {
    for problem in problems.iter().filter(|problem| problem.severity < Severity::Recommendation) {
        warn!(code = problem.code, variable = &*problem.variable, "{}; {}", problem.sentence, problem.fix);
    }
}

/// Looks for what is stored and not done, says it in the log, and adds it to what was found about the settings.
pub(super) async fn note_what_is_stored(settings: &Settings, keys: &SessionKeys) {
    match seen(settings, Some(keys)).await {
        Ok(look) => {
            let found = stored::judge(&look, &settings.webhook.networks);
            complain(&found);
            settings.report.note_stored(found);
        }
        Err(error) => warn!("What is stored and not done here could not be looked for: {}", error.whole()),
    }
}

/// Returns the session keys, if there are any yet.
fn keys(settings: &Settings) -> Option<SessionKeys> {
    set_session_keys(settings).or_else(|| read_session_keys(&settings.data_dir).ok())
}

async fn database(settings: &Settings, keys: Option<&SessionKeys>) -> (Vec<Problem>, Option<Look>) {
    match seen(settings, keys).await {
        Ok(seen) => {
            let now = Clock::start().wall().timestamp_millis();
            let mut found = judge(&seen, settings.database.pool_size as u64, now);
            found.extend(stored::judge(&seen, &settings.webhook.networks));
            (found, Some(seen))
        }
        Err(error) => {
            let found = Problem::new(
                Severity::Error,
                "live-database-unreachable",
                "DATABASE_CONNECTION_URI",
                error.whole(),
                "start the database and check address, user and password; nothing is dialled before it answers",
            );
            (vec![found], None)
        }
    }
}

/// Looks at the database.
///
/// # Errors
/// If it is not reached, or cannot be read.
pub async fn rows(settings: &Settings) -> Result<Look, StoreError> {
    seen(settings, keys(settings).as_ref()).await
}

async fn seen(settings: &Settings, keys: Option<&SessionKeys>) -> Result<Look, StoreError> {
    let database = &settings.database;
    let url = match &database.place {
        Place::File(path) => path.display().to_string(),
        Place::Server(address) => address.expose_secret().to_owned(),
    };
    let pool = PoolOptions {
        size: database.pool_size,
        connect_timeout: database.connect_timeout,
        statement_timeout: database.statement_timeout,
    };
    let key = keys.map(SessionKeys::encryption_key);
    look(&Looking { url: &url, pool, client_name: &database.client_name, key: key.as_ref() }).await
}

/// Judges what was seen of a database.
fn judge(seen: &Look, pool: u64, now_ms: i64) -> Vec<Problem> {
    let mut found = Vec::new();
    if seen.other_key {
        found.push(Problem::new(
            Severity::Error,
            "live-database-other-key",
            "SESSION_ENCRYPTION_KEY",
            "what is secret in the database is under another session key: it is another installation's, or the key was lost or replaced",
            "set the key of this database, or bring DATA_DIR/session-key back; a key is changed with `holdfast rotate-key`. Another installation takes another database",
        ));
    }
    if seen.instances.is_empty() && !seen.others.is_empty() {
        let others: u64 = seen.others.iter().map(|(_, count)| count).sum();
        found.push(Problem::new(
            Severity::Warning,
            "live-database-other-names",
            "DATABASE_CONNECTION_CLIENT_NAME",
            format!("there is no instance of this client name in the database, and {others} of other names"),
            "set the name under which they were made, or take a database of your own if they are another installation's",
        ));
    }
    if let Some(newer) = &seen.newer {
        found.push(Problem::new(
            Severity::Error,
            "live-database-newer",
            "DATABASE_CONNECTION_URI",
            format!("a newer version of Holdfast has changed the database (migration {newer})"),
            "run that version, or restore a backup that is older",
        ));
    } else if seen.pending > 0 {
        found.push(Problem::new(
            Severity::Recommendation,
            "live-database-older",
            "DATABASE_CONNECTION_URI",
            format!("the next start brings the database into shape, in {} steps", seen.pending),
            "take a backup before it, if there is something in it",
        ));
    }
    let Some(Server { most, taken, clock_ms }) = seen.server else { return found };
    if pool + BESIDE_POOL > most.saturating_sub(taken) {
        found.push(Problem::new(
            Severity::Warning,
            "live-database-connections",
            "DATABASE_POOL_SIZE",
            format!(
                "the pool may have {pool} connections; the server takes {most} in all, of which others have {taken}"
            ),
            "set DATABASE_POOL_SIZE lower, or max_connections of the server higher",
        ));
    }
    found.extend(skew("DATABASE_CONNECTION_URI", "the database", now_ms, clock_ms));
    found
}

/// Compares this host's clock with another.
fn skew(variable: &'static str, whose: &str, now_ms: i64, clock_ms: i64) -> Option<Problem> {
    let apart = now_ms.abs_diff(clock_ms);
    (apart > MOST_SKEW.as_millis() as u64).then(|| {
        Problem::new(
            Severity::Warning,
            "live-clock-skew",
            variable,
            format!("the clocks of this host and of {whose} are {} seconds apart", apart / 1000),
            "let both follow a time server",
        )
    })
}

async fn whatsapp(settings: &Settings) -> Vec<Problem> {
    let Err(unreached) = Box::pin(reach(&wiring::link_settings(settings, Arc::new(Tenure::forever())))).await else {
        return Vec::new();
    };
    let (variable, fix) = match (unreached.why.proxy_fault(), &settings.whatsapp.url) {
        (Some(_), _) => ("PROXY_HOST", "check the proxy, or unset PROXY_HOST to connect directly"),
        (None, Some(_)) => ("WHATSAPP_WEBSOCKET_URL", "correct it, or unset it to dial WhatsApp itself"),
        (None, None) => {
            ("WHATSAPP_WEBSOCKET_URL", "let this host resolve and reach web.whatsapp.com on port 443, or set a proxy")
        }
    };
    let why = unreached.why.sentence();
    let sentence =
        format!("WhatsApp is not reached from here ({}): {}", unreached.why.code(), why.trim_end_matches('.'));
    vec![Problem::new(Severity::Warning, "live-whatsapp-unreachable", variable, sentence, fix)]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn codes(seen: &Look) -> Vec<&'static str> {
        judge(seen, 10, 1_000_000).iter().map(|problem| problem.code).collect()
    }

    #[test]
    fn a_database_is_judged_by_its_shape_its_connections_and_its_clock() {
        let server = |most, taken, clock_ms| Look { server: Some(Server { most, taken, clock_ms }), ..Look::default() };
        assert_eq!(codes(&Look::default()), [""; 0]);
        assert_eq!(codes(&server(100, 20, 1_004_000)), [""; 0]);
        assert_eq!(codes(&server(11, 0, 1_000_000)), [""; 0]);
        assert_eq!(codes(&server(11, 1, 1_000_000)), ["live-database-connections"]);
        assert_eq!(codes(&server(100, 20, 1_006_000)), ["live-clock-skew"]);
        assert_eq!(codes(&server(100, 20, 0)), ["live-clock-skew"]);
        assert_eq!(codes(&Look { pending: 2, ..Look::default() }), ["live-database-older"]);
        let newer = Look { newer: Some("2099".to_owned()), pending: 1, ..Look::default() };
        assert_eq!(codes(&newer), ["live-database-newer"]);
        let others = Look { others: vec![("evolution".to_owned(), 3)], ..Look::default() };
        assert_eq!(codes(&others), ["live-database-other-names"]);
        assert_eq!(codes(&Look { other_key: true, ..Look::default() }), ["live-database-other-key"]);
    }

    #[test]
    fn every_code_of_a_look_around_is_documented_and_no_other() {
        let sources = [
            include_str!("checkup.rs"),
            include_str!("checkup/copies.rs"),
            include_str!("checkup/space.rs"),
            include_str!("checkup/stored.rs"),
            include_str!("../cli/doctor/comparison.rs"),
            include_str!("../cli/doctor/diagnosis.rs"),
        ];
        let page = include_str!("../../docs/operating.md");
        let table = page.split("\n## Is the setup right").nth(1).and_then(|rest| rest.split("\n### ").next()).unwrap();
        let rows: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next()).collect();
        for begin in ["live-", "stored-"] {
            let codes = |text: &str, before: char| -> BTreeSet<String> {
                let written = format!("{before}{begin}");
                let begins = text.match_indices(&written).map(|(at, _)| &text[at + 1..]);
                let code = |rest: &str| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
                begins.map(code).filter(|code: &String| code != begin).collect()
            };
            let used: BTreeSet<String> =
                sources.iter().flat_map(|source| codes(source.split("mod tests").next().unwrap(), '"')).collect();
            let documented: BTreeSet<String> = rows.iter().flat_map(|row| codes(&format!("`{row}"), '`')).collect();
            assert_eq!(documented, used);
        }
    }
}
