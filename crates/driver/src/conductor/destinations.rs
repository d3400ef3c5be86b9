//! Destinations of publications and of subscriptions, added and removed by command.

use std::net::SocketAddr;

use runtime::Now;

use super::Conductor;
use super::commands::Progress;
use super::send_endpoints::name_of;
use super::subscriptions::Origin;
use crate::channel::udp::UdpChannel;
use crate::channel::{Channel, ControlMode};
use crate::messages::{DestinationChoice, EndpointId, ReceiverCommand, SenderCommand};
use crate::refusal::Refusal;
use crate::sender::destinations::Destination;

/// Parameters that belong to the channel and not to one of its destinations.
const FORBIDDEN: [&str; 5] =
    ["mtu", "rcv-wnd", "so-sndbuf", "so-rcvbuf", "response-correlation-id"];

fn check_destination(channel: &Channel<'_>) -> Result<(), Refusal> {
    match FORBIDDEN.into_iter().find(|key| channel.has(key)) {
        Some(key) => Err(Refusal::channel(format!("a destination cannot have {key}"))),
        None => Ok(()),
    }
}

fn check_send_destination(udp: &UdpChannel) -> Result<SocketAddr, Refusal> {
    if udp.control_mode() == ControlMode::Response {
        return Err(Refusal::channel("a destination cannot have control-mode=response"));
    }
    match udp.endpoint {
        Some(address) if address.port() != 0 => Ok(address),
        _ => Err(Refusal::channel("a destination needs an endpoint with a port")),
    }
}

impl Conductor {
    /// The endpoint of a publication whose destinations are added by command.
    fn manual_endpoint(&self, registration_id: i64) -> Result<EndpointId, Refusal> {
        let unknown = || Refusal::unknown_publication(registration_id);
        let link = self.publication_links.get(&registration_id).ok_or_else(unknown)?;
        let record = self.publications.get(&link.publication).ok_or_else(unknown)?;
        let not_manual = || Refusal::channel("publication does not allow manual control");
        let endpoint = record.network().ok_or_else(not_manual)?.endpoint;
        let known = self.send_endpoints.get(&endpoint).ok_or_else(unknown)?;
        if known.udp.control_mode() != ControlMode::Manual {
            return Err(not_manual());
        }
        Ok(endpoint)
    }

    fn send_destination(&self, channel: &Channel<'_>) -> Result<UdpChannel, SendDestination> {
        if channel.is_ipc() || channel.is_spy() {
            let refusal = Refusal::channel("a destination of a publication must be udp");
            return Err(SendDestination::Refused(refusal));
        }
        check_destination(channel).map_err(SendDestination::Refused)?;
        self.resolve(channel, None).map_err(SendDestination::Unresolved)
    }

    pub(super) fn add_destination(
        &mut self,
        correlation_id: i64,
        registration_id: i64,
        text: &str,
    ) -> Result<Progress, Refusal> {
        let endpoint = self.manual_endpoint(registration_id)?;
        let udp = match self.send_destination(&Channel::parse(text)?) {
            Ok(udp) => udp,
            Err(SendDestination::Refused(refusal)) => return Err(refusal),
            Err(SendDestination::Unresolved(error)) => return self.await_name(error),
        };
        let address = check_send_destination(&udp)?;
        let name = name_of(udp.parameters.endpoint.as_ref(), udp.endpoint);
        let destination = Destination::manual(correlation_id, address, name);
        self.to_sender.push(SenderCommand::AddDestination(endpoint, destination));
        self.desk.succeed(correlation_id);
        Ok(Progress::Done)
    }

    pub(super) fn remove_destination(
        &mut self,
        correlation_id: i64,
        registration_id: i64,
        text: &str,
    ) -> Result<Progress, Refusal> {
        let endpoint = self.manual_endpoint(registration_id)?;
        let udp = match self.send_destination(&Channel::parse(text)?) {
            Ok(udp) => udp,
            Err(SendDestination::Refused(refusal)) => return Err(refusal),
            Err(SendDestination::Unresolved(error)) => return self.await_name(error),
        };
        let which = DestinationChoice::Address(check_send_destination(&udp)?);
        self.to_sender.push(SenderCommand::RemoveDestination { endpoint, which });
        self.desk.succeed(correlation_id);
        Ok(Progress::Done)
    }

    pub(super) fn remove_destination_by_id(
        &mut self,
        correlation_id: i64,
        registration_id: i64,
        destination: i64,
    ) -> Result<(), Refusal> {
        let endpoint = self.manual_endpoint(registration_id)?;
        let which = DestinationChoice::Registration(destination);
        self.to_sender.push(SenderCommand::RemoveDestination { endpoint, which });
        self.desk.succeed(correlation_id);
        Ok(())
    }

