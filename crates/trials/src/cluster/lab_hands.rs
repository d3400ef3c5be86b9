//! More hands on a cluster under test: what an operator does, and what breaks inside of members.

use std::path::Path;
use std::sync::Arc;

use archive_client::{ArchiveClient, Request, RequestError};
use client::Handle;
use cluster::recording_log::RecordingLog;
use runtime::Nanos;

use super::lab::Lab;
use super::lives::Refusal;
use super::node::{CLUSTER_DIRECTORY, DRIVER_DIRECTORY};
use super::operator::{Answer, Operator};
use super::plan::Trouble;
use super::{Failure, node};
use crate::lock;

/// How long an operator may take.
const OPERATOR_SPAN: i64 = 5_000;

/// A part of a member, which a thread of its own may step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // What the names say.
pub enum Part {
    Driver = 0,
    Archive = 1,
    Module = 2,
    Service = 3,
    SecondService = 4,
}

impl Lab {
    /// An operator asks the archive of a member, until `ask` has its answer.
    ///
    /// # Errors
    /// The first violation, or that there is no answer in time.
    pub fn operate<T: Send + 'static>(
        &mut self,
        member: usize,
        ask: impl FnMut(&Handle, &mut ArchiveClient) -> Option<Result<T, String>> + Send + 'static,
    ) -> Result<Result<T, String>, Failure> {
        let host = self.host(member);
        let now = self.storm.world.now(host);
        let answer: Answer<T> = Answer::default();
        let shared = Arc::clone(&answer);
        let id = self
            .storm
            .world
            .spawn(host, |ports| vec![Box::new(Operator::new(ask, shared, ports, now))]);
        let is_over = self.wait(OPERATOR_SPAN, |_| lock(&answer).is_some())?;
        self.storm.world.stop(id);
        let answer = lock(&answer).take();
        if !is_over {
            return Err(self.storm.failure("an operator has no answer".to_string()));
        }
        Ok(answer.unwrap_or_else(|| Err("no answer".to_string())))
    }

    /// One request of an operator.
    ///
    /// # Errors
    /// The first violation, or that there is no answer in time.
    pub fn ask_archive<T: archive_client::FromAnswer + Send + 'static>(
        &mut self,
        member: usize,
        ask: impl Fn(&mut ArchiveClient) -> Request<T> + Send + 'static,
    ) -> Result<Result<T, String>, Failure>
    where
        Request<T>: Send + Copy,
    {
        let mut request = None;
        self.operate(member, move |_, archive| {
            let request = *request.get_or_insert_with(|| ask(archive));
            let answer: Option<Result<T, RequestError>> = archive.take(request);
            answer.map(|answer| answer.map_err(|error| error.to_string()))
        })
    }

    /// One part of a member is not stepped for so many milliseconds; `false` if one thread steps
    /// all of them.
    pub fn starve(&mut self, member: usize, part: Part, millis: i64) -> bool {
        let Some(id) = self.storm.members[member].id else { return false };
        let count = self.storm.world.agent_count(id);
        if count == 1 || count <= part as usize {
            return false;
        }
        let (now, span) = (self.storm.world.elapsed(), Nanos::from_millis(millis));
        self.storm.members[member].stands_still(now, span, Trouble::Starve);
        self.storm.world.pause_agent(id, part as usize, span);
        true
    }

    /// A member may end by itself from here on.
    pub fn may_end(&mut self, member: usize) {
        self.storm.members[member].may_end = true;
    }

    /// Whether a member runs.
    #[must_use]
    pub fn is_up(&self, member: usize) -> bool {
        self.storm.members[member].id.is_some()
    }

    /// How often a member has begun.
    #[must_use]
    pub fn lives(&self, member: usize) -> u64 {
        self.storm.members[member].lives
    }

    /// A member that is away tries to start; why it is refused, if it is. It stays away then.
    ///
    /// # Errors
    /// The first violation.
    pub fn try_start(&mut self, member: usize) -> Result<Option<String>, Failure> {
        match self.storm.try_start(member) {
            Ok(()) => Ok(None),
            Err(Refusal(what)) => {
                self.storm.members[member].again = Nanos::MAX;
                Ok(Some(what))
            }
        }
    }

    /// The disk of a member takes no byte more, whatever is removed, until it is cured.
    pub fn fill_disk(&mut self, member: usize) {
        let host = self.host(member);
        self.storm.world.disk_faults(host).set_space(0);
    }

    /// The disk of a member has room again.
    pub fn cure(&mut self, member: usize) {
        self.storm.cure(member);
    }

    /// The services of these members fail at the next message; of nobody: they are mended.
    pub fn poison(&mut self, members: &[usize]) {
        members.iter().for_each(|&member| self.may_end(member));
        let mut oracle = lock(&self.storm.oracle);
        let from = oracle.count();
        oracle.quirks.poison(members, from);
    }

    /// The service of a member takes something into its state that is not in the log.
    pub fn stray(&mut self, member: usize) {
        lock(&self.storm.oracle).quirks.stray(member);
    }

    /// The next message asks for so many timers, all due at one time.
    pub fn storm_of_timers(&mut self, timers: u64) {
        let members = self.storm.members.len();
        let mut oracle = lock(&self.storm.oracle);
        let from = oracle.count();
        oracle.quirks.storm(members, timers, from);
    }

    /// Every fourth message has this length.
    pub fn set_message_length(&mut self, length: usize) {
        lock(&self.storm.oracle).quirks.length = Some(length);
    }

    /// How many timers have fired.
    #[must_use]
    pub fn timers(&self) -> u64 {
        lock(&self.storm.oracle).totals.timers
    }

    /// Where the service of a member stands.
    #[must_use]
    pub fn applied(&self, member: usize) -> i64 {
        lock(&self.storm.oracle).members[member].position
    }

    /// All clients are gone, and come back when all heals.
    pub fn dismiss_clients(&mut self) {
        for caller in &mut self.storm.callers {
            if let Some(id) = caller.id.take() {
                self.storm.world.kill(id);
            }
            if let Some(client) = lock(&caller.name).take() {
                lock(&self.storm.oracle).is_gone(client);
            }
            caller.again = Nanos::MAX;
        }
    }

    /// The newest snapshot of a member that is away is declared invalid, as an operator does;
    /// returns its position.
    pub fn invalidate_snapshot(&mut self, member: usize) -> Option<i64> {
        let ports = self.storm.world.ports(self.storm.members[member].watcher);
        let directory = Path::new(CLUSTER_DIRECTORY);
        let (mut log, _) = RecordingLog::open(&ports.files, directory, false).ok()?;
        let newest = log.snapshots().into_iter().max_by_key(|it| (it.term, it.position))?;
        for entry in log.snapshots() {
            if entry.position == newest.position {
                log.invalidate(entry.recording_id).ok()?;
            }
        }
        log.settle().ok()?;
        Some(newest.position.0)
    }

    /// A file of a member that is away is removed; `false` if there was none.
    pub fn remove(&mut self, member: usize, path: &str) -> bool {
        let ports = self.storm.world.ports(self.storm.members[member].watcher);
        let path = Path::new(path);
        ports
            .files
            .remove(path)
            .and_then(|()| ports.files.sync_directory(path.parent().unwrap_or(path)))
            .is_ok()
    }

    /// The shared memory of a member is removed, whoever uses it.
    pub fn remove_shared_memory(&mut self, member: usize) {
        let ports = self.storm.world.ports(self.storm.members[member].watcher);
        // Nothing was there if it cannot be removed.
        let _ = ports.files.remove_tree(Path::new(DRIVER_DIRECTORY));
    }

    /// The text of a member's errors, of all its parts.
    #[must_use]
    pub fn errors(&self, member: usize) -> String {
        node::errors(&self.storm.world.ports(self.storm.members[member].watcher))
    }
}
