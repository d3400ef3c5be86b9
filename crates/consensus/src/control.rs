//! State of the module, requests of operators, and the end (cluster specification 8.1 to 8.4).

use alloc::collections::VecDeque;

use wire::position::Position;
use wire::time::Nanos;

use crate::id::{LeadershipTermId, RecordingId};
use crate::input::Control as Request;

/// State of the consensus module: counter 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Names of the cluster specification 8.3.
pub enum ModuleState {
    Init = 0,
    Active = 1,
    Suspended = 2,
    Snapshot = 3,
    Quitting = 4,
    Terminating = 5,
    Closed = 6,
}

/// Value of the control toggle, counter 202, as the agent is to show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Names of the cluster specification 8.1.
pub enum Toggle {
    Inactive = 0,
    Neutral = 1,
    Suspend = 2,
    Resume = 3,
    Snapshot = 4,
    Shutdown = 5,
    Abort = 6,
    StandbySnapshot = 7,
}

/// A snapshot being taken at a position.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotWork {
    pub(crate) position: Position,
    pub(crate) term: LeadershipTermId,
    pub(crate) timestamp: i64,
    /// Recordings of the services, once all have acknowledged.
    pub(crate) services: Option<alloc::vec::Vec<RecordingId>>,
    /// The module's own snapshot is being written.
    pub(crate) is_asked: bool,
}

/// The end of this member, asked for at a position of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Termination {
    pub(crate) position: Position,
    pub(crate) term: LeadershipTermId,
    pub(crate) is_leader: bool,
    pub(crate) services_done: bool,
    /// Set when services are told.
    pub(crate) deadline: Option<Nanos>,
}

impl Termination {
    /// As a leader tells its followers.
    pub(crate) const fn told(position: Position, term: LeadershipTermId) -> Self {
        Self { position, term, is_leader: false, services_done: false, deadline: None }
    }
}

/// State, toggle and what is under way.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    pub(crate) state: ModuleState,
    pub(crate) toggle: Toggle,
    pub(crate) request: Option<Request>,
    pub(crate) snapshot: Option<SnapshotWork>,
    pub(crate) termination: Option<Termination>,
    uncommitted: VecDeque<(Position, ModuleState)>,
}

impl Control {
    pub(crate) fn new() -> Self {
        Self {
            state: ModuleState::Init,
            toggle: Toggle::Inactive,
            request: None,
            snapshot: None,
            termination: None,
            uncommitted: VecDeque::new(),
        }
    }

    /// A request is heard by a leader in service only: ACTIVE for all, SUSPENDED for resume.
    pub(crate) fn request(&mut self, request: Request) -> bool {
        let is_possible = match self.state {
            ModuleState::Active => {
                self.toggle == Toggle::Neutral && !matches!(request, Request::Resume)
            }
            ModuleState::Suspended => {
                matches!(self.toggle, Toggle::Neutral | Toggle::Suspend)
                    && matches!(request, Request::Resume)
            }
            _ => false,
        };
        if is_possible {
            self.toggle = match request {
                Request::Suspend => Toggle::Suspend,
                Request::Resume => Toggle::Resume,
                Request::Snapshot => Toggle::Snapshot,
                Request::Shutdown => Toggle::Shutdown,
                Request::Abort => Toggle::Abort,
                Request::StandbySnapshot => Toggle::StandbySnapshot,
            };
            self.request = Some(request);
        }
        is_possible
    }

    /// The leader appended an action that changes the state, at `position`.
    pub(crate) fn change(&mut self, position: Position, state: ModuleState) {
        self.uncommitted.push_back((position, self.state));
        self.state = state;
    }

    pub(crate) fn committed(&mut self, position: Position) {
        while self.uncommitted.front().is_some_and(|&(at, _)| at <= position) {
            self.uncommitted.pop_front();
        }
    }

    /// Leadership is lost: back to the state before the oldest uncommitted action. Returns whether
    /// there was one.
    pub(crate) fn roll_back(&mut self) -> bool {
        self.request = None;
        self.toggle = Toggle::Inactive;
        let oldest = self.uncommitted.front().map(|&(_, state)| state);
        self.uncommitted.clear();
        if let Some(state) = oldest {
            self.state = state;
        }
        oldest.is_some()
    }

    /// Whether the log may be read and appended to.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, ModuleState::Active | ModuleState::Suspended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_resume_is_heard_while_suspended() {
        let mut control = Control::new();
        assert!(!control.request(Request::Snapshot), "not before the start");
        control.state = ModuleState::Active;
        control.toggle = Toggle::Neutral;
        assert!(!control.request(Request::Resume));
        assert!(control.request(Request::Suspend));
        control.change(Position(64), ModuleState::Suspended);
        assert!(!control.request(Request::Snapshot));
        assert!(control.request(Request::Resume));
    }

    #[test]
    fn uncommitted_actions_are_undone_to_the_oldest_state_before_them() {
        let mut control = Control::new();
        control.state = ModuleState::Active;
        control.change(Position(64), ModuleState::Suspended);
        control.change(Position(96), ModuleState::Active);
        control.change(Position(128), ModuleState::Snapshot);
        control.committed(Position(64));
        assert!(control.roll_back());
        assert_eq!(control.state, ModuleState::Suspended);
        assert!(!control.roll_back());
    }
}
