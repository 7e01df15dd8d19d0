//! What the control interface shows of the world.

use crate::address::Address;
use crate::api::{AccountView, CountersView, DeviceView, EventQuery, Problem, SessionView};
use crate::counters::Tally;
use crate::events::{Entry, Event};
use crate::messages::SentMessage;
use crate::world::World;

/// Matches a person's devices, or exactly one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JidFilter(Address);

impl JidFilter {
    /// Whether this device is meant.
    #[must_use]
    pub fn matches(&self, address: &Address) -> bool {
        self.0.phone == address.phone && (self.0.device == 0 || self.0.device == address.device)
    }
}

impl World {
    /// Reads a filter by JID or phone number.
    ///
    /// # Errors
    /// When the text names nobody.
    pub fn filter(&self, jid: Option<&str>) -> Result<Option<JidFilter>, Problem> {
        jid.map(|text| self.somebody(text).map(JidFilter)).transpose()
    }

    /// The connections that their clients have not closed.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionView> {
        let view = |(id, link): (&crate::link::LinkId, &crate::link::Link)| SessionView {
            link: *id,
            jid: link.address.clone(),
            lid: link.address.as_ref().map(|address| address.lid_jid().to_string()),
            since: link.since,
            state: link.stage.name(),
            paired: link.address.as_ref().is_some_and(|address| self.is_linked(address)),
            handshake: link.pattern.map(crate::noise::Pattern::name),
            edge_routing: link.routed,
            superseded: link.superseded_by.is_some(),
            silent: link.conduct.mute(),
            faults: link.conduct.names(),
            last_frame_at: link.last_frame_at,
        };
        self.links.iter().map(view).collect()
    }

    /// The phones that have, or had, linked devices.
    #[must_use]
    pub fn accounts(&self) -> Vec<AccountView> {
        let device = |(address, device): (Address, &crate::person::Device)| DeviceView {
            lid: address.lid_jid().to_string(),
            pre_keys: device.one_time_keys.len(),
            pending: device.queue.messages(),
            linked_at: device.linked_at,
            connected: self.online_link(&address).is_some(),
            available: self.device_available(&address),
            jid: address,
        };
        let account = |person: &crate::person::Person| AccountView {
            phone: person.phone.to_string(),
            jid: person.phone.jid().to_string(),
            lid: person.phone.lid_jid().to_string(),
            devices: person.linked().zip(person.devices.values().map(Box::as_ref)).map(device).collect(),
        };
        self.people.values().filter(|person| person.ever_linked()).map(account).collect()
    }

    /// The counts of a person or device, or of everybody together.
    #[must_use]
    pub fn counters(&self, filter: Option<&JidFilter>) -> CountersView {
        let meant = |address: &Address| filter.is_none_or(|filter| filter.matches(address));
        let mut tally = if filter.is_none() { self.unattributed.clone() } else { Tally::default() };
        self.tallies.iter().filter(|(address, _)| meant(address)).for_each(|(_, counts)| tally.add(counts));
        let current = self.links.values().filter(|link| link.address.as_ref().map_or(filter.is_none(), meant)).count();
        let devices = self.people.values().flat_map(|person| person.linked().zip(person.devices.values()));
        let queued = devices.filter(|(address, _)| meant(address)).map(|(_, device)| device.queue.messages()).sum();
        CountersView { tally, current, queued }
    }

    /// What devices sent, as the recipients decrypted it.
    #[must_use]
    pub fn messages(&self) -> &[SentMessage] {
        &self.sent
    }

    /// The events that a query means, oldest first.
    ///
    /// # Errors
    /// When the query names nobody.
    pub fn matching_events(&self, query: &EventQuery) -> Result<Vec<Event>, Problem> {
        let found: Vec<&Entry> = self.matching(query)?.collect();
        let skipped = query.last.map_or(0, |last| found.len().saturating_sub(last));
        Ok(found.into_iter().skip(skipped).map(Entry::event).collect())
    }

    /// The oldest event that a query means.
    ///
    /// # Errors
    /// When the query names nobody.
    pub fn first_event(&self, query: &EventQuery) -> Result<Option<Event>, Problem> {
        Ok(self.matching(query)?.next().map(Entry::event))
    }

    fn matching(&self, query: &EventQuery) -> Result<impl Iterator<Item = &Entry>, Problem> {
        let filter = self.filter(query.jid.as_deref())?;
        let kind = query.kind;
        let concerns =
            move |event: &Entry, filter: &JidFilter| event.jid.as_ref().is_some_and(|jid| filter.matches(jid));
        let meant = move |event: &&Entry| {
            kind.is_none_or(|kind| kind == event.kind) && filter.as_ref().is_none_or(|filter| concerns(event, filter))
        };
        Ok(self.events.since(query.since.unwrap_or(0)).filter(meant))
    }

    fn is_linked(&self, address: &Address) -> bool {
        self.people.get(&address.phone).is_some_and(|person| person.devices.contains_key(&address.device))
    }
}
