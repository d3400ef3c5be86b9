//! Everything between the core and the archive: the log's publication, image, replays and
//! recording, and the module's own snapshot.
//!
//! The core asks by [`ArchiveAction`]s, which [`LogArchive::perform`] only issues; what comes of
//! them is told by [`LogArchive::poll`]. At most one thing goes on with the recording of the log at
//! a time (`Task`); beside it there are a publication, an image that is read, and replays to
//! followers. `LeaveLog` takes all of them away: nothing of them is polled any more, so nothing of
//! them can be told after `LogLeft`. A snapshot that is being written is none of the log's affair.

mod catchups;
pub(crate) mod environment;
mod fault;
mod join;
mod leave;
mod publication;
mod reader;
pub(crate) mod recording;
mod replay;
mod replication;
mod steps;

use std::collections::VecDeque;

use archive_client::{ArchiveClient, Recording, SourceLocation};
use client::{Handle, Image};
use consensus::{
    ArchiveAction, ArchiveInput, Input, LeadershipTermId, MemberId, Outcome, RecordingId,
};
use runtime::{Nanos, Now, Work};
use wire::position::{Position, SessionId};

use crate::channels;
use crate::config::{Config, Settings};
use crate::log_follower::LogFollower;
use crate::log_publisher::LogPublisher;
use crate::snapshot_archive::SnapshotTake;
use catchups::Catchups;
use environment::{Environment, Errands};
pub use fault::{LogArchiveError, LogFault};
use join::{Closing, Join};
use leave::Leave;
use publication::LogPublication;
use reader::Reader;
use recording::LogRecording;
use replay::Replay;
use replication::{Replication, Truncation};

/// Faults that nobody takes are kept up to this many.
const FAULTS_MAX: usize = 64;

/// What the core has to give before an action can be performed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// [`consensus::Consensus::catchup_endpoint`]; for [`LogArchive::give_catchup_endpoint`].
    CatchupEndpoint(MemberId),
    /// [`crate::snapshot::messages`]; for [`LogArchive::begin_snapshot`].
    Snapshot {
        /// Position of the snapshot.
        position: Position,
        /// Its term.
        term: LeadershipTermId,
    },
}

/// What goes on with the recording of the log.
enum Task {
    None,
    Recording(LogRecording),
    Replication(Replication),
    Truncation(Truncation),
    Leave(Box<Leave>),
}

/// What the module reads.
enum Source {
    Replay(Replay),
    Join(Join),
}

/// Everything that concerns the archive and the log's streams. Owned by the module's agent.
pub struct LogArchive {
    environment: Environment,
    /// Our recording of the log, as it was when it last stood still.
    recording: Option<Recording>,
    /// Its id, known as soon as it has begun.
    recording_id: Option<RecordingId>,
    publication: Option<LogPublication>,
    source: Option<Source>,
    follower: LogFollower,
    /// Sockets of a log that failed, until it is left.
    closing: Option<Closing>,
    task: Task,
    /// The task failed: the core leaves the log, and only then it is looked at again.
    is_task_failed: bool,
    catchups: Catchups,
    errands: Errands,
    snapshot: Option<Box<SnapshotTake>>,
    wanted: VecDeque<Wanted>,
    inputs: Vec<Input<'static>>,
    faults: VecDeque<LogFault>,
    is_lost: bool,
}

impl LogArchive {
    /// Takes over the module's session with its archive. `recording` is that of the log as it was
    /// found at the start, stopped; `None` if there is no log yet.
    #[must_use]
    pub fn new(
        archive: ArchiveClient,
        handle: &Handle,
        settings: &Settings,
        config: &Config,
        recording: Option<Recording>,
    ) -> Self {
        let environment = Environment {
            archive,
            handle: handle.clone(),
            settings: settings.clone(),
            channels: config.channels.clone(),
        };
        Self {
            environment,
            recording_id: recording.as_ref().map(|recording| RecordingId(recording.id)),
            recording,
            publication: None,
            source: None,
            follower: LogFollower::new(config.app_version),
            closing: None,
            task: Task::None,
            is_task_failed: false,
            catchups: Catchups::default(),
            errands: Errands::default(),
            snapshot: None,
            wanted: VecDeque::new(),
            inputs: Vec::new(),
            faults: VecDeque::new(),
            is_lost: false,
        }
    }

