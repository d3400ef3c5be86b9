//! Adding publications: share one, or plan, have the log made, and finish.

use memory::log::LogBuffer;
use runtime::Now;
use wire::control::{CorrelationId, Event, PublicationReady};
use wire::counters::{
    CounterId, CounterTypeId, PUBLISHER_POSITION_CONCURRENT, PUBLISHER_POSITION_EXCLUSIVE,
    StreamKey,
};
use wire::log::{LogDescription, LogKind, LogSwitches, LogTimeouts, SocketLengths};
use wire::position::{SessionId, StreamId, TermId};

use super::commands::{Progress, Stage};
use super::desk::Belongs;
use super::logs::{LogFile, LogPlace};
use super::publications::{Carrier, PublicationRecord, PublicationTerms};
use super::{Conductor, PublicationLink};
use crate::channel::udp::UdpChannel;
use crate::channel::{
    Channel, CommonParameters, ControlMode, PublicationParameters, SessionChoice,
};
use crate::config::publication_window;
use crate::messages::EndpointId;
use crate::refusal::Refusal;
use crate::shared::Shape;

/// A command that adds a publication.
#[derive(Clone, Copy, Debug)]
pub(super) struct AddPublication<'a> {
    pub(super) client_id: i64,
    pub(super) correlation_id: i64,
    pub(super) stream: StreamId,
    pub(super) channel: &'a str,
    pub(super) is_exclusive: bool,
}

/// A publication whose log is being made.
pub(crate) struct PublicationPlan {
    pub(crate) path: std::path::PathBuf,
    client_id: i64,
    correlation_id: i64,
    shape: Shape,
    start: (TermId, i32),
    terms: PublicationTerms,
    is_sparse: bool,
    /// `None` for IPC.
    pub(super) udp: Option<UdpChannel>,
    pub(super) endpoint: Option<EndpointId>,
}

impl PublicationPlan {
    pub(super) fn terms(&self) -> &PublicationTerms {
        &self.terms
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    pub(super) fn registration_id(&self) -> i64 {
        self.correlation_id
    }

    pub(super) fn client_id(&self) -> i64 {
        self.client_id
    }

    pub(super) fn start_position(&self) -> i64 {
        self.shape.position(self.start.0, self.start.1)
    }

    fn description(&self, page_size: i32, config: &crate::Config) -> LogDescription {
        let terms = &self.terms;
        let parameters = &terms.parameters;
        let is_group =
            self.udp.as_ref().is_some_and(|u| u.is_multicast() || u.is_multi_destination());
        let max_resend = parameters.max_resend.unwrap_or(config.flow.max_resend);
        LogDescription {
            correlation_id: self.correlation_id,
            initial_term_id: self.shape.initial_term_id,
            session_id: self.shape.session,
            stream_id: self.shape.stream,
            mtu_length: self.shape.mtu,
            term_length: self.shape.term_length,
            page_size,
            publication_window_length: terms.window,
            receiver_window_length: 0,
            max_resend,
            entity_tag: terms.entity_tag.unwrap_or(-1),
            response_correlation_id: parameters.response_correlation_id.unwrap_or(-1),
            sockets: SocketLengths::default(),
            timeouts: LogTimeouts {
                linger_ns: terms.linger.0,
                untethered_window_limit_ns: terms.untethered.window_limit.0,
                untethered_linger_ns: terms.untethered.linger.0,
                untethered_resting_ns: terms.untethered.resting.0,
            },
            switches: LogSwitches {
                group: is_group,
                is_response: self
                    .udp
                    .as_ref()
                    .is_some_and(|u| u.control_mode() == ControlMode::Response),
                rejoin: false,
                reliable: true,
                sparse: self.is_sparse,
                signal_eos: parameters.signals_end,
                spies_simulate_connection: terms.spies_simulate_connection,
                tether: false,
            },
            kind: if terms.is_exclusive {
                LogKind::EXCLUSIVE_PUBLICATION
            } else {
                LogKind::CONCURRENT_PUBLICATION
            },
        }
    }
}

impl Conductor {
    /// Shares a publication, or begins to make one.
    pub(super) fn add_publication(
        &mut self,
        command: AddPublication<'_>,
        now: Now,
    ) -> Result<Progress, Refusal> {
        let channel = Channel::parse(command.channel)?;
        if channel.is_spy() {
            return Err(Refusal::channel("a publication cannot be a spy"));
        }
        let common = channel.common(command.stream)?;
        let parameters = channel.publication()?;
        let udp = if channel.is_ipc() {
            None
        } else {
            match self.resolve(&channel, common.channel_tag) {
                Ok(udp) => Some(udp),
                Err(error) => return self.await_name(error),
            }
        };
        let endpoint = match &udp {
            Some(udp) => self.check_send_channel(udp, &parameters)?,
            None => None,
        };
        let is_response = udp.as_ref().is_some_and(|u| u.control_mode() == ControlMode::Response);
        self.check_response_correlation(parameters.response_correlation_id, is_response)?;
        if !command.is_exclusive {
            let found = self.find_shared(command.stream, udp.as_ref(), endpoint);
            if let Some(original) = found {
                self.check_same(original, &common, &parameters)?;
                self.link_publication(&command, original)?;
                return Ok(Progress::Done);
            }
        }
        let mut plan = self.plan(&command, &common, parameters, udp, now)?;
        plan.endpoint = endpoint;
        plan.path = self.logs.path(LogPlace::Publications, command.correlation_id);
        let (ticket, warning) =
            self.logs.create(&plan.path, plan.shape.term_length, plan.is_sparse)?;
        if let Some(warning) = warning {
            self.desk.error(&warning);
        }
        Ok(Progress::Waiting(Stage::Publication(ticket, Box::new(plan))))
    }

