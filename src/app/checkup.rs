//! What only a look at the world shows: the disk, the database and the way to WhatsApp. Nothing is changed, and nobody logs in.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::statvfs;
use secrecy::ExposeSecret;

use super::wiring;
use crate::config::{Place, Problem, Settings, Severity};
use crate::ports::clock::Clock;
use crate::ports::store::StoreError;
use crate::ports::tenure::Tenure;
use crate::store::{Look, PoolOptions, Server, look};
use crate::whatsapp::reach;

/// With less the database cannot go on for long.
const LITTLE_SPACE: u64 = 512 * 1024 * 1024;
/// With less it cannot be opened safely.
const NO_SPACE: u64 = 16 * 1024 * 1024;
/// Connections to a server beside those of the pool: one brings the database into shape.
const BESIDE_POOL: u64 = 1;
/// Tokens and deadlines do not bear more.
const MOST_SKEW: Duration = Duration::from_secs(5);

/// Looks at everything that the settings name.
pub async fn live(settings: &Settings) -> Vec<Problem> {
    let mut found = disk(&settings.data_dir);
    found.extend(database(settings).await);
    found.extend(whatsapp(settings).await);
    found
}

/// Looks at the disk under the data directory, or under where it would be.
pub fn disk(data_dir: &Path) -> Vec<Problem> {
    let found =
        |severity, code, sentence: String, fix: &str| vec![Problem::new(severity, code, "DATA_DIR", sentence, fix)];
    let there = data_dir.ancestors().find(|path| path.exists()).unwrap_or_else(|| Path::new("."));
    if let Err(error) = writable(there) {
        return found(
            Severity::Error,
            "live-disk-read-only",
            format!("{} cannot be written: {error}", there.display()),
            "let the user of the service write there, or set DATA_DIR to another directory",
        );
    }
    match statvfs(there).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)) {
        Ok(free) if free < LITTLE_SPACE => found(
            if free < NO_SPACE { Severity::Error } else { Severity::Warning },
            "live-disk-full",
            format!("only {} MiB are free on the disk of {}", free / (1024 * 1024), there.display()),
            "make room, or set DATA_DIR to a larger disk: with a full disk links are closed, and messages wait at WhatsApp",
        ),
        Ok(_) => Vec::new(),
        Err(error) => found(
            Severity::Warning,
            "live-disk-unknown",
            format!("how much is free on the disk of {} cannot be read: {error}", there.display()),
            "look at it by hand",
        ),
    }
}

fn writable(directory: &Path) -> std::io::Result<()> {
    let trial = directory.join(format!(".holdfast-check-{}", std::process::id()));
    fs::write(&trial, b"holdfast")?;
    fs::remove_file(&trial)
}

async fn database(settings: &Settings) -> Vec<Problem> {
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
    match look(&url, pool).await {
        Ok(seen) => judge(&seen, database.pool_size as u64, Clock::start().wall().timestamp_millis()),
        Err(error) => vec![Problem::new(
            Severity::Error,
            "live-database-unreachable",
            "DATABASE_CONNECTION_URI",
            told(&error),
            "start the database and check address, user and password; nothing is dialled before it answers",
        )],
    }
}

/// The errors of the store quote no address.
fn told(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Judges what was seen of a database.
fn judge(seen: &Look, pool: u64, now_ms: i64) -> Vec<Problem> {
    let mut found = Vec::new();
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
    if now_ms.abs_diff(clock_ms) > MOST_SKEW.as_millis() as u64 {
        found.push(Problem::new(
            Severity::Warning,
            "live-clock-skew",
            "DATABASE_CONNECTION_URI",
            format!(
                "the clocks of this host and of the database are {} seconds apart",
                now_ms.abs_diff(clock_ms) / 1000
            ),
            "let both follow a time server",
        ));
    }
    found
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
        let newer = Look { newer: Some("2099".to_owned()), pending: 1, server: None };
        assert_eq!(codes(&newer), ["live-database-newer"]);
    }

    #[test]
    fn a_directory_that_is_not_there_yet_is_judged_by_where_it_would_be() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(
            disk(&home.path().join("a/b")).iter().map(|problem| problem.severity).min(),
            disk(home.path()).iter().map(|problem| problem.severity).min()
        );
        assert!(!home.path().join("a").exists(), "nothing is made");
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(disk(&file.join("data"))[0].code, "live-disk-read-only");
    }
}
