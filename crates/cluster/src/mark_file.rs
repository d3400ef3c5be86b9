//! `cluster-mark.dat`: shows that a module lives, to tools and to whoever would start a second.
//!
//! Layout and rules: cluster specification 7.3. Two guards stand at the door of a directory: a lock
//! that ends with its process, and, for genuine modules, which know nothing of it, the time stamp
//! in this file.

use std::io;
use std::path::{Path, PathBuf};

use memory::buffer::AtomicBuffer;
use memory::mark_file::{MarkFile as Activity, TakeOverError};
use runtime::files::{Files, Mapping, write_all_at};
use runtime::{Nanos, Now};
use wire::bytes::{Padding, SemanticVersion};
use wire::cluster::mark::{
    ACTIVITY_TIMESTAMP_OFFSET, ComponentType, ERROR_LOG_OFFSET, MARK_FILE_NAME, MARK_FILE_VERSION,
    MarkFileHeader, VERSION_OFFSET,
};
use wire::message::{Message, MessageHeader};

use crate::config::Config;

/// How often the time stamp is renewed.
pub const HEARTBEAT_INTERVAL: Nanos = Nanos::from_secs(1);
/// The file that leads from the cluster directory to that of the mark file.
pub const LINK_FILE_NAME: &str = "cluster-mark.lnk";
/// For how long a time stamp says that its module lives.
const LIVENESS_MS: i64 = 10_000;
/// Time-out by which no time stamp is recent.
const DEAD_MS: i64 = i64::MIN;

const PAGE_LENGTH: usize = 4_096;

/// Why a mark file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MarkFileError {
    /// Another module lives in the directory.
    #[error("{}: {cause}", directory.display())]
    Active {
        /// The directory.
        directory: PathBuf,
        /// Its last sign of life.
        cause: TakeOverError,
    },
    /// The file was made by software of another major version.
    #[error("mark file has version {0:?}, expected 0.x")]
    Version(SemanticVersion),
    /// The file is that of a service, or of a standby.
    #[error("mark file is that of another component: {0:?}")]
    Component(ComponentType),
    /// The directory is that of another member, or of a member of another cluster.
    #[error(
        "{} is the directory of member {found} of cluster {cluster}, not of member {expected}: \
         what it has promised binds nobody else",
        directory.display()
    )]
    Stranger {
        /// The directory.
        directory: PathBuf,
        /// Whose it is.
        found: i32,
        /// The cluster of that member.
        cluster: i32,
        /// Who would have it.
        expected: i32,
    },
    /// The texts in its header do not fit.
    #[error("channels and directories are too long for the mark file")]
    TooLong,
    /// The file cannot be read or made.
    #[error("mark file: {0}")]
    Io(#[from] io::Error),
}

/// The mark file of a running module.
pub struct MarkFile {
    activity: Activity,
    _mapping: Mapping,
    next_heartbeat: Nanos,
}

impl MarkFile {
    /// Makes the mark file of a directory, in place of that which was taken over, whose vote must
    /// be kept elsewhere by now.
    ///
    /// A crash while it is made leaves a file without version, which the next start replaces.
    ///
    /// # Errors
    /// See [`MarkFileError`].
    pub fn create(
        files: &dyn Files,
        directory: &Path,
        header: &MarkFileHeader<'_>,
        earlier_candidate_term: i64,
        now: Now,
    ) -> Result<Self, MarkFileError> {
        let path = directory.join(MARK_FILE_NAME);
        if files.entry(&path)?.is_some() {
            files.remove(&path)?;
        }
        let error_length = usize::try_from(header.error_buffer_length).unwrap_or(0);
        let length = (ERROR_LOG_OFFSET + error_length).next_multiple_of(PAGE_LENGTH);
        let mapping = files.create_mapped(&path, length as u64, true)?;
        let buffer = AtomicBuffer::new(mapping.region().clone());
        let candidate_term_id = earlier_candidate_term;
        let unready = MarkFileHeader { version: 0, candidate_term_id, ..*header };
        let mut bytes = vec![0; ERROR_LOG_OFFSET];
        let written = unready.encode(&mut bytes).map_err(|_| MarkFileError::TooLong)?;
        buffer.copy_in(0, &bytes[..written]);
        let activity = Activity::new(buffer, VERSION_OFFSET, ACTIVITY_TIMESTAMP_OFFSET);
        activity.signal_ready(header.version, now.epoch_millis());
        let next_heartbeat = now.mono + HEARTBEAT_INTERVAL;
        Ok(Self { activity, _mapping: mapping, next_heartbeat })
    }

    /// Shows that the module lives, once a second. Returns when to call again.
    pub fn beat(&mut self, now: Now) -> Nanos {
        if now.mono >= self.next_heartbeat {
            self.activity.set_timestamp_ms(now.epoch_millis());
            self.next_heartbeat = now.mono + HEARTBEAT_INTERVAL;
        }
        self.next_heartbeat
    }

