//! A replay of our own recording to the module and its services.

use archive_client::{ReplayLength, ReplayParameters, ReplaySession, Request};
use client::{CorrelationId, Pending, Subscription};
use consensus::{ArchiveInput, RecordingId};
use runtime::{Nanos, Now};
use wire::position::{Position, StreamId};
use wire::uri::{ChannelUri, key};

use super::LogFault;
use super::environment::{Deadline, Environment, Errands};
use super::reader::Reader;

/// A replay from the request to its end.
pub(super) struct Replay {
    id: CorrelationId,
    stream_id: StreamId,
    channel: ChannelUri,
    deadline: Deadline,
    state: State,
}

enum State {
    Asking(Request<ReplaySession>),
    Subscribing(ReplaySession, Pending<Subscription>),
    Subscribed(Box<Subscribed>),
}

struct Subscribed {
    replay: ReplaySession,
    /// Keeps the image open.
    subscription: Subscription,
    /// Once the image is there.
    reader: Option<Reader>,
}

impl Replay {
    /// Asks for what lies between two positions.
    pub(super) fn start(
        environment: &mut Environment,
        recording_id: RecordingId,
        (from, to): (Position, Position),
        now: Now,
    ) -> Self {
        let channel = environment.settings.replay.clone();
        let stream_id = StreamId(environment.channels.replay_stream_id);
        let parameters = ReplayParameters {
            position: Some(from),
            length: ReplayLength::Bytes(to.0 - from.0),
            ..ReplayParameters::default()
        };
        let text = channel.to_string();
        let request = environment.archive.replay(recording_id.0, &text, stream_id, &parameters);
        let deadline = Deadline::new(now, "replay of the log did not begin");
        Self { id: request.id(), stream_id, channel, deadline, state: State::Asking(request) }
    }

    /// Failures of the replay carry it.
    pub(super) const fn id(&self) -> CorrelationId {
        self.id
    }

    /// What services join: known once there is an image to join.
    pub(super) fn source(&self) -> (String, i32) {
        (self.channel.to_string(), self.stream_id.0)
    }

    pub(super) fn reader(&mut self) -> Option<&mut Reader> {
        match &mut self.state {
            State::Subscribed(subscribed) => subscribed.reader.as_mut(),
            State::Asking(_) | State::Subscribing(..) => None,
        }
    }

    pub(super) fn due(&self) -> Nanos {
        match &self.state {
            State::Subscribed(subscribed) if subscribed.reader.is_some() => Nanos::MAX,
            _ => self.deadline.at(),
        }
    }

    /// The next thing that happened.
    pub(super) fn poll(
        &mut self,
        environment: &mut Environment,
        now: Now,
    ) -> Result<Option<ArchiveInput>, LogFault> {
        if let Some(reader) = self.reader() {
            let end = reader.poll_end();
            return Ok(end.map(|is_end_of_stream| ArchiveInput::ImageClosed { is_end_of_stream }));
        }
        self.deadline.check(now)?;
        match &mut self.state {
            State::Asking(request) => {
                if let Some(replay) = environment.take(*request)? {
                    self.channel.set(key::SESSION_ID, replay.session_id().0);
                    let (text, stream_id) = (self.channel.to_string(), self.stream_id);
                    let pending = environment.handle.add_subscription(&text, stream_id);
                    self.state = State::Subscribing(replay, pending);
                }
                Ok(None)
            }
            State::Subscribing(replay, pending) => {
                if let Some(subscription) = pending.poll()? {
                    let subscribed = Subscribed { replay: *replay, subscription, reader: None };
                    self.state = State::Subscribed(Box::new(subscribed));
                }
                Ok(None)
            }
            State::Subscribed(subscribed) => {
                let Subscribed { replay, subscription, reader } = &mut **subscribed;
                let session_id = replay.session_id();
                *reader = Reader::join(subscription, session_id);
                Ok(reader.as_ref().map(|reader| ArchiveInput::ImageJoined {
                    session_id: session_id.0,
                    position: reader.image().join_position(),
                }))
            }
        }
    }

    /// Closes the image. A replay that services may have joined is not stopped: that would take
    /// from them what they have not read yet. It ends by itself, or when nobody reads it.
    pub(super) fn stop(self, environment: &mut Environment, errands: &mut Errands) {
        let archive = &mut environment.archive;
        match self.state {
            State::Asking(request) => errands.stop_asked(request),
            State::Subscribing(replay, _) => errands.stop(archive, replay),
            State::Subscribed(subscribed) if subscribed.reader.is_none() => {
                errands.stop(archive, subscribed.replay);
            }
            State::Subscribed(_) => {}
        }
    }
}
