//! A driver that does as much as a client can see: files, answers, logs in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memory::broadcast::Transmitter;
use memory::buffer::AtomicBuffer;
use memory::counters::{Counter, CountersManager};
use memory::log::LogBuffer;
use memory::region::Region;
use memory::ring::{ReadAction, RingConsumer};
use runtime::files::{Files, Mapping};
use runtime::{Now, Ports};
use wire::cnc::{self, BufferLengths, Header, PackedVersion};
use wire::control::{
    AvailableImage, ClientId, Command, CorrelationId, ErrorCode, Event, PublicationReady, Request,
};
use wire::counters::{ClientHeartbeatKey, CounterId, CounterTypeId, SystemCounter};
use wire::log::LogDescription;
use wire::position::{Position, SessionId, StreamId, TermId};

pub(crate) const TERM_LENGTH: i32 = 65_536;
pub(crate) const MTU: i32 = 1_408;
pub(crate) const LIVENESS: runtime::Nanos = runtime::Nanos::from_secs(5);

pub(crate) struct FakeDriver {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) directory: PathBuf,
    pub(crate) ring: RingConsumer,
    pub(crate) events: Transmitter,
    pub(crate) counters: CountersManager,
    /// Everything that was asked, as text.
    pub(crate) commands: Vec<String>,
    /// Takes commands and does not answer.
    pub(crate) is_mute: bool,
    /// What the next add is refused with.
    pub(crate) refusal: Option<(ErrorCode, &'static str)>,
    pub(crate) publications: BTreeMap<CorrelationId, FakePublication>,
    pub(crate) subscriptions: BTreeMap<CorrelationId, (StreamId, ClientId)>,
    clients: BTreeSet<ClientId>,
    handles: Vec<Counter>,
    buffer: AtomicBuffer,
}

pub(crate) struct FakePublication {
    pub(crate) log: LogBuffer,
    pub(crate) region: Arc<Region>,
    pub(crate) path: String,
    pub(crate) stream_id: StreamId,
    pub(crate) session_id: SessionId,
    pub(crate) limit: Counter,
    cleaned: Position,
    is_exclusive: bool,
}

pub(crate) fn header(lengths: BufferLengths) -> Header {
    Header {
        lengths,
        client_liveness_timeout_ns: LIVENESS.0,
        start_timestamp_ms: 1,
        pid: 1,
        file_page_size: 4096,
    }
}

pub(crate) fn lengths() -> BufferLengths {
    BufferLengths {
        to_driver: 65_536 + 768,
        to_clients: 65_536 + 128,
        counters_metadata: 512 * 1024,
        counters_values: 128 * 1024,
        error_log: 4096,
    }
}

/// Writes a `cnc.dat` without its version.
pub(crate) fn lay_out(files: &dyn Files, directory: &Path) -> Mapping {
    files.create_directory(directory).unwrap();
    let sections = lengths().sections().unwrap();
    let length = u64::try_from(sections.end()).unwrap().next_multiple_of(4096);
    let mapping = files.create_mapped(&directory.join(cnc::FILE_NAME), length, false).unwrap();
    AtomicBuffer::new(mapping.region().clone()).copy_in(0, &header(lengths()).to_bytes());
    mapping
}

impl FakeDriver {
    /// A driver that is ready and has just shown that it lives.
    pub(crate) fn launch(ports: &Ports, directory: &Path, now: Now) -> Self {
        let mapping = lay_out(&*ports.files, directory);
        let buffer = AtomicBuffer::new(mapping.region().clone());
        let sections = lengths().sections().unwrap();
        let part = |section: cnc::Section| buffer.slice(section.offset, section.length);
        let mut ring = RingConsumer::new(part(sections.to_driver)).unwrap();
        let _ = ring.producer().next_correlation_id();
        ring.set_heartbeat_ms(now.epoch_millis());
        let (metadata, values) = (part(sections.counters_metadata), part(sections.counters_values));
        let mut counters = CountersManager::new(metadata, values, 1000);
        let mut handles = Vec::new();
        for id in 0..=SystemCounter::ControlProtocolVersion.id() {
            handles.push(counters.allocate(CounterTypeId::SYSTEM, &[], "system", 0).unwrap());
            assert_eq!(handles.last().unwrap().id(), CounterId(id));
        }
        handles.last_mut().unwrap().set_release(i64::from(PackedVersion::new(1, 0, 0).0));
        buffer.store_i32_release(cnc::VERSION_OFFSET, cnc::VERSION.0);
        Self {
            files: ports.files.clone(),
            directory: directory.to_path_buf(),
            ring,
            events: Transmitter::new(part(sections.to_clients)).unwrap(),
            counters,
            commands: Vec::new(),
            is_mute: false,
            refusal: None,
            publications: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            clients: BTreeSet::new(),
            handles,
            buffer,
        }
    }