    /// The part of the file in which errors are logged.
    #[must_use]
    pub fn error_log(&self) -> AtomicBuffer {
        let buffer = self.activity.buffer();
        buffer.slice(ERROR_LOG_OFFSET, buffer.length() - ERROR_LOG_OFFSET)
    }

    /// Says that the module ended in order.
    pub fn terminate(&mut self) {
        self.activity.signal_terminated();
    }
}

/// What the header says of a module's surroundings, besides its configuration.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Directory of the media driver.
    pub aeron_directory: &'a str,
    /// Stream on which the member's archive is asked.
    pub archive_stream_id: i32,
    /// What decides on sessions, for people.
    pub authenticator: &'a str,
    /// Directory of the services' mark files.
    pub services_directory: &'a str,
    /// This process.
    pub process_id: i64,
}

/// The header of the mark file of a module with this configuration.
#[must_use]
pub fn header<'a>(config: &'a Config, around: Surroundings<'a>, now: Now) -> MarkFileHeader<'a> {
    let channels = &config.channels;
    MarkFileHeader {
        version: MARK_FILE_VERSION.0,
        component_type: ComponentType::ConsensusModule,
        activity_timestamp: now.epoch_millis(),
        start_timestamp: now.epoch_millis(),
        pid: around.process_id,
        candidate_term_id: -1,
        archive_stream_id: around.archive_stream_id,
        service_stream_id: channels.service_stream_id,
        consensus_module_stream_id: channels.consensus_module_stream_id,
        ingress_stream_id: channels.ingress_stream_id,
        member_id: config.member.member_id,
        service_id: -1,
        header_length: ERROR_LOG_OFFSET as i32,
        error_buffer_length: config.member.error_buffer_length,
        cluster_id: config.member.cluster_id,
        reserved: Padding,
        aeron_directory: around.aeron_directory.as_bytes(),
        control_channel: channels.control_channel.as_bytes(),
        ingress_channel: channels.ingress_channel.as_bytes(),
        service_name: b"",
        authenticator: around.authenticator.as_bytes(),
        services_cluster_dir: around.services_directory.as_bytes(),
    }
}

/// Writes or removes the file that leads from the cluster directory to that of the mark file.
///
/// # Errors
/// The files cannot be changed.
pub fn link(files: &dyn Files, directory: &Path, mark_directory: &Path) -> io::Result<()> {
    let path = directory.join(LINK_FILE_NAME);
    if files.entry(&path)?.is_some() {
        files.remove(&path)?;
    }
    if directory != mark_directory {
        let file = files.create(&path)?;
        write_all_at(&*file, mark_directory.to_string_lossy().as_bytes(), 0)?;
    }
    Ok(())
}

/// Makes sure that the directory is that of this member, as far as its mark file says; whether it
/// says so. Log and votes of one member are no other's: with a copy of them it could vote twice in
/// a term.
///
/// # Errors
/// See [`MarkFileError`].
pub fn check_member(
    files: &dyn Files,
    directory: &Path,
    config: &Config,
) -> Result<bool, MarkFileError> {
    let path = directory.join(MARK_FILE_NAME);
    if files.entry(&path)?.is_none_or(|old| old.length < ERROR_LOG_OFFSET as u64) {
        return Ok(false);
    }
    let old = files.map(&path)?;
    let mut bytes = vec![0; ERROR_LOG_OFFSET];
    AtomicBuffer::new(old.region().clone()).copy_out(0, &mut bytes);
    let Ok(header) = MarkFileHeader::decode(&bytes) else { return Ok(false) };
    let (expected, cluster) = (config.member.member_id, config.member.cluster_id);
    let is_module = header.component_type == ComponentType::ConsensusModule && header.version > 0;
    if is_module && (header.member_id, header.cluster_id) != (expected, cluster) {
        let (directory, found) = (directory.to_path_buf(), header.member_id);
        return Err(MarkFileError::Stranger {
            directory,
            found,
            cluster: header.cluster_id,
            expected,
        });
    }
    Ok(is_module)
}

