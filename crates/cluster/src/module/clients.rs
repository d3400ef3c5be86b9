//! The messages of clients on their way to the core and into the log.

use consensus::{
    Admit, ClusterSessionId, Consensus, Ingress as Request, Input, LeadershipTermId, Outcome,
};
use runtime::{Halt, Now};
use wire::cluster::ingress::SessionMessageHeader;
use wire::position::SessionId;

use super::failed;
use crate::authentication::Authenticator;
use crate::channels;
use crate::config::Settings;
use crate::ingress::codec::FromClient;
use crate::ingress::{Taken, Taker};
use crate::log_publisher::LogPublisher;
use crate::session_counters::Origin;

/// What the messages of clients meet.
pub(super) struct Clients<'a> {
    pub(super) core: &'a mut Consensus,
    pub(super) log: Option<&'a mut LogPublisher>,
    pub(super) authenticator: &'a mut dyn Authenticator,
    pub(super) settings: &'a Settings,
    pub(super) is_ipc_allowed: bool,
    /// Sessions that were taken, without the address of their image.
    pub(super) opened: Vec<(ClusterSessionId, Origin)>,
    pub(super) findings: Vec<String>,
    /// Why this member cannot go on leading.
    pub(super) failure: Option<Halt>,
    pub(super) now: Now,
}

impl Taker for Clients<'_> {
    #[inline]
    fn message(&mut self, header: &SessionMessageHeader, payload: &[u8]) -> Taken {
        let session = ClusterSessionId(header.cluster_session_id);
        self.append(session, LeadershipTermId(header.leadership_term_id), payload)
    }

    fn take(&mut self, said: FromClient<'_>, transport: SessionId) -> Taken {
        match said {
            FromClient::Message { leadership_term_id, session, payload } => {
                self.append(session, leadership_term_id, payload)
            }
            FromClient::Connect { request, client_info } => {
                let taken = self.request(request, self.now);
                if let Taken::Of(session) = taken {
                    let (client_info, source) = (client_info.to_string(), String::new());
                    let origin = Origin { client_info, source, session_id: transport };
                    self.opened.push((session, origin));
                }
                taken
            }
            FromClient::Request(request) => self.request(request, self.now),
        }
    }
}

impl Clients<'_> {
    #[inline]
    fn append(
        &mut self,
        session: ClusterSessionId,
        term: LeadershipTermId,
        payload: &[u8],
    ) -> Taken {
        let header = match self.core.admit(session, term, self.now) {
            Admit::Append(header) => header,
            Admit::Drop => return Taken::Done,
            Admit::Wait => return Taken::Wait,
        };
        let Some(log) = &mut self.log else { return Taken::Wait };
        match log.append_message(header, payload) {
            Ok(Outcome::Appended(position)) => {
                self.core.appended(session, position, self.now);
                Taken::Of(session)
            }
            Ok(_) => Taken::Wait,
            Err(error) if error.is_of_message() => {
                self.findings.push(error.to_string());
                Taken::Of(session)
            }
            Err(error) => {
                self.failure = Some(failed(error));
                Taken::Wait
            }
        }
    }

    fn request(&mut self, request: Request<'_>, now: Now) -> Taken {
        let core = &mut *self.core;
        match request {
            Request::Connect { response_channel, .. } => {
                let template = self.settings.egress.as_ref();
                let allowed = self.is_ipc_allowed;
                let refined =
                    channels::refine_response_channel(response_channel, template, allowed);
                let Ok(refined) = refined else {
                    self.findings.push("a client's response channel is none".to_string());
                    return Taken::Done;
                };
                let before = core.newest_session();
                core.handle(now, Input::Ingress(with_channel(request, &refined)));
                let newest = core.newest_session();
                if newest == before { Taken::Done } else { newest.map_or(Taken::Done, Taken::Of) }
            }
            Request::Admin { session, request_type, .. } => {
                let principal = core.principal(session);
                let is_authorised =
                    principal.is_some_and(|it| self.authenticator.is_authorised(request_type, it));
                core.handle(now, Input::Ingress(authorised(request, is_authorised)));
                self.of(session)
            }
            Request::Close { session, .. }
            | Request::KeepAlive { session, .. }
            | Request::ChallengeResponse { session, .. } => {
                core.handle(now, Input::Ingress(request));
                self.of(session)
            }
        }
    }

    fn of(&self, session: ClusterSessionId) -> Taken {
        if self.core.principal(session).is_some() { Taken::Of(session) } else { Taken::Done }
    }
}

fn with_channel<'a>(request: Request<'a>, channel: &'a str) -> Request<'a> {
    match request {
        Request::Connect { correlation_id, response_stream_id, version, credentials, .. } => {
            Request::Connect {
                correlation_id,
                response_stream_id,
                version,
                response_channel: channel,
                credentials,
            }
        }
        other => other,
    }
}

fn authorised(request: Request<'_>, is_authorised: bool) -> Request<'_> {
    match request {
        Request::Admin { leadership_term_id, session, correlation_id, request_type, .. } => {
            Request::Admin {
                leadership_term_id,
                session,
                correlation_id,
                request_type,
                is_authorised,
            }
        }
        other => other,
    }
}
