//! What a client may say to a member of the cluster.

use crate::bytes::SemanticVersion;
use crate::message::{HEADER_LENGTH, Message, MessageHeader, messages};
use crate::open_enum::open_enum;

/// Bytes in front of the payload of a session message: message header and block.
pub const SESSION_HEADER_LENGTH: usize = HEADER_LENGTH + 24;

open_enum! {
    /// What an administrative request asks for.
    pub enum AdminRequestType {
        /// Take a snapshot.
        Snapshot = 0,
    }
}

messages! {
    /// What a client may say to a member of the cluster.
    pub enum Ingress<'a>: schema 111 version 17 {
        /// Stands in front of every application message, in all directions and in the log.
        ///
        /// The payload follows the block: see [`SessionMessageHeader::payload`].
        SessionMessageHeader = 1 {
            leadership_term_id: i64,
            /// 1 and up: a client. Negative: a message of a service. To the module: the service id.
            cluster_session_id: i64,
            /// Cluster time; zero from a client.
            timestamp: i64,
        }
        /// Ask for a session.
        SessionConnectRequest = 3 {
            correlation_id: i64,
            response_stream_id: i32,
            version: SemanticVersion = SemanticVersion::NONE,
        } [response_channel, encoded_credentials, client_info since 14]
        /// End the session.
        SessionCloseRequest = 4 { leadership_term_id: i64, cluster_session_id: i64 }
        /// The client is alive; also the first word to a new leader.
        SessionKeepAlive = 5 { leadership_term_id: i64, cluster_session_id: i64 }
        /// Answer to a challenge. Its correlation id replaces that of the session.
        ChallengeResponse = 8 { correlation_id: i64, cluster_session_id: i64 } [encoded_credentials]
        /// Ask the cluster to do something with itself.
        AdminRequest = 26 {
            leadership_term_id: i64,
            cluster_session_id: i64,
            correlation_id: i64,
            request_type: AdminRequestType,
        } [payload]
    }
}

/// The front of a session message whose sender knows the block as it is known here, but for the
/// version of its schema, which does not change it.
const SESSION_MESSAGE: u64 = {
    let header = <SessionMessageHeader as Message<'_>>::HEADER;
    header.block_length as u64 | (header.template_id as u64) << 16 | (header.schema_id as u64) << 32
};
/// What of the front does not depend on the version.
const VERSION_SHIFT: u32 = 48;

impl SessionMessageHeader {
    /// Takes a session message apart, the one message of which there are many. `None` if it is
    /// another, or of a sender that writes it otherwise: [`Message::decode`] knows more.
    #[inline]
    #[must_use]
    pub fn split(fragment: &[u8]) -> Option<(Self, &[u8])> {
        let (bytes, payload) = fragment.split_first_chunk::<SESSION_HEADER_LENGTH>()?;
        let (words, _) = bytes.as_chunks::<8>();
        let [front, term, session, timestamp] = words else { return None };
        if u64::from_le_bytes(*front) << (64 - VERSION_SHIFT)
            != SESSION_MESSAGE << (64 - VERSION_SHIFT)
        {
            return None;
        }
        let header = Self {
            leadership_term_id: i64::from_le_bytes(*term),
            cluster_session_id: i64::from_le_bytes(*session),
            timestamp: i64::from_le_bytes(*timestamp),
        };
        Some((header, payload))
    }

    /// The bytes in front of a payload: the same as [`Message::encode`].
    #[inline]
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SESSION_HEADER_LENGTH] {
        const VERSION: u64 = <SessionMessageHeader as Message<'_>>::VERSION as u64;
        let front = SESSION_MESSAGE | VERSION << VERSION_SHIFT;
        let mut bytes = [0; SESSION_HEADER_LENGTH];
        let words = [
            front.to_le_bytes(),
            self.leadership_term_id.to_le_bytes(),
            self.cluster_session_id.to_le_bytes(),
            self.timestamp.to_le_bytes(),
        ];
        bytes.as_chunks_mut::<8>().0.copy_from_slice(&words);
        bytes
    }

    /// The application's bytes behind the header of a whole session message.
    ///
    /// Empty if the message is too short for its block, which decoding it would have refused.
    #[must_use]
    pub fn payload(fragment: &[u8]) -> &[u8] {
        let Ok(header) = MessageHeader::decode(fragment) else { return &[] };
        fragment.get(HEADER_LENGTH + usize::from(header.block_length)..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_message_is_split_as_it_is_decoded() {
        let header =
            SessionMessageHeader { leadership_term_id: 1, cluster_session_id: -2, timestamp: 3 };
        let mut fragment = [7; SESSION_HEADER_LENGTH + 2];
        header.encode(&mut fragment).expect("fits");
        assert_eq!(header.to_bytes()[..], fragment[..SESSION_HEADER_LENGTH]);
        assert_eq!(SessionMessageHeader::split(&fragment), Some((header, &[7, 7][..])));
        assert_eq!(SessionMessageHeader::split(&fragment[..32]), Some((header, &[][..])));
        assert_eq!(SessionMessageHeader::split(&fragment[..31]), None);
        // Another version, then another length, template and schema.
        fragment[6] = 1;
        assert_eq!(SessionMessageHeader::split(&fragment), Some((header, &[7, 7][..])));
        for at in [0, 2, 4] {
            let mut other = fragment;
            other[at] += 1;
            assert_eq!(SessionMessageHeader::split(&other), None);
        }
    }

    #[test]
    fn the_payload_follows_the_block_of_the_sender() {
        let header =
            SessionMessageHeader { leadership_term_id: 1, cluster_session_id: 2, timestamp: 3 };
        assert_eq!(header.encoded_length(), SESSION_HEADER_LENGTH);
        let mut fragment = [7; SESSION_HEADER_LENGTH + 2];
        header.encode(&mut fragment).expect("fits");
        assert_eq!(SessionMessageHeader::payload(&fragment), [7, 7]);
        fragment[0] = 25;
        assert_eq!(SessionMessageHeader::payload(&fragment), [7]);
        assert_eq!(SessionMessageHeader::payload(&fragment[..32]), []);
        assert_eq!(SessionMessageHeader::payload(&fragment[..7]), []);
    }
}
