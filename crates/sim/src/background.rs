//! The background port in virtual time: a job is done a random while after it was handed over.
//!
//! Jobs of one window are done in order, and jobs of a process that ended before never are.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use runtime::Nanos;
use runtime::background::{Background, Job, Outcome, Ticket, Workers};
use runtime::files::{File, Files, write_all_at};
use runtime::random::Rng;

use crate::current::{Addressee, Current};
use crate::lock;
use crate::network::NetworkCore;
use crate::trace::Trace;
use crate::world::{HostId, ProcessId};

struct Window {
    owner: Addressee,
    last_due: Nanos,
    outcomes: Vec<(Ticket, Outcome)>,
    /// How many of them wait.
    waiting: Arc<AtomicUsize>,
}

/// A job whose time has come.
pub(crate) struct DueJob {
    window: usize,
    ticket: Ticket,
    job: Job,
    place: Place,
}

/// Where a job is done.
#[derive(Clone)]
struct Place {
    host: HostId,
    process: ProcessId,
    files: Arc<dyn Files>,
    network: Arc<Mutex<NetworkCore>>,
}

pub(crate) struct FinishedJob {
    window: usize,
    ticket: Ticket,
    outcome: Outcome,
}

/// All jobs of the world.
pub(crate) struct BackgroundCore {
    now: Nanos,
    rng: Rng,
    shortest: Nanos,
    longest: Nanos,
    /// By number; a number is never used again.
    windows: BTreeMap<usize, Window>,
    next_window: usize,
    next_ticket: u64,
    due: BinaryHeap<Reverse<(Nanos, Ticket)>>,
    jobs: BTreeMap<Ticket, DueJob>,
    /// How much longer jobs of a host take, and until when none is done.
    slow: BTreeMap<HostId, (Nanos, Nanos)>,
    trace: Trace,
}

impl BackgroundCore {
    pub(crate) fn new(rng: Rng, shortest: Nanos, longest: Nanos) -> Self {
        Self {
            now: Nanos(0),
            rng,
            shortest,
            longest,
            windows: BTreeMap::new(),
            next_window: 0,
            next_ticket: 1,
            due: BinaryHeap::new(),
            jobs: BTreeMap::new(),
            slow: BTreeMap::new(),
            trace: Trace::default(),
        }
    }

    pub(crate) fn set_now(&mut self, now: Nanos) {
        self.now = now;
    }

    pub(crate) fn set_delay(&mut self, shortest: Nanos, longest: Nanos) {
        (self.shortest, self.longest) = (shortest, longest);
    }

    /// Jobs of a host that are handed over from now on take longer by `span`.
    pub(crate) fn set_slow(&mut self, host: HostId, span: Nanos) {
        self.slow.insert(host, (span, Nanos(0)));
    }

    /// Jobs of a host that are handed over from now on are not done before `until`.
    pub(crate) fn stall(&mut self, host: HostId, until: Nanos) {
        self.slow.insert(host, (Nanos(0), until));
    }

    pub(crate) fn next_due(&self) -> Nanos {
        self.due.peek().map_or(Nanos::MAX, |Reverse((due, _))| *due)
    }

    pub(crate) fn trace_value(&self) -> u64 {
        self.trace.value()
    }

    pub(crate) fn take_due(&mut self, now: Nanos) -> Option<DueJob> {
        while self.next_due() <= now {
            let Reverse((due, ticket)) = self.due.pop()?;
            if let Some(job) = self.jobs.remove(&ticket) {
                self.trace.mix_time(due);
                self.trace.mix(ticket.0);
                return Some(job);
            }
        }
        None
    }

    /// Hands over what came of a job; returns for whom.
    pub(crate) fn complete(&mut self, finished: FinishedJob) -> Option<Addressee> {
        let window = self.windows.get_mut(&finished.window)?;
        window.outcomes.push((finished.ticket, finished.outcome));
        window.waiting.store(window.outcomes.len(), Ordering::Relaxed);
        Some(window.owner)
    }

    pub(crate) fn close_all(&mut self, process: ProcessId) {
        self.windows.retain(|_, window| window.owner.process != process);
        self.jobs.retain(|_, job| job.place.process != process);
    }

    fn submit(&mut self, window_id: usize, job: Job, place: Place) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        // The window of a process that has ended: nothing is done for it any more.
        let Some(window) = self.windows.get_mut(&window_id) else { return ticket };
        let spread = (self.longest - self.shortest).0.max(0).cast_unsigned();
        let delay = self.shortest + Nanos(self.rng.below(spread + 1).cast_signed());
        let slow = self.slow.get(&place.host).copied().unwrap_or_default();
        window.last_due = window.last_due.max(self.now + delay + slow.0).max(slow.1);
        self.due.push(Reverse((window.last_due, ticket)));
        self.jobs.insert(ticket, DueJob { window: window_id, ticket, job, place });
        ticket
    }
}

