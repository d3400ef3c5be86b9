//! [`ReplayMerge`]: reads a recording from a position on and goes over to the live stream.
//!
//! ```text
//! Resolve -> Position -> Replay -> CatchUp <-> Join -> Merged
//! ```
//!
//! One subscription receives from two destinations: first the replay, then the live stream too,
//! once the replay is near it, and in the end the live stream alone. Both have the same session, so
//! that they are one image: the channel of the replay must name it. The archive is asked how far
//! the recording is, ever more rarely (archive page 6.5).

use client::{AddError, Fragment, Image, Pending, Subscription};
use runtime::{Nanos, Now, Work};
use wire::position::{Position, SessionId};
use wire::uri::{ChannelUri, UriError, key};

use crate::answer::{ReplaySession, Request};
use crate::archive_client::ArchiveClient;
use crate::error::RequestError;
use crate::parameters::{ReplayLength, ReplayParameters};

/// The live stream is joined by a replay that is at most this far behind, or a quarter of a term.
const JOIN_WINDOW_MAX: i64 = 32 << 20;
/// How long to wait before the archive is asked again: at first, and at most.
const ASK_INTERVALS: (Nanos, Nanos) = (Nanos::from_millis(8), Nanos::from_millis(500));
/// Without progress for so long the merge has failed, unless told otherwise.
const PROGRESS_TIMEOUT: Nanos = Nanos::from_secs(5);

/// What to merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeParameters {
    /// The recording.
    pub recording_id: i64,
    /// Where to begin; must be the position of a frame.
    pub start_position: Position,
    /// The channel of the replay, with the session of the recorded stream. Its endpoint is taken
    /// from the replay destination.
    pub replay_channel: String,
    /// Where the replay is received; port 0 lets the driver choose.
    pub replay_destination: String,
    /// Where the live stream is received.
    pub live_destination: String,
    /// Without progress for so long the merge has failed.
    pub progress_timeout: Nanos,
}

impl MergeParameters {
    /// Parameters with the usual timeout.
    #[must_use]
    pub fn new(recording_id: i64, start_position: Position) -> Self {
        Self {
            recording_id,
            start_position,
            replay_channel: String::new(),
            replay_destination: String::new(),
            live_destination: String::new(),
            progress_timeout: PROGRESS_TIMEOUT,
        }
    }
}

/// Why a merge cannot begin or go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// The subscription does not take destinations.
    #[error("subscription of {channel} is not over UDP with control-mode=manual")]
    Subscription {
        /// Its channel.
        channel: String,
    },
    /// A channel or destination is not valid.
    #[error("{channel}: {cause}")]
    Channel {
        /// The text.
        channel: String,
        /// What is wrong.
        cause: UriError,
    },
    /// The driver refused a destination.
    #[error("destination: {0}")]
    Destination(#[from] AddError),
    /// The archive refused, or is gone.
    #[error(transparent)]
    Archive(#[from] RequestError),
    /// Nothing has come for too long.
    #[error("no progress for {} ms while {state}", waited.as_millis())]
    Timeout {
        /// How long.
        waited: Nanos,
        /// What was being waited for.
        state: &'static str,
    },
    /// The replay ended before the live stream was joined.
    #[error("the image closed before the live stream was joined")]
    ImageClosed,
}

#[derive(Clone, Copy)]
enum State {
    Resolve,
    Position(Option<Request<Position>>),
    Replay(Request<ReplaySession>),
    CatchUp,
    Join(Request<Position>),
    Merged,
    Failed,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolving the replay's port",
            Self::Position(_) => "asking for the recorded position",
            Self::Replay(_) => "asking for the replay",
            Self::CatchUp => "catching up",
            Self::Join(_) => "joining the live stream",
            Self::Merged => "merged",
            Self::Failed => "failed",
        }
    }
}

/// Reads a recording from a position on and goes over to the live stream.
///
/// Owned by the agent that owns subscription and archive client: it steps both, and this. From the
/// beginning on it may read what comes by [`ReplayMerge::poll`]; nothing is delivered twice, and
/// nothing is left out.
pub struct ReplayMerge {
    parameters: MergeParameters,
    replay_channel: ChannelUri,
    state: State,
    /// How far the recording was when the archive last answered.
    target: Position,
    changes: Vec<Pending<()>>,
    replay: Option<ReplaySession>,
    is_live_added: bool,
    is_replay_active: bool,
    /// Where the image was when it last moved, and when that was.
    progress: (Position, Nanos),
    ask_interval: Nanos,
    next_ask: Nanos,
}

