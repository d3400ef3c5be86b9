//! The other members: one subscription for what they say, one publication to each.

pub mod codec;

use std::collections::BTreeMap;

use client::{
    AddError, ExclusivePublication, FragmentAssembler, Handle, OfferError, Pending, Subscription,
};
use consensus::{MemberId, PeerMessage};
use runtime::{Nanos, Now};
use wire::bytes::{DecodeError, EncodeError, SemanticVersion};
use wire::cluster::peer::Peer;
use wire::position::StreamId;

use crate::channels;
use crate::config::{ChannelsConfig, Settings};
use crate::log_follower::is_compatible;

/// Fragments taken in one pass, at most.
const FRAGMENT_LIMIT: usize = 10;
/// How often a message is offered before it is lost, as on any network.
const SEND_ATTEMPTS: usize = 3;
/// When a publication that the driver refused is asked for again: a name may resolve by then.
const RETRY_INTERVAL: Nanos = Nanos::from_secs(1);

/// What is recorded as an error; the member goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The driver refuses the publication to a member.
    #[error("member {} cannot be spoken to: {cause}", member.0)]
    Unreachable {
        /// The member.
        member: MemberId,
        /// The driver's reason.
        cause: AddError,
    },
    /// Bytes that are no message of a member.
    #[error("a member sent what is no message: {0}")]
    Undecodable(#[from] DecodeError),
    /// A field is too long for the wire.
    #[error("a message to a member cannot be encoded: {0}")]
    Encode(#[from] EncodeError),
    /// A leader runs an application that this one does not agree with.
    #[error("a leader's application has version {theirs:?}, not {ours:?}")]
    AppVersion {
        /// Version of the leader.
        theirs: SemanticVersion,
        /// Version configured here.
        ours: SemanticVersion,
    },
}

enum Link {
    Asked(Pending<ExclusivePublication>),
    Open(Box<ExclusivePublication>),
    Refused { again_at: Nanos },
}

/// All that goes between members on the consensus stream. Nothing here blocks.
pub struct Peers {
    handle: Handle,
    stream_id: StreamId,
    app_version: SemanticVersion,
    subscription: Subscription,
    assembler: FragmentAssembler,
    links: BTreeMap<MemberId, (String, Link)>,
    buffer: Vec<u8>,
}

/// Asks for the subscription that [`Peers::new`] takes.
pub fn subscribe(
    handle: &Handle,
    settings: &Settings,
    config: &ChannelsConfig,
) -> Pending<Subscription> {
    let channel = channels::consensus_subscription(&settings.peers, &settings.own);
    handle.add_subscription(&channel.to_string(), StreamId(config.consensus_stream_id))
}

impl Peers {
    /// Hears by `subscription`, and asks for a publication to every other member.
    #[must_use]
    pub fn new(
        handle: &Handle,
        subscription: Subscription,
        settings: &Settings,
        config: &ChannelsConfig,
        app_version: SemanticVersion,
    ) -> Self {
        let stream_id = StreamId(config.consensus_stream_id);
        let others = settings.members.iter().filter(|member| member.id != settings.own.id);
        let binds_source = config.consensus_control_enabled;
        let link = |member: &crate::members::ClusterMember| {
            let (channel, own) = (&settings.peers, &settings.own);
            let uri = channels::consensus_publication(channel, own, member, binds_source);
            let channel = uri.to_string();
            let asked = Link::Asked(handle.add_exclusive_publication(&channel, stream_id));
            (member.id, (channel, asked))
        };
        Self {
            handle: handle.clone(),
            stream_id,
            app_version,
            subscription,
            assembler: FragmentAssembler::new(),
            links: others.map(link).collect(),
            buffer: vec![0; 2048],
        }
    }

    /// Takes in publications that are there, and asks again for those that were refused.
    pub fn advance(&mut self, now: Now, mut on_error: impl FnMut(PeerError)) {
        for (&member, (channel, link)) in &mut self.links {
            match link {
                Link::Asked(pending) => match pending.poll() {
                    Ok(None) => {}
                    Ok(Some(publication)) => *link = Link::Open(Box::new(publication)),
                    Err(cause) => {
                        on_error(PeerError::Unreachable { member, cause });
                        *link = Link::Refused { again_at: now.mono + RETRY_INTERVAL };
                    }
                },
                Link::Refused { again_at } if now.mono >= *again_at => {
                    let asked = self.handle.add_exclusive_publication(channel, self.stream_id);
                    *link = Link::Asked(asked);
                }
                Link::Refused { .. } | Link::Open(_) => {}
            }
        }
    }

    /// Hands over what members said; returns how many fragments were taken.
    pub fn receive(
        &mut self,
        mut on_message: impl FnMut(PeerMessage),
        mut on_error: impl FnMut(PeerError),
    ) -> usize {
        let (assembler, ours) = (&mut self.assembler, self.app_version);
        self.subscription.poll(FRAGMENT_LIMIT, |fragment| {
            assembler.on_fragment(fragment, |message| match decode(message.payload(), ours) {
                Ok(Some(message)) => on_message(message),
                Ok(None) => {}
                Err(error) => on_error(error),
            });
        })
    }

    /// Says something to a member. What cannot go out now is lost: the core says it again.
    ///
    /// # Errors
    /// The message cannot be encoded.
    pub fn send(&mut self, to: MemberId, message: &PeerMessage) -> Result<(), PeerError> {
        let Some((_, Link::Open(publication))) = self.links.get_mut(&to) else { return Ok(()) };
        let length = codec::encode(message, self.app_version, &mut self.buffer)?;
        for _ in 0..SEND_ATTEMPTS {
            match publication.offer(&self.buffer[..length]) {
                Err(OfferError::BackPressured | OfferError::AdminAction) => {}
                _ => break,
            }
        }
        Ok(())
    }
}

/// A message for the core; `None` for those that it does not take.
fn decode(message: &[u8], ours: SemanticVersion) -> Result<Option<PeerMessage>, PeerError> {
    let Some(decoded) = Peer::decode(message)? else { return Ok(None) };
    if let Peer::NewLeadershipTerm(term) = &decoded
        && !is_compatible(term.app_version, ours)
    {
        return Err(PeerError::AppVersion { theirs: term.app_version, ours });
    }
    Ok(codec::from_wire(&decoded))
}

#[cfg(test)]
mod tests {
    use consensus::{CommitPosition, LeadershipTermId, NewLeadershipTerm, RecordingId};
    use wire::position::Position;

    use super::*;

    const OURS: SemanticVersion = SemanticVersion::new(1, 2, 3);

    fn received(
        message: &PeerMessage,
        theirs: SemanticVersion,
    ) -> Result<Option<PeerMessage>, PeerError> {
        let mut buffer = [0; 256];
        let length = codec::encode(message, theirs, &mut buffer).unwrap();
        decode(&buffer[..length], OURS)
    }

    #[test]
    fn a_leader_of_another_major_version_is_not_heard() {
        let term = LeadershipTermId(1);
        let message = PeerMessage::NewLeadershipTerm(NewLeadershipTerm {
            log_leadership_term_id: term,
            next_leadership_term_id: None,
            next_term_base_log_position: None,
            next_log_position: None,
            leadership_term_id: term,
            term_base_log_position: Position(0),
            log_position: Position(0),
            leader_recording_id: RecordingId(0),
            timestamp: 0,
            leader_member_id: MemberId(1),
            log_session_id: 0,
            is_startup: false,
            commit_position: None,
        });
        let theirs = SemanticVersion::new(2, 0, 0);
        let error = PeerError::AppVersion { theirs, ours: OURS };
        assert_eq!(received(&message, theirs), Err(error));
        let near = SemanticVersion::new(1, 9, 9);
        assert_eq!(received(&message, near), Ok(Some(message)));
    }

    #[test]
    fn messages_without_a_version_are_heard_and_nonsense_is_an_error() {
        let message = PeerMessage::CommitPosition(CommitPosition {
            leadership_term_id: LeadershipTermId(1),
            log_position: Position(64),
            leader_member_id: MemberId(1),
        });
        assert_eq!(received(&message, SemanticVersion::NONE), Ok(Some(message)));
        assert!(matches!(decode(&[1, 2], OURS), Err(PeerError::Undecodable(_))));
    }
}
