//! The life of one instance.
//!
//! ```text
//!               Connect              QR or code            PairSuccess, 515
//!   Unpaired ------------> Connecting ---------> Pairing ----------------+
//!      ^                    ^  |  ^                                      |
//!      | LogOut, QR limit   |  |  +--------------------------------------+
//!      |                    |  | success
//!      |          deadline  |  v                 pong after offline drain
//!   Parked <----+   BackingOff <---- Syncing ------------------------> Online
//!      ^        |     ^  ^             link down, silence                |
//!      |        +-----+  +-----------------------------------------------+
//!      | logged out, replaced, banned, outdated, refused
//!      |
//!   any state -- Shutdown or Delete --> Draining: Save, then CloseLink, then Exit --> Stopped
//! ```
//!
//! Four ideas carry it. The next deadline is a property of the state, so there are no stale timers. Every fact names its link, so an
//! old socket can change nothing. Saving is an effect with an answer, so the close comes after it. And a link that is being closed is
//! still *the* link: nothing dials until its end was reported.

mod dial;
pub mod down_reason;
pub mod effect;
mod ending;
pub mod event;
mod facts;
pub mod state;
mod step;
mod trouble;

pub use down_reason::{DownReason, Verdict};
pub use effect::{Effect, Notice, Refusal};
pub use event::{Desired, Event, Method, PairingText};
pub use state::{Machine, ParkReason, Phase, State, WaitReason};
pub use step::{Env, Policy};
pub use trouble::{Memory, Trouble};
