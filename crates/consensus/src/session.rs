//! Client sessions: opened, admitted, timed out, closed (cluster specification 3.4 to 3.6).

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use wire::position::Position;
use wire::time::Nanos;

use crate::action::{ClientAction, EventCode, Outcome};
use crate::id::{ClusterSessionId, CorrelationId, LeadershipTermId, MemberId};
use crate::input::{PRINCIPAL_BYTES_MAX, Verdict};

/// Why a session ends: `CloseReason` of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Names of the cluster specification 1.2.
pub enum CloseReason {
    ClientAction = 0,
    ServiceAction = 1,
    Timeout = 2,
}

impl CloseReason {
    /// The reason of a code of the wire.
    #[must_use]
    pub const fn from_code(code: i32) -> Option<Self> {
        match code {
            0 => Some(Self::ClientAction),
            1 => Some(Self::ServiceAction),
            2 => Some(Self::Timeout),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::ClientAction => "CLIENT_ACTION",
            Self::ServiceAction => "SERVICE_ACTION",
            Self::Timeout => "TIMEOUT",
        }
    }
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its egress is being made, the authenticator decides, or a challenge is out.
    Pending,
    /// A challenge was sent.
    Challenged,
    /// Its open event is to be appended.
    Authenticated,
    Open,
    /// Its close event is to be appended.
    Closing(CloseReason),
}

/// One client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) correlation_id: CorrelationId,
    pub(crate) response_stream_id: i32,
    pub(crate) response_channel: String,
    pub(crate) principal: Vec<u8>,
    pub(crate) opened: Position,
    pub(crate) stage: Stage,
    /// Its service asked to close it: every member knows that at the same position of the log.
    pub(crate) is_closed_by_service: bool,
    last_activity: Nanos,
    /// Whether the client was told OK by this node, or by whom wrote the snapshot.
    is_told: bool,
}

/// What a connect request asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connect<'a> {
    pub(crate) correlation_id: CorrelationId,
    pub(crate) response_stream_id: i32,
    pub(crate) version: i32,
    pub(crate) response_channel: &'a str,
    pub(crate) credentials: &'a [u8],
}

/// Who answers clients, and as what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answerer<'a> {
    pub(crate) term: LeadershipTermId,
    pub(crate) leader: Option<MemberId>,
    pub(crate) ingress_endpoints: &'a str,
}

impl Answerer<'_> {
    fn event(&self, correlation_id: CorrelationId, code: EventCode, detail: &str) -> ClientAction {
        ClientAction::Event {
            correlation_id,
            leadership_term_id: self.term,
            leader_member_id: self.leader.unwrap_or(MemberId(-1)),
            code,
            detail: detail.to_string(),
        }
    }
}

/// Most actions that wait for one client; one that takes none of them is cut off.
const CLIENT_QUEUE_MAX: usize = 32;
/// Most clients that wait for a redirect or a refusal.
const LEAVING_MAX: usize = 1024;

/// All sessions of this member.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    sessions: BTreeMap<ClusterSessionId, Session>,
    queues: BTreeMap<ClusterSessionId, VecDeque<ClientAction>>,
    /// Clients that only wait for one answer, and until when.
    leaving: BTreeMap<ClusterSessionId, Nanos>,
    /// Next local key of a client that never becomes a session: negative.
    next_leaving: i64,
    next_id: i64,
    pub(crate) next_committed_id: i64,
    uncommitted_ids: VecDeque<(Position, i64)>,
    uncommitted_closed: VecDeque<(Position, ClusterSessionId, Session)>,
    max: usize,
    timeout: Nanos,
    pub(crate) timed_out: u64,
}

impl Sessions {
    pub(crate) fn new(max: usize, timeout: Nanos) -> Self {
        Self {
            sessions: BTreeMap::new(),
            queues: BTreeMap::new(),
            leaving: BTreeMap::new(),
            next_leaving: -2,
            next_id: 1,
            next_committed_id: 1,
            uncommitted_ids: VecDeque::new(),
            uncommitted_closed: VecDeque::new(),
            max,
            timeout,
            timed_out: 0,
        }
    }

    fn push(&mut self, id: ClusterSessionId, action: ClientAction) {
        let queue = self.queues.entry(id).or_default();
        if queue.len() >= CLIENT_QUEUE_MAX {
            queue.clear();
            queue.push_back(ClientAction::Disconnect);
        } else {
            queue.push_back(action);
        }
    }

    /// What waits for a client that goes away is void, but that it is let go.
    fn cut_off(&mut self, id: ClusterSessionId) {
        self.queues.insert(id, VecDeque::from([ClientAction::Disconnect]));
        self.leaving.remove(&id);
    }

