//! The log as the module's own state follows it: events read while replaying, catching up or
//! following; and what snapshots and terminations do at a position of it.

use wire::position::Position;

use crate::action::{ArchiveAction, Persist, ServiceAction};
use crate::config::TimeUnit;
use crate::context::{Context, Halt};
use crate::control::{ModuleState, SnapshotWork, Termination, Toggle};
use crate::id::{ClusterSessionId, LeadershipTermId, RecordingId};
use crate::input::LogEvent;
use crate::message::{PeerMessage, TerminationAck, TerminationPosition};
use crate::service::Barrier;
use crate::session::Session;

/// `ClusterAction` codes of the wire.
pub(crate) const SUSPEND: i32 = 0;
pub(crate) const RESUME: i32 = 1;
pub(crate) const SNAPSHOT: i32 = 2;
/// Flag of a cluster action that only standby nodes take notice of.
pub(crate) const STANDBY_FLAG: i32 = 1;

/// What stands in front of a session message in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionHeader {
    /// The leader's term.
    pub leadership_term_id: LeadershipTermId,
    /// The session.
    pub session: ClusterSessionId,
    /// Cluster time of the append.
    pub timestamp: i64,
}

/// What to do with a session message of the ingress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// Append it behind this header, then report [`Input::Appended`](crate::Input::Appended).
    Append(SessionHeader),
    /// Drop it in silence, as genuine Aeron does: another term, no open session, or no leader.
    Drop,
    /// Leave it where it is: nothing may be appended now.
    Wait,
}

impl Context {
    /// The log was read up to `position`: services may read it too.
    pub(crate) fn consumed(&mut self, position: Position) {
        self.log.position = self.log.position.max(position);
        self.commit(self.log.position);
    }

    /// An event of the log, read within the limit.
    pub(crate) fn on_log_event(&mut self, position: Position, event: &LogEvent<'_>) {
        match *event {
            LogEvent::SessionMessage { session, timestamp, .. } => {
                self.log.time = self.log.time.max(timestamp);
                if session.0 < 0 {
                    self.services.on_log_message(session);
                } else {
                    let now = self.mono();
                    self.sessions.touch(session, now);
                }
            }
            LogEvent::Timer { correlation_id, timestamp, .. } => {
                self.log.time = self.log.time.max(timestamp);
                self.timers.on_event(correlation_id, position, timestamp);
            }
            LogEvent::SessionOpen {
                correlation_id,
                session,
                timestamp,
                response_stream_id,
                response_channel,
                principal,
                ..
            } => {
                self.log.time = self.log.time.max(timestamp);
                let (stream, now) = (response_stream_id, self.mono());
                let opened =
                    Session::known(correlation_id, stream, response_channel, position, now);
                self.sessions.log_opened(session, opened.with_principal(principal));
            }
            LogEvent::SessionClose { session, timestamp, .. } => {
                self.log.time = self.log.time.max(timestamp);
                self.sessions.log_closed(session);
            }
            LogEvent::ClusterAction { leadership_term_id, timestamp, action, flags, .. } => {
                self.log.time = self.log.time.max(timestamp);
                self.on_log_action(position, leadership_term_id, action, flags);
            }
            LogEvent::NewLeadershipTerm {
                leadership_term_id,
                timestamp,
                term_base_log_position,
                time_unit,
                ..
            } => {
                self.log.time = self.log.time.max(timestamp);
                if TimeUnit::from_code(time_unit) != Some(self.config.time_unit) {
                    self.halt(Halt::TimeUnit);
                    return;
                }
                // Recorded already, unless a genuine leader's log was joined before its record.
                if leadership_term_id > self.terms.last()
                    && !self.record_term(leadership_term_id, term_base_log_position)
                {
                    return;
                }
            }
        }
        self.consumed(position);
    }

    fn on_log_action(
        &mut self,
        position: Position,
        term: LeadershipTermId,
        action: i32,
        flags: i32,
    ) {
        match action {
            SUSPEND => self.control.state = ModuleState::Suspended,
            RESUME => self.control.state = ModuleState::Active,
            SNAPSHOT if flags & STANDBY_FLAG == 0 => {
                self.control.state = ModuleState::Snapshot;
                self.begin_snapshot(position, term);
            }
            _ => {}
        }
    }

