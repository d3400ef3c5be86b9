//! Options of the driver, grouped, each with Aeron's property name.
//!
//! A value is checked when it is parsed; what two options say together is checked once, by
//! [`Config::check`], before anything is launched.

use std::path::PathBuf;

use runtime::Nanos;
use runtime::config;
use runtime::config::{OptionRow, Setting, SettingError};
use runtime::idle::IdleStrategy;
use wire::position::is_term_length;

/// Everything that a driver can be told. Immutable after launch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Where it lives on disk.
    pub directory: DirectoryConfig,
    /// Lengths of the buffers that it shares with clients.
    pub buffers: BufferConfig,
    /// Terms and windows.
    pub terms: TermConfig,
    /// Time-outs and intervals.
    pub timeouts: TimeoutConfig,
    /// Subscribers that are not tethered.
    pub untethered: UntetheredConfig,
    /// Sockets and ports.
    pub sockets: SocketConfig,
    /// Flow control and re-sends.
    pub flow: FlowConfig,
    /// Loss detection and congestion control.
    pub loss: LossConfig,
    /// Defaults of subscriptions.
    pub subscriptions: SubscriptionConfig,
    /// The agents.
    pub agents: AgentConfig,
}

/// Options of two groups that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{first} and {second} contradict each other: {cause}")]
pub struct ConfigError {
    /// One option.
    pub first: &'static str,
    /// The other.
    pub second: &'static str,
    /// What must hold between them.
    pub cause: &'static str,
}

macro_rules! groups {
    ($($field:ident: $Type:ident),* $(,)?) => {
        impl Config {
            /// Sets the option with this property name, in whichever group it is.
            ///
            /// # Errors
            /// No option has the name, or the text is no value of it.
            pub fn set(&mut self, property: &str, text: &str) -> Result<(), SettingError> {
                $(match self.$field.set(property, text) {
                    Err(SettingError::Unknown(_)) => {}
                    other => return other,
                })*
                Err(SettingError::Unknown(property.to_string()))
            }

            /// Every option with its default.
            #[must_use]
            pub fn options() -> Vec<OptionRow> {
                [$($Type::options()),*].concat()
            }
        }
    };
}

groups! {
    directory: DirectoryConfig, buffers: BufferConfig, terms: TermConfig, timeouts: TimeoutConfig,
    untethered: UntetheredConfig, sockets: SocketConfig, flow: FlowConfig, loss: LossConfig,
    subscriptions: SubscriptionConfig, agents: AgentConfig,
}

impl Config {
    /// A driver in this directory, otherwise with defaults.
    #[must_use]
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        let mut config = Self::default();
        config.directory.path = directory.into();
        config
    }

    /// Checks what no single option can check.
    ///
    /// # Errors
    /// The first pair that contradicts.
    pub fn check(&self) -> Result<(), ConfigError> {
        let (timeouts, untethered) = (&self.timeouts, &self.untethered);
        let liveness = "aeron.client.liveness.timeout";
        let unblock = "aeron.publication.unblock.timeout";
        let interval = "aeron.timer.interval";
        let length = "aeron.term.buffer.length";
        let larger = "the first must be larger";
        let pairs = [
            (timeouts.publication_unblock > timeouts.client_liveness, unblock, liveness, larger),
            (timeouts.publication_unblock > timeouts.timer_interval, unblock, interval, larger),
            (
                untethered.window_limit > timeouts.timer_interval
                    && untethered.resting > timeouts.timer_interval,
                "aeron.untethered.*",
                interval,
                larger,
            ),
            (is_term_length(self.terms.term_length), length, length, "a power of two is needed"),
            (
                is_term_length(self.terms.ipc_term_length),
                "aeron.ipc.term.buffer.length",
                length,
                "a power of two is needed",
            ),
        ];
        let wrong = pairs.into_iter().find(|(holds, ..)| !holds);
        wrong.map_or(Ok(()), |(_, first, second, cause)| Err(ConfigError { first, second, cause }))
    }
}

/// The directory in which drivers of this user are looked for when none is named.
#[must_use]
pub fn default_directory() -> PathBuf {
    let user = std::env::var("USER").unwrap_or_else(|_| "root".to_string());
    PathBuf::from(format!("/dev/shm/aeron-{user}"))
}