    pub(crate) fn set_version(&self, version: PackedVersion) {
        self.buffer.store_i32_release(cnc::VERSION_OFFSET, version.0);
    }

    pub(crate) fn set_protocol_version(&mut self, version: PackedVersion) {
        self.handles.last_mut().unwrap().set_release(i64::from(version.0));
        let last = SystemCounter::ControlProtocolVersion.id();
        self.handles[usize::try_from(last).unwrap()].set_release(i64::from(version.0));
    }

    pub(crate) fn send(&mut self, event: &Event<'_>) {
        let mut body = vec![0; event.encoded_length()];
        event.encode(&mut body).unwrap();
        self.events.transmit(event.type_id(), &body).unwrap();
    }

    /// Shows that it lives and answers what was asked.
    pub(crate) fn step(&mut self, now: Now) {
        self.ring.set_heartbeat_ms(now.epoch_millis());
        let mut taken = Vec::new();
        let take = |type_id: i32, body: &[u8]| {
            taken.push((type_id, body.to_vec()));
            ReadAction::Continue
        };
        self.ring.read(100, take).unwrap();
        for (type_id, body) in taken {
            let command = Command::decode(type_id, &body).unwrap();
            self.commands.push(format!("{:?}", command.request));
            if !self.is_mute {
                self.answer(&command);
            }
        }
    }

    fn answer(&mut self, command: &Command<'_>) {
        let id = command.correlation_id;
        if let Some((code, text)) = self.refusal.take() {
            return self.send(&Event::Error { offending: id, code, text });
        }
        match command.request {
            Request::AddPublication { stream_id, .. } => {
                self.meet(command.client_id);
                self.add_publication(id, stream_id, false);
            }
            Request::AddExclusivePublication { stream_id, .. } => {
                self.meet(command.client_id);
                self.add_publication(id, stream_id, true);
            }
            Request::AddSubscription { stream_id, .. } => {
                self.meet(command.client_id);
                self.add_subscription(id, stream_id, command.client_id);
            }
            Request::AddCounter { type_id, key, label } => {
                self.meet(command.client_id);
                let counter_id = self.add_counter(type_id, key, label, id.0, command.client_id.0);
                self.send(&Event::CounterReady { correlation_id: id, counter_id });
            }
            Request::AddStaticCounter { registration_id, type_id, key, label } => {
                let known = self.counters.reader().find(type_id, registration_id.0);
                let counter_id = known.unwrap_or_else(|| {
                    self.add_counter(type_id, key, label, registration_id.0, -1)
                });
                self.send(&Event::StaticCounter { correlation_id: id, counter_id });
            }
            Request::NextAvailableSessionId { .. } => {
                let session_id = SessionId(4711);
                self.send(&Event::NextAvailableSessionId { correlation_id: id, session_id });
            }
            Request::ClientKeepalive | Request::ClientClose => {}
            _ => self.send(&Event::OperationSucceeded { correlation_id: id }),
        }
    }

    pub(crate) fn add_counter(
        &mut self,
        type_id: CounterTypeId,
        key: &[u8],
        label: &str,
        registration_id: i64,
        owner_id: i64,
    ) -> CounterId {
        let mut counter = self.counters.allocate(type_id, key, label, 0).unwrap();
        counter.identify(registration_id, owner_id, 0);
        self.handles.push(counter);
        self.handles.last().unwrap().id()
    }

    /// Makes the heartbeat counter of a client that was not known.
    fn meet(&mut self, client_id: ClientId) {
        if self.clients.insert(client_id) {
            let key = ClientHeartbeatKey { client_id: client_id.0 }.encode();
            let kind = CounterTypeId::CLIENT_HEARTBEAT;
            let label = format!("client-heartbeat: id={}", client_id.0);
            self.add_counter(kind, key.as_bytes(), &label, client_id.0, client_id.0);
        }
    }

    pub(crate) fn heartbeat_of(&self, client_id: ClientId) -> Option<CounterId> {
        self.counters.reader().find(CounterTypeId::CLIENT_HEARTBEAT, client_id.0)
    }

