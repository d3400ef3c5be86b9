//! The recorder: writes images into files and publishes how far each recording has come.
//!
//! One cycle writes at most one block of each recording, then publishes positions: at once without
//! syncs, else when the group sync that covers them has completed in the background. One sync is in
//! flight at a time; what is written meanwhile is covered by the next. A write or sync that fails
//! acknowledges nothing of its range and ends the recording, or all those of the sync.
//!
//! Input: [`Recorder::start`] and [`Recorder::abort`] by the conductor. Output: counters, and
//! [`RecorderEvent`]s.

use std::io;
use std::sync::Arc;

use client::{Counter, Image};
use runtime::agent::Work;
use runtime::background::{Background, Job, Outcome, Ticket};
use runtime::files::File;
use runtime::point::{Point, strikes};
use runtime::ports::Ports;
use wire::archive::response::ArchiveErrorCode;

use crate::catalog::Recording;
use crate::config::StorageConfig;
use crate::control::refusal::Refusal;
use crate::counters::IoTotals;
use crate::trail::Advice;
use crate::writer::{Store, Writer};

/// What the conductor has to know of.
pub(crate) enum RecorderEvent {
    /// A position was published.
    Progress { recording_id: i64, position: i64 },
    /// A recording has ended at this position, durable as configured. Its counter is still there:
    /// it is to be closed once the catalog knows.
    Stopped { recording_id: i64, position: i64, failure: Option<Refusal>, counter: Counter },
}

/// One recording in progress.
struct Session {
    recording_id: i64,
    image: Image,
    writer: Writer,
    counter: Counter,
    published: i64,
    is_ending: bool,
    failure: Option<Refusal>,
    /// After a failed write or sync nothing further of it counts.
    is_broken: bool,
}

/// A group sync in the background.
struct Flight {
    ticket: Ticket,
    /// Which position each recording has once it is done.
    positions: Vec<(i64, i64)>,
}

/// Writes images into files.
pub(crate) struct Recorder {
    store: Store,
    sync: crate::config::SyncLevel,
    block_length_max: usize,
    /// Syncs have a window of their own: they are not to wait for segments being filled.
    syncs: Box<dyn Background>,
    segments: Box<dyn Background>,
    /// How much of a recording stays in the page cache; none is given back if that is 0.
    cached_length: i64,
    /// Pages are given back in a window of its own: the host may take its time for that.
    cache: Box<dyn Background>,
    uncaching: Option<Ticket>,
    sessions: Vec<Session>,
    in_flight: Option<Flight>,
    events: Vec<RecorderEvent>,
    written: IoTotals,
}

impl Recorder {
    pub(crate) fn new(store: &Store, config: &StorageConfig, ports: &Ports) -> Self {
        Self {
            store: store.clone(),
            sync: config.file_sync_level,
            block_length_max: usize::try_from(config.file_io_max_length).unwrap_or(0),
            syncs: ports.background(),
            segments: ports.background(),
            cached_length: config.cached_length,
            cache: ports.background(),
            uncaching: None,
            sessions: Vec::new(),
            in_flight: None,
            events: Vec::new(),
            written: IoTotals::default(),
        }
    }

    /// What has been written so far.
    pub(crate) const fn written(&self) -> IoTotals {
        self.written
    }

    /// Begins to record `image` from where it stands.
    ///
    /// # Errors
    /// Its segment cannot be opened. Image and counter are gone then.
    pub(crate) fn start(
        &mut self,
        recording: &Recording,
        image: Image,
        counter: Counter,
    ) -> io::Result<()> {
        let position = image.position().0;
        let writer = Writer::open(&self.store, recording, position)?;
        self.sessions.push(Session {
            recording_id: recording.id,
            image,
            writer,
            counter,
            published: position,
            is_ending: false,
            failure: None,
            is_broken: false,
        });
        Ok(())
    }