config! {
    /// Where the driver lives on disk.
    pub struct DirectoryConfig {
        /// The directory.
        path: PathBuf = default_directory(), "aeron.dir";
        /// Whether a directory found at start is mentioned in the error log.
        warn_if_exists: bool = false, "aeron.dir.warn.if.exists";
        /// Whether a directory found at start is removed though its driver may live.
        delete_on_start: bool = false, "aeron.dir.delete.on.start";
        /// Whether the directory is removed when the driver closes.
        delete_on_shutdown: bool = false, "aeron.dir.delete.on.shutdown";
        /// Whether space is checked before a log is made.
        perform_storage_checks: bool = true, "aeron.perform.storage.checks";
        /// Free bytes below which a new log is followed by a warning.
        low_storage_warning: u64 = 160 << 20, "aeron.low.file.store.warning.threshold";
        /// Lengths of files are multiples of it.
        file_page_size: i32 = 4096, "aeron.file.page.size";
    }
}

config! {
    /// Lengths of the buffers that the driver shares with clients, in bytes.
    pub struct BufferConfig {
        /// The ring of commands, trailer included.
        to_driver_length: i32 = (1 << 20) + 768, "aeron.conductor.buffer.length";
        /// The broadcast of events, trailer included.
        to_clients_length: i32 = (1 << 20) + 128, "aeron.clients.buffer.length";
        /// Values of counters; their metadata takes four times as much.
        counters_values_length: i32 = 8 << 20, "aeron.counters.buffer.length";
        /// The distinct error log.
        error_log_length: i32 = 4 << 20, "aeron.error.buffer.length";
        /// The loss report.
        loss_report_length: i32 = 1 << 20, "aeron.loss.report.buffer.length";
    }
}

config! {
    /// Terms, windows and session ids.
    pub struct TermConfig {
        /// Bytes of a term of a network publication.
        term_length: i32 = 16 << 20, "aeron.term.buffer.length";
        /// Bytes of a term of an IPC publication.
        ipc_term_length: i32 = 64 << 20, "aeron.ipc.term.buffer.length";
        /// Whether log files are sparse.
        sparse: bool = true, "aeron.term.buffer.sparse.file";
        /// Longest datagram of a network publication.
        mtu: i32 = 1408, "aeron.mtu.length";
        /// Longest fragment of an IPC publication, header included.
        ipc_mtu: i32 = 1408, "aeron.ipc.mtu.length";
        /// How far a network publisher may be ahead; 0 for half a term.
        publication_window: i32 = 0, "aeron.publication.term.window.length";
        /// How far an IPC publisher may be ahead; 0 for half a term.
        ipc_publication_window: i32 = 0, "aeron.ipc.publication.term.window.length";
        /// How far a sender may be ahead of a receiver.
        receiver_window: i32 = 128 << 10, "aeron.rcv.initial.window.length";
        /// First session id that is never given out unasked.
        reserved_session_low: i32 = -1, "aeron.publication.reserved.session.id.low";
        /// Last session id that is never given out unasked.
        reserved_session_high: i32 = 1000, "aeron.publication.reserved.session.id.high";
    }
}

config! {
    /// Time-outs and intervals.
    pub struct TimeoutConfig {
        /// How often life cycles are looked at.
        timer_interval: Nanos = Nanos::from_secs(1), "aeron.timer.interval";
        /// A client that is silent for longer is gone.
        client_liveness: Nanos = Nanos::from_secs(10), "aeron.client.liveness.timeout";
        /// An image without packets for longer is gone.
        image_liveness: Nanos = Nanos::from_secs(10), "aeron.image.liveness.timeout";
        /// How long a drained publication stays.
        publication_linger: Nanos = Nanos::from_secs(5), "aeron.publication.linger.timeout";
        /// A publication that is stuck for longer is unblocked.
        publication_unblock: Nanos = Nanos::from_secs(15), "aeron.publication.unblock.timeout";
        /// A receiver that is silent for longer is gone.
        publication_connection: Nanos = Nanos::from_secs(5),
            "aeron.publication.connection.timeout";
        /// The longest time between status messages.
        status_message: Nanos = Nanos::from_millis(200), "aeron.rcv.status.message.timeout";
        /// How long a freed counter rests.
        counter_reuse: Nanos = Nanos::from_secs(1), "aeron.counters.free.to.reuse.timeout";
        /// A driver whose heartbeat is older is gone.
        driver: Nanos = Nanos::from_secs(10), "aeron.driver.timeout";
        /// How often names of silent destinations are resolved anew; 0 for never.
        reresolution_check: Nanos = Nanos::from_secs(1),
            "aeron.driver.reresolution.check.interval";
    }
}

