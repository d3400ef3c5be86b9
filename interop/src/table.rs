//! The table of seams and directions in the README, made of the tests that passed.

use std::path::PathBuf;

use crate::Test;

/// Where two sides meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seam {
    /// Publications and subscriptions of one driver's clients.
    Ipc,
    /// Driver to driver.
    Udp,
    /// The same with datagrams lost.
    Loss,
    /// Subscribers that do not keep up.
    Slow,
    /// One publication, several destinations.
    Destinations,
    /// Subscriptions to what leaves the same driver.
    Spies,
    /// Counters, error logs and loss reports in drivers' directories.
    DriverTools,
    /// Recording, listing, replaying, and what else is asked of an archive.
    ArchiveClient,
    /// Segments: detach, attach, delete, purge, migrate; truncation, extension.
    Segments,
    /// Credentials and challenges of archives.
    Authentication,
    /// Catalogs and segment files.
    ArchiveFiles,
    /// Archives that copy from each other.
    Replication,
    /// Tools for the directories of archives.
    ArchiveTools,
    /// Sessions with a cluster.
    ClusterClient,
    /// Members of one cluster.
    Members,
    /// Consensus modules and containers of services.
    Services,
    /// Snapshots and logs that the other side goes on from.
    Snapshots,
    /// Members that go on as the other side, in a cluster that serves.
    Exchange,
    /// Tools for members.
    ClusterTools,
}

/// Who acts on whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Ours on theirs: first column.
    OursOnTheirs,
    /// Theirs on ours: second column.
    TheirsOnOurs,
}

pub(crate) use Direction::{OursOnTheirs, TheirsOnOurs};

/// What a test shows: a cell of the table.
pub(crate) type Cell = (Seam, Direction);

/// A row: what it is called, and what the two columns mean in it.
struct Row {
    seam: Seam,
    name: &'static str,
    ours_on_theirs: &'static str,
    theirs_on_ours: &'static str,
}

const fn row(
    seam: Seam,
    name: &'static str,
    ours_on_theirs: &'static str,
    theirs_on_ours: &'static str,
) -> Row {
    Row { seam, name, ours_on_theirs, theirs_on_ours }
}

const ROWS: [Row; 19] = [
    row(Seam::Ipc, "IPC", "our client, their driver", "their client, our driver"),
    row(
        Seam::Udp,
        "UDP",
        "our client, their driver; our driver sends to theirs",
        "their client, our driver; their driver sends to ours",
    ),
    row(Seam::Loss, "UDP, 1 to 20 % lost", "ours sends to theirs", "theirs sends to ours"),
    row(Seam::Slow, "slow subscribers", "ours sends to theirs", "theirs sends to ours"),
    row(
        Seam::Destinations,
        "several destinations",
        "ours sends to theirs and ours",
        "theirs sends to ours and theirs",
    ),
    row(Seam::Spies, "spies", "our spy, their driver", "their spy, our driver"),
    row(
        Seam::DriverTools,
        "counters and errors of drivers",
        "our tools, their directory",
        "their tools, our directory",
    ),
    row(Seam::ArchiveClient, "archive client", "ours of their archive", "theirs of our archive"),
    row(
        Seam::Segments,
        "segments, truncation, purge",
        "ours of their archive",
        "theirs of our archive",
    ),
    row(
        Seam::Authentication,
        "archive credentials",
        "our client, their archive",
        "their client, our archive",
    ),
    row(Seam::ArchiveFiles, "archive files", "ours opens theirs", "theirs opens ours"),
    row(Seam::Replication, "replication", "ours copies from theirs", "theirs copies from ours"),
    row(
        Seam::ArchiveTools,
        "archive tools",
        "ours opens what their tool changed",
        "their tool, our directory",
    ),
    row(Seam::ClusterClient, "cluster client", "ours of their cluster", "theirs of our cluster"),
    row(Seam::Members, "members", "ours leads theirs", "theirs leads ours"),
    row(Seam::Services, "services", "our service, their module", "their service, our module"),
    row(Seam::Snapshots, "snapshots and logs", "ours goes on from theirs", "theirs from ours"),
    row(
        Seam::Exchange,
        "restart as the other, same directory",
        "ours in place of theirs",
        "theirs in place of ours",
    ),
    row(Seam::ClusterTools, "cluster tools", "our tools, their member", "their tool, our member"),
];

const BEGIN: &str = "<!-- interop: made by `cargo xtask interop --table` -->";
const END: &str = "<!-- interop: end -->";

/// The block between the markers, of tests that passed.
fn block(passed: &[&Test]) -> String {
    let mut text = format!("{BEGIN}\n| seam | ours on theirs | theirs on ours |\n|---|---|---|\n");
    let count = |cell: Cell| match passed.iter().filter(|test| test.shows.contains(&cell)).count() {
        0 => "none".to_string(),
        1 => "1 test".to_string(),
        count => format!("{count} tests"),
    };
    for Row { seam, name, ours_on_theirs, theirs_on_ours } in &ROWS {
        let (ours, theirs) = (count((*seam, OursOnTheirs)), count((*seam, TheirsOnOurs)));
        text += &format!("| {name} | {ours_on_theirs}: {ours} | {theirs_on_ours}: {theirs} |\n");
    }
    text + END
}

/// The README, and where the block stands in it.
fn read() -> Result<(PathBuf, String, std::ops::Range<usize>), String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let begin = text.find(BEGIN).ok_or("README.md has no block of this table")?;
    let end = text.find(END).ok_or("the block in README.md has no end")? + END.len();
    Ok((path, text, begin..end))
}

/// Writes the block anew, of tests that passed.
///
/// # Errors
/// There is no such block, or it cannot be written.
pub(crate) fn write(passed: &[&Test]) -> Result<(), String> {
    let (path, mut text, place) = read()?;
    text.replace_range(place, &block(passed));
    std::fs::write(path, text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_seam_has_a_test_in_each_direction() {
        for Row { seam, name, .. } in &ROWS {
            for direction in [OursOnTheirs, TheirsOnOurs] {
                let cell = (*seam, direction);
                let shown = crate::all().any(|test| test.shows.contains(&cell));
                assert!(shown, "{name}, {direction:?}");
            }
        }
    }

    #[test]
    fn each_cell_that_a_test_shows_has_a_row() {
        for test in crate::all() {
            for (seam, _) in test.shows {
                assert!(ROWS.iter().any(|row| row.seam == *seam), "{}: {seam:?}", test.name);
            }
        }
    }

    #[test]
    fn the_readme_has_the_table_of_a_run_in_which_all_passed() {
        let (_, text, place) = read().unwrap();
        let all: Vec<&Test> = crate::all().collect();
        assert_eq!(&text[place], block(&all), "run: cargo xtask interop --table");
    }
}
