//! Files as memory.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::MmapRaw;
use memory::region::Region;
use runtime::files::{Backing, Mapping};

/// Maps a file whole. Whoever cuts it off later makes an access beyond its end a bus error: files
/// of a fixed length are mapped, and their makers do not shorten them.
pub(crate) fn map(file: &File) -> io::Result<Mapping> {
    if file.metadata()?.len() == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an empty file cannot be mapped"));
    }
    let mapped = Arc::new(MmapRaw::map_raw(file)?);
    let Some(base) = NonNull::new(mapped.as_mut_ptr()) else {
        return Err(io::Error::other("the system mapped a file at address zero"));
    };
    // SAFETY: 1. the pages are readable and writable, page-aligned, and mapped until the owner is
    // dropped; 2. `MmapRaw` hands out pointers only, and nobody else has it but the backing below.
    let region = unsafe { Region::from_owner(base, mapped.len(), Box::new(Arc::clone(&mapped))) };
    Ok(Mapping::new(region, Arc::new(MappedFile(mapped))))
}

struct MappedFile(Arc<MmapRaw>);

impl Backing for MappedFile {
    fn sync(&self, range: Range<usize>) -> io::Result<()> {
        if range.start > range.end || range.end > self.0.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "beyond the mapping"));
        }
        self.0.flush_range(range.start, range.end - range.start)
    }
}
