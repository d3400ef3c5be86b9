//! Counter 241 of each client session that the leader serves: who it is, for people and tools.

use std::collections::BTreeMap;

use client::{Counter, Handle, Pending};
use consensus::ClusterSessionId;
use wire::position::SessionId;

use crate::counters::SESSION_TYPE;

/// What a client said of itself when it connected, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `name=... version=... commit=...`, in the client's words.
    pub client_info: String,
    /// Address of its ingress image.
    pub source: String,
    /// Transport session of its ingress image.
    pub session_id: SessionId,
}

enum Entry {
    /// Not connected yet.
    Known(String),
    Asked(Pending<Counter>),
    Shown(Counter),
    /// The driver has no room: the session goes on without.
    Refused,
}

/// The counters of all sessions.
pub struct SessionCounters {
    handle: Handle,
    cluster_id: i32,
    entries: BTreeMap<ClusterSessionId, Entry>,
}

impl SessionCounters {
    /// None yet.
    #[must_use]
    pub const fn new(handle: Handle, cluster_id: i32) -> Self {
        Self { handle, cluster_id, entries: BTreeMap::new() }
    }

    /// A session is being opened by this client, now.
    pub fn describe(&mut self, session: ClusterSessionId, origin: &Origin) {
        let label = label(self.cluster_id, origin);
        self.entries.insert(session, Entry::Known(label));
    }

    /// A session is being connected. One that was opened at another leader, or in an earlier life,
    /// is described by its response channel.
    pub fn connect(&mut self, session: ClusterSessionId, channel: &str) {
        let cluster_id = self.cluster_id;
        let known = || Entry::Known(format!("cluster-session: {channel} - clusterId={cluster_id}"));
        if session.0 > 0 {
            self.entries.entry(session).or_insert_with(known);
        }
    }

    /// Its client is there: the counter is asked for.
    pub fn on_connected(&mut self, session: ClusterSessionId) {
        let Some(entry) = self.entries.get_mut(&session) else { return };
        if let Entry::Known(label) = entry {
            let key = [&self.cluster_id.to_le_bytes()[..], &session.0.to_le_bytes()].concat();
            *entry = Entry::Asked(self.handle.add_counter(SESSION_TYPE, &key, label));
        }
    }

    /// The session is over, or led elsewhere.
    pub fn close(&mut self, session: ClusterSessionId) {
        self.entries.remove(&session);
    }

    /// Takes in counters that have come.
    pub fn advance(&mut self) {
        for (session, entry) in &mut self.entries {
            let Entry::Asked(pending) = entry else { continue };
            match pending.poll() {
                Ok(None) => {}
                Ok(Some(mut counter)) => {
                    counter.set(session.0);
                    *entry = Entry::Shown(counter);
                }
                Err(_) => *entry = Entry::Refused,
            }
        }
    }

    /// How many sessions have their counter.
    #[must_use]
    pub fn shown(&self) -> usize {
        self.entries
            .values()
            .filter(|entry| matches!(entry, Entry::Shown(counter) if !counter.is_closed()))
            .count()
    }
}

fn label(cluster_id: i32, origin: &Origin) -> String {
    let Origin { client_info, source, session_id } = origin;
    format!(
        "cluster-session: {client_info} sourceIdentity={source} sessionId={} - \
         clusterId={cluster_id}",
        session_id.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_says_who_the_client_is_and_where_it_comes_from() {
        let origin = Origin {
            client_info: "name=orders version=1 commit=abc".into(),
            source: "10.0.0.9:4711".into(),
            session_id: SessionId(-7),
        };
        let expected = "cluster-session: name=orders version=1 commit=abc \
                        sourceIdentity=10.0.0.9:4711 sessionId=-7 - clusterId=3";
        assert_eq!(label(3, &origin), expected);
    }
}
