//! The code that a person types on the phone: one for each attempt and number, since another would void the one being typed.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Mutex as AsyncMutex;
use whatsapp_rust::Client;
use whatsapp_rust::pair_code::{PairCodeOptions, PairError};

/// A code as it is shown, and the number it belongs to.
pub(super) struct Shown {
    pub(super) number: String,
    pub(super) code: String,
}

/// What is wanted of one dial, and whether it was asked for.
pub(super) struct PairingCode {
    wanted: Mutex<Wanted>,
    /// WhatsApp is asked one thing after the other.
    turn: AsyncMutex<()>,
}

struct Wanted {
    number: Option<String>,
    asked: bool,
}

impl PairingCode {
    /// Wants a code for this number, if any.
    pub(super) fn new(number: Option<String>) -> Self {
        Self { wanted: Mutex::new(Wanted { number, asked: false }), turn: AsyncMutex::new(()) }
    }

    /// Wants a code for this number, which the one for another number must not outlive.
    pub(super) fn want(&self, number: String) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.number.as_ref() != Some(&number) {
            *wanted = Wanted { number: Some(number), asked: false };
        }
    }

    /// The code that was shown leads nowhere any more: a new one is wanted.
    pub(super) fn voided(&self) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).asked = false;
    }

    /// Asks WhatsApp for the code that is wanted, unless that was done.
    pub(super) async fn ask(&self, client: &Arc<Client>) -> Option<Result<Shown, PairError>> {
        let _turn = self.turn.lock().await;
        let number = self.to_ask()?;
        // The library makes no code beside another one.
        client.cancel_pair_code().await;
        let options = PairCodeOptions { phone_number: number.clone(), ..PairCodeOptions::default() };
        let asked = Box::pin(client.pair_with_code(options)).await;
        Some(asked.map(|code| Shown { number, code }))
    }

    fn to_ask(&self) -> Option<String> {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let number = wanted.number.clone().filter(|_| !wanted.asked);
        // Also if it fails: WhatsApp counts requests for each number, and another dial asks again.
        wanted.asked = true;
        number
    }
}

#[cfg(test)]
mod tests {
    use super::PairingCode;

    #[test]
    fn a_code_is_asked_for_once_for_each_number() {
        let code = PairingCode::new(None);
        assert_eq!(code.to_ask(), None);
        code.want("1".into());
        assert_eq!(code.to_ask().as_deref(), Some("1"));
        code.want("1".into());
        assert_eq!(code.to_ask(), None);
        code.want("2".into());
        assert_eq!(code.to_ask().as_deref(), Some("2"));
        code.voided();
        assert_eq!(code.to_ask().as_deref(), Some("2"));
        assert_eq!(code.to_ask(), None);
    }
}
