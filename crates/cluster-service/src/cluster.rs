//! The cluster, as a service sees it while it handles an event.

use wire::cluster::{Role, TimeUnit};
use wire::position::Position;

use crate::requests::Requests;
use crate::service::{ClusterSessionId, TimerId};

/// What surrounds the event that is being handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The cluster's time: the time stamp of the event in the log, equal on all members.
    pub time: i64,
    /// Unit of that time.
    pub time_unit: TimeUnit,
    /// Where the log stands behind the event.
    pub position: Position,
    /// The leadership term that appended it.
    pub leadership_term_id: i64,
    /// What this member is. Differs between members.
    pub role: Role,
    /// Which member this is.
    pub member_id: i32,
    /// Which of the node's services this is.
    pub service_id: i32,
}

/// Why a message did not go to a client. The client may never see it: it may ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No session of this id is open.
    #[error("session {0:?} is not open")]
    UnknownSession(ClusterSessionId),
    /// The client's channel is not connected, or not yet.
    #[error("the client is not connected")]
    NotConnected,
    /// The client does not keep up.
    #[error("the client does not keep up")]
    BackPressured,
    /// The message is longer than the client's channel carries.
    #[error("a message of {length} bytes is longer than {longest}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The longest that the channel carries.
        longest: usize,
    },
}

/// Where messages to clients go.
pub trait Egress {
    /// Sends a message that lies in several parts.
    ///
    /// # Errors
    /// See [`SendError`].
    fn send(&mut self, session: ClusterSessionId, parts: &[&[u8]]) -> Result<(), SendError>;

    /// The open sessions, ascending.
    fn sessions(&self) -> &[ClusterSessionId];

    /// Who a session's client was authenticated as; empty without authentication.
    fn principal(&self, session: ClusterSessionId) -> Option<&[u8]>;
}

/// Numbers that a service shows to tools: values of counters in the driver's directory.
#[derive(Debug, Default)]
pub struct Gauges {
    gauges: Vec<Gauge>,
}

#[derive(Debug)]
struct Gauge {
    label: String,
    type_id: i32,
    value: i64,
}

/// Names a gauge of this service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GaugeId(usize);

impl Gauges {
    /// Every gauge in the order in which it was made: type id, label and value.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (i32, &str, i64)> {
        self.gauges.iter().map(|gauge| (gauge.type_id, gauge.label.as_str(), gauge.value))
    }
}

/// The handle that every method of a service gets. Never kept.
pub struct Cluster<'a> {
    event: &'a Event,
    requests: &'a mut Requests,
    egress: &'a mut dyn Egress,
    gauges: &'a mut Gauges,
    failure: &'a mut Option<String>,
}

impl<'a> Cluster<'a> {
    /// A handle for one event. Containers make it; tests make theirs and look into the parts
    /// afterwards.
    pub fn new(
        event: &'a Event,
        requests: &'a mut Requests,
        egress: &'a mut dyn Egress,
        gauges: &'a mut Gauges,
        failure: &'a mut Option<String>,
    ) -> Self {
        Self { event, requests, egress, gauges, failure }
    }

    /// The cluster's time: that of the event, in [`Cluster::time_unit`] since 1970. It stands still
    /// while an event is handled and is equal on all members.
    #[must_use]
    pub fn time(&self) -> i64 {
        self.event.time
    }

    /// Unit of the cluster's time.
    #[must_use]
    pub fn time_unit(&self) -> TimeUnit {
        self.event.time_unit
    }

    /// Where the log stands behind the event: equal on all members, growing with each event.
    #[must_use]
    pub fn position(&self) -> Position {
        self.event.position
    }

    /// What this member is. Nothing that becomes state may depend on it.
    #[must_use]
    pub fn role(&self) -> Role {
        self.event.role
    }

    /// Which member this is. Nothing that becomes state may depend on it.
    #[must_use]
    pub fn member_id(&self) -> i32 {
        self.event.member_id
    }

    /// Which of the node's services this is: equal on all members.
    #[must_use]
    pub fn service_id(&self) -> i32 {
        self.event.service_id
    }

    /// The open sessions, ascending: equal on all members.
    #[must_use]
    pub fn sessions(&self) -> &[ClusterSessionId] {
        self.egress.sessions()
    }

    /// Who a session's client was authenticated as: equal on all members. `None` when no session of
    /// this id is open.
    #[must_use]
    pub fn principal(&self, session: ClusterSessionId) -> Option<&[u8]> {
        self.egress.principal(session)
    }

    /// Sends a message to a client, if this member leads; others pretend to.
    ///
    /// The result differs between members: nothing that becomes state may depend on it.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send(&mut self, session: ClusterSessionId, message: &[u8]) -> Result<(), SendError> {
        self.send_parts(session, &[message])
    }

    /// Like [`Cluster::send`], for a message that lies in several parts.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send_parts(
        &mut self,
        session: ClusterSessionId,
        parts: &[&[u8]],
    ) -> Result<(), SendError> {
        self.egress.send(session, parts)
    }

    /// Closes a client's session: the log will say when it is closed.
    pub fn close_session(&mut self, session: ClusterSessionId) {
        self.requests.close_session(session.0, self.event.position);
    }

    /// Sets a timer to a time of the cluster, or moves it. One in the past fires at once.
    pub fn schedule_timer(&mut self, timer: TimerId, deadline: i64) {
        self.requests.schedule_timer(timer.0, deadline, self.event.position);
    }

    /// Forgets a timer. One that has gone into the log fires all the same.
    pub fn cancel_timer(&mut self, timer: TimerId) {
        self.requests.cancel_timer(timer.0, self.event.position);
    }

    /// Sends a message to all services of all members, this one included, by way of the log.
    pub fn offer(&mut self, message: &[u8]) {
        let Event { leadership_term_id, service_id, position, .. } = *self.event;
        self.requests.offer((leadership_term_id, service_id), message, position);
    }

    /// Makes a number that tools can read: a counter of type `type_id` (1000 and up are free).
    pub fn add_gauge(&mut self, type_id: i32, label: &str) -> GaugeId {
        self.gauges.gauges.push(Gauge { label: label.to_string(), type_id, value: 0 });
        GaugeId(self.gauges.gauges.len() - 1)
    }

    /// Shows a number. Tools see it in its place behind those set earlier in the same event.
    pub fn set_gauge(&mut self, gauge: GaugeId, value: i64) {
        if let Some(gauge) = self.gauges.gauges.get_mut(gauge.0) {
            gauge.value = value;
        }
    }

    /// The service cannot go on: this member's container ends, with the cause in its log.
    pub fn fail(&mut self, cause: impl Into<String>) {
        self.failure.get_or_insert_with(|| cause.into());
    }
}
