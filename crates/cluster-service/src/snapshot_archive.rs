//! Snapshots to and from the archive of this node. The only file that knows an archive.

use archive_client::{
    ArchiveClient, Connecting, NoCredentials, ReplayLength, ReplayParameters, ReplaySession,
    Request, SourceLocation,
};
use client::{
    Action, ExclusivePublication, Handle, ImageAssembler, OfferError, Pending, Subscription,
};
use runtime::{Nanos, Now, Work};
use wire::position::{Position, StreamId};
use wire::uri::{ChannelUri, key};

use crate::config::Config;
use crate::counters::{RecordingPosition, next_look};
use crate::host::Host;
use crate::service::Step;
use crate::snapshot::PendingSnapshot;
use crate::snapshot_records::{self, Place};

/// How many fragments one pass reads.
const FRAGMENT_LIMIT: usize = 50;

/// A session with the archive, on its way or there.
enum Archive {
    Connecting(Box<Connecting>),
    Open(Box<ArchiveClient>),
}

impl Archive {
    fn connect(config: &Config, handle: &Handle, now: Now) -> Result<Self, String> {
        let (cluster, service) = (config.cluster_id, config.service_id);
        let alias = |direction| format!("sc-{service}-archive-ctrl-{direction}-cluster-{cluster}");
        let channel = |direction| {
            let uri = ChannelUri::parse(&config.archive_control_channel)
                .map_err(|error| format!("{}: {error}", config.archive_control_channel))?;
            let has_alias = uri.has("alias");
            let uri = if has_alias { uri } else { uri.with("alias", alias(direction)) };
            Ok::<_, String>(uri.to_string())
        };
        let archive = archive_client::Config {
            control_channel: channel("req")?,
            control_stream_id: config.archive_control_stream_id,
            response_channel: channel("resp")?,
            response_stream_id: cluster * 100 + 120 + service + 1,
            message_timeout: config.archive_timeout,
            client_name: config.display_name(),
            ..archive_client::Config::default()
        };
        let connecting = ArchiveClient::connect(archive, Box::new(NoCredentials), handle, now);
        Ok(Self::Connecting(Box::new(connecting.map_err(|error| error.to_string())?)))
    }

    /// The archive once it is there, with what there was to do.
    fn poll(&mut self, now: Now) -> Result<(Option<&mut ArchiveClient>, Work), String> {
        if let Self::Connecting(connecting) = self {
            match connecting.poll(now).map_err(|error| error.to_string())? {
                None => return Ok((None, Work::NONE.due(connecting.deadline()))),
                Some(client) => *self = Self::Open(Box::new(client)),
            }
        }
        let Self::Open(client) = self else { return Ok((None, Work::NONE)) };
        let work = client.poll(now).map_err(|error| error.to_string())?;
        if let Some((_, error)) = client.next_failure() {
            return Err(error.to_string());
        }
        Ok((Some(client), work))
    }
}

fn taken<T>(answer: Option<Result<T, archive_client::RequestError>>) -> Result<Option<T>, String> {
    answer.transpose().map_err(|error| error.to_string())
}

/// A snapshot that is being loaded.
pub(crate) struct SnapshotLoad {
    archive: Archive,
    recording_id: i64,
    channel: ChannelUri,
    stream_id: StreamId,
    step: LoadStep,
    place: Place,
    assembler: ImageAssembler,
    timeout: Nanos,
    deadline: Nanos,
}

enum LoadStep {
    Connect,
    FindEnd(Request<Option<Position>>),
    Replay { request: Request<ReplaySession>, end: Position },
    Subscribe { pending: Pending<Subscription>, end: Position },
    Read { subscription: Subscription, end: Position },
}

impl SnapshotLoad {
    pub(crate) fn new(
        config: &Config,
        recording_id: i64,
        handle: &Handle,
        now: Now,
    ) -> Result<Self, String> {
        let channel = ChannelUri::parse(&config.replay_channel)
            .map_err(|error| format!("{}: {error}", config.replay_channel))?;
        Ok(Self {
            archive: Archive::connect(config, handle, now)?,
            recording_id,
            channel,
            stream_id: StreamId(config.replay_stream_id),
            step: LoadStep::Connect,
            place: Place::default(),
            assembler: ImageAssembler::new(),
            timeout: config.archive_timeout,
            deadline: now.mono + config.archive_timeout,
        })
    }

