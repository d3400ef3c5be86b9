//! Options of an archive, with the names under which genuine Aeron reads them.
//!
//! Pure data: read once by [`launch`](crate::launch), never written back.

use std::path::PathBuf;

use runtime::config::{OptionRow, Setting, SettingError};
use wire::time::Nanos;

use crate::checksum::Checksum;

/// How durable a write is before it is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SyncLevel {
    /// Written, not synced: survives the death of the process, not of the machine.
    #[default]
    None,
    /// The bytes are synced.
    Data,
    /// The bytes and all that the file system knows of the file are synced.
    All,
}

impl SyncLevel {
    /// What a sync of this level asks for; `None` when nothing is synced.
    #[must_use]
    pub const fn kind(self) -> Option<runtime::files::SyncKind> {
        match self {
            Self::None => None,
            Self::Data => Some(runtime::files::SyncKind::Data),
            Self::All => Some(runtime::files::SyncKind::All),
        }
    }
}

impl Setting for SyncLevel {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "0" => Ok(Self::None),
            "1" => Ok(Self::Data),
            "2" => Ok(Self::All),
            _ => Err("expected 0, 1 or 2".to_string()),
        }
    }

    fn show(&self) -> String {
        (*self as u8).to_string()
    }
}

impl Setting for Checksum {
    fn parse(text: &str) -> Result<Self, String> {
        Self::from_name(text).ok_or_else(|| "expected CRC-32 or CRC-32C".to_string())
    }

    fn show(&self) -> String {
        self.name().to_string()
    }
}

runtime::config! {
    /// Where and how recordings are stored.
    pub struct StorageConfig {
        /// Directory of catalog and segment files.
        directory: PathBuf = PathBuf::from("aeron-archive"), "aeron.archive.dir";
        /// Directory of the mark file; empty for the archive's own.
        mark_file_directory: Option<PathBuf> = None, "aeron.archive.mark.file.dir";
        /// Whether everything in the directory is deleted at start: for tests.
        delete_on_start: bool = false, "aeron.archive.dir.delete.on.start";
        /// Length in bytes of the files that a recording is cut into: a power of two from 64k to
        /// 1g. A recording whose terms are longer uses its term length.
        segment_file_length: i32 = 128 << 20, "aeron.archive.segment.file.length";
        /// Most bytes written or read at once: a power of two of at least 64k.
        file_io_max_length: i32 = 1 << 20, "aeron.archive.file.io.max.length";
        /// How durable recorded bytes are before their position is published: 0, 1 or 2.
        file_sync_level: SyncLevel = SyncLevel::None, "aeron.archive.file.sync.level";
        /// How durable the catalog is; at least the level of the files.
        catalog_file_sync_level: SyncLevel = SyncLevel::None,
            "aeron.archive.catalog.file.sync.level";
        /// Length in bytes to which the catalog file is made; it grows as needed.
        catalog_capacity: i64 = 1 << 20, "aeron.archive.catalog.capacity";
        /// Bytes of each recording, counted back from its end, that stay in the page cache: what is
        /// older is written out and its pages are given back. 0 leaves all that to the host.
        cached_length: i64 = 2 << 30, "coracle.archive.cached.length";
        /// With this many bytes of space or fewer no recording is started.
        low_storage_space_threshold: i64 = 128 << 20, "aeron.archive.low.storage.space.threshold";
        /// Checksum written into each recorded frame: CRC-32, CRC-32C or none.
        record_checksum: Option<Checksum> = None, "aeron.archive.record.checksum";
        /// Checksum verified for each replayed frame: CRC-32, CRC-32C or none.
        replay_checksum: Option<Checksum> = None, "aeron.archive.replay.checksum";
        /// Whether the catalog has a log beside it, by which what was torn or rotted is told and
        /// restored; needs a sync level of the catalog.
        guards: bool = false, "coracle.archive.guards";
        /// Length in bytes of the error log in the mark file.
        error_buffer_length: i32 = 1 << 20, "aeron.archive.error.buffer.length";
    }
}

