//! The body of `POST /instance/create`: its rules, and what is made of it.

use holdfast_core::id::InstanceId;
use holdfast_core::network::Networks;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::http::code::ErrorCode;
use crate::http::error::ApiError;
use crate::http::schema::{NUMBER, Rule, Schema};
use crate::http::{instance_settings, proxies, webhooks};
use crate::ports::store::{NewInstance, Settings};

/// The longest name and token, as long as the columns are.
const LONGEST: usize = 255;

/// The longest number, as long as its column is.
const LONGEST_NUMBER: usize = 100;

const FIELDS: Schema = Schema {
    fields: &[
        ("instanceName", Rule::Text),
        ("token", Rule::Text),
        ("number", NUMBER),
        ("qrcode", Rule::Flag),
        ("rejectCall", Rule::Flag),
        ("msgCall", instance_settings::TEXT),
        ("groupsIgnore", Rule::Flag),
        ("alwaysOnline", Rule::Flag),
        ("readMessages", Rule::Flag),
        ("readStatus", Rule::Flag),
        ("syncFullHistory", Rule::Flag),
        ("wavoipToken", instance_settings::TEXT),
        ("proxyHost", Rule::Text),
        ("proxyPort", Rule::Text),
        ("proxyProtocol", Rule::Text),
        ("proxyUsername", Rule::Text),
        ("proxyPassword", Rule::Text),
        ("webhook", Rule::Nested(&webhooks::ON_CREATE)),
        ("webhookUrl", Rule::Text),
        ("webhookByEvents", Rule::Flag),
        ("webhookBase64", Rule::Flag),
        ("webhookEvents", Rule::List { items: &Rule::OneOf(webhooks::event_keys), min: 0, unique: false }),
        ("chatwootAccountId", Rule::Text),
        ("chatwootToken", Rule::Text),
        ("chatwootUrl", Rule::Text),
        ("chatwootSignMsg", Rule::Flag),
        ("chatwootReopenConversation", Rule::Flag),
        ("chatwootConversationPending", Rule::Flag),
        ("chatwootImportContacts", Rule::Flag),
        ("chatwootNameInbox", Rule::Text),
        ("chatwootMergeBrazilContacts", Rule::Flag),
        ("chatwootImportMessages", Rule::Flag),
        ("chatwootDaysLimitImportMessages", Rule::Number),
    ],
    required: &["instanceName"],
};

/// What a client asks for.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) new: NewInstance,
    /// Whether to connect at once and show a code.
    pub(super) connects: bool,
}

/// Reads the name without judging it, because a name that is taken is answered before anything else.
pub(super) fn name(body: &Value) -> Option<&str> {
    body.get("instanceName")?.as_str()
}

/// Reads the body; `networks` are those where a webhook may go.
pub(super) fn read(body: &Value, networks: &Networks) -> Result<Form, ApiError> {
    let fields = FIELDS.check(body)?;
    let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
    let name = text("instanceName");
    check_label("instanceName", name)?;
    if name.is_empty() {
        return Err(ApiError::invalid(vec!["The \"instanceName\" cannot be empty".to_owned()]));
    }
    check_label("token", text("token"))?;
    let integration = integration(text("integration"))?;
    refuse_what_is_missing(fields)?;
    let token = match text("token") {
        "" => Uuid::new_v4().to_string().to_uppercase(),
        token => token.to_owned(),
    };
    let webhook = match fields.get("webhook") {
        Some(Value::Object(webhook))
            if webhook.get("url").and_then(Value::as_str).is_some_and(|url| !url.is_empty()) =>
        {
            Some(webhooks::spec(webhook, true, networks)?)
        }
        _ => None,
    };
    let new = NewInstance {
        id: InstanceId::new(Uuid::new_v4().to_string()),
        name: name.to_owned(),
        token,
        integration: integration.to_owned(),
        number: number(fields)?,
        settings: settings(fields),
        webhook,
        proxy: proxies::on_create(fields),
    };
    Ok(Form { new, connects: fields.get("qrcode") == Some(&Value::Bool(true)) })
}

/// A name or token is at most as long as its column and has no control characters: it stands in paths, headers and logs.
fn check_label(key: &str, value: &str) -> Result<(), ApiError> {
    if value.chars().count() > LONGEST {
        return Err(ApiError::invalid(vec![format!("The \"{key}\" is longer than {LONGEST} characters")]));
    }
    if value.chars().any(char::is_control) {
        return Err(ApiError::invalid(vec![format!("The \"{key}\" has control characters")]));
    }
    Ok(())
}

fn number(fields: &Map<String, Value>) -> Result<Option<String>, ApiError> {
    match fields.get("number").and_then(Value::as_str) {
        Some(number) if number.chars().count() > LONGEST_NUMBER => {
            Err(ApiError::invalid(vec![format!("number does not meet maximum length of {LONGEST_NUMBER}")]))
        }
        number => Ok(number.map(str::to_owned)),
    }
}

fn integration(wanted: &str) -> Result<&str, ApiError> {
    match wanted {
        "WHATSAPP-BAILEYS" => Ok(wanted),
        "WHATSAPP-BUSINESS" | "EVOLUTION" => Err(ApiError::bad_request(
            ErrorCode::Unsupported,
            format!("This engine does not do the integration {wanted}, only WHATSAPP-BAILEYS"),
        )),
        _ => Err(ApiError::bad_request(ErrorCode::IntegrationInvalid, "Invalid integration")),
    }
}

/// Refuses what would otherwise be dropped in silence.
fn refuse_what_is_missing(fields: &Map<String, Value>) -> Result<(), ApiError> {
    let all_given = |keys: [&str; 3]| {
        keys.iter().all(|key| fields.get(*key).and_then(Value::as_str).is_some_and(|text| !text.is_empty()))
    };
    if all_given(["chatwootAccountId", "chatwootToken", "chatwootUrl"]) {
        return Err(ApiError::bad_request(ErrorCode::Unsupported, "Chatwoot is not enabled"));
    }
    Ok(())
}

fn settings(fields: &Map<String, Value>) -> Settings {
    let on = |key: &str| fields.get(key) == Some(&Value::Bool(true));
    let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    Settings {
        reject_call: on("rejectCall"),
        msg_call: text("msgCall"),
        groups_ignore: on("groupsIgnore"),
        always_online: on("alwaysOnline"),
        read_messages: on("readMessages"),
        read_status: on("readStatus"),
        sync_full_history: on("syncFullHistory"),
        wavoip_token: text("wavoipToken"),
    }
}
