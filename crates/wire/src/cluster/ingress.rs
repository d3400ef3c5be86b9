//! What a client may say to a member of the cluster.

use crate::bytes::SemanticVersion;
use crate::message::{HEADER_LENGTH, MessageHeader, messages};
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

impl SessionMessageHeader {
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
    use crate::message::Message;

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
