//! Starts a driver: directory, lock, shared files, agents.
//!
//! A directory that another driver left behind is taken over only when that driver is dead: its
//! lock is free and names the driver of `cnc.dat`, or its heartbeat is old (genuine rule).

mod directory;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use memory::broadcast::Transmitter;
use memory::buffer::AtomicBuffer;
use memory::counters::CountersManager;
use memory::error_log::ErrorLog;
use memory::loss_report::LossReport;
use memory::ring::{RingConsumer, RingLengthError};
use runtime::agent::Together;
use runtime::{Agent, Now, Ports};
use wire::cnc::{self, HeaderError, Sections};
use wire::counters::{CounterTypeId, DRIVER_OWNER_ID, Key, SystemCounter};

use crate::conductor::desk::Desk;
use crate::conductor::logs::Logs;
use crate::conductor::{Conductor, Parts};
use crate::config::{Config, ConfigError};
use crate::queue::queue;
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::system::SystemCounters;

/// The version of the control protocol that clients read from its counter: 1.0.0.
const CONTROL_PROTOCOL_VERSION: cnc::PackedVersion = cnc::PackedVersion::new(1, 0, 0);
/// The version of Aeron that this driver is compatible with.
const SOFTWARE_VERSION: cnc::PackedVersion = cnc::PackedVersion::new(1, 53, 0);