    /// An active concurrent publication on the same channel and stream.
    fn find_shared(
        &self,
        stream: StreamId,
        udp: Option<&UdpChannel>,
        endpoint: Option<EndpointId>,
    ) -> Option<i64> {
        let is_same = |record: &PublicationRecord| {
            let is_same_carrier = match (&record.carrier, udp) {
                (Carrier::Ipc, None) => true,
                (Carrier::Network(network), Some(_)) => Some(network.endpoint) == endpoint,
                _ => false,
            };
            is_same_carrier
                && !record.terms.is_exclusive
                && record.is_active()
                && record.shape.stream == stream
                && record.terms.parameters.response_correlation_id.is_none()
        };
        self.publications.iter().find(|(_, record)| is_same(record)).map(|(id, _)| *id)
    }

    /// What is given must equal what is there.
    fn check_same(
        &self,
        original: i64,
        common: &CommonParameters,
        parameters: &PublicationParameters,
    ) -> Result<(), Refusal> {
        let Some(record) = self.publications.get(&original) else { return Ok(()) };
        let shape = &record.shape;
        let session = self.session_choice(common)?;
        let initial = shape.initial_term_id.0;
        let start = parameters.start.is_none_or(|given| {
            let known = record.terms.parameters.start;
            given.initial_term_id == initial && known.is_none_or(|known| known == given)
        });
        let spies = parameters
            .spies_simulate_connection
            .unwrap_or(self.config.subscriptions.spies_simulate_connection);
        let checks = [
            ("mtu", parameters.mtu.is_none_or(|mtu| mtu == shape.mtu)),
            ("term-length", parameters.term_length.is_none_or(|l| l == shape.term_length)),
            ("session-id", session.is_none_or(|session| session == shape.session)),
            ("init-term-id, term-id or term-offset", start),
            ("ssc", spies == record.terms.spies_simulate_connection),
        ];
        match checks.into_iter().find(|(_, is_same)| !is_same) {
            None => Ok(()),
            Some((name, _)) => Err(Refusal::generic(format!(
                "existing publication has a different {name}: {}",
                record.terms.channel
            ))),
        }
    }

    fn link_publication(
        &mut self,
        command: &AddPublication<'_>,
        original: i64,
    ) -> Result<(), Refusal> {
        self.admit_client(command.client_id)?;
        if let Some(record) = self.publications.get_mut(&original) {
            record.references += 1;
        }
        let link = PublicationLink { client_id: command.client_id, publication: original };
        self.publication_links.insert(command.correlation_id, link);
        self.send_ready(original, command.correlation_id);
        Ok(())
    }