    /// Ends a recording with what has been written of it.
    pub(crate) fn abort(&mut self, recording_id: i64) {
        for session in &mut self.sessions {
            session.is_ending |= session.recording_id == recording_id;
        }
    }

    /// How many transports bring the stream of a recording.
    pub(crate) fn transport_count(&self, recording_id: i64) -> i32 {
        let session = self.sessions.iter().find(|it| it.recording_id == recording_id);
        session.map_or(0, |session| session.image.active_transport_count())
    }

    /// One cycle.
    pub(crate) fn do_work(&mut self) -> Work {
        let mut done = self.poll_syncs() + self.poll_segments();
        done += self.write();
        done += match self.sync.kind() {
            None => self.publish_written(),
            Some(_) => self.submit_sync(),
        };
        self.uncache();
        done += self.end();
        Work::done(done)
    }

    /// Moves what happened since the last call into `into`.
    pub(crate) fn take_events(&mut self, into: &mut Vec<RecorderEvent>) {
        into.append(&mut self.events);
    }

    fn write(&mut self) -> usize {
        let mut done = 0;
        for session in &mut self.sessions {
            if session.is_ending {
                session.writer.finish();
            }
            if session.is_ending || !session.writer.is_ready() || strikes(Point::WriteLeft) {
                continue;
            }
            let room = usize::try_from(session.writer.room()).unwrap_or(usize::MAX);
            let limit = self.block_length_max.min(room);
            let mut result = Ok(());
            let writer = &mut session.writer;
            let (segments, files) = (&mut *self.segments, &self.store.files);
            let totals = &mut self.written;
            let written = session.image.block_poll(limit, |block| {
                let begin = files.io_time();
                let length = i64::try_from(block.bytes.len()).unwrap_or(i64::MAX);
                result = writer.write(block.bytes, length, segments);
                totals.add(block.bytes.len(), begin, files.io_time());
            });
            done += usize::from(written > 0);
            if let Err(error) = result {
                session.fail(&error);
            } else if written == 0
                && (session.image.is_closed() || session.image.is_end_of_stream())
            {
                session.is_ending = true;
                done += 1;
            }
        }
        done
    }

    /// Has pages given back, if the host is done with those of the last time.
    fn uncache(&mut self) {
        if self.cached_length <= 0 {
            return;
        }
        if let Some(ticket) = self.uncaching {
            let mut is_done = false;
            self.cache.poll(&mut |of, _| is_done |= of == ticket);
            if !is_done {
                return;
            }
            self.uncaching = None;
        }
        let mut advice = Advice::default();
        for session in &mut self.sessions {
            session.writer.uncache(self.cached_length, &mut advice);
        }
        let Advice { begin, give_back } = advice;
        if !begin.is_empty() {
            self.uncaching = Some(self.cache.submit(Job::Uncache { begin, give_back }));
        }
    }

    fn publish_written(&mut self) -> usize {
        let mut done = 0;
        for session in &mut self.sessions {
            session.writer.forget_unsynced();
            let position = session.writer.position();
            done += session.publish(position, &mut self.events);
        }
        done
    }

    /// Hands everything that was written since the last sync to the next one.
    fn submit_sync(&mut self) -> usize {
        let Some(sync) = self.sync.kind() else { return 0 };
        if self.in_flight.is_some() {
            return 0;
        }
        let mut files: Vec<Arc<dyn File>> = Vec::new();
        let mut positions = Vec::new();
        let mut is_directory_touched = false;
        for session in self.sessions.iter_mut().filter(|session| !session.is_broken) {
            if session.writer.is_unsynced() {
                is_directory_touched |= session.writer.take_unsynced(&mut files);
                positions.push((session.recording_id, session.writer.position()));
            }
        }
        if files.is_empty() && !is_directory_touched {
            return 0;
        }
        let directory = self.store.directory.to_path_buf();
        let directories = if is_directory_touched { vec![directory] } else { Vec::new() };
        let ticket = self.syncs.submit(Job::Sync { files, sync, directories });
        self.in_flight = Some(Flight { ticket, positions });
        1
    }

