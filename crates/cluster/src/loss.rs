//! `log-loss.dat`: what this member lost of its log and has not regained (rule H3 of
//! [`consensus`]).
//!
//! ```text
//! 0                     8              16                     24       32
//! +---------------------+--------------+----------------------+--------+---------------------+
//! | cut: position i64,  | term: i64    | acknowledged:        | zeros  | all of it once more, |
//! | or -1: it is cut    |              | position i64         |        | each bit inverted    |
//! +---------------------+--------------+----------------------+--------+---------------------+
//! ```
//!
//! That it is there is what binds. It lies within one sector, and is durable before the log is cut;
//! one whose halves disagree was torn as it was made, or rotted: then everything counts as lost
//! that may have been acknowledged in any term that this member took part in.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consensus::{LeadershipTermId, Loss};
use runtime::files::{File, Files, SyncKind, read_exact_at, write_all_at};
use wire::position::Position;

/// Name of the file in the cluster directory.
pub const FILE_NAME: &str = "log-loss.dat";
const HALF: usize = 32;

/// The file, whether it is there or not.
pub struct LossFile {
    files: Arc<dyn Files>,
    path: PathBuf,
}

impl LossFile {
    /// That of a cluster directory.
    #[must_use]
    pub fn new(files: &Arc<dyn Files>, directory: &Path) -> Self {
        Self { files: files.clone(), path: directory.join(FILE_NAME) }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is lost; `None` without a file. `newest` is the newest term that this member knows.
    ///
    /// # Errors
    /// The host refuses.
    pub fn read(&self, newest: LeadershipTermId) -> io::Result<Option<Loss>> {
        if self.files.entry(&self.path)?.is_none() {
            return Ok(None);
        }
        let file = self.files.open(&self.path)?;
        let unknown = Loss { cut: None, term: newest, acknowledged: Position(i64::MAX) };
        let mut bytes = [0; 2 * HALF];
        if file.length()? < bytes.len() as u64 {
            return Ok(Some(unknown));
        }
        read_exact_at(&*file, &mut bytes, 0)?;
        Ok(Some(decode(&bytes).unwrap_or(unknown)))
    }

    /// Writes it. Durable only after a sync of the file and of its directory.
    ///
    /// # Errors
    /// The host refuses: the log must not be cut.
    pub fn write(&self, loss: &Loss) -> io::Result<Arc<dyn File>> {
        let file = match self.files.entry(&self.path)? {
            Some(_) => self.files.open(&self.path)?,
            None => self.files.create(&self.path)?,
        };
        write_all_at(&*file, &encode(loss), 0)?;
        Ok(file)
    }

    /// Writes it and makes it durable. Blocks.
    ///
    /// # Errors
    /// The host refuses: the log must not be cut.
    pub fn store(&self, loss: &Loss) -> io::Result<()> {
        self.write(loss)?.sync(SyncKind::All)?;
        self.path.parent().map_or(Ok(()), |directory| self.files.sync_directory(directory))
    }
}

fn encode(loss: &Loss) -> [u8; 2 * HALF] {
    let mut bytes = [0; 2 * HALF];
    let fields = [loss.cut.map_or(-1, |it| it.0), loss.term.0, loss.acknowledged.0];
    for (target, field) in bytes.chunks_exact_mut(8).zip(fields) {
        target.copy_from_slice(&field.to_le_bytes());
    }
    let (first, second) = bytes.split_at_mut(HALF);
    second.iter_mut().zip(first).for_each(|(target, byte)| *target = !*byte);
    bytes
}

fn decode(bytes: &[u8; 2 * HALF]) -> Option<Loss> {
    let (first, second) = bytes.split_at(HALF);
    if first.iter().zip(second).any(|(byte, other)| *byte != !*other) {
        return None;
    }
    let mut fields = first.as_chunks::<8>().0.iter().map(|it| i64::from_le_bytes(*it));
    let (cut, term, acknowledged) = (fields.next()?, fields.next()?, fields.next()?);
    let cut = (cut >= 0).then_some(Position(cut));
    Some(Loss { cut, term: LeadershipTermId(term), acknowledged: Position(acknowledged) })
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use sim::World;

    use super::*;

    #[test]
    fn a_loss_is_read_as_it_was_written_and_a_damaged_one_counts_as_the_worst() {
        let mut world = World::new(3);
        let host = world.add_host("node", &[IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))]);
        let process = world.spawn(host, |_| Vec::new());
        let files = world.ports(process).files;
        files.create_directory(Path::new("/cluster")).unwrap();
        let file = LossFile::new(&files, Path::new("/cluster"));
        let newest = LeadershipTermId(9);
        assert_eq!(file.read(newest).unwrap(), None);
        let term = LeadershipTermId(4);
        for cut in [Some(Position(64)), None] {
            let loss = Loss { cut, term, acknowledged: Position(4_096) };
            file.store(&loss).unwrap();
            assert_eq!(file.read(newest).unwrap(), Some(loss));
        }
        let bytes = files.open(file.path()).unwrap();
        write_all_at(&*bytes, &[1], 9).unwrap();
        let worst = Loss { cut: None, term: newest, acknowledged: Position(i64::MAX) };
        assert_eq!(file.read(newest).unwrap(), Some(worst));
        bytes.set_length(5).unwrap();
        assert_eq!(file.read(newest).unwrap(), Some(worst));
    }
}
