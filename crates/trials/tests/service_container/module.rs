//! A consensus module that does what a test tells it, and no more.

use client::{
    Client, Counter, CounterTypeId, ExclusivePublication, Handle, Pending, Publication,
    Subscription,
};
use wire::bytes::SemanticVersion;
use wire::cluster::egress::{EventCode, NewLeaderEvent, SessionEvent};
use wire::cluster::ingress::{Ingress, SessionMessageHeader};
use wire::cluster::log::{
    ClusterAction, ClusterActionRequest, SessionCloseEvent, SessionOpenEvent, TimerEvent,
};
use wire::cluster::service::{JoinLog, ServiceAck, ServiceTerminationPosition, ToModule};
use wire::cluster::{CloseReason, Role};
use wire::message::Message;
use wire::position::StreamId;

pub(crate) const CONTROL: &str = "aeron:ipc?term-length=128k";
const LOG_STREAM: i32 = 100;

/// The module and all that it has heard.
pub(crate) struct Module {
    handle: Handle,
    to_service: Publication,
    from_service: Subscription,
    ingress: Subscription,
    log: Option<ExclusivePublication>,
    log_ended_at: i64,
    /// Logs that were left and go on.
    left: Vec<ExclusivePublication>,
    commit: Counter,
    recovery: Option<Counter>,
    egress: Vec<(i64, Publication)>,
    connecting: Vec<(i64, i32, String, Pending<Publication>)>,
    next_session: i64,
    term: i64,
    time: i64,
    pub(crate) commits: bool,
    pub(crate) drops_messages: bool,
    pub(crate) acks: Vec<ServiceAck>,
    pub(crate) timers: Vec<(i64, i64)>,
    pub(crate) keep_alives: Vec<i64>,
}

/// Everything that the module asks of its driver.
pub(crate) struct Opening {
    to_service: Pending<Publication>,
    from_service: Pending<Subscription>,
    ingress: Pending<Subscription>,
    commit: Pending<Counter>,
    recovery: Pending<Counter>,
}

impl Opening {
    pub(crate) fn new(handle: &Handle) -> Self {
        let mut key = vec![0; 32];
        key[..8].copy_from_slice(&(-1_i64).to_le_bytes());
        Self {
            to_service: handle.add_publication(CONTROL, StreamId(104)),
            from_service: handle.add_subscription(CONTROL, StreamId(105)),
            ingress: handle.add_subscription("aeron:ipc", StreamId(101)),
            commit: handle.add_counter(CounterTypeId(203), &[0; 4], "Cluster commit-pos:"),
            recovery: handle.add_counter(CounterTypeId(204), &key, "Cluster recovery"),
        }
    }

    pub(crate) fn module(mut self, client: &Client) -> Module {
        Module {
            handle: client.handle(),
            to_service: self.to_service.poll().unwrap().unwrap(),
            from_service: self.from_service.poll().unwrap().unwrap(),
            ingress: self.ingress.poll().unwrap().unwrap(),
            log: None,
            log_ended_at: 0,
            left: Vec::new(),
            commit: self.commit.poll().unwrap().unwrap(),
            recovery: self.recovery.poll().unwrap(),
            egress: Vec::new(),
            connecting: Vec::new(),
            next_session: 1,
            term: 0,
            time: 0,
            commits: true,
            drops_messages: false,
            acks: Vec::new(),
            timers: Vec::new(),
            keep_alives: Vec::new(),
        }
    }
}

