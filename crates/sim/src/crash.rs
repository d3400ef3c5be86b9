//! The images that a power cut could leave, built from a [`Journal`](crate::journal::Journal).
//!
//! What was synced is there. Of the rest any part may be: each sector of 512 bytes as it was at the
//! last sync or as any later write left it, whatever became of other sectors; each length that the
//! file has had; each creation, renaming or removal of a name done or not, whatever became of
//! others. A sector is never torn, a renaming never done by half. That is more than a file system
//! with a journal loses, and no less than any.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runtime::EpochNanos;
use runtime::random::Rng;

use crate::journal::{Event, FileId};

/// What a disk writes at once.
pub const SECTOR: usize = 512;

/// Of a point with at most so many images, all are built; of others some are drawn.
const ENUMERATED: usize = 64;

/// All that a disk holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Image {
    /// Directories.
    pub directories: BTreeSet<PathBuf>,
    /// Files and their bytes.
    pub files: BTreeMap<PathBuf, Arc<Vec<u8>>>,
    /// When files were written last; the beginning of time where nothing is said.
    pub modified: BTreeMap<PathBuf, EpochNanos>,
}

/// What a sector held after an event.
type State = (usize, Box<[u8]>);

#[derive(Clone, Default)]
struct Content {
    /// As its user sees it.
    current: Vec<u8>,
    /// As it was when it was synced last.
    durable: Arc<Vec<u8>>,
    /// The event that made it so.
    synced: usize,
    /// Of each sector, what it was since, by the event that made it so.
    sectors: BTreeMap<usize, Vec<State>>,
    /// The lengths since.
    lengths: Vec<(usize, usize)>,
}

#[derive(Clone)]
enum Target {
    Directory,
    File(FileId),
}

enum Change {
    Bind(PathBuf, Target),
    Rename(PathBuf, PathBuf, Target),
    Remove(PathBuf),
}

/// The state of a disk after some of the events.
#[derive(Default)]
pub struct Disk {
    applied: usize,
    files: BTreeMap<FileId, Content>,
    current: BTreeMap<PathBuf, Target>,
    durable: BTreeMap<PathBuf, Target>,
    /// Changes of names that are not durable, by their events.
    changes: Vec<(usize, Change)>,
}

/// Something of which the power cut leaves one of several states: the durable one, or that after
/// one of these events.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unit(Vec<usize>);

/// One way in which a disk may be left: for each unit its state; 0 is the durable one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cut(Vec<usize>);

impl Disk {
    /// How many events have been applied.
    #[must_use]
    pub const fn applied(&self) -> usize {
        self.applied
    }

    /// The next event happens.
    pub fn apply(&mut self, event: &Event) {
        let number = self.applied;
        self.applied += 1;
        match event {
            Event::Created { path, file } => {
                self.files.insert(*file, Content::default());
                self.bind(number, path, Target::File(*file));
            }
            Event::CreatedDirectory { path } => self.bind(number, path, Target::Directory),
            Event::Wrote { file, offset, bytes } => {
                if let Some(content) = self.files.get_mut(file) {
                    content.write(number, usize::try_from(*offset).unwrap_or(usize::MAX), bytes);
                }
            }
            Event::Resized { file, length } => {
                if let Some(content) = self.files.get_mut(file) {
                    content.resize(number, usize::try_from(*length).unwrap_or(usize::MAX));
                }
            }
            Event::Synced { file } => {
                if let Some(content) = self.files.get_mut(file) {
                    content.sync(number);
                }
            }
            Event::Renamed { from, to } => {
                if let Some(target) = self.current.remove(from) {
                    self.current.insert(to.clone(), target.clone());
                    let change = Change::Rename(from.clone(), to.clone(), target);
                    self.changes.push((number, change));
                }
            }
            Event::Removed { path } => {
                self.current.retain(|other, _| !other.starts_with(path));
                self.changes.push((number, Change::Remove(path.clone())));
            }
            Event::SyncedDirectory { path } => self.sync_directory(path),
            Event::Marked { .. } => {}
        }
    }

    fn bind(&mut self, number: usize, path: &Path, target: Target) {
        self.current.insert(path.to_path_buf(), target.clone());
        self.changes.push((number, Change::Bind(path.to_path_buf(), target)));
    }

