//! Send endpoints: sockets for publications, shared by those on one channel.

use std::net::SocketAddr;
use std::sync::Arc;

use memory::log::LogBuffer;
use runtime::Now;
use runtime::network::{Socket, SocketOptions};
use wire::counters::{
    ChannelKey, CounterId, CounterTypeId, Label, LocalAddressKey, SEND_LOCAL_ADDRESS, StreamKey,
    channel_status,
};

use super::Conductor;
use super::add_publication::PublicationPlan;
use super::desk::Belongs;
use super::publications::{Carrier, NetworkPart};
use crate::channel::udp::{ResolveError, Surroundings, UdpChannel};
use crate::channel::{Channel, ControlMode, PublicationParameters};
use crate::messages::{EndpointId, SenderCommand};
use crate::refusal::Refusal;
use crate::sender::destinations::Destinations;
use crate::sender::endpoint::SendEndpoint;
use crate::sender::flow::FlowControl;
use crate::sender::publication::{SenderCounters, SenderPublication, SenderSettings};
use crate::sender::retransmit::Retransmits;
use crate::shared::PublicationShared;
use wire::control::ErrorCode;

/// A send endpoint as the conductor knows it.
pub(crate) struct SendEndpointRecord {
    pub(crate) udp: UdpChannel,
    references: usize,
    status: CounterId,
    counters: Vec<CounterId>,
    control_port: Option<u16>,
    is_closing: bool,
}

/// The socket that sends, the one that hears a multicast group, and the port taken.
type SenderSockets = (Box<dyn Socket>, Option<Box<dyn Socket>>, Option<u16>);

/// Whether the host of a `host:port` text is a name that may get another address.
pub(super) fn name_of(text: Option<&String>, address: Option<SocketAddr>) -> Option<String> {
    let (text, address) = (text?, address?);
    let is_literal = text.parse::<SocketAddr>().is_ok() || text.starts_with("localhost:");
    (!is_literal && !address.ip().is_unspecified()).then(|| text.clone())
}

fn bind_error(address: SocketAddr, error: &std::io::Error) -> Refusal {
    Refusal::generic(format!("cannot bind {address}: {error}"))
}

impl Conductor {
    /// The addresses of a channel.
    pub(super) fn resolve(
        &self,
        channel: &Channel<'_>,
        tag: Option<i64>,
    ) -> Result<UdpChannel, ResolveError> {
        let interfaces = self
            .network
            .interfaces()
            .map_err(|error| Refusal::generic(format!("cannot list interfaces: {error}")))?;
        let around = Surroundings { interfaces: &interfaces, names: &self.names };
        UdpChannel::resolve(channel, tag, &around)
    }

