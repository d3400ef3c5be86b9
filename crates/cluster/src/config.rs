//! Options of a consensus module, with the names under which genuine Aeron reads them.
//!
//! Pure data: read once, by [`Config::check`], into what the module works with.

use std::path::PathBuf;

use consensus::{MemberId, TimeUnit, Timeouts};
use runtime::Nanos;
use runtime::config::{OptionRow, SettingError};
use wire::bytes::SemanticVersion;
use wire::uri::{ChannelUri, UriError};

use crate::channels;
use crate::members::{self, ClusterMember, MembersError};

/// Most services of a member: what the key of the recovery counter holds.
pub const SERVICE_COUNT_MAX: i32 = 10;

/// Default application version of genuine Aeron.
pub const APP_VERSION: SemanticVersion = SemanticVersion::new(0, 0, 1);

runtime::config! {
    /// Who a member is, and where it keeps its files.
    pub struct MemberConfig {
        /// Identity of the cluster among those on one driver.
        cluster_id: i32 = 0, "aeron.cluster.id";
        /// Identity of this member.
        member_id: i32 = 0, "aeron.cluster.member.id";
        /// All members: `id,ingress,consensus,log,catchup,archive` joined by `|`; required.
        members: String = String::new(), "aeron.cluster.members";
        /// The only member that ever stands for election; -1 lets every member.
        appointed_leader_id: i32 = -1, "aeron.cluster.appointed.leader.id";
        /// Directory of recording log and node state.
        directory: PathBuf = PathBuf::from("aeron-cluster"), "aeron.cluster.dir";
        /// Directory of the services' mark files; empty for the module's own.
        services_directory: Option<PathBuf> = None, "aeron.cluster.services.dir";
        /// Directory of the module's mark file; empty for the module's own.
        mark_file_directory: Option<PathBuf> = None, "aeron.cluster.mark.file.dir";
        /// Services of this member: 0 to 10.
        service_count: i32 = 1, "aeron.cluster.service.count";
        /// Whether recording log and node state have logs beside them, by which what was torn or
        /// rotted is told and restored.
        guards: bool = false, "coracle.cluster.guards";
        /// Length in bytes of the error log in the mark file.
        error_buffer_length: i32 = 1 << 20, "aeron.cluster.error.buffer.length";
    }
}

runtime::config! {
    /// Through which streams a member speaks.
    pub struct ChannelsConfig {
        /// Where clients send to; without endpoint it is that of each member; required.
        ingress_channel: String = String::new(), "aeron.cluster.ingress.channel";
        /// Stream of the ingress.
        ingress_stream_id: i32 = 101, "aeron.cluster.ingress.stream.id";
        /// Whether the leader hears clients of its own host without a network too.
        ingress_ipc_allowed: bool = false, "aeron.cluster.ingress.ipc.allowed";
        /// Parameters that override those of every client's response channel.
        egress_channel: Option<String> = None, "aeron.cluster.egress.channel";
        /// The log; without endpoint the leader sends it to each member.
        log_channel: String = String::from("aeron:udp?term-length=64m"),
            "aeron.cluster.log.channel";
        /// Stream of the log.
        log_stream_id: i32 = 100, "aeron.cluster.log.stream.id";
        /// Whether the log is sent from this member's own address.
        log_control_enabled: bool = true, "aeron.cluster.log.control.enable";
        /// What members say to each other.
        consensus_channel: String = String::from("aeron:udp"), "aeron.cluster.consensus.channel";
        /// Stream of what members say to each other.
        consensus_stream_id: i32 = 108, "aeron.cluster.consensus.stream.id";
        /// Whether members speak to each other from their own addresses.
        consensus_control_enabled: bool = true, "aeron.cluster.consensus.control.enable";
        /// Where this member's archive receives what it copies; required.
        replication_channel: String = String::new(), "aeron.cluster.replication.channel";
        /// Where a leader replays to a follower, without its endpoint.
        catchup_channel: String = String::from("aeron:udp"),
            "aeron.cluster.follower.catchup.channel";
        /// Where the leader's archive is asked, without its endpoint.
        leader_archive_control_channel: String = String::from("aeron:udp?term-length=64k"),
            "aeron.cluster.leader.archive.control.channel";
        /// Where recordings are replayed to in this host.
        replay_channel: String = String::from("aeron:ipc"), "aeron.cluster.replay.channel";
        /// Stream of such replays.
        replay_stream_id: i32 = 103, "aeron.cluster.replay.stream.id";
        /// Between module and services, both ways.
        control_channel: String = String::from("aeron:ipc?term-length=128k"),
            "aeron.cluster.control.channel";
        /// Stream from the module to services.
        service_stream_id: i32 = 104, "aeron.cluster.service.stream.id";
        /// Stream from services to the module.
        consensus_module_stream_id: i32 = 105, "aeron.cluster.consensus.module.stream.id";
        /// Where the module writes its snapshot.
        snapshot_channel: String = String::from("aeron:ipc?alias=snapshot"),
            "aeron.cluster.snapshot.channel";
        /// Stream of the module's snapshot.
        snapshot_stream_id: i32 = 107, "aeron.cluster.snapshot.stream.id";
    }
}