    fn make_log(&mut self, id: CorrelationId, stream_id: StreamId) -> (LogBuffer, Mapping, String) {
        let directory = self.directory.join("publications");
        self.files.create_directory(&directory).unwrap();
        let path = directory.join(format!("{}.logbuffer", id.0));
        let length = wire::log::file_length(TERM_LENGTH, 4096);
        let mapping = self.files.create_mapped(&path, length, false).unwrap();
        let description = LogDescription {
            correlation_id: id.0,
            initial_term_id: TermId(7),
            session_id: SessionId(i32::try_from(id.0).unwrap()),
            stream_id,
            mtu_length: MTU,
            term_length: TERM_LENGTH,
            page_size: 4096,
            ..LogDescription::default()
        };
        let log = LogBuffer::create(mapping.region().clone(), &description, TermId(7), 0).unwrap();
        log.set_end_of_stream_position(Position(i64::MAX));
        (log, mapping, path.to_str().unwrap().to_string())
    }

    fn add_publication(&mut self, id: CorrelationId, stream_id: StreamId, is_exclusive: bool) {
        let shared = self
            .publications
            .iter()
            .find(|(_, known)| !is_exclusive && !known.is_exclusive && known.stream_id == stream_id)
            .map(|(original, _)| *original);
        let original = shared.unwrap_or_else(|| {
            self.make_publication(id, stream_id, is_exclusive);
            id
        });
        let known = &self.publications[&original];
        let path = known.path.clone();
        let ready = PublicationReady {
            correlation_id: id,
            registration_id: original,
            session_id: known.session_id,
            stream_id,
            publisher_limit_id: known.limit.id(),
            channel_status_id: CounterId::NONE,
            log_file: &path,
        };
        self.send(&match is_exclusive {
            true => Event::ExclusivePublicationReady(ready),
            false => Event::PublicationReady(ready),
        });
        if shared.is_none() {
            self.link_all(original);
        }
    }

    fn make_publication(&mut self, id: CorrelationId, stream_id: StreamId, is_exclusive: bool) {
        let (log, mapping, path) = self.make_log(id, stream_id);
        let kind = CounterTypeId::PUBLISHER_LIMIT;
        let mut limit = self.counters.allocate(kind, &[], "pub-lmt", 0).unwrap();
        limit.set_release(i64::from(TERM_LENGTH) / 2);
        let session_id = log.description().session_id;
        let region = mapping.region().clone();
        let known = FakePublication {
            log,
            region,
            path,
            stream_id,
            session_id,
            limit,
            cleaned: Position(0),
            is_exclusive,
        };
        self.publications.insert(id, known);
    }

    fn link_all(&mut self, publication: CorrelationId) {
        let stream_id = self.publications[&publication].stream_id;
        let subscriptions: Vec<_> = self.subscriptions.iter().map(|(id, of)| (*id, of.0)).collect();
        for (subscription, _) in subscriptions.into_iter().filter(|of| of.1 == stream_id) {
            self.link(publication, subscription);
        }
    }

    fn add_subscription(&mut self, id: CorrelationId, stream_id: StreamId, client_id: ClientId) {
        let channel_status_id = CounterId::NONE;
        self.send(&Event::SubscriptionReady { correlation_id: id, channel_status_id });
        self.subscriptions.insert(id, (stream_id, client_id));
        let publications: Vec<_> = self
            .publications
            .iter()
            .filter(|(_, known)| known.stream_id == stream_id)
            .map(|(id, _)| *id)
            .collect();
        for publication in publications {
            self.link(publication, id);
        }
    }

    /// Joins a subscription to a publication of this host, where the publication stands.
    pub(crate) fn link(&mut self, publication: CorrelationId, subscription: CorrelationId) {
        let known = &self.publications[&publication];
        let kind = CounterTypeId::SUBSCRIBER_POSITION;
        let mut position = self.counters.allocate(kind, &[], "sub-pos", 0).unwrap();
        position.set_release(known.log.producer_position().0);
        position.identify(subscription.0, 0, publication.0);
        known.log.set_connected(true);
        let path = known.path.clone();
        let image = AvailableImage {
            image: publication,
            session_id: known.session_id,
            stream_id: known.stream_id,
            subscription,
            subscriber_position_id: position.id(),
            log_file: &path,
            source_identity: "aeron:ipc",
        };
        self.handles.push(position);
        self.send(&Event::AvailableImage(image));
    }

    pub(crate) fn unlink(&mut self, publication: CorrelationId, subscription: CorrelationId) {
        self.send(&Event::UnavailableImage {
            image: publication,
            subscription,
            stream_id: StreamId(10),
            channel: "aeron:ipc",
        });
    }

    /// Cleans what lies more than a term behind the publishers.
    pub(crate) fn clean(&mut self) {
        for known in self.publications.values_mut() {
            let target = Position(known.log.producer_position().0 - i64::from(TERM_LENGTH));
            known.cleaned = known.log.clean(known.cleaned, target, usize::MAX);
        }
    }

    /// The driver's own view of a counter.
    pub(crate) fn value(&self, id: CounterId) -> i64 {
        self.counters.reader().reader(id).unwrap().get()
    }
}
