//! The bytes of one simulated file: plain, until somebody maps it.

use std::io;
use std::sync::{Arc, Mutex};

use memory::buffer::AtomicBuffer;
use memory::region::Region;

use crate::disk::DiskFaults;
use crate::lock;

enum Content {
    Plain(Vec<u8>),
    Mapped(AtomicBuffer),
}

/// One file, whatever its names.
pub(crate) struct Inode {
    faults: Arc<DiskFaults>,
    content: Mutex<Content>,
}

impl Inode {
    pub(crate) fn new(faults: Arc<DiskFaults>) -> Self {
        Self { faults, content: Mutex::new(Content::Plain(Vec::new())) }
    }

    pub(crate) fn length(&self) -> u64 {
        lock(&self.content).length()
    }

    /// The file as memory: the same for everybody who maps it.
    pub(crate) fn map(&self) -> io::Result<Arc<Region>> {
        let mut content = lock(&self.content);
        let bytes = match &*content {
            Content::Plain(bytes) if bytes.is_empty() => {
                return Err(io::ErrorKind::InvalidData.into());
            }
            Content::Plain(bytes) => bytes,
            Content::Mapped(buffer) => return Ok(Arc::clone(buffer.region())),
        };
        let region = Region::heap(bytes.len());
        let buffer = AtomicBuffer::new(Arc::clone(&region));
        buffer.copy_in(0, bytes);
        *content = Content::Mapped(buffer);
        Ok(region)
    }

    pub(crate) fn read_at(&self, target: &mut [u8], offset: u64) -> usize {
        let content = lock(&self.content);
        let left = content.length().saturating_sub(offset);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(target.len());
        let Ok(offset) = usize::try_from(offset) else { return 0 };
        match &*content {
            _ if count == 0 => {}
            Content::Plain(bytes) => {
                target[..count].copy_from_slice(&bytes[offset..offset + count]);
            }
            Content::Mapped(buffer) => buffer.copy_out(offset, &mut target[..count]),
        }
        count
    }

    pub(crate) fn write_at(&self, source: &[u8], offset: u64) -> io::Result<usize> {
        self.faults.on_write()?;
        let end = offset.checked_add(source.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut content = lock(&self.content);
        if end > content.length() {
            self.resize(&mut content, end)?;
        }
        let at = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        match &mut *content {
            Content::Plain(bytes) => bytes[at..at + source.len()].copy_from_slice(source),
            Content::Mapped(buffer) => buffer.copy_in(at, source),
        }
        Ok(source.len())
    }

    pub(crate) fn set_length(&self, length: u64) -> io::Result<()> {
        self.resize(&mut lock(&self.content), length)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.faults.on_sync()
    }

    /// A mapped file cannot change its length while somebody has it mapped: in this world the new
    /// mapping could not share memory with the old one.
    fn resize(&self, content: &mut Content, length: u64) -> io::Result<()> {
        let old = content.length();
        if length == old {
            return Ok(());
        }
        if let Content::Mapped(buffer) = content {
            if Arc::strong_count(buffer.region()) > 1 {
                return Err(io::Error::other("a file that is mapped cannot change its length"));
            }
            let mut bytes = vec![0; buffer.length()];
            buffer.copy_out(0, &mut bytes);
            *content = Content::Plain(bytes);
        }
        if length > old {
            self.faults.take(length - old)?;
        } else {
            self.faults.give_back(old - length);
        }
        if let Content::Plain(bytes) = content {
            bytes.resize(usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?, 0);
        }
        Ok(())
    }
}

impl Drop for Inode {
    fn drop(&mut self) {
        self.faults.give_back(self.length());
    }
}

impl Content {
    fn length(&self) -> u64 {
        match self {
            Self::Plain(bytes) => bytes.len() as u64,
            Self::Mapped(buffer) => buffer.length() as u64,
        }
    }
}