    /// Performs the actions of every client, each in its own order.
    pub(crate) fn drain(
        &mut self,
        mut perform: impl FnMut(ClusterSessionId, &ClientAction) -> Outcome,
    ) -> usize {
        let mut count = 0;
        for (&id, queue) in &mut self.queues {
            while let Some(action) = queue.front() {
                if perform(id, action) == Outcome::BackPressured {
                    break;
                }
                if *action == ClientAction::Disconnect {
                    self.leaving.remove(&id);
                }
                queue.pop_front();
                count += 1;
            }
        }
        self.queues.retain(|_, queue| !queue.is_empty());
        count
    }

    pub(crate) fn session(&self, id: ClusterSessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    pub(crate) fn newest(&self) -> Option<ClusterSessionId> {
        self.sessions.last_key_value().map(|(&id, _)| id)
    }

    pub(crate) fn is_open(&self, id: ClusterSessionId) -> bool {
        self.sessions.get(&id).is_some_and(|session| session.stage == Stage::Open)
    }

    /// One answer to a client that does not become a session.
    fn answer_only(&mut self, request: &Connect<'_>, answer: ClientAction, now: Nanos) {
        if self.leaving.len() >= LEAVING_MAX {
            return;
        }
        let id = ClusterSessionId(self.next_leaving);
        self.next_leaving = if self.next_leaving == i64::MIN { -2 } else { self.next_leaving - 1 };
        self.push(id, connect_action(request.response_stream_id, request.response_channel));
        self.push(id, answer);
        self.push(id, ClientAction::Disconnect);
        self.leaving.insert(id, now + self.timeout);
    }

    /// A follower, or a member in an election, names the leader.
    pub(crate) fn redirect(&mut self, request: &Connect<'_>, by: Answerer<'_>, now: Nanos) {
        let detail = by.ingress_endpoints;
        let answer = by.event(request.correlation_id, EventCode::Redirect, detail);
        self.answer_only(request, answer, now);
    }

    /// The leader takes a new client, or refuses it. Returns its id if it was taken.
    pub(crate) fn connect(
        &mut self,
        request: &Connect<'_>,
        by: Answerer<'_>,
        now: Nanos,
    ) -> Option<ClusterSessionId> {
        let id = ClusterSessionId(self.next_id);
        self.next_id += 1;
        let refusal = if request.version >> 16 != 0 {
            let v = request.version;
            let (major, minor, patch) = (v >> 16 & 0xFF, v >> 8 & 0xFF, v & 0xFF);
            Some(alloc::format!("invalid client version {major}.{minor}.{patch}, cluster is 0.3.0"))
        } else if self.sessions.len() >= self.max {
            Some("concurrent session limit".to_string())
        } else {
            None
        };
        if let Some(text) = refusal {
            let answer = by.event(request.correlation_id, EventCode::Error, &text);
            self.answer_only(request, answer, now);
            return None;
        }
        let session = Session {
            correlation_id: request.correlation_id,
            response_stream_id: request.response_stream_id,
            response_channel: request.response_channel.to_string(),
            principal: Vec::new(),
            opened: Position(0),
            stage: Stage::Pending,
            is_closed_by_service: false,
            last_activity: now,
            is_told: false,
        };
        self.sessions.insert(id, session);
        self.push(id, connect_action(request.response_stream_id, request.response_channel));
        let credentials = request.credentials.to_vec();
        self.push(id, ClientAction::Authenticate { credentials, is_challenge_response: false });
        Some(id)
    }

    pub(crate) fn on_connected(&mut self, id: ClusterSessionId, now: Nanos) {
        self.touch(id, now);
    }

    pub(crate) fn on_unreachable(&mut self, id: ClusterSessionId) {
        if self.sessions.get(&id).is_none_or(|session| is_pending(session.stage)) {
            self.sessions.remove(&id);
            self.cut_off(id);
        }
    }

    pub(crate) fn on_verdict(
        &mut self,
        id: ClusterSessionId,
        verdict: Verdict<'_>,
        by: Answerer<'_>,
        now: Nanos,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.stage != Stage::Pending {
            return;
        }
        let correlation_id = session.correlation_id;
        match verdict {
            Verdict::Accepted { principal } if principal.len() <= PRINCIPAL_BYTES_MAX => {
                session.principal = principal.to_vec();
                session.stage = Stage::Authenticated;
            }
            Verdict::Challenge { challenge } => {
                session.stage = Stage::Challenged;
                let challenge = challenge.to_vec();
                self.push(id, ClientAction::Challenge { correlation_id, challenge });
            }
            Verdict::Accepted { .. } | Verdict::Rejected => {
                self.sessions.remove(&id);
                let detail = "session failed authentication";
                self.push(id, by.event(correlation_id, EventCode::AuthenticationRejected, detail));
                self.push(id, ClientAction::Disconnect);
                self.leaving.insert(id, now + self.timeout);
            }
        }
    }

    pub(crate) fn on_challenge_response(
        &mut self,
        id: ClusterSessionId,
        correlation_id: CorrelationId,
        credentials: &[u8],
        now: Nanos,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.stage == Stage::Challenged {
            session.stage = Stage::Pending;
            session.correlation_id = correlation_id;
            session.last_activity = now;
            let credentials = credentials.to_vec();
            self.push(id, ClientAction::Authenticate { credentials, is_challenge_response: true });
        }
    }

    /// The session did something.
    pub(crate) fn touch(&mut self, id: ClusterSessionId, now: Nanos) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.last_activity = now;
        }
    }

    /// All sessions did something: after a pause that was not theirs.
    pub(crate) fn touch_all(&mut self, now: Nanos) {
        for session in self.sessions.values_mut() {
            session.last_activity = now;
        }
    }

    /// An open session is to be closed; false if there is none.
    pub(crate) fn close(&mut self, id: ClusterSessionId, reason: CloseReason) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        if session.stage != Stage::Open {
            return false;
        }
        session.stage = Stage::Closing(reason);
        true
    }

    /// A service asks to close a session: noted by every member, appended by the leader.
    pub(crate) fn close_by_service(&mut self, id: ClusterSessionId, leads: bool) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.is_closed_by_service = true;
            if leads {
                self.close(id, CloseReason::ServiceAction);
            }
        }
    }

    pub(crate) fn reply(&mut self, id: ClusterSessionId, action: ClientAction) {
        self.push(id, action);
    }

    /// Clients that only wait for an answer give up.
    pub(crate) fn expire_leaving(&mut self, now: Nanos) {
        while let Some((&id, _)) = self.leaving.iter().find(|&(_, &deadline)| deadline <= now) {
            self.cut_off(id);
        }
    }

    /// The leader's look at sessions that were silent for too long.
    pub(crate) fn expire(&mut self, now: Nanos) {
        let mut gone = Vec::new();
        for (&id, session) in &mut self.sessions {
            if session.last_activity + self.timeout > now {
                continue;
            }
            match session.stage {
                Stage::Open => {
                    session.stage = Stage::Closing(CloseReason::Timeout);
                    self.timed_out += 1;
                }
                Stage::Pending | Stage::Challenged | Stage::Authenticated => gone.push(id),
                Stage::Closing(_) => {}
            }
        }
        for id in gone {
            self.sessions.remove(&id);
            self.cut_off(id);
        }
    }

    /// The first session whose open or close event is to be appended.
    pub(crate) fn to_append(&self) -> Option<(ClusterSessionId, &Session)> {
        let waits =
            |session: &Session| matches!(session.stage, Stage::Authenticated | Stage::Closing(_));
        self.sessions.iter().find(|(_, session)| waits(session)).map(|(&id, session)| (id, session))
    }

    /// The leader appended what [`Self::to_append`] named.
    pub(crate) fn appended(
        &mut self,
        id: ClusterSessionId,
        position: Position,
        by: Answerer<'_>,
        now: Nanos,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.last_activity = now;
        match session.stage {
            Stage::Authenticated => {
                session.stage = Stage::Open;
                session.opened = position;
                session.is_told = true;
                let correlation_id = session.correlation_id;
                self.uncommitted_ids.push_back((position, id.0 + 1));
                self.push(id, by.event(correlation_id, EventCode::Ok, ""));
            }
            Stage::Closing(reason) => {
                if let Some(session) = self.sessions.remove(&id) {
                    self.uncommitted_closed.push_back((position, id, session));
                }
                if reason != CloseReason::ClientAction {
                    let none = CorrelationId(-1);
                    self.push(id, by.event(none, EventCode::Closed, reason.name()));
                }
                self.push(id, ClientAction::Disconnect);
                // It may be gone, with more before this in its queue that it will never take.
                self.leaving.insert(id, now + self.timeout);
            }
            _ => {}
        }
    }

    /// A follower read an open event.
    pub(crate) fn log_opened(&mut self, id: ClusterSessionId, session: Session) {
        self.next_committed_id = self.next_committed_id.max(id.0.saturating_add(1));
        self.sessions.insert(id, session);
    }

    /// A follower read a close event.
    pub(crate) fn log_closed(&mut self, id: ClusterSessionId) {
        self.sessions.remove(&id);
    }

    pub(crate) fn committed(&mut self, position: Position) {
        while let Some(&(at, next)) = self.uncommitted_ids.front()
            && at <= position
        {
            self.next_committed_id = self.next_committed_id.max(next);
            self.uncommitted_ids.pop_front();
        }
        while self.uncommitted_closed.front().is_some_and(|&(at, ..)| at <= position) {
            self.uncommitted_closed.pop_front();
        }
    }

    /// An election begins: what is beyond `position` never happened (cluster spec 4.9, 5.8).
    pub(crate) fn roll_back(&mut self, position: Position, by: Answerer<'_>, now: Nanos) {
        self.uncommitted_ids.clear();
        for (at, id, session) in core::mem::take(&mut self.uncommitted_closed) {
            if at > position {
                self.sessions.insert(id, session);
            }
        }
        let ids: Vec<ClusterSessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            let session = &self.sessions[&id];
            if is_pending(session.stage) || session.opened > position {
                let told = session.stage == Stage::Open;
                self.sessions.remove(&id);
                if told || self.queues.contains_key(&id) {
                    let none = CorrelationId(-1);
                    self.push(id, by.event(none, EventCode::Closed, "election"));
                    self.push(id, ClientAction::Disconnect);
                    self.leaving.insert(id, now + self.timeout);
                } else {
                    self.cut_off(id);
                }
            } else {
                self.cut_off(id);
            }
        }
        self.next_id = self.next_committed_id;
    }

    /// This member leads now: sessions are greeted, or closed at the first leadership after start.
    pub(crate) fn begin_leadership(&mut self, is_startup: bool, by: Answerer<'_>, now: Nanos) {
        self.next_id = self.next_committed_id;
        let ids: Vec<ClusterSessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            session.last_activity = now;
            if session.stage == Stage::Open && session.is_closed_by_service {
                session.stage = Stage::Closing(CloseReason::ServiceAction);
            } else if session.stage == Stage::Open && is_startup {
                session.stage = Stage::Closing(CloseReason::Timeout);
            }
            let (correlation_id, told) = (session.correlation_id, session.is_told);
            let greets = session.stage == Stage::Open;
            session.is_told |= greets;
            let connect = connect_action(session.response_stream_id, &session.response_channel);
            self.push(id, connect);
            if greets {
                if !told {
                    self.push(id, by.event(correlation_id, EventCode::Ok, ""));
                }
                self.push(id, ClientAction::NewLeader { leadership_term_id: by.term });
            }
        }
    }

    /// Open and closing sessions by id: what a snapshot holds.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ClusterSessionId, &Session)> {
        let is_known = |session: &Session| matches!(session.stage, Stage::Open | Stage::Closing(_));
        self.sessions.iter().filter(move |(_, s)| is_known(s)).map(|(&id, session)| (id, session))
    }

    pub(crate) fn restore_next_id(&mut self, next: i64) {
        self.next_committed_id = next;
        self.next_id = next;
    }
}