    /// The endpoint that a channel shares, if there is one: by tag, else by canonical form.
    pub(super) fn find_send_endpoint(
        &self,
        udp: &UdpChannel,
    ) -> Result<Option<EndpointId>, Refusal> {
        for (id, record) in &self.send_endpoints {
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

    /// Whether a publication may be made on this channel; the endpoint that it shares.
    pub(super) fn check_send_channel(
        &self,
        udp: &UdpChannel,
        parameters: &PublicationParameters,
    ) -> Result<Option<EndpointId>, Refusal> {
        let found = self.find_send_endpoint(udp)?;
        let mode = udp.control_mode();
        if udp.is_tag_only() {
            return found.map(Some).ok_or_else(|| Refusal::channel("channel tag is unknown"));
        }
        if udp.endpoint.is_some_and(|address| address.port() == 0) && !mode.is_multi_destination() {
            return Err(Refusal::generic("endpoint has port 0"));
        }
        if udp.endpoint.is_none() && mode == ControlMode::None {
            return Err(Refusal::generic("control without endpoint needs a control-mode"));
        }
        if mode == ControlMode::Response && parameters.response_correlation_id.is_none() {
            return Err(Refusal::generic("control-mode=response needs response-correlation-id"));
        }
        let is_group = udp.is_multicast() || udp.is_multi_destination();
        if parameters.flow.is_some() && !is_group {
            return Err(Refusal::generic("fc is for publications with several receivers"));
        }
        self.check_buffers(udp, found.and_then(|id| self.send_endpoints.get(&id)), parameters)?;
        Ok(found)
    }

    fn check_buffers(
        &self,
        udp: &UdpChannel,
        found: Option<&SendEndpointRecord>,
        parameters: &PublicationParameters,
    ) -> Result<(), Refusal> {
        let given = &udp.parameters;
        if let Some(record) = found {
            let known = &record.udp.parameters;
            let differs = |a: Option<usize>, b: Option<usize>| a.is_some() && a != b;
            if differs(given.send_buffer_length, known.send_buffer_length)
                || differs(given.receive_buffer_length, known.receive_buffer_length)
            {
                return Err(Refusal::channel("socket buffers differ from the shared endpoint's"));
            }
        }
        let wanted = given.send_buffer_length.unwrap_or(self.config.sockets.send_buffer_length);
        let default = || self.network.default_buffer_lengths().map_or(usize::MAX, |l| l.send);
        let length = if wanted == 0 { default() } else { wanted };
        let mtu = parameters.mtu.unwrap_or(self.config.terms.mtu);
        if usize::try_from(mtu).is_ok_and(|mtu| mtu > length) {
            return Err(Refusal::generic(format!("mtu {mtu} exceeds the send buffer of {length}")));
        }
        Ok(())
    }

    fn socket_options(&self, udp: &UdpChannel, local: SocketAddr) -> SocketOptions {
        let (given, config) = (&udp.parameters, &self.config.sockets);
        let ttl = given.ttl.unwrap_or(config.multicast_ttl);
        SocketOptions {
            interface: udp.interface,
            ttl: (udp.is_multicast() && ttl != 0).then_some(ttl),
            send_buffer_length: given.send_buffer_length.unwrap_or(config.send_buffer_length),
            receive_buffer_length: given
                .receive_buffer_length
                .unwrap_or(config.receive_buffer_length),
            ..SocketOptions::at(local)
        }
    }

    /// Options of a socket that receives data at the endpoint of a channel.
    pub(super) fn data_socket_options(&self, udp: &UdpChannel, local: SocketAddr) -> SocketOptions {
        let options = self.socket_options(udp, local);
        match udp.endpoint.filter(|_| udp.is_multicast()) {
            Some(group) => SocketOptions {
                local: SocketAddr::new(udp.wildcard(), group.port()),
                group: Some(group.ip()),
                reuse_address: true,
                ..options
            },
            None => options,
        }
    }

    fn bind_sender(&mut self, udp: &UdpChannel) -> Result<SenderSockets, Refusal> {
        if let (Some(data), Some(control)) = (udp.endpoint, udp.multicast_control()) {
            let mut options = self.socket_options(udp, SocketAddr::new(udp.local.ip(), 0));
            options.connect = Some(data);
            let sending =
                self.network.bind(&options).map_err(|error| bind_error(options.local, &error))?;
            let hearing = SocketOptions {
                local: SocketAddr::new(udp.wildcard(), control.port()),
                connect: None,
                group: Some(control.ip()),
                reuse_address: true,
                ..options
            };
            let control =
                self.network.bind(&hearing).map_err(|error| bind_error(hearing.local, &error))?;
            return Ok((sending, Some(control), None));
        }
        let mut local = udp.control.unwrap_or(udp.local);
        let mut port = None;
        if udp.control.is_some() {
            let taken = self
                .sender_ports
                .take(local.port())
                .ok_or_else(|| Refusal::generic("no control port of the range is free"))?;
            local.set_port(taken);
            port = Some(taken).filter(|port| *port != 0);
        }
        let is_single = matches!(udp.control_mode(), ControlMode::None);
        let mut options = self.socket_options(udp, local);
        options.connect = udp.endpoint.filter(|_| is_single);
        match self.network.bind(&options) {
            Ok(socket) => Ok((socket, None, port)),
            Err(error) => {
                if let Some(port) = port {
                    self.sender_ports.give_back(port);
                }
                Err(bind_error(local, &error))
            }
        }
    }

    fn open_send_endpoint(
        &mut self,
        udp: &UdpChannel,
        registration_id: i64,
    ) -> Result<EndpointId, Refusal> {
        let (socket, control, control_port) = self.bind_sender(udp)?;
        let heard_at =
            control.as_ref().map_or_else(|| socket.local_address(), |c| c.local_address());
        let mut counters = Vec::new();
        let made = self.send_endpoint_counters(udp, registration_id, heard_at, &mut counters);
        let (status, destination_counter) = match made {
            Ok(made) => made,
            Err(refusal) => {
                for id in counters {
                    self.desk.free(id);
                }
                return Err(refusal);
            }
        };
        let destinations = match udp.control_mode() {
            ControlMode::Manual => Destinations::Manual(Vec::new()),
            ControlMode::Dynamic => Destinations::Dynamic(Vec::new()),
            ControlMode::Response => Destinations::One { address: udp.endpoint, is_response: true },
            ControlMode::None => Destinations::Connected,
        };
        let id = self.next_endpoint_id();
        let name = name_of(udp.parameters.endpoint.as_ref(), udp.endpoint);
        self.to_sender.push(SenderCommand::AddEndpoint(Box::new(SendEndpoint::new(
            id,
            (socket, control),
            destinations,
            destination_counter,
            name,
            self.desk.system.clone(),
        ))));
        let record = SendEndpointRecord {
            udp: udp.clone(),
            references: 0,
            status,
            counters,
            control_port,
            is_closing: false,
        };
        self.send_endpoints.insert(id, record);
        Ok(id)
    }

    fn send_endpoint_counters(
        &mut self,
        udp: &UdpChannel,
        registration_id: i64,
        local: SocketAddr,
        made: &mut Vec<CounterId>,
    ) -> Result<(CounterId, Option<memory::counters::Counter>), Refusal> {
        let belongs = Belongs { registration_id, owner: 0, reference: 0 };
        let address = local.to_string();
        let key = ChannelKey { channel: &udp.text }.encode();
        let type_id = CounterTypeId::SEND_CHANNEL_STATUS;
        let label = Label::of_channel(type_id, &udp.text, &address);
        let status = self.desk.allocate(
            type_id,
            key.as_bytes(),
            label.as_str(),
            belongs,
            channel_status::ACTIVE,
        )?;
        made.push(status.id());
        let local_key =
            LocalAddressKey { channel_status_id: status.id().0, address: &address }.encode();
        let label = Label::of_local_address(SEND_LOCAL_ADDRESS, status.id().0, &address);
        let local = self.desk.allocate(
            CounterTypeId::LOCAL_ADDRESS,
            local_key.as_bytes(),
            label.as_str(),
            belongs,
            channel_status::ACTIVE,
        )?;
        made.push(local.id());
        if !udp.is_multi_destination() {
            return Ok((status.id(), None));
        }
        let type_id = CounterTypeId::MDC_DESTINATIONS;
        let label = Label::of_channel(type_id, &udp.text, "");
        let count = self.desk.allocate(type_id, key.as_bytes(), label.as_str(), belongs, 0)?;
        made.push(count.id());
        Ok((status.id(), Some(count)))
    }

    /// The part of a publication that travels: endpoint, counters and the sender's half.
    pub(super) fn make_network_part(
        &mut self,
        plan: &PublicationPlan,
        udp: &UdpChannel,
        log: &LogBuffer,
        key: &StreamKey<'_>,
        made: &mut Vec<CounterId>,
        _now: Now,
    ) -> Result<Carrier, Refusal> {
        let before = made.len();
        let flow = self.flow_control(udp, plan);
        let counters = self.sender_counters(plan, key, &flow, made)?;
        let endpoint = match plan.endpoint.filter(|id| self.send_endpoints.contains_key(id)) {
            Some(id) => id,
            None => self.open_send_endpoint(udp, plan.registration_id())?,
        };
        let shared = Arc::new(PublicationShared::new(
            plan.registration_id(),
            plan.shape(),
            log.clone(),
            counters.position.reader(),
            plan.terms().spies_simulate_connection,
        ));
        let settings = self.sender_settings(udp, plan);
        let parameters = &plan.terms().parameters;
        let slots = parameters.max_resend.unwrap_or(self.config.flow.max_resend);
        let retransmits = Retransmits::new(
            usize::try_from(slots).unwrap_or(1),
            settings.is_group,
            self.config.flow.retransmit_delay,
            self.config.flow.retransmit_linger,
        );
        let publication = SenderPublication::new(
            Arc::clone(&shared),
            counters,
            settings,
            (flow, retransmits),
            self.desk.system.clone(),
        );
        let mut canonical = udp.canonical.clone();
        if let Some(record) = self.send_endpoints.get_mut(&endpoint) {
            record.references += 1;
            canonical = record.udp.canonical.clone();
        }
        self.to_sender.push(SenderCommand::AddPublication(endpoint, Box::new(publication)));
        let sender_counters = made[before..].to_vec();
        Ok(Carrier::Network(NetworkPart { endpoint, shared, sender_counters, canonical }))
    }

    fn flow_control(&self, udp: &UdpChannel, plan: &PublicationPlan) -> FlowControl {
        let spec = plan.terms().parameters.flow.unwrap_or_default();
        if udp.is_multicast() || udp.is_multi_destination() {
            FlowControl::group(&self.config.flow, &spec)
        } else {
            FlowControl::unicast(&self.config.flow)
        }
    }

    fn sender_settings(&self, udp: &UdpChannel, plan: &PublicationPlan) -> SenderSettings {
        let parameters = &plan.terms().parameters;
        let is_group = udp.is_multicast() || udp.is_multi_destination();
        let is_response = udp.control_mode() == ControlMode::Response;
        let ttl = udp.parameters.ttl.unwrap_or(self.config.sockets.multicast_ttl);
        SenderSettings {
            signals_end: parameters.signals_end,
            is_group,
            is_unicast: !is_group,
            wants_response_setup: parameters.response_correlation_id.is_some() && !is_response,
            tells_when_connected: is_response,
            ttl: if udp.is_multicast() { i32::from(ttl) } else { 0 },
            connection_timeout: self.config.timeouts.publication_connection,
            batch: self.config.sockets.send_batch.max(1),
        }
    }

    fn sender_counters(
        &mut self,
        plan: &PublicationPlan,
        key: &StreamKey<'_>,
        flow: &FlowControl,
        made: &mut Vec<CounterId>,
    ) -> Result<SenderCounters, Refusal> {
        let start = plan.start_position();
        let belongs = Belongs {
            registration_id: plan.registration_id(),
            owner: plan.client_id(),
            reference: 0,
        };
        let desk = &mut self.desk;
        let mut allocate = |type_id: CounterTypeId, value| {
            let name = type_id.name().unwrap_or_default();
            let counter = desk.allocate_stream(type_id, name, key, belongs, value)?;
            made.push(counter.id());
            Ok::<_, Refusal>(counter)
        };
        Ok(SenderCounters {
            position: allocate(CounterTypeId::SENDER_POSITION, start)?,
            limit: allocate(CounterTypeId::SENDER_LIMIT, start)?,
            back_pressure: allocate(CounterTypeId::SENDER_BPE, 0)?,
            naks: allocate(CounterTypeId::NAKS_RECEIVED, 0)?,
            receivers: if flow.counts_receivers() {
                Some(allocate(CounterTypeId::FLOW_CONTROL_RECEIVERS, 0)?)
            } else {
                None
            },
        })
    }

    pub(super) fn send_status_id(&self, id: EndpointId) -> CounterId {
        self.send_endpoints.get(&id).map_or(CounterId::NONE, |record| record.status)
    }

    /// One publication fewer uses an endpoint; the last one closes it.
    pub(super) fn release_send_endpoint(&mut self, id: EndpointId) {
        let Some(record) = self.send_endpoints.get_mut(&id) else { return };
        record.references = record.references.saturating_sub(1);
        if record.references > 0 || record.is_closing {
            return;
        }
        record.is_closing = true;
        let status = record.status;
        if let Ok(mut counter) = self.desk.counters.writer(status) {
            counter.set_release(channel_status::CLOSING);
        }
        self.to_sender.push(SenderCommand::RemoveEndpoint(id));
    }

    /// The sender has closed an endpoint's sockets.
    pub(super) fn on_send_endpoint_closed(&mut self, id: EndpointId) {
        let Some(record) = self.send_endpoints.remove(&id) else { return };
        for counter in record.counters {
            self.desk.free(counter);
        }
        if let Some(port) = record.control_port {
            self.sender_ports.give_back(port);
        }
    }
}
