//! From where one image is fed: usually one transport, several for a multi-destination
//! subscription.

use std::net::SocketAddr;

use runtime::Nanos;

/// Of several connections, those silent for longer get no feedback.
const ACTIVITY_TIMEOUT: Nanos = Nanos::from_secs(5);

struct Connection {
    /// The registration id of the transport.
    transport: i64,
    /// Where feedback goes.
    control: SocketAddr,
    /// Whether `control` was given rather than learnt.
    is_explicit: bool,
    last_activity: Nanos,
    /// Where this source says that the stream ends.
    end: Option<i64>,
}

/// The connections of one image.
pub(crate) struct Connections {
    list: Vec<Connection>,
}

impl Connections {
    /// With the connection that brought the setup. `control` is the transport's own address for
    /// feedback, if it has one.
    pub(crate) fn new(
        transport: i64,
        source: SocketAddr,
        control: Option<SocketAddr>,
        now: Nanos,
    ) -> Self {
        let mut connections = Self { list: Vec::new() };
        connections.add(transport, source, control, now);
        connections
    }

    /// One more transport carries the stream; fine if it is known.
    pub(crate) fn add(
        &mut self,
        transport: i64,
        source: SocketAddr,
        control: Option<SocketAddr>,
        now: Nanos,
    ) {
        if self.list.iter().any(|known| known.transport == transport) {
            return;
        }
        self.list.push(Connection {
            transport,
            control: control.unwrap_or(source),
            is_explicit: control.is_some(),
            last_activity: now,
            end: None,
        });
    }

    pub(crate) fn remove(&mut self, transport: i64) {
        self.list.retain(|known| known.transport != transport);
    }

    /// Something came in. A source that was silent may have moved.
    #[inline]
    pub(crate) fn on_activity(&mut self, transport: i64, source: &SocketAddr, now: Nanos) {
        match self.list.iter_mut().find(|known| known.transport == transport) {
            Some(known) => {
                let was_silent = now - known.last_activity > ACTIVITY_TIMEOUT;
                if was_silent && !known.is_explicit {
                    known.control = *source;
                }
                known.last_activity = now;
            }
            None => self.add(transport, *source, None, now),
        }
    }

    /// This source says that the stream ends there.
    pub(crate) fn on_end(&mut self, transport: i64, position: i64) {
        if let Some(known) = self.list.iter_mut().find(|known| known.transport == transport) {
            known.end = Some(position);
        }
    }

    /// The end of the stream once every source has told it.
    pub(crate) fn end_position(&self) -> Option<i64> {
        let ends = self.list.iter().map(|known| known.end);
        ends.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Feedback goes to the only connection whatever its state, else to those that are live.
    pub(crate) fn for_each_live(&self, now: Nanos, mut on: impl FnMut(i64, SocketAddr)) {
        let is_only = self.list.len() == 1;
        for known in &self.list {
            if is_only || now - known.last_activity < ACTIVITY_TIMEOUT {
                on(known.transport, known.control);
            }
        }
    }

    /// How many were heard within `timeout`.
    pub(crate) fn live_count(&self, now: Nanos, timeout: Nanos) -> i32 {
        let live = self.list.iter().filter(|known| now - known.last_activity < timeout).count();
        i32::try_from(live).unwrap_or(i32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn a_stream_ends_when_every_source_says_so_at_the_furthest() {
        let mut connections = Connections::new(1, address(1), None, Nanos(0));
        connections.add(2, address(2), None, Nanos(0));
        connections.on_end(1, 64);
        assert_eq!(connections.end_position(), None);
        connections.on_end(2, 128);
        assert_eq!(connections.end_position(), Some(128));
        connections.remove(2);
        assert_eq!(connections.end_position(), Some(64));
    }

    #[test]
    fn feedback_goes_to_live_sources_and_to_the_only_one_in_any_case() {
        let live = |connections: &Connections, now| {
            let mut ports = Vec::new();
            connections.for_each_live(now, |_, to| ports.push(to.port()));
            ports
        };
        let mut connections = Connections::new(1, address(1), None, Nanos(0));
        assert_eq!(live(&connections, Nanos::from_secs(60)), [1]);
        connections.add(2, address(2), Some(address(9)), Nanos::from_secs(59));
        assert_eq!(live(&connections, Nanos::from_secs(60)), [9]);
        connections.on_activity(1, &address(7), Nanos::from_secs(60));
        assert_eq!(live(&connections, Nanos::from_secs(60)), [7, 9]);
        assert_eq!(connections.live_count(Nanos::from_secs(60), Nanos::from_secs(10)), 2);
    }
}