    /// Performs one action of [`consensus::Consensus::drain_archive`]; ask [`LogArchive::wants`]
    /// right after the drain. `BackPressured` while the log is being left.
    ///
    /// # Errors
    /// The action does not fit what is open: a defect.
    pub fn perform(
        &mut self,
        action: &ArchiveAction,
        now: Now,
    ) -> Result<Outcome, LogArchiveError> {
        if self.is_lost {
            return Ok(Outcome::Done);
        }
        match *action {
            ArchiveAction::LeaveLog => self.leave(now),
            ArchiveAction::TakeSnapshot { position, term } => {
                self.wanted.push_back(Wanted::Snapshot { position, term });
            }
            _ if matches!(self.task, Task::Leave(_)) => return Ok(Outcome::BackPressured),
            _ => self.perform_on_log(action, now)?,
        }
        Ok(Outcome::Done)
    }

    fn perform_on_log(&mut self, action: &ArchiveAction, now: Now) -> Result<(), LogArchiveError> {
        let environment = &mut self.environment;
        let recording_id = self.recording_id.ok_or(LogArchiveError::NoRecording);
        match *action {
            ArchiveAction::LeaveLog | ArchiveAction::TakeSnapshot { .. } => {}
            ArchiveAction::CreatePublication { position } => {
                let recording = self.recording.as_ref();
                let publication = LogPublication::create(environment, recording, position);
                self.publication = Some(publication);
            }
            ArchiveAction::RecordPublication => self.record_publication(now)?,
            ArchiveAction::StartReplay { from, to } => {
                let replay = Replay::start(environment, recording_id?, (from, to), now);
                self.source = Some(Source::Replay(replay));
            }
            ArchiveAction::StopReplay => self.stop_replay(),
            ArchiveAction::Replicate { from_member, leader_recording_id, stop } => {
                self.replicate(from_member, leader_recording_id, stop)?;
            }
            ArchiveAction::Truncate { position } => {
                let truncation = Truncation::start(environment, recording_id?, position, now);
                self.begin(Task::Truncation(truncation));
            }
            ArchiveAction::OpenLog { session_id, is_catchup, .. } => {
                let join = Join::open(environment, SessionId(session_id), is_catchup);
                self.source = Some(Source::Join(join));
            }
            ArchiveAction::RecordImage => self.record_image(now)?,
            ArchiveAction::AddLiveDestination => match &mut self.source {
                Some(Source::Join(join)) => join.add_live_destination(environment),
                _ => return Err(LogArchiveError::NoLog),
            },
            ArchiveAction::RemoveCatchupDestination => match &mut self.source {
                Some(Source::Join(join)) => join.remove_catchup_destination(),
                _ => return Err(LogArchiveError::NoLog),
            },
            ArchiveAction::StartCatchup { member, from } => {
                self.catchups.expect(member, from);
                self.wanted.push_back(Wanted::CatchupEndpoint(member));
            }
            ArchiveAction::StopCatchup { member } => {
                self.catchups.stop(environment, &mut self.errands, member);
            }
        }
        Ok(())
    }

    fn begin(&mut self, task: Task) {
        self.task = task;
        self.is_task_failed = false;
    }

    fn record_publication(&mut self, now: Now) -> Result<(), LogArchiveError> {
        let publication = self.publication.as_ref().ok_or(LogArchiveError::NoPublication)?;
        let session_id = publication.session_id().ok_or(LogArchiveError::NoPublication)?;
        let log = &self.environment.settings.log;
        let channel = channels::log_recording(log, publication.tags(), session_id).to_string();
        self.record(channel, session_id, SourceLocation::Local, now);
        Ok(())
    }

