//! Receive endpoints: sockets for subscriptions, shared by those on one channel.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use wire::control::ErrorCode;
use wire::counters::{
    ChannelKey, CounterId, CounterTypeId, Label, LocalAddressKey, RECEIVE_LOCAL_ADDRESS,
    channel_status,
};
use wire::position::{SessionId, StreamId};

use super::Conductor;
use super::desk::Belongs;
use super::send_endpoints::name_of;
use super::subscriptions::SubscriptionRecord;
use crate::channel::ControlMode;
use crate::channel::udp::UdpChannel;
use crate::messages::{EndpointId, ReceiverCommand};
use crate::receiver::endpoint::{EndpointSettings, ReceiveEndpoint, Transport};
use crate::refusal::Refusal;

/// The transport of an endpoint that is no destination.
pub(super) const OWN_TRANSPORT: i64 = -1;

/// A receive endpoint as the conductor knows it.
pub(crate) struct ReceiveEndpointRecord {
    pub(crate) udp: UdpChannel,
    /// Subscriptions and images.
    references: usize,
    status: CounterId,
    /// Counters of local addresses, by transport.
    addresses: BTreeMap<i64, (CounterId, u16)>,
    interests: BTreeMap<(StreamId, Option<SessionId>), usize>,
    receiver_id: i64,
    group_tag: Option<i64>,
    is_closing: bool,
}

impl Conductor {
    fn find_receive_endpoint(&self, udp: &UdpChannel) -> Result<Option<EndpointId>, Refusal> {
        for (id, record) in &self.receive_endpoints {
            let by_tag = udp.tag.is_some() && udp.tag == record.udp.tag;
            if by_tag && !udp.is_tag_only() && udp.endpoint != record.udp.endpoint {
                return Err(Refusal::channel("tag names a channel with other addresses"));
            }
            let by_form = udp.canonical.is_some() && udp.canonical == record.udp.canonical;
            if !by_tag && !by_form {
                continue;
            }
            if record.is_closing {
                return Err(Refusal::new(
                    ErrorCode::RESOURCE_TEMPORARILY_UNAVAILABLE,
                    format!("endpoint of {} is closing", record.udp.text),
                ));
            }
            return Ok(Some(*id));
        }
        Ok(None)
    }

    /// The endpoint of a subscription, opened if need be and held by it.
    pub(super) fn hold_receive_endpoint(
        &mut self,
        udp: &UdpChannel,
        subscription: &SubscriptionRecord,
        registration_id: i64,
    ) -> Result<EndpointId, Refusal> {
        if udp.control.is_some_and(|address| address.port() == 0) {
            return Err(Refusal::generic("control has port 0"));
        }
        let window = subscription.parameters.window.unwrap_or(self.config.terms.receiver_window);
        let found = self.find_receive_endpoint(udp)?;
        let id = match found {
            Some(id) => {
                self.check_shared_receive(id, udp, subscription)?;
                id
            }
            None if udp.is_tag_only() => {
                return Err(Refusal::channel("channel tag is unknown"));
            }
            None => {
                self.check_window(udp, window)?;
                self.open_receive_endpoint(udp, subscription, registration_id)?
            }
        };
        if let Some(record) = self.receive_endpoints.get_mut(&id) {
            record.references += 1;
        }
        Ok(id)
    }

    fn check_window(&self, udp: &UdpChannel, window: i32) -> Result<(), Refusal> {
        let config = &self.config.sockets;
        let wanted = udp.parameters.receive_buffer_length.unwrap_or(config.receive_buffer_length);
        let default = || self.network.default_buffer_lengths().map_or(usize::MAX, |l| l.receive);
        let length = if wanted == 0 { default() } else { wanted };
        if usize::try_from(window).is_ok_and(|window| window > length) {
            return Err(Refusal::generic(format!(
                "receiver window {window} exceeds the receive buffer of {length}"
            )));
        }
        Ok(())
    }