    fn send_ready(&mut self, original: i64, correlation_id: i64) {
        let Some(record) = self.publications.get(&original) else { return };
        let channel_status_id = match &record.carrier {
            Carrier::Ipc => CounterId::NONE,
            Carrier::Network(network) => self.send_status_id(network.endpoint),
        };
        let log_file = record.file.name();
        let ready = PublicationReady {
            correlation_id: CorrelationId(correlation_id),
            registration_id: CorrelationId(original),
            session_id: record.shape.session,
            stream_id: record.shape.stream,
            publisher_limit_id: record.limit.id(),
            channel_status_id,
            log_file: &log_file,
        };
        if record.terms.is_exclusive {
            self.desk.send(&Event::ExclusivePublicationReady(ready));
        } else {
            self.desk.send(&Event::PublicationReady(ready));
        }
    }

    /// The session that a channel names, by number or by the tag of a publication.
    pub(super) fn session_choice(
        &self,
        common: &CommonParameters,
    ) -> Result<Option<SessionId>, Refusal> {
        match common.session {
            None => Ok(None),
            Some(SessionChoice::Id(id)) => Ok(Some(SessionId(id))),
            Some(SessionChoice::Tag(tag)) => {
                let tagged =
                    self.publications.values().find(|record| record.terms.entity_tag == Some(tag));
                let record = tagged
                    .ok_or_else(|| Refusal::channel(format!("session-id=tag:{tag} is unknown")))?;
                Ok(Some(record.shape.session))
            }
        }
    }

    fn is_session_used(
        &self,
        session: i32,
        stream: StreamId,
        udp: Option<&UdpChannel>,
        endpoint: Option<EndpointId>,
    ) -> bool {
        self.publications.values().any(|record| {
            let is_same_carrier = match (&record.carrier, udp) {
                (Carrier::Ipc, None) => true,
                (Carrier::Network(network), Some(udp)) => {
                    Some(network.endpoint) == endpoint
                        || (udp.canonical.is_some() && network.canonical == udp.canonical)
                }
                _ => false,
            };
            is_same_carrier && record.shape.stream == stream && record.shape.session.0 == session
        })
    }

    fn choose_session(
        &mut self,
        stream: StreamId,
        common: &CommonParameters,
        udp: Option<&UdpChannel>,
        endpoint: Option<EndpointId>,
    ) -> Result<SessionId, Refusal> {
        if let Some(session) = self.session_choice(common)? {
            if self.is_session_used(session.0, stream, udp, endpoint) {
                return Err(Refusal::channel(format!(
                    "existing publication has clashing session id {} for stream {}",
                    session.0, stream.0
                )));
            }
            return Ok(session);
        }
        let mut sessions = self.sessions.clone();
        let id = sessions.next(|id| self.is_session_used(id, stream, udp, endpoint));
        self.sessions = sessions;
        Ok(SessionId(id))
    }

    fn plan(
        &mut self,
        command: &AddPublication<'_>,
        common: &CommonParameters,
        parameters: PublicationParameters,
        udp: Option<UdpChannel>,
        _now: Now,
    ) -> Result<PublicationPlan, Refusal> {
        let is_ipc = udp.is_none();
        let config = &self.config.terms;
        let (term_default, mtu_default, window_default) = if is_ipc {
            (config.ipc_term_length, config.ipc_mtu, config.ipc_publication_window)
        } else {
            (config.term_length, config.mtu, config.publication_window)
        };
        let term_length = parameters.term_length.unwrap_or(term_default);
        let mtu = parameters.mtu.unwrap_or(mtu_default);
        if mtu > wire::log::message_length_max(term_length) {
            return Err(Refusal::generic(format!("mtu {mtu} exceeds the longest message")));
        }
        if parameters.window.is_some_and(|window| window < mtu || window > term_length / 2) {
            return Err(Refusal::channel("pub-wnd must be from mtu to half a term"));
        }
        if parameters.start.is_some_and(|start| start.term_offset > term_length) {
            return Err(Refusal::channel("term-offset exceeds term-length"));
        }
        let is_sparse = common.sparse.unwrap_or(config.sparse);
        let window = publication_window(term_length, parameters.window, window_default);
        let endpoint = udp.as_ref().and_then(|udp| self.find_send_endpoint(udp).ok().flatten());
        let session = self.choose_session(command.stream, common, udp.as_ref(), endpoint)?;
        let (initial_term_id, start) = match parameters.start {
            Some(given) => {
                (TermId(given.initial_term_id), (TermId(given.term_id), given.term_offset))
            }
            None => {
                let initial = TermId(self.rng.next_i32());
                (initial, (initial, 0))
            }
        };
        let linger = parameters.linger.unwrap_or(self.config.timeouts.publication_linger);
        let spies = parameters
            .spies_simulate_connection
            .unwrap_or(self.config.subscriptions.spies_simulate_connection);
        Ok(PublicationPlan {
            path: std::path::PathBuf::new(),
            client_id: command.client_id,
            correlation_id: command.correlation_id,
            shape: Shape { session, stream: command.stream, initial_term_id, term_length, mtu },
            start,
            terms: PublicationTerms {
                channel: command.channel.to_string(),
                channel_tag: common.channel_tag,
                entity_tag: common.entity_tag,
                is_exclusive: command.is_exclusive,
                window,
                linger,
                untethered: self.untethered_timeouts(&common.untethered),
                spies_simulate_connection: spies,
                parameters,
            },
            is_sparse,
            udp,
            endpoint: None,
        })
    }

