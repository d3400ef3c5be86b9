//! The few values that a node is made of, and what follows from them.
//!
//! Pure: the same settings give the same [`Config`] on every machine.

use std::path::PathBuf;
use std::str::FromStr;

use archive::checksum::Checksum;
use archive::config::SyncLevel;
use cluster::members::{self, ClusterMember, MembersError};
use consensus::MemberId;
use runtime::config::SettingError;
use runtime::idle::IdleStrategy;
use wire::position::is_term_length;

use crate::config::Config;
use crate::place;

/// First of the ports of members that are given as hosts.
pub const BASE_PORT: u16 = 9_000;
/// Ports between those of one member and those of the next.
const PORTS_PER_MEMBER: i32 = 100;
/// Where the ports of a member lie behind its first: those of genuine Aeron's samples.
const ARCHIVE_PORT: i32 = 1;
const INGRESS_PORT: i32 = 2;
const CONSENSUS_PORT: i32 = 3;
const LOG_PORT: i32 = 4;

/// Length in bytes of the log's terms in the profile `safe`.
const LOG_TERM_LENGTH: i32 = 16 << 20;
/// The same of all other streams over the network: a client has one of them.
const NETWORK_TERM_LENGTH: i32 = 4 << 20;

/// How durable a node is, and how fast a new leader comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// What is acknowledged is synced, each recorded frame has a checksum, terms are short, and
    /// leadership moves well within a second.
    #[default]
    Safe,
    /// Genuine Aeron's defaults: nothing is synced, leadership moves after ten seconds.
    Reference,
}

/// How the parts of a node are spread over threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Threads {
    /// One for all: best on few cores.
    #[default]
    Shared,
    /// Driver, archive, and module with services apart.
    Dedicated,
}

/// What a thread does when there is nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idle {
    /// Sleeps until a datagram comes: near zero load at rest.
    #[default]
    Wait,
    /// Spins, yields, then sleeps ever longer.
    Backoff,
    /// Yields to other threads.
    Yield,
    /// Burns its core.
    Spin,
}

impl Idle {
    /// The strategy for a thread that has sockets, or one that has none.
    #[must_use]
    pub const fn strategy(self, has_sockets: bool) -> IdleStrategy {
        match self {
            Self::Wait if has_sockets => IdleStrategy::WAIT,
            Self::Wait | Self::Backoff => IdleStrategy::BACKOFF,
            Self::Yield => IdleStrategy::Yield,
            Self::Spin => IdleStrategy::Spin,
        }
    }
}

macro_rules! words {
    ($($Type:ident: $expected:literal { $($word:literal => $variant:ident),* $(,)? })*) => {$(
        impl FromStr for $Type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(format!("{text} is not one of {}", $expected)),
                }
            }
        }
    )*};
}

words! {
    Profile: "safe, reference" { "safe" => Safe, "reference" => Reference }
    Threads: "shared, dedicated" { "shared" => Shared, "dedicated" => Dedicated }
    Idle: "wait, backoff, yield, spin" {
        "wait" => Wait, "backoff" => Backoff, "yield" => Yield, "spin" => Spin
    }
}

/// Who the members are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members {
    /// `id,ingress,consensus,log,catchup,archive` of each, joined by `|`.
    Listed(String),
    /// Member 0, 1, ... on these hosts. Member `n` has the ports from `base_port + 100 * n`:
    /// +1 archive, +2 ingress, +3 consensus, +4 log; that of catch-up is found at run time.
    Hosts {
        /// Names or addresses, in the order of the members.
        hosts: Vec<String>,
        /// First of the ports.
        base_port: u16,
    },
}

/// The few values that a node is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where all of its files are, each part's in a directory of its own.
    pub directory: PathBuf,
    /// Directory of the driver; `aeron` in the node's if none is given. See [`place()`].
    ///
    /// [`place()`]: crate::place::place
    pub aeron_directory: Option<PathBuf>,
    /// The cluster, of those on one host.
    pub cluster_id: i32,
    /// This member.
    pub member_id: i32,
    /// All members.
    pub members: Members,
    /// How durable, and how fast.
    pub profile: Profile,
    /// How the parts are spread over threads.
    pub threads: Threads,
    /// What a thread does when there is nothing to do.
    pub idle: Idle,
    /// Length in bytes of all terms; unset leaves it to the profile. Bounds messages to an eighth.
    pub term_length: Option<i32>,
    /// Names of its services, in the order of their ids.
    pub services: Vec<String>,
    /// Options of any part, by their property names: they count more than all of the above.
    pub properties: Vec<(String, String)>,
}

