//! What a driver tells clients. Every client sees every event: ids that are not its own are
//! somebody else's.

use super::text::{Body, Target};
use super::{ClientId, ControlError, CorrelationId, ErrorCode};
use crate::counters::CounterId;
use crate::position::{SessionId, StreamId};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What a driver tells clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A command failed.
    Error {
        /// The command; 0 when the driver could not read it. A channel status counter for
        /// [`ErrorCode::CHANNEL_ENDPOINT_ERROR`].
        offending: CorrelationId,
        /// What went wrong.
        code: ErrorCode,
        /// More of it, for people.
        text: &'a str,
    },
    /// A subscription has a new image.
    AvailableImage(AvailableImage<'a>),
    /// A publication is there.
    PublicationReady(PublicationReady<'a>),
    /// An exclusive publication is there.
    ExclusivePublicationReady(PublicationReady<'a>),
    /// A command was carried out.
    OperationSucceeded {
        /// The command.
        correlation_id: CorrelationId,
    },
    /// A subscription lost an image.
    UnavailableImage {
        /// The image.
        image: CorrelationId,
        /// The subscription.
        subscription: CorrelationId,
        /// Its stream.
        stream_id: StreamId,
        /// Its channel.
        channel: &'a str,
    },
    /// A subscription is there; its images follow.
    SubscriptionReady {
        /// The command, which is the subscription's registration id.
        correlation_id: CorrelationId,
        /// Status of its channel; [`CounterId::NONE`] for IPC and spies.
        channel_status_id: CounterId,
    },
    /// A counter is there.
    CounterReady {
        /// The command, or the client id for a client's heartbeat counter.
        correlation_id: CorrelationId,
        /// The counter.
        counter_id: CounterId,
    },
    /// A counter is gone.
    UnavailableCounter {
        /// Its registration id.
        registration_id: CorrelationId,
        /// The counter.
        counter_id: CounterId,
    },
    /// A client was silent for too long.
    ClientTimedOut {
        /// The client.
        client_id: ClientId,
    },
    /// A static counter is there.
    StaticCounter {
        /// The command.
        correlation_id: CorrelationId,
        /// The counter.
        counter_id: CounterId,
    },
    /// A receiver rejected a publication.
    PublicationError(PublicationError<'a>),
    /// A session id that is not in use.
    NextAvailableSessionId {
        /// The command.
        correlation_id: CorrelationId,
        /// The session id.
        session_id: SessionId,
    },
}

/// A subscription has a new image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvailableImage<'a> {
    /// The image.
    pub image: CorrelationId,
    /// Its publication.
    pub session_id: SessionId,
    /// Its stream.
    pub stream_id: StreamId,
    /// The subscription.
    pub subscription: CorrelationId,
    /// The counter where the client says how far it has consumed.
    pub subscriber_position_id: CounterId,
    /// Path of the log buffer.
    pub log_file: &'a str,
    /// Where it comes from: `ip:port`, or `aeron:ipc`.
    pub source_identity: &'a str,
}

/// A publication is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicationReady<'a> {
    /// The command, which is the registration id of this use of the publication.
    pub correlation_id: CorrelationId,
    /// The command that made the log buffer, which may be another client's.
    pub registration_id: CorrelationId,
    /// The publication.
    pub session_id: SessionId,
    /// Its stream.
    pub stream_id: StreamId,
    /// How far the publisher may go.
    pub publisher_limit_id: CounterId,
    /// Status of its channel; [`CounterId::NONE`] for IPC.
    pub channel_status_id: CounterId,
    /// Path of the log buffer.
    pub log_file: &'a str,
}

/// Where a frame came from: an address on the wire keeps unknown kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// 1 for IPv4, 2 for IPv6.
    pub kind: i16,
    /// The port.
    pub port: u16,
    /// The address in network order; IPv4 takes the first four bytes.
    pub address: [u8; 16],
}

impl Source {
    const IPV4: i16 = 1;
    const IPV6: i16 = 2;

    /// The address, if its kind is known.
    #[must_use]
    pub fn socket_address(&self) -> Option<SocketAddr> {
        let [a, b, c, d, ..] = self.address;
        let ip = match self.kind {
            Self::IPV4 => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            Self::IPV6 => IpAddr::V6(Ipv6Addr::from(self.address)),
            _ => return None,
        };
        Some(SocketAddr::new(ip, self.port))
    }
}

impl From<SocketAddr> for Source {
    fn from(from: SocketAddr) -> Self {
        let mut address = [0; 16];
        let kind = match from.ip() {
            IpAddr::V4(ip) => {
                address[..4].copy_from_slice(&ip.octets());
                Self::IPV4
            }
            IpAddr::V6(ip) => {
                address = ip.octets();
                Self::IPV6
            }
        };
        Self { kind, port: from.port(), address }
    }
}

