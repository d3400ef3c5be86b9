//! The driver's directory: whose it is, what a dead driver left in it, and a fresh one.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use memory::buffer::AtomicBuffer;
use runtime::files::{FileLock, Files, read_exact_at, write_all_at};
use runtime::{Now, Ports};
use wire::cnc::{self, Header};
use wire::ring::to_driver::{CONSUMER_HEARTBEAT_OFFSET, HEARTBEAT_CLOSED, TRAILER_LENGTH};

use super::LaunchError;
use crate::config::Config;

/// Keeps other drivers of ours out of the directory.
pub(super) type Lock = Option<Box<dyn FileLock>>;

/// The lock's file; it holds process id and start time of its owner, as `i64` each.
const LOCK_FILE: &str = "coracle.lock";
const LOCK_LENGTH: usize = 16;

fn at(path: &Path) -> impl FnOnce(io::Error) -> LaunchError + '_ {
    move |error| LaunchError::Io { path: path.to_path_buf(), error }
}

/// Makes the directory this driver's own, empty but for the lock and directories for logs.
pub(super) fn prepare(config: &Config, ports: &Ports, now: Now) -> Result<Lock, LaunchError> {
    let directory = &config.directory.path;
    let files = ports.files.as_ref();
    files.create_directory(directory).map_err(at(directory))?;
    let lock_path = directory.join(LOCK_FILE);
    let lock = files.lock(&lock_path).map_err(at(&lock_path))?;
    let active = || LaunchError::Active(directory.clone());
    let Some(lock) = lock else { return Err(active()) };
    if !config.directory.delete_on_start && is_active(config, files, &lock_path, now) {
        return Err(active());
    }
    save_error_log(directory, files, now);
    remove_all_but(directory, LOCK_FILE, files).map_err(at(directory))?;
    write_owner(&lock_path, files, ports.process_id, now).map_err(at(&lock_path))?;
    for name in ["publications", "images"] {
        let path = directory.join(name);
        files.create_directory(&path).map_err(at(&path))?;
    }
    Ok(Some(lock))
}

/// What a driver left in its directory.
struct Remains {
    header: Header,
    heartbeat_ms: i64,
    error_log: Vec<u8>,
}

fn remains(directory: &Path, files: &dyn Files) -> Option<Remains> {
    let path = directory.join(cnc::FILE_NAME);
    files.entry(&path).ok().flatten()?;
    let mapping = files.map(&path).ok()?;
    let length = mapping.region().length();
    if length < cnc::HEADER_LENGTH {
        return None;
    }
    let whole = AtomicBuffer::new(std::sync::Arc::clone(mapping.region()));
    if whole.load_i32_acquire(cnc::VERSION_OFFSET) == 0 {
        return None;
    }
    let mut bytes = [0; cnc::HEADER_LENGTH];
    whole.copy_out(0, &mut bytes);
    let header = Header::decode(&bytes).ok()?;
    let sections = header.sections(length).ok()?;
    let trailer = sections.to_driver.offset + sections.to_driver.length - TRAILER_LENGTH;
    let heartbeat = trailer + CONSUMER_HEARTBEAT_OFFSET;
    if !heartbeat.is_multiple_of(8) {
        return None;
    }
    let heartbeat_ms = whole.load_i64_acquire(heartbeat);
    let mut error_log = vec![0; sections.error_log.length];
    whole.copy_out(sections.error_log.offset, &mut error_log);
    Some(Remains { header, heartbeat_ms, error_log })
}

/// Whether the driver whose files are here lives. Its lock is free, as this process holds it now.
fn is_active(config: &Config, files: &dyn Files, lock_path: &Path, now: Now) -> bool {
    let Some(remains) = remains(&config.directory.path, files) else { return false };
    let owner = (remains.header.pid, remains.header.start_timestamp_ms);
    if read_owner(lock_path, files) == Some(owner) {
        // It was one of ours, and its lock ended with it.
        return false;
    }
    let age = now.epoch_millis().saturating_sub(remains.heartbeat_ms);
    remains.heartbeat_ms != HEARTBEAT_CLOSED && age <= config.timeouts.driver.as_millis()
}

fn read_owner(lock_path: &Path, files: &dyn Files) -> Option<(i64, i64)> {
    let file = files.open(lock_path).ok()?;
    let mut bytes = [0; LOCK_LENGTH];
    read_exact_at(file.as_ref(), &mut bytes, 0).ok()?;
    let (pid, start) = bytes.split_first_chunk::<8>()?;
    let start = start.first_chunk::<8>()?;
    Some((i64::from_le_bytes(*pid), i64::from_le_bytes(*start)))
}

fn write_owner(lock_path: &Path, files: &dyn Files, pid: i64, now: Now) -> io::Result<()> {
    let file = files.open(lock_path)?;
    let mut bytes = [0; LOCK_LENGTH];
    bytes[..8].copy_from_slice(&pid.to_le_bytes());
    bytes[8..].copy_from_slice(&now.epoch_millis().to_le_bytes());
    write_all_at(file.as_ref(), &bytes, 0)
}

fn remove_all_but(directory: &Path, kept: &str, files: &dyn Files) -> io::Result<()> {
    for entry in files.list(directory)? {
        let path = directory.join(&entry.name);
        if entry.name == kept {
            continue;
        }
        if entry.is_directory {
            files.remove_tree(&path)?;
        } else {
            files.remove(&path)?;
        }
    }
    Ok(())
}

/// Saves the errors of the last driver beside the directory. A failure only loses them.
fn save_error_log(directory: &Path, files: &dyn Files, now: Now) {
    let Some(remains) = remains(directory, files) else { return };
    let mut text = String::new();
    for record in wire::error_log::records(&remains.error_log) {
        let message = String::from_utf8_lossy(record.text);
        text.push_str(&format!(
            "{} observations from {} to {} for:\n{message}\n\n",
            record.observations,
            date(record.first_timestamp_ms),
            date(record.last_timestamp_ms),
        ));
    }
    if text.is_empty() {
        return;
    }
    let mut name = OsString::from(directory.as_os_str());
    name.push(format!("-{}-error.log", date(now.epoch_millis())));
    if let Ok(file) = files.create(&PathBuf::from(name)) {
        // What cannot be saved is lost; the driver starts all the same.
        let _written = write_all_at(file.as_ref(), text.as_bytes(), 0);
    }
}

/// A time in UTC as `yyyy-MM-dd-HH-mm-ss-SSS+0000`.
fn date(epoch_ms: i64) -> String {
    let (days, ms) = (epoch_ms.div_euclid(86_400_000), epoch_ms.rem_euclid(86_400_000));
    // Days since 0000-03-01, in eras of 400 years (Howard Hinnant, civil_from_days).
    let z = days + 719_468;
    let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let (seconds, millis) = (ms / 1_000 % 60, ms % 1_000);
    format!("{year:04}-{month:02}-{day:02}-{hours:02}-{minutes:02}-{seconds:02}-{millis:03}+0000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01-00-00-00-000+0000");
        assert_eq!(date(951_782_400_000), "2000-02-29-00-00-00-000+0000");
        assert_eq!(date(1_767_225_599_999), "2025-12-31-23-59-59-999+0000");
    }
}
