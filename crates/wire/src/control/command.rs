//! What clients ask of a driver.
//!
//! ```text
//! 0 client id i64 | 8 correlation id i64 | 16 fields of the request
//! ```

use super::text::{Body, Target};
use super::{ClientId, ControlError, CorrelationId};
use crate::counters::CounterTypeId;
use crate::position::{Position, StreamId};

/// A request, who made it, and what the answer will refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command<'a> {
    /// The client.
    pub client_id: ClientId,
    /// Comes back in the answer. Resources are removed by the id of the command that added them.
    pub correlation_id: CorrelationId,
    /// What to do.
    pub request: Request<'a>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Join or make a publication that threads and clients may share.
    AddPublication {
        /// The stream.
        stream_id: StreamId,
        /// Channel URI.
        channel: &'a str,
    },
    /// Make a publication with a single writer.
    AddExclusivePublication {
        /// The stream.
        stream_id: StreamId,
        /// Channel URI.
        channel: &'a str,
    },
    /// Close a publication.
    RemovePublication {
        /// The publication.
        registration_id: CorrelationId,
        /// Drop what subscribers have not consumed.
        revoke: bool,
    },
    /// Subscribe to a stream.
    AddSubscription {
        /// The stream.
        stream_id: StreamId,
        /// Channel URI.
        channel: &'a str,
    },
    /// Close a subscription.
    RemoveSubscription {
        /// The subscription.
        registration_id: CorrelationId,
    },
    /// Say that the client is alive; today's clients write their heartbeat counter instead.
    ClientKeepalive,
    /// Send a publication to one more destination.
    AddDestination {
        /// The publication.
        registration_id: CorrelationId,
        /// The destination's URI.
        channel: &'a str,
    },
    /// Send a publication to one destination less.
    RemoveDestination {
        /// The publication.
        registration_id: CorrelationId,
        /// The destination's URI.
        channel: &'a str,
    },
    /// Make a counter that lives as long as its client.
    AddCounter {
        /// What it counts.
        type_id: CounterTypeId,
        /// At most 112 bytes.
        key: &'a [u8],
        /// At most 380 bytes.
        label: &'a str,
    },
    /// Free a counter.
    RemoveCounter {
        /// The counter.
        registration_id: CorrelationId,
    },
    /// Leave.
    ClientClose,
    /// Receive a subscription from one more destination.
    AddReceiveDestination {
        /// The subscription.
        registration_id: CorrelationId,
        /// The destination's URI.
        channel: &'a str,
    },
    /// Receive a subscription from one destination less.
    RemoveReceiveDestination {
        /// The subscription.
        registration_id: CorrelationId,
        /// The destination's URI.
        channel: &'a str,
    },
    /// Ask the driver to terminate.
    TerminateDriver {
        /// For the driver's validator.
        token: &'a [u8],
    },
    /// Make, or find again, a counter that outlives its client.
    AddStaticCounter {
        /// The id that it has for ever.
        registration_id: CorrelationId,
        /// What it counts.
        type_id: CounterTypeId,
        /// At most 112 bytes.
        key: &'a [u8],
        /// At most 380 bytes.
        label: &'a str,
    },
    /// Refuse an image.
    RejectImage {
        /// The image.
        image: CorrelationId,
        /// Where its consumer is.
        position: Position,
        /// For the publisher; at most 1023 bytes.
        reason: &'a str,
    },
    /// Send a publication to one destination less, by the id of the command that added it.
    RemoveDestinationById {
        /// The publication.
        registration_id: CorrelationId,
        /// The destination.
        destination: CorrelationId,
    },
    /// Ask for a session id that is not in use on a stream.
    NextAvailableSessionId {
        /// The stream.
        stream_id: StreamId,
    },
}

const ADD_PUBLICATION: i32 = 0x01;
const REMOVE_PUBLICATION: i32 = 0x02;
const ADD_EXCLUSIVE_PUBLICATION: i32 = 0x03;
const ADD_SUBSCRIPTION: i32 = 0x04;
const REMOVE_SUBSCRIPTION: i32 = 0x05;
const CLIENT_KEEPALIVE: i32 = 0x06;
const ADD_DESTINATION: i32 = 0x07;
const REMOVE_DESTINATION: i32 = 0x08;
const ADD_COUNTER: i32 = 0x09;
const REMOVE_COUNTER: i32 = 0x0A;
const CLIENT_CLOSE: i32 = 0x0B;
const ADD_RECEIVE_DESTINATION: i32 = 0x0C;
const REMOVE_RECEIVE_DESTINATION: i32 = 0x0D;
const TERMINATE_DRIVER: i32 = 0x0E;
const ADD_STATIC_COUNTER: i32 = 0x0F;
const REJECT_IMAGE: i32 = 0x10;
const REMOVE_DESTINATION_BY_ID: i32 = 0x11;
const NEXT_AVAILABLE_SESSION_ID: i32 = 0x12;

