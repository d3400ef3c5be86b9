//! What no compiler checks, as one list of problems.

mod documents;
mod imports;
mod messages;
mod sources;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A place that departs from the rules.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    /// Path below the root, with `/`.
    path: String,
    /// Line from 1, or 0 for the whole file.
    line: usize,
    /// What is wrong.
    what: String,
}

impl Problem {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.path, self.what),
            line => write!(formatter, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// Why the tree could not be checked.
#[derive(Debug, Error)]
pub(crate) enum TidyError {
    /// A file or directory that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A manifest that is no TOML.
    #[error("cannot parse {path}: {source}")]
    Manifest {
        /// Which.
        path: String,
        /// Why.
        source: Box<toml::de::Error>,
    },
}

/// A text of the tree.
struct File {
    /// Path below the root, with `/`.
    path: String,
    text: String,
}

impl File {
    fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All problems of the tree under `root`, by path and line.
pub(crate) fn check(root: &Path) -> Result<Vec<Problem>, TidyError> {
    let mut files = Vec::new();
    collect(root, "", &mut files)?;
    files.sort_by(|left, right| left.path.cmp(&right.path));
    let mut problems: Vec<Problem> = files.iter().flat_map(sources::check).collect();
    problems.extend(imports::check(&files)?);
    problems.extend(documents::check(&files));
    problems.extend(messages::check(&files));
    problems.sort();
    Ok(problems)
}

/// Extensions of the texts that are looked at.
const EXTENSIONS: [&str; 6] = ["rs", "toml", "md", "java", "txt", "sh"];

/// Reads all texts below a directory, without what builds leave and what starts with a dot.
fn collect(root: &Path, below: &str, files: &mut Vec<File>) -> Result<(), TidyError> {
    let directory = root.join(below);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| TidyError::Read { path, source }
    };
    for entry in std::fs::read_dir(&directory).map_err(failed(&directory))? {
        let entry = entry.map_err(failed(&directory))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        let kind = entry.file_type().map_err(failed(&entry.path()))?;
        if kind.is_dir() && name != "target" && !name.starts_with('.') {
            collect(root, &path, files)?;
        } else if kind.is_file() && EXTENSIONS.iter().any(|end| name.ends_with(&format!(".{end}")))
        {
            let bytes = std::fs::read(entry.path()).map_err(failed(&entry.path()))?;
            files.push(File { path, text: String::from_utf8_lossy(&bytes).into_owned() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let problems = check(&root()).unwrap();
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "{} problems:\n{}", lines.len(), lines.join("\n"));
    }
}
