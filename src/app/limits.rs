//! The limit of open files: raised as far as the host allows, and compared with what the stored instances need.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

/// Descriptors of a service without instances: database, logs, threads' own, and HTTP clients.
const BASE: u64 = 256;
/// Descriptors of one instance: its socket, the one that it replaces, and a transfer of media.
const EACH: u64 = 3;

/// Returns how many descriptors a service with so many instances may need.
pub fn need(instances: usize) -> u64 {
    BASE + EACH * instances as u64
}

/// Raises the limit to what the host allows, and warns if that is too little for `instances`.
pub(super) fn check(instances: usize) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let allowed = maximum.unwrap_or(u64::MAX);
    let mut limit = current.unwrap_or(u64::MAX);
    if limit < allowed {
        match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
            Ok(()) => {
                info!(from = limit, to = allowed, "The limit of open files was raised to what the host allows");
                limit = allowed;
            }
            Err(error) => warn!("The limit of open files stays at {limit}: {error}"),
        }
    }
    let need = need(instances);
    if limit < need {
        warn!(
            limit,
            need,
            instances,
            "{instances} instances may need {need} open files, and the host allows {limit}: set LimitNOFILE or ulimit -n to at least {need}"
        );
    }
}