    /// One pass; `None` once the service has got everything.
    pub(crate) fn poll(
        &mut self,
        handle: &Handle,
        host: &mut Host,
        now: Now,
    ) -> Result<Option<Work>, String> {
        let (archive, work) = self.archive.poll(now)?;
        let Some(archive) = archive else { return Ok(Some(work)) };
        let mut done = 1;
        let next = match &mut self.step {
            LoadStep::Connect => Some(LoadStep::FindEnd(archive.stop_position(self.recording_id))),
            LoadStep::FindEnd(request) => match taken(archive.take(*request))? {
                None => None,
                Some(None) => return Err(format!("recording {} is active", self.recording_id)),
                Some(Some(end)) => {
                    let parameters =
                        ReplayParameters { length: ReplayLength::Follow, ..Default::default() };
                    let channel = self.channel.to_string();
                    let (id, stream_id) = (self.recording_id, self.stream_id);
                    let request = archive.replay(id, &channel, stream_id, &parameters);
                    Some(LoadStep::Replay { request, end })
                }
            },
            LoadStep::Replay { request, end } => taken(archive.take(*request))?.map(|replay| {
                let channel = self.channel.clone().with(key::SESSION_ID, replay.session_id().0);
                let pending = handle.add_subscription(&channel.to_string(), self.stream_id);
                LoadStep::Subscribe { pending, end: *end }
            }),
            LoadStep::Subscribe { pending, end } => {
                let subscription = pending.poll().map_err(|error| error.to_string())?;
                subscription.map(|subscription| LoadStep::Read { subscription, end: *end })
            }
            LoadStep::Read { subscription, end } => {
                let read = read(subscription, &mut self.assembler, &mut self.place, host)?;
                if read.position.is_some_and(|position| position >= *end) {
                    archive.close();
                    return self.finish();
                }
                done = read.fragments;
                None
            }
        };
        if let Some(next) = next {
            self.step = next;
        } else if !matches!(self.step, LoadStep::Read { .. }) {
            done = 0;
        }
        if done > 0 {
            self.deadline = now.mono + self.timeout;
        } else if now.mono >= self.deadline {
            return Err(format!("recording {} came to a stand", self.recording_id));
        }
        Ok(Some(work.and(Work::done(done)).due(self.deadline)))
    }

    fn finish(&self) -> Result<Option<Work>, String> {
        match self.place {
            Place::State => Ok(None),
            Place::Start | Place::Records => Err("it has no end marker".to_string()),
        }
    }
}

struct Read {
    fragments: usize,
    position: Option<Position>,
}

fn read(
    subscription: &mut Subscription,
    assembler: &mut ImageAssembler,
    place: &mut Place,
    host: &mut Host,
) -> Result<Read, String> {
    subscription.update();
    let Some(image) = subscription.images_mut().next() else {
        return Ok(Read { fragments: 0, position: None });
    };
    let mut failure = None;
    let fragments = image.controlled_poll(FRAGMENT_LIMIT, |fragment| {
        assembler.on_fragment_controlled(fragment, |message| {
            match snapshot_records::read(host, *place, message.payload()) {
                Ok(next) => {
                    *place = next;
                    Action::Continue
                }
                Err(error) => {
                    failure = Some(error);
                    Action::Break
                }
            }
        })
    });
    let position = Some(image.position());
    failure.map_or(Ok(Read { fragments, position }), Err)
}

/// A snapshot that is being taken.
pub(crate) struct SnapshotTake {
    started: Nanos,
    archive: Result<Archive, String>,
    publication: Pending<ExclusivePublication>,
    channel: String,
    stream_id: StreamId,
    step: TakeStep,
    timeout: Nanos,
    deadline: Nanos,
}

enum TakeStep {
    Open,
    Record { publication: ExclusivePublication },
    FindCounter { publication: ExclusivePublication, request: Request<i64>, next_look: Nanos },
    Write { writing: Box<Writing>, recorded: RecordingPosition },
}

struct Writing {
    publication: ExclusivePublication,
    pending: PendingSnapshot,
    is_complete: bool,
}

impl SnapshotTake {
    pub(crate) fn new(config: &Config, handle: &Handle, now: Now) -> Self {
        let stream_id = StreamId(config.snapshot_stream_id);
        Self {
            started: now.mono,
            archive: Archive::connect(config, handle, now),
            publication: handle.add_exclusive_publication(&config.snapshot_channel, stream_id),
            channel: config.snapshot_channel.clone(),
            stream_id,
            step: TakeStep::Open,
            timeout: config.archive_timeout,
            deadline: now.mono + config.archive_timeout,
        }
    }