    fn poll_syncs(&mut self) -> usize {
        let mut outcomes = Vec::new();
        self.syncs.poll(&mut |ticket, outcome| outcomes.push((ticket, outcome)));
        let count = outcomes.len();
        for (ticket, outcome) in outcomes {
            let Some(flight) = self.in_flight.take_if(|flight| flight.ticket == ticket) else {
                continue;
            };
            for (recording_id, position) in flight.positions {
                let mut sessions = self.sessions.iter_mut();
                let Some(session) = sessions.find(|it| it.recording_id == recording_id) else {
                    continue;
                };
                match &outcome {
                    Outcome::Failed(error) => session.fail_sync(error),
                    _ => {
                        session.publish(position, &mut self.events);
                        // Else less is known after a crash, and nothing else is lost.
                        let _ = session.writer.on_synced(position);
                    }
                }
            }
        }
        count
    }

    fn poll_segments(&mut self) -> usize {
        let mut outcomes = Vec::new();
        self.segments.poll(&mut |ticket, outcome| outcomes.push((ticket, outcome)));
        let count = outcomes.len();
        for (ticket, outcome) in outcomes {
            let mut sessions = self.sessions.iter_mut();
            let Some(session) = sessions.find(|session| session.writer.awaits(ticket)) else {
                continue;
            };
            let prepared = match outcome {
                Outcome::Opened(file) => Ok(file),
                Outcome::Failed(error) => Err(error),
                _ => continue,
            };
            if let Err(error) = session.writer.on_prepared(prepared, &mut *self.segments) {
                session.fail(&error);
            }
        }
        count
    }

    /// Lets go of recordings that are ending and have nothing in flight.
    fn end(&mut self) -> usize {
        let mut done = 0;
        let mut index = 0;
        while let Some(session) = self.sessions.get(index) {
            let id = session.recording_id;
            let flying = self.in_flight.as_ref();
            let is_flying = flying.is_some_and(|it| it.positions.iter().any(|(of, _)| *of == id));
            if is_flying || !session.is_over(self.sync.kind().is_some()) {
                index += 1;
                continue;
            }
            let session = self.sessions.swap_remove(index);
            session.writer.close(&mut *self.segments);
            self.events.push(RecorderEvent::Stopped {
                recording_id: session.recording_id,
                position: session.published,
                failure: session.failure,
                counter: session.counter,
            });
            done += 1;
        }
        done
    }
}

impl Session {
    /// Publishes a position; returns whether it is new. A broken session publishes nothing more.
    fn publish(&mut self, position: i64, events: &mut Vec<RecorderEvent>) -> usize {
        if position <= self.published {
            return 0;
        }
        self.published = position;
        self.counter.set(position);
        events.push(RecorderEvent::Progress { recording_id: self.recording_id, position });
        1
    }

    /// A block could not be written: what came before it still counts.
    fn fail(&mut self, error: &io::Error) {
        let code = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                ArchiveErrorCode::StorageSpace
            }
            _ => ArchiveErrorCode::Generic,
        };
        let id = self.recording_id;
        self.failure = Some(Refusal::new(code, format!("recording {id}: write failed: {error}")));
        self.is_ending = true;
    }

    /// A sync failed: nothing since the last good one can be trusted, and trying again proves
    /// nothing.
    fn fail_sync(&mut self, error: &io::Error) {
        self.fail(error);
        self.is_broken = true;
    }

    /// Whether it has ended and all of it that counts is published.
    fn is_over(&self, is_synced: bool) -> bool {
        if !self.is_ending {
            return false;
        }
        if self.is_broken {
            return true;
        }
        let is_published = !is_synced || !self.writer.is_unsynced();
        // A full segment has its successor before the recording ends, for tools that look for it.
        is_published && (self.writer.is_ready() || self.failure.is_some())
    }
}
