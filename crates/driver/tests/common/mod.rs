//! A minimal client, written from the seam's description alone, and drivers in a simulated world.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // Each test file uses a part.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coracle_driver::Config;
use memory::broadcast::Receiver;
use memory::buffer::AtomicBuffer;
use memory::counters::{Counter, CounterReader, CountersReader};
use memory::log::LogBuffer;
use memory::log::append::AppendError;
use memory::ring::RingProducer;
use runtime::{Nanos, Ports};
use sim::{HostId, ProcessId, World};
use wire::cnc::{self, Header};
use wire::control::{
    ClientId, Command, CorrelationId, ErrorCode, Event, PublicationReady, Request,
};
use wire::counters::{CounterId, CounterTypeId, SystemCounter};
use wire::frame::flags;
use wire::position::{Position, StreamId};

pub const STREAM: StreamId = StreamId(10);
pub const IPC: &str = "aeron:ipc?term-length=64k";

/// What a client saw, without what varies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Error { id: i64, code: ErrorCode, text: String },
    Image(SeenImage),
    Publication(SeenPublication),
    Exclusive(SeenPublication),
    Success(i64),
    NoImage { image: i64, subscription: i64 },
    Subscription { id: i64, status: CounterId },
    Counter { id: i64, counter: CounterId },
    NoCounter { id: i64 },
    ClientTimeout(i64),
    StaticCounter { id: i64, counter: CounterId },
    PublicationError { id: i64, code: ErrorCode, text: String },
    Session { id: i64, session: i32 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenImage {
    pub image: i64,
    pub session: i32,
    pub subscription: i64,
    pub counter: CounterId,
    pub log: String,
    pub source: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenPublication {
    pub id: i64,
    pub original: i64,
    pub session: i32,
    pub limit: CounterId,
    pub status: CounterId,
    pub log: String,
}

impl Seen {
    fn of(event: &Event<'_>) -> Self {
        let publication = |ready: &PublicationReady<'_>| SeenPublication {
            id: ready.correlation_id.0,
            original: ready.registration_id.0,
            session: ready.session_id.0,
            limit: ready.publisher_limit_id,
            status: ready.channel_status_id,
            log: ready.log_file.to_string(),
        };
        match event {
            Event::Error { offending, code, text } => {
                Self::Error { id: offending.0, code: *code, text: text.to_string() }
            }
            Event::AvailableImage(image) => Self::Image(SeenImage {
                image: image.image.0,
                session: image.session_id.0,
                subscription: image.subscription.0,
                counter: image.subscriber_position_id,
                log: image.log_file.to_string(),
                source: image.source_identity.to_string(),
            }),
            Event::PublicationReady(ready) => Self::Publication(publication(ready)),
            Event::ExclusivePublicationReady(ready) => Self::Exclusive(publication(ready)),
            Event::OperationSucceeded { correlation_id } => Self::Success(correlation_id.0),
            Event::UnavailableImage { image, subscription, .. } => {
                Self::NoImage { image: image.0, subscription: subscription.0 }
            }
            Event::SubscriptionReady { correlation_id, channel_status_id } => {
                Self::Subscription { id: correlation_id.0, status: *channel_status_id }
            }
            Event::CounterReady { correlation_id, counter_id } => {
                Self::Counter { id: correlation_id.0, counter: *counter_id }
            }
            Event::UnavailableCounter { registration_id, .. } => {
                Self::NoCounter { id: registration_id.0 }
            }
            Event::ClientTimedOut { client_id } => Self::ClientTimeout(client_id.0),
            Event::StaticCounter { correlation_id, counter_id } => {
                Self::StaticCounter { id: correlation_id.0, counter: *counter_id }
            }
            Event::PublicationError(error) => Self::PublicationError {
                id: error.registration_id.0,
                code: error.code,
                text: error.text.to_string(),
            },
            Event::NextAvailableSessionId { correlation_id, session_id } => {
                Self::Session { id: correlation_id.0, session: session_id.0 }
            }
        }
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Self::Error { .. } => "error",
            Self::Image(_) => "image",
            Self::Publication(_) => "publication",
            Self::Exclusive(_) => "exclusive",
            Self::Success(_) => "success",
            Self::NoImage { .. } => "no image",
            Self::Subscription { .. } => "subscription",
            Self::Counter { .. } => "counter",
            Self::NoCounter { .. } => "no counter",
            Self::ClientTimeout(_) => "client timeout",
            Self::StaticCounter { .. } => "static counter",
            Self::PublicationError { .. } => "publication error",
            Self::Session { .. } => "session",
        }
    }
}

/// Kinds of what was seen, in order.
pub fn kinds(seen: &[Seen]) -> Vec<&'static str> {
    seen.iter().map(Seen::kind).collect()
}

/// A world with as many hosts as asked for: 10.0.0.1 and up.
pub fn world(seed: u64, host_count: u8) -> (World, Vec<HostId>) {
    let mut world = World::new(seed);
    let hosts = (1..=host_count)
        .map(|number| world.add_host(&format!("host{number}"), &[IpAddr::from([10, 0, 0, number])]))
        .collect();
    (world, hosts)
}

