//! The protocols of a cluster directory: terms and snapshots in `recording.log`, votes in
//! `node-state.dat`, and the mark files beside them and in the archive's directory.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cluster::config::Config;
use cluster::directory::{Directory, DirectoryError};
use cluster::mark_file::{MarkFile, MarkFileError};
use cluster::persist::Persister;
use consensus::{
    LeadershipTermId, Outcome as Persisted, Persist, RecordingId, SnapshotSet, TermRecord,
    newest_snapshot,
};
use runtime::files::{FileLock, SyncKind, read_exact_at, write_all_at};
use runtime::guarded::Guarded;
use runtime::random::Rng;
use runtime::{Nanos, Now, Ports};
use sim::World;
use wire::cluster::mark::{ERROR_LOG_OFFSET, MARK_FILE_NAME, MarkFileHeader};
use wire::cluster::node_state;
use wire::message::Message;
use wire::position::Position;

use super::{Fault, Outcome, Scene, bed, later, model};

const DIRECTORY: &str = "/node/cluster";
const LOG: RecordingId = RecordingId(3);
const SERVICES: usize = 2;

/// What a member starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    terms: Vec<TermRecord>,
    snapshot: Option<SnapshotSet>,
    vote: LeadershipTermId,
}

/// Every second seed does without guards.
fn open(seed: u64, ports: &Ports, now: Now) -> Result<(Directory, Outcome), String> {
    let mut config = Config::default();
    config.member.directory = PathBuf::from(DIRECTORY);
    config.member.guards = seed.is_multiple_of(2);
    config.member.error_buffer_length = 4 << 10;
    let open =
        |now| Directory::open(ports, &config, Path::new("/dev/shm/aeron"), 10, "accept all", now);
    match open(now) {
        Ok(directory) => Ok((directory, Outcome::Recovered)),
        Err(DirectoryError::Mark(MarkFileError::Active { .. })) => {
            let directory = open(later(now, Nanos::from_secs(11)));
            let directory = directory.map_err(|error| error.to_string())?;
            Ok((directory, Outcome::Refused("its mark file says that it lives".to_string())))
        }
        Err(error) => Err(error.to_string()),
    }
}

fn found(directory: &Directory) -> Found {
    Found {
        terms: directory.recording_log.terms(),
        snapshot: newest_snapshot(&directory.recording_log.snapshots(), SERVICES),
        vote: directory.node_state.candidate_term(),
    }
}

/// A run: the records one after the other, and what a member would start from after each.
struct Run {
    seed: u64,
    world: World,
    host: sim::HostId,
    journal: sim::Journal,
    persister: Persister,
    /// What lasts as long as the process.
    _held: (MarkFile, Box<dyn FileLock>),
    states: Vec<Found>,
    marks: usize,
}

impl Run {
    fn new(seed: u64) -> Result<Self, Fault> {
        let mut world = World::new(seed);
        let host = world.add_host("host", &[IpAddr::from([10, 0, 0, 1])]);
        let journal = world.watch(host, Path::new("/node"));
        let process = world.spawn(host, |_| Vec::new());
        let ports = world.ports(process);
        let (directory, _) = open(seed, &ports, world.now(host)).map_err(Fault::run)?;
        let states = vec![found(&directory)];
        let (persister, mark_file, lock) = directory.into_parts(&ports);
        let _held = (mark_file, lock);
        Ok(Self { seed, world, host, journal, persister, _held, states, marks: 0 })
    }

    /// Makes a record durable, and notes when it was asked for and when it was told to be there.
    fn perform(&mut self, record: &Persist) -> Result<(), Fault> {
        self.note();
        for _ in 0..100_000 {
            let now = self.world.now(self.host);
            let performed = self.persister.perform(now, record, LOG, now.epoch_millis());
            if performed.map_err(Fault::run)? == Persisted::Done {
                let mut next = self.states[self.states.len() - 1].clone();
                next.terms = self.persister.recording_log().terms();
                let snapshots = self.persister.recording_log().snapshots();
                next.snapshot = newest_snapshot(&snapshots, SERVICES);
                if let Persist::CandidateTerm { term, .. } = record {
                    next.vote = *term;
                }
                self.states.push(next);
                self.note();
                return Ok(());
            }
            self.world.run_for(Nanos::from_micros(100));
        }
        Err(Fault::run("a record is not made"))
    }

