//! P4 and P6: keys that are used once, and logins that end only when somebody wants that.

use crate::world::World;
use crate::world::places::Login;

impl World<'_> {
    /// P4: no key is used a second time.
    pub(crate) fn check_keys(&mut self, i: usize) {
        let cell = &self.cells[i];
        let Some(row) = cell.stored.row.filter(|row| row.paired) else { return };
        let used = cell.truth.used.get(&row.login.chains).copied().unwrap_or_default();
        if row.login.used < used {
            let at = row.login.used;
            self.broken("P4-keys", Some(i), format!("instance {i} goes on from key {at}, and {used} were used"));
        }
    }

    /// P6: nobody is asked for a code of whose login a place has a copy.
    pub(crate) fn check_code(&mut self, i: usize) {
        if self.is_kept_somewhere(i) {
            self.broken("P6-code", Some(i), format!("instance {i} shows a code, and a copy of its login is there"));
        }
    }

    /// P6: the last copy of a login stays.
    pub(crate) fn check_cleared(&mut self, i: usize, layer: usize) {
        let cell = &self.cells[i];
        let ours = cell.copies[layer].is_some_and(|copy| !copy.damaged && copy.login.device == cell.truth.which);
        if ours && self.is_kept_somewhere(i) {
            self.broken("P6-cleared", Some(i), format!("the copy of the login of instance {i} is removed"));
        }
    }

    /// Tells whether a login that WhatsApp knows is not in the database, and in a layer that could be read when it was asked.
    fn is_kept_somewhere(&self, i: usize) -> bool {
        let truth = &self.cells[i].truth;
        let stored = self.cells[i].stored.row.is_some_and(|row| row.paired && row.login.device == truth.which);
        let ended = !truth.device || truth.unlink_asked || truth.delete_asked || !truth.logouts.is_empty();
        let kept = self.whole_copies(i).any(|copy| copy.login.device == truth.which);
        kept && !stored && !ended && !self.service.restoration.was_unheard(i)
    }

    /// P6: a login that WhatsApp knows is not replaced by one that it does not know.
    pub(crate) fn check_adoption(&mut self, i: usize, login: Login) {
        let cell = &self.cells[i];
        let which = cell.truth.which;
        let good = cell.stored.row.is_some_and(|row| row.paired && row.login.device == which);
        let good = good && !self.is_damaged(i);
        if cell.truth.device && good && login.device != which {
            self.broken("P6-replaced", Some(i), format!("the login of instance {i} is replaced by one that has ended"));
        }
    }

    /// P6: credentials are archived only if an operator or WhatsApp wanted the device gone, and not at the first doubtful word.
    pub(crate) fn check_archive(&mut self, i: usize) {
        let now = self.now;
        let truth = &self.cells[i].truth;
        if truth.unlink_asked {
            return;
        }
        if truth.logouts.is_empty() {
            return self.broken(
                "P6-archive",
                Some(i),
                format!("instance {i} gives up its credentials, and nobody wanted that"),
            );
        }
        let doubtful = |at: &&u64| **at >= truth.doubt_from;
        // A start that connects nothing doubts nothing.
        if truth.doubt_from == 0 {
            return;
        }
        if let [_] = truth.logouts.iter().filter(doubtful).collect::<Vec<_>>().as_slice()
            && now < truth.doubt_from + 58_000
        {
            self.broken("P6-doubt", Some(i), format!("instance {i} believed the first 401 after a pairing or a start"));
        }
    }

    /// P6: what is deleted because nobody paired it is on no phone's list.
    pub(crate) fn check_expired(&mut self, i: usize) {
        if self.cells[i].truth.device {
            self.broken(
                "P6-expired",
                Some(i),
                format!("instance {i} is deleted as never paired, and a phone lists it"),
            );
        }
    }
}
