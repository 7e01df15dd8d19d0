//! Which client version to claim: the setting, or what WhatsApp's own page says, or the one that the library was made with.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use holdfast_core::time::Timestamp;
use tokio::time::timeout;
use tracing::{info, warn};
use wacore::net::{HttpClient, HttpRequest};

use super::http::Http;
use super::way::Way;
use crate::ports::clock::Clock;

pub(super) type Version = (u32, u32, u32);

const PAGE: &str = "https://web.whatsapp.com/sw.js";

/// How long a look-up may hold up a dial.
const WITHIN: Duration = Duration::from_secs(5);

/// How long an answer is good.
const FRESH_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How long after a look-up that failed the next one is made on the same way, so that no dial pays for it again at once.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10 * 60);

/// How long an answer is good for a link that was told that its version is too old.
const FRESH_FOR_REFUSED: Duration = Duration::from_secs(60);

/// Knows the version; one for the whole service, whichever way found it out.
pub(super) struct Versions {
    fixed: Option<Version>,
    clock: Clock,
    known: Mutex<Option<(Timestamp, Version)>>,
}

impl Versions {
    pub(super) fn new(setting: Option<Version>, clock: Clock) -> Self {
        // A build for the simulator asks nobody else.
        let fixed = setting.or_else(|| cfg!(feature = "simulator").then(built_in));
        Self { fixed, clock, known: Mutex::default() }
    }

    /// Returns the version to claim, looked up on `way` if it has to be. `refresh` says that the last one was refused.
    pub(super) async fn current(&self, refresh: bool, way: &Way) -> Version {
        if let Some(fixed) = self.fixed {
            return fixed;
        }
        // One look-up at a time on each way: the others wait for its answer, and a proxy that is dead holds up its own instances alone.
        let mut asked = way.asked.lock().await;
        let now = self.clock.now();
        let known = self.known();
        let good_for = if refresh { FRESH_FOR_REFUSED } else { FRESH_FOR };
        let ask_after = if refresh { FRESH_FOR_REFUSED } else { ASK_AGAIN_AFTER };
        let fresh = known.filter(|(at, _)| now.since(*at) < good_for);
        if fresh.is_none() && asked.is_none_or(|at| now.since(at) >= ask_after) {
            *asked = Some(now);
            let found = timeout(WITHIN, look_up(way.http())).await.ok().flatten();
            if let Some(found) = found {
                info!(revision = found.2, "WhatsApp's web client has revision {}", found.2);
                *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, found));
                return found;
            }
            warn!("The version of WhatsApp's web client could not be looked up");
        }
        known.map_or_else(built_in, |(_, version)| version)
    }

    fn known(&self) -> Option<(Timestamp, Version)> {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn look_up(http: &Http) -> Option<Version> {
    let agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";
    let request = HttpRequest::get(PAGE).with_header("sec-fetch-site", "none").with_header("user-agent", agent);
    let answer = http.execute(request).await.ok()?;
    let page = String::from_utf8(answer.body).ok().filter(|_| answer.status_code == 200)?;
    wacore::version::parse_sw_js(&page).filter(|(_, _, revision)| *revision > 0)
}

/// Returns the version that the library was made with.
fn built_in() -> Version {
    let device = wacore::store::Device::new();
    (device.app_version_primary, device.app_version_secondary, device.app_version_tertiary)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use holdfast_core::proxy::{Fields, Proxy};
    use rustls::{ClientConfig, RootCertStore};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_page_that_never_answers_holds_up_one_dial_for_seconds() {
        // It takes connections, and says nothing.
        let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = proxy.local_addr().unwrap().port().to_string();
        let fields = Fields { host: "127.0.0.1", port: &port, protocol: "http", username: "", password: "" };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        let way = Way::new(tls, Some(Proxy::parse(fields).unwrap())).unwrap();

        let versions = Versions { fixed: None, clock: Clock::start(), known: Mutex::default() };
        let asking = versions.current(false, &way);
        assert_eq!(timeout(WITHIN * 2, asking).await.expect("it is given up"), built_in());
        // Nobody pays for it again at once.
        let again = timeout(WITHIN / 2, versions.current(false, &way));
        assert_eq!(again.await.expect("nobody is asked"), built_in());
    }
}