runtime::config! {
    /// How much at once.
    pub struct LimitsConfig {
        /// Most client sessions, open and pending.
        max_sessions: i32 = 10, "aeron.cluster.max.sessions";
        /// Fragments of ingress taken in one pass, of each subscription.
        ingress_fragment_limit: i32 = 512, "aeron.cluster.ingress.fragment.limit";
        /// Fragments of the log taken in one pass.
        log_fragment_limit: i32 = 512, "aeron.cluster.log.fragment.limit";
        /// Duty cycles that take longer are counted.
        cycle_threshold: Nanos = Nanos::from_millis(100), "aeron.cluster.cycle.threshold";
        /// Snapshots that take longer are counted.
        total_snapshot_threshold: Nanos = Nanos::from_secs(1),
            "aeron.cluster.total.snapshot.threshold";
    }
}

runtime::config! {
    /// How long to wait for what.
    pub struct TimeoutsConfig {
        /// Silence of the leader, or of a quorum, that begins an election.
        leader_heartbeat_timeout: Nanos = Nanos::from_secs(10),
            "aeron.cluster.leader.heartbeat.timeout";
        /// How often leader and followers speak at least.
        leader_heartbeat_interval: Nanos = Nanos::from_millis(200),
            "aeron.cluster.leader.heartbeat.interval";
        /// How long the first election waits for all members.
        startup_canvass_timeout: Nanos = Nanos::from_secs(60),
            "aeron.cluster.startup.canvass.timeout";
        /// How long a ballot lasts.
        election_timeout: Nanos = Nanos::from_secs(1), "aeron.cluster.election.timeout";
        /// How often positions are reported in an election.
        election_status_interval: Nanos = Nanos::from_millis(100),
            "aeron.cluster.election.status.interval";
        /// Silence of a client that ends its session.
        session_timeout: Nanos = Nanos::from_secs(10), "aeron.cluster.session.timeout";
        /// How long a terminating leader waits for the others.
        termination_timeout: Nanos = Nanos::from_secs(10), "aeron.cluster.termination.timeout";
    }
}

/// All options of a consensus module.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Who it is.
    pub member: MemberConfig,
    /// Through which streams it speaks.
    pub channels: ChannelsConfig,
    /// How much at once.
    pub limits: LimitsConfig,
    /// How long it waits.
    pub timeouts: TimeoutsConfig,
    /// Unit of time stamps in the log: the same on all members.
    pub time_unit: TimeUnit,
    /// Version of the application: members and snapshots of another major version are refused.
    pub app_version: SemanticVersion,
    /// For tests only: rules of consensus that are switched off.
    #[doc(hidden)]
    pub rules: consensus::Rules,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            member: MemberConfig::default(),
            channels: ChannelsConfig::default(),
            limits: LimitsConfig::default(),
            timeouts: TimeoutsConfig::default(),
            time_unit: TimeUnit::Millis,
            app_version: APP_VERSION,
            rules: consensus::Rules::default(),
        }
    }
}