/// Bit of the flags of a removal: the publication is revoked.
const REVOKE: i64 = 1;

impl<'a> Command<'a> {
    /// Decodes a message of the ring to the driver.
    ///
    /// # Errors
    /// Unknown types and malformed bodies; a driver answers them with
    /// [`ErrorCode::UNKNOWN_COMMAND`](super::ErrorCode::UNKNOWN_COMMAND) or
    /// [`MALFORMED_COMMAND`](super::ErrorCode::MALFORMED_COMMAND), always with correlation id 0
    /// (source: the Java driver 1.51; the C driver does not answer).
    pub fn decode(type_id: i32, body: &'a [u8]) -> Result<Self, ControlError> {
        if !(ADD_PUBLICATION..=NEXT_AVAILABLE_SESSION_ID).contains(&type_id) {
            return Err(ControlError::UnknownType(type_id));
        }
        let malformed = ControlError::Malformed { type_id, length: body.len() };
        Self::fields(type_id, &mut Body::new(body)).ok_or(malformed)
    }

    fn fields(type_id: i32, body: &mut Body<'a>) -> Option<Self> {
        let (client_id, correlation_id) = (ClientId(body.i64()?), CorrelationId(body.i64()?));
        let request = match type_id {
            CLIENT_KEEPALIVE => Request::ClientKeepalive,
            CLIENT_CLOSE => Request::ClientClose,
            ADD_COUNTER | REMOVE_COUNTER | ADD_STATIC_COUNTER => counter_fields(type_id, body)?,
            TERMINATE_DRIVER => Request::TerminateDriver { token: body.bytes()? },
            REJECT_IMAGE => Request::RejectImage {
                image: CorrelationId(body.i64()?),
                position: Position(body.i64()?),
                reason: body.prose()?,
            },
            NEXT_AVAILABLE_SESSION_ID => {
                Request::NextAvailableSessionId { stream_id: StreamId(body.i32()?) }
            }
            ADD_PUBLICATION | ADD_EXCLUSIVE_PUBLICATION | ADD_SUBSCRIPTION => {
                add_fields(type_id, body)?
            }
            _ => registered_fields(type_id, body)?,
        };
        Some(Self { client_id, correlation_id, request })
    }

    /// The message type for the record header.
    #[must_use]
    pub const fn type_id(&self) -> i32 {
        match self.request {
            Request::AddPublication { .. } => ADD_PUBLICATION,
            Request::AddExclusivePublication { .. } => ADD_EXCLUSIVE_PUBLICATION,
            Request::RemovePublication { .. } => REMOVE_PUBLICATION,
            Request::AddSubscription { .. } => ADD_SUBSCRIPTION,
            Request::RemoveSubscription { .. } => REMOVE_SUBSCRIPTION,
            Request::ClientKeepalive => CLIENT_KEEPALIVE,
            Request::AddDestination { .. } => ADD_DESTINATION,
            Request::RemoveDestination { .. } => REMOVE_DESTINATION,
            Request::AddCounter { .. } => ADD_COUNTER,
            Request::RemoveCounter { .. } => REMOVE_COUNTER,
            Request::ClientClose => CLIENT_CLOSE,
            Request::AddReceiveDestination { .. } => ADD_RECEIVE_DESTINATION,
            Request::RemoveReceiveDestination { .. } => REMOVE_RECEIVE_DESTINATION,
            Request::TerminateDriver { .. } => TERMINATE_DRIVER,
            Request::AddStaticCounter { .. } => ADD_STATIC_COUNTER,
            Request::RejectImage { .. } => REJECT_IMAGE,
            Request::RemoveDestinationById { .. } => REMOVE_DESTINATION_BY_ID,
            Request::NextAvailableSessionId { .. } => NEXT_AVAILABLE_SESSION_ID,
        }
    }

    /// Bytes that [`encode`](Self::encode) writes.
    #[must_use]
    pub fn encoded_length(&self) -> usize {
        let mut target = Target::measure();
        self.write(&mut target);
        target.finish().unwrap_or(usize::MAX)
    }

    /// Writes the body and returns its length; none when `target` is too short.
    #[must_use]
    pub fn encode(&self, target: &mut [u8]) -> Option<usize> {
        let mut target = Target::new(target);
        self.write(&mut target);
        target.finish()
    }

