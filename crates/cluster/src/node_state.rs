//! `node-state.dat`: the highest term that this member has voted or stood for.
//!
//! A vote is worth what the disk remembers of it: the file is synced before the vote is spoken. The
//! record lies within one sector, so that a crash leaves the old one or the new one.

use std::io;
use std::path::Path;
use std::sync::Arc;

use consensus::LeadershipTermId;
use runtime::files::{File, Files, SyncKind, write_all_at};
use runtime::guarded::{GuardError, Guarded};
use wire::cluster::node_state::{
    CANDIDATE_TERM_ID_OFFSET, CandidateTerm, FILE_LENGTH, FILE_NAME, LOG_POSITION_OFFSET,
    TIMESTAMP_OFFSET, encode, find,
};
use wire::position::Position;

/// The file, open.
pub struct NodeState {
    file: Guarded,
    candidate_term: LeadershipTermId,
    is_new: bool,
}

/// Why the file cannot be used. The node must not start: it might vote twice.
#[derive(Debug, thiserror::Error)]
pub enum NodeStateError {
    /// The host refuses.
    #[error("node-state.dat: {0}")]
    Io(#[from] io::Error),
    /// It is not what it was.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The bytes are not a node state.
    #[error("node-state.dat is damaged: {0}")]
    Damaged(wire::bytes::DecodeError),
}

/// Name under which a new file is prepared, so that a half-made one is never taken for the real
/// one.
const NEW_FILE_NAME: &str = "node-state.dat.new";

impl NodeState {
    /// Reads the file of a cluster directory, or makes one in which nothing was voted for. With a
    /// guard, says what that found.
    ///
    /// A new file is durable when this returns. Blocks.
    ///
    /// # Errors
    /// See [`NodeStateError`].
    pub fn open(
        files: &Arc<dyn Files>,
        directory: &Path,
        is_guarded: bool,
    ) -> Result<(Self, Vec<String>), NodeStateError> {
        let path = directory.join(FILE_NAME);
        if is_guarded {
            Guarded::expect_none(&**files, &path)?;
        } else {
            Guarded::forget(&**files, &path)?;
        }
        let is_new = files.entry(&path)?.is_none();
        if is_new {
            create(&**files, directory)?;
        }
        let mut file = Guarded::open(files, &path)?;
        let findings = if is_guarded { file.guard()? } else { Vec::new() };
        let bytes = file.content()?;
        let found = find(&bytes).map_err(NodeStateError::Damaged)?;
        let candidate_term = LeadershipTermId(found.candidate.candidate_term_id);
        Ok((Self { file, candidate_term, is_new }, findings))
    }

    /// Whether there was none before.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The highest term voted or stood for; -1 if there was none.
    #[must_use]
    pub fn candidate_term(&self) -> LeadershipTermId {
        self.candidate_term
    }

    /// The file, to be synced.
    #[must_use]
    pub fn file(&self) -> &Arc<dyn File> {
        self.file.file()
    }

    pub(crate) fn guarded(&mut self) -> &mut Guarded {
        &mut self.file
    }

    /// Makes what was stored durable. Blocks.
    ///
    /// # Errors
    /// The host refuses: the vote must not be spoken.
    pub fn settle(&mut self) -> io::Result<()> {
        self.file.settle()
    }