    /// The log is there: counters, record, answer, subscribers.
    pub(super) fn finish_publication(
        &mut self,
        plan: PublicationPlan,
        file: LogFile,
        now: Now,
    ) -> Result<(), Refusal> {
        let description = plan.description(self.logs.page_size(), &self.config);
        let region = std::sync::Arc::clone(file.mapping.region());
        let made = LogBuffer::create(region, &description, plan.start.0, plan.start.1)
            .map_err(|error| Refusal::generic(error.to_string()));
        let log = match made {
            Ok(log) => log,
            Err(refusal) => {
                self.logs.remove(file);
                return Err(refusal);
            }
        };
        let mut made = Vec::new();
        let parts = self.make_publication(&plan, &log, &mut made, now);
        let (limit, position, carrier) = match parts {
            Ok(parts) => parts,
            Err(refusal) => {
                for id in made {
                    self.desk.free(id);
                }
                drop(log);
                self.logs.remove(file);
                return Err(refusal);
            }
        };
        let (id, client_id, start) = (plan.correlation_id, plan.client_id, plan.start_position());
        let session = plan.shape.session;
        let is_response =
            plan.udp.as_ref().is_some_and(|u| u.control_mode() == ControlMode::Response);
        let response_image = plan.terms.parameters.response_correlation_id.filter(|_| is_response);
        let record = PublicationRecord::new(
            plan.shape,
            plan.terms,
            (log, file),
            (limit, position),
            carrier,
            (start, now.mono),
        );
        self.publications.insert(id, record);
        self.publication_links.insert(id, PublicationLink { client_id, publication: id });
        self.send_ready(id, id);
        self.join_subscribers(id, now);
        if let Some(image) = response_image {
            self.announce_response(image, Some(session));
        }
        Ok(())
    }

    fn make_publication(
        &mut self,
        plan: &PublicationPlan,
        log: &LogBuffer,
        made: &mut Vec<CounterId>,
        now: Now,
    ) -> Result<(memory::counters::Counter, memory::counters::Counter, Carrier), Refusal> {
        self.admit_client(plan.client_id)?;
        let start = plan.start_position();
        let key = StreamKey {
            registration_id: plan.correlation_id,
            session_id: plan.shape.session,
            stream_id: plan.shape.stream,
            channel: &plan.terms.channel,
        };
        let belongs =
            Belongs { registration_id: plan.correlation_id, owner: plan.client_id, reference: 0 };
        let name = if plan.terms.is_exclusive {
            PUBLISHER_POSITION_EXCLUSIVE
        } else {
            PUBLISHER_POSITION_CONCURRENT
        };
        let position = self.desk.allocate_stream(
            CounterTypeId::PUBLISHER_POSITION,
            name,
            &key,
            belongs,
            start,
        )?;
        made.push(position.id());
        let limit = self.desk.allocate_stream(
            CounterTypeId::PUBLISHER_LIMIT,
            "pub-lmt",
            &key,
            belongs,
            start,
        )?;
        made.push(limit.id());
        let carrier = match &plan.udp {
            None => Carrier::Ipc,
            Some(udp) => self.make_network_part(plan, udp, log, &key, made, now)?,
        };
        Ok((limit, position, carrier))
    }
}