    fn record_image(&mut self, now: Now) -> Result<(), LogArchiveError> {
        let Some(Source::Join(join)) = &self.source else { return Err(LogArchiveError::NoLog) };
        let (channel, session_id) = (join.channel().to_string(), join.session_id());
        self.record(channel, session_id, SourceLocation::Remote, now);
        Ok(())
    }

    /// Goes on with our recording, or begins it.
    fn record(
        &mut self,
        channel: String,
        session_id: SessionId,
        location: SourceLocation,
        now: Now,
    ) {
        let stream_id = self.environment.log_stream();
        let archive = &mut self.environment.archive;
        let request = match self.recording_id {
            Some(id) => archive.extend_recording(id.0, &channel, stream_id, location, true),
            None => archive.start_recording(&channel, stream_id, location, true),
        };
        self.begin(Task::Recording(LogRecording::new(request, channel, session_id, now)));
    }

    fn stop_replay(&mut self) {
        match self.source.take() {
            Some(Source::Replay(replay)) => {
                replay.stop(&mut self.environment, &mut self.errands);
            }
            other => self.source = other,
        }
    }

    fn replicate(
        &mut self,
        from: MemberId,
        source: RecordingId,
        stop: Position,
    ) -> Result<(), LogArchiveError> {
        let members = &self.environment.settings.members;
        let leader = members.iter().find(|member| member.id == from).cloned();
        let leader = leader.ok_or(LogArchiveError::Stranger(from.0))?;
        let own = self.recording_id;
        let replication = Replication::start(&mut self.environment, &leader, source, own, stop);
        self.begin(Task::Replication(replication));
        Ok(())
    }

    /// Everything of the log goes. What has begun at the archive is stopped step by step.
    fn leave(&mut self, now: Now) {
        self.inputs.retain(|input| {
            let Input::Archive(input) = input else { return false };
            matches!(input, ArchiveInput::SnapshotTaken { .. } | ArchiveInput::Lost)
        });
        self.wanted.retain(|wanted| matches!(wanted, Wanted::Snapshot { .. }));
        self.publication = None;
        self.catchups.stop_all(&mut self.environment, &mut self.errands);
        let closing = self.close_source(now).or_else(|| self.closing.take());
        let task = std::mem::replace(&mut self.task, Task::None);
        let leave = Leave::begin(&mut self.environment, task, self.recording_id, closing, now);
        self.begin(Task::Leave(Box::new(leave)));
    }

    fn close_source(&mut self, now: Now) -> Option<Closing> {
        match self.source.take()? {
            Source::Join(join) => join.leave(now),
            Source::Replay(replay) => {
                replay.stop(&mut self.environment, &mut self.errands);
                None
            }
        }
    }

    /// What the core is to give now, one by one.
    pub fn wants(&mut self) -> Option<Wanted> {
        self.wanted.pop_front()
    }

    /// Where a follower asked to be replayed to: its catch-up begins.
    pub fn give_catchup_endpoint(&mut self, member: MemberId, endpoint: &str) {
        let session_id = self.publication.as_ref().and_then(LogPublication::session_id);
        if let (Some(id), Some(session_id)) = (self.recording_id, session_id) {
            self.catchups.start(&mut self.environment, (id, session_id), member, endpoint);
        }
    }

    /// The messages of the module's snapshot: they are written to a recording, whatever becomes of
    /// the log meanwhile.
    pub fn begin_snapshot(&mut self, messages: Vec<Vec<u8>>, now: Now) {
        self.snapshot = Some(Box::new(SnapshotTake::begin(&self.environment, messages, now)));
    }

    /// While this member leads and its publication exists.
    pub fn publisher(&mut self) -> Option<&mut LogPublisher> {
        self.publication.as_mut()?.publisher()
    }

    /// Image and follower of the log to be read now (replay, catch-up or live), if any.
    pub fn reader(&mut self) -> Option<(&mut Image, &mut LogFollower)> {
        let image = self.source.as_mut()?.reader().map(Reader::image_mut)?;
        Some((image, &mut self.follower))
    }

