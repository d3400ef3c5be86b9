//! Where a send endpoint sends to.

use std::net::SocketAddr;

use runtime::Nanos;

/// A dynamic destination that is silent for longer is gone; a named one is resolved anew.
pub(crate) const DESTINATION_TIMEOUT: Nanos = Nanos::from_secs(5);

/// One of several destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// The correlation id of the command that added it; -1 when it came by itself.
    pub(crate) registration_id: i64,
    pub(crate) address: SocketAddr,
    /// `host:port` when the host is a name.
    pub(crate) name: Option<String>,
    /// Learnt from its status messages.
    pub(crate) receiver_id: Option<i64>,
    pub(crate) last_activity: Nanos,
}

impl Destination {
    pub(crate) fn manual(registration_id: i64, address: SocketAddr, name: Option<String>) -> Self {
        let last_activity = Nanos(0);
        Self { registration_id, address, name, receiver_id: None, last_activity }
    }
}

/// The destinations of an endpoint.
#[derive(Debug)]
pub(crate) enum Destinations {
    /// The socket is connected.
    Connected,
    /// One, by address; unknown until a requester shows up for a response channel.
    One { address: Option<SocketAddr>, is_response: bool },
    /// By command.
    Manual(Vec<Destination>),
    /// As receivers show up.
    Dynamic(Vec<Destination>),
}

impl Destinations {
    /// The list of several, if this is one.
    pub(crate) fn list(&self) -> Option<&[Destination]> {
        match self {
            Self::Manual(list) | Self::Dynamic(list) => Some(list),
            Self::Connected | Self::One { .. } => None,
        }
    }

    pub(crate) fn add(&mut self, destination: Destination, now: Nanos) {
        if let Self::Manual(list) = self {
            list.push(Destination { last_activity: now, ..destination });
        }
    }

    pub(crate) fn remove(&mut self, mut is_meant: impl FnMut(&Destination) -> bool) {
        if let Self::Manual(list) = self {
            list.retain(|destination| !is_meant(destination));
        }
    }

    /// A status message came from there. Returns whether a destination was added.
    pub(crate) fn on_status_message(
        &mut self,
        receiver_id: i64,
        source: SocketAddr,
        now: Nanos,
    ) -> bool {
        match self {
            Self::Connected | Self::One { .. } => false,
            Self::Manual(list) => {
                let known = list.iter_mut().find(|destination| {
                    destination.receiver_id == Some(receiver_id)
                        && destination.address.port() == source.port()
                });
                if let Some(destination) = known {
                    destination.last_activity = now;
                } else if let Some(destination) =
                    list.iter_mut().find(|destination| destination.address == source)
                {
                    destination.receiver_id = Some(receiver_id);
                    destination.last_activity = now;
                }
                false
            }
            Self::Dynamic(list) => {
                let known = list.iter_mut().find(|destination| {
                    destination.receiver_id == Some(receiver_id)
                        && destination.address.port() == source.port()
                });
                if let Some(destination) = known {
                    destination.last_activity = now;
                    destination.address = source;
                    return false;
                }
                list.push(Destination {
                    registration_id: -1,
                    address: source,
                    name: None,
                    receiver_id: Some(receiver_id),
                    last_activity: now,
                });
                true
            }
        }
    }

    /// Drops dynamic destinations that have been silent. Returns whether any went.
    pub(crate) fn on_timer(&mut self, now: Nanos) -> bool {
        let Self::Dynamic(list) = self else { return false };
        let before = list.len();
        list.retain(|destination| now - destination.last_activity <= DESTINATION_TIMEOUT);
        list.len() != before
    }

    /// When a dynamic destination may have to go.
    pub(crate) fn next_deadline(&self) -> Nanos {
        let Self::Dynamic(list) = self else { return Nanos::MAX };
        let oldest = list.iter().map(|destination| destination.last_activity).min();
        oldest.map_or(Nanos::MAX, |time| time + DESTINATION_TIMEOUT + Nanos(1))
    }

    /// The registration id behind an address, for errors: -1 when there is none.
    pub(crate) fn registration_of(&self, receiver_id: i64, source: SocketAddr) -> i64 {
        let list = self.list().unwrap_or_default();
        let known = list.iter().find(|destination| {
            destination.receiver_id == Some(receiver_id) || destination.address == source
        });
        known.map_or(-1, |destination| destination.registration_id)
    }

    /// A name has a new address.
    pub(crate) fn on_resolved(&mut self, name: &str, address: SocketAddr, now: Nanos) {
        if let Self::Manual(list) = self {
            for destination in list {
                if destination.name.as_deref() == Some(name) {
                    destination.address = address;
                    destination.last_activity = now;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn dynamic_destinations_come_with_status_messages_and_go_with_silence() {
        let mut destinations = Destinations::Dynamic(Vec::new());
        assert!(destinations.on_status_message(7, address(1), Nanos(0)));
        assert!(!destinations.on_status_message(7, address(1), Nanos::from_secs(3)));
        assert!(destinations.on_status_message(8, address(2), Nanos::from_secs(3)));
        assert!(!destinations.on_timer(Nanos::from_secs(8)));
        assert!(destinations.on_timer(destinations.next_deadline()));
        assert_eq!(destinations.list().unwrap().len(), 0);
    }

    #[test]
    fn manual_destinations_are_known_by_address_and_then_by_receiver() {
        let mut destinations = Destinations::Manual(Vec::new());
        destinations.add(Destination::manual(5, address(1), None), Nanos(0));
        assert_eq!(destinations.registration_of(7, address(9)), -1);
        assert!(!destinations.on_status_message(7, address(1), Nanos(1)));
        assert_eq!(destinations.registration_of(7, address(9)), 5);
        destinations.remove(|destination| destination.registration_id == 5);
        assert_eq!(destinations.list().unwrap().len(), 0);
    }
}
