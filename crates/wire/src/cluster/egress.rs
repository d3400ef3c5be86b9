//! What the module and the services say to a client. Messages for other sessions are ignored.

use crate::bytes::SemanticVersion;
use crate::cluster::ingress::{AdminRequestType, SessionMessageHeader};
use crate::message::messages;
use crate::open_enum::open_enum;

open_enum! {
    /// What a session event reports.
    pub enum EventCode {
        /// The session is open.
        Ok = 0,
        /// The request was refused; the detail says why.
        Error = 1,
        /// Another member leads; the detail lists the ingress endpoints.
        Redirect = 2,
        /// The credentials were refused.
        AuthenticationRejected = 3,
        /// The session is closed; the detail says why.
        Closed = 4,
    }
}

open_enum! {
    /// How an administrative request went.
    pub enum AdminResponseCode {
        /// Accepted, not yet done.
        Ok = 0,
        /// Not possible now, or unknown.
        Error = 1,
        /// Not allowed.
        UnauthorisedAccess = 2,
    }
}

messages! {
    /// What a client may hear from the cluster.
    pub enum Egress<'a>: schema 111 version 17 {
        /// Outcome of a request for a session, or its end.
        SessionEvent = 2 {
            /// -1 for a redirect, and for backups.
            cluster_session_id: i64,
            correlation_id: i64,
            leadership_term_id: i64,
            leader_member_id: i32,
            code: EventCode,
            version: SemanticVersion = SemanticVersion::NONE,
            /// `None` from a cluster that does not tell.
            leader_heartbeat_timeout_ns: Option<i64> = None,
        } [detail]
        /// Another member serves this session from now on.
        NewLeaderEvent = 6 {
            leadership_term_id: i64,
            cluster_session_id: i64,
            leader_member_id: i32,
        } [
            /// `id=host:port,...` of all members.
            ingress_endpoints,
        ]
        /// The authenticator asks back.
        Challenge = 7 { correlation_id: i64, cluster_session_id: i64 } [encoded_challenge]
        /// Answer to an administrative request.
        AdminResponse = 27 {
            cluster_session_id: i64,
            correlation_id: i64,
            request_type: AdminRequestType,
            response_code: AdminResponseCode,
        } [message, payload]
    } also { SessionMessageHeader as SessionMessageHeader }
}