    pub(crate) const fn started(&self) -> Nanos {
        self.started
    }

    /// One pass; the recording's id once all of it is recorded, or the work that was done.
    pub(crate) fn poll(
        &mut self,
        handle: &Handle,
        host: &mut Host,
        now: Now,
    ) -> Result<Result<i64, Work>, String> {
        let archive = self.archive.as_mut().map_err(|error| error.clone())?;
        let (archive, work) = archive.poll(now)?;
        let Some(archive) = archive else { return Ok(Err(work)) };
        let (step, done) = match std::mem::replace(&mut self.step, TakeStep::Open) {
            TakeStep::Open => match self.publication.poll().map_err(|error| error.to_string())? {
                None => (TakeStep::Open, 0),
                Some(publication) => (TakeStep::Record { publication }, 1),
            },
            TakeStep::Record { publication } => {
                let channel = recorded_channel(&self.channel, publication.session_id().0)?;
                let location = SourceLocation::Local;
                let request = archive.start_recording(&channel, self.stream_id, location, true);
                (TakeStep::FindCounter { publication, request, next_look: now.mono }, 1)
            }
            TakeStep::FindCounter { publication, request, next_look: at } => {
                // The answer itself says nothing: the counter shows that recording has begun.
                taken(archive.take(request))?;
                let session_id = publication.session_id().0;
                let found = (now.mono >= at).then(|| RecordingPosition::find(handle, session_id));
                match found.flatten() {
                    None => {
                        let at = if now.mono >= at { next_look(now) } else { at };
                        (TakeStep::FindCounter { publication, request, next_look: at }, 0)
                    }
                    Some(recorded) => {
                        let writing = Writing::new(publication, host);
                        (TakeStep::Write { writing, recorded }, 1)
                    }
                }
            }
            TakeStep::Write { mut writing, recorded } => {
                let done = writing.step(host)?;
                // The disk may be full, or failing: nothing more will come.
                let position = recorded.get(handle).ok_or("the recording has ended")?;
                let is_recorded = position >= writing.publication.position().0;
                if writing.is_complete && writing.is_sent() && is_recorded {
                    archive.close();
                    return Ok(Ok(recorded.recording_id));
                }
                (TakeStep::Write { writing, recorded }, done)
            }
        };
        self.step = step;
        if done > 0 {
            self.deadline = now.mono + self.timeout;
        } else if now.mono >= self.deadline {
            return Err("the archive came to a stand".to_string());
        }
        let due = match &self.step {
            TakeStep::FindCounter { next_look, .. } => self.deadline.min(*next_look),
            TakeStep::Open | TakeStep::Record { .. } | TakeStep::Write { .. } => self.deadline,
        };
        Ok(Err(work.and(Work::done(done)).due(due)))
    }
}

impl Writing {
    fn new(publication: ExclusivePublication, host: &Host) -> Box<Self> {
        let mut pending = PendingSnapshot::default();
        snapshot_records::write(host, &mut pending);
        Box::new(Self { publication, pending, is_complete: false })
    }

    fn is_sent(&self) -> bool {
        self.pending.messages().next().is_none()
    }

    /// Lets the service write once what it wrote before has gone.
    fn step(&mut self, host: &mut Host) -> Result<usize, String> {
        let mut done = 0;
        if self.is_sent() && !self.is_complete {
            self.is_complete = host.take_snapshot(&mut self.pending) == Step::Done;
            done += 1;
        }
        let (publication, mut failure) = (&mut self.publication, None);
        self.pending.drain(|message| match publication.offer(message) {
            Ok(_) => {
                done += 1;
                true
            }
            Err(OfferError::AdminAction | OfferError::BackPressured) => false,
            Err(error) => {
                failure = Some(error.to_string());
                false
            }
        });
        failure.map_or(Ok(done), Err)
    }
}

/// Only this session of the snapshot's channel is recorded.
fn recorded_channel(channel: &str, session_id: i32) -> Result<String, String> {
    let uri = ChannelUri::parse(channel).map_err(|error| format!("{channel}: {error}"))?;
    Ok(uri.with(key::SESSION_ID, session_id).to_string())
}