/// Why a driver was not started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Two options contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another driver lives in the directory.
    #[error("an active driver was found in {}", .0.display())]
    Active(PathBuf),
    /// The lengths of the buffers do not make a file.
    #[error(transparent)]
    Lengths(#[from] HeaderError),
    /// The same, of a single buffer.
    #[error(transparent)]
    Length(#[from] RingLengthError),
    /// The counters do not hold even the system's own.
    #[error("counters: {0}")]
    Counters(#[from] memory::counters::CounterError),
    /// The host refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// What was worked on.
        path: PathBuf,
        /// What the host said.
        error: io::Error,
    },
}

/// The three agents of a driver, to be run on one thread or on several.
pub struct DriverAgents {
    /// Commands, life cycles, limits.
    pub conductor: Box<dyn Agent>,
    /// Data out.
    pub sender: Box<dyn Agent>,
    /// Data in.
    pub receiver: Box<dyn Agent>,
}

impl DriverAgents {
    /// All three as one agent.
    #[must_use]
    pub fn together(self) -> Together {
        Together::new("driver", vec![self.sender, self.receiver, self.conductor])
    }

    /// The conductor apart, sender and receiver as one agent.
    #[must_use]
    pub fn network_together(self) -> (Box<dyn Agent>, Together) {
        let network = Together::new("sender-receiver", vec![self.sender, self.receiver]);
        (self.conductor, network)
    }
}

/// Makes the shared files and the agents of a driver. When it returns, clients may connect.
///
/// `now` is what the clocks show: the start time that clients read, and whether another driver's
/// heartbeat is old.
///
/// # Errors
/// See [`LaunchError`]; what was made by then is left in the directory.
pub fn launch(config: Config, ports: &Ports, now: Now) -> Result<DriverAgents, LaunchError> {
    config.check()?;
    let lock = directory::prepare(&config, ports, now)?;
    let io_error = |path: &PathBuf| {
        let path = path.clone();
        move |error| LaunchError::Io { path, error }
    };
    let header = cnc::Header {
        lengths: cnc::BufferLengths {
            to_driver: config.buffers.to_driver_length,
            to_clients: config.buffers.to_clients_length,
            counters_metadata: config.buffers.counters_values_length.saturating_mul(4),
            counters_values: config.buffers.counters_values_length,
            error_log: config.buffers.error_log_length,
        },
        client_liveness_timeout_ns: config.timeouts.client_liveness.0,
        start_timestamp_ms: now.epoch_millis(),
        pid: ports.process_id,
        file_page_size: config.directory.file_page_size,
    };
    let sections = header.lengths.sections()?;
    let page = u64::from(config.directory.file_page_size.unsigned_abs()).max(1);
    let path = config.directory.path.join(cnc::FILE_NAME);
    let length = (sections.end() as u64).next_multiple_of(page);
    let mapping = ports.files.create_mapped(&path, length, false).map_err(io_error(&path))?;
    let whole = AtomicBuffer::new(Arc::clone(mapping.region()));
    whole.copy_in(0, &header.to_bytes());
    let loss_path = config.directory.path.join(wire::loss_report::FILE_NAME);
    let loss_length = u64::from(config.buffers.loss_report_length.unsigned_abs());
    let loss =
        ports.files.create_mapped(&loss_path, loss_length, false).map_err(io_error(&loss_path))?;
    let loss_report = LossReport::new(AtomicBuffer::new(Arc::clone(loss.region())));
    let agents = assemble(config, ports, (&whole, &sections), loss_report, lock, now)?;
    // Release: everything above is in place before a client sees the version.
    whole.store_i32_release(cnc::VERSION_OFFSET, cnc::VERSION.0);
    Ok(agents)
}

fn assemble(
    config: Config,
    ports: &Ports,
    (whole, sections): (&AtomicBuffer, &Sections),
    loss_report: LossReport,
    lock: directory::Lock,
    now: Now,
) -> Result<DriverAgents, LaunchError> {
    let section = |section: cnc::Section| whole.slice(section.offset, section.length);
    let values = section(sections.counters_values);
    let mut counters = CountersManager::new(
        section(sections.counters_metadata),
        values.clone(),
        config.timeouts.counter_reuse.as_millis(),
    );
    allocate_system_counters(&mut counters, &config, now)?;
    let system = SystemCounters::new(values);
    let mut commands = RingConsumer::new(section(sections.to_driver))?;
    // Correlation id 0 belongs to nobody.
    let _zero = commands.producer().next_correlation_id();
    commands.set_heartbeat_ms(now.epoch_millis());
    let desk = Desk::new(
        Transmitter::new(section(sections.to_clients))?,
        counters,
        system.clone(),
        ErrorLog::new(section(sections.error_log)),
    );
    let (to_sender, sender_inbox) = queue(SystemCounter::SenderProxyFails, &system);
    let (to_receiver, receiver_inbox) = queue(SystemCounter::ReceiverProxyFails, &system);
    let (sender_events, inbox) = queue(SystemCounter::ConductorProxyFails, &system);
    let receiver_events = sender_events.another();
    let sender = Sender::new(&config, sender_inbox, sender_events, system.clone());
    let inboxes = (receiver_inbox, receiver_events);
    let receiver = Receiver::new(&config, inboxes, loss_report, system.clone());
    let files = Arc::clone(&ports.files);
    let logs = Logs::new(Arc::clone(&files), ports.background(), &config.directory, system);
    let conductor = Conductor::new(Parts {
        network: Arc::clone(&ports.network),
        files,
        commands,
        desk,
        logs,
        to_sender,
        to_receiver,
        inbox,
        rng: ports.rng("driver conductor"),
        lock,
        config,
    });
    Ok(DriverAgents {
        conductor: Box::new(conductor),
        sender: Box::new(sender),
        receiver: Box::new(receiver),
    })
}

fn allocate_system_counters(
    counters: &mut CountersManager,
    config: &Config,
    now: Now,
) -> Result<(), LaunchError> {
    for counter in SystemCounter::ALL {
        let id = counter.id();
        let label = system_label(counter, config);
        let key = Key::of_i32(id);
        let mut allocated =
            counters.allocate_keyed(CounterTypeId::SYSTEM, &key, &label, now.epoch_millis())?;
        allocated.identify(i64::from(id), DRIVER_OWNER_ID, 0);
        allocated.set_release(match counter {
            SystemCounter::Version => i64::from(SOFTWARE_VERSION.0),
            SystemCounter::ControlProtocolVersion => i64::from(CONTROL_PROTOCOL_VERSION.0),
            _ => 0,
        });
    }
    Ok(())
}

/// Labels end in what only a driver knows.
fn system_label(counter: SystemCounter, config: &Config) -> String {
    let label = counter.label();
    let mode = &config.agents.threading_mode;
    let threshold = |span: runtime::Nanos| runtime::config::Setting::show(&span);
    let version = "version=1.53.0 commit=coracle";
    match counter {
        SystemCounter::Errors | SystemCounter::Version => format!("{label}: {version}"),
        SystemCounter::ConductorMaxCycleTime
        | SystemCounter::SenderMaxCycleTime
        | SystemCounter::ReceiverMaxCycleTime => format!("{label}: {mode}"),
        SystemCounter::ConductorCycleTimeThresholdExceeded => {
            format!(
                "{label}: threshold={} {mode}",
                threshold(config.agents.conductor_cycle_threshold)
            )
        }
        SystemCounter::SenderCycleTimeThresholdExceeded => {
            format!("{label}: threshold={} {mode}", threshold(config.agents.sender_cycle_threshold))
        }
        SystemCounter::ReceiverCycleTimeThresholdExceeded => {
            format!(
                "{label}: threshold={} {mode}",
                threshold(config.agents.receiver_cycle_threshold)
            )
        }
        SystemCounter::NameResolverTimeThresholdExceeded => {
            format!("{label}: threshold={}", threshold(config.agents.name_resolver_threshold))
        }
        _ => label.to_string(),
    }
}