    /// The endpoint of a subscription whose destinations are added by command.
    fn manual_subscription(&self, registration_id: i64) -> Result<EndpointId, Refusal> {
        let unknown = || Refusal::unknown_subscription(registration_id);
        let record = self.subscriptions.get(&registration_id).ok_or_else(unknown)?;
        let not_manual = || Refusal::channel("subscription does not allow manual control");
        let Origin::Network(endpoint) = record.origin else { return Err(not_manual()) };
        let known = self.receive_endpoints.get(&endpoint).ok_or_else(unknown)?;
        if known.udp.control_mode() != ControlMode::Manual {
            return Err(not_manual());
        }
        Ok(endpoint)
    }

    pub(super) fn add_receive_destination(
        &mut self,
        correlation_id: i64,
        registration_id: i64,
        text: &str,
        now: Now,
    ) -> Result<Progress, Refusal> {
        let endpoint = self.manual_subscription(registration_id)?;
        let channel = Channel::parse(text)?;
        check_destination(&channel)?;
        if channel.is_ipc() {
            let origin = Origin::Ipc;
            self.add_local_destination(correlation_id, registration_id, (text, origin), now);
            return Ok(Progress::Done);
        }
        let udp = match self.resolve(&channel, None) {
            Ok(udp) => udp,
            Err(error) => return self.await_name(error),
        };
        if channel.is_spy() {
            let origin = Origin::Spy(Box::new(udp));
            self.add_local_destination(correlation_id, registration_id, (text, origin), now);
            return Ok(Progress::Done);
        }
        let transport = self.bind_transport(&udp, correlation_id)?;
        let local = transport.socket.local_address();
        self.add_local_address(endpoint, correlation_id, (local, 0), correlation_id)?;
        if let Some(record) = self.subscriptions.get_mut(&registration_id) {
            record.udp_destinations.push((correlation_id, text.to_string()));
        }
        self.to_receiver.push(ReceiverCommand::AddTransport(endpoint, Box::new(transport)));
        self.desk.succeed(correlation_id);
        Ok(Progress::Done)
    }

    fn add_local_destination(
        &mut self,
        correlation_id: i64,
        registration_id: i64,
        (text, origin): (&str, Origin),
        now: Now,
    ) {
        if let Some(record) = self.subscriptions.get_mut(&registration_id) {
            record.local_destinations.push((correlation_id, text.to_string(), origin));
        }
        self.desk.succeed(correlation_id);
        self.join_publications(registration_id, now);
    }

    pub(super) fn remove_receive_destination(
        &mut self,
        correlation_id: i64,
        registration_id: i64,
        text: &str,
    ) -> Result<(), Refusal> {
        let endpoint = self.manual_subscription(registration_id)?;
        let unknown = || Refusal::unknown_subscription(registration_id);
        let record = self.subscriptions.get_mut(&registration_id).ok_or_else(unknown)?;
        let at = record.udp_destinations.iter().position(|(_, known)| known == text);
        if let Some(at) = at {
            let (id, _) = record.udp_destinations.remove(at);
            self.remove_local_address(endpoint, id);
            self.to_receiver
                .push(ReceiverCommand::RemoveTransport { endpoint, registration_id: id });
            self.desk.succeed(correlation_id);
            return Ok(());
        }
        let at = record.local_destinations.iter().position(|(_, known, _)| known == text);
        let Some(at) = at else {
            return Err(Refusal::channel(format!("unknown destination: {text}")));
        };
        record.local_destinations.remove(at);
        self.desk.succeed(correlation_id);
        self.leave_unmatched(registration_id);
        Ok(())
    }

    /// A subscription leaves local publications that it no longer matches.
    fn leave_unmatched(&mut self, subscription: i64) {
        let Some(record) = self.subscriptions.get(&subscription) else { return };
        let mut left = Vec::new();
        for (id, publication) in &mut self.publications {
            if !record.matches(publication)
                && let Some(subscriber) = publication.subscribers.remove(subscription)
            {
                left.push((*id, subscriber.position.id()));
            }
        }
        for (publication, counter) in left {
            self.send_unavailable(publication, subscription);
            self.desk.free(counter);
        }
    }
}

/// Why a destination was not found.
enum SendDestination {
    Refused(Refusal),
    Unresolved(crate::channel::udp::ResolveError),
}
