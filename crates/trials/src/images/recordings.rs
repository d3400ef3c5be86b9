//! The protocols of an archive: each is a run of a real archive over a real driver, of which every
//! acknowledgement is noted.

use std::rc::Rc;

use archive::catalog::{Catalog, Recording};
use archive_client::{ArchiveClient, FromAnswer, RecordingSignal, Request, SourceLocation};
use client::ExclusivePublication;
use wire::position::{Position, StreamId};

use super::bed::{self, Bed, DIRECTORY, IPC, SEGMENT, STREAM};
use super::model::{Change, Fact, Model, Truth, content};
use super::{Fault, Scene};

/// A run in progress.
struct Run {
    bed: Bed<Fact>,
    config: archive::Config,
    truths: Vec<Truth>,
    begun: Vec<(i64, i64, String)>,
}

impl Run {
    /// Every second seed does without checksums.
    fn new(seed: u64) -> Result<Self, Fault> {
        let config = bed::config(seed.is_multiple_of(2));
        let bed = Bed::new(seed, &config)?;
        Ok(Self { bed, config, truths: Vec::new(), begun: Vec::new() })
    }

    /// Begins to record a new stream from a position on.
    fn record(&mut self, channel: &str, start: i64) -> Result<(ExclusivePublication, i64), Fault> {
        // No two at once on one stream.
        let stream = StreamId(STREAM.0 + i32::from(channel.contains("alias=other")));
        let (publication, id) = self.bed.record(channel, stream)?;
        self.begun.push((id, start, channel.to_string()));
        self.bed.note(Fact::Exists { id });
        Ok((publication, id))
    }

    /// Publishes, and notes now and then how much is recorded.
    fn publish(
        &mut self,
        publication: &mut ExclusivePublication,
        id: i64,
        rounds: u32,
    ) -> Result<(), Fault> {
        for round in 0..rounds {
            let position = self.bed.publish(publication, 7)?;
            if round % 3 == 2 {
                self.bed.await_recorded(id, position)?;
            }
            if let Some(position) = self.bed.recorded(id) {
                self.bed.note(Fact::Recorded { id, position });
            }
        }
        Ok(())
    }

    /// Ends a recording, and keeps what it holds.
    fn end(&mut self, publication: ExclusivePublication, id: i64) -> Result<i64, Fault> {
        let position = self.bed.end(publication)?;
        self.bed.note(Fact::Stopped { id, position });
        self.keep(id)?;
        Ok(position)
    }

    fn keep(&mut self, id: i64) -> Result<(), Fault> {
        let stop = self.recording(id)?.stop_position;
        self.keep_until(id, stop)
    }

    fn keep_until(&mut self, id: i64, stop: i64) -> Result<(), Fault> {
        let recording = Recording { stop_position: stop, ..self.recording(id)? };
        let (files, path) = (&*self.bed.ports().files, &self.config.storage.directory);
        let bytes = Rc::new(content(&recording, files, path).map_err(Fault::run)?);
        let noted = self.bed.facts.len();
        self.truths.push(Truth { id, start: recording.start_position, bytes, noted });
        Ok(())
    }

    /// A recording as the catalog has it, which is read as tools do.
    fn recording(&self, id: i64) -> Result<Recording, Fault> {
        let (files, path) = (&self.bed.ports().files, std::path::Path::new(DIRECTORY));
        let catalog = Catalog::open(files, path, 32, None).map_err(Fault::run)?;
        catalog.get(id).cloned().ok_or_else(|| Fault::run("the recording is gone"))
    }

    /// Records a stream of some segments to its end.
    fn stopped(&mut self, rounds: u32) -> Result<(i64, i64), Fault> {
        let (mut publication, id) = self.record(IPC, 0)?;
        self.publish(&mut publication, id, rounds)?;
        let stop = self.end(publication, id)?;
        self.bed.ask(|it| it.stop_recording(IPC, STREAM))?;
        Ok((id, stop))
    }

    /// The channel of a stream that goes on where a recording has stopped.
    fn continued(&self, id: i64) -> Result<String, Fault> {
        let found = self.recording(id)?;
        let at = Position(found.stop_position);
        let initial = wire::position::TermId(found.initial_term_id);
        let term = at.term_id(found.term_buffer_length.trailing_zeros(), initial);
        Ok(format!(
            "{IPC}|mtu={}|init-term-id={}|term-id={}|term-offset={}",
            found.mtu_length,
            initial.0,
            term.0,
            at.term_offset(found.term_buffer_length)
        ))
    }

