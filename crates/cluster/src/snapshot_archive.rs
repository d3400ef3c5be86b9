//! The module's own snapshot, to a recording and back from one.

use archive_client::{
    ArchiveClient, ArchiveError, RecordingSignalEvent, ReplayLength, ReplayParameters,
    ReplaySession, Request, SourceLocation,
};
use client::{
    Action, CorrelationId, ExclusivePublication, Handle, ImageAssembler, OfferError, Pending,
    Subscription,
};
use consensus::{RecordingId, SnapshotItem};
use runtime::{Nanos, Now};
use wire::position::{Position, StreamId};
use wire::uri::{ChannelUri, key};

use crate::config::{Config, Settings};
use crate::log_archive::LogFault;
use crate::log_archive::environment::{Deadline, Environment, taken};
use crate::log_archive::recording::{Began, Start};
use crate::snapshot::{LoadError, Loader, Provenance};

/// How many fragments one pass reads.
const FRAGMENT_LIMIT: usize = 50;

/// A snapshot on its way to a recording.
pub(crate) struct SnapshotTake {
    messages: std::vec::IntoIter<Vec<u8>>,
    /// The one that did not go out.
    next: Option<Vec<u8>>,
    stream_id: StreamId,
    channel: ChannelUri,
    state: TakeState,
    /// Moves on with each progress.
    deadline: Deadline,
}

enum TakeState {
    Opening(Pending<ExclusivePublication>),
    Starting(ExclusivePublication, Box<Start>),
    /// The last is how much of it is recorded.
    Writing(ExclusivePublication, Box<Began>, Position),
}

impl SnapshotTake {
    /// Begins to write `messages`, in their order.
    pub(crate) fn begin(environment: &Environment, messages: Vec<Vec<u8>>, now: Now) -> Self {
        let channel = environment.settings.snapshot.clone();
        let stream_id = StreamId(environment.channels.snapshot_stream_id);
        let pending = environment.handle.add_exclusive_publication(&channel.to_string(), stream_id);
        let deadline = Deadline::new(now, NOT_RECORDED);
        let state = TakeState::Opening(pending);
        Self { messages: messages.into_iter(), next: None, stream_id, channel, state, deadline }
    }

    pub(crate) fn due(&self) -> Nanos {
        let deadline = self.deadline.at();
        match &self.state {
            TakeState::Starting(_, start) => start.due().min(deadline),
            TakeState::Opening(_) | TakeState::Writing(..) => deadline,
        }
    }

    pub(crate) fn on_signal(&mut self, signal: &RecordingSignalEvent) {
        if let TakeState::Starting(_, start) = &mut self.state {
            start.on_signal(signal);
        }
    }

    /// Whether a failure with this id is of this snapshot. Later ones show in its counter.
    pub(crate) fn is_of(&self, id: CorrelationId) -> bool {
        matches!(&self.state, TakeState::Starting(_, start) if start.id() == id)
    }

    /// The recording, once it holds all of the snapshot.
    pub(crate) fn poll(
        mut self: Box<Self>,
        environment: &mut Environment,
        now: Now,
    ) -> Result<Result<RecordingId, Box<Self>>, LogFault> {
        self.deadline.check(now)?;
        self.state = match self.state {
            TakeState::Opening(mut pending) => match pending.poll()? {
                None => TakeState::Opening(pending),
                Some(publication) => {
                    let session_id = publication.session_id().0;
                    let channel = self.channel.clone().with(key::SESSION_ID, session_id);
                    let (text, location) = (channel.to_string(), SourceLocation::Local);
                    let archive = &mut environment.archive;
                    let request = archive.start_recording(&text, self.stream_id, location, true);
                    TakeState::Starting(publication, Box::new(Start::new(request, now)))
                }
            },
            TakeState::Starting(publication, mut start) => {
                let Environment { archive, handle, .. } = environment;
                match start.poll(archive, handle, now)? {
                    None => TakeState::Starting(publication, start),
                    Some(began) => TakeState::Writing(publication, Box::new(began), Position(0)),
                }
            }
            TakeState::Writing(mut publication, began, before) => {
                let is_sent = write(&mut publication, &mut self.messages, &mut self.next)?;
                let Some(recorded) = began.counter.get(&environment.handle) else {
                    return Err(LogFault::Ended);
                };
                if is_sent && recorded >= publication.position() {
                    return Ok(Ok(began.recording_id));
                }
                if recorded > before {
                    self.deadline = Deadline::new(now, NOT_RECORDED);
                }
                TakeState::Writing(publication, began, recorded)
            }
        };
        Ok(Err(self))
    }
}

