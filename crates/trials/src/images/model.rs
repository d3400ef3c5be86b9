//! What must hold of the recordings of an archive after a power cut, from what had become known.

use std::path::Path;
use std::rc::Rc;

use archive::catalog::Recording;
use archive::config::Config;
use archive::directory::{Directory, DirectoryError};
use archive::mark_file::MarkFileError;
use archive::segment::{self, file_name};
use runtime::files::{Files, read_exact_at};
use runtime::{Nanos, Now, Ports};

use super::{Outcome, later};

/// Something that somebody was told, or has asked for. Positions are those of recordings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// The recording was told to have begun.
    Exists { id: i64 },
    /// This much of it was published as recorded.
    Recorded { id: i64, position: i64 },
    /// It was told to have stopped here.
    Stopped { id: i64, position: i64 },
    /// A change was asked for.
    Asked(Change),
    /// It was told to be done.
    Done(Change),
    /// Its segments below this position were told to be gone.
    Deleted { id: i64, below: i64 },
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Extend {
        id: i64,
    },
    Truncate {
        id: i64,
        to: i64,
    },
    Start {
        id: i64,
        at: i64,
    },
    Purge {
        id: i64,
    },
    Channel {
        id: i64,
        text: String,
    },
    /// The second becomes the end of the first.
    Migrate {
        first: i64,
        second: i64,
        join: i64,
        stop: i64,
    },
}

/// What a recording held at some time in the run, from a position on.
#[derive(Clone, Debug)]
pub(super) struct Truth {
    pub(super) id: i64,
    pub(super) start: i64,
    pub(super) bytes: Rc<Vec<u8>>,
    /// How many facts were noted before: what was cut off later is no longer to be found.
    pub(super) noted: usize,
}

/// What may be found of one recording.
#[derive(Clone, Debug)]
struct Expected {
    id: i64,
    may_exist: bool,
    must_exist: bool,
    starts: Vec<i64>,
    /// Lowest and highest allowed.
    stops: Vec<(i64, i64)>,
    /// All up to here was acknowledged.
    acknowledged: i64,
    channels: Vec<String>,
    /// No segment below may be there.
    gone_below: i64,
}

/// One run of recordings, as they are to be found again.
pub(super) struct Model {
    pub(super) config: Config,
    pub(super) facts: Vec<Fact>,
    pub(super) truths: Vec<Truth>,
    /// Ids that the run used, with where each began and its channel.
    pub(super) begun: Vec<(i64, i64, String)>,
}

impl Model {
    /// Opens the archive's directory as the archive does, and looks at all that is there.
    pub(super) fn judge(&self, ports: &Ports, now: Now, known: usize) -> Result<Outcome, String> {
        let (directory, outcome) = open(ports, &self.config, now)?;
        let expected = self.expected(known);
        for recording in directory.catalog.iter_from(0) {
            let found = expected.iter().find(|it| it.id == recording.id && it.may_exist);
            let expected = found.ok_or_else(|| format!("nobody made {recording:?}"))?;
            self.check(expected, recording, known, &*ports.files)
                .map_err(|cause| format!("{cause}\n    {expected:?}\n    {recording:?}"))?;
        }
        for expected in expected.iter().filter(|it| it.must_exist) {
            if directory.catalog.get(expected.id).is_none() {
                return Err(format!("{expected:?} is lost: {:?}", directory.findings));
            }
        }
        for expected in &expected {
            let path = &self.config.storage.directory;
            let left = segment::list(&*ports.files, path, expected.id);
            let left = left.map_err(|error| error.to_string())?;
            if left.iter().any(|it| it.base < expected.gone_below) {
                return Err(format!("deleted segments are there again: {left:?}"));
            }
        }
        Ok(outcome)
    }

    fn expected(&self, known: usize) -> Vec<Expected> {
        let mut all: Vec<Expected> = self.begun.iter().map(Expected::begun).collect();
        for fact in &self.facts[..known] {
            for it in &mut all {
                it.learn(fact);
            }
        }
        all
    }

    fn check(
        &self,
        expected: &Expected,
        recording: &Recording,
        known: usize,
        files: &dyn Files,
    ) -> Result<(), String> {
        let (start, stop) = (recording.start_position, recording.stop_position);
        if !expected.starts.contains(&start) {
            return Err(format!("starts at {start}"));
        }
        if !expected.stops.iter().any(|&(low, high)| low <= stop && stop <= high) {
            return Err(format!("stops at {stop}"));
        }
        if !expected.channels.contains(&recording.original_channel) {
            return Err("another channel".to_string());
        }
        let bytes = content(recording, files, &self.config.storage.directory)
            .map_err(|error| format!("cannot be read: {error}"))?;
        // Without checksums a torn block that nobody was told of cannot be told from a whole one.
        let has_checksums = self.config.storage.record_checksum.is_some();
        let proven = if has_checksums { stop } else { expected.acknowledged.clamp(start, stop) };
        let is_true = |truth: &Truth| {
            let skipped = usize::try_from(start - truth.start).unwrap_or(usize::MAX);
            let count = usize::try_from(proven - start).unwrap_or(0);
            let end = self.end_of(truth, known);
            let told = truth.bytes[..end].get(skipped..).unwrap_or(&[]);
            truth.id == recording.id && told.len() >= bytes.len() && told[..count] == bytes[..count]
        };
        if bytes.is_empty() || self.truths.iter().any(is_true) {
            return Ok(());
        }
        Err("holds what was never recorded".to_string())
    }
}