    fn extend(&mut self, id: i64, rounds: u32) -> Result<i64, Fault> {
        self.bed.note(Fact::Asked(Change::Extend { id }));
        let mut publication = self.bed.publication(&self.continued(id)?, STREAM)?;
        let local = SourceLocation::Local;
        self.bed.ask(|it| it.extend_recording(id, IPC, STREAM, local, false))?;
        self.bed.await_signal(RecordingSignal::Extend)?;
        self.publish(&mut publication, id, rounds)?;
        let stop = self.end(publication, id)?;
        self.bed.ask(|it| it.stop_recording(IPC, STREAM))?;
        Ok(stop)
    }

    /// Cuts a recording off, and notes when its files are gone.
    fn truncate(&mut self, id: i64, to: i64) -> Result<(), Fault> {
        let change = Change::Truncate { id, to };
        self.bed.note(Fact::Asked(change.clone()));
        self.bed.ask(|it| it.truncate_recording(id, Position(to)))?;
        self.bed.note(Fact::Done(change));
        self.bed.await_signal(RecordingSignal::Delete).map(drop)
    }

    /// Moves the start of a recording by a request.
    fn start_at<A: FromAnswer>(
        &mut self,
        id: i64,
        at: i64,
        ask: impl FnOnce(&mut ArchiveClient) -> Request<A>,
    ) -> Result<(), Fault> {
        let change = Change::Start { id, at };
        self.bed.note(Fact::Asked(change.clone()));
        self.bed.ask(ask)?;
        self.bed.note(Fact::Done(change));
        Ok(())
    }

    /// Waits until the segments below a position are gone.
    fn await_deletion(&mut self, id: i64, below: i64) -> Result<(), Fault> {
        self.bed.await_signal(RecordingSignal::Delete)?;
        self.bed.note(Fact::Deleted { id, below });
        Ok(())
    }

    fn scene(self) -> Scene {
        let Self { bed, config, truths, begun } = self;
        let (events, end) = (bed.journal.events(), bed.world.now(bed.host));
        let model = Model { config, facts: bed.facts, truths, begun };
        let judge = move |ports: &_, now, known| model.judge(ports, now, known);
        Scene { events, judge: Box::new(judge), end }
    }
}

/// Two recordings, the first of several segments.
pub(super) fn create(seed: u64) -> Result<Scene, Fault> {
    let mut run = Run::new(seed)?;
    run.stopped(14)?;
    run.stopped(2)?;
    Ok(run.scene())
}

/// Two recordings at once, which nobody ends.
pub(super) fn live(seed: u64) -> Result<Scene, Fault> {
    let mut run = Run::new(seed)?;
    let (mut one, first) = run.record(IPC, 0)?;
    let (mut other, second) = run.record(&format!("{IPC}|alias=other"), 0)?;
    for _ in 0..6 {
        run.publish(&mut one, first, 2)?;
        run.publish(&mut other, second, 1)?;
    }
    for (publication, id) in [(&one, first), (&other, second)] {
        run.bed.await_recorded(id, publication.position())?;
        // What stands in the files now is what any image may hold a part of.
        let position = publication.position().0;
        run.keep_until(id, position)?;
        run.bed.note(Fact::Recorded { id, position });
    }
    // Before the publications end.
    Ok(run.scene())
}

/// A recording that is extended twice.
pub(super) fn extend(seed: u64) -> Result<Scene, Fault> {
    let mut run = Run::new(seed)?;
    let (id, _) = run.stopped(4)?;
    run.extend(id, 8)?;
    run.extend(id, 2)?;
    Ok(run.scene())
}

/// A recording that is cut at a frame, extended, cut at a segment's base, extended, and emptied.
pub(super) fn truncate(seed: u64) -> Result<Scene, Fault> {
    let mut run = Run::new(seed)?;
    let (mut publication, id) = run.record(IPC, 0)?;
    run.publish(&mut publication, id, 3)?;
    let frame = publication.position().0;
    run.publish(&mut publication, id, 12)?;
    run.end(publication, id)?;
    run.bed.ask(|it| it.stop_recording(IPC, STREAM))?;
    run.truncate(id, frame)?;
    run.extend(id, 8)?;
    run.truncate(id, SEGMENT)?;
    run.extend(id, 3)?;
    run.truncate(id, 0)?;
    Ok(run.scene())
}