/// Why settings make no node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// See [`MembersError`].
    #[error("members: {0}")]
    Members(#[from] MembersError),
    /// Nobody is there.
    #[error("no members are given")]
    NoMembers,
    /// The node is none of the members.
    #[error("member id {0} is not among the members")]
    Stranger(i32),
    /// A member's ports end beyond the last that there is.
    #[error("base port {base_port} leaves no ports for member {member_id}")]
    Port {
        /// As given.
        base_port: u16,
        /// The member.
        member_id: i32,
    },
    /// An endpoint without a port.
    #[error("endpoint {0} is not host:port")]
    Endpoint(String),
    /// A length that terms cannot have.
    #[error("term length {0}: expected a power of two from 64k to 1g")]
    TermLength(i32),
    /// An option that is unknown, or has no such value.
    #[error(transparent)]
    Property(#[from] SettingError),
}

impl Settings {
    /// A node with one service in this directory; everything else by default.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>, member_id: i32, members: Members) -> Self {
        Self {
            directory: directory.into(),
            aeron_directory: None,
            cluster_id: 0,
            member_id,
            members,
            profile: Profile::Safe,
            threads: Threads::Shared,
            idle: Idle::Wait,
            term_length: None,
            services: vec![String::new()],
            properties: Vec::new(),
        }
    }

    /// All members, by id.
    ///
    /// # Errors
    /// They are none, or lack ports.
    pub fn members(&self) -> Result<Vec<ClusterMember>, SettingsError> {
        match &self.members {
            Members::Listed(text) if text.trim().is_empty() => Err(SettingsError::NoMembers),
            Members::Listed(text) => Ok(members::parse(text)?),
            Members::Hosts { hosts, .. } if hosts.is_empty() => Err(SettingsError::NoMembers),
            Members::Hosts { hosts, base_port } => {
                (0..).zip(hosts).map(|(id, host)| member(id, host, *base_port)).collect()
            }
        }
    }

    /// Every option of every part.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn config(&self) -> Result<Config, SettingsError> {
        let members = self.members()?;
        let own = members.iter().find(|member| member.id.0 == self.member_id);
        let own = own.ok_or(SettingsError::Stranger(self.member_id))?;
        let mut config = Config { threads: self.threads, idle: self.idle, ..Config::default() };
        self.set_profile(&mut config);
        self.set_terms(&mut config)?;
        self.set_directories(&mut config);
        self.set_services(&mut config);
        set_channels(&mut config, own)?;
        config.cluster.member.member_id = self.member_id;
        config.cluster.member.members = members::to_text(&members);
        config.link();
        for (property, text) in &self.properties {
            config.set(property, text)?;
        }
        Ok(config)
    }

    fn set_profile(&self, config: &mut Config) {
        if self.profile == Profile::Reference {
            return;
        }
        let storage = &mut config.archive.storage;
        storage.file_sync_level = SyncLevel::Data;
        storage.catalog_file_sync_level = SyncLevel::Data;
        storage.record_checksum = Some(Checksum::Crc32c);
        storage.replay_checksum = Some(Checksum::Crc32c);
        storage.guards = true;
        config.cluster = cluster::config::Config::fast();
        config.cluster.member.guards = true;
    }

    fn set_terms(&self, config: &mut Config) -> Result<(), SettingsError> {
        let (log, network) = match (self.term_length, self.profile) {
            (Some(length), _) if !is_term_length(length) => {
                return Err(SettingsError::TermLength(length));
            }
            (Some(length), _) => (length, length),
            (None, Profile::Safe) => (LOG_TERM_LENGTH, NETWORK_TERM_LENGTH),
            (None, Profile::Reference) => return Ok(()),
        };
        config.driver.terms.term_length = network;
        config.driver.terms.ipc_term_length = log;
        config.cluster.channels.log_channel = format!("aeron:udp?term-length={log}");
        // Two terms: whoever keeps little in memory wants little zeroed ahead on disk.
        config.archive.storage.segment_file_length = log.saturating_mul(2).min(1 << 30);
        Ok(())
    }

    fn set_directories(&self, config: &mut Config) {
        let aeron = self.aeron_directory.clone();
        config.driver.directory.path = aeron.unwrap_or_else(|| place::on_disk(&self.directory));
        config.archive.storage.directory = self.directory.join("archive");
        config.cluster.member.directory = self.directory.join("cluster");
    }

    fn set_services(&self, config: &mut Config) {
        let member = &mut config.cluster.member;
        member.cluster_id = self.cluster_id;
        member.service_count = i32::try_from(self.services.len()).unwrap_or(i32::MAX);
        let service = |(service_id, name): (i32, &String)| cluster_service::Config {
            cluster_id: self.cluster_id,
            service_id,
            name: name.clone(),
            directory: member.directory.clone(),
            ..cluster_service::Config::default()
        };
        config.services = (0..).zip(&self.services).map(service).collect();
    }
}

fn set_channels(config: &mut Config, own: &ClusterMember) -> Result<(), SettingsError> {
    let any_port = format!("aeron:udp?endpoint={}:0", host_of(&own.archive)?);
    config.archive.control.channel = format!("aeron:udp?endpoint={}", own.archive);
    config.archive.control.replication_channel.clone_from(&any_port);
    config.cluster.channels.ingress_channel = "aeron:udp".to_string();
    config.cluster.channels.replication_channel = any_port;
    Ok(())
}

fn host_of(endpoint: &str) -> Result<&str, SettingsError> {
    let parts = endpoint.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    parts.map(|(host, _)| host).ok_or_else(|| SettingsError::Endpoint(endpoint.to_string()))
}

fn member(id: i32, host: &str, base_port: u16) -> Result<ClusterMember, SettingsError> {
    let host = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.to_string()
    };
    let endpoint = |offset: i32| {
        let port = id.checked_mul(PORTS_PER_MEMBER).map(|first| first + offset);
        let port = port.and_then(|port| port.checked_add(i32::from(base_port)));
        let port = port.and_then(|port| u16::try_from(port).ok());
        let port = port.ok_or(SettingsError::Port { base_port, member_id: id })?;
        Ok::<_, SettingsError>(format!("{host}:{port}"))
    };
    Ok(ClusterMember {
        id: MemberId(id),
        ingress: endpoint(INGRESS_PORT)?,
        consensus: endpoint(CONSENSUS_PORT)?,
        log: endpoint(LOG_PORT)?,
        catchup: format!("{host}:0"),
        archive: endpoint(ARCHIVE_PORT)?,
        archive_response: None,
        egress_response: None,
    })
}

#[cfg(test)]
mod tests;
