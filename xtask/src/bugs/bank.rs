//! The list of defects, as `xtask/bugs.toml` has it.

use std::collections::BTreeSet;
use std::path::Path;

use super::BugsError;

/// One defect.
#[derive(Debug)]
pub(super) struct Bug {
    pub(super) name: String,
    /// What is wrong with it in place.
    pub(super) what: String,
    pub(super) trial: Trial,
    /// Seeds that the trial may take to find it; in the trial of images, images.
    pub(super) seeds: u64,
    pub(super) edits: Vec<Edit>,
}

/// What looks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trial {
    /// Drivers and clients in the simulated world.
    Transport,
    /// Whole clusters in the simulated world.
    Cluster,
    /// Cores of consensus alone.
    Core,
    /// The same, with recordings that rot.
    Rot,
    /// What is left of files when a process or its power ends.
    Images,
}

/// One change. `PLANTED` in the new text stands for whether this defect is switched on.
#[derive(Debug)]
pub(super) struct Edit {
    pub(super) file: String,
    pub(super) find: String,
    pub(super) replace: String,
}

impl Trial {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Transport => "transport",
            Self::Cluster => "cluster",
            Self::Core => "core",
            Self::Rot => "rot",
            Self::Images => "images",
        }
    }

    pub(super) const fn first_seed(self) -> u64 {
        match self {
            Self::Transport | Self::Cluster | Self::Images => 1,
            Self::Core | Self::Rot => 0,
        }
    }
}

/// Reads the bank.
pub(super) fn load(path: &Path) -> Result<Vec<Bug>, BugsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| BugsError::Io { path: path.display().to_string(), source })?;
    let table: toml::Table =
        text.parse().map_err(|error: toml::de::Error| BugsError::Bank(error.to_string()))?;
    let bugs = list(&table, "bug")?.iter().map(|it| bug(it)).collect::<Result<Vec<_>, _>>()?;
    let names: BTreeSet<_> = bugs.iter().map(|bug| &bug.name).collect();
    if names.len() != bugs.len() {
        return Err(BugsError::Bank("two defects of one name".into()));
    }
    Ok(bugs)
}

fn bug(table: &toml::Table) -> Result<Bug, BugsError> {
    let name = text(table, "name")?;
    let trial = match &*text(table, "trial")? {
        "transport" => Trial::Transport,
        "cluster" => Trial::Cluster,
        "core" => Trial::Core,
        "rot" => Trial::Rot,
        "images" => Trial::Images,
        other => return Err(BugsError::Bank(format!("{name}: no trial {other}"))),
    };
    let seeds = table.get("seeds").and_then(toml::Value::as_integer);
    let seeds = seeds.and_then(|it| u64::try_from(it).ok()).filter(|it| *it > 0);
    let seeds = seeds.ok_or_else(|| BugsError::Bank(format!("{name}: no seeds")))?;
    let edit = |table: &toml::Table| {
        let (file, find) = (text(table, "file")?, text(table, "find")?);
        Ok(Edit { file, find, replace: text(table, "replace")? })
    };
    let edits = list(table, "edit")?.iter().map(|it| edit(it)).collect::<Result<_, _>>()?;
    Ok(Bug { name, what: text(table, "what")?, trial, seeds, edits })
}

fn list<'a>(table: &'a toml::Table, key: &str) -> Result<Vec<&'a toml::Table>, BugsError> {
    let values = table.get(key).and_then(toml::Value::as_array);
    let tables = values.map(|them| them.iter().filter_map(toml::Value::as_table).collect());
    let tables = tables.filter(|them: &Vec<_>| !them.is_empty());
    tables.ok_or_else(|| BugsError::Bank(format!("no {key}")))
}

fn text(table: &toml::Table, key: &str) -> Result<String, BugsError> {
    let value = table.get(key).and_then(toml::Value::as_str);
    let text = value.ok_or_else(|| BugsError::Bank(format!("a defect without {key}")))?;
    Ok(text.trim_matches('\n').to_string())
}