/// A recording whose first segments go, and then all of it.
pub(super) fn purge(seed: u64) -> Result<Scene, Fault> {
    let mut run = Run::new(seed)?;
    let (id, _) = run.stopped(16)?;
    for at in [SEGMENT, 2 * SEGMENT] {
        let change = Change::Start { id, at };
        run.bed.note(Fact::Asked(change.clone()));
        run.bed.ask(|it| it.purge_segments(id, Position(at)))?;
        run.bed.note(Fact::Done(change));
        run.await_deletion(id, at)?;
    }
    run.bed.note(Fact::Asked(Change::Purge { id }));
    run.bed.ask(|it| it.purge_recording(id))?;
    run.bed.note(Fact::Done(Change::Purge { id }));
    run.await_deletion(id, i64::MAX)?;
    run.stopped(1)?;
    Ok(run.scene())
}

/// Segments that are detached and then deleted.
pub(super) fn detach(seed: u64) -> Result<Scene, Fault> {
    let mut run = Run::new(seed)?;
    let (id, _) = run.stopped(24)?;
    for at in [SEGMENT, 2 * SEGMENT] {
        run.start_at(id, at, |it| it.detach_segments(id, Position(at)))?;
        run.bed.ask(|it| it.delete_detached_segments(id))?;
        run.await_deletion(id, at)?;
    }
    Ok(run.scene())
}

/// Segments that are detached and attached again.
pub(super) fn attach(seed: u64) -> Result<Scene, Fault> {
    let mut run = Run::new(seed)?;
    let (id, _) = run.stopped(24)?;
    for at in [SEGMENT, 2 * SEGMENT] {
        run.start_at(id, at, |it| it.detach_segments(id, Position(at)))?;
        run.start_at(id, 0, |it| it.attach_segments(id))?;
    }
    run.extend(id, 3)?;
    Ok(run.scene())
}

/// A recording that becomes the end of another.
pub(super) fn migrate(seed: u64) -> Result<Scene, Fault> {
    let mut run = Run::new(seed)?;
    let (first, _) = run.stopped(8)?;
    let join = SEGMENT;
    run.truncate(first, join)?;
    let channel = run.continued(first)?;
    let (mut publication, second) = run.record(&channel, join)?;
    run.publish(&mut publication, second, 8)?;
    let stop = run.end(publication, second)?;
    let change = Change::Migrate { first, second, join, stop };
    run.bed.note(Fact::Asked(change.clone()));
    let before = run.truths.len() - 2;
    let kept = run.truths[before].bytes[..join as usize].to_vec();
    let whole = [kept.as_slice(), run.truths[before + 1].bytes.as_slice()].concat();
    let noted = run.bed.facts.len();
    run.truths.push(Truth { id: first, start: 0, bytes: Rc::new(whole), noted });
    run.bed.ask(|it| it.migrate_segments(second, first))?;
    run.bed.note(Fact::Done(change));
    run.await_deletion(second, i64::MAX)?;
    Ok(run.scene())
}

/// More recordings than the catalog has room for, some of which get longer channels.
pub(super) fn growth(seed: u64) -> Result<Scene, Fault> {
    let mut run = Run::new(seed)?;
    for number in 0..16 {
        let alias = "x".repeat(100 + 17 * number);
        let channel = format!("{IPC}|alias={alias}");
        let (publication, id) = run.record(&channel, 0)?;
        run.end(publication, id)?;
        run.bed.ask(|it| it.stop_recording(&channel, STREAM))?;
        if number % 4 == 3 {
            let id = id - 2;
            let text = format!("{IPC}|alias={}", "y".repeat(400 + number));
            let change = Change::Channel { id, text: text.clone() };
            run.bed.note(Fact::Asked(change.clone()));
            run.bed.ask(|it| it.update_channel(id, &text))?;
            run.bed.note(Fact::Done(change));
        }
    }
    Ok(run.scene())
}
