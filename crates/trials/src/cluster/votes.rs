//! Votes, as they pass over the network.

use std::collections::BTreeMap;

use wire::cluster::peer::Peer;
use wire::frame::{DATA_HEADER_LENGTH, FrameType, STREAM_ID_OFFSET, TYPE_OFFSET};

use super::frames::ALIGNMENT;

/// The stream on which members speak to each other.
const STREAM: i32 = 108;

/// Who voted for whom.
#[derive(Debug, Default)]
pub(super) struct Votes {
    /// The candidate by member and term.
    given: BTreeMap<(i32, i64), i32>,
    /// Members that voted since this was last asked.
    pub(super) recent: Vec<usize>,
    pub(super) count: u64,
    pub(super) violations: Vec<String>,
}

impl Votes {
    /// A datagram leaves a host.
    pub(super) fn on_datagram(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(header) = rest.first_chunk::<DATA_HEADER_LENGTH>() {
            let word = |at: usize| {
                i32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
            };
            let kind = u16::from_le_bytes([header[TYPE_OFFSET], header[TYPE_OFFSET + 1]]);
            let length = usize::try_from(word(0)).unwrap_or(0);
            if kind != FrameType::DATA.0 || word(STREAM_ID_OFFSET) != STREAM {
                return;
            }
            let Some(message) = rest.get(DATA_HEADER_LENGTH..length) else { return };
            self.on_message(message);
            rest = rest.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        }
    }

    fn on_message(&mut self, message: &[u8]) {
        match Peer::decode(message) {
            Ok(Some(Peer::Vote(vote))) if vote.vote => {
                self.given(
                    vote.follower_member_id,
                    vote.candidate_term_id,
                    vote.candidate_member_id,
                );
            }
            // Who asks for votes has given itself its own.
            Ok(Some(Peer::RequestVote(request))) => {
                let candidate = request.candidate_member_id;
                self.given(candidate, request.candidate_term_id, candidate);
            }
            _ => {}
        }
    }

    /// A member lost what it knew: nothing that it said binds it, whatever the term. It may have
    /// stood in some above the one that it follows.
    pub(super) fn forget(&mut self, member: usize) {
        let member = i32::try_from(member).unwrap_or_default();
        self.given.retain(|&(voter, _), _| voter != member);
    }

    fn given(&mut self, member: i32, term: i64, candidate: i32) {
        if let Some(&known) = self.given.get(&(member, term)) {
            if known != candidate {
                self.violations.push(format!(
                    "I-12: member {member} voted for {known} and {candidate} in term {term}"
                ));
            }
            return;
        }
        self.given.insert((member, term), candidate);
        self.count += 1;
        self.recent.extend(usize::try_from(member));
    }
}

#[cfg(test)]
mod tests {
    use wire::cluster::peer::Vote;
    use wire::message::Message;

    use super::*;

    fn datagram(votes: &[(i32, i64, i32)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &(member, term, candidate) in votes {
            let vote = Vote {
                candidate_term_id: term,
                log_leadership_term_id: 0,
                log_position: 0,
                candidate_member_id: candidate,
                follower_member_id: member,
                vote: true,
            };
            let mut frame = vec![0; DATA_HEADER_LENGTH + vote.encoded_length()];
            let length = i32::try_from(frame.len()).unwrap();
            frame[..4].copy_from_slice(&length.to_le_bytes());
            frame[TYPE_OFFSET] = 1;
            frame[STREAM_ID_OFFSET] = 108;
            vote.encode(&mut frame[DATA_HEADER_LENGTH..]).unwrap();
            frame.resize(frame.len().next_multiple_of(ALIGNMENT), 0);
            bytes.extend(frame);
        }
        bytes
    }

    #[test]
    fn a_member_may_repeat_its_vote_and_not_change_it() {
        let mut votes = Votes::default();
        votes.on_datagram(&datagram(&[(1, 5, 0), (2, 5, 2)]));
        votes.on_datagram(&datagram(&[(1, 5, 0), (1, 6, 2)]));
        assert_eq!((votes.count, &votes.violations[..]), (3, &[][..]));
        votes.on_datagram(&datagram(&[(1, 5, 2)]));
        assert_eq!(votes.violations.len(), 1);
    }

    #[test]
    fn what_a_member_said_before_it_lost_its_disk_binds_it_no_more_in_any_term() {
        let mut votes = Votes::default();
        votes.on_datagram(&datagram(&[(1, 5, 0), (1, 11, 1), (2, 11, 2)]));
        votes.forget(1);
        votes.on_datagram(&datagram(&[(1, 5, 2), (1, 11, 0)]));
        assert!(votes.violations.is_empty(), "{:?}", votes.violations);
        votes.on_datagram(&datagram(&[(1, 11, 1), (2, 11, 0)]));
        assert_eq!(votes.violations.len(), 2, "what it says from then on binds it, others too");
    }

    #[test]
    fn other_datagrams_are_passed_over() {
        let mut votes = Votes::default();
        let mut other = datagram(&[(1, 5, 0)]);
        other[STREAM_ID_OFFSET] = 100;
        votes.on_datagram(&other);
        votes.on_datagram(&[1, 2, 3]);
        votes.on_datagram(&[0; 64]);
        assert_eq!(votes.count, 0);
    }
}