    /// Marks are odd while a record is being made.
    fn note(&mut self) {
        self.marks += 1;
        self.journal.mark(self.marks);
    }

    fn scene(self) -> Scene {
        let Self { seed, world, host, journal, states, .. } = self;
        let judge = move |ports: &Ports, now, known: usize| {
            let (directory, outcome) = open(seed, ports, now)?;
            let (before, after) = (&states[known / 2], &states[known.div_ceil(2)]);
            judge(&found(&directory), before, after)?;
            // What is written after the hole of a torn append must not bring back what lay there.
            go_on(seed, directory, ports, now, before, after)?;
            Ok(outcome)
        };
        Scene { events: journal.events(), judge: Box::new(judge), end: world.now(host) }
    }
}

/// Each thing is as before the record under way, or as after it.
fn judge(found: &Found, before: &Found, after: &Found) -> Result<(), String> {
    let told = || format!("\n    found {found:?}\n    before {before:?}\n    after {after:?}");
    if found.vote != before.vote && found.vote != after.vote {
        return Err(format!("vote{}", told()));
    }
    if found.snapshot != before.snapshot && found.snapshot != after.snapshot {
        return Err(format!("snapshot{}", told()));
    }
    for term in &found.terms {
        if !before.terms.contains(term) && !after.terms.contains(term) {
            return Err(format!("term {term:?} was never recorded{}", told()));
        }
    }
    let kept = before.terms.iter().filter(|term| after.terms.contains(term));
    for term in kept {
        if !found.terms.contains(term) {
            return Err(format!("term {term:?} is lost{}", told()));
        }
    }
    Ok(())
}

/// The next life records a snapshot of its own and ends; the life after it finds that and nothing
/// more.
fn go_on(
    seed: u64,
    mut directory: Directory,
    ports: &Ports,
    now: Now,
    before: &Found,
    after: &Found,
) -> Result<(), String> {
    let (term, position) = (LeadershipTermId(900), Position(1 << 40));
    let entries: Vec<_> = [0, 1, -1]
        .map(|service_id| consensus::SnapshotEntry {
            recording_id: RecordingId(700 + i64::from(service_id)),
            term,
            position,
            timestamp: 5,
            service_id,
        })
        .to_vec();
    let log = &mut directory.recording_log;
    for snapshot in entries.chunks(1) {
        log.append_snapshot(Position(0), snapshot).map_err(|error| error.to_string())?;
    }
    log.settle().map_err(|error| error.to_string())?;
    drop(directory);
    let (directory, _) = open(seed, ports, now)?;
    let mut found = found(&directory);
    let is_own = found.snapshot.as_ref().is_some_and(|it| it.position == position);
    if !is_own {
        return Err(format!("a later snapshot is not found: {found:?}"));
    }
    let older = directory.recording_log.snapshots();
    let older: Vec<_> = older.into_iter().filter(|it| it.position != position).collect();
    found.snapshot = newest_snapshot(&older, SERVICES);
    judge(&found, before, after).map_err(|cause| format!("one life later: {cause}"))
}

/// Terms with gaps, ends and falls, and snapshots between them.
pub(super) fn recording_log(seed: u64) -> Result<Scene, Fault> {
    let mut run = Run::new(seed)?;
    let mut rng = Rng::new(seed, "records");
    let (mut term, mut position, mut snapshots) = (-1, 0, 0);
    for _ in 0..24 {
        position += 32 * (1 + rng.below(1_000).cast_signed());
        let record = match rng.below(8) {
            0..=3 => {
                let gap_from = term + 1;
                term = gap_from + rng.below(5).cast_signed();
                Persist::Term {
                    term: LeadershipTermId(term),
                    base: Position(position),
                    gap_from: LeadershipTermId(gap_from),
                }
            }
            4 if term > 0 => {
                term -= 1 + rng.below(2).cast_signed().min(term);
                Persist::DropTerms { from: LeadershipTermId(term + 1) }
            }
            5 if term >= 0 => {
                Persist::EndTerm { term: LeadershipTermId(term), end: Position(position) }
            }
            _ => {
                snapshots += 10;
                Persist::Snapshot {
                    term: LeadershipTermId(term.max(0)),
                    term_base: Position(0),
                    position: Position(position),
                    timestamp: 1_000 + snapshots,
                    module: RecordingId(snapshots),
                    services: vec![RecordingId(snapshots + 1), RecordingId(snapshots + 2)],
                }
            }
        };
        run.perform(&record)?;
    }
    Ok(run.scene())
}