/// A receiver rejected a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicationError<'a> {
    /// The publication: the registration id of the log buffer.
    pub registration_id: CorrelationId,
    /// The destination, or -1.
    pub destination: CorrelationId,
    /// The publication's session.
    pub session_id: SessionId,
    /// Its stream.
    pub stream_id: StreamId,
    /// The receiver.
    pub receiver_id: i64,
    /// The receiver's group, or -1.
    pub group_tag: i64,
    /// Where the receiver is.
    pub source: Source,
    /// Why.
    pub code: ErrorCode,
    /// More of it, for people.
    pub text: &'a str,
}

const ERROR: i32 = 0x0F01;
const AVAILABLE_IMAGE: i32 = 0x0F02;
const PUBLICATION_READY: i32 = 0x0F03;
const OPERATION_SUCCESS: i32 = 0x0F04;
const UNAVAILABLE_IMAGE: i32 = 0x0F05;
const EXCLUSIVE_PUBLICATION_READY: i32 = 0x0F06;
const SUBSCRIPTION_READY: i32 = 0x0F07;
const COUNTER_READY: i32 = 0x0F08;
const UNAVAILABLE_COUNTER: i32 = 0x0F09;
const CLIENT_TIMEOUT: i32 = 0x0F0A;
const STATIC_COUNTER: i32 = 0x0F0B;
const PUBLICATION_ERROR: i32 = 0x0F0C;
const NEXT_AVAILABLE_SESSION_ID: i32 = 0x0F0D;

impl<'a> Event<'a> {
    /// Decodes a message of the broadcast to clients.
    ///
    /// # Errors
    /// Unknown types, which a client skips, and malformed bodies.
    pub fn decode(type_id: i32, body: &'a [u8]) -> Result<Self, ControlError> {
        if !(ERROR..=NEXT_AVAILABLE_SESSION_ID).contains(&type_id) {
            return Err(ControlError::UnknownType(type_id));
        }
        let malformed = ControlError::Malformed { type_id, length: body.len() };
        Self::fields(type_id, &mut Body::new(body)).ok_or(malformed)
    }

    fn fields(type_id: i32, body: &mut Body<'a>) -> Option<Self> {
        // All events begin with an id.
        let id = body.i64()?;
        let correlation_id = CorrelationId(id);
        Some(match type_id {
            ERROR => Self::Error {
                offending: correlation_id,
                code: ErrorCode(body.i32()?),
                text: body.prose()?,
            },
            AVAILABLE_IMAGE => Self::AvailableImage(AvailableImage::fields(id, body)?),
            PUBLICATION_READY => Self::PublicationReady(PublicationReady::fields(id, body)?),
            EXCLUSIVE_PUBLICATION_READY => {
                Self::ExclusivePublicationReady(PublicationReady::fields(id, body)?)
            }
            OPERATION_SUCCESS => Self::OperationSucceeded { correlation_id },
            UNAVAILABLE_IMAGE => Self::UnavailableImage {
                image: correlation_id,
                subscription: CorrelationId(body.i64()?),
                stream_id: StreamId(body.i32()?),
                channel: body.prose()?,
            },
            CLIENT_TIMEOUT => Self::ClientTimedOut { client_id: ClientId(id) },
            PUBLICATION_ERROR => Self::PublicationError(PublicationError::fields(id, body)?),
            NEXT_AVAILABLE_SESSION_ID => {
                let session_id = SessionId(body.i32()?);
                Self::NextAvailableSessionId { correlation_id, session_id }
            }
            _ => {
                let counter_id = CounterId(body.i32()?);
                match type_id {
                    SUBSCRIPTION_READY => {
                        Self::SubscriptionReady { correlation_id, channel_status_id: counter_id }
                    }
                    COUNTER_READY => Self::CounterReady { correlation_id, counter_id },
                    UNAVAILABLE_COUNTER => {
                        Self::UnavailableCounter { registration_id: correlation_id, counter_id }
                    }
                    STATIC_COUNTER => Self::StaticCounter { correlation_id, counter_id },
                    _ => return None,
                }
            }
        })
    }