impl ReplayMerge {
    /// Adds the replay destination to `subscription` and begins.
    ///
    /// # Errors
    /// A channel is not valid, or the subscription does not take destinations.
    pub fn new(
        parameters: MergeParameters,
        subscription: &Subscription,
        now: Now,
    ) -> Result<Self, MergeError> {
        let parse = |text: &str| {
            ChannelUri::parse(text)
                .map_err(|cause| MergeError::Channel { channel: text.to_string(), cause })
        };
        let channel = parse(subscription.channel())?;
        if !channel.is_udp() || channel.value(key::CONTROL_MODE) != Some("manual") {
            let channel = subscription.channel().to_string();
            return Err(MergeError::Subscription { channel });
        }
        let destination = parse(&parameters.replay_destination)?;
        parse(&parameters.live_destination)?;
        let mut replay_channel = parse(&parameters.replay_channel)?;
        replay_channel.set(key::LINGER, 0);
        replay_channel.set(key::EOS, "false");
        if let Some(endpoint) = destination.value(key::ENDPOINT) {
            replay_channel.set(key::ENDPOINT, endpoint);
        }
        let changes = vec![subscription.add_destination(&parameters.replay_destination)];
        Ok(Self {
            replay_channel,
            state: State::Resolve,
            target: parameters.start_position,
            changes,
            replay: None,
            is_live_added: false,
            is_replay_active: false,
            progress: (Position(-1), now.mono),
            ask_interval: ASK_INTERVALS.0,
            next_ask: now.mono,
            parameters,
        })
    }

    /// Whether the live stream is all that comes: this value is of no use any more.
    #[must_use]
    pub const fn is_merged(&self) -> bool {
        matches!(self.state, State::Merged)
    }

    /// Whether the live destination was added.
    #[must_use]
    pub const fn is_live_added(&self) -> bool {
        self.is_live_added
    }

    /// One pass. `archive` and `subscription` are those of the beginning; the caller polls the
    /// archive client, and reads.
    ///
    /// # Errors
    /// See [`MergeError`]: the merge has failed, and [`ReplayMerge::close`] is what is left.
    pub fn do_work(
        &mut self,
        archive: &mut ArchiveClient,
        subscription: &mut Subscription,
        now: Now,
    ) -> Result<Work, MergeError> {
        let before = std::mem::discriminant(&self.state);
        let stepped = self.step(archive, subscription, now);
        if let Err(error) = stepped.and_then(|()| self.watch(subscription, before, now)) {
            self.state = State::Failed;
            return Err(error);
        }
        let done = usize::from(before != std::mem::discriminant(&self.state));
        let due = match self.state {
            State::Merged | State::Failed => Nanos::MAX,
            _ => {
                self.next_ask.max(now.mono).min(self.progress.1 + self.parameters.progress_timeout)
            }
        };
        Ok(Work::done(done).due(due))
    }

