//! Messages that somebody has asked for again, until they were sent again.

use whatsapp_rust::Jid;

use wacore::store::traits::ProtocolStore as _;

use super::protocol::SENT;
use super::value::joined;
use super::{Backend, Result, Unusable, delete, put};

/// How often a message was sent again after a restart, by chat and id.
const OWED: &str = "owed-message";

/// A message that is owed to a chat.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::whatsapp) struct Debt {
    pub(in crate::whatsapp) chat: String,
    pub(in crate::whatsapp) id: String,
}

impl Debt {
    fn key(&self) -> String {
        joined(&[&self.chat, &self.id])
    }
}

impl Backend {
    /// Notes that a message is to be sent again, for the `times`th time since it was asked for.
    pub(in crate::whatsapp) async fn owe(&self, debt: &Debt, times: u8) -> Result<(), Unusable> {
        self.write(put(OWED, debt.key(), vec![times])).await
    }

    /// Forgets a message that was sent again, or cannot be.
    pub(in crate::whatsapp) async fn forgive(&self, debt: &Debt) -> Result<(), Unusable> {
        self.write(delete(OWED, debt.key())).await
    }

    /// Returns what is owed, with how often it was sent again.
    pub(in crate::whatsapp) async fn owed(&self) -> Result<Vec<(Debt, u8)>, Unusable> {
        let rows = self.scan(OWED, "").await?;
        let read = |(key, value): (String, Vec<u8>)| {
            let (chat, id) = key.split_once('|').ok_or_else(|| self.corrupt("key of an owed message"))?;
            let times = *value.first().ok_or_else(|| self.corrupt("count of an owed message"))?;
            Ok((Debt { chat: chat.to_owned(), id: id.to_owned() }, times))
        };
        rows.into_iter().map(read).collect()
    }

    /// Returns the content of a message that was sent to a chat, by whichever of its names.
    pub(in crate::whatsapp) async fn sent(&self, debt: &Debt) -> Result<Option<Vec<u8>>> {
        for chat in self.names(&debt.chat).await? {
            if let Some(content) = self.read(SENT, &joined(&[&chat, &debt.id])).await? {
                return Ok(Some(content));
            }
        }
        Ok(None)
    }

    async fn names(&self, chat: &str) -> Result<Vec<String>> {
        let mut names = vec![chat.to_owned()];
        if let Ok(jid) = chat.parse::<Jid>() {
            if jid.is_pn() {
                let known = self.get_pn_mapping(&jid.user).await?;
                names.extend(known.map(|known| Jid::lid(known.lid.as_str()).to_string()));
            } else if jid.is_lid() {
                let known = self.get_lid_mapping(&jid.user).await?;
                names.extend(known.map(|known| Jid::pn(known.phone_number.as_str()).to_string()));
            }
        }
        Ok(names)
    }
}
