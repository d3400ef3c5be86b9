//! Response channels: a publication for the answers to one image.

use runtime::Now;
use wire::position::SessionId;

use super::Conductor;
use super::subscriptions::Origin;
use crate::channel::PROTOTYPE;
use crate::messages::{ImageChange, ReceiverCommand};
use crate::refusal::Refusal;

impl Conductor {
    /// Whether the id that a response publication names is an image that asked for responses, or
    /// that a requesting publication names is a subscription.
    pub(super) fn check_response_correlation(
        &self,
        response_correlation_id: Option<i64>,
        is_response: bool,
    ) -> Result<(), Refusal> {
        let Some(id) = response_correlation_id.filter(|id| *id != PROTOTYPE) else {
            return Ok(());
        };
        if !is_response {
            return match self.subscriptions.contains_key(&id) {
                true => Ok(()),
                false => Err(Refusal::generic(format!("unknown response subscription: {id}"))),
            };
        }
        match self.images.get(&id) {
            None => Err(Refusal::generic(format!("image {id} is unknown"))),
            Some(image) if !image.wants_response => {
                Err(Refusal::generic(format!("image {id} did not ask for a response channel")))
            }
            Some(_) => Ok(()),
        }
    }

    /// The publication that answers an image was made: its requester is told the session.
    pub(super) fn announce_response(&mut self, image: i64, session: Option<SessionId>) {
        let Some(record) = self.images.get(&image) else { return };
        let change = ImageChange::Respond { session };
        let endpoint = record.endpoint;
        self.to_receiver.push(ReceiverCommand::Image { endpoint, correlation_id: image, change });
    }

    /// A requester learnt the session of its responses.
    pub(super) fn on_response_setup(&mut self, registration_id: i64, session: SessionId, now: Now) {
        let Some(record) = self.publications.get(&registration_id) else { return };
        let Some(id) = record.terms.parameters.response_correlation_id else { return };
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let Origin::Network(endpoint) = subscription.origin else { return };
        if !subscription.is_response {
            return;
        }
        let stream = subscription.stream;
        if subscription.session.is_none() {
            subscription.session = Some(session);
            self.add_interest(endpoint, stream, Some(session));
            self.join_images(id, now.mono);
        }
        self.to_receiver.push(ReceiverCommand::Elicit { endpoint, stream, session });
    }

    /// A response publication got its first receiver: its requester knows enough.
    pub(super) fn on_response_connected(&mut self, registration_id: i64) {
        let Some(record) = self.publications.get(&registration_id) else { return };
        if let Some(image) = record.terms.parameters.response_correlation_id {
            self.announce_response(image, None);
        }
    }
}
