//! The stable codes of the HTTP layer. Those that explain a connection are in `holdfast_core::connection::down_reason`.

use holdfast_core::elsewhere::Absence;

macro_rules! codes {
    ($($variant:ident $code:literal $action:literal $sentence:literal),+ $(,)?) => {
        /// Why a request was not carried out.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ErrorCode {
            $(#[doc = $sentence] $variant,)+
        }

        impl ErrorCode {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the code, which never changes.
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// Returns a sentence for people.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence),+ }
            }

            /// Returns what a person can do about it, as one word.
            pub fn user_action(self) -> &'static str {
                match self { $(Self::$variant => $action),+ }
            }
        }
    };
}

codes! {
    Unauthorized "unauthorized" "check_key"
        "The header apikey is missing, or is neither the global key nor the token of this instance.",
    UnknownInstance "instance-unknown" "check_name"
        "There is no instance with this name.",
    NameTaken "instance-name-taken" "choose_name"
        "Another instance has this name.",
    UnknownRoute "route-unknown" "check_path"
        "There is no such path, or not with this method.",
    Malformed "request-malformed" "fix_request"
        "The body is not the JSON that it says it is.",
    Invalid "request-invalid" "fix_request"
        "A field is missing, has the wrong type or a value that is not allowed.",
    TooLarge "request-too-large" "fix_request"
        "The body is larger than this route takes.",
    TooSlow "request-too-slow" "retry"
        "The body did not arrive in its time.",
    OriginRefused "origin-refused" "check_cors"
        "CORS_ORIGIN does not list the origin of the page that calls.",
    IntegrationInvalid "integration-invalid" "fix_request"
        "The integration is missing or unknown.",
    WebhookRefused "webhook-address-refused" "allow_network"
        "The webhook's address is none that this service calls: it is not public, and WEBHOOK_ALLOWED_NETWORKS does not have it.",
    ProxyUnusable "proxy-unusable" "check_proxy"
        "The proxy cannot be used; explanation says why. Nothing was changed.",
    Unsupported "not-supported" "fix_request"
        "Evolution API can do this, this engine cannot, or not yet.",
    NotConnected "instance-not-connected" "wait"
        "The instance has no open connection; reason says why, if that is known.",
    NumberUnknown "number-not-on-whatsapp" "check_number"
        "The recipient has no WhatsApp account.",
    MessageInvalid "message-invalid" "fix_request"
        "The message cannot be sent as it is.",
    MessageFailed "message-failed" "read_log"
        "The message could not be sent.",
    MessageUnconfirmed "message-unconfirmed" "check_chat"
        "The message has left, but WhatsApp has not confirmed it: look into the chat before it is sent again.",
    SendLimited "send-rate-limited" "wait"
        "The instance has sent as many messages as SEND_RATE_PER_MINUTE allows; nothing was sent.",
    KeyInvalid "idempotency-key-invalid" "fix_request"
        "The header Idempotency-Key is there, but is no key.",
    KeyInUse "idempotency-key-in-use" "retry"
        "A request with this Idempotency-Key is under way.",
    KeyReused "idempotency-key-reused" "fix_request"
        "An earlier request with this Idempotency-Key asked for something else.",
    RestoreNotPrepared "restore-not-prepared" "run_restore"
        "No backup with this id lies prepared beside the database.",
    RestoreUnfit "restore-unfit" "check_settings"
        "What was prepared does not fit this engine; nothing was changed.",
    Overloaded "overloaded" "retry"
        "Too much waits already, or the instance does not answer in its time; nothing was lost.",
    Starting "service-starting" "retry"
        "The service is starting and does not know its instances yet.",
    Stopping "service-stopping" "retry"
        "The service is stopping and takes no new work.",
    StoreUnavailable "store-unavailable" "check_store"
        "The database does not answer.",
    InstanceReturning "instance-returning" "retry"
        "The instance is known from a copy and is not back in the database yet; GET /engine/restoration says why.",
    InstanceMoving "instance-moving" "retry"
        "A node is taking the instance over at this moment; nothing was done.",
    InstanceUnowned "instance-unowned" "wait"
        "No living node owns the instance at present; nothing was done.",
    NodeWithoutUrl "node-without-url" "check_settings"
        "The node that owns the instance has no NODE_URL, so that no other node can hand requests on to it; nothing was done.",
    NodeUnreachable "node-unreachable" "check_network"
        "The node that owns the instance does not answer.",
    NodeRefused "node-refused" "check_settings"
        "A node's credential was not accepted: the session keys of the nodes differ, or their clocks by more than a minute; nothing was done.",
    ForwardInterrupted "forward-interrupted" "check_state"
        "The connection to the node that owns the instance broke after the request was sent: it may have been carried out, or not.",
    Internal "internal-error" "read_log"
        "Something went wrong that should not have; the log says what.",
}

impl ErrorCode {
    /// Returns the code of an instance that cannot be reached.
    pub fn of_absence(absence: Absence) -> Self {
        match absence {
            Absence::Unowned => Self::InstanceUnowned,
            Absence::Moving => Self::InstanceMoving,
            Absence::WithoutUrl => Self::NodeWithoutUrl,
            Absence::Unreachable => Self::NodeUnreachable,
        }
    }
}