    /// The message type for the record header.
    #[must_use]
    pub const fn type_id(&self) -> i32 {
        match self {
            Self::Error { .. } => ERROR,
            Self::AvailableImage(_) => AVAILABLE_IMAGE,
            Self::PublicationReady(_) => PUBLICATION_READY,
            Self::ExclusivePublicationReady(_) => EXCLUSIVE_PUBLICATION_READY,
            Self::OperationSucceeded { .. } => OPERATION_SUCCESS,
            Self::UnavailableImage { .. } => UNAVAILABLE_IMAGE,
            Self::SubscriptionReady { .. } => SUBSCRIPTION_READY,
            Self::CounterReady { .. } => COUNTER_READY,
            Self::UnavailableCounter { .. } => UNAVAILABLE_COUNTER,
            Self::ClientTimedOut { .. } => CLIENT_TIMEOUT,
            Self::StaticCounter { .. } => STATIC_COUNTER,
            Self::PublicationError(_) => PUBLICATION_ERROR,
            Self::NextAvailableSessionId { .. } => NEXT_AVAILABLE_SESSION_ID,
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
        match self {
            Self::Error { offending, code, text } => {
                target.i64(offending.0);
                target.i32(code.0);
                target.bytes(text.as_bytes());
            }
            Self::AvailableImage(image) => image.write(target),
            Self::PublicationReady(ready) | Self::ExclusivePublicationReady(ready) => {
                ready.write(target);
            }
            Self::OperationSucceeded { correlation_id } => target.i64(correlation_id.0),
            Self::UnavailableImage { image, subscription, stream_id, channel } => {
                target.i64(image.0);
                target.i64(subscription.0);
                target.i32(stream_id.0);
                target.bytes(channel.as_bytes());
            }
            Self::SubscriptionReady { correlation_id, channel_status_id: counter_id }
            | Self::CounterReady { correlation_id, counter_id }
            | Self::UnavailableCounter { registration_id: correlation_id, counter_id }
            | Self::StaticCounter { correlation_id, counter_id } => {
                target.i64(correlation_id.0);
                target.i32(counter_id.0);
            }
            Self::ClientTimedOut { client_id } => target.i64(client_id.0),
            Self::PublicationError(error) => error.write(target),
            Self::NextAvailableSessionId { correlation_id, session_id } => {
                target.i64(correlation_id.0);
                target.i32(session_id.0);
            }
        }
    }
}

impl<'a> AvailableImage<'a> {
    fn fields(id: i64, body: &mut Body<'a>) -> Option<Self> {
        let session_id = SessionId(body.i32()?);
        let stream_id = StreamId(body.i32()?);
        let subscription = CorrelationId(body.i64()?);
        let subscriber_position_id = CounterId(body.i32()?);
        let log_file = body.text()?;
        body.align();
        Some(Self {
            image: CorrelationId(id),
            session_id,
            stream_id,
            subscription,
            subscriber_position_id,
            log_file,
            source_identity: body.text()?,
        })
    }

    fn write(&self, target: &mut Target<'_>) {
        target.i64(self.image.0);
        target.i32(self.session_id.0);
        target.i32(self.stream_id.0);
        target.i64(self.subscription.0);
        target.i32(self.subscriber_position_id.0);
        target.bytes(self.log_file.as_bytes());
        target.align();
        target.bytes(self.source_identity.as_bytes());
    }
}

impl<'a> PublicationReady<'a> {
    fn fields(id: i64, body: &mut Body<'a>) -> Option<Self> {
        Some(Self {
            correlation_id: CorrelationId(id),
            registration_id: CorrelationId(body.i64()?),
            session_id: SessionId(body.i32()?),
            stream_id: StreamId(body.i32()?),
            publisher_limit_id: CounterId(body.i32()?),
            channel_status_id: CounterId(body.i32()?),
            log_file: body.text()?,
        })
    }

    fn write(&self, target: &mut Target<'_>) {
        target.i64(self.correlation_id.0);
        target.i64(self.registration_id.0);
        target.i32(self.session_id.0);
        target.i32(self.stream_id.0);
        target.i32(self.publisher_limit_id.0);
        target.i32(self.channel_status_id.0);
        target.bytes(self.log_file.as_bytes());
    }
}

impl<'a> PublicationError<'a> {
    fn fields(id: i64, body: &mut Body<'a>) -> Option<Self> {
        Some(Self {
            registration_id: CorrelationId(id),
            destination: CorrelationId(body.i64()?),
            session_id: SessionId(body.i32()?),
            stream_id: StreamId(body.i32()?),
            receiver_id: body.i64()?,
            group_tag: body.i64()?,
            source: Source { kind: body.i16()?, port: body.u16()?, address: body.address()? },
            code: ErrorCode(body.i32()?),
            text: body.prose()?,
        })
    }

    fn write(&self, target: &mut Target<'_>) {
        target.i64(self.registration_id.0);
        target.i64(self.destination.0);
        target.i32(self.session_id.0);
        target.i32(self.stream_id.0);
        target.i64(self.receiver_id);
        target.i64(self.group_tag);
        target.i16(self.source.kind);
        target.u16(self.source.port);
        target.raw(&self.source.address);
        target.i32(self.code.0);
        target.bytes(self.text.as_bytes());
    }
}