    /// What subscriptions to one stream of one endpoint must agree on.
    fn check_shared_receive(
        &self,
        id: EndpointId,
        udp: &UdpChannel,
        subscription: &SubscriptionRecord,
    ) -> Result<(), Refusal> {
        if let Some(record) = self.receive_endpoints.get(&id) {
            let known = &record.udp.parameters;
            let differs = |a: Option<usize>, b: Option<usize>| a.is_some() && a != b;
            if differs(udp.parameters.receive_buffer_length, known.receive_buffer_length)
                || differs(udp.parameters.send_buffer_length, known.send_buffer_length)
            {
                return Err(Refusal::channel("socket buffers differ from the shared endpoint's"));
            }
        }
        let default = self.config.subscriptions.reliable;
        let reliable = |record: &SubscriptionRecord| record.parameters.reliable.unwrap_or(default);
        let others = self.subscriptions.values().filter(|other| {
            matches!(other.origin, super::subscriptions::Origin::Network(own) if own == id)
                && other.stream == subscription.stream
                && (other.session.is_none()
                    || subscription.session.is_none()
                    || other.session == subscription.session)
        });
        for other in others {
            let clash = if reliable(other) != reliable(subscription) {
                "reliable"
            } else if other.rejoins != subscription.rejoins {
                "rejoin"
            } else if other.is_response != subscription.is_response {
                "control-mode=response"
            } else {
                continue;
            };
            return Err(Refusal::channel(format!(
                "{clash} conflicts with an existing subscription: {}",
                other.channel
            )));
        }
        Ok(())
    }

    fn open_receive_endpoint(
        &mut self,
        udp: &UdpChannel,
        subscription: &SubscriptionRecord,
        registration_id: i64,
    ) -> Result<EndpointId, Refusal> {
        let is_manual = udp.control_mode() == ControlMode::Manual;
        let transport =
            if is_manual { None } else { Some(self.bind_transport(udp, OWN_TRANSPORT)?) };
        let local = transport.as_ref().map(|transport| transport.socket.local_address());
        let belongs = Belongs { registration_id, owner: 0, reference: 0 };
        let type_id = CounterTypeId::RECEIVE_CHANNEL_STATUS;
        let address = local.map(|local| local.to_string()).unwrap_or_default();
        let status = self.desk.allocate(
            type_id,
            ChannelKey { channel: &udp.text }.encode().as_bytes(),
            Label::of_channel(type_id, &udp.text, &address).as_str(),
            belongs,
            channel_status::ACTIVE,
        )?;
        let id = self.next_endpoint_id();
        self.next_receiver_id = self.next_receiver_id.wrapping_add(1);
        if self.next_receiver_id == 0 {
            self.next_receiver_id = 1;
        }
        let group_tag = subscription.parameters.group_tag.or(self.config.subscriptions.group_tag);
        let settings = EndpointSettings {
            id,
            receiver_id: self.next_receiver_id,
            group_tag,
            session_limit: self.config.sockets.stream_session_limit,
            batch: self.config.sockets.receive_batch.max(1),
        };
        let record = ReceiveEndpointRecord {
            udp: udp.clone(),
            references: 0,
            status: status.id(),
            addresses: BTreeMap::new(),
            interests: BTreeMap::new(),
            receiver_id: settings.receiver_id,
            group_tag,
            is_closing: false,
        };
        self.receive_endpoints.insert(id, record);
        if let Some(local) = local {
            let wanted = udp.endpoint.map_or(0, |address| address.port());
            self.add_local_address(id, OWN_TRANSPORT, (local, wanted), registration_id)?;
        }
        self.to_receiver.push(ReceiverCommand::AddEndpoint(Box::new(ReceiveEndpoint::new(
            settings,
            transport.into_iter().collect(),
            self.desk.system.clone(),
        ))));
        Ok(id)
    }

    /// Binds a socket that receives what a channel names.
    pub(super) fn bind_transport(
        &mut self,
        udp: &UdpChannel,
        registration_id: i64,
    ) -> Result<Transport, Refusal> {
        let mut local = udp.endpoint.unwrap_or(udp.local);
        let mut taken = None;
        if !udp.is_multicast() {
            let port = self
                .receiver_ports
                .take(local.port())
                .ok_or_else(|| Refusal::generic("no port of the range is free"))?;
            local.set_port(port);
            taken = Some(port);
        }
        let options = self.data_socket_options(udp, local);
        let socket = self.network.bind(&options).map_err(|error| {
            if let Some(port) = taken {
                self.receiver_ports.give_back(port);
            }
            Refusal::generic(format!("cannot bind {}: {error}", options.local))
        })?;
        let control = udp.multicast_control().or(udp.control);
        Ok(Transport {
            registration_id,
            socket,
            control,
            elicits: !udp.is_multicast() && udp.control.is_some(),
            control_name: name_of(udp.parameters.control.as_ref(), udp.control),
            ttl: i32::from(udp.parameters.ttl.unwrap_or(self.config.sockets.multicast_ttl)),
        })
    }