runtime::config! {
    /// Through which streams an archive is reached.
    pub struct ControlConfig {
        /// Identity of the archive; -1 takes one from the driver.
        archive_id: i64 = -1, "aeron.archive.id";
        /// Channel of control requests over the network; required if it is enabled.
        channel: String = String::new(), "aeron.archive.control.channel";
        /// Whether control requests are taken from the network.
        channel_enabled: bool = true, "aeron.archive.control.channel.enabled";
        /// Stream of control requests over the network.
        stream_id: i32 = 10, "aeron.archive.control.stream.id";
        /// Channel of control requests in this host.
        local_channel: String = String::from("aeron:ipc?term-length=64k"),
            "aeron.archive.local.control.channel";
        /// Stream of control requests in this host.
        local_stream_id: i32 = 10, "aeron.archive.local.control.stream.id";
        /// Length in bytes of the terms of response streams whose client asks for none.
        term_buffer_length: i32 = 64 << 10, "aeron.archive.control.term.buffer.length";
        /// Whether the terms of response streams are sparse files.
        term_buffer_sparse: bool = true, "aeron.archive.control.term.buffer.sparse";
        /// MTU in bytes of response streams whose client asks for none.
        mtu_length: i32 = 1408, "aeron.archive.control.mtu.length";
        /// Channel on which replications receive; required to replicate.
        replication_channel: String = String::new(), "aeron.archive.replication.channel";
        /// Channel on which source archives answer; empty to use the host of `channel`.
        response_channel: String = String::new(), "aeron.archive.control.response.channel";
    }
}

runtime::config! {
    /// Whether and where the progress of recordings is announced.
    pub struct EventsConfig {
        /// Whether it is.
        enabled: bool = false, "aeron.archive.recording.events.enabled";
        /// Channel of the announcements.
        channel: String = String::from("aeron:udp?control-mode=dynamic|control=localhost:8030"),
            "aeron.archive.recording.events.channel";
        /// Stream of the announcements.
        stream_id: i32 = 30, "aeron.archive.recording.events.stream.id";
    }
}

runtime::config! {
    /// How much at once, and how long to wait.
    pub struct LimitsConfig {
        /// Most recordings active at once.
        max_concurrent_recordings: i32 = 20, "aeron.archive.max.concurrent.recordings";
        /// Most replays active at once.
        max_concurrent_replays: i32 = 20, "aeron.archive.max.concurrent.replays";
        /// How long a session or replay may take to connect, and a response to leave.
        connect_timeout: Nanos = Nanos::from_secs(5), "aeron.archive.connect.timeout";
        /// How often a control session is pinged.
        session_liveness_check_interval: Nanos = Nanos::from_secs(1),
            "aeron.archive.session.liveness.check.interval";
        /// How long a replay that ended stays for its subscribers.
        replay_linger_timeout: Nanos = Nanos::from_secs(5), "aeron.archive.replay.linger.timeout";
        /// Duty cycles that take longer are counted.
        cycle_threshold: Nanos = Nanos::from_millis(100), "aeron.archive.conductor.cycle.threshold";
        /// How long one action towards the source of a replication may take.
        replication_timeout: Nanos = Nanos::from_secs(10), "aeron.archive.message.timeout";
    }
}

/// All options of an archive.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Where and how recordings are stored.
    pub storage: StorageConfig,
    /// Through which streams it is reached.
    pub control: ControlConfig,
    /// Whether and where the progress of recordings is announced.
    pub events: EventsConfig,
    /// How much at once, and how long to wait.
    pub limits: LimitsConfig,
}

/// Options that do not fit each other or lie outside their bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A channel is missing though its use is enabled.
    #[error("{property} must be set")]
    Missing {
        /// The option.
        property: &'static str,
    },
    /// A length is not a power of two within its bounds.
    #[error("{property}={value}: expected a power of two from {low} to {high}")]
    Length {
        /// The option.
        property: &'static str,
        /// Its value.
        value: i32,
        /// The smallest allowed.
        low: i32,
        /// The largest allowed.
        high: i32,
    },
    /// The catalog would be less durable than what it describes.
    #[error("aeron.archive.catalog.file.sync.level is below aeron.archive.file.sync.level")]
    CatalogSyncLevel,
    /// A guarded catalog is written when its log is durable: without syncs that is never.
    #[error(
        "coracle.archive.guards needs aeron.archive.catalog.file.sync.level of 1 or 2: without \
         syncs nothing would reach the catalog before an orderly end"
    )]
    GuardsUnsynced,
    /// The error log is too short or too long.
    #[error("aeron.archive.error.buffer.length={0}: expected 1m to 64m")]
    ErrorBuffer(i32),
    /// The catalog cannot hold anything, or is longer than its offsets reach.
    #[error("aeron.archive.catalog.capacity={0}: expected 32 to 2147483647")]
    CatalogCapacity(i64),
    /// Fewer bytes than none.
    #[error("coracle.archive.cached.length={0}: expected 0 or more")]
    CachedLength(i64),
    /// A channel is of the wrong medium.
    #[error("{property}={channel}: expected a channel that begins with {prefix}")]
    Medium {
        /// The option.
        property: &'static str,
        /// Its value.
        channel: String,
        /// What it must begin with.
        prefix: &'static str,
    },
}

