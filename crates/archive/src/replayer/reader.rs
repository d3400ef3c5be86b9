//! Reads a recording as it is replayed: nothing is handed out that was not checked.

use std::io;
use std::sync::Arc;

use runtime::files::{File, read_exact_at};

use crate::catalog::Recording;
use crate::checksum::Checksum;
use crate::control::refusal::Refusal;
use crate::counters::IoTotals;
use crate::frame::{HEADER_LENGTH, Header, is_intact};
use crate::segment;
use crate::sums::SumReader;
use crate::writer::Store;

/// What stands next in a recording.
pub(crate) enum Next {
    /// Whole data frames, in the buffer, this many bytes.
    Block(usize),
    /// Padding of this frame length.
    Padding(i64),
}

/// A segment that is being read.
struct Open {
    base: i64,
    file: Arc<dyn File>,
    sums: Option<SumReader>,
}

/// Reads one recording.
pub(crate) struct Reader {
    pub(crate) recording: Recording,
    checksum: Option<Checksum>,
    open: Option<Open>,
    pub(crate) buffer: Vec<u8>,
    /// What was read since that was last asked.
    pub(crate) read: IoTotals,
}

impl Reader {
    pub(crate) fn new(recording: Recording, checksum: Option<Checksum>) -> Self {
        let (buffer, read) = (Vec::new(), IoTotals::default());
        Self { recording, checksum, open: None, buffer, read }
    }

    /// The header of the frame at a position.
    pub(crate) fn header(&mut self, store: &Store, position: i64) -> Result<Header, Refusal> {
        let mut bytes = vec![0; HEADER_LENGTH];
        self.fill(store, position, &mut bytes)?;
        if !self.agrees(position, &bytes) {
            // It may be the read that was wrong.
            self.open = None;
            self.fill(store, position, &mut bytes)?;
            if !self.agrees(position, &bytes) {
                return Err(self.broken(position, "header is not the one that was recorded"));
            }
        }
        Header::read(&bytes).ok_or_else(|| self.broken(position, "no header"))
    }

    /// Whether what is known of the header at `position` agrees with it.
    fn agrees(&self, position: i64, frame: &[u8]) -> bool {
        let sums = self.open.as_ref().and_then(|open| open.sums.as_ref());
        sums.is_none_or(|sums| sums.agrees(position, frame))
    }

    /// Reads what stands at `position`, at most `length` bytes of which a term has at least as
    /// many: whole data frames up to `end`, which a frame may exceed, or padding. What is wrong is
    /// read again: it may be the read that was, and not what is stored.
    pub(crate) fn next(
        &mut self,
        store: &Store,
        position: i64,
        length: usize,
        end: i64,
    ) -> Result<Next, Refusal> {
        match self.try_next(store, position, length, end) {
            Err(refusal) if refusal.rot.is_some() => {
                self.open = None;
                self.try_next(store, position, length, end)
            }
            result => result,
        }
    }

    fn try_next(
        &mut self,
        store: &Store,
        position: i64,
        length: usize,
        end: i64,
    ) -> Result<Next, Refusal> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(length.max(HEADER_LENGTH), 0);
        let result = self.fill(store, position, &mut buffer[..length]);
        self.buffer = buffer;
        result?;
        let mut at = 0;
        while position + (at as i64) < end {
            let Some(header) = Header::read(&self.buffer[at..length]) else { break };
            self.check(&header, at, length, position + at as i64)?;
            if header.is_padding() {
                if at == 0 {
                    return Ok(Next::Padding(header.aligned_length()));
                }
                break;
            }
            let frame_end = at + header.stored_length();
            if frame_end > length {
                break;
            }
            at = frame_end;
        }
        if at == 0 {
            return Err(self.broken(position, "frame is longer than what was recorded"));
        }
        Ok(Next::Block(at))
    }

    fn check(
        &self,
        header: &Header,
        at: usize,
        length: usize,
        position: i64,
    ) -> Result<(), Refusal> {
        let recording = &self.recording;
        let (term, mtu) = (recording.term_buffer_length, recording.mtu_length);
        if !header.is_sound(recording.place(position), term, mtu) {
            return Err(self.broken(position, "not the header of a frame"));
        }
        let Some(checksum) = self.checksum else { return Ok(()) };
        let frame = &self.buffer[at..length];
        if !self.agrees(position, frame) {
            return Err(self.broken(position, "header is not the one that was recorded"));
        }
        if header.stored_length() <= frame.len() && !is_intact(frame, header, checksum) {
            return Err(self.broken(position, "checksum does not match"));
        }
        Ok(())
    }

    fn broken(&self, position: i64, cause: &str) -> Refusal {
        let text = format!("recording {}: {cause} at {position}", self.recording.id);
        Refusal::rotten(position, text)
    }

    /// Reads from the segment of `position`, opening it if need be.
    fn fill(&mut self, store: &Store, position: i64, target: &mut [u8]) -> Result<(), Refusal> {
        let (layout, id) = (self.recording.layout(), self.recording.id);
        let base = layout.base(position);
        let failed = |error: io::Error| {
            let text = format!("recording {id}: segment at {base} cannot be read: {error}");
            match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => {
                    Refusal::rotten(position, text)
                }
                _ => Refusal::generic(text),
            }
        };
        if self.open.as_ref().is_none_or(|open| open.base != base) {
            let path = store.directory.join(segment::file_name(id, base));
            let file = store.files.open(&path).map_err(failed)?;
            let mut sums = None;
            if self.checksum.is_some() {
                sums =
                    SumReader::open(&*store.files, &store.directory, id, base).map_err(failed)?;
            }
            self.open = Some(Open { base, file, sums });
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        let begin = store.files.io_time();
        let result = read_exact_at(&*open.file, target, layout.offset(position)).map_err(failed);
        self.read.add(target.len(), begin, store.files.io_time());
        if let Some(sums) = &mut open.sums {
            sums.load(position, target.len()).map_err(failed)?;
        }
        result
    }
}

/// All frames of a recording that has stopped, as a replay hands them out; padding as its header's
/// place and nothing else.
///
/// # Errors
/// What a replay would say.
pub fn read_all(
    store: &Store,
    recording: &Recording,
    checksum: Option<Checksum>,
) -> Result<Vec<u8>, String> {
    let mut reader = Reader::new(recording.clone(), checksum);
    let (mut position, stop) = (recording.start_position, recording.stop_position);
    let term_length = i64::from(recording.term_buffer_length);
    let mut all = Vec::new();
    while position < stop {
        let term_rest = term_length - (position & (term_length - 1));
        let length = usize::try_from(term_rest.min(stop - position)).unwrap_or(0);
        let next = reader.next(store, position, length, stop).map_err(|it| it.message)?;
        match next {
            Next::Block(length) => {
                all.extend_from_slice(&reader.buffer[..length]);
                position += length as i64;
            }
            Next::Padding(length) => position += length,
        }
    }
    Ok(all)
}