impl DueJob {
    pub(crate) fn host(&self) -> HostId {
        self.place.host
    }

    /// Does the job.
    pub(crate) fn perform(self) -> FinishedJob {
        let outcome = self.place.perform(self.job).unwrap_or_else(Outcome::Failed);
        FinishedJob { window: self.window, ticket: self.ticket, outcome }
    }
}

impl Place {
    fn perform(&self, job: Job) -> io::Result<Outcome> {
        match job {
            Job::Sync { files, sync, directories } => {
                files.iter().try_for_each(|file| file.sync(sync))?;
                directories.iter().try_for_each(|path| self.files.sync_directory(path))?;
                Ok(Outcome::Done)
            }
            Job::CreateMapped { path, length, allocate, .. } => {
                self.files.create_mapped(&path, length, allocate).map(Outcome::Mapped)
            }
            Job::CreateZeroed { path, length, sync } => {
                let file = self.files.create(&path)?;
                let filled = if sync {
                    fill(file.as_ref(), length)
                        .and_then(|()| file.sync(runtime::files::SyncKind::All))
                        .and_then(|()| {
                            let directory = path.parent();
                            directory.map_or(Ok(()), |path| self.files.sync_directory(path))
                        })
                } else {
                    file.set_length(length)
                };
                if let Err(error) = filled {
                    self.files.remove(&path)?;
                    return Err(error);
                }
                Ok(Outcome::Opened(file))
            }
            Job::Touch { .. } | Job::Release(_) | Job::Uncache { .. } => Ok(Outcome::Done),
            Job::Remove(paths) => {
                for path in paths {
                    match self.files.remove(&path) {
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        result => result?,
                    }
                }
                Ok(Outcome::Done)
            }
            Job::Resolve(name) => lock(&self.network)
                .resolve(&name)
                .map(Outcome::Resolved)
                .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "unknown host name")),
        }
    }
}

/// Makes zeros of `length`; the empty write counts as one that can be made to fail.
fn fill(file: &dyn File, length: u64) -> io::Result<()> {
    write_all_at(file, &[0], 0)?;
    file.set_length(length)
}

/// Hands out windows of one process.
pub(crate) struct SimWorkers {
    core: Arc<Mutex<BackgroundCore>>,
    place: Place,
    current: Current,
}

impl SimWorkers {
    pub(crate) fn new(
        core: Arc<Mutex<BackgroundCore>>,
        network: Arc<Mutex<NetworkCore>>,
        files: Arc<dyn Files>,
        (host, process): (HostId, ProcessId),
        current: Current,
    ) -> Self {
        Self { core, place: Place { host, process, files, network }, current }
    }
}

impl Workers for SimWorkers {
    fn open(&self) -> Box<dyn Background> {
        let mut core = lock(&self.core);
        let id = core.next_window;
        core.next_window += 1;
        let last_due = core.now;
        let Place { host, process, .. } = self.place;
        let owner = Addressee { host, process, agent: self.current.get() };
        let waiting = Arc::new(AtomicUsize::new(0));
        let (outcomes, shared) = (Vec::new(), Arc::clone(&waiting));
        core.windows.insert(id, Window { owner, last_due, outcomes, waiting: shared });
        let (core, place) = (Arc::clone(&self.core), self.place.clone());
        Box::new(SimBackground { core, place, id, waiting })
    }
}

struct SimBackground {
    core: Arc<Mutex<BackgroundCore>>,
    place: Place,
    id: usize,
    waiting: Arc<AtomicUsize>,
}

impl Background for SimBackground {
    fn submit(&mut self, job: Job) -> Ticket {
        lock(&self.core).submit(self.id, job, self.place.clone())
    }

    fn poll(&mut self, on: &mut dyn FnMut(Ticket, Outcome)) -> usize {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let outcomes = match lock(&self.core).windows.get_mut(&self.id) {
            Some(window) if !window.outcomes.is_empty() => {
                window.waiting.store(0, Ordering::Relaxed);
                std::mem::take(&mut window.outcomes)
            }
            _ => return 0,
        };
        let count = outcomes.len();
        for (ticket, outcome) in outcomes {
            on(ticket, outcome);
        }
        count
    }
}

impl Drop for SimBackground {
    /// Jobs handed over before are still done, while the process lives.
    fn drop(&mut self) {
        lock(&self.core).windows.remove(&self.id);
    }
}
