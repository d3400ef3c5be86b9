//! What sender and receiver report.

use std::net::SocketAddr;

use runtime::Now;
use runtime::background::{Job, Outcome, Ticket};
use wire::control::{CorrelationId, ErrorCode, Event, PublicationError};
use wire::counters::SystemCounter;

use super::{BATCH, Conductor};
use crate::messages::{ConductorEvent, EndpointId, ReceiverCommand, ReceiverGaveUp, SenderCommand};

/// A name that is being resolved anew for an endpoint.
pub(crate) struct Reresolution {
    endpoint: EndpointId,
    /// `host:port`.
    name: String,
    port: u16,
}

impl Conductor {
    pub(super) fn poll_inbox(&mut self, now: Now) -> usize {
        let mut count = 0;
        while count < BATCH {
            let Some(event) = self.inbox.try_recv() else { break };
            self.on_event(event, now);
            count += 1;
        }
        count
    }

    fn on_event(&mut self, event: ConductorEvent, now: Now) {
        match event {
            ConductorEvent::Setup { endpoint, transport, control, source, setup } => {
                self.on_setup((endpoint, transport), (source, control), setup);
            }
            ConductorEvent::PublicationReleased { registration_id } => {
                self.free_publication(registration_id);
            }
            ConductorEvent::ImageReleased { correlation_id } => {
                self.on_image_released(correlation_id);
            }
            ConductorEvent::SendEndpointClosed(id) => self.on_send_endpoint_closed(id),
            ConductorEvent::ReceiveEndpointClosed(id) => self.on_receive_endpoint_closed(id),
            ConductorEvent::PublicationError(error) => self.on_receiver_gave_up(&error),
            ConductorEvent::ResponseSetup { registration_id, session } => {
                self.on_response_setup(registration_id, session, now);
            }
            ConductorEvent::ResponseConnected { registration_id } => {
                self.on_response_connected(registration_id);
            }
            ConductorEvent::Reresolve { endpoint, name } => self.reresolve(endpoint, name),
            ConductorEvent::Error(text) => self.desk.error(&text),
        }
    }

    fn on_receiver_gave_up(&mut self, error: &ReceiverGaveUp) {
        self.desk.send(&Event::PublicationError(PublicationError {
            registration_id: CorrelationId(error.registration_id),
            destination: CorrelationId(error.destination),
            session_id: error.session,
            stream_id: error.stream,
            receiver_id: error.receiver_id,
            group_tag: error.group_tag,
            source: error.source.into(),
            code: ErrorCode(error.code),
            text: &error.text,
        }));
    }

    fn reresolve(&mut self, endpoint: EndpointId, name: String) {
        let is_known = self
            .reresolutions
            .values()
            .any(|known| known.endpoint == endpoint && known.name == name);
        let Some((host, port)) = name.rsplit_once(':') else { return };
        let Ok(port) = port.parse() else { return };
        if is_known {
            return;
        }
        let ticket = self.logs.background.submit(Job::Resolve(host.to_string()));
        self.reresolutions.insert(ticket, Reresolution { endpoint, name, port });
    }

    /// A ticket came back: a name may have another address now.
    pub(super) fn on_reresolved(&mut self, ticket: Ticket, outcome: Outcome) {
        let Some(Reresolution { endpoint, name, port }) = self.reresolutions.remove(&ticket) else {
            return;
        };
        let Outcome::Resolved(addresses) = outcome else { return };
        let Some(ip) = addresses.first().copied() else { return };
        let address = SocketAddr::new(ip, port);
        let known = self.send_endpoints.get(&endpoint).and_then(|record| record.udp.endpoint);
        if known.is_some_and(|known| known != address) {
            self.desk.system.increment(SystemCounter::ResolutionChanges);
        }
        if self.send_endpoints.contains_key(&endpoint) {
            self.to_sender.push(SenderCommand::Resolved { endpoint, name, address });
        } else {
            self.to_receiver.push(ReceiverCommand::Resolved { endpoint, name, address });
        }
    }
}
