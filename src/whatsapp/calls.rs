//! Incoming calls: told, and rejected if that is wanted.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::SecondsFormat;
use holdfast_core::conduct::Ring;
use holdfast_core::event::{EngineEvent, EventName};
use holdfast_core::id::InstanceId;
use serde_json::json;
use tokio::time::timeout;
use tracing::{info, warn};
use wacore::types::call::{CallAction, IncomingCall};
use whatsapp_rust::{Client, Jid};

/// How many calls are remembered: each is rejected once, and what becomes of it is told with what its offer said.
const REMEMBERED: usize = 256;

/// How long a rejection may take to leave.
const REJECTED_WITHIN: Duration = Duration::from_secs(10);

/// What the offer of a call said.
#[derive(Debug, Clone)]
struct Offered {
    id: String,
    video: bool,
    group: bool,
    group_jid: Option<String>,
}

/// The calls of one account.
pub(super) struct Calls {
    instance: InstanceId,
    offered: Mutex<VecDeque<Offered>>,
}

/// A stanza about a call.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) ring: Ring,
    pub(super) event: EngineEvent,
    /// To whom a text about it goes.
    pub(super) caller: String,
}

impl Calls {
    pub(super) fn new(instance: InstanceId) -> Self {
        Self { instance, offered: Mutex::default() }
    }

    /// Takes note of what was heard. `None` if it tells nobody anything: the devices talk about how they talk.
    pub(super) fn hear(&self, call: &IncomingCall) -> Option<Heard> {
        let status = status(&call.action)?;
        let id = call.action.call_id();
        let offer = offer(call);
        let (ring, known) = {
            let mut offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
            let before = offered.iter().position(|known| known.id == id);
            match offer {
                Some(offer) => {
                    let ring = match (before, call.offline) {
                        (Some(_), _) => Ring::Again,
                        (None, true) => Ring::Missed,
                        (None, false) => Ring::Offer,
                    };
                    if before.is_none() {
                        if offered.len() >= REMEMBERED {
                            offered.pop_front();
                        }
                        offered.push_back(offer.clone());
                    }
                    (ring, Some(offer))
                }
                None => (Ring::Later, before.and_then(|place| offered.get(place).cloned())),
            }
        };
        let creator = call.action.call_creator();
        let mut data = json!({
            "chatId": call.from.to_non_ad_string(),
            "from": creator.to_non_ad_string(),
            "id": id,
            "date": call.timestamp.to_rfc3339_opts(SecondsFormat::Millis, true),
            "offline": call.offline,
            "status": status,
        });
        if let Some(known) = known {
            data["isVideo"] = json!(known.video);
            data["isGroup"] = json!(known.group);
            if let Some(group) = known.group_jid {
                data["groupJid"] = json!(group);
            }
        }
        Some(Heard { ring, event: EngineEvent { name: EventName::Call, data }, caller: caller(call) })
    }

    /// Rejects a call, so that it stops ringing for whoever calls.
    pub(super) async fn reject(&self, client: &Client, id: &str, peer: &Jid, creator: &Jid) {
        match timeout(REJECTED_WITHIN, client.voip().reject_call(id, peer, creator)).await {
            Ok(Ok(())) => info!(instance.id = %self.instance, call.id = id, "Call {id} was rejected"),
            Ok(Err(error)) => {
                warn!(instance.id = %self.instance, call.id = id, "Call {id} could not be rejected: {error}");
            }
            Err(_) => {
                warn!(instance.id = %self.instance, call.id = id, "The rejection of call {id} did not leave in its time");
            }
        }
    }
}

/// Returns what is said of an offer later on; `None` if it is none.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's actions are an open set; only these two offer a call"
)]
fn offer(call: &IncomingCall) -> Option<Offered> {
    let id = call.action.call_id().to_owned();
    match &call.action {
        CallAction::Offer { is_video, group_jid, .. } => Some(Offered {
            id,
            video: *is_video,
            group: group_jid.is_some() || call.group.is_some(),
            group_jid: group_jid.as_ref().map(Jid::to_non_ad_string),
        }),
        CallAction::OfferNotice { is_video, is_group, .. } => {
            Some(Offered { id, video: *is_video, group: *is_group, group_jid: None })
        }
        _ => None,
    }
}