    /// The counter that tells clients and tools where a socket is bound.
    pub(super) fn add_local_address(
        &mut self,
        id: EndpointId,
        transport: i64,
        (local, _wanted): (SocketAddr, u16),
        registration_id: i64,
    ) -> Result<(), Refusal> {
        let status = self.receive_status_id(id);
        let address = local.to_string();
        let key = LocalAddressKey { channel_status_id: status.0, address: &address }.encode();
        let counter = self.desk.allocate(
            CounterTypeId::LOCAL_ADDRESS,
            key.as_bytes(),
            Label::of_local_address(RECEIVE_LOCAL_ADDRESS, status.0, &address).as_str(),
            Belongs { registration_id, owner: 0, reference: 0 },
            channel_status::ACTIVE,
        )?;
        if let Some(record) = self.receive_endpoints.get_mut(&id) {
            record.addresses.insert(transport, (counter.id(), local.port()));
        }
        Ok(())
    }

    /// A transport of an endpoint was removed.
    pub(super) fn remove_local_address(&mut self, id: EndpointId, transport: i64) {
        let record = self.receive_endpoints.get_mut(&id);
        let Some((counter, port)) = record.and_then(|r| r.addresses.remove(&transport)) else {
            return;
        };
        self.desk.free(counter);
        self.receiver_ports.give_back(port);
    }

    pub(super) fn receive_status_id(&self, id: EndpointId) -> CounterId {
        self.receive_endpoints.get(&id).map_or(CounterId::NONE, |record| record.status)
    }

    pub(super) fn receiver_identity(&self, id: EndpointId) -> (i64, Option<i64>) {
        let record = self.receive_endpoints.get(&id);
        record.map_or((0, None), |record| (record.receiver_id, record.group_tag))
    }

    pub(super) fn is_multicast_endpoint(&self, id: EndpointId) -> bool {
        self.receive_endpoints.get(&id).is_some_and(|record| record.udp.is_multicast())
    }

    /// One more subscription wants a stream of an endpoint.
    pub(super) fn add_interest(
        &mut self,
        endpoint: EndpointId,
        stream: StreamId,
        session: Option<SessionId>,
    ) {
        let Some(record) = self.receive_endpoints.get_mut(&endpoint) else { return };
        let count = record.interests.entry((stream, session)).or_default();
        *count += 1;
        if *count == 1 {
            self.to_receiver.push(ReceiverCommand::AddInterest { endpoint, stream, session });
        }
    }

    /// One fewer.
    pub(super) fn remove_interest(
        &mut self,
        endpoint: EndpointId,
        stream: StreamId,
        session: Option<SessionId>,
    ) {
        let Some(record) = self.receive_endpoints.get_mut(&endpoint) else { return };
        let Some(count) = record.interests.get_mut(&(stream, session)) else { return };
        *count -= 1;
        if *count == 0 {
            record.interests.remove(&(stream, session));
            self.to_receiver.push(ReceiverCommand::RemoveInterest { endpoint, stream, session });
        }
    }

    pub(super) fn hold_receive_endpoint_for_image(&mut self, id: EndpointId) {
        if let Some(record) = self.receive_endpoints.get_mut(&id) {
            record.references += 1;
        }
    }

    /// One subscription or image fewer uses an endpoint; the last one closes it.
    pub(super) fn release_receive_endpoint(&mut self, id: EndpointId) {
        let Some(record) = self.receive_endpoints.get_mut(&id) else { return };
        record.references = record.references.saturating_sub(1);
        if record.references > 0 || record.is_closing {
            return;
        }
        record.is_closing = true;
        let status = record.status;
        if let Ok(mut counter) = self.desk.counters.writer(status) {
            counter.set_release(channel_status::CLOSING);
        }
        self.to_receiver.push(ReceiverCommand::RemoveEndpoint(id));
    }

    /// The receiver has closed an endpoint's sockets.
    pub(super) fn on_receive_endpoint_closed(&mut self, id: EndpointId) {
        let Some(record) = self.receive_endpoints.remove(&id) else { return };
        self.desk.free(record.status);
        for (counter, port) in record.addresses.into_values() {
            self.desk.free(counter);
            self.receiver_ports.give_back(port);
        }
    }
}