    /// Writes a term. Durable only after a sync of the file.
    ///
    /// # Errors
    /// The host refuses: the vote must not be spoken.
    pub fn store(
        &mut self,
        term: LeadershipTermId,
        log_position: Position,
        epoch_millis: i64,
    ) -> io::Result<()> {
        // The term last: a reader that maps the file takes it as the sign that all is there.
        for (value, offset) in [
            (log_position.0, LOG_POSITION_OFFSET),
            (epoch_millis, TIMESTAMP_OFFSET),
            (term.0, CANDIDATE_TERM_ID_OFFSET),
        ] {
            self.file.write(&value.to_le_bytes(), offset as u64)?;
        }
        self.candidate_term = term;
        Ok(())
    }
}

fn create(files: &dyn Files, directory: &Path) -> Result<(), NodeStateError> {
    let new_path = directory.join(NEW_FILE_NAME);
    if files.entry(&new_path)?.is_some() {
        files.remove(&new_path)?;
    }
    let file = files.create(&new_path)?;
    file.set_length(FILE_LENGTH as u64)?;
    let none = CandidateTerm { candidate_term_id: -1, timestamp: 0, log_position: 0 };
    let mut bytes = [0; 64];
    let length = encode(&none, &mut bytes).map_err(io::Error::other)?;
    write_all_at(&*file, &bytes[..length], 0)?;
    file.sync(SyncKind::All)?;
    files.rename(&new_path, &directory.join(FILE_NAME))?;
    files.sync_directory(directory)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::directory;
    use runtime::files::read_exact_at;

    fn open(files: &Arc<dyn Files>, path: &Path) -> Result<NodeState, NodeStateError> {
        NodeState::open(files, path, false).map(|(state, _)| state)
    }

    #[test]
    fn a_new_file_says_that_nothing_was_voted_for() {
        let (files, path) = directory();
        let state = open(&files, &path).unwrap();
        assert!(state.is_new());
        assert_eq!(state.candidate_term(), LeadershipTermId(-1));
        assert_eq!(state.file().length().unwrap(), FILE_LENGTH as u64);
        assert!(!open(&files, &path).unwrap().is_new());
    }

    #[test]
    fn a_term_is_read_back() {
        let (files, path) = directory();
        let mut state = open(&files, &path).unwrap();
        state.store(LeadershipTermId(7), Position(96), 5).unwrap();
        let state = open(&files, &path).unwrap();
        assert_eq!(state.candidate_term(), LeadershipTermId(7));
        let mut bytes = vec![0; 64];
        read_exact_at(&**state.file(), &mut bytes, 0).unwrap();
        let candidate = find(&bytes).unwrap().candidate;
        let stored = CandidateTerm { candidate_term_id: 7, timestamp: 5, log_position: 96 };
        assert_eq!(candidate, stored);
    }

    #[test]
    fn a_guarded_vote_outlives_rot_and_an_old_copy_but_not_its_loss() {
        let (files, path) = directory();
        let guarded = || NodeState::open(&files, &path, true);
        let (mut state, _) = guarded().unwrap();
        state.store(LeadershipTermId(7), Position(96), 5).unwrap();
        state.settle().unwrap();
        drop(state);
        for damage in [&[0xff][..], &[0; 64], &3_i64.to_le_bytes()] {
            let file = files.open(&path.join(FILE_NAME)).unwrap();
            write_all_at(&*file, damage, CANDIDATE_TERM_ID_OFFSET as u64).unwrap();
            let (state, findings) = guarded().unwrap();
            assert_eq!(state.candidate_term(), LeadershipTermId(7));
            assert!(findings[0].contains("restored"), "{findings:?}");
        }
        files.remove(&path.join(FILE_NAME)).unwrap();
        let error = guarded().err().unwrap().to_string();
        assert!(error.contains("node-state.dat is missing"), "{error}");
    }

    #[test]
    fn a_half_made_file_is_made_anew() {
        let (files, path) = directory();
        files.create(&path.join(NEW_FILE_NAME)).unwrap();
        assert!(open(&files, &path).unwrap().is_new());
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let (files, path) = directory();
        let state = open(&files, &path).unwrap();
        write_all_at(&**state.file(), &[0; 64], 0).unwrap();
        assert!(matches!(open(&files, &path), Err(NodeStateError::Damaged(_))));
        let short = files.open(&path.join(FILE_NAME)).unwrap();
        short.set_length(3).unwrap();
        assert!(open(&files, &path).is_err());
    }
}