/// Offers what is left; true once all of it went out.
fn write(
    publication: &mut ExclusivePublication,
    messages: &mut std::vec::IntoIter<Vec<u8>>,
    next: &mut Option<Vec<u8>>,
) -> Result<bool, OfferError> {
    while let Some(message) = next.take().or_else(|| messages.next()) {
        match publication.offer(&message) {
            Ok(_) => {}
            Err(OfferError::AdminAction | OfferError::BackPressured) => {
                *next = Some(message);
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Why a snapshot cannot be loaded: the member must not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotLoadError {
    /// The archive, or the driver, does not give it.
    #[error("snapshot {}: {cause}", recording_id.0)]
    Fault {
        /// Its recording.
        recording_id: RecordingId,
        /// Why not.
        cause: LogFault,
    },
    /// A replay of it failed.
    #[error("snapshot {}: {cause}", recording_id.0)]
    Replay {
        /// Its recording.
        recording_id: RecordingId,
        /// What the archive says.
        cause: ArchiveError,
    },
    /// Its recording does not say where it ends.
    #[error("snapshot {} is still being recorded", .0.0)]
    Active(RecordingId),
    /// Its recording ends before the snapshot does.
    #[error("snapshot {} has no end", .0.0)]
    Truncated(RecordingId),
    /// What it holds is not to be used.
    #[error(transparent)]
    Content(#[from] LoadError),
}

/// The module's own snapshot, being loaded at the start of a member; or one of a service, being
/// read to see whether that can be done: a service that finds a damaged one has to end.
pub struct SnapshotLoad {
    recording_id: RecordingId,
    handle: Handle,
    channel: ChannelUri,
    stream_id: StreamId,
    loader: Option<Loader>,
    assembler: ImageAssembler,
    replay: Option<CorrelationId>,
    state: LoadState,
    deadline: Deadline,
}

enum LoadState {
    FindEnd(Request<Option<Position>>),
    Asking(Request<ReplaySession>, Position),
    Subscribing(Pending<Subscription>, Position),
    Reading(Subscription, Position),
    Done,
}

impl SnapshotLoad {
    /// Begins to replay a recording, which must hold the snapshot that the recording log names.
    #[must_use]
    pub fn begin(
        archive: &mut ArchiveClient,
        handle: &Handle,
        settings: &Settings,
        config: &Config,
        recording_id: RecordingId,
        expected: Provenance,
        now: Now,
    ) -> Self {
        let loader = Some(Loader::new(expected));
        Self { loader, ..Self::check(archive, handle, settings, config, recording_id, now) }
    }

    /// Begins to replay a recording only to see whether the archive can.
    #[must_use]
    pub fn check(
        archive: &mut ArchiveClient,
        handle: &Handle,
        settings: &Settings,
        config: &Config,
        recording_id: RecordingId,
        now: Now,
    ) -> Self {
        Self {
            recording_id,
            handle: handle.clone(),
            channel: settings.replay.clone(),
            stream_id: StreamId(config.channels.replay_stream_id),
            loader: None,
            assembler: ImageAssembler::new(),
            replay: None,
            state: LoadState::FindEnd(archive.stop_position(recording_id.0)),
            deadline: Deadline::new(now, NO_PROGRESS),
        }
    }

    /// Which recording.
    #[must_use]
    pub const fn recording_id(&self) -> RecordingId {
        self.recording_id
    }

    /// When it is given up, unless it goes on before.
    #[must_use]
    pub fn deadline(&self) -> Nanos {
        self.deadline.at()
    }

    /// One pass, which steps the archive's client too: true once all of it was handed over. Items
    /// go to `restore`, which is [`consensus::Consensus::restore`], in their order.
    ///
    /// # Errors
    /// See [`SnapshotLoadError`]: it is not to be polled again.
    pub fn poll(
        &mut self,
        archive: &mut ArchiveClient,
        now: Now,
        restore: impl FnMut(SnapshotItem<'_>) -> bool,
    ) -> Result<bool, SnapshotLoadError> {
        let recording_id = self.recording_id;
        let fault = |cause| SnapshotLoadError::Fault { recording_id, cause };
        let _ = archive.poll(now).map_err(|gone| fault(gone.into()))?;
        while let Some((id, cause)) = archive.next_failure() {
            if self.replay == Some(id) {
                return Err(SnapshotLoadError::Replay { recording_id, cause });
            }
        }
        if let LoadState::Reading(_, end) = &self.state {
            let end = *end;
            let (count, position) = self.read(restore)?;
            let is_at_end = end == Position(0) || position.is_some_and(|it| it >= end);
            match &self.loader {
                Some(loader) if loader.is_done() => self.state = LoadState::Done,
                None if is_at_end => self.state = LoadState::Done,
                Some(_) if is_at_end => {
                    return Err(SnapshotLoadError::Truncated(recording_id));
                }
                _ => {}
            }
            if count > 0 {
                self.deadline = Deadline::new(now, NO_PROGRESS);
            }
        } else {
            self.open(archive).map_err(|error| match error {
                OpenError::Fault(cause) => fault(cause),
                OpenError::Active => SnapshotLoadError::Active(recording_id),
            })?;
        }
        self.deadline.check(now).map_err(fault)?;
        Ok(matches!(self.state, LoadState::Done))
    }

    /// From the end of the recording to the subscription of its replay.
    fn open(&mut self, archive: &mut ArchiveClient) -> Result<(), OpenError> {
        let next = match &mut self.state {
            LoadState::FindEnd(request) => match taken(archive, *request)? {
                None => None,
                Some(None) => return Err(OpenError::Active),
                Some(Some(end)) => {
                    let parameters =
                        ReplayParameters { length: ReplayLength::Follow, ..Default::default() };
                    let (text, stream_id) = (self.channel.to_string(), self.stream_id);
                    let id = self.recording_id.0;
                    let request = archive.replay(id, &text, stream_id, &parameters);
                    self.replay = Some(request.id());
                    Some(LoadState::Asking(request, end))
                }
            },
            LoadState::Asking(request, end) => taken(archive, *request)?.map(|replay| {
                let channel = self.channel.clone().with(key::SESSION_ID, replay.session_id().0);
                let pending = self.handle.add_subscription(&channel.to_string(), self.stream_id);
                LoadState::Subscribing(pending, *end)
            }),
            LoadState::Subscribing(pending, end) => {
                let subscription = pending.poll().map_err(LogFault::from)?;
                subscription.map(|subscription| LoadState::Reading(subscription, *end))
            }
            LoadState::Reading(..) | LoadState::Done => None,
        };
        if let Some(next) = next {
            self.state = next;
        }
        Ok(())
    }

    /// Reads what is there; returns how many fragments, and how far it has come.
    fn read(
        &mut self,
        mut restore: impl FnMut(SnapshotItem<'_>) -> bool,
    ) -> Result<(usize, Option<Position>), SnapshotLoadError> {
        let Self { state: LoadState::Reading(subscription, _), assembler, loader, .. } = self
        else {
            return Ok((0, None));
        };
        subscription.update();
        let Some(image) = subscription.images_mut().next() else { return Ok((0, None)) };
        let mut result = Ok(());
        let count = image.controlled_poll(FRAGMENT_LIMIT, |fragment| {
            let Some(loader) = loader else { return Action::Continue };
            assembler.on_fragment_controlled(fragment, |message| {
                match loader.take(message.payload(), &mut restore) {
                    Ok(()) => Action::Continue,
                    Err(error) => {
                        result = Err(error.into());
                        Action::Break
                    }
                }
            })
        });
        result.map(|()| (count, Some(image.position())))
    }
}

/// What did not happen, as a clause.
const NOT_RECORDED: &str = "snapshot was not recorded on";
/// What did not happen, as a clause.
const NO_PROGRESS: &str = "snapshot was not replayed on";

enum OpenError {
    Fault(LogFault),
    Active,
}

impl From<LogFault> for OpenError {
    fn from(fault: LogFault) -> Self {
        Self::Fault(fault)
    }
}