    /// The module stands at the position of a snapshot: services take theirs.
    pub(crate) fn begin_snapshot(&mut self, position: Position, term: LeadershipTermId) {
        self.control.snapshot = Some(SnapshotWork {
            position,
            term,
            timestamp: self.log.time,
            services: None,
            is_asked: false,
        });
        self.services.expect(Barrier::Snapshot, position);
        self.settle();
    }

    /// All services acknowledged the snapshot: -1 stands for one that failed.
    pub(crate) fn on_services_snapshot(&mut self, relevant: &[i64]) {
        if relevant.contains(&-1) {
            self.end_snapshot();
        } else if let Some(work) = &mut self.control.snapshot {
            work.services = Some(relevant.iter().map(|&id| RecordingId(id)).collect());
        }
    }

    /// The module's own snapshot is recorded, or failed: all of the set counts, or nothing.
    pub(crate) fn on_snapshot_taken(&mut self, recording_id: Option<RecordingId>) {
        let Some(work) = &mut self.control.snapshot else { return };
        if !work.is_asked {
            return;
        }
        if let (Some(module), Some(services)) = (recording_id, work.services.take()) {
            let term_base = self.terms.base_of(work.term).unwrap_or(Position(0));
            self.out.persist(Persist::Snapshot {
                term: work.term,
                term_base,
                position: work.position,
                timestamp: work.timestamp,
                module,
                services,
            });
            self.counters.snapshots += 1;
        }
        self.end_snapshot();
    }

    fn end_snapshot(&mut self) {
        self.control.snapshot = None;
        if self.control.state == ModuleState::Snapshot {
            self.control.state = ModuleState::Active;
        }
        if self.control.toggle == Toggle::Snapshot {
            self.control.toggle = Toggle::Neutral;
        }
        let now = self.mono();
        self.sessions.touch_all(now);
    }

    /// The leader ends the cluster at a position: followers are told.
    pub(crate) fn begin_termination(&mut self, position: Position) {
        self.control.termination = Some(Termination {
            position,
            term: self.term,
            is_leader: true,
            services_done: false,
            deadline: None,
        });
        self.send_all(&PeerMessage::TerminationPosition(TerminationPosition {
            leadership_term_id: self.term,
            log_position: position,
        }));
    }

    /// Moves a snapshot and a termination on.
    pub(crate) fn advance_control(&mut self) {
        if let Some(work) = &mut self.control.snapshot
            && work.services.is_some()
            && !work.is_asked
            && self.exposed >= work.position
        {
            work.is_asked = true;
            let (position, term) = (work.position, work.term);
            self.out.archive(ArchiveAction::TakeSnapshot { position, term });
        }
        let Some(termination) = self.control.termination else { return };
        let now = self.mono();
        match termination.deadline {
            None => {
                let is_due = self.control.is_running()
                    && self.log.position >= termination.position
                    && self.exposed >= termination.position;
                if is_due {
                    self.terminate_services(termination.position);
                }
            }
            Some(deadline) if termination.is_leader => {
                let acknowledged = termination.services_done && self.have_followers_ended();
                if acknowledged || deadline <= now {
                    self.end(termination);
                }
            }
            Some(deadline) => {
                if termination.services_done
                    && self.term == termination.term
                    && let Some(leader) = self.leader
                {
                    let message = TerminationAck {
                        leadership_term_id: termination.term,
                        log_position: termination.position,
                        member_id: self.id(),
                    };
                    self.send(leader, PeerMessage::TerminationAck(message));
                }
                if termination.services_done || deadline <= now {
                    self.end(termination);
                }
            }
        }
    }

    fn terminate_services(&mut self, position: Position) {
        self.control.state = ModuleState::Terminating;
        let deadline = self.mono() + self.config.timeouts.termination_timeout;
        if let Some(termination) = &mut self.control.termination {
            termination.deadline = Some(deadline);
        }
        self.out.service(ServiceAction::Terminate { position, ack_required: true });
        self.services.expect(Barrier::Termination, position);
        self.settle();
    }

    fn have_followers_ended(&self) -> bool {
        self.members.iter().all(|member| member.id == self.id() || member.terminated)
    }

    fn end(&mut self, termination: Termination) {
        if self.terms.last().0 >= 0 {
            let (term, end) = (self.terms.last(), termination.position);
            self.out.persist(Persist::EndTerm { term, end });
        }
        self.halt(Halt::Terminated);
    }
}
