//! The log's publication by the leader, with a destination for each other member.

use archive_client::Recording;
use client::{ExclusivePublication, Pending};
use runtime::{Nanos, Now};
use wire::position::{Position, SessionId, TermId};

use super::LogFault;
use super::environment::Environment;
use crate::channels::{self, LogEnd, Tags};
use crate::log_publisher::LogPublisher;

/// How long after a refusal a destination is tried again: a host without a name yet, say.
const RETRY_INTERVAL: Nanos = Nanos::from_secs(1);
/// Longest datagram of a driver that says nothing else.
const MTU_DEFAULT: i32 = 1408;

/// A publication on its way or there.
pub(super) struct LogPublication {
    tags: Tags,
    state: State,
    destinations: Vec<Destination>,
}

enum State {
    Adding(Pending<ExclusivePublication>),
    Ready(Box<LogPublisher>),
}

struct Destination {
    channel: String,
    state: DestinationState,
}

enum DestinationState {
    Adding(Pending<()>),
    Added,
    Refused { again_at: Nanos },
}

impl LogPublication {
    /// Goes on with `recording`, which ends at `position`.
    pub(super) fn create(
        environment: &Environment,
        recording: Option<&Recording>,
        position: Position,
    ) -> Self {
        let Environment { handle, settings, channels, .. } = environment;
        let tags = next_tags(environment);
        let end = log_end(environment, recording, position);
        let is_alone = settings.members.len() == 1;
        let binds_source = channels.log_control_enabled;
        let own = &settings.own;
        let channel =
            channels::log_publication(&settings.log, own, tags, end, is_alone, binds_source);
        let stream_id = environment.log_stream();
        let pending = handle.add_exclusive_publication(&channel.to_string(), stream_id);
        Self { tags, state: State::Adding(pending), destinations: Vec::new() }
    }

    pub(super) const fn tags(&self) -> Tags {
        self.tags
    }

    pub(super) fn publisher(&mut self) -> Option<&mut LogPublisher> {
        match &mut self.state {
            State::Adding(_) => None,
            State::Ready(publisher) => Some(publisher),
        }
    }

    pub(super) fn session_id(&self) -> Option<SessionId> {
        match &self.state {
            State::Adding(_) => None,
            State::Ready(publisher) => Some(publisher.publication().session_id()),
        }
    }

    /// The session once, when the publication is there. Members that cannot be reached hold nobody
    /// up: their destinations are tried again and again.
    pub(super) fn poll(
        &mut self,
        environment: &Environment,
        now: Now,
    ) -> Result<Option<SessionId>, LogFault> {
        match &mut self.state {
            State::Adding(pending) => {
                let Some(publication) = pending.poll()? else { return Ok(None) };
                let session_id = publication.session_id();
                self.destinations = destinations(environment, &publication);
                self.state = State::Ready(Box::new(LogPublisher::new(publication)));
                Ok(Some(session_id))
            }
            State::Ready(publisher) => {
                for destination in &mut self.destinations {
                    destination.poll(publisher.publication(), now);
                }
                Ok(None)
            }
        }
    }

    pub(super) fn due(&self) -> Nanos {
        let retries = self.destinations.iter().map(|destination| match destination.state {
            DestinationState::Refused { again_at } => again_at,
            DestinationState::Adding(_) | DestinationState::Added => Nanos::MAX,
        });
        retries.min().unwrap_or(Nanos::MAX)
    }
}

impl Destination {
    fn poll(&mut self, publication: &ExclusivePublication, now: Now) {
        match &mut self.state {
            DestinationState::Added => {}
            DestinationState::Adding(pending) => match pending.poll() {
                Ok(None) => {}
                Ok(Some(())) => self.state = DestinationState::Added,
                Err(_) => {
                    let again_at = now.mono + RETRY_INTERVAL;
                    self.state = DestinationState::Refused { again_at };
                }
            },
            DestinationState::Refused { again_at } if now.mono < *again_at => {}
            DestinationState::Refused { .. } => {
                let pending = publication.add_destination(&self.channel);
                self.state = DestinationState::Adding(pending);
            }
        }
    }
}

/// Two numbers that no other channel of this driver is tagged with.
pub(super) fn next_tags(environment: &Environment) -> Tags {
    let channel = environment.handle.next_correlation_id().0;
    Tags { channel, stream: environment.handle.next_correlation_id().0 }
}

/// What the publication continues. A log without recording begins at 0, but for a member that was
/// given a snapshot and nothing else: there it begins at the snapshot.
fn log_end(
    environment: &Environment,
    recording: Option<&Recording>,
    position: Position,
) -> Option<LogEnd> {
    if let Some(recording) = recording {
        let &Recording { initial_term_id, term_length, mtu_length, .. } = recording;
        return Some(LogEnd { initial_term_id, term_length, mtu_length, position });
    }
    if position.0 == 0 {
        return None;
    }
    let settings = &environment.settings;
    let mtu = settings.log.mtu().ok().flatten();
    let term_length = settings.consensus.log_term_length;
    let mtu_length = mtu.unwrap_or(MTU_DEFAULT);
    Some(LogEnd { initial_term_id: TermId(0), term_length, mtu_length, position })
}

fn destinations(environment: &Environment, publication: &ExclusivePublication) -> Vec<Destination> {
    let settings = &environment.settings;
    if !channels::is_log_multi_destination(&settings.log) {
        return Vec::new();
    }
    let others = settings.members.iter().filter(|member| member.id != settings.own.id);
    let add = |member: &crate::members::ClusterMember| {
        let channel = channels::destination(&settings.log, &member.log).to_string();
        let state = DestinationState::Adding(publication.add_destination(&channel));
        Destination { channel, state }
    };
    others.map(add).collect()
}
