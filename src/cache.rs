//! Copies of sessions in Redis: fast to read at the start, never a source of truth, and nothing that anybody waits for.
//!
//! | file | noun |
//! |---|---|
//! | `redis` | the layer: one hash for each session, with the state that it is of |
//! | `gate` | whether Redis is asked at all, and what is said of its silence |
//! | `look` | what it is like, seen from outside |
//! | `marker` | whose the keys of a prefix are |
//!
//! Nothing is cached in the process where Redis is off: what a process knows it reads from the board and from the database.

mod gate;
mod look;
mod marker;
mod redis;

pub use self::look::{Eviction, RedisLook, Unseen, look};
pub use self::marker::{Holder, Marker};
pub use self::redis::{CacheError, RedisCache, RedisOptions};