impl Module {
    /// Reads what came and commits.
    pub(crate) fn work(&mut self) {
        let mut from_service = Vec::new();
        self.from_service.poll(10, |fragment| from_service.push(fragment.payload().to_vec()));
        for message in from_service {
            match ToModule::decode(&message).unwrap().unwrap() {
                ToModule::ServiceAck(ack) => {
                    self.recovery = None;
                    self.acks.push(ack);
                }
                ToModule::ScheduleTimer(timer) => {
                    self.timers.push((timer.correlation_id, timer.deadline));
                }
                other => panic!("the service asked for {other:?}"),
            }
        }
        let mut ingress = Vec::new();
        self.ingress.poll(10, |fragment| ingress.push(fragment.payload().to_vec()));
        ingress.iter().for_each(|message| self.on_ingress(message));
        for index in (0..self.connecting.len()).rev() {
            if let Some(publication) = self.connecting[index].3.poll().unwrap() {
                let (correlation, stream, channel, _) = self.connecting.remove(index);
                self.open_session(correlation, stream, &channel, publication);
            }
        }
        if self.commits && self.log.is_some() {
            self.commit.set(self.log_position());
        }
    }

    fn on_ingress(&mut self, message: &[u8]) {
        match Ingress::decode(message).unwrap().unwrap() {
            Ingress::SessionConnectRequest(request) => {
                let channel = String::from_utf8(request.response_channel.to_vec()).unwrap();
                let stream = request.response_stream_id;
                let pending = self.handle.add_publication(&channel, StreamId(stream));
                self.connecting.push((request.correlation_id, stream, channel, pending));
            }
            Ingress::SessionMessageHeader(header) => {
                assert_eq!(header.leadership_term_id, self.term);
                if self.drops_messages {
                    return;
                }
                self.time += 1;
                let header = SessionMessageHeader { timestamp: self.time, ..header };
                let mut whole = encode(&header);
                whole.extend(SessionMessageHeader::payload(message));
                self.append(&whole);
            }
            Ingress::SessionKeepAlive(alive) => self.keep_alives.push(alive.leadership_term_id),
            other => panic!("a client said {other:?}"),
        }
    }

    fn open_session(
        &mut self,
        correlation_id: i64,
        response_stream_id: i32,
        channel: &str,
        publication: Publication,
    ) {
        let id = self.next_session;
        self.next_session += 1;
        let open = SessionOpenEvent {
            leadership_term_id: self.term,
            correlation_id,
            cluster_session_id: id,
            timestamp: self.time,
            response_stream_id,
            response_channel: channel.as_bytes(),
            encoded_principal: &[],
        };
        self.append(&encode(&open));
        self.tell(&publication, id, correlation_id, EventCode::Ok);
        self.egress.push((id, publication));
    }

    fn tell(&self, publication: &Publication, id: i64, correlation_id: i64, code: EventCode) {
        let event = SessionEvent {
            cluster_session_id: id,
            correlation_id,
            leadership_term_id: self.term,
            leader_member_id: 0,
            code,
            version: SemanticVersion::new(0, 3, 0),
            leader_heartbeat_timeout_ns: Some(1_000_000_000),
            detail: &[],
        };
        publication.offer(&encode(&event)).unwrap();
    }

    pub(crate) fn close_session(&mut self, id: i64) {
        let close = SessionCloseEvent {
            leadership_term_id: self.term,
            cluster_session_id: id,
            timestamp: self.time,
            close_reason: CloseReason::Timeout,
        };
        self.append(&encode(&close));
        let index = self.egress.iter().position(|(open, _)| *open == id).unwrap();
        let (_, publication) = self.egress.remove(index);
        self.tell(&publication, id, -1, EventCode::Closed);
    }

    pub(crate) fn announce_leader(&mut self, term: i64) {
        self.term = term;
        for (id, publication) in &self.egress {
            let event = NewLeaderEvent {
                leadership_term_id: term,
                cluster_session_id: *id,
                leader_member_id: 0,
                ingress_endpoints: b"0=localhost:9002",
            };
            publication.offer(&encode(&event)).unwrap();
        }
    }

    pub(crate) fn fire(&mut self, correlation_id: i64) {
        let (leadership_term_id, timestamp) = (self.term, self.time);
        self.append(&encode(&TimerEvent { leadership_term_id, correlation_id, timestamp }));
    }

