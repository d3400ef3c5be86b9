//! The copy of the tree in which all defects are planted.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::BugsError;
use super::bank::{Bug, Edit};

/// What the copy has beyond the bank: the switch itself, and who sets it.
const SWITCH: [(&str, &str, &str); 4] = [
    (
        "crates/wire/src/lib.rs",
        "pub mod position;",
        "pub mod position;\n\
         /// Which defect is on.\n\
         pub mod planted {\n\
         use core::sync::atomic::{AtomicU32, Ordering};\n\
         static NUMBER: AtomicU32 = AtomicU32::new(0);\n\
         /// Switches one on.\n\
         pub fn set(number: u32) { NUMBER.store(number, Ordering::Relaxed); }\n\
         /// Whether it is on.\n\
         pub fn is(number: u32) -> bool { NUMBER.load(Ordering::Relaxed) == number }\n\
         }",
    ),
    ("crates/trials/src/bin/seeds.rs", "fn main() -> ExitCode {", SET_IN_MAIN),
    ("crates/trials/src/bin/images.rs", "fn main() -> ExitCode {", SET_IN_MAIN),
    (
        "crates/consensus/tests/cluster.rs",
        "fn run(members: usize, count: u64, trial: Trial) -> Totals {",
        SET,
    ),
];

const SET_IN_MAIN: &str = "fn main() -> ExitCode {\n\
    let number = std::env::var(\"CORACLE_PLANTED\").ok().and_then(|it| it.parse().ok());\n\
    wire::planted::set(number.unwrap_or(0));";
const SET: &str = "fn run(members: usize, count: u64, trial: Trial) -> Totals {\n\
    let number = std::env::var(\"CORACLE_PLANTED\").ok().and_then(|it| it.parse().ok());\n\
    wire::planted::set(number.unwrap_or(0));";

/// Brings the copy up to date with the tree and the bank. Files that stay equal keep their times,
/// so that a build takes up where the last one left.
pub(super) fn plant(root: &Path, tree: &Path, bugs: &[Bug]) -> Result<(), BugsError> {
    let mut changed = changes(root, bugs)?;
    for file in files(root)? {
        let text = match changed.remove(&file) {
            Some(text) => text.into_bytes(),
            None => read(&root.join(&file))?,
        };
        let to = tree.join(&file);
        if std::fs::read(&to).is_ok_and(|present| present == text) {
            continue;
        }
        let failed = |source| BugsError::Io { path: to.display().to_string(), source };
        if let Some(directory) = to.parent() {
            std::fs::create_dir_all(directory).map_err(failed)?;
        }
        std::fs::write(&to, text).map_err(failed)?;
    }
    match changed.keys().next() {
        None => Ok(()),
        Some(file) => Err(BugsError::Bank(format!("{file} is not in the tree"))),
    }
}

/// The new text of every file that is changed.
pub(super) fn changes(root: &Path, bugs: &[Bug]) -> Result<BTreeMap<String, String>, BugsError> {
    let mut changed = BTreeMap::new();
    for (number, bug) in (1..).zip(bugs) {
        for edit in &bug.edits {
            let switch = format!("wire::planted::is({number})");
            let replace = edit.replace.replace("PLANTED", &switch);
            let edit = Edit { file: edit.file.clone(), find: edit.find.clone(), replace };
            apply(root, &mut changed, &bug.name, &edit)?;
        }
    }
    for (file, find, replace) in SWITCH {
        let edit = Edit { file: file.into(), find: find.into(), replace: replace.into() };
        apply(root, &mut changed, "the switch", &edit)?;
    }
    Ok(changed)
}

fn apply(
    root: &Path,
    changed: &mut BTreeMap<String, String>,
    bug: &str,
    edit: &Edit,
) -> Result<(), BugsError> {
    let text = match changed.remove(&edit.file) {
        Some(text) => text,
        None => String::from_utf8_lossy(&read(&root.join(&edit.file))?).into_owned(),
    };
    let count = text.matches(&edit.find).count();
    if count != 1 {
        let (bug, file, find) = (bug.to_string(), edit.file.clone(), edit.find.clone());
        return Err(BugsError::Place { bug, file, find, count });
    }
    changed.insert(edit.file.clone(), text.replacen(&edit.find, &edit.replace, 1));
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, BugsError> {
    std::fs::read(path).map_err(|source| BugsError::Io { path: path.display().to_string(), source })
}

/// All files of the tree, by its version control.
fn files(root: &Path) -> Result<Vec<String>, BugsError> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
    let output = Command::new("git").args(list).current_dir(root).output();
    let output = output.map_err(|_| BugsError::Program("git"))?;
    if !output.status.success() {
        return Err(BugsError::Program("git ls-files"));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = text.split('\0').filter(|name| !name.is_empty() && root.join(name).exists());
    Ok(names.map(str::to_string).collect())
}
