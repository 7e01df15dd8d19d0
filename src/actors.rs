//! The supervision tree.
//!
//! ```text
//! SystemActor            phases: boot -> running -> quiescing -> draining -> flushing -> closing -> stopped
//!  ├─ SupervisorActor    the roster: starts, watches and restarts InstanceActors with backoff; parks those that crash too often
//!  │   └─ InstanceActor  one per instance: a thin shell round the connection machine; owns at most one link
//!  ├─ HealthActor        asks an instance for proof of life when its last one is an interval old
//!  ├─ LeaseActor         keeps the leases of this process where several share a database, and lets the roster follow them
//!  ├─ ExpiryActor        deletes what nobody ever paired, if DEL_INSTANCE says so
//!  └─ DispatcherActor    the outbox: deliveries to sinks, in order for each instance
//! ```
//!
//! Actors speak to each other through the messages in their `protocol` modules and hold each other as recipients, never as
//! addresses, so that a test can put a recorder anywhere. Nothing here awaits a socket or SQL: that work is spawned on the shared
//! runtime and comes back as a message.

pub mod dispatcher;
pub mod exit;
pub mod expiry;
pub mod health;
pub mod instance;
pub mod keystone;
pub mod leases;
pub mod supervisor;
pub mod system;
#[cfg(test)]
mod testing;
