//! Who owns a locked directory, written into the lock's file.
//!
//! A lock ends with its process, also by a crash: whoever gets it knows that those named in its
//! file are dead, and need not wait until what they left behind looks old.

use std::io;
use std::path::Path;

use wire::time::Now;

use crate::files::{Files, SyncKind, read_exact_at, write_all_at};

/// Longest text that is read.
const LENGTH_MAX: u64 = 128;

/// The processes that last wrote themselves into a lock's file: the owner and the one before, of
/// which something may stand if a crash came before the owner made it its own.
///
/// # Errors
/// The file cannot be read.
pub fn read(files: &dyn Files, lock: &Path) -> io::Result<Vec<i64>> {
    let file = files.open(lock)?;
    let mut bytes = vec![0; usize::try_from(file.length()?.min(LENGTH_MAX)).unwrap_or_default()];
    read_exact_at(&*file, &mut bytes, 0)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut words = text.split_whitespace();
    let owners = [words.next(), words.nth(1)];
    Ok(owners.into_iter().flatten().filter_map(|word| word.parse().ok()).collect())
}

/// Writes process, start time and the process before, as text, for people too. Durable, so that
/// whoever comes after a power cut knows that the owner is dead.
///
/// # Errors
/// The file cannot be written.
pub fn write(
    files: &dyn Files,
    lock: &Path,
    process_id: i64,
    last: &[i64],
    now: Now,
) -> io::Result<()> {
    let file = files.open(lock)?;
    let last = last.first().map_or_else(String::new, |id| format!(" {id}"));
    let text = format!("{process_id} {}{last}\n", now.epoch_millis());
    file.set_length(text.len() as u64)?;
    write_all_at(&*file, text.as_bytes(), 0)?;
    file.sync(SyncKind::All)?;
    lock.parent().map_or(Ok(()), |directory| files.sync_directory(directory))
}
