//! Who owns a locked directory, written into the lock's file.
//!
//! A lock ends with its process, also by a crash: whoever gets it knows that those named in its
//! file are dead, and need not wait until what they left behind looks old.
//!
//! The file has the same line twice, each with a checksum: rot in one leaves the other, and names
//! nobody who lives.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use wire::time::Now;

use crate::files::{Files, SyncKind, read_exact_at, write_all_at};

/// Longest text that is read.
const LENGTH_MAX: u64 = 256;

/// A process that owned a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    process_id: i64,
    start_ms: i64,
}

/// The processes that last wrote themselves into a lock's file: the owner and those before, of
/// which something may stand if a crash came before the owner made it its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners(Vec<Owner>);

impl Owners {
    /// Reads those of a lock's file that are named without doubt.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(files: &dyn Files, lock: &Path) -> io::Result<Self> {
        let file = files.open(lock)?;
        let length = file.length()?.min(LENGTH_MAX);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        read_exact_at(&*file, &mut bytes, 0)?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(Self(text.lines().find_map(decode).unwrap_or_default()))
    }

    /// Writes process and start time, and those before, as text, for people too. Durable, so that
    /// whoever comes after a power cut knows that the owner is dead.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn succeed(
        &self,
        files: &dyn Files,
        lock: &Path,
        process_id: i64,
        now: Now,
    ) -> io::Result<()> {
        let file = files.open(lock)?;
        let owner = Owner { process_id, start_ms: now.epoch_millis() };
        let line = encode([&owner].into_iter().chain(self.0.iter().take(2)));
        // An empty line between: the end of one may rot too.
        let text = format!("{line}\n{line}");
        file.set_length(text.len() as u64)?;
        write_all_at(&*file, text.as_bytes(), 0)?;
        file.sync(SyncKind::All)?;
        lock.parent().map_or(Ok(()), |directory| files.sync_directory(directory))
    }

    /// Whether one of them made a mark file that names this process and this start time. Either
    /// is enough: the mark file may rot as well.
    #[must_use]
    pub fn made(&self, process_id: i64, start_ms: i64) -> bool {
        self.0.iter().any(|it| it.process_id == process_id || it.start_ms == start_ms)
    }
}

fn encode<'a>(owners: impl Iterator<Item = &'a Owner>) -> String {
    let mut line = String::new();
    for Owner { process_id, start_ms } in owners {
        let _ = write!(line, "{process_id} {start_ms} ");
    }
    let sum = crc32c::crc32c(line.as_bytes());
    let _ = writeln!(line, "{sum:08x}");
    line
}

fn decode(line: &str) -> Option<Vec<Owner>> {
    let (named, sum) = line.split_at_checked(line.rfind(' ')? + 1)?;
    if u32::from_str_radix(sum, 16).ok()? != crc32c::crc32c(named.as_bytes()) {
        return None;
    }
    let words: Vec<i64> = named.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let owner = |&[process_id, start_ms]: &[i64; 2]| Owner { process_id, start_ms };
    Some(words.as_chunks().0.iter().map(owner).collect())
}
