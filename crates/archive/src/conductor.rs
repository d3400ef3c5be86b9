//! The conductor: decides what requests, images and completions mean, and steps the rest.
//!
//! One pass: requests, sessions, recordings, recorder, replayer, deletions, catalog. It owns the
//! catalog and all control sessions; blocks of data it never sees.

mod recordings;
mod replays;
mod replication;
mod requests;
mod rot;
mod segments;
mod source;
mod stops;

use std::collections::BTreeMap;
use std::io;

use client::{CorrelationId, Handle};
use memory::error_log::ErrorLog;
use runtime::agent::{Halt, Work};
use runtime::background::Background;
use runtime::ports::Ports;
use runtime::random::Rng;
use wire::time::Now;

use crate::authentication::Authenticator;
use crate::catalog::Catalog;
use crate::catalog_sync::CatalogSync;
use crate::config::Config;
use crate::control::outbox::Signal;
use crate::control::refusal::Refusal;
use crate::control::session::{Session, Surroundings};
use crate::counters::{Gauges, Shown};
use crate::directory::Directory;
use crate::events::EventsStream;
use crate::listing::{Listing, Step};
use crate::mark_file::MarkFile;
use crate::recorder::{Recorder, RecorderEvent};
use crate::replayer::{ReplayEvent, Replayer};
use crate::writer::Store;

use recordings::{ActiveRecording, RecordingSubscription};
use replays::Token;
use replication::Replication;
use rot::Rotten;
use segments::Deletion;
pub(crate) use source::RequestSource;
use stops::Stops;

/// What a conductor begins with.
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) archive_id: i64,
    pub(crate) client: Handle,
    pub(crate) directory: Directory,
    pub(crate) authenticator: Box<dyn Authenticator>,
    pub(crate) sources: Vec<RequestSource>,
    pub(crate) events: EventsStream,
    pub(crate) gauges: Gauges,
}

/// Decides what requests, images and completions mean.
pub(crate) struct Conductor {
    config: Config,
    archive_id: i64,
    client: Handle,
    store: Store,
    catalog: Catalog,
    sync: CatalogSync,
    mark_file: MarkFile,
    background: Box<dyn Background>,
    authenticator: Box<dyn Authenticator>,
    rng: Rng,
    sources: Vec<RequestSource>,
    next_session_id: i64,
    sessions: BTreeMap<i64, Session>,
    subscriptions: BTreeMap<i64, RecordingSubscription>,
    active: BTreeMap<i64, ActiveRecording>,
    recorder: Recorder,
    replayer: Replayer,
    tokens: Vec<Token>,
    deletions: Vec<Deletion>,
    replications: Vec<Replication>,
    rotten: Rotten,
    stops: Stops,
    /// Kept between passes for their memory only.
    recorder_events: Vec<RecorderEvent>,
    replay_events: Vec<ReplayEvent>,
    events: EventsStream,
    gauges: Gauges,
    was_idle: bool,
    errors: ErrorLog,
    _lock: Box<dyn runtime::files::FileLock>,
}

impl Conductor {
    pub(crate) fn new(setup: Setup, ports: &Ports, now: Now) -> Self {
        let Setup { config, directory, .. } = setup;
        let Directory { store, catalog, mark_file, findings, rotten, lock } = directory;
        let mut rng = ports.rng("archive");
        let sync_kind = config.storage.catalog_file_sync_level.kind();
        let mut conductor = Self {
            archive_id: setup.archive_id,
            client: setup.client,
            recorder: Recorder::new(&store, &config.storage, ports),
            replayer: Replayer::new(&store),
            sync: CatalogSync::new(sync_kind, ports.background()),
            background: ports.background(),
            authenticator: setup.authenticator,
            next_session_id: i64::from(rng.next_i32() & i32::MAX),
            rng,
            sources: setup.sources,
            sessions: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            active: BTreeMap::new(),
            tokens: Vec::new(),
            deletions: Vec::new(),
            replications: Vec::new(),
            rotten: Rotten::default(),
            stops: Stops::default(),
            recorder_events: Vec::new(),
            replay_events: Vec::new(),
            events: setup.events,
            gauges: setup.gauges,
            was_idle: true,
            errors: ErrorLog::new(mark_file.error_log()),
            store,
            catalog,
            mark_file,
            config,
            _lock: lock,
        };
        for finding in findings {
            conductor.note(&finding, now);
        }
        for rot in rotten {
            conductor.on_rot(rot, now);
        }
        conductor
    }

    /// One pass.
    ///
    /// # Errors
    /// The catalog cannot be changed or made durable.
    pub(crate) fn do_work(&mut self, now: Now) -> Result<Work, Halt> {
        self.gauges.on_pass(self.was_idle, now);
        let mut done = self.serve_requests(now);
        done += self.step_sessions(now);
        done += self.step_listings(now);
        done += self.step_recordings(now);
        let mut work = self.recorder.do_work();
        done += self.take_recorder_events(now);
        work = work.and(self.replayer.do_work(&self.client, now));
        done += self.take_replay_events(now);
        done += self.step_rotten();
        done += self.step_deletions(now);
        let (copied, replications_due) = self.step_replications(now);
        done += copied;
        match self.events.do_work() {
            Ok(told) => done += told,
            Err(error) => self.note(&format!("no recording events: {error}"), now),
        }
        let synced = self.sync.do_work(&mut self.catalog);
        done +=
            synced.map_err(|error| Halt::Failed(format!("catalog cannot be synced: {error}")))?;
        self.show();
        let beat = self.mark_file.beat(now).min(self.step_scrub(now)).min(self.step_stops(now));
        let sessions = self.sessions.values().map(Session::next_deadline).min();
        work = work.and(Work::done(done).due(beat).due(replications_due));
        self.was_idle = work.done == 0;
        Ok(sessions.map_or(work, |deadline| work.due(deadline)))
    }