/// Options of a small driver.
pub fn config(directory: &str) -> Config {
    let mut config = Config::at(directory);
    config.buffers.to_driver_length = (64 << 10) + 768;
    config.buffers.to_clients_length = (64 << 10) + 128;
    config.buffers.counters_values_length = 256 << 10;
    config.buffers.error_log_length = 64 << 10;
    config.buffers.loss_report_length = 16 << 10;
    config.terms.term_length = 64 << 10;
    config.terms.ipc_term_length = 64 << 10;
    config
}

/// Starts a driver whose agents run as if on three threads.
pub fn start(world: &mut World, host: HostId, config: Config) -> ProcessId {
    let now = world.now(host);
    world.spawn(host, |ports| {
        let agents = coracle_driver::launch(config, ports, now).expect("the driver starts");
        vec![agents.conductor, agents.sender, agents.receiver]
    })
}

/// A client of the driver in a directory.
pub struct Client {
    host: HostId,
    ports: Ports,
    commands: RingProducer,
    events: Receiver,
    pub counters: CountersReader,
    pub id: i64,
    heartbeat: Option<Counter>,
    pub seen: Vec<Seen>,
}

impl Client {
    pub fn connect(world: &mut World, host: HostId, directory: &str) -> Self {
        let process = world.spawn(host, |_| Vec::new());
        let ports = world.ports(process);
        let mapping = ports.files.map(&Path::new(directory).join(cnc::FILE_NAME)).unwrap();
        let whole = AtomicBuffer::new(Arc::clone(mapping.region()));
        assert_eq!(whole.load_i32_acquire(cnc::VERSION_OFFSET), cnc::VERSION.0);
        let mut bytes = [0; cnc::HEADER_LENGTH];
        whole.copy_out(0, &mut bytes);
        let sections = Header::decode(&bytes).unwrap().sections(whole.length()).unwrap();
        let section = |section: cnc::Section| whole.slice(section.offset, section.length);
        let commands = RingProducer::new(section(sections.to_driver)).unwrap();
        Self {
            host,
            ports,
            id: commands.next_correlation_id(),
            commands,
            events: Receiver::new(section(sections.to_clients)).unwrap(),
            counters: CountersReader::new(
                section(sections.counters_metadata),
                section(sections.counters_values),
            ),
            heartbeat: None,
            seen: Vec::new(),
        }
    }

    /// Writes a command and returns its correlation id.
    pub fn send(&mut self, request: Request<'_>) -> i64 {
        let correlation_id = CorrelationId(self.commands.next_correlation_id());
        let command = Command { client_id: ClientId(self.id), correlation_id, request };
        let mut bytes = [0; 5000];
        let length = command.encode(&mut bytes).unwrap();
        self.commands.write(command.type_id(), &bytes[..length]).unwrap();
        correlation_id.0
    }

    pub fn send_raw(&self, type_id: i32, body: &[u8]) {
        self.commands.write(type_id, body).unwrap();
    }

    pub fn producer(&self) -> &RingProducer {
        &self.commands
    }

    /// Takes what the driver sent since the last call.
    pub fn receive(&mut self) -> Vec<Seen> {
        let mut new = Vec::new();
        while let Some((type_id, body)) = self.events.receive().unwrap() {
            new.push(Seen::of(&Event::decode(type_id, body).unwrap()));
        }
        for seen in &new {
            if let Seen::Counter { id, counter } = seen
                && *id == self.id
            {
                self.heartbeat = self.counters.writer(*counter, self.id).ok();
            }
        }
        self.seen.extend(new.iter().cloned());
        new
    }

