//! The background port over helper threads: one for each window, begun with its first job.

use std::io;
use std::net::ToSocketAddrs as _;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use memory::buffer::AtomicBuffer;
use runtime::background::{Background, Job, Outcome, PathRange, Ticket, Workers};
use runtime::files::{File, Files, Mapping, SyncKind, write_all_at};

/// Touching one word in each of these many bytes brings a mapping into memory.
const PAGE_LENGTH: usize = 4_096;
/// Space is set aside for a file where there is room for as many of its length.
const ROOMY: u64 = 16;
/// Zeros are written in blocks of this length.
const ZEROS_LENGTH: usize = 1 << 18;

/// Opens windows whose jobs work on given files.
pub struct OsWorkers {
    files: Arc<dyn Files>,
}

impl OsWorkers {
    /// Windows over `files`, which may be wrapped by something that harms them.
    #[must_use]
    pub fn new(files: Arc<dyn Files>) -> Self {
        Self { files }
    }
}

impl Workers for OsWorkers {
    fn open(&self) -> Box<dyn Background> {
        let (outcomes_in, outcomes) = channel();
        let files = Arc::clone(&self.files);
        Box::new(OsBackground { files, jobs: None, outcomes_in, outcomes, next_ticket: 1, open: 0 })
    }
}

struct OsBackground {
    files: Arc<dyn Files>,
    /// The way to the helper thread, which ends when this is dropped and all jobs are done.
    jobs: Option<Sender<(Ticket, Job)>>,
    outcomes_in: Sender<(Ticket, Outcome)>,
    outcomes: Receiver<(Ticket, Outcome)>,
    next_ticket: u64,
    /// Jobs whose outcomes have not been handed over.
    open: usize,
}

impl OsBackground {
    fn begin(&self) -> io::Result<Sender<(Ticket, Job)>> {
        let (jobs_in, jobs) = channel();
        let (files, outcomes) = (Arc::clone(&self.files), self.outcomes_in.clone());
        thread::Builder::new().name("background".to_owned()).spawn(move || {
            for (ticket, job) in jobs {
                let outcome = perform(files.as_ref(), job).unwrap_or_else(Outcome::Failed);
                // Nobody listens when the window is gone; the jobs left are done all the same.
                let _ = outcomes.send((ticket, outcome));
            }
        })?;
        Ok(jobs_in)
    }

    fn hand_over(&mut self, ticket: Ticket, job: Job) -> io::Result<()> {
        if self.jobs.is_none() {
            self.jobs = Some(self.begin()?);
        }
        let sent = self.jobs.as_ref().map(|jobs| jobs.send((ticket, job)));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(io::Error::other("the helper thread has panicked")),
        }
    }
}

impl Background for OsBackground {
    fn submit(&mut self, job: Job) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.open += 1;
        if let Err(error) = self.hand_over(ticket, job) {
            // Our own receiver is alive: sending to it cannot fail.
            let _ = self.outcomes_in.send((ticket, Outcome::Failed(error)));
        }
        ticket
    }

    fn poll(&mut self, on: &mut dyn FnMut(Ticket, Outcome)) -> usize {
        let mut count = 0;
        while self.open > 0
            && let Ok((ticket, outcome)) = self.outcomes.try_recv()
        {
            self.open -= 1;
            on(ticket, outcome);
            count += 1;
        }
        count
    }
}

/// Whether setting space aside for a file leaves plenty to others.
fn is_roomy(files: &dyn Files, path: &Path, length: u64) -> bool {
    let space = path.parent().map(|parent| files.usable_space(parent));
    matches!(space, Some(Ok(space)) if space / ROOMY >= length)
}

fn perform(files: &dyn Files, job: Job) -> io::Result<Outcome> {
    match job {
        Job::Sync { files: dirty, sync, directories } => {
            dirty.iter().try_for_each(|file| file.sync(sync))?;
            directories.iter().try_for_each(|path| files.sync_directory(path))?;
            Ok(Outcome::Done)
        }
        Job::CreateMapped { path, length, allocate, touch } => {
            let mapping = files.create_mapped(&path, length, allocate)?;
            touch_pages(&mapping, 0, usize::try_from(touch).unwrap_or(usize::MAX));
            Ok(Outcome::Mapped(mapping))
        }
        Job::Touch { mapping, offset, length } => {
            touch_pages(&mapping, offset, length);
            Ok(Outcome::Done)
        }
        Job::CreateZeroed { path, length, sync } => {
            let file = files.create(&path)?;
            let made = if sync {
                write_zeros(file.as_ref(), length).and_then(|()| file.sync(SyncKind::All)).and_then(
                    |()| path.parent().map_or(Ok(()), |parent| files.sync_directory(parent)),
                )
            } else if is_roomy(files, &path, length) {
                // Blocks that are there cost a recorder a tenth less.
                file.reserve(length)
            } else {
                file.set_length(length)
            };
            if let Err(error) = made {
                files.remove(&path)?;
                return Err(error);
            }
            Ok(Outcome::Opened(file))
        }
        Job::Uncache { begin, give_back } => {
            let advise = |parts: Vec<PathRange>, tell: fn(&dyn File, Range<u64>)| {
                for PathRange { path, range } in parts {
                    if let Ok(file) = files.open(&path) {
                        tell(file.as_ref(), range);
                    }
                }
            };
            advise(begin, |file, range| file.begin_writing(range));
            advise(give_back, |file, range| file.uncache(range));
            Ok(Outcome::Done)
        }
        Job::Release(mappings) => {
            drop(mappings);
            Ok(Outcome::Done)
        }
        Job::Remove(paths) => {
            for path in paths {
                match files.remove(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    result => result?,
                }
            }
            Ok(Outcome::Done)
        }
        Job::Resolve(name) => {
            let addresses: Vec<_> =
                (name.as_str(), 0).to_socket_addrs()?.map(|address| address.ip()).collect();
            if addresses.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "a name without addresses"));
            }
            Ok(Outcome::Resolved(addresses))
        }
    }
}

/// Adds zero to a word of each page: others may write there meanwhile, and lose nothing.
fn touch_pages(mapping: &Mapping, offset: usize, length: usize) {
    let buffer = AtomicBuffer::new(Arc::clone(mapping.region()));
    let end = offset.saturating_add(length).min(buffer.length());
    let begin = offset - offset % PAGE_LENGTH;
    for page in (begin..end).step_by(PAGE_LENGTH).filter(|page| page + 4 <= buffer.length()) {
        let _ = buffer.fetch_add_i32(page, 0);
    }
}

fn write_zeros(file: &dyn File, length: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS_LENGTH];
    let mut offset = 0;
    while offset < length {
        let count = (length - offset).min(ZEROS_LENGTH as u64);
        let block = &zeros[..usize::try_from(count).unwrap_or(ZEROS_LENGTH)];
        write_all_at(file, block, offset)?;
        offset += count;
    }
    Ok(())
}