    /// Reads from the image, once it is there; returns how many fragments.
    pub fn poll(
        &self,
        subscription: &mut Subscription,
        limit: usize,
        on_fragment: impl FnMut(Fragment<'_>),
    ) -> usize {
        self.image(subscription).map_or(0, |image| image.poll(limit, on_fragment))
    }

    /// The image of replay and live stream, once it is there.
    pub fn image<'a>(&self, subscription: &'a mut Subscription) -> Option<&'a mut Image> {
        subscription.update();
        subscription.image_by_session(self.session_id()?)
    }

    fn session_id(&self) -> Option<SessionId> {
        self.replay.map(ReplaySession::session_id)
    }

    /// Gives up what is not merged: the replay is stopped and its destination removed.
    pub fn close(mut self, archive: &mut ArchiveClient, subscription: &Subscription) {
        if !self.is_merged() {
            self.leave_replay(archive, subscription);
        }
    }

    fn step(
        &mut self,
        archive: &mut ArchiveClient,
        subscription: &mut Subscription,
        now: Now,
    ) -> Result<(), MergeError> {
        self.poll_changes()?;
        match self.state {
            State::Resolve => self.resolve(subscription),
            State::Position(None) if now.mono >= self.next_ask => {
                let request = archive.max_recorded_position(self.parameters.recording_id);
                self.state = State::Position(Some(request));
            }
            State::Position(Some(request)) => match archive.take(request).transpose()? {
                None => {}
                // It is not recorded yet.
                Some(Position(-1)) => {
                    self.wait(now);
                    self.state = State::Position(None);
                }
                Some(position) => {
                    self.target = position;
                    self.ask_for_replay(archive, subscription);
                }
            },
            State::Replay(request) => {
                if let Some(replay) = archive.take(request).transpose()? {
                    (self.replay, self.is_replay_active) = (Some(replay), true);
                    self.state = State::CatchUp;
                }
            }
            State::CatchUp => {
                let position = self.position(subscription)?;
                if position.is_some_and(|it| it >= self.target) && now.mono >= self.next_ask {
                    let request = archive.max_recorded_position(self.parameters.recording_id);
                    self.state = State::Join(request);
                }
            }
            State::Join(request) => {
                if let Some(target) = archive.take(request).transpose()? {
                    self.target = target;
                    self.join(archive, subscription, now)?;
                }
            }
            State::Position(None) | State::Merged | State::Failed => {}
        }
        Ok(())
    }

    fn poll_changes(&mut self) -> Result<(), AddError> {
        let mut result = Ok(());
        self.changes.retain_mut(|change| match change.poll() {
            Ok(answer) => answer.is_none(),
            Err(error) => {
                result = Err(error);
                false
            }
        });
        result
    }

    /// The replay's port is known once its destination is open.
    fn resolve(&mut self, subscription: &Subscription) {
        if !self.changes.is_empty() {
            return;
        }
        let endpoint = self.replay_channel.value(key::ENDPOINT).map(str::to_string);
        if let Some(host) = endpoint.as_deref().and_then(|it| it.strip_suffix(":0")) {
            let Some(address) = subscription.resolved_endpoint() else { return };
            let port = address.rsplit_once(':').map_or("0", |(_, port)| port);
            self.replay_channel.set(key::ENDPOINT, format!("{host}:{port}"));
        }
        self.state = State::Position(None);
    }

    fn ask_for_replay(&mut self, archive: &mut ArchiveClient, subscription: &Subscription) {
        let parameters = ReplayParameters {
            position: Some(self.parameters.start_position),
            length: ReplayLength::Bytes(i64::MAX),
            ..ReplayParameters::default()
        };
        let (id, channel) = (self.parameters.recording_id, self.replay_channel.to_string());
        let request = archive.replay(id, &channel, subscription.stream_id(), &parameters);
        self.ask_interval = ASK_INTERVALS.0;
        self.state = State::Replay(request);
    }

    /// Where the image is; none while it has not come.
    fn position(&self, subscription: &mut Subscription) -> Result<Option<Position>, MergeError> {
        match self.image(subscription) {
            Some(image) if image.is_closed() => Err(MergeError::ImageClosed),
            Some(image) => Ok(Some(image.position())),
            None if self.progress.0 >= Position(0) => Err(MergeError::ImageClosed),
            None => Ok(None),
        }
    }

    /// The archive has told how far the recording is.
    fn join(
        &mut self,
        archive: &mut ArchiveClient,
        subscription: &mut Subscription,
        now: Now,
    ) -> Result<(), MergeError> {
        self.state = State::CatchUp;
        let Some(position) = self.position(subscription)? else { return Ok(()) };
        let Some(image) = self.image(subscription) else { return Ok(()) };
        let transports = image.active_transport_count();
        let window = (i64::from(image.term_length()) / 4).min(JOIN_WINDOW_MAX);
        let behind = self.target.0 - position.0;
        if !self.is_live_added && behind <= window {
            self.is_live_added = true;
            self.ask_interval = ASK_INTERVALS.0;
            self.changes.push(subscription.add_destination(&self.parameters.live_destination));
        } else if self.is_live_added && behind <= 0 && transports >= 2 {
            self.leave_replay(archive, subscription);
            self.state = State::Merged;
            return Ok(());
        }
        self.wait(now);
        Ok(())
    }

    fn leave_replay(&mut self, archive: &mut ArchiveClient, subscription: &Subscription) {
        // Whether the driver does so shows in the stream only.
        drop(subscription.remove_destination(&self.parameters.replay_destination));
        if let Some(replay) = self.replay.filter(|_| self.is_replay_active) {
            archive.stop_replay(replay);
            self.is_replay_active = false;
        }
    }

    fn wait(&mut self, now: Now) {
        self.next_ask = now.mono + self.ask_interval;
        self.ask_interval = Nanos(self.ask_interval.0 * 2).min(ASK_INTERVALS.1);
    }

    /// Gives up when nothing moves.
    fn watch(
        &mut self,
        subscription: &mut Subscription,
        before: std::mem::Discriminant<State>,
        now: Now,
    ) -> Result<(), MergeError> {
        if self.is_merged() {
            return Ok(());
        }
        let position = self.image(subscription).map_or(Position(-1), |image| image.position());
        let is_first_half = !matches!(self.state, State::CatchUp | State::Join(_));
        let has_moved = is_first_half && before != std::mem::discriminant(&self.state);
        if position > self.progress.0 || has_moved {
            self.progress = (position.max(self.progress.0), now.mono);
            return Ok(());
        }
        let waited = now.mono - self.progress.1;
        if waited < self.parameters.progress_timeout {
            return Ok(());
        }
        Err(MergeError::Timeout { waited, state: self.state.name() })
    }
}