    fn sync_directory(&mut self, directory: &Path) {
        let is_inside = |path: &Path| path.parent() == Some(directory);
        let mut left = Vec::new();
        for (number, change) in std::mem::take(&mut self.changes) {
            let is_durable = match &change {
                Change::Bind(path, _) | Change::Remove(path) => is_inside(path),
                Change::Rename(from, to, _) => is_inside(from) && is_inside(to),
            };
            if is_durable {
                change.apply(&mut self.durable);
            } else {
                left.push((number, change));
            }
        }
        self.changes = left;
    }

    fn units(&self) -> Vec<Unit> {
        let mut units: Vec<Unit> = Vec::new();
        units.extend(self.changes.iter().map(|(number, _)| Unit(vec![*number])));
        for content in self.files.values() {
            units.extend(content.units().map(Unit));
        }
        units
    }

    /// What a kill leaves: all that was done, durable or not.
    #[must_use]
    pub fn killed(&self) -> Cut {
        Cut(self.units().iter().map(|unit| unit.0.len()).collect())
    }

    /// What a power cut after the events applied could leave: everything if that is not too much,
    /// else `count` of them, drawn. Of these the first two are those with nothing and with all of
    /// what was not durable. More of them begin with the same.
    #[must_use]
    pub fn cuts(&self, count: usize, rng: &mut Rng) -> Vec<Cut> {
        let units = self.units();
        let total = units.iter().try_fold(1_usize, |total, unit| {
            total.checked_mul(unit.0.len() + 1).filter(|total| *total <= ENUMERATED)
        });
        let Some(total) = total else {
            return (0..count).map(|index| draw(&units, index, rng)).collect();
        };
        let nth = |mut index: usize| {
            let choice = units.iter().map(|unit| {
                let options = unit.0.len() + 1;
                let chosen = index % options;
                index /= options;
                chosen
            });
            Cut(choice.collect())
        };
        (0..total).map(nth).collect()
    }

    /// The same number for cuts, of whatever points of one run, that leave the same.
    #[must_use]
    pub fn key(&self, cut: &Cut) -> u64 {
        let mut hasher = DefaultHasher::new();
        let mut choice = cut.0.iter().copied();
        for (path, target) in self.names(&mut choice) {
            path.hash(&mut hasher);
            if let Target::File(file) = target {
                file.hash(&mut hasher);
            }
        }
        for content in self.files.values() {
            content.synced.hash(&mut hasher);
            let states = content.units().map(|states| {
                let chosen = choice.next().filter(|chosen| *chosen > 0)?;
                states.get(chosen - 1).copied()
            });
            states.for_each(|state| state.hash(&mut hasher));
        }
        hasher.finish()
    }

    /// The names that are left.
    fn names(&self, choice: &mut impl Iterator<Item = usize>) -> BTreeMap<PathBuf, Target> {
        let mut names = self.durable.clone();
        for (_, change) in &self.changes {
            if choice.next() == Some(1) {
                change.apply(&mut names);
            }
        }
        names
    }

    /// What a cut leaves.
    #[must_use]
    pub fn image(&self, cut: &Cut) -> Image {
        let mut choice = cut.0.iter().copied();
        let names = self.names(&mut choice);
        let mut contents: BTreeMap<FileId, Arc<Vec<u8>>> = BTreeMap::new();
        for (file, content) in &self.files {
            contents.insert(*file, content.left(&mut choice));
        }
        let mut image = Image::default();
        for (path, target) in names {
            let parent = path.parent().filter(|parent| parent.parent().is_some());
            if parent.is_some_and(|parent| !image.directories.contains(parent)) {
                continue;
            }
            match target {
                Target::Directory => drop(image.directories.insert(path)),
                Target::File(file) => {
                    let bytes = contents.get(&file).cloned().unwrap_or_default();
                    image.files.insert(path, bytes);
                }
            }
        }
        image
    }
}