/// Votes, one after the other.
pub(super) fn node_state(seed: u64) -> Result<Scene, Fault> {
    let mut run = Run::new(seed)?;
    for vote in 0..12 {
        let term = LeadershipTermId(vote * 3);
        run.perform(&Persist::CandidateTerm { term, log_position: Position(vote * 640) })?;
    }
    Ok(run.scene())
}

/// The vote that an old module left in its mark file.
const OLD_VOTE: i64 = 9;

fn archive_config(seed: u64) -> archive::Config {
    let mut config = bed::config(seed.is_multiple_of(2));
    config.storage.error_buffer_length = 4 << 10;
    config.storage.directory = PathBuf::from("/node/archive");
    config
}

/// Lives that take a node's directories over one after the other; the first is an old module's,
/// which kept its vote in the mark file.
pub(super) fn mark_files(seed: u64) -> Result<Scene, Fault> {
    let mut world = World::new(seed);
    let host = world.add_host("host", &[IpAddr::from([10, 0, 0, 1])]);
    let journal = world.watch(host, Path::new("/node"));
    for life in 0..5 {
        let process = world.spawn(host, |_| Vec::new());
        let ports = world.ports(process);
        let now = world.now(host);
        let (mut archive, _) =
            model::open(&ports, &archive_config(seed), now).map_err(Fault::run)?;
        let (mut directory, _) = open(seed, &ports, now).map_err(Fault::run)?;
        for _ in 0..3 {
            world.run_for(Nanos::from_millis(1_100));
            let now = world.now(host);
            archive.mark_file.beat(now);
            directory.mark_file.beat(now);
            journal.capture();
        }
        if life == 0 {
            drop(directory);
            grow_old(&ports).map_err(Fault::run)?;
            journal.mark(1);
        } else if life % 2 == 0 {
            archive.mark_file.terminate();
            directory.mark_file.terminate();
            journal.capture();
        }
        world.kill(process);
    }
    let judge = move |ports: &Ports, now, known: usize| {
        let (_, outcome) = model::open(ports, &archive_config(seed), now)?;
        let (directory, other) = open(seed, ports, now)?;
        let vote = directory.node_state.candidate_term().0;
        if vote != OLD_VOTE && known > 0 {
            return Err(format!("the vote is {vote}, it was {OLD_VOTE}"));
        }
        Ok(outcome.max(other))
    };
    Ok(Scene { events: journal.events(), judge: Box::new(judge), end: world.now(host) })
}

/// Makes the cluster directory that of an old module.
fn grow_old(ports: &Ports) -> std::io::Result<()> {
    let directory = Path::new(DIRECTORY);
    let mark = ports.files.open(&directory.join(MARK_FILE_NAME))?;
    let mut bytes = vec![0; ERROR_LOG_OFFSET];
    read_exact_at(&*mark, &mut bytes, 0)?;
    let mut voted = vec![0; ERROR_LOG_OFFSET];
    let header = MarkFileHeader::decode(&bytes).map_err(std::io::Error::other)?;
    let header = MarkFileHeader { candidate_term_id: OLD_VOTE, ..header };
    header.encode(&mut voted).map_err(std::io::Error::other)?;
    write_all_at(&*mark, &voted, 0)?;
    mark.sync(SyncKind::All)?;
    let node_state = directory.join(node_state::FILE_NAME);
    Guarded::forget(&*ports.files, &node_state)?;
    ports.files.sync_directory(directory)?;
    ports.files.remove(&node_state)?;
    ports.files.sync_directory(directory)
}