    /// The part of a pass that streams wait for: data into files, and out of them.
    pub(crate) fn move_data(&mut self, now: Now) -> Work {
        let mut work = self.recorder.do_work();
        let mut done = self.take_recorder_events(now);
        if self.replayer.count() > 0 {
            work = work.and(self.replayer.do_work(&self.client, now));
            done += self.take_replay_events(now);
        }
        work.and(Work::done(done))
    }

    /// The end, in order: recordings are ended where they stand, durably.
    pub(crate) fn close(&mut self, now: Now) {
        self.end_recordings(now);
        let synced = self.catalog.settle();
        if let Err(error) = synced {
            self.note(&format!("catalog cannot be synced: {error}"), now);
        }
        self.replayer.stop_all(None);
        for (_, session) in std::mem::take(&mut self.sessions) {
            session.dismiss();
        }
        self.mark_file.terminate();
    }

    /// Logs something that went wrong, and counts it.
    fn note(&mut self, text: &str, now: Now) {
        self.gauges.on_error();
        self.errors.record(now.epoch_millis(), text);
    }

    fn show(&mut self) {
        self.gauges.show(&Shown {
            sessions: self.sessions.len(),
            recordings: self.active.len(),
            replays: self.replayer.count(),
            written: self.recorder.written(),
            read: self.replayer.read(),
        });
    }

    fn step_sessions(&mut self, now: Now) -> usize {
        let mut with = Surroundings {
            client: &self.client,
            authenticator: &mut *self.authenticator,
            completed: self.sync.completed(),
            connect_timeout: self.config.limits.connect_timeout,
            ping_interval: self.config.limits.session_liveness_check_interval,
            now,
        };
        let mut done = 0;
        let mut over = Vec::new();
        for session in self.sessions.values_mut() {
            done += session.do_work(&mut with);
            if session.is_over() {
                over.push(session.id());
            }
        }
        for id in over {
            self.remove_session(id, now);
        }
        done
    }

    fn remove_session(&mut self, id: i64, now: Now) {
        let Some(session) = self.sessions.remove(&id) else { return };
        self.tokens.retain(|token| token.control_session_id != id);
        if let Some(reason) = session.rejection() {
            let image = session.image();
            self.reject(image, reason);
            self.note(&format!("control session ended: {reason}"), now);
        }
        session.dismiss();
    }

    fn reject(&self, image: CorrelationId, reason: &str) {
        let mut sources = self.sources.iter();
        if let Some(position) = sources.find_map(|source| source.position_of(image)) {
            // Whether the driver does so is told to the client, not to us.
            drop(self.client.reject_image(image, position, reason));
        }
    }

    fn step_listings(&mut self, now: Now) -> usize {
        let mut done = 0;
        let mut next = i64::MIN;
        while let Some((&id, session)) = self.sessions.range(next..).next() {
            next = id + 1;
            if session.listing.is_none() || !session.may_list() {
                continue;
            }
            let with = Surroundings {
                client: &self.client,
                authenticator: &mut *self.authenticator,
                completed: self.sync.completed(),
                connect_timeout: self.config.limits.connect_timeout,
                ping_interval: self.config.limits.session_liveness_check_interval,
                now,
            };
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            let Some(mut listing) = session.listing.take() else { continue };
            let mut is_stuck = false;
            let step = listing.step(&self.catalog, id, |bytes| {
                let is_sent = session.send_listed(bytes, &with);
                is_stuck |= !is_sent;
                is_sent
            });
            done += usize::from(!is_stuck);
            if step == Step::More {
                session.listing = Some(listing);
            }
        }
        done
    }

    fn take_replay_events(&mut self, now: Now) -> usize {
        let mut events = std::mem::take(&mut self.replay_events);
        self.replayer.take_events(&mut events);
        let count = events.len();
        for event in events.drain(..) {
            match event {
                ReplayEvent::Started { control_session_id, correlation_id, replay_session_id } => {
                    if let Some(session) = self.sessions.get_mut(&control_session_id) {
                        session.confirm(correlation_id, replay_session_id, 0);
                    }
                }
                ReplayEvent::Failed {
                    recording_id,
                    control_session_id,
                    correlation_id,
                    refusal,
                } => {
                    self.on_rotten_read(recording_id, &refusal, now);
                    self.refuse(control_session_id, correlation_id, &refusal);
                }
            }
        }
        self.replay_events = events;
        count
    }

    fn refuse(&mut self, control_session_id: i64, correlation_id: i64, refusal: &Refusal) {
        if let Some(session) = self.sessions.get_mut(&control_session_id) {
            session.refuse(correlation_id, refusal);
        }
    }

    /// Sends a signal to the session that it concerns, once what it tells is durable.
    fn signal(&mut self, control_session_id: i64, signal: &Signal) {
        let barrier = self.sync.barrier(&mut self.catalog);
        if let Some(session) = self.sessions.get_mut(&control_session_id) {
            session.outbox.signal(control_session_id, signal, barrier);
        }
    }

    fn begin_listing(&mut self, session_id: i64, listing: Listing) {
        if let Some(session) = self.sessions.get_mut(&session_id) {
            session.listing = Some(listing);
        }
    }

    fn counter_label(&self, text: &str) -> String {
        format!("{text} - archiveId={}", self.archive_id)
    }

    fn usable_space(&self) -> io::Result<u64> {
        self.store.files.usable_space(&self.store.directory)
    }
}