    /// Stores a sign of life, as the wall clock says.
    pub fn keep_alive(&mut self, world: &World) {
        let now_ms = world.now(self.host).epoch_millis();
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.set_release(now_ms);
        }
    }

    /// Runs the world for a while, staying alive.
    pub fn run(&mut self, world: &mut World, span: Nanos) -> Vec<Seen> {
        let end = world.elapsed() + span;
        let mut seen = Vec::new();
        while world.elapsed() < end {
            let step = (end - world.elapsed()).min(Nanos::from_millis(500));
            self.keep_alive(world);
            world.wake(self.host);
            world.run_for(step);
            seen.extend(self.receive());
        }
        seen
    }

    /// Sends a command and returns what was seen until it was surely answered.
    pub fn call(&mut self, world: &mut World, request: Request<'_>) -> (i64, Vec<Seen>) {
        self.receive();
        let id = self.send(request);
        (id, self.run(world, Nanos::from_millis(100)))
    }

    pub fn add_publication(&mut self, world: &mut World, channel: &str) -> Publication {
        let (id, seen) = self.call(world, Request::AddPublication { stream_id: STREAM, channel });
        self.open_publication(id, &seen)
    }

    pub fn add_exclusive(&mut self, world: &mut World, channel: &str) -> Publication {
        let request = Request::AddExclusivePublication { stream_id: STREAM, channel };
        let (id, seen) = self.call(world, request);
        self.open_publication(id, &seen)
    }

    fn open_publication(&self, id: i64, seen: &[Seen]) -> Publication {
        let ready = seen.iter().find_map(|seen| match seen {
            Seen::Publication(ready) | Seen::Exclusive(ready) if ready.id == id => Some(ready),
            _ => None,
        });
        self.open(ready.unwrap_or_else(|| panic!("no publication in {seen:?}")))
    }

    pub fn open(&self, ready: &SeenPublication) -> Publication {
        Publication {
            log: self.map(&ready.log),
            limit: self.counters.reader(ready.limit).unwrap(),
            ready: ready.clone(),
        }
    }

    pub fn add_subscription(&mut self, world: &mut World, channel: &str) -> i64 {
        let (id, seen) = self.call(world, Request::AddSubscription { stream_id: STREAM, channel });
        let is_ready =
            |seen: &Seen| matches!(seen, Seen::Subscription { id: ready, .. } if *ready == id);
        assert!(seen.iter().any(is_ready), "no subscription in {seen:?}");
        id
    }

    /// The images seen for a subscription so far.
    pub fn images(&self, subscription: i64) -> Vec<SeenImage> {
        let of = |seen: &Seen| match seen {
            Seen::Image(image) if image.subscription == subscription => Some(image.clone()),
            _ => None,
        };
        self.seen.iter().filter_map(of).collect()
    }

    /// Opens the only image of a subscription.
    pub fn only_image(&self, subscription: i64) -> Image {
        let images = self.images(subscription);
        assert_eq!(images.len(), 1, "{:?}", self.seen);
        self.open_image(&images[0])
    }

    pub fn open_image(&self, seen: &SeenImage) -> Image {
        Image {
            log: self.map(&seen.log),
            position: self.counters.writer(seen.counter, seen.subscription).unwrap(),
            seen: seen.clone(),
            messages: Vec::new(),
            partial: Vec::new(),
        }
    }

    fn map(&self, path: &str) -> LogBuffer {
        let mapping = self.ports.files.map(&PathBuf::from(path)).unwrap();
        LogBuffer::open(Arc::clone(mapping.region())).unwrap()
    }

    pub fn exists(&self, path: &str) -> bool {
        self.ports.files.entry(Path::new(path)).unwrap().is_some()
    }

    /// The value of a system counter.
    pub fn system(&self, counter: SystemCounter) -> i64 {
        self.counters.reader(CounterId(counter.id())).unwrap().get()
    }

    /// Values of all counters of a type.
    pub fn values(&self, type_id: CounterTypeId) -> Vec<i64> {
        let records = self.counters.records().filter(|record| record.type_id == type_id);
        records.map(|record| record.value).collect()
    }

    /// Labels of all counters of a type.
    pub fn labels(&self, type_id: CounterTypeId) -> Vec<String> {
        let records = self.counters.records().filter(|record| record.type_id == type_id);
        records.map(|record| record.label).collect()
    }
}

/// A publication in a client.
pub struct Publication {
    pub log: LogBuffer,
    pub limit: CounterReader,
    pub ready: SeenPublication,
}

impl Publication {
    pub fn offer(&self, message: &[u8]) -> Result<i64, AppendError> {
        self.log.append(Position(self.limit.get()), &[message], |_, _| 0).map(|position| position.0)
    }

    /// Offers, running the world while it has to.
    pub fn must_offer(&self, client: &mut Client, world: &mut World, message: &[u8]) -> i64 {
        for _ in 0..20_000 {
            match self.offer(message) {
                Ok(position) => return position,
                Err(AppendError::AdminAction) => {}
                Err(AppendError::BackPressured | AppendError::NotConnected) => {
                    client.run(world, Nanos::from_millis(1));
                }
                Err(error) => panic!("{error}"),
            }
        }
        panic!("no progress at {:?}", self.log.producer_position());
    }
}

/// An image in a client.
pub struct Image {
    pub log: LogBuffer,
    pub position: Counter,
    pub seen: SeenImage,
    pub messages: Vec<Vec<u8>>,
    partial: Vec<u8>,
}

impl Image {
    /// Consumes what is there without looking; returns how many fragments.
    pub fn skip(&mut self) -> usize {
        let start = Position(self.position.get());
        let read = self.log.read(start, Position(i64::MAX), usize::MAX, |_, _, _| {});
        self.position.set_release(read.position.0);
        read.fragments
    }

    /// Polls what is there; returns how many fragments.
    pub fn poll(&mut self) -> usize {
        let mut fragments = 0;
        loop {
            let (messages, partial) = (&mut self.messages, &mut self.partial);
            let start = Position(self.position.get());
            let read =
                self.log.read(start, Position(i64::MAX), usize::MAX, |header, payload, _| {
                    if header.has(flags::BEGIN) {
                        partial.clear();
                    }
                    partial.extend_from_slice(payload);
                    if header.has(flags::END) {
                        messages.push(partial.clone());
                    }
                });
            if read.position == start {
                return fragments;
            }
            fragments += read.fragments;
            self.position.set_release(read.position.0);
        }
    }
}

/// A message whose bytes follow from its number.
pub fn message(number: u64, length: usize) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend((8..length).map(|at| (number as usize * 31 + at) as u8));
    bytes.truncate(length.max(8));
    bytes
}
