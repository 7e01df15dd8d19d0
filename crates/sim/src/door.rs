//! The door of the server: open, or shut to newcomers for a while in one of the ways in which servers refuse.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::http::StatusCode;
use utoipa::ToSchema;

use crate::api::Problem;

/// As long as an operator can mean it.
const LONGEST: f64 = 3600.0;
const ORDERS: usize = 8;

/// `POST /refuse`: new connections are refused for a while. Those that are open live on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RefuseRequest {
    /// For how long; 0 ends a refusal.
    pub seconds: f64,
    /// In which way.
    #[serde(default)]
    pub mode: Option<RefuseMode>,
    /// The HTTP status of `http`; 503 when absent.
    #[serde(default)]
    pub status: Option<u16>,
}

/// How new connections are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RefuseMode {
    /// Nobody listens: the system refuses the connection.
    Listen,
    /// The upgrade is answered with an error.
    Http,
    /// The connection is accepted and reset.
    Rst,
    /// The connection is accepted and never answered.
    Hang,
}

/// How new connections are met from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefuseAnswer {
    /// The way in which they are refused, if they are.
    pub refusing: Option<RefuseMode>,
}

/// A refusal that makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// In which way.
    pub mode: RefuseMode,
    /// The HTTP status of [`RefuseMode::Http`].
    pub status: StatusCode,
    /// For how long.
    pub time: Duration,
}

impl RefuseRequest {
    fn read(&self) -> Result<Option<Refusal>, Problem> {
        if !(0.0..=LONGEST).contains(&self.seconds) {
            return Err(Problem::bad_request(format!("new connections are refused for 0 to {LONGEST} seconds")));
        }
        if self.status.is_some() && self.mode != Some(RefuseMode::Http) {
            return Err(Problem::bad_request("only the mode 'http' answers with a status"));
        }
        let status = self.status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE.as_u16());
        let status = StatusCode::from_u16(status).ok().filter(|status| status.as_u16() >= 400);
        let Some(status) = status else {
            return Err(Problem::bad_request("a refusal has a status of 400 or more"));
        };
        if self.seconds == 0.0 {
            return Ok(None);
        }
        let Some(mode) = self.mode else {
            return Err(Problem::bad_request("say in which mode: 'listen', 'http', 'rst' or 'hang'"));
        };
        Ok(Some(Refusal { mode, status, time: Duration::from_secs_f64(self.seconds) }))
    }
}

/// An order to the one at the door.
pub struct DoorOrder {
    /// How newcomers are to be met.
    pub refusal: Option<Refusal>,
    /// To be told when it is in force.
    pub done: oneshot::Sender<()>,
}

/// A way to the one at the door.
#[derive(Clone)]
pub struct Door(mpsc::Sender<DoorOrder>);

impl Door {
    /// A door, and what is ordered there.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<DoorOrder>) {
        let (sender, orders) = mpsc::channel(ORDERS);
        (Self(sender), orders)
    }

    /// Refuses newcomers, or lets them in again; returns when it is in force.
    ///
    /// # Errors
    /// When the request makes no sense, or the simulator is stopping.
    pub async fn refuse(&self, request: &RefuseRequest) -> Result<RefuseAnswer, Problem> {
        let refusal = request.read()?;
        let (done, finished) = oneshot::channel();
        let ordered = self.0.send(DoorOrder { refusal, done }).await.is_ok();
        if ordered && finished.await.is_ok() {
            Ok(RefuseAnswer { refusing: refusal.map(|refusal| refusal.mode) })
        } else {
            Err(Problem { status: 500, sentence: "the simulator is stopping".to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(seconds: f64, mode: Option<RefuseMode>, status: Option<u16>) -> Result<Option<Refusal>, Problem> {
        RefuseRequest { seconds, mode, status }.read()
    }

    #[test]
    fn a_refusal_that_makes_no_sense_is_refused_itself() {
        let http = Some(RefuseMode::Http);
        for (seconds, mode, status) in [
            (-1.0, http, None),
            (3601.0, http, None),
            (f64::NAN, http, None),
            (f64::INFINITY, http, None),
            (1.0, None, None),
            (1.0, Some(RefuseMode::Rst), Some(503)),
            (1.0, http, Some(200)),
            (1.0, http, Some(1000)),
        ] {
            let problem = read(seconds, mode, status).unwrap_err();
            assert!(problem.status == 400 && problem.sentence.len() > 20, "{seconds} {mode:?} {status:?}: {problem}");
        }
        assert_eq!(read(0.0, None, None), Ok(None));
        assert_eq!(read(1.5, http, None).unwrap().unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
    }
}