/// One choice. The kinds alternate: cut at one moment, cut inside of one event, one thing missing,
/// one thing there alone, and any mixture.
fn draw(units: &[Unit], index: usize, rng: &mut Rng) -> Cut {
    let newest = |unit: &Unit| unit.0.len();
    let pick = |rng: &mut Rng| rng.below(units.len().max(1) as u64) as usize;
    match index {
        0 => return Cut(vec![0; units.len()]),
        1 => return Cut(units.iter().map(newest).collect()),
        _ => {}
    }
    let moment = |rng: &mut Rng| {
        let unit = &units[pick(rng)].0;
        unit[rng.below(unit.len() as u64) as usize]
    };
    let until = |unit: &Unit, moment: usize| unit.0.iter().filter(|event| **event < moment).count();
    Cut(match index % 5 {
        0 => {
            let moment = moment(rng);
            units.iter().map(|unit| until(unit, moment)).collect()
        }
        1 => {
            let moment = moment(rng);
            let torn = |unit: &Unit| {
                let before = until(unit, moment);
                before + usize::from(unit.0.contains(&moment) && rng.chance(0.5))
            };
            units.iter().map(torn).collect()
        }
        2 => {
            let missing = pick(rng);
            let left = |(at, unit)| if at == missing { 0 } else { newest(unit) };
            units.iter().enumerate().map(left).collect()
        }
        3 => {
            let only = pick(rng);
            let left = |(at, unit)| if at == only { newest(unit) } else { 0 };
            units.iter().enumerate().map(left).collect()
        }
        _ => {
            let share = [0.1, 0.5, 0.9][rng.below(3) as usize];
            let any = |unit: &Unit| match rng.chance(share) {
                true => 1 + rng.below(unit.0.len() as u64) as usize,
                false => 0,
            };
            units.iter().map(any).collect()
        }
    })
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Target>) {
        match self {
            Self::Bind(path, target) => drop(names.insert(path.clone(), target.clone())),
            Self::Rename(from, to, target) => {
                names.remove(from);
                names.insert(to.clone(), target.clone());
            }
            Self::Remove(path) => names.retain(|other, _| !other.starts_with(path)),
        }
    }
}

impl Content {
    fn write(&mut self, number: usize, offset: usize, bytes: &[u8]) {
        let end = offset.saturating_add(bytes.len());
        if end > self.current.len() {
            self.current.resize(end, 0);
            self.lengths.push((number, end));
        }
        let before = self.current[offset..end].to_vec();
        self.current[offset..end].copy_from_slice(bytes);
        if before != bytes {
            self.remember(number, offset, end);
        }
    }

    fn resize(&mut self, number: usize, length: usize) {
        let old = self.current.len();
        if length == old {
            return;
        }
        // What is cut off may stand until the sector is zeros, if the file grows again.
        if length < old {
            self.current[length..].fill(0);
            self.remember(number, length, old);
        }
        self.current.resize(length, 0);
        self.lengths.push((number, length));
    }

    /// Sectors that differ from what they were last.
    fn remember(&mut self, number: usize, begin: usize, end: usize) {
        for sector in begin / SECTOR..end.div_ceil(SECTOR) {
            let range = sector * SECTOR..((sector + 1) * SECTOR).min(self.current.len());
            let new = &self.current[range.clone()];
            let states = self.sectors.get(&sector);
            let is_same = match states.and_then(|states| states.last()) {
                Some((_, last)) => is_padded(last, new),
                None => is_padded(self.durable.get(range.start..).unwrap_or(&[]), new),
            };
            if !is_same {
                self.sectors.entry(sector).or_default().push((number, new.into()));
            }
        }
    }

    fn sync(&mut self, number: usize) {
        if !self.sectors.is_empty() || !self.lengths.is_empty() {
            self.durable = Arc::new(self.current.clone());
            self.synced = number;
            self.sectors.clear();
            self.lengths.clear();
        }
    }

    /// What of it is not durable: the events that may have come last, of its length and of each
    /// sector.
    fn units(&self) -> impl Iterator<Item = Vec<usize>> {
        let lengths = (!self.lengths.is_empty()).then_some(&self.lengths);
        let lengths = lengths.into_iter().map(|it| it.iter().map(|(number, _)| *number).collect());
        let sectors = self.sectors.values();
        lengths.chain(sectors.map(|it| it.iter().map(|(number, _)| *number).collect()))
    }

    fn left(&self, choice: &mut impl Iterator<Item = usize>) -> Arc<Vec<u8>> {
        let mut length = self.durable.len();
        if !self.lengths.is_empty()
            && let Some(chosen) = choice.next().filter(|chosen| *chosen > 0)
        {
            length = self.lengths[chosen - 1].1;
        }
        let mut left = Arc::clone(&self.durable);
        if length != left.len() {
            Arc::make_mut(&mut left).resize(length, 0);
        }
        for (sector, states) in &self.sectors {
            let Some(chosen) = choice.next().filter(|chosen| *chosen > 0) else { continue };
            let state = &states[chosen - 1].1;
            let begin = (sector * SECTOR).min(length);
            let end = (begin + SECTOR).min(length);
            let target = &mut Arc::make_mut(&mut left)[begin..end];
            target.fill(0);
            let count = target.len().min(state.len());
            target[..count].copy_from_slice(&state[..count]);
        }
        left
    }
}

