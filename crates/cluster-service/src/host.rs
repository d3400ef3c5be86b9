//! The service with all that it sees: turns events of the log into its calls.
//!
//! Knows nothing of images and streams; the only thing that it asks of the driver are the channels
//! to clients.

use client::Handle;
use wire::bytes::SemanticVersion;
use wire::cluster::ingress::SessionMessageHeader;
use wire::cluster::log::{
    ClusterAction, ClusterActionRequest, Log, NewLeadershipTermEvent, SessionOpenEvent,
};
use wire::cluster::{Role, TimeUnit};
use wire::position::Position;

use crate::cluster::{Cluster, Event, Gauges};
use crate::config::Config;
use crate::requests::Requests;
use crate::service::{ClusterSessionId, ClusteredService, Step, TimerId};
use crate::session::{Session, Sessions};
use crate::snapshot::{PendingSnapshot, SnapshotWriter};

/// What is to be done once an event has been handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Go on.
    Continue,
    /// A snapshot of the state behind this event.
    Snapshot,
}

/// A service and what it sees.
pub(crate) struct Host {
    service: Box<dyn ClusteredService>,
    pub(crate) event: Event,
    pub(crate) requests: Requests,
    pub(crate) sessions: Sessions,
    pub(crate) gauges: Gauges,
    failure: Option<String>,
    is_responder: bool,
    app_version: SemanticVersion,
}

impl Host {
    pub(crate) fn new(service: Box<dyn ClusteredService>, config: &Config) -> Self {
        let event = Event {
            time: 0,
            time_unit: TimeUnit::Millis,
            position: Position(0),
            leadership_term_id: -1,
            role: Role::Follower,
            member_id: -1,
            service_id: config.service_id,
        };
        Self {
            service,
            event,
            requests: Requests::default(),
            sessions: Sessions::default(),
            gauges: Gauges::default(),
            failure: None,
            is_responder: config.is_responder,
            app_version: SemanticVersion(config.app_version),
        }
    }

    /// Why the service cannot go on, if it said so.
    pub(crate) fn take_failure(&mut self) -> Option<String> {
        self.failure.take()
    }