config! {
    /// Subscribers that are not tethered.
    pub struct UntetheredConfig {
        /// How long one may be behind the window.
        window_limit: Nanos = Nanos::from_secs(5), "aeron.untethered.window.limit.timeout";
        /// How long it then still holds the flow; as the window limit when unset.
        linger: Option<Nanos> = None, "aeron.untethered.linger.timeout";
        /// How long it then rests.
        resting: Nanos = Nanos::from_secs(10), "aeron.untethered.resting.timeout";
    }
}

config! {
    /// Sockets and ports.
    pub struct SocketConfig {
        /// Kernel send buffer asked for; 0 leaves the default.
        send_buffer_length: usize = 0, "aeron.socket.so_sndbuf";
        /// Kernel receive buffer asked for; 0 leaves the default.
        receive_buffer_length: usize = 128 << 10, "aeron.socket.so_rcvbuf";
        /// Time to live of multicast datagrams; 0 leaves the default.
        multicast_ttl: u8 = 0, "aeron.socket.multicast.ttl";
        /// Ports for endpoints of subscriptions that name port 0.
        receiver_ports: PortRange = PortRange::ANY, "aeron.receiver.wildcard.port.range";
        /// Ports for control addresses of publications that name port 0.
        sender_ports: PortRange = PortRange::ANY, "aeron.sender.wildcard.port.range";
        /// Busy passes of the sender between two polls of its sockets.
        status_poll_ratio: u32 = 6, "aeron.send.to.status.poll.ratio";
        /// Most datagrams of one publication in one send.
        send_batch: usize = 64, "coracle.sender.batch";
        /// Most datagrams taken from one socket in one pass.
        receive_batch: usize = 64, "coracle.receiver.batch";
        /// Most sessions of one stream at one endpoint.
        stream_session_limit: i32 = i32::MAX, "aeron.driver.stream.session.limit";
    }
}

config! {
    /// Flow control and re-sends.
    pub struct FlowConfig {
        /// Strategy of publications with many receivers that name none.
        group_strategy: GroupStrategy = GroupStrategy::Max, "coracle.multicast.flow.control";
        /// Receiver windows that a re-send may span, one receiver.
        unicast_retransmit_windows: i32 = 16, "aeron.unicast.flow.control.rrwm";
        /// Receiver windows that a re-send may span, many receivers.
        multicast_retransmit_windows: i32 = 4, "aeron.multicast.flow.control.rrwm";
        /// Tag that receivers must carry under tagged flow control.
        group_tag: i64 = -1, "aeron.flow.control.group.tag";
        /// Receivers needed before a publication is connected.
        group_min_size: i32 = 0, "aeron.flow.control.group.min.size";
        /// A receiver that is silent for longer no longer counts.
        receiver_timeout: Nanos = Nanos::from_secs(5), "aeron.flow.control.receiver.timeout";
        /// Re-sends of one publication at a time, many receivers.
        max_resend: i32 = 16, "aeron.max.resend";
        /// Wait between a NAK and the re-send.
        retransmit_delay: Nanos = Nanos(0), "aeron.retransmit.unicast.delay";
        /// Time after a re-send in which further NAKs for its range are ignored.
        retransmit_linger: Nanos = Nanos::from_millis(10), "aeron.retransmit.unicast.linger";
    }
}

