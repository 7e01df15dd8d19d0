//! What a phone hands its devices a second time: messages whose content they no longer have.
//!
//! A device asks its own phone, by a peer message that names them. The phone answers with their content, also for a message that the
//! server has long taken from the queue.

use serde_json::json;
use waproto::buffa::{Message as _, MessageField};
use waproto::whatsapp::message::peer_data_operation_request_response_message::PeerDataOperationResult;
use waproto::whatsapp::message::peer_data_operation_request_response_message::peer_data_operation_result::PlaceholderMessageResendResponse;
use waproto::whatsapp::message::{
    PeerDataOperationRequestResponseMessage, PeerDataOperationRequestType, ProtocolMessage, protocol_message,
};
use waproto::whatsapp::{Message, MessageKey, WebMessageInfo};

use crate::address::{Address, Phone};
use crate::delivery::Outgoing;
use crate::events::EventKind;
use crate::person::Remembered;
use crate::world::World;

impl World {
    /// A phone reads what one of its own devices asks for, in the message with this id.
    pub(crate) fn peer_message(&mut self, device: &Address, phone: &Phone, id: &str, plaintext: &[u8]) {
        for wanted in asked_for(plaintext) {
            self.tally(device).resends_asked += 1;
            self.log(EventKind::ResendAsked, Some(device.clone()), None, json!({ "id": wanted }));
            if self.rules.resend {
                self.hand_over_again(device, phone, id, &wanted);
            }
        }
    }

    fn hand_over_again(&mut self, device: &Address, phone: &Phone, request: &str, wanted: &str) {
        let remembered = self
            .device(device)
            .and_then(|device| device.remembered.iter().find(|message| message.id == wanted && !message.peer).cloned());
        let content = remembered.map(|message| self.as_kept_by_the_phone(&message));
        let plaintext = waproto::codec::message_to_vec(&answer(request, content));
        let outgoing = Outgoing { id: self.new_message_id(), from: phone.clone(), plaintext, peer: true, retry: None };
        if let Err(error) = self.message_to_device(device, outgoing) {
            self.log(EventKind::Undecryptable, Some(device.clone()), None, json!({ "why": error.to_string() }));
        }
    }

    /// A message with its key, which names people by phone number, as those of phones do.
    fn as_kept_by_the_phone(&self, message: &Remembered) -> WebMessageInfo {
        let sender = message.from.jid().to_string();
        let (chat, participant) = match &message.group {
            Some(group) => (group.jid().to_string(), Some(sender)),
            None => (sender, None),
        };
        let key = MessageKey {
            remote_jid: Some(chat),
            from_me: Some(false),
            id: Some(message.id.clone()),
            participant: participant.clone(),
        };
        WebMessageInfo {
            key: MessageField::some(key),
            message: waproto::codec::message_decode(&message.plaintext).map(MessageField::some).unwrap_or_default(),
            message_timestamp: Some(self.now / 1000),
            participant,
            ..WebMessageInfo::default()
        }
    }
}

/// The ids of the messages that a peer message asks for again.
fn asked_for(plaintext: &[u8]) -> Vec<String> {
    let Ok(message) = waproto::codec::message_decode(plaintext) else { return Vec::new() };
    let request = message
        .protocol_message
        .as_option()
        .and_then(|protocol| protocol.peer_data_operation_request_message.as_option());
    let resends = request.map(|request| request.placeholder_message_resend_request.as_slice()).unwrap_or_default();
    resends.iter().filter_map(|resend| resend.message_key.as_option()?.id.clone()).collect()
}

fn answer(request: &str, content: Option<WebMessageInfo>) -> Message {
    let resend = PlaceholderMessageResendResponse { web_message_info_bytes: content.map(|info| info.encode_to_vec()) };
    let result = PeerDataOperationResult {
        placeholder_message_resend_response: MessageField::some(resend),
        ..PeerDataOperationResult::default()
    };
    let response = PeerDataOperationRequestResponseMessage {
        peer_data_operation_request_type: Some(PeerDataOperationRequestType::PLACEHOLDER_MESSAGE_RESEND),
        stanza_id: Some(request.to_owned()),
        peer_data_operation_result: vec![result],
    };
    let protocol = ProtocolMessage {
        r#type: Some(protocol_message::Type::PEER_DATA_OPERATION_REQUEST_RESPONSE_MESSAGE),
        peer_data_operation_request_response_message: MessageField::some(response),
        ..ProtocolMessage::default()
    };
    Message { protocol_message: MessageField::some(protocol), ..Message::default() }
}
