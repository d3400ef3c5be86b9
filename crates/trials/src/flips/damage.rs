//! The kinds of damage.

use std::path::{Path, PathBuf};

use runtime::random::Rng;
use sim::crash::SECTOR;

use super::{Base, Structure};

/// A file, or two, with other bytes in them.
pub(super) struct Damage {
    pub(super) kind: &'static str,
    /// For people.
    pub(super) what: String,
    pub(super) files: Vec<(PathBuf, Vec<u8>)>,
}

/// The file names of a structure.
fn is_of(structure: Structure, base: &Base, path: &Path) -> bool {
    let name = path.file_name().map_or_else(String::new, |it| it.to_string_lossy().into_owned());
    let is_segment = Path::new(&name).extension().is_some_and(|it| it == "rec");
    let is_log = name.starts_with(&format!("{}-", base.truth.log));
    match structure {
        Structure::Segment => is_segment && is_log,
        Structure::Snapshot => is_segment && !is_log,
        Structure::Catalog => name == "archive.catalog",
        Structure::RecordingLog => name == "recording.log",
        Structure::NodeState => name == "node-state.dat",
        Structure::MarkFile => name == "archive-mark.dat" || name == "cluster-mark.dat",
        Structure::Sum => name.ends_with(".sum"),
    }
}

/// Draws a file of a structure and damage to it; `None` if that changes nothing.
pub(super) fn draw(base: &Base, structure: Structure, rng: &mut Rng) -> Option<Damage> {
    let files: Vec<_> = base.image.files.iter().collect();
    let chosen: Vec<_> = files.iter().filter(|(path, _)| is_of(structure, base, path)).collect();
    let (path, bytes) = chosen.get(below(rng, chosen.len()))?;
    let mut damaged = bytes.to_vec();
    if damaged.is_empty() {
        return None;
    }
    let at = place(bytes, rng);
    let (kind, what) = match rng.below(6) {
        0 | 1 => {
            damaged[at] ^= 1 << rng.below(8);
            ("bit flip", format!("a bit at {at}"))
        }
        2 => {
            let length = if rng.chance(0.5) { SECTOR } else { 4_096 };
            let begin = at / length * length;
            let end = (begin + length).min(damaged.len());
            match rng.below(3) {
                0 => damaged[begin..end].fill(0),
                1 => damaged[begin..end].fill(0xff),
                _ => damaged[begin..end].iter_mut().for_each(|it| *it = rng.below(256) as u8),
            }
            ("block", format!("{length} bytes at {begin}"))
        }
        3 => {
            let (from, source) = files[below(rng, files.len())];
            let there = place(source, rng) / 32 * 32;
            let length = [32, SECTOR, 4_096][below(rng, 3)];
            let begin = at / 32 * 32;
            let source = source.get(there..).unwrap_or(&[]);
            let count = length.min(source.len()).min(damaged.len() - begin);
            damaged[begin..begin + count].copy_from_slice(&source[..count]);
            let from = from.display();
            ("misdirected", format!("{count} bytes of {from} at {there} written at {begin}"))
        }
        4 => {
            damaged.truncate(at);
            ("cut", format!("cut to {at}"))
        }
        _ => return exchange(base, structure, path, &damaged, &files, rng),
    };
    let what = format!("{}: {what}", path.display());
    let is_changed = damaged != ***bytes;
    is_changed.then(|| Damage { kind, what, files: vec![(path.to_path_buf(), damaged)] })
}

type File<'a> = (&'a PathBuf, &'a std::sync::Arc<Vec<u8>>);

/// An old copy of the file comes back, or it changes places with another of its kind.
fn exchange(
    base: &Base,
    structure: Structure,
    path: &Path,
    bytes: &[u8],
    files: &[File<'_>],
    rng: &mut Rng,
) -> Option<Damage> {
    let shown = path.display();
    let old = base.older.files.get(path).filter(|old| ***old != *bytes);
    if let Some(old) = old.filter(|_| rng.chance(0.5)) {
        let files = vec![(path.to_path_buf(), old.to_vec())];
        return Some(Damage { kind: "old copy", what: format!("{shown}: an old copy"), files });
    }
    let is_segment = |path: &Path| path.extension().is_some_and(|it| it == "rec");
    let is_kin = |it: &Path| is_of(structure, base, it) || (is_segment(it) && is_segment(path));
    let kin: Vec<_> = files.iter().filter(|(it, _)| *it != path && is_kin(it)).collect();
    let (other, theirs) = kin.get(below(rng, kin.len()))?;
    if ***theirs == *bytes {
        return None;
    }
    let what = format!("{shown} in place of {}", other.display());
    let files = vec![(path.to_path_buf(), theirs.to_vec()), (other.to_path_buf(), bytes.to_vec())];
    Some(Damage { kind: "swapped", what, files })
}

fn below(rng: &mut Rng, count: usize) -> usize {
    usize::try_from(rng.below(count.max(1) as u64)).unwrap_or(0)
}

/// A place in a file, mostly one where something stands.
fn place(bytes: &[u8], rng: &mut Rng) -> usize {
    let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
    let limit = if rng.chance(0.9) { used } else { bytes.len() };
    below(rng, limit)
}
