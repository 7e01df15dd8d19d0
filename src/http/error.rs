//! Every failure to status, body and code: the only place that makes an error answer.

use std::fmt;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use holdfast_core::connection::{DownReason, Refusal};
use holdfast_core::elsewhere::Absence;
use holdfast_core::sending::nack::Nack;
use serde_json::{Map, Value, json};
use tracing::{error, warn};

use super::code::ErrorCode;
use super::reply;
use crate::actors::supervisor::protocol::CommandError;
use crate::ports::store::StoreError;

/// What a handler may return.
pub(super) type Answer = Result<HttpResponse, ApiError>;

/// After how many seconds a refused request may come again.
const RETRY_AFTER: u32 = 2;

/// A failure in the contract's shape: `{status, error, response: {message, code, userAction}}`.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    /// The word in `error`, where it is not the name of the status.
    title: Option<&'static str>,
    /// A string, an array, or an array in an array: clients know which to expect where.
    message: Value,
    code: &'static str,
    user_action: &'static str,
    /// After how many seconds the request may come again, where that is known to make sense.
    retry_after: Option<u32>,
    /// Keys beside the message; they may replace `userAction`.
    more: Map<String, Value>,
}

impl ApiError {
    fn new(status: StatusCode, code: ErrorCode, message: Value) -> Self {
        let retry_after = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER);
        let (code, user_action) = (code.code(), code.user_action());
        Self { status, title: None, message, code, user_action, retry_after, more: Map::new() }
    }

    /// Adds a key beside the message.
    pub(super) fn with(mut self, key: &str, value: Value) -> Self {
        self.more.insert(key.to_owned(), value);
        self
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, json!("Unauthorized"))
    }

    pub(super) fn unknown_instance(name: &str) -> Self {
        let text = format!("The \"{name}\" instance does not exist");
        Self::new(StatusCode::NOT_FOUND, ErrorCode::UnknownInstance, json!([text]))
    }

    /// For an instance that is on its way back: a 404 would send clients off to create it anew.
    pub(super) fn returning() -> Self {
        Self::unavailable(ErrorCode::InstanceReturning)
    }

    /// The wording of `fetchInstances`.
    pub(super) fn instance_not_found(wanted: &str) -> Self {
        let text = format!("Instance \"{wanted}\" not found");
        Self::new(StatusCode::NOT_FOUND, ErrorCode::UnknownInstance, json!([text]))
    }

    pub(super) fn name_taken(name: &str) -> Self {
        let text = format!("This name \"{name}\" is already in use.");
        Self::new(StatusCode::FORBIDDEN, ErrorCode::NameTaken, json!([text]))
    }

    pub(super) fn unknown_route(method: &str, url: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorCode::UnknownRoute, json!([format!("Cannot {method} {url}")]))
    }

    /// The body parser's failures say "Internal Server Error" whatever their status; clients of Evolution know them so.
    pub(super) fn malformed(what: &str) -> Self {
        let title = Some("Internal Server Error");
        Self { title, ..Self::new(StatusCode::BAD_REQUEST, ErrorCode::Malformed, json!(what)) }
    }

    pub(super) fn invalid(messages: Vec<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::Invalid, json!([messages]))
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let text = format!("request entity too large: at most {limit} bytes are taken");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge, json!(text))
    }

    pub(super) fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::TooSlow, json!(ErrorCode::TooSlow.sentence()))
    }

    pub(super) fn origin_refused() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::OriginRefused, json!("Not allowed by CORS"))
    }

    /// A 400 with one text in an array, as the services of Evolution answer.
    pub(super) fn bad_request(code: ErrorCode, text: impl Into<String>) -> Self {
        Self::bad_request_with(code, json!(text.into()))
    }

    /// A 400 with one value in an array.
    pub(super) fn bad_request_with(code: ErrorCode, item: Value) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, json!([item]))
    }

    /// WhatsApp has refused a message.
    pub(super) fn nacked(nack: Nack, text: impl Into<String>) -> Self {
        let (code, user_action) = (nack.code(), nack.user_action());
        let refused = Self::bad_request(ErrorCode::MessageFailed, text);
        Self { code, user_action, ..refused }.with("explanation", json!(nack.sentence()))
    }

    /// A proxy is not taken. Evolution's words are for its clients, the rest says where it failed.
    pub(super) fn proxy_unusable(why: &DownReason, explanation: impl Into<String>) -> Self {
        let refused = Self::bad_request(ErrorCode::ProxyUnusable, "Invalid proxy")
            .with("reason", json!(why.code()))
            .with("explanation", json!(explanation.into()));
        match why.proxy_fault() {
            Some(fault) => refused.with("stage", json!(fault)),
            None => refused,
        }
    }

    /// The instance may send again after `wait`. A message that this is answered to has not left.
    pub(super) fn send_limited(wait: Duration) -> Self {
        let seconds = u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1);
        let code = ErrorCode::SendLimited;
        let refused = Self::new(StatusCode::TOO_MANY_REQUESTS, code, json!([code.sentence()]));
        Self { retry_after: Some(seconds), ..refused }
    }

    pub(super) fn idempotency_key_invalid(why: &str) -> Self {
        Self::bad_request(ErrorCode::KeyInvalid, format!("The header Idempotency-Key cannot be used: {why}"))
    }

    pub(super) fn idempotency_key_in_use() -> Self {
        let code = ErrorCode::KeyInUse;
        let refused = Self::new(StatusCode::CONFLICT, code, json!([code.sentence()]));
        Self { retry_after: Some(RETRY_AFTER), ..refused }
    }

    pub(super) fn idempotency_key_reused() -> Self {
        let code = ErrorCode::KeyReused;
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, json!([code.sentence()]))
    }

    pub(super) fn overloaded() -> Self {
        Self::unavailable(ErrorCode::Overloaded)
    }

    pub(super) fn starting() -> Self {
        Self::unavailable(ErrorCode::Starting)
    }

    pub(super) fn stopping() -> Self {
        Self::unavailable(ErrorCode::Stopping)
    }

    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal, json!(ErrorCode::Internal.sentence()))
    }

    pub(super) fn nothing_prepared() -> Self {
        let code = ErrorCode::RestoreNotPrepared;
        Self::new(StatusCode::NOT_FOUND, code, json!([code.sentence()]))
    }

    pub(super) fn restore_unfit(why: &str) -> Self {
        Self::new(StatusCode::CONFLICT, ErrorCode::RestoreUnfit, json!([why]))
    }

    /// The instance is not here, and the request cannot be handed on at present. Nothing was done.
    pub(super) fn absent(absence: Absence) -> Self {
        Self::unavailable(ErrorCode::of_absence(absence))
    }

    /// Another node does not know our credential.
    pub(super) fn node_refused(status: StatusCode) -> Self {
        Self::new(status, ErrorCode::NodeRefused, json!(ErrorCode::NodeRefused.sentence()))
    }

    /// What was handed on may have been carried out.
    pub(super) fn forward_interrupted() -> Self {
        let code = ErrorCode::ForwardInterrupted;
        Self::new(StatusCode::BAD_GATEWAY, code, json!(code.sentence()))
    }

    /// Tells whether it says that there is no such instance.
    pub(super) fn is_unknown_instance(&self) -> bool {
        self.code == ErrorCode::UnknownInstance.code()
    }

    pub(super) fn unavailable(code: ErrorCode) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, json!(code.sentence()))
    }

    /// Turns a refused command for the instance called `name` into its answer.
    pub(super) fn of_command(error: CommandError, name: &str) -> Self {
        match error {
            CommandError::Unknown => Self::unknown_instance(name),
            CommandError::Refused(Refusal::NotConnected) => {
                Self::bad_request(ErrorCode::NotConnected, format!("The \"{name}\" instance is not connected"))
            }
            // The last is never said to a request; a later try would find the instance free.
            CommandError::Overloaded | CommandError::Refused(Refusal::Stopping | Refusal::InUse) => Self::overloaded(),
            CommandError::StoreUnavailable => Self::unavailable(ErrorCode::StoreUnavailable),
            CommandError::Stopping => Self::stopping(),
        }
    }

    /// Turns a failure of the store into the answer about the instance called `name`.
    pub(super) fn of_store(cause: StoreError, name: &str) -> Self {
        match cause {
            StoreError::NameTaken(taken) => Self::name_taken(&taken),
            StoreError::NoSuchInstance(_) => Self::unknown_instance(name),
            StoreError::Unavailable { .. } => {
                warn!(error = &cause as &dyn std::error::Error, "A request found the database not answering");
                Self::unavailable(ErrorCode::StoreUnavailable)
            }
            StoreError::NodeInUse { .. } => Self::overloaded(),
            StoreError::LeaseHeld { .. } | StoreError::FencedOff(_) => Self::absent(Absence::Moving),
            StoreError::Corrupt { .. } => {
                error!(error = &cause as &dyn std::error::Error, "A request failed in the store");
                Self::internal()
            }
        }
    }

    /// Returns the body in the contract's shape.
    pub(super) fn body(&self) -> Value {
        let mut response = json!({
            "message": self.message,
            "code": self.code,
            "userAction": self.user_action,
        });
        for (key, value) in &self.more {
            response[key] = value.clone();
        }
        json!({ "status": self.status.as_u16(), "error": self.title(), "response": response })
    }

    fn title(&self) -> &'static str {
        self.title.or_else(|| self.status.canonical_reason()).unwrap_or("Error")
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status.as_u16(), self.code)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = reply::json(self.status, &self.body());
        if let Some(seconds) = self.retry_after {
            answer.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from(seconds));
        }
        answer
    }
}