config! {
    /// Loss detection and congestion control.
    pub struct LossConfig {
        /// Wait before a gap is reported, one receiver.
        nak_unicast_delay: Nanos = Nanos::from_micros(1), "aeron.nak.unicast.delay";
        /// Times the delay until it is reported again.
        nak_unicast_retry_ratio: i64 = 100, "aeron.nak.unicast.retry.delay.ratio";
        /// Receivers assumed in a group.
        nak_multicast_group_size: u32 = 10, "aeron.nak.multicast.group.size";
        /// Longest wait before a gap is reported, in a group.
        nak_multicast_max_backoff: Nanos = Nanos::from_millis(10),
            "aeron.nak.multicast.max.backoff";
        /// Round trip assumed by cubic before one was measured.
        cubic_initial_rtt: Nanos = Nanos::from_micros(100),
            "aeron.CubicCongestionControl.initialRtt";
        /// Whether cubic measures the round trip.
        cubic_measure_rtt: bool = false, "aeron.CubicCongestionControl.measureRtt";
        /// Whether cubic grows at least as TCP would.
        cubic_tcp_mode: bool = false, "aeron.CubicCongestionControl.tcpMode";
    }
}

config! {
    /// Defaults of subscriptions and spies.
    pub struct SubscriptionConfig {
        /// Whether spies count as connections of a publication.
        spies_simulate_connection: bool = false, "aeron.spies.simulate.connection";
        /// Whether losses are repaired.
        reliable: bool = true, "aeron.reliable.stream";
        /// Whether a subscriber holds back the flow.
        tether: bool = true, "aeron.tether.subscriptions";
        /// Whether a stream is joined again after its image went.
        rejoin: bool = true, "aeron.rejoin.stream";
        /// Whether a receiver regards itself as one of a group.
        group: GroupChoice = GroupChoice::Infer, "aeron.receiver.group.consideration";
        /// Tag of this driver's receivers.
        group_tag: Option<i64> = None, "aeron.receiver.group.tag";
    }
}

config! {
    /// The agents.
    pub struct AgentConfig {
        /// A conductor pass that takes longer is counted.
        conductor_cycle_threshold: Nanos = Nanos::from_millis(100),
            "aeron.driver.conductor.cycle.threshold";
        /// A sender pass that takes longer is counted.
        sender_cycle_threshold: Nanos = Nanos::from_millis(100),
            "aeron.driver.sender.cycle.threshold";
        /// A receiver pass that takes longer is counted.
        receiver_cycle_threshold: Nanos = Nanos::from_millis(100),
            "aeron.driver.receiver.cycle.threshold";
        /// A name resolution that takes longer is counted.
        name_resolver_threshold: Nanos = Nanos::from_secs(5),
            "aeron.name.resolver.threshold";
        /// Who may end the driver by command.
        termination: Termination = Termination::Deny, "aeron.driver.termination.validator";
        /// How the agents are spread over threads: `SHARED`, `SHARED_NETWORK`, `DEDICATED`.
        threading_mode: String = "SHARED".to_string(), "aeron.threading.mode";
        /// How the thread of all agents idles: `wait` sleeps until a datagram comes.
        shared_idle: IdleStrategy = IdleStrategy::WAIT, "aeron.shared.idle.strategy";
        /// How the thread of sender and receiver idles.
        shared_network_idle: IdleStrategy = IdleStrategy::WAIT,
            "aeron.sharednetwork.idle.strategy";
        /// How the conductor's own thread idles.
        conductor_idle: IdleStrategy = IdleStrategy::BACKOFF, "aeron.conductor.idle.strategy";
        /// How the sender's own thread idles.
        sender_idle: IdleStrategy = IdleStrategy::BACKOFF, "aeron.sender.idle.strategy";
        /// How the receiver's own thread idles.
        receiver_idle: IdleStrategy = IdleStrategy::WAIT, "aeron.receiver.idle.strategy";
    }
}

/// Ports to choose from, both included; zeros leave the choice to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The first.
    pub low: u16,
    /// The last.
    pub high: u16,
}

impl PortRange {
    /// The host chooses.
    pub const ANY: Self = Self { low: 0, high: 0 };

    /// Whether the host chooses.
    #[must_use]
    pub const fn is_any(self) -> bool {
        self.low == 0 && self.high == 0
    }
}