impl Model {
    /// How much of what was there is not known to have been cut off since.
    fn end_of(&self, truth: &Truth, known: usize) -> usize {
        let facts = self.facts.get(truth.noted..known).unwrap_or(&[]);
        let cuts = facts.iter().filter_map(|fact| match fact {
            Fact::Done(Change::Truncate { id, to }) if *id == truth.id => Some(*to - truth.start),
            _ => None,
        });
        let lengths = cuts.map(|cut| usize::try_from(cut).unwrap_or(0));
        lengths.min().unwrap_or(usize::MAX).min(truth.bytes.len())
    }
}

impl Expected {
    fn begun((id, start, channel): &(i64, i64, String)) -> Self {
        Self {
            id: *id,
            may_exist: true,
            must_exist: false,
            starts: vec![*start],
            stops: vec![(*start, i64::MAX)],
            acknowledged: *start,
            channels: vec![channel.clone()],
            gone_below: 0,
        }
    }

    fn learn(&mut self, fact: &Fact) {
        let own = self.id;
        match fact {
            Fact::Exists { id } if *id == own => self.must_exist = true,
            Fact::Recorded { id, position } if *id == own => self.stop_at(*position, i64::MAX),
            Fact::Stopped { id, position } if *id == own => self.stop_at(*position, *position),
            Fact::Deleted { id, below } if *id == own => self.gone_below = *below,
            Fact::Asked(change) => self.learn_change(change, false),
            Fact::Done(change) => self.learn_change(change, true),
            _ => {}
        }
    }

    fn stop_at(&mut self, low: i64, high: i64) {
        self.stops = vec![(low, high)];
        self.acknowledged = low;
    }

    fn learn_change(&mut self, change: &Change, is_done: bool) {
        let own = self.id;
        match change {
            Change::Extend { id } if *id == own => {
                self.stops = vec![(self.acknowledged, i64::MAX)];
            }
            Change::Truncate { id, to } if *id == own => match is_done {
                true => self.stop_at(*to, *to),
                false => self.also_stop_at(*to),
            },
            Change::Start { id, at } if *id == own => match is_done {
                true => self.starts = vec![*at],
                false => self.starts.push(*at),
            },
            Change::Purge { id } if *id == own => {
                (self.must_exist, self.may_exist) = (false, !is_done);
            }
            Change::Channel { id, text } if *id == own => match is_done {
                true => self.channels = vec![text.clone()],
                false => self.channels.push(text.clone()),
            },
            Change::Migrate { first, stop, .. } if *first == own => match is_done {
                true => self.stop_at(*stop, *stop),
                false => self.also_stop_at(*stop),
            },
            Change::Migrate { second, join, .. } if *second == own => match is_done {
                true => self.stop_at(*join, *join),
                false => self.also_stop_at(*join),
            },
            _ => {}
        }
    }

    fn also_stop_at(&mut self, position: i64) {
        self.stops.push((position, position));
        self.acknowledged = self.acknowledged.min(position);
    }
}

/// Opens an archive's directory. One that seems to live is asked again when its sign of life is
/// old: the reason is the outcome.
pub(super) fn open(
    ports: &Ports,
    config: &Config,
    now: Now,
) -> Result<(Directory, Outcome), String> {
    let aeron = Path::new("/dev/shm/aeron");
    let mut config = config.clone();
    // There is nothing to be read in it.
    config.storage.error_buffer_length = 4 << 10;
    match Directory::open(ports, &config, aeron, now) {
        Ok(directory) => Ok((directory, Outcome::Recovered)),
        Err(DirectoryError::Mark(MarkFileError::Active { .. })) => {
            let now = later(now, Nanos::from_secs(11));
            let directory = Directory::open(ports, &config, aeron, now);
            let directory = directory.map_err(|error| error.to_string())?;
            Ok((directory, Outcome::Refused("its mark file says that it lives".to_string())))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// All bytes of a recording that has stopped, as they stand in its files.
pub(super) fn content(
    recording: &Recording,
    files: &dyn Files,
    directory: &Path,
) -> std::io::Result<Vec<u8>> {
    let layout = recording.layout();
    let mut bytes = Vec::new();
    let mut position = recording.start_position;
    while position < recording.stop_position {
        let base = layout.base(position);
        let end = recording.stop_position.min(base + layout.segment_length);
        let file = files.open(&directory.join(file_name(recording.id, base)))?;
        let begin = bytes.len();
        bytes.resize(begin + usize::try_from(end - position).unwrap_or(0), 0);
        read_exact_at(&*file, &mut bytes[begin..], layout.offset(position))?;
        position = end;
    }
    Ok(bytes)
}