impl Config {
    /// Sets the option with this property name, whichever group it is in.
    ///
    /// # Errors
    /// No option has the name, or the text is no value of it.
    pub fn set(&mut self, property: &str, text: &str) -> Result<(), SettingError> {
        let mut result = self.storage.set(property, text);
        let unknown = |result: &Result<(), _>| matches!(result, Err(SettingError::Unknown(_)));
        if unknown(&result) {
            result = self.control.set(property, text);
        }
        if unknown(&result) {
            result = self.events.set(property, text);
        }
        if unknown(&result) {
            result = self.limits.set(property, text);
        }
        result
    }

    /// Every option with its default.
    #[must_use]
    pub fn options() -> Vec<OptionRow> {
        let mut rows = StorageConfig::options();
        rows.extend(ControlConfig::options());
        rows.extend(EventsConfig::options());
        rows.extend(LimitsConfig::options());
        rows
    }

    /// Whether the options fit each other.
    ///
    /// # Errors
    /// The first that do not.
    pub fn check(&self) -> Result<(), ConfigError> {
        let storage = &self.storage;
        let power = |property, value: i32, low, high| {
            if low <= value && value <= high && value.count_ones() == 1 {
                return Ok(());
            }
            Err(ConfigError::Length { property, value, low, high })
        };
        let segment = storage.segment_file_length;
        power("aeron.archive.segment.file.length", segment, 64 << 10, 1 << 30)?;
        let io = storage.file_io_max_length;
        power("aeron.archive.file.io.max.length", io, 64 << 10, 1 << 30)?;
        if storage.catalog_file_sync_level < storage.file_sync_level {
            return Err(ConfigError::CatalogSyncLevel);
        }
        if storage.guards && storage.catalog_file_sync_level == SyncLevel::None {
            return Err(ConfigError::GuardsUnsynced);
        }
        if !(1 << 20..=64 << 20).contains(&storage.error_buffer_length) {
            return Err(ConfigError::ErrorBuffer(storage.error_buffer_length));
        }
        if !(32..=i64::from(i32::MAX)).contains(&storage.catalog_capacity) {
            return Err(ConfigError::CatalogCapacity(storage.catalog_capacity));
        }
        if storage.cached_length < 0 {
            return Err(ConfigError::CachedLength(storage.cached_length));
        }
        self.check_channels()
    }

    fn check_channels(&self) -> Result<(), ConfigError> {
        let medium = |property, channel: &String, prefix: &'static str| {
            if channel.starts_with(prefix) {
                return Ok(());
            }
            Err(ConfigError::Medium { property, channel: channel.clone(), prefix })
        };
        let control = &self.control;
        if control.channel_enabled {
            if control.channel.is_empty() {
                return Err(ConfigError::Missing { property: "aeron.archive.control.channel" });
            }
            medium("aeron.archive.control.channel", &control.channel, "aeron:udp")?;
        }
        medium("aeron.archive.local.control.channel", &control.local_channel, "aeron:ipc")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_channel() -> Config {
        let mut config = Config::default();
        config.set("aeron.archive.control.channel", "aeron:udp?endpoint=localhost:8010").unwrap();
        config
    }

    #[test]
    fn options_are_found_in_every_group_by_their_genuine_names() {
        let mut config = with_channel();
        config.set("aeron.archive.segment.file.length", "64k").unwrap();
        config.set("aeron.archive.recording.events.enabled", "true").unwrap();
        config.set("aeron.archive.connect.timeout", "2s").unwrap();
        config.set("aeron.archive.record.checksum", "CRC-32C").unwrap();
        assert_eq!(config.storage.segment_file_length, 65_536);
        assert!(config.events.enabled);
        assert_eq!(config.limits.connect_timeout, Nanos::from_secs(2));
        assert_eq!(config.storage.record_checksum, Some(Checksum::Crc32c));
        assert_eq!(config.check(), Ok(()));
        assert!(config.set("aeron.archive.nothing", "1").is_err());
    }

    #[test]
    fn options_that_do_not_fit_are_named() {
        let missing = ConfigError::Missing { property: "aeron.archive.control.channel" };
        assert_eq!(Config::default().check(), Err(missing));
        let mut config = with_channel();
        config.storage.file_sync_level = SyncLevel::Data;
        assert_eq!(config.check(), Err(ConfigError::CatalogSyncLevel));
        let mut config = with_channel();
        config.set("coracle.archive.guards", "true").unwrap();
        assert_eq!(config.check(), Err(ConfigError::GuardsUnsynced));
        config.set("aeron.archive.catalog.file.sync.level", "1").unwrap();
        assert_eq!(config.check(), Ok(()));
        let mut config = with_channel();
        config.storage.segment_file_length = 100_000;
        assert!(matches!(config.check(), Err(ConfigError::Length { value: 100_000, .. })));
    }
}
