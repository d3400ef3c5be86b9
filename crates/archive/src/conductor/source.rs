//! Where requests come from: the subscriptions of the control streams.

use std::collections::BTreeMap;

use client::{CorrelationId, ImageAssembler, ImageEvent, Subscription};
use wire::archive::request::AuthConnectRequest;
use wire::message::{Message, MessageHeader};
use wire::position::Position;

/// Fragments taken from one stream in one pass.
const FRAGMENT_LIMIT: usize = 10;

/// A request as it came.
pub(crate) struct Inbound {
    /// The image on which it came: requests of a session come on one only.
    pub(crate) image: CorrelationId,
    /// Who sent it, for labels; of connects only.
    pub(crate) description: String,
    pub(crate) bytes: Vec<u8>,
}

impl Inbound {
    fn is_connect(&self) -> bool {
        MessageHeader::decode(&self.bytes)
            .is_ok_and(|header| header.template_id == AuthConnectRequest::TEMPLATE_ID)
    }
}

/// One control stream.
pub(crate) struct RequestSource {
    subscription: Subscription,
    assemblers: BTreeMap<CorrelationId, ImageAssembler>,
}

impl RequestSource {
    pub(crate) const fn new(subscription: Subscription) -> Self {
        Self { subscription, assemblers: BTreeMap::new() }
    }

    /// Takes requests that have come, and the images that have gone.
    pub(crate) fn poll(&mut self, inbound: &mut Vec<Inbound>, gone: &mut Vec<CorrelationId>) {
        let assemblers = &mut self.assemblers;
        self.subscription.poll_image_events(|event| {
            if let ImageEvent::Unavailable(image) = event {
                assemblers.remove(&image.correlation_id());
                gone.push(image.correlation_id());
            }
        });
        let mut rest = FRAGMENT_LIMIT;
        for image in self.subscription.images_mut() {
            let id = image.correlation_id();
            let first = inbound.len();
            let assembler = assemblers.entry(id).or_default();
            rest -= image.poll(rest, |fragment| {
                assembler.on_fragment(fragment, |message| {
                    let bytes = message.payload().to_vec();
                    inbound.push(Inbound { image: id, description: String::new(), bytes });
                });
            });
            for request in inbound[first..].iter_mut().filter(|request| request.is_connect()) {
                let (source, session_id) = (image.source_identity(), image.session_id().0);
                request.description = format!("sourceIdentity={source} sessionId={session_id}");
            }
        }
    }

    /// How far an image has been read, if it is of this stream.
    pub(crate) fn position_of(&self, image: CorrelationId) -> Option<Position> {
        let mut images = self.subscription.images();
        images.find(|it| it.correlation_id() == image).map(|it| it.position())
    }
}
