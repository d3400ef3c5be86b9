//! What the three agents tell one another.
//!
//! The conductor decides about structure and commands; sender and receiver report what they saw.
//! A trace of these values is a readable log of a driver's life.

use std::net::SocketAddr;

use wire::frame::Setup;
use wire::position::{SessionId, StreamId};

use crate::receiver::endpoint::{ReceiveEndpoint, Transport};
use crate::receiver::image::ReceiverImage;
use crate::sender::destinations::Destination;
use crate::sender::endpoint::SendEndpoint;
use crate::sender::publication::SenderPublication;

/// Names an endpoint of the sender or of the receiver. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EndpointId(pub(crate) u64);

/// From the conductor to the sender.
pub(crate) enum SenderCommand {
    /// Own this endpoint.
    AddEndpoint(Box<SendEndpoint>),
    /// Close it; its publications are gone.
    RemoveEndpoint(EndpointId),
    /// Send this publication.
    AddPublication(EndpointId, Box<SenderPublication>),
    /// Let go of it and say so.
    RemovePublication { endpoint: EndpointId, registration_id: i64 },
    /// Send to one more.
    AddDestination(EndpointId, Destination),
    /// Send to one fewer.
    RemoveDestination { endpoint: EndpointId, which: DestinationChoice },
    /// A name has a new address.
    Resolved { endpoint: EndpointId, name: String, address: SocketAddr },
}

/// Which destination is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DestinationChoice {
    /// By what it was added with.
    Registration(i64),
    /// By its address.
    Address(SocketAddr),
}

/// From the conductor to the receiver.
pub(crate) enum ReceiverCommand {
    /// Own this endpoint.
    AddEndpoint(Box<ReceiveEndpoint>),
    /// Close it; its images are gone.
    RemoveEndpoint(EndpointId),
    /// A subscription wants this stream, all of it or one session.
    AddInterest { endpoint: EndpointId, stream: StreamId, session: Option<SessionId> },
    /// No subscription wants it any more.
    RemoveInterest { endpoint: EndpointId, stream: StreamId, session: Option<SessionId> },
    /// Receive here as well.
    AddTransport(EndpointId, Box<Transport>),
    /// Receive here no more.
    RemoveTransport { endpoint: EndpointId, registration_id: i64 },
    /// The image that a setup asked for.
    AddImage(EndpointId, Box<ReceiverImage>),
    /// No image will be made for this setup.
    RefuseSetup { endpoint: EndpointId, stream: StreamId, session: SessionId },
    /// A change to one image.
    Image { endpoint: EndpointId, correlation_id: i64, change: ImageChange },
    /// Data of this session may elicit a setup again.
    EndCoolDown { endpoint: EndpointId, stream: StreamId, session: SessionId },
    /// Ask for a setup of this session at the explicit control address.
    Elicit { endpoint: EndpointId, stream: StreamId, session: SessionId },
    /// A name has a new address.
    Resolved { endpoint: EndpointId, name: String, address: SocketAddr },
}

/// A change to an image in the receiver.
pub(crate) enum ImageChange {
    /// One more subscriber position holds it back.
    AddSubscriber { subscription: i64, position: memory::counters::CounterReader },
    /// One fewer.
    RemoveSubscriber { subscription: i64 },
    /// It is wanted no more: say end of stream to the sender.
    Drain,
    /// Let go of it.
    Release,
    /// Drop its data and tell the sender why.
    Reject { reason: String },
    /// Tell the sender the session of the response publication; `None` ends that.
    Respond { session: Option<SessionId> },
}

/// From sender and receiver to the conductor.
pub(crate) enum ConductorEvent {
    /// A sender described a stream that is wanted.
    Setup {
        endpoint: EndpointId,
        transport: i64,
        control: Option<SocketAddr>,
        source: SocketAddr,
        setup: Setup,
    },
    /// The sender has let go of a publication.
    PublicationReleased { registration_id: i64 },
    /// The receiver has let go of an image.
    ImageReleased { correlation_id: i64 },
    /// The sender has closed an endpoint's sockets.
    SendEndpointClosed(EndpointId),
    /// The receiver has closed an endpoint's sockets.
    ReceiveEndpointClosed(EndpointId),
    /// A receiver gave up on a publication.
    PublicationError(Box<ReceiverGaveUp>),
    /// A requester is told the session of its responses.
    ResponseSetup { registration_id: i64, session: SessionId },
    /// A publication got its first receiver.
    ResponseConnected { registration_id: i64 },
    /// This name was silent for long and should be resolved anew.
    Reresolve { endpoint: EndpointId, name: String },
    /// Something for the error log.
    Error(String),
}

/// Details of an error frame.
pub(crate) struct ReceiverGaveUp {
    pub(crate) registration_id: i64,
    pub(crate) destination: i64,
    pub(crate) session: SessionId,
    pub(crate) stream: StreamId,
    pub(crate) receiver_id: i64,
    pub(crate) group_tag: i64,
    pub(crate) source: SocketAddr,
    pub(crate) code: i32,
    pub(crate) text: String,
}