impl Setting for PortRange {
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split_ascii_whitespace().map(str::parse);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(Ok(low)), Some(Ok(high)), None) if low <= high => Ok(Self { low, high }),
            _ => Err("expected two ports, low and high".to_string()),
        }
    }

    fn show(&self) -> String {
        format!("{} {}", self.low, self.high)
    }
}

/// Flow control of publications with many receivers that name none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupStrategy {
    /// The fastest receiver sets the pace.
    Max,
    /// The slowest receiver sets the pace.
    Min,
    /// The slowest receiver that carries the tag sets the pace.
    Tagged,
}

impl Setting for GroupStrategy {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "max" => Ok(Self::Max),
            "min" => Ok(Self::Min),
            "tagged" => Ok(Self::Tagged),
            _ => Err("expected max, min or tagged".to_string()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Max => "max",
            Self::Min => "min",
            Self::Tagged => "tagged",
        }
        .to_string()
    }
}

/// Whether a receiver regards itself as one of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupChoice {
    /// Always.
    Yes,
    /// Never.
    No,
    /// As the channel or the sender says.
    Infer,
}

impl Setting for GroupChoice {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "force_true" => Ok(Self::Yes),
            "false" | "force_false" => Ok(Self::No),
            "infer" => Ok(Self::Infer),
            _ => Err("expected true, false or infer".to_string()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Yes => "true",
            Self::No => "false",
            Self::Infer => "infer",
        }
        .to_string()
    }
}

/// Who may end the driver by command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Termination {
    /// Nobody.
    Deny,
    /// Every client.
    Allow,
    /// Whoever shows this token.
    Token(String),
}

impl Termination {
    /// Whether a request with this token is granted.
    #[must_use]
    pub fn permits(&self, token: &[u8]) -> bool {
        match self {
            Self::Deny => false,
            Self::Allow => true,
            Self::Token(expected) => expected.as_bytes() == token,
        }
    }
}

impl Setting for Termination {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "deny" => Ok(Self::Deny),
            "allow" => Ok(Self::Allow),
            _ => text
                .strip_prefix("token:")
                .map(|token| Self::Token(token.to_string()))
                .ok_or_else(|| "expected deny, allow or token:<text>".to_string()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Deny => "deny".to_string(),
            Self::Allow => "allow".to_string(),
            Self::Token(token) => format!("token:{token}"),
        }
    }
}

/// The window of a publication: given, or from the default, never more than half a term.
#[must_use]
pub(crate) fn publication_window(term_length: i32, given: Option<i32>, default: i32) -> i32 {
    match (given, default) {
        (Some(window), _) => window.min(term_length / 2),
        (None, 0) => term_length / 2,
        (None, window) => window.min(term_length / 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_set_in_whichever_group_it_is() {
        let mut config = Config::default();
        config.set("aeron.term.buffer.length", "64k").unwrap();
        config.set("aeron.receiver.wildcard.port.range", "20000 20010").unwrap();
        assert_eq!(config.terms.term_length, 65_536);
        assert_eq!(config.sockets.receiver_ports, PortRange { low: 20_000, high: 20_010 });
        assert!(matches!(config.set("aeron.nothing", "1"), Err(SettingError::Unknown(_))));
    }

    #[test]
    fn every_default_survives_being_written_and_read() {
        let mut config = Config::default();
        for row in Config::options() {
            config.set(row.property, &row.default).unwrap();
        }
        assert_eq!(config, Config::default());
    }

    #[test]
    fn contradictions_name_both_options() {
        let mut config = Config::default();
        assert_eq!(config.check(), Ok(()));
        config.timeouts.publication_unblock = config.timeouts.client_liveness;
        let error = config.check().unwrap_err();
        assert_eq!(error.first, "aeron.publication.unblock.timeout");
        assert_eq!(error.second, "aeron.client.liveness.timeout");
    }

    #[test]
    fn a_window_is_at_most_half_a_term() {
        assert_eq!(publication_window(65_536, None, 0), 32_768);
        assert_eq!(publication_window(65_536, None, 4096), 4096);
        assert_eq!(publication_window(65_536, Some(65_536), 4096), 32_768);
    }
}