    fn write(&self, target: &mut Target<'_>) {
        target.i64(self.client_id.0);
        target.i64(self.correlation_id.0);
        match self.request {
            Request::ClientKeepalive | Request::ClientClose => {}
            Request::AddPublication { stream_id, channel }
            | Request::AddExclusivePublication { stream_id, channel } => {
                target.i32(stream_id.0);
                target.bytes(channel.as_bytes());
            }
            Request::RemovePublication { registration_id, revoke } => {
                target.i64(registration_id.0);
                target.i64(if revoke { REVOKE } else { 0 });
            }
            Request::AddSubscription { stream_id, channel } => {
                target.i64(super::NO_REGISTRATION.0);
                target.i32(stream_id.0);
                target.bytes(channel.as_bytes());
            }
            Request::RemoveSubscription { registration_id }
            | Request::RemoveCounter { registration_id } => target.i64(registration_id.0),
            Request::AddDestination { registration_id, channel }
            | Request::RemoveDestination { registration_id, channel }
            | Request::AddReceiveDestination { registration_id, channel }
            | Request::RemoveReceiveDestination { registration_id, channel } => {
                target.i64(registration_id.0);
                target.bytes(channel.as_bytes());
            }
            Request::AddCounter { type_id, key, label } => {
                put_counter(target, type_id, key, label);
            }
            Request::TerminateDriver { token } => target.bytes(token),
            Request::AddStaticCounter { registration_id, type_id, key, label } => {
                target.i64(registration_id.0);
                put_counter(target, type_id, key, label);
            }
            Request::RejectImage { image, position, reason } => {
                target.i64(image.0);
                target.i64(position.0);
                target.bytes(reason.as_bytes());
            }
            Request::RemoveDestinationById { registration_id, destination } => {
                target.i64(registration_id.0);
                target.i64(destination.0);
            }
            Request::NextAvailableSessionId { stream_id } => target.i32(stream_id.0),
        }
    }
}

fn put_counter(target: &mut Target<'_>, type_id: CounterTypeId, key: &[u8], label: &str) {
    target.i32(type_id.0);
    target.bytes(key);
    target.align();
    target.bytes(label.as_bytes());
}

/// Requests that make a publication or subscription.
fn add_fields<'a>(type_id: i32, body: &mut Body<'a>) -> Option<Request<'a>> {
    if type_id == ADD_SUBSCRIPTION {
        // A registration id that is always -1.
        body.i64()?;
    }
    let stream_id = StreamId(body.i32()?);
    let channel = body.text()?;
    Some(match type_id {
        ADD_PUBLICATION => Request::AddPublication { stream_id, channel },
        ADD_SUBSCRIPTION => Request::AddSubscription { stream_id, channel },
        _ => Request::AddExclusivePublication { stream_id, channel },
    })
}

/// Requests about counters.
fn counter_fields<'a>(type_id: i32, body: &mut Body<'a>) -> Option<Request<'a>> {
    if type_id == REMOVE_COUNTER {
        return Some(Request::RemoveCounter { registration_id: CorrelationId(body.i64()?) });
    }
    let is_static = type_id == ADD_STATIC_COUNTER;
    let registration_id = CorrelationId(if is_static { body.i64()? } else { 0 });
    let type_id = CounterTypeId(body.i32()?);
    let key = body.bytes()?;
    body.align();
    let label = body.text()?;
    Some(match is_static {
        true => Request::AddStaticCounter { registration_id, type_id, key, label },
        false => Request::AddCounter { type_id, key, label },
    })
}

/// Requests that begin with the registration id of a publication or subscription.
fn registered_fields<'a>(type_id: i32, body: &mut Body<'a>) -> Option<Request<'a>> {
    let registration_id = CorrelationId(body.i64()?);
    Some(match type_id {
        REMOVE_PUBLICATION => {
            // Clients before 1.48 send no flags.
            let flags = if body.is_at_end() { 0 } else { body.i64()? };
            Request::RemovePublication { registration_id, revoke: flags & REVOKE != 0 }
        }
        REMOVE_SUBSCRIPTION => Request::RemoveSubscription { registration_id },
        REMOVE_DESTINATION_BY_ID => {
            let destination = CorrelationId(body.i64()?);
            Request::RemoveDestinationById { registration_id, destination }
        }
        ADD_DESTINATION => Request::AddDestination { registration_id, channel: body.text()? },
        REMOVE_DESTINATION => Request::RemoveDestination { registration_id, channel: body.text()? },
        ADD_RECEIVE_DESTINATION => {
            Request::AddReceiveDestination { registration_id, channel: body.text()? }
        }
        REMOVE_RECEIVE_DESTINATION => {
            Request::RemoveReceiveDestination { registration_id, channel: body.text()? }
        }
        _ => return None,
    })
}