    /// What a module says that starts from a snapshot.
    pub(crate) fn recover(
        &mut self,
        recording_id: i64,
        position: i64,
    ) -> (Pending<Counter>, Pending<Counter>) {
        let mut key = Vec::new();
        for value in [self.term, position, self.time] {
            key.extend(value.to_le_bytes());
        }
        key.extend(0_i32.to_le_bytes());
        key.extend(1_i32.to_le_bytes());
        key.extend(recording_id.to_le_bytes());
        let add = |id, key: &[u8], label| self.handle.add_counter(CounterTypeId(id), key, label);
        (add(203, &[0; 4], "Cluster commit-pos:"), add(204, &key, "Cluster recovery"))
    }

    pub(crate) fn recovered(&mut self, commit: Counter, recovery: Counter) {
        self.commit = commit;
        self.recovery = Some(recovery);
        self.acks.clear();
    }

    /// Returns the position of the snapshot.
    pub(crate) fn snapshot(&mut self) -> i64 {
        let action = ClusterActionRequest {
            leadership_term_id: self.term,
            log_position: 0,
            timestamp: self.time,
            action: ClusterAction::Snapshot,
            flags: 0,
        };
        self.append(&encode(&action));
        self.log_position()
    }

    pub(crate) fn terminate(&mut self) {
        let end = ServiceTerminationPosition { log_position: 0, ack_required: true };
        self.to_service.offer(&encode(&end)).unwrap();
    }

    fn append(&mut self, message: &[u8]) {
        self.log.as_mut().unwrap().offer(message).unwrap();
    }

    pub(crate) fn log_position(&self) -> i64 {
        self.log.as_ref().map_or(self.log_ended_at, |log| log.position().0)
    }

    pub(crate) fn end_log(&mut self) {
        self.log_ended_at = self.log_position();
        self.log = None;
    }

    /// The log is left for one that begins at `position`; it stays there meanwhile.
    pub(crate) fn leave_log(&mut self, position: i64) {
        self.log_ended_at = position;
        self.left.extend(self.log.take());
    }

    /// A message of a session, as it stands in the log.
    pub(crate) fn session_message(&self, cluster_session_id: i64, payload: &[u8]) -> Vec<u8> {
        let (leadership_term_id, timestamp) = (self.term, self.time);
        let header = SessionMessageHeader { leadership_term_id, cluster_session_id, timestamp };
        let mut whole = encode(&header);
        whole.extend_from_slice(payload);
        whole
    }

    /// Appends a part of a message as a frame with these flags.
    pub(crate) fn append_part(&mut self, part: &[u8], flags: u8) {
        let mut claim = self.log.as_mut().unwrap().try_claim(part.len()).unwrap();
        claim.write(0, part);
        claim.set_flags(flags);
        claim.commit();
    }

    /// The channel of a log that goes on where the last one ended.
    pub(crate) fn log_channel(&self) -> String {
        let offset = self.log_ended_at;
        format!("aeron:ipc?term-length=64k|init-term-id=0|term-id=0|term-offset={offset}")
    }

    pub(crate) fn add_log(&self) -> Pending<ExclusivePublication> {
        self.handle.add_exclusive_publication(&self.log_channel(), StreamId(LOG_STREAM))
    }

    pub(crate) fn join(&mut self, log: ExclusivePublication, role: Role) {
        let channel = format!("aeron:ipc?session-id={}", log.session_id().0);
        let join = JoinLog {
            log_position: log.position().0,
            max_log_position: i64::MAX,
            member_id: 0,
            log_session_id: log.session_id().0,
            log_stream_id: LOG_STREAM,
            is_startup: false,
            role,
            is_standby: false,
            log_channel: channel.as_bytes(),
        };
        self.to_service.offer(&encode(&join)).unwrap();
        self.log = Some(log);
    }
}

fn encode<'a>(message: &impl Message<'a>) -> Vec<u8> {
    let mut bytes = vec![0; message.encoded_length()];
    message.encode(&mut bytes).unwrap();
    bytes
}
