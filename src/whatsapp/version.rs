//! Which client version to claim: the setting, or what WhatsApp's own page says, or the one that the library was made with.

use std::time::Duration;

use holdfast_core::time::Timestamp;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::{info, warn};
use wacore::net::{HttpClient, HttpRequest};

use super::http::Http;
use crate::ports::clock::Clock;

pub(super) type Version = (u32, u32, u32);

const PAGE: &str = "https://web.whatsapp.com/sw.js";

/// How long a look-up may hold up a dial.
const WITHIN: Duration = Duration::from_secs(5);

/// How long an answer is good.
const FRESH_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How long after a look-up the next one is made: also one that failed, so that no dial pays for it again at once.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10 * 60);

/// How long an answer is good for a link that was told that its version is too old.
const FRESH_FOR_REFUSED: Duration = Duration::from_secs(60);

/// Knows the version; one for the whole service.
pub(super) struct Versions {
    fixed: Option<Version>,
    http: Http,
    clock: Clock,
    asked: Mutex<Option<(Timestamp, Option<Version>)>>,
}

impl Versions {
    pub(super) fn new(setting: Option<Version>, http: Http, clock: Clock) -> Self {
        // A build for the simulator asks nobody else.
        let fixed = setting.or_else(|| cfg!(feature = "simulator").then(built_in));
        Self { fixed, http, clock, asked: Mutex::new(None) }
    }

    /// Returns the version to claim. `refresh` says that the last one was refused.
    pub(super) async fn current(&self, refresh: bool) -> Version {
        if let Some(fixed) = self.fixed {
            return fixed;
        }
        // One look-up at a time: the others wait for its answer.
        let mut asked = self.asked.lock().await;
        let now = self.clock.now();
        if let Some((at, answer)) = *asked {
            let good = match answer {
                _ if refresh => FRESH_FOR_REFUSED,
                Some(_) => FRESH_FOR,
                None => ASK_AGAIN_AFTER,
            };
            if now.since(at) < good {
                return answer.unwrap_or_else(built_in);
            }
        }
        let before = asked.and_then(|(_, answer)| answer);
        let answer = timeout(WITHIN, self.look_up()).await.ok().flatten();
        if let Some((_, _, revision)) = answer {
            info!(revision, "WhatsApp's web client has revision {revision}");
        } else {
            warn!("The version of WhatsApp's web client could not be looked up");
        }
        let known = answer.or(before);
        *asked = Some((now, known));
        known.unwrap_or_else(built_in)
    }

    async fn look_up(&self) -> Option<Version> {
        let agent =
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36";
        let request = HttpRequest::get(PAGE).with_header("sec-fetch-site", "none").with_header("user-agent", agent);
        let answer = self.http.execute(request).await.ok()?;
        let page = String::from_utf8(answer.body).ok().filter(|_| answer.status_code == 200)?;
        wacore::version::parse_sw_js(&page).filter(|(_, _, revision)| *revision > 0)
    }
}

/// Returns the version that the library was made with.
fn built_in() -> Version {
    let device = wacore::store::Device::new();
    (device.app_version_primary, device.app_version_secondary, device.app_version_tertiary)
}