/// Takes over the mark file of a dead module, and returns the vote that an old module kept there;
/// -1 if there is none.
///
/// The genuine rule: a module whose time stamp is recent lives; the time stamp of a dead one is
/// swapped, and of several that try, one succeeds. `is_owner_dead` says that the lock of our own
/// kind was free and its file names the same process or start time as the mark file does: then the
/// time stamp need not be waited for.
///
/// # Errors
/// See [`MarkFileError`].
pub fn take_over(
    files: &dyn Files,
    directory: &Path,
    is_owner_dead: impl FnOnce(i64, i64) -> bool,
    now: Now,
) -> Result<i64, MarkFileError> {
    let path = directory.join(MARK_FILE_NAME);
    let is_whole = |length: u64| length >= ERROR_LOG_OFFSET as u64;
    if !files.entry(&path)?.is_some_and(|old| is_whole(old.length)) {
        return Ok(-1);
    }
    let old = files.map(&path)?;
    let buffer = AtomicBuffer::new(old.region().clone());
    let mut bytes = vec![0; ERROR_LOG_OFFSET];
    buffer.copy_out(0, &mut bytes);
    let is_current = MessageHeader::decode(&bytes).is_ok_and(|header| {
        (header.schema_id, header.template_id)
            == (MarkFileHeader::SCHEMA_ID, MarkFileHeader::TEMPLATE_ID)
    });
    let activity = Activity::new(buffer, VERSION_OFFSET, ACTIVITY_TIMESTAMP_OFFSET);
    let version = SemanticVersion(activity.version());
    if !is_current || version == SemanticVersion::NONE {
        return Ok(-1);
    }
    if version.0 >= 0 && version.major() != MARK_FILE_VERSION.major() {
        return Err(MarkFileError::Version(version));
    }
    let Ok(header) = MarkFileHeader::decode(&bytes) else { return Ok(-1) };
    // A backup may be made a member.
    let component = header.component_type;
    if !matches!(component, ComponentType::ConsensusModule | ComponentType::Backup) {
        return Err(MarkFileError::Component(component));
    }
    let is_dead = is_owner_dead(header.pid, header.start_timestamp);
    let timeout_ms = if is_dead { DEAD_MS } else { LIVENESS_MS };
    let taken = activity.take_over(now.epoch_millis(), timeout_ms);
    let directory = directory.to_path_buf();
    taken.map_err(|cause| MarkFileError::Active { directory, cause })?;
    Ok(header.candidate_term_id)
}

#[cfg(test)]
mod tests {
    use runtime::EpochNanos;

    use super::*;
    use crate::testing::directory;

    fn at(seconds: i64) -> Now {
        let nanos = Nanos::from_secs(seconds);
        Now { mono: nanos, epoch: EpochNanos(nanos.0) }
    }

    fn config() -> Config {
        let mut config = Config::default();
        config.channels.ingress_channel = "aeron:udp".into();
        config
    }

    fn around(process_id: i64) -> Surroundings<'static> {
        Surroundings {
            aeron_directory: "/dev/shm/aeron",
            archive_stream_id: 10,
            authenticator: "accept all",
            services_directory: "/cluster",
            process_id,
        }
    }

    fn create(
        files: &dyn Files,
        path: &Path,
        dead: Option<i64>,
        now: Now,
    ) -> Result<MarkFile, MarkFileError> {
        let config = config();
        let header = header(&config, around(7), now);
        let vote = take_over(files, path, |pid, _| Some(pid) == dead, now)?;
        MarkFile::create(files, path, &header, vote, now)
    }

    #[test]
    fn a_module_that_lives_is_not_disturbed_and_one_that_is_silent_is_replaced() {
        let (files, path) = directory();
        let mut first = create(&*files, &path, None, at(100)).unwrap();
        first.beat(at(105));
        let error = create(&*files, &path, None, at(115)).err().unwrap();
        assert!(matches!(error, MarkFileError::Active { .. }), "{error}");
        assert!(create(&*files, &path, None, at(116)).is_ok());
    }

    #[test]
    fn a_module_that_ended_or_whose_lock_is_free_is_replaced_at_once() {
        let (files, path) = directory();
        let mut first = create(&*files, &path, None, at(100)).unwrap();
        first.terminate();
        create(&*files, &path, None, at(101)).unwrap();
        assert!(create(&*files, &path, Some(8), at(101)).is_err());
        assert!(create(&*files, &path, Some(7), at(101)).is_ok());
    }

    #[test]
    fn the_vote_in_an_old_file_is_kept_and_told() {
        let (files, path) = directory();
        let config = config();
        let old = MarkFileHeader { candidate_term_id: 9, ..header(&config, around(7), at(1)) };
        let mut bytes = vec![0; ERROR_LOG_OFFSET];
        old.encode(&mut bytes).unwrap();
        let file = files.create(&path.join(MARK_FILE_NAME)).unwrap();
        write_all_at(&*file, &bytes, 0).unwrap();
        create(&*files, &path, None, at(100)).unwrap();
        assert_eq!(take_over(&*files, &path, |pid, _| pid == 7, at(100)).unwrap(), 9);
    }

    #[test]
    fn a_service_s_file_is_not_taken() {
        let (files, path) = directory();
        let (config, component_type) = (config(), ComponentType::Container);
        let old = MarkFileHeader { component_type, ..header(&config, around(7), at(1)) };
        let mut bytes = vec![0; ERROR_LOG_OFFSET];
        old.encode(&mut bytes).unwrap();
        let file = files.create(&path.join(MARK_FILE_NAME)).unwrap();
        write_all_at(&*file, &bytes, 0).unwrap();
        let error = create(&*files, &path, None, at(100)).err().unwrap();
        assert!(matches!(error, MarkFileError::Component(ComponentType::Container)), "{error}");
    }

    #[test]
    fn the_link_is_there_only_if_the_mark_file_is_elsewhere() {
        let (files, path) = directory();
        let link_path = path.join(LINK_FILE_NAME);
        link(&*files, &path, Path::new("/marks")).unwrap();
        assert_eq!(files.entry(&link_path).unwrap().unwrap().length, 6);
        link(&*files, &path, &path).unwrap();
        assert!(files.entry(&link_path).unwrap().is_none());
    }
}