/// Returns the status in Evolution's words.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's actions are an open set; the others change no status"
)]
fn status(action: &CallAction) -> Option<&'static str> {
    Some(match action {
        CallAction::Offer { .. } | CallAction::OfferNotice { .. } => "offer",
        CallAction::PreAccept { .. } => "ringing",
        CallAction::Accept { .. } => "accept",
        CallAction::Reject { .. } => "reject",
        CallAction::Terminate { reason, .. } if reason.as_deref() == Some("timeout") => "timeout",
        CallAction::Terminate { .. } => "terminate",
        _ => return None,
    })
}

/// Returns who is written to: by number if the offer tells it.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's actions are an open set; one of them tells the number"
)]
fn caller(call: &IncomingCall) -> String {
    match &call.action {
        CallAction::Offer { caller_pn: Some(number), .. } => number.to_non_ad_string(),
        other => other.call_creator().to_non_ad_string(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn call(id: &str, action: impl Fn(String, Jid) -> CallAction, offline: bool) -> IncomingCall {
        let from: Jid = "111@lid".parse().unwrap();
        let at = DateTime::from_timestamp(1_760_172_800, 0).unwrap();
        let mut call = IncomingCall::new_for_test(from.clone(), "S1".to_owned(), at, action(id.to_owned(), from));
        call.offline = offline;
        call
    }

    fn offered(call_id: String, call_creator: Jid) -> CallAction {
        CallAction::Offer {
            call_id,
            call_creator,
            caller_pn: Some("5511@s.whatsapp.net".parse().unwrap()),
            caller_country_code: None,
            device_class: None,
            joinable: false,
            is_video: true,
            audio: Vec::new(),
            group_jid: None,
        }
    }

    fn terminated(reason: Option<&str>) -> impl Fn(String, Jid) -> CallAction {
        let reason = reason.map(str::to_owned);
        move |call_id, call_creator| CallAction::Terminate {
            call_id,
            call_creator,
            reason: reason.clone(),
            duration: None,
            audio_duration: None,
        }
    }

    #[test]
    fn a_call_has_the_shape_of_the_contract_and_its_end_what_its_offer_said() {
        let calls = Calls::new(InstanceId::new("i"));
        let heard = calls.hear(&call("C1", offered, false)).unwrap();
        assert_eq!((heard.ring, heard.caller.as_str()), (Ring::Offer, "5511@s.whatsapp.net"));
        assert_eq!(
            heard.event.data,
            json!({
                "chatId": "111@lid", "from": "111@lid", "id": "C1", "date": "2025-10-11T08:53:20.000Z",
                "isVideo": true, "isGroup": false, "status": "offer", "offline": false
            })
        );
        for (reason, status) in [(Some("timeout"), "timeout"), (None, "terminate"), (Some("busy"), "terminate")] {
            let heard = calls.hear(&call("C1", terminated(reason), false)).unwrap();
            assert_eq!((heard.ring, &heard.event.data["status"]), (Ring::Later, &json!(status)));
            assert_eq!(heard.event.data["isVideo"], true);
        }
        let unknown = calls.hear(&call("C2", terminated(None), false)).unwrap();
        assert_eq!(unknown.event.data.get("isVideo"), None);
    }

    #[test]
    fn an_offer_rings_once_and_one_that_was_missed_does_not() {
        let calls = Calls::new(InstanceId::new("i"));
        assert_eq!(calls.hear(&call("C1", offered, false)).unwrap().ring, Ring::Offer);
        assert_eq!(calls.hear(&call("C1", offered, false)).unwrap().ring, Ring::Again);
        assert_eq!(calls.hear(&call("C2", offered, true)).unwrap().ring, Ring::Missed);
    }

    #[test]
    fn how_devices_reach_each_other_is_nobodys_business() {
        let probe = |call_id, call_creator| CallAction::RelayLatency { call_id, call_creator };
        assert!(Calls::new(InstanceId::new("i")).hear(&call("C1", probe, false)).is_none());
    }

    #[test]
    fn no_more_calls_are_remembered_than_there_is_room_for() {
        let calls = Calls::new(InstanceId::new("i"));
        for number in 0..REMEMBERED + 10 {
            calls.hear(&call(&format!("C{number}"), offered, false)).unwrap();
        }
        assert_eq!(calls.offered.lock().unwrap().len(), REMEMBERED);
        assert_eq!(calls.hear(&call("C0", offered, false)).unwrap().ring, Ring::Offer);
    }
}
