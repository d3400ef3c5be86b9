//! A replay of our own recording through the module and its services (cluster spec 4.8), and the
//! barrier that every join of a log is.

use wire::position::Position;

use crate::action::{ArchiveAction, ServiceAction};
use crate::context::Context;
use crate::control::ModuleState;
use crate::fingerprint::Print;
use crate::input::{ArchiveInput, Input};

/// What became of a step that several phases share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Running,
    Done,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Services have to answer something else first.
    Waiting,
    Opening,
    Joining,
    Reading,
}

/// One replay, from where the module stands to `to`.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    pub(crate) to: Position,
    step: Step,
}

impl Replay {
    pub(crate) const fn new(to: Position) -> Self {
        Self { to, step: Step::Waiting }
    }

    pub(crate) fn fingerprint(&self, print: &mut Print<'_>) {
        let Self { to, step } = self;
        print.word(1);
        print.at(*to);
        print.word(*step as i64);
    }

    pub(crate) fn is_reading(&self) -> bool {
        self.step == Step::Reading
    }

    pub(crate) fn handle(&mut self, ctx: &mut Context, input: &Input<'_>) -> Progress {
        match input {
            Input::Archive(ArchiveInput::ImageJoined { session_id, position })
                if self.step == Step::Opening =>
            {
                if *position != ctx.log.position {
                    return Progress::Failed;
                }
                self.step = Step::Joining;
                ctx.join_log(ServiceAction::JoinLog {
                    from: *position,
                    to: Some(self.to),
                    session_id: *session_id,
                    is_startup: true,
                    is_leader: false,
                });
                Progress::Running
            }
            Input::Archive(ArchiveInput::Failed) => Progress::Failed,
            Input::Archive(ArchiveInput::ImageClosed { .. }) if ctx.log.position < self.to => {
                Progress::Failed
            }
            _ => Progress::Running,
        }
    }

    pub(crate) fn advance(&mut self, ctx: &mut Context) -> Progress {
        match self.step {
            Step::Waiting if ctx.services.is_idle() && ctx.out.is_persisted() => {
                self.step = Step::Opening;
                let from = ctx.log.position;
                ctx.out.archive(ArchiveAction::StartReplay { from, to: self.to });
            }
            Step::Joining if ctx.is_joined => self.step = Step::Reading,
            Step::Reading
                if ctx.log.position >= self.to && ctx.control.state != ModuleState::Snapshot =>
            {
                ctx.out.archive(ArchiveAction::StopReplay);
                return Progress::Done;
            }
            _ => {}
        }
        Progress::Running
    }
}
