//! A simulated WhatsApp server, to be paired with, talked to and broken on purpose.
//!
//! It speaks the real wire on loopback: WebSocket, Noise, stanzas, Signal. What devices do to it is counted, so that a
//! test can say what a client did wrong. It shares no code with the service that is tested against it.
//!
//! Reading order: [`simulator`] (start and stop), [`connection`] (bytes to stanzas), [`world`] (what the server knows and
//! does; its conduct is spread over [`login`], [`linking`], [`messages`], [`delivery`],
//! [`receipts`], [`iq`] and [`faults`]), [`operator`]
//! and [`api`] (what can be asked of it).
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use holdfast_sim::{Options, ScanRequest, Simulator};
//!
//! let simulator = Simulator::start(Options::default()).await?;
//! println!("clients connect to {}", simulator.ws_url());
//! let device = simulator.scan(&ScanRequest { qr: "the text of a QR code".into(), ..ScanRequest::default() }).await?;
//! println!("linked {}", device.jid);
//! # Ok(()) }
//! ```

pub mod address;
pub mod adoption;
pub mod api;
pub mod ban;
pub mod calls;
pub mod cert;
pub mod codec;
pub mod conduct;
pub mod connection;
pub mod control;
pub mod counters;
pub mod delivery;
pub mod dirty;
pub mod door;
pub mod encoding;
pub mod events;
pub mod faults;
pub mod group_delivery;
pub mod group_messages;
pub mod groups;
pub mod hub;
pub mod iq;
pub mod key_share;
pub mod keys;
pub mod late;
pub mod ledger;
pub mod link;
pub mod linking;
pub mod login;
pub mod media;
pub mod media_host;
pub mod membership;
pub mod messages;
pub mod noise;
pub mod operator;
pub mod pairing;
pub mod peer;
pub mod person;
pub mod presence;
pub mod queue;
pub mod reading;
pub mod receipts;
pub mod report;
pub mod resend;
pub mod rules;
pub mod served;
pub mod server;
pub mod server_ping;
pub mod signal;
pub mod simulator;
pub mod socket;
pub mod state_file;
pub mod time;
pub mod tls;
pub mod traffic;
pub mod upgrade;
pub mod wire;
pub mod world;

pub use adoption::{AdoptAnswer, AdoptDevice, AdoptRequest, Adopted};
pub use api::groups::{GroupAnswer, GroupRequest, GroupView, MemberView};
pub use api::signs::{
    CallAnswer, CallRequest, DirtyRequest, HitAnswer, PingRequest, PresenceRequest, ReceiptAnswer, ReceiptRequest,
    Ringing,
};
pub use api::{EventQuery, MessageRequest, PairingCodeRequest, Problem, ScanAnswer, ScanRequest};
pub use door::{RefuseAnswer, RefuseMode, RefuseRequest};
pub use events::{Event, EventKind};
pub use faults::{Action, FaultRequest};
pub use media::{ExpireAnswer, ExpireRequest, MediaView};
pub use messages::SentMessage;
pub use operator::Operator;
pub use presence::State;
pub use reading::Reading;
pub use rules::{LoginFailure, MessageFailure, Rules, Slow};
pub use served::ServedView;
pub use simulator::{Options, Simulator, StartError};
pub use traffic::{TrafficRequest, TrafficView};
