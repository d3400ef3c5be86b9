//! The file of a catalog, read again to be written anew: only if it says what memory says.

use wire::archive::catalog::{CatalogHeader, Frame, HEADER_LENGTH, RecordingState};

use super::{Catalog, CatalogError, Recording};

impl Catalog {
    /// What the file holds up to its end. The disk may bring other bits than it was given, once or
    /// for ever, and what is written from them would count from then on: two reads must be equal,
    /// and header and valid entries as they are known. With a guard nothing is read.
    pub(super) fn checked_content(&self) -> Result<Vec<u8>, CatalogError> {
        let mut content = self.file.content()?;
        if !self.file.is_guarded() {
            let again = self.file.content()?;
            if let Some(at) = content.iter().zip(&again).position(|(one, other)| one != other) {
                let cause = "two reads of it differ".to_string();
                return Err(CatalogError::Entry { offset: at as u64, cause });
            }
        }
        content.truncate(usize::try_from(self.end).unwrap_or(usize::MAX));
        self.compare(&content)?;
        Ok(content)
    }

    fn compare(&self, content: &[u8]) -> Result<(), CatalogError> {
        let header = CatalogHeader::decode(content)
            .map_err(|error| CatalogError::Header(error.to_string()))?;
        if header.next_recording_id != self.next_recording_id {
            return Err(CatalogError::Header("not the next id that was written".to_string()));
        }
        let (mut offset, mut count) = (HEADER_LENGTH, 0);
        while (offset as u64) < self.end {
            let rest = content.get(offset..).unwrap_or(&[]);
            let length = self.compare_entry(rest, offset as u64, &mut count);
            offset +=
                length.map_err(|cause| CatalogError::Entry { offset: offset as u64, cause })?;
        }
        if count < self.entries.len() {
            return Err(CatalogError::Header("an entry is missing".to_string()));
        }
        Ok(())
    }

    fn compare_entry(&self, bytes: &[u8], offset: u64, count: &mut usize) -> Result<usize, String> {
        let frame = Frame::decode(bytes).map_err(|error| error.to_string())?;
        let frame = frame.ok_or("zeros before the end")?;
        if frame.state == RecordingState::Valid {
            let read = Recording::from(frame.descriptor);
            let known = self.entries.get(&read.id);
            let is_it = known.is_some_and(|it| {
                it.offset == offset && it.frame_length == frame.length && it.recording == read
            });
            if !is_it {
                return Err("not what was written".to_string());
            }
            *count += 1;
        }
        Ok(frame.length)
    }
}
