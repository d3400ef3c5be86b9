//! Whether the files of stopped recordings are there; and the end of migrations that were cut
//! short.
//!
//! A migration renames the segments of its source one by one and changes the catalog after that.
//! What a crash leaves of it, and what is made of it:
//!
//! | the catalog says | files | outcome |
//! |---|---|---|
//! | the target ends where the source begins, or the reverse | some under the target's id | they go back |
//! | the target holds the source's positions, so does the source | all under the target's id | the source ends, empty |

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use runtime::files::{Files, read_exact_at};

use crate::catalog::{Catalog, CatalogError, Recording};
use crate::frame::{HEADER_LENGTH, Header};
use crate::recovery::create_empty;
use crate::segment::{self, Name};

/// Of each recording, its segments and their lengths.
type Segments = BTreeMap<i64, BTreeMap<i64, u64>>;

/// Looks at all recordings, none of which is active; returns what was found. The catalog is to be
/// made durable afterwards.
///
/// # Errors
/// The files cannot be read or changed.
pub(crate) fn check(
    files: &dyn Files,
    directory: &Path,
    catalog: &mut Catalog,
) -> Result<Vec<String>, CatalogError> {
    let mut segments = Segments::new();
    for entry in files.list(directory)? {
        if let Some(Name::Segment(id, base)) = segment::parse_name(&entry.name) {
            segments.entry(id).or_default().insert(base, entry.length);
        }
    }
    let mut found = Inventory { files, directory, segments, findings: Vec::new() };
    let recordings: Vec<Recording> = catalog.iter_from(0).cloned().collect();
    for recording in &recordings {
        let missing = found.missing(recording);
        if !missing.is_empty() {
            found.repair(recording, &missing, &recordings, catalog)?;
        }
    }
    Ok(found.findings)
}

struct Inventory<'a> {
    files: &'a dyn Files,
    directory: &'a Path,
    segments: Segments,
    findings: Vec<String>,
}

impl Inventory<'_> {
    /// Bases of segments that a recording needs and does not have. Those that are too short are
    /// told.
    fn missing(&mut self, recording: &Recording) -> Vec<i64> {
        let layout = recording.layout();
        let (mut base, stop) = (layout.base(recording.start_position), recording.stop_position);
        let mut missing = Vec::new();
        let own = self.segments.get(&recording.id);
        while base < stop && recording.start_position < stop {
            let needed = (stop - base).min(layout.segment_length);
            match own.and_then(|own| own.get(&base)) {
                None => missing.push(base),
                Some(length) if *length < needed.cast_unsigned() => self.findings.push(format!(
                    "recording {}: segment at {base} is {length} bytes long, {needed} are needed",
                    recording.id
                )),
                Some(_) => {}
            }
            base += layout.segment_length;
        }
        missing
    }

    fn repair(
        &mut self,
        recording: &Recording,
        missing: &[i64],
        all: &[Recording],
        catalog: &mut Catalog,
    ) -> Result<(), CatalogError> {
        let (start, stop, id) = (recording.start_position, recording.stop_position, recording.id);
        for other in all.iter().filter(|it| it.id != id && it.is_like(recording)) {
            let holds = |base: &i64| self.holds(other, recording, *base);
            if !missing.iter().map(holds).collect::<io::Result<Vec<_>>>()?.iter().all(|it| *it) {
                continue;
            }
            if other.start_position <= start && stop <= other.stop_position {
                catalog.update(id, |it| it.stop_position = start)?;
                self.remove(id, recording.layout().base(start))?;
                self.findings.push(format!("recording {id} has become a part of {}", other.id));
                return Ok(());
            }
            if other.stop_position == start || other.start_position == stop {
                self.give_back(recording, missing, other)?;
                self.findings.push(format!(
                    "recording {id}: a migration to {} was cut short: undone",
                    other.id
                ));
                return Ok(());
            }
        }
        let bases = missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        self.findings.push(format!("recording {id}: segments at {bases} are missing"));
        Ok(())
    }

    /// Whether another recording's segment at `base` holds frames of this one.
    fn holds(&self, other: &Recording, recording: &Recording, base: i64) -> io::Result<bool> {
        if !self.segments.get(&other.id).is_some_and(|own| own.contains_key(&base)) {
            return Ok(false);
        }
        let file = self.files.open(&self.path(other.id, base))?;
        let position = base.max(recording.start_position);
        let offset = (position - base).cast_unsigned();
        let mut bytes = [0; HEADER_LENGTH];
        if file.length()? < offset + HEADER_LENGTH as u64 {
            return Ok(false);
        }
        read_exact_at(&*file, &mut bytes, offset)?;
        let place = recording.place(position);
        Ok(Header::read(&bytes).is_some_and(|it| it.is_at(place) && it.frame_length > 0))
    }

    fn give_back(
        &mut self,
        recording: &Recording,
        missing: &[i64],
        other: &Recording,
    ) -> io::Result<()> {
        for base in missing {
            self.files.rename(&self.path(other.id, *base), &self.path(recording.id, *base))?;
        }
        self.files.sync_directory(self.directory)?;
        let (layout, stop) = (other.layout(), other.stop_position);
        let next = self.path(other.id, stop);
        if layout.is_base(stop) && stop > other.start_position && self.files.entry(&next)?.is_none()
        {
            let length = layout.segment_length.cast_unsigned();
            create_empty(self.files, self.directory, &next, length)?;
        }
        Ok(())
    }

    /// Removes the segments of a recording from a base on.
    fn remove(&mut self, id: i64, from: i64) -> io::Result<()> {
        let bases = self.segments.get(&id).into_iter().flat_map(|own| own.range(from..));
        for (base, _) in bases {
            self.files.remove(&self.path(id, *base))?;
        }
        self.files.sync_directory(self.directory)
    }

    fn path(&self, id: i64, base: i64) -> std::path::PathBuf {
        self.directory.join(segment::file_name(id, base))
    }
}
