//! What clients say, decoded for the core.

use consensus::{ClusterSessionId, CorrelationId, Ingress, LeadershipTermId};
use wire::bytes::DecodeError;
use wire::cluster::ingress::{Ingress as Wire, SessionMessageHeader};

/// One message of an ingress stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromClient<'a> {
    /// To be offered to [`consensus::Consensus::admit`], then appended.
    Message {
        /// The term that the client knows.
        leadership_term_id: LeadershipTermId,
        /// The session that it claims to be.
        session: ClusterSessionId,
        /// The application's bytes.
        payload: &'a [u8],
    },
    /// A request for a session, for the core; its response channel is as the client gave it.
    Connect {
        /// The request.
        request: Ingress<'a>,
        /// What the client says of itself; empty if that is no text.
        client_info: &'a str,
    },
    /// For the core. An administrative request is not authorised yet.
    Request(Ingress<'a>),
}

/// Why a message of a client is recorded as an error and skipped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IngressError {
    /// Bytes that are no message of a client.
    #[error("a client sent what is no ingress: {0}")]
    Undecodable(#[from] DecodeError),
    /// A channel that is no text.
    #[error("a client's response channel is no text")]
    Channel,
}

/// Decodes a message; `None` if its template is not of a client.
///
/// # Errors
/// See [`IngressError`].
pub fn decode(message: &[u8]) -> Result<Option<FromClient<'_>>, IngressError> {
    let Some(decoded) = Wire::decode(message)? else { return Ok(None) };
    let request = match decoded {
        Wire::SessionMessageHeader(m) => {
            return Ok(Some(FromClient::Message {
                leadership_term_id: LeadershipTermId(m.leadership_term_id),
                session: ClusterSessionId(m.cluster_session_id),
                payload: SessionMessageHeader::payload(message),
            }));
        }
        Wire::SessionConnectRequest(m) => {
            let request = Ingress::Connect {
                correlation_id: CorrelationId(m.correlation_id),
                response_stream_id: m.response_stream_id,
                version: m.version.0,
                response_channel: std::str::from_utf8(m.response_channel)
                    .map_err(|_| IngressError::Channel)?,
                credentials: m.encoded_credentials,
            };
            let client_info = std::str::from_utf8(m.client_info).unwrap_or_default();
            return Ok(Some(FromClient::Connect { request, client_info }));
        }
        Wire::SessionCloseRequest(m) => Ingress::Close {
            leadership_term_id: LeadershipTermId(m.leadership_term_id),
            session: ClusterSessionId(m.cluster_session_id),
        },
        Wire::SessionKeepAlive(m) => Ingress::KeepAlive {
            leadership_term_id: LeadershipTermId(m.leadership_term_id),
            session: ClusterSessionId(m.cluster_session_id),
        },
        Wire::ChallengeResponse(m) => Ingress::ChallengeResponse {
            correlation_id: CorrelationId(m.correlation_id),
            session: ClusterSessionId(m.cluster_session_id),
            credentials: m.encoded_credentials,
        },
        Wire::AdminRequest(m) => Ingress::Admin {
            leadership_term_id: LeadershipTermId(m.leadership_term_id),
            session: ClusterSessionId(m.cluster_session_id),
            correlation_id: CorrelationId(m.correlation_id),
            request_type: m.request_type.code(),
            is_authorised: false,
        },
    };
    Ok(Some(FromClient::Request(request)))
}

#[cfg(test)]
mod tests {
    use wire::bytes::SemanticVersion;
    use wire::cluster::ingress::{
        AdminRequest, AdminRequestType, ChallengeResponse, SessionCloseRequest,
        SessionConnectRequest, SessionKeepAlive,
    };
    use wire::message::Message;

    use super::*;

    const TERM: LeadershipTermId = LeadershipTermId(4);
    const SESSION: ClusterSessionId = ClusterSessionId(8);

    fn decoded<'a>(message: &impl Message<'a>, read: impl FnOnce(FromClient<'_>)) {
        let mut buffer = vec![0; message.encoded_length()];
        message.encode(&mut buffer).unwrap();
        read(decode(&buffer).unwrap().unwrap());
    }

    fn connect(response_channel: &[u8]) -> SessionConnectRequest<'_> {
        SessionConnectRequest {
            correlation_id: 5,
            response_stream_id: 102,
            version: SemanticVersion::new(0, 3, 0),
            response_channel,
            encoded_credentials: b"key",
            client_info: b"name=x",
        }
    }

    #[test]
    fn a_session_message_is_told_apart_with_its_payload() {
        let header =
            SessionMessageHeader { leadership_term_id: 4, cluster_session_id: 8, timestamp: 0 };
        let mut buffer = [9; 35];
        header.encode(&mut buffer).unwrap();
        let message =
            FromClient::Message { leadership_term_id: TERM, session: SESSION, payload: &[9, 9, 9] };
        assert_eq!(decode(&buffer), Ok(Some(message)));
    }

    #[test]
    fn every_request_reaches_the_core_with_its_fields() {
        decoded(&connect(b"aeron:ipc"), |request| {
            let expected = FromClient::Connect {
                client_info: "name=x",
                request: Ingress::Connect {
                    correlation_id: CorrelationId(5),
                    response_stream_id: 102,
                    version: 768,
                    response_channel: "aeron:ipc",
                    credentials: b"key",
                },
            };
            assert_eq!(request, expected);
        });
        let (leadership_term_id, cluster_session_id) = (TERM.0, SESSION.0);
        decoded(&SessionCloseRequest { leadership_term_id, cluster_session_id }, |request| {
            let expected = Ingress::Close { leadership_term_id: TERM, session: SESSION };
            assert_eq!(request, FromClient::Request(expected));
        });
        decoded(&SessionKeepAlive { leadership_term_id, cluster_session_id }, |request| {
            let expected = Ingress::KeepAlive { leadership_term_id: TERM, session: SESSION };
            assert_eq!(request, FromClient::Request(expected));
        });
        let answer =
            ChallengeResponse { correlation_id: 6, cluster_session_id, encoded_credentials: b"c" };
        decoded(&answer, |request| {
            let expected = Ingress::ChallengeResponse {
                correlation_id: CorrelationId(6),
                session: SESSION,
                credentials: b"c",
            };
            assert_eq!(request, FromClient::Request(expected));
        });
    }

    #[test]
    fn an_administrative_request_is_not_authorised_by_decoding_it() {
        let request = AdminRequest {
            leadership_term_id: TERM.0,
            cluster_session_id: SESSION.0,
            correlation_id: 7,
            request_type: AdminRequestType::Snapshot,
            payload: b"",
        };
        decoded(&request, |request| {
            let expected = Ingress::Admin {
                leadership_term_id: TERM,
                session: SESSION,
                correlation_id: CorrelationId(7),
                request_type: 0,
                is_authorised: false,
            };
            assert_eq!(request, FromClient::Request(expected));
        });
    }

    #[test]
    fn nonsense_is_an_error_and_what_is_not_for_us_is_skipped() {
        assert!(matches!(decode(&[1, 2, 3]), Err(IngressError::Undecodable(_))));
        let mut buffer = vec![0; 256];
        connect(&[0xFF, 0xFE]).encode(&mut buffer).unwrap();
        assert_eq!(decode(&buffer), Err(IngressError::Channel));
        buffer[2] = 50;
        assert_eq!(decode(&buffer), Ok(None));
        buffer[4] = 7;
        let cause = DecodeError::OtherSchema { expected: 111, actual: 7 };
        assert_eq!(decode(&buffer), Err(IngressError::Undecodable(cause)));
    }
}
