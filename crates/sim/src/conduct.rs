//! How the server treats one connection until it is told otherwise.

use crate::link::LinkId;
use crate::world::{Effect, World};

/// What lasts of the faults of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conduct {
    /// The server reads on, and writes nothing.
    pub silent: bool,
    /// The server neither reads nor writes.
    pub stalled: bool,
    /// Pings are counted and not answered.
    pub mute_pings: bool,
    /// How late everything is sent, in milliseconds.
    pub delay_ms: u64,
}

impl Conduct {
    /// Whether nothing is written.
    #[must_use]
    pub fn mute(&self) -> bool {
        self.silent || self.stalled
    }

    /// What lasts, by the names of the actions that asked for it.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let lasting = [
            (self.silent, "silent"),
            (self.stalled, "stall"),
            (self.mute_pings, "mute-pings"),
            (self.delay_ms > 0, "delay"),
        ];
        lasting.into_iter().filter_map(|(lasts, name)| lasts.then_some(name)).collect()
    }
}

impl World {
    /// Treats a connection differently from now on.
    pub(crate) fn treat(&mut self, id: LinkId, change: impl FnOnce(&mut Conduct)) {
        if let Some(link) = self.links.get_mut(&id) {
            change(&mut link.conduct);
            let conduct = link.conduct;
            self.push_effect(Effect::Treat(id, conduct));
            self.review_link(id);
        }
    }

    /// Whether pings on this connection stay without an answer.
    pub(crate) fn ignores_pings(&self, id: LinkId) -> bool {
        self.links.get(&id).is_some_and(|link| link.conduct.mute_pings)
    }
}