    pub(crate) const fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Calls the service for an event of the log.
    fn call(&mut self, call: impl FnOnce(&mut dyn ClusteredService, &mut Cluster<'_>)) {
        self.sessions.set_event(self.event.leadership_term_id, self.event.time);
        let Self { service, requests, sessions, gauges, failure, event, .. } = self;
        let mut cluster = Cluster::new(event, requests, sessions, gauges, failure);
        call(&mut **service, &mut cluster);
    }

    /// Calls the service for something that does not stand in the log at this place for all
    /// members: what it asks of the cluster here would make members differ.
    fn call_outside(
        &mut self,
        what: &str,
        call: impl FnOnce(&mut dyn ClusteredService, &mut Cluster<'_>),
    ) {
        let mut requests = std::mem::take(&mut self.requests);
        self.call(call);
        std::mem::swap(&mut requests, &mut self.requests);
        if !requests.is_empty() && self.failure.is_none() {
            self.failure = Some(format!("timers, closes and offers are not allowed in {what}"));
        }
    }

    pub(crate) fn on_snapshot(&mut self, message: &[u8]) {
        self.call_outside("on_snapshot", |service, cluster| service.on_snapshot(cluster, message));
    }

    pub(crate) fn on_start(&mut self) {
        self.call_outside("on_start", |service, cluster| service.on_start(cluster));
    }

    pub(crate) fn on_terminate(&mut self) {
        self.call_outside("on_terminate", |service, cluster| service.on_terminate(cluster));
    }

    /// This member's role is another now.
    pub(crate) fn set_role(&mut self, role: Role) {
        self.sessions.set_leading(role == Role::Leader);
        if self.event.role != role {
            self.event.role = role;
            self.call_outside("on_role_change", |service, cluster| {
                service.on_role_change(cluster, role);
            });
        }
    }

    /// Writes the next part of the state.
    pub(crate) fn take_snapshot(&mut self, pending: &mut PendingSnapshot) -> Step {
        let mut step = Step::Done;
        self.call(|service, cluster| {
            step = service.take_snapshot(cluster, &mut SnapshotWriter::new(pending));
        });
        step
    }

    /// Handles one message of the log, behind which it stands at `position`.
    ///
    /// # Errors
    /// The log holds what cannot be: this member must not go on.
    pub(crate) fn on_log(
        &mut self,
        message: &[u8],
        position: Position,
        handle: &Handle,
    ) -> Result<Next, String> {
        if let Some((header, payload)) = SessionMessageHeader::split(message) {
            self.event.position = position;
            self.on_session_message(&header, payload);
            return Ok(Next::Continue);
        }
        self.on_other(message, position, handle)
    }

    fn on_other(
        &mut self,
        message: &[u8],
        position: Position,
        handle: &Handle,
    ) -> Result<Next, String> {
        let decoded = Log::decode(message).map_err(|error| format!("log: {error}"))?;
        self.event.position = position;
        let Some(event) = decoded else { return Ok(Next::Continue) };
        match event {
            Log::SessionMessageHeader(header) => {
                self.on_session_message(&header, SessionMessageHeader::payload(message));
            }
            Log::TimerEvent(event) => {
                self.event.time = event.timestamp;
                let timer = TimerId(event.correlation_id);
                self.call(|service, cluster| service.on_timer(cluster, timer));
            }
            Log::SessionOpenEvent(event) => self.on_session_open(&event, handle)?,
            Log::SessionCloseEvent(event) => {
                self.event.time = event.timestamp;
                let (session, reason) =
                    (ClusterSessionId(event.cluster_session_id), event.close_reason);
                if self.sessions.close(session) {
                    self.call(|service, cluster| {
                        service.on_session_close(cluster, session, reason);
                    });
                }
            }
            Log::ClusterActionRequest(event) => return Ok(self.on_action(&event)),
            Log::NewLeadershipTermEvent(event) => self.on_new_term(&event)?,
            Log::MembershipChangeEvent(_) => {}
        }
        Ok(Next::Continue)
    }

    /// Messages of services have negative ids. One of a client whose session is not open is passed
    /// over, on every member alike: nobody could be answered.
    fn on_session_message(&mut self, header: &SessionMessageHeader, payload: &[u8]) {
        self.event.time = header.timestamp;
        let id = ClusterSessionId(header.cluster_session_id);
        let session = (id.0 > 0).then_some(id);
        if session.is_some() && !self.sessions.is_open(id) {
            return;
        }
        self.call(|service, cluster| service.on_session_message(cluster, session, payload));
    }

    fn on_session_open(
        &mut self,
        event: &SessionOpenEvent<'_>,
        handle: &Handle,
    ) -> Result<(), String> {
        self.event.time = event.timestamp;
        let id = ClusterSessionId(event.cluster_session_id);
        let session = Session::new(
            event.response_stream_id,
            event.response_channel.to_vec(),
            event.encoded_principal.to_vec(),
        );
        if !self.sessions.open(id, session) {
            return Err(format!("session {} opened twice", id.0));
        }
        if self.is_responder && self.event.role == Role::Leader {
            self.sessions.connect(id, handle);
        }
        self.call(|service, cluster| service.on_session_open(cluster, id));
        Ok(())
    }

    /// Snapshots with a flag are for standby nodes, which this is not.
    fn on_action(&mut self, event: &ClusterActionRequest) -> Next {
        self.event.time = event.timestamp;
        let is_snapshot = event.action == ClusterAction::Snapshot && event.flags == 0;
        if is_snapshot { Next::Snapshot } else { Next::Continue }
    }

    fn on_new_term(&mut self, event: &NewLeadershipTermEvent) -> Result<(), String> {
        self.check_version(event.app_version)?;
        self.event.time = event.timestamp;
        self.event.time_unit = event.time_unit;
        self.event.leadership_term_id = event.leadership_term_id;
        Ok(())
    }

    /// Whether a log or snapshot of this version can be read; old ones do not say.
    pub(crate) fn check_version(&self, version: SemanticVersion) -> Result<(), String> {
        let own = self.app_version;
        if version == SemanticVersion::NONE || version.major() == own.major() {
            return Ok(());
        }
        Err(format!("application version {version:?} is incompatible with {own:?}"))
    }

    /// As this member leads now: opens the channels to clients, unless the module, newly started,
    /// is about to close their sessions.
    pub(crate) fn connect_clients(&mut self, is_startup: bool, handle: &Handle) {
        if self.is_responder && !is_startup {
            self.sessions.connect_all(handle);
        }
    }

    pub(crate) const fn app_version(&self) -> SemanticVersion {
        self.app_version
    }
}