/// Options that do not fit each other or lie outside their bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// An option without default is not set.
    #[error("{0} must be set")]
    Missing(&'static str),
    /// A channel that is none.
    #[error("{property}: {cause}")]
    Channel {
        /// The option.
        property: &'static str,
        /// What is wrong.
        cause: UriError,
    },
    /// See [`MembersError`].
    #[error("aeron.cluster.members: {0}")]
    Members(#[from] MembersError),
    /// A member that is not among the members.
    #[error("{property}={id} is not among the members")]
    Stranger {
        /// The option.
        property: &'static str,
        /// The member.
        id: i32,
    },
    /// The log channel says where the log stands.
    #[error("aeron.cluster.log.channel must not contain init-term-id, term-id or term-offset")]
    LogPosition,
    /// A number out of its bounds.
    #[error("{property}={value}: expected {low} to {high}")]
    Range {
        /// The option.
        property: &'static str,
        /// Its value.
        value: i32,
        /// The lowest allowed.
        low: i32,
        /// The highest allowed.
        high: i32,
    },
    /// A wait that is too short for another.
    #[error("{longer} must be at least {factor} times {shorter}")]
    Timeouts {
        /// The option that is too short.
        longer: &'static str,
        /// How many times.
        factor: i64,
        /// The other option.
        shorter: &'static str,
    },
}

/// What the options say, read: the only thing that the module works with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For the core.
    pub consensus: consensus::Config,
    /// All members by id.
    pub members: Vec<ClusterMember>,
    /// This member.
    pub own: ClusterMember,
    /// Where clients send to.
    pub ingress: ChannelUri,
    /// What overrides their response channels.
    pub egress: Option<ChannelUri>,
    /// The log.
    pub log: ChannelUri,
    /// What members say to each other.
    pub peers: ChannelUri,
    /// Where this archive receives what it copies.
    pub replication: ChannelUri,
    /// Where a leader replays to a follower.
    pub catchup: ChannelUri,
    /// Where the leader's archive is asked.
    pub leader_archive: ChannelUri,
    /// Where recordings are replayed to in this host.
    pub replay: ChannelUri,
    /// Between module and services.
    pub control: ChannelUri,
    /// Where the module writes its snapshot.
    pub snapshot: ChannelUri,
}

impl Config {
    /// Genuine Aeron's waits: leadership moves after ten seconds of silence.
    #[must_use]
    pub fn reference() -> Self {
        Self::default()
    }

    /// Waits for members of one site: leadership moves well within a second.
    #[must_use]
    pub fn fast() -> Self {
        let timeouts = TimeoutsConfig::from(Timeouts::fast());
        Self { timeouts, ..Self::default() }
    }

    /// Sets the option with this property name, whichever group it is in.
    ///
    /// # Errors
    /// No option has the name, or the text is no value of it.
    pub fn set(&mut self, property: &str, text: &str) -> Result<(), SettingError> {
        let mut result = self.member.set(property, text);
        let unknown = |result: &Result<(), _>| matches!(result, Err(SettingError::Unknown(_)));
        if unknown(&result) {
            result = self.channels.set(property, text);
        }
        if unknown(&result) {
            result = self.limits.set(property, text);
        }
        if unknown(&result) {
            result = self.timeouts.set(property, text);
        }
        result
    }