impl Session {
    /// A session as the log or a snapshot tells it.
    pub(crate) fn known(
        correlation_id: CorrelationId,
        response_stream_id: i32,
        response_channel: &str,
        opened: Position,
        now: Nanos,
    ) -> Self {
        Self {
            correlation_id,
            response_stream_id,
            response_channel: response_channel.to_string(),
            principal: Vec::new(),
            opened,
            stage: Stage::Open,
            is_closed_by_service: false,
            last_activity: now,
            is_told: false,
        }
    }

    /// The same, with the principal of its open event.
    pub(crate) fn with_principal(mut self, principal: &[u8]) -> Self {
        self.principal = principal.to_vec();
        self
    }

    /// The same, from a snapshot: not told again.
    pub(crate) fn restored(mut self, reason: Option<CloseReason>) -> Self {
        self.is_told = true;
        if let Some(reason) = reason {
            self.stage = Stage::Closing(reason);
            self.is_closed_by_service = reason == CloseReason::ServiceAction;
        }
        self
    }
}

const fn is_pending(stage: Stage) -> bool {
    matches!(stage, Stage::Pending | Stage::Challenged | Stage::Authenticated)
}

fn connect_action(response_stream_id: i32, response_channel: &str) -> ClientAction {
    ClientAction::Connect { response_stream_id, response_channel: response_channel.to_string() }
}

#[cfg(test)]
mod tests;