    /// Channel and stream of the log that services are to join now; `None` if none is open.
    #[must_use]
    pub fn log_source(&self) -> Option<(String, i32)> {
        let stream_id = self.environment.log_stream().0;
        match (&self.source, &self.publication) {
            (Some(Source::Replay(replay)), _) => Some(replay.source()),
            (Some(Source::Join(join)), _) => Some((join.channel().to_string(), stream_id)),
            (None, Some(publication)) => {
                let (log, tags) = (&self.environment.settings.log, publication.tags());
                let session_id = publication.session_id()?;
                let channel = channels::log_for_leading_services(log, tags, session_id);
                Some((channel.to_string(), stream_id))
            }
            (None, None) => None,
        }
    }

    /// Where the leader is to replay to, with its port: what a
    /// [`consensus::CatchupPosition`] is sent with, since the core leaves it empty. Known from
    /// [`ArchiveInput::CatchupReady`] on.
    #[must_use]
    pub fn catchup_endpoint(&self) -> Option<&str> {
        match &self.source {
            Some(Source::Join(join)) => join.endpoint(),
            Some(Source::Replay(_)) | None => None,
        }
    }

    /// Our recording of the log, if there is one.
    #[must_use]
    pub const fn recording_id(&self) -> Option<RecordingId> {
        self.recording_id
    }

    /// The module's session with its archive, stepped by [`LogArchive::poll`].
    pub const fn archive(&mut self) -> &mut ArchiveClient {
        &mut self.environment.archive
    }

    /// The next thing that went wrong, for an error log: the core was told what it must know.
    pub fn next_fault(&mut self) -> Option<LogFault> {
        self.faults.pop_front()
    }

    /// One pass: steps the archive's client and reports each completion and each growth of the
    /// recording. The driver's client is stepped by the caller.
    pub fn poll(&mut self, now: Now, mut on_input: impl FnMut(Input<'static>)) -> Work {
        let mut work = Work::NONE;
        if !self.is_lost {
            match self.environment.archive.poll(now) {
                Ok(done) => {
                    work = done;
                    self.take_notices(now);
                    self.step(now);
                    work = self.due(work, now);
                }
                Err(gone) => self.on_fault(gone.into()),
            }
        }
        let work = work.and(Work::done(self.inputs.len()));
        self.inputs.drain(..).for_each(&mut on_input);
        work
    }

    /// The part of [`LogArchive::poll`] that commits wait for: how far the recording has come.
    pub fn poll_recording(&mut self, now: Now, mut on_input: impl FnMut(Input<'static>)) -> Work {
        if !self.is_lost && matches!(self.task, Task::Recording(_)) {
            self.step_task(now);
        }
        let work = Work::done(self.inputs.len());
        self.inputs.drain(..).for_each(&mut on_input);
        work
    }

    fn step(&mut self, now: Now) {
        let environment = &mut self.environment;
        self.errands.poll(&mut environment.archive);
        if let Some(fault) = self.catchups.poll(environment) {
            self.note(fault);
        }
        self.step_publication(now);
        self.step_task(now);
        self.step_source(now);
        self.step_snapshot(now);
    }

    fn due(&mut self, work: Work, now: Now) -> Work {
        let task = match &self.task {
            _ if self.is_task_failed => Nanos::MAX,
            Task::None => Nanos::MAX,
            Task::Recording(recording) => recording.due(),
            Task::Replication(replication) => replication.due(),
            Task::Truncation(truncation) => truncation.due(),
            Task::Leave(leave) => leave.due(now),
        };
        let mut work = work.due(task);
        if let Some(publication) = &self.publication {
            work = work.due(publication.due());
        }
        if let Some(snapshot) = &self.snapshot {
            work = work.due(snapshot.due());
        }
        if self.source.as_mut().and_then(Source::reader).is_some_and(|reader| reader.is_ending()) {
            work = work.due(now.mono);
        }
        match &self.source {
            None => work,
            Some(Source::Replay(replay)) => work.due(replay.due()),
            Some(Source::Join(join)) => work.due(join.due(now)),
        }
    }
}