    /// Every option with its default.
    #[must_use]
    pub fn options() -> Vec<OptionRow> {
        let mut rows = MemberConfig::options();
        rows.extend(ChannelsConfig::options());
        rows.extend(LimitsConfig::options());
        rows.extend(TimeoutsConfig::options());
        rows
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn check(&self) -> Result<Settings, ConfigError> {
        let c = &self.channels;
        let log = channel("aeron.cluster.log.channel", &c.log_channel)?;
        if !channels::is_log_channel(&log) {
            return Err(ConfigError::LogPosition);
        }
        let (members, own) = self.members()?;
        let egress = c.egress_channel.as_deref();
        Ok(Settings {
            consensus: self.consensus(&members, &log)?,
            members,
            own,
            ingress: channel("aeron.cluster.ingress.channel", &c.ingress_channel)?,
            egress: egress.map(|it| channel("aeron.cluster.egress.channel", it)).transpose()?,
            log,
            peers: channel("aeron.cluster.consensus.channel", &c.consensus_channel)?,
            replication: channel("aeron.cluster.replication.channel", &c.replication_channel)?,
            catchup: channel("aeron.cluster.follower.catchup.channel", &c.catchup_channel)?,
            leader_archive: channel(
                "aeron.cluster.leader.archive.control.channel",
                &c.leader_archive_control_channel,
            )?,
            replay: channel("aeron.cluster.replay.channel", &c.replay_channel)?,
            control: channel("aeron.cluster.control.channel", &c.control_channel)?,
            snapshot: channel("aeron.cluster.snapshot.channel", &c.snapshot_channel)?,
        })
    }

    fn members(&self) -> Result<(Vec<ClusterMember>, ClusterMember), ConfigError> {
        let property = "aeron.cluster.members";
        if self.member.members.is_empty() {
            return Err(ConfigError::Missing(property));
        }
        let all = members::parse(&self.member.members)?;
        let id = self.member.member_id;
        let own = all.iter().find(|member| member.id.0 == id).cloned();
        let own = own.ok_or(ConfigError::Stranger { property: "aeron.cluster.member.id", id })?;
        Ok((all, own))
    }

    fn consensus(
        &self,
        members: &[ClusterMember],
        log: &ChannelUri,
    ) -> Result<consensus::Config, ConfigError> {
        let ids: Vec<MemberId> = members.iter().map(|member| member.id).collect();
        let appointed = MemberId(self.member.appointed_leader_id);
        let appointed_leader = (appointed.0 != -1).then_some(appointed);
        if appointed_leader.is_some_and(|id| !ids.contains(&id)) {
            let property = "aeron.cluster.appointed.leader.id";
            return Err(ConfigError::Stranger { property, id: appointed.0 });
        }
        let services = self.member.service_count;
        let sessions = self.limits.max_sessions;
        let property = "aeron.cluster.log.channel";
        let stated = log.term_length().map_err(|cause| ConfigError::Channel { property, cause })?;
        let mut config = consensus::Config::new(MemberId(self.member.member_id), ids);
        config.appointed_leader = appointed_leader;
        config.service_count =
            in_range("aeron.cluster.service.count", services, 0, SERVICE_COUNT_MAX)?;
        config.sessions_max = in_range("aeron.cluster.max.sessions", sessions, 1, i32::MAX)?;
        config.timeouts = self.timeouts.check()?;
        config.time_unit = self.time_unit;
        config.app_version = self.app_version.0;
        config.rules = self.rules;
        config.ingress_endpoints = members::ingress_endpoints(members);
        config.log_term_length = stated.unwrap_or(config.log_term_length);
        Ok(config)
    }
}

impl TimeoutsConfig {
    fn check(&self) -> Result<Timeouts, ConfigError> {
        let least = |longer, value: Nanos, factor: i64, shorter, other: Nanos| {
            let fits = other.0 > 0 && value.0 / factor >= other.0;
            if fits { Ok(()) } else { Err(ConfigError::Timeouts { longer, factor, shorter }) }
        };
        let silence = "aeron.cluster.leader.heartbeat.timeout";
        let interval = "aeron.cluster.leader.heartbeat.interval";
        let canvass = "aeron.cluster.startup.canvass.timeout";
        let (ballot, status) =
            ("aeron.cluster.election.timeout", "aeron.cluster.election.status.interval");
        let beat = self.leader_heartbeat_interval;
        least(silence, self.leader_heartbeat_timeout, 2, interval, beat)?;
        least(canvass, self.startup_canvass_timeout, 2, silence, self.leader_heartbeat_timeout)?;
        least(ballot, self.election_timeout, 2, status, self.election_status_interval)?;
        Ok(Timeouts {
            leader_heartbeat_timeout: self.leader_heartbeat_timeout,
            leader_heartbeat_interval: self.leader_heartbeat_interval,
            startup_canvass_timeout: self.startup_canvass_timeout,
            election_timeout: self.election_timeout,
            election_status_interval: self.election_status_interval,
            session_timeout: self.session_timeout,
            termination_timeout: self.termination_timeout,
        })
    }
}

impl From<Timeouts> for TimeoutsConfig {
    fn from(timeouts: Timeouts) -> Self {
        Self {
            leader_heartbeat_timeout: timeouts.leader_heartbeat_timeout,
            leader_heartbeat_interval: timeouts.leader_heartbeat_interval,
            startup_canvass_timeout: timeouts.startup_canvass_timeout,
            election_timeout: timeouts.election_timeout,
            election_status_interval: timeouts.election_status_interval,
            session_timeout: timeouts.session_timeout,
            termination_timeout: timeouts.termination_timeout,
        }
    }
}

fn channel(property: &'static str, text: &str) -> Result<ChannelUri, ConfigError> {
    if text.is_empty() {
        return Err(ConfigError::Missing(property));
    }
    ChannelUri::parse(text).map_err(|cause| ConfigError::Channel { property, cause })
}

fn in_range(property: &'static str, value: i32, low: i32, high: i32) -> Result<usize, ConfigError> {
    let error = ConfigError::Range { property, value, low, high };
    if (low..=high).contains(&value) {
        usize::try_from(value).map_err(|_| error)
    } else {
        Err(error)
    }
}

#[cfg(test)]
mod tests;