/// Whether two sectors are the same, what is missing of the first being zeros.
fn is_padded(short: &[u8], long: &[u8]) -> bool {
    let count = short.len().min(long.len());
    short[..count] == long[..count] && long[count..].iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(events: &[Event]) -> Disk {
        let mut disk = Disk::default();
        events.iter().for_each(|event| disk.apply(event));
        disk
    }

    fn images(events: &[Event], count: usize) -> Vec<Image> {
        let disk = disk(events);
        let cuts = disk.cuts(count, &mut Rng::new(1, "images"));
        cuts.iter().map(|cut| disk.image(cut)).collect()
    }

    fn created() -> Vec<Event> {
        let (path, file) = (PathBuf::from("/a/f"), FileId(0));
        vec![
            Event::CreatedDirectory { path: PathBuf::from("/a") },
            Event::SyncedDirectory { path: PathBuf::from("/") },
            Event::Created { path, file },
            Event::SyncedDirectory { path: PathBuf::from("/a") },
        ]
    }

    fn wrote(offset: u64, bytes: &[u8]) -> Event {
        Event::Wrote { file: FileId(0), offset, bytes: bytes.into() }
    }

    fn contents(images: &[Image]) -> BTreeSet<Vec<u8>> {
        let found = images.iter().filter_map(|image| image.files.get(Path::new("/a/f")));
        found.map(|bytes| bytes.to_vec()).collect()
    }

    #[test]
    fn what_was_synced_is_in_every_image() {
        let mut events = created();
        events.extend([wrote(0, b"safe"), Event::Synced { file: FileId(0) }]);
        let images = images(&events, 100);
        assert_eq!(contents(&images), BTreeSet::from([b"safe".to_vec()]));
    }

    #[test]
    fn each_sector_of_a_write_is_left_or_lost_by_itself() {
        let mut events = created();
        events.extend([
            Event::Resized { file: FileId(0), length: 1024 },
            Event::Synced { file: FileId(0) },
            wrote(510, b"xxyy"),
        ]);
        let left = contents(&images(&events, 100));
        let halves: BTreeSet<&[u8]> = left.iter().map(|bytes| &bytes[510..514]).collect();
        let all: [&[u8]; 4] = [b"\0\0\0\0", b"xx\0\0", b"\0\0yy", b"xxyy"];
        assert_eq!(halves, BTreeSet::from(all));
    }

    #[test]
    fn a_renaming_is_done_or_not_and_names_that_were_not_synced_may_be_lost() {
        let mut events = created();
        events.push(Event::Renamed { from: "/a/f".into(), to: "/a/g".into() });
        let found: BTreeSet<Vec<PathBuf>> =
            images(&events, 100).iter().map(|it| it.files.keys().cloned().collect()).collect();
        assert_eq!(found, BTreeSet::from([vec!["/a/f".into()], vec!["/a/g".into()]]));
        let lost = images(&created()[..3], 100);
        assert_eq!(lost.iter().filter(|image| image.files.is_empty()).count(), 1);
    }

    #[test]
    fn what_is_too_much_to_be_enumerated_is_drawn_from_nothing_to_all() {
        let mut events = created();
        events.push(wrote(0, &vec![7; 40 * SECTOR]));
        let drawn = images(&events, 50);
        assert_eq!(drawn.len(), 50);
        assert!(drawn[0].files[Path::new("/a/f")].is_empty());
        assert_eq!(*drawn[1].files[Path::new("/a/f")], vec![7; 40 * SECTOR]);
        assert!(contents(&drawn).len() > 15);
    }

    #[test]
    fn a_kill_leaves_everything_and_equal_images_have_equal_keys() {
        let mut events = created();
        events.extend([wrote(0, b"safe"), Event::Synced { file: FileId(0) }, wrote(0, b"more")]);
        let disk = disk(&events);
        assert_eq!(*disk.image(&disk.killed()).files[Path::new("/a/f")], b"more");
        let cuts = disk.cuts(10, &mut Rng::new(1, "images"));
        for one in &cuts {
            for other in &cuts {
                let is_same = disk.image(one) == disk.image(other);
                assert_eq!(disk.key(one) == disk.key(other), is_same);
            }
        }
    }
}
