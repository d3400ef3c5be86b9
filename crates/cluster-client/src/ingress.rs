//! Ways to the members: one publication each, or one for all.

use client::{ExclusivePublication, Handle, Pending};
use runtime::{Nanos, Now};
use wire::position::StreamId;
use wire::uri::{ChannelUri, key};

use crate::config::Config;
use crate::endpoints::{MemberEndpoint, parse_endpoints};
use crate::error::SessionError;

/// When to ask again after the driver refused a publication: a name may become known.
const RETRY_INTERVAL: Nanos = Nanos::from_millis(500);

/// Makes ways to members from the configured channel.
#[derive(Clone)]
pub(crate) struct Ingress {
    channel: ChannelUri,
    stream_id: StreamId,
    has_endpoints: bool,
}

/// A way to one member, or to whoever leads.
pub(crate) struct Route {
    /// -1 when the channel leads to the leader by itself.
    pub(crate) member_id: i32,
    endpoint: String,
    channel: String,
    door: Door,
}

enum Door {
    Pending(Pending<ExclusivePublication>),
    Open(Box<ExclusivePublication>),
    Failed { cause: String, retry_at: Nanos },
}

impl Ingress {
    pub(crate) fn new(config: &Config) -> Result<Self, SessionError> {
        let channel =
            ChannelUri::parse(&config.ingress_channel).map_err(|error| SessionError::Channel {
                channel: config.ingress_channel.clone(),
                cause: error.to_string(),
            })?;
        let has_endpoints = !config.ingress_endpoints.is_empty();
        if channel.is_ipc() && has_endpoints {
            let cause = "ingress endpoints are for UDP, not for IPC".to_string();
            return Err(SessionError::Channel { channel: channel.to_string(), cause });
        }
        Ok(Self { channel, stream_id: StreamId(config.ingress_stream_id), has_endpoints })
    }

    /// A way to each of the members that a text names; one for all if there are no endpoints.
    pub(crate) fn routes(&self, handle: &Handle, text: &str) -> Result<Vec<Route>, SessionError> {
        if !self.has_endpoints {
            return Ok(vec![self.route(handle, None)]);
        }
        let members = read_endpoints(text)?;
        Ok(members.iter().map(|member| self.route(handle, Some(member))).collect())
    }

    /// The way to one of the members that a text names; one of `existing` if it leads there.
    pub(crate) fn route_to(
        &self,
        handle: &Handle,
        member_id: i32,
        text: &str,
        existing: Vec<Route>,
    ) -> Result<Route, SessionError> {
        let member = if self.has_endpoints {
            let found = read_endpoints(text)?.into_iter().find(|it| it.member_id == member_id);
            Some(found.ok_or_else(|| SessionError::Endpoints {
                text: text.to_string(),
                cause: format!("the leader, member {member_id}, is not among them"),
            })?)
        } else {
            None
        };
        let endpoint = member.as_ref().map_or("", |member| member.endpoint.as_str());
        let kept = existing.into_iter().find(|route| route.endpoint == endpoint);
        Ok(kept.unwrap_or_else(|| self.route(handle, member.as_ref())))
    }

    fn route(&self, handle: &Handle, member: Option<&MemberEndpoint>) -> Route {
        let (member_id, endpoint, channel) = match member {
            None => (-1, String::new(), self.channel.to_string()),
            Some(MemberEndpoint { member_id, endpoint }) => {
                let channel = self.channel.clone().with(key::ENDPOINT, endpoint);
                (*member_id, endpoint.clone(), channel.to_string())
            }
        };
        let door = Door::Pending(handle.add_exclusive_publication(&channel, self.stream_id));
        Route { member_id, endpoint, channel, door }
    }
}

fn read_endpoints(text: &str) -> Result<Vec<MemberEndpoint>, SessionError> {
    parse_endpoints(text).map_err(|error| SessionError::Endpoints {
        text: text.to_string(),
        cause: error.to_string(),
    })
}

impl Route {
    /// Takes in the driver's answer, or asks again; returns whether anything changed.
    pub(crate) fn poll(&mut self, ingress: &Ingress, handle: &Handle, now: Now) -> bool {
        match &mut self.door {
            Door::Pending(pending) => match pending.poll() {
                Ok(None) => return false,
                Ok(Some(publication)) => self.door = Door::Open(Box::new(publication)),
                Err(error) => {
                    let (cause, retry_at) = (error.to_string(), now.mono + RETRY_INTERVAL);
                    self.door = Door::Failed { cause, retry_at };
                }
            },
            Door::Failed { retry_at, .. } if *retry_at <= now.mono => {
                let stream_id = ingress.stream_id;
                let pending = handle.add_exclusive_publication(&self.channel, stream_id);
                self.door = Door::Pending(pending);
            }
            Door::Open(_) | Door::Failed { .. } => return false,
        }
        true
    }

    /// The publication, if the member receives it.
    pub(crate) fn connected(&mut self) -> Option<&mut ExclusivePublication> {
        match &mut self.door {
            Door::Open(publication) if publication.is_connected() => Some(publication),
            Door::Open(_) | Door::Pending(_) | Door::Failed { .. } => None,
        }
    }

    /// The publication, if the driver has given it.
    pub(crate) fn into_publication(self) -> Option<ExclusivePublication> {
        match self.door {
            Door::Open(publication) => Some(*publication),
            Door::Pending(_) | Door::Failed { .. } => None,
        }
    }

    /// When to poll again for the sake of time.
    pub(crate) fn next_deadline(&self) -> Nanos {
        match self.door {
            Door::Failed { retry_at, .. } => retry_at,
            Door::Pending(_) | Door::Open(_) => Nanos::MAX,
        }
    }

    /// For people: where it leads and how it fares.
    pub(crate) fn describe(&self) -> String {
        let place = match self.member_id {
            -1 => self.channel.clone(),
            id => format!("{id}={}", self.endpoint),
        };
        match &self.door {
            Door::Pending(_) => format!("{place} (no answer from the driver yet)"),
            Door::Open(publication) if publication.is_connected() => {
                format!("{place} (connected)")
            }
            Door::Open(_) => format!("{place} (not connected)"),
            Door::Failed { cause, .. } => format!("{place} ({cause})"),
        }
    }
}

/// For people: all ways with how they fare.
pub(crate) fn describe_routes(routes: &[Route]) -> String {
    let texts: Vec<String> = routes.iter().map(Route::describe).collect();
    if texts.is_empty() { "nothing".to_string() } else { texts.join(", ") }
}
