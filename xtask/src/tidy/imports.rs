//! Who may import whom: the table of ARCHITECTURE.md against each manifest.

use super::{File, Problem, TidyError};
use toml::{Table, Value};

/// A crate of the workspace.
struct Crate {
    /// Its key in the workspace's list of dependencies.
    name: &'static str,
    floor: u8,
    /// What it may import.
    imports: &'static [&'static str],
}

const LOW: [&str; 3] = ["wire", "memory", "runtime"];
const ALL_TO_6: [&str; 14] = [
    "wire",
    "memory",
    "runtime",
    "client",
    "driver",
    "consensus",
    "archive-client",
    "archive",
    "cluster",
    "cluster-service",
    "cluster-client",
    "node",
    "order-book",
    "sim",
];

/// The table of ARCHITECTURE.md, from the lowest floor up. A test compares the floors.
const CRATES: [Crate; 23] = [
    Crate { name: "wire", floor: 0, imports: &[] },
    Crate { name: "memory", floor: 1, imports: &["wire"] },
    Crate { name: "runtime", floor: 2, imports: &["wire", "memory"] },
    Crate { name: "os", floor: 2, imports: &LOW },
    Crate { name: "sim", floor: 2, imports: &LOW },
    Crate { name: "client", floor: 3, imports: &LOW },
    Crate { name: "driver", floor: 3, imports: &LOW },
    Crate { name: "consensus", floor: 3, imports: &["wire"] },
    Crate { name: "archive-client", floor: 4, imports: &["wire", "memory", "runtime", "client"] },
    Crate {
        name: "archive",
        floor: 4,
        imports: &["wire", "memory", "runtime", "client", "archive-client"],
    },
    Crate {
        name: "cluster",
        floor: 5,
        imports: &["wire", "memory", "runtime", "client", "archive-client", "consensus"],
    },
    Crate {
        name: "cluster-service",
        floor: 5,
        imports: &["wire", "memory", "runtime", "client", "archive-client"],
    },
    Crate { name: "cluster-client", floor: 5, imports: &["wire", "memory", "runtime", "client"] },
    Crate {
        name: "order-book",
        floor: 6,
        imports: &["wire", "memory", "runtime", "cluster-service", "cluster-client"],
    },
    Crate { name: "node", floor: 6, imports: ALL_TO_6.split_at(11).0 },
    Crate {
        name: "coracle",
        floor: 7,
        imports: &[
            "wire",
            "memory",
            "runtime",
            "os",
            "client",
            "driver",
            "consensus",
            "archive-client",
            "archive",
            "cluster",
            "cluster-service",
            "cluster-client",
            "node",
        ],
    },
    Crate { name: "trials", floor: 8, imports: &ALL_TO_6 },
    Crate { name: "model", floor: 8, imports: &["wire", "consensus"] },
    Crate { name: "interop", floor: 8, imports: &["coracle", "sim"] },
    Crate { name: "examples", floor: 8, imports: &["coracle", "order-book"] },
    Crate { name: "cli", floor: 8, imports: &["coracle", "order-book"] },
    Crate { name: "chaos", floor: 8, imports: &["coracle", "order-book"] },
    Crate { name: "xtask", floor: 8, imports: &["coracle", "trials"] },
];

/// Problems of all manifests, and of the floors that crates say they stand on.
pub(super) fn check(files: &[File]) -> Result<Vec<Problem>, TidyError> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        let parsed: Table = toml::from_str(&file.text).map_err(|source| TidyError::Manifest {
            path: file.path.clone(),
            source: Box::new(source),
        })?;
        let name = directory_name(&file.path);
        match find(name) {
            Some(found) => {
                problems.extend(check_manifest(&file.path, found, &parsed));
                problems.extend(check_floor(files, &file.path, found));
            }
            None => problems.push(Problem::new(&file.path, 0, "a crate without a floor")),
        }
    }
    Ok(problems)
}

/// The directory that a manifest is in: crates are named after it.
fn directory_name(path: &str) -> &str {
    path.rsplit('/').nth(1).unwrap_or_default()
}

fn find(name: &str) -> Option<&'static Crate> {
    CRATES.iter().find(|known| known.name == name)
}

fn check_manifest(path: &str, importer: &Crate, manifest: &Table) -> Vec<Problem> {
    let mut problems = check_tables(path, importer, manifest);
    let targets = manifest.get("target").and_then(Value::as_table);
    for target in targets.into_iter().flat_map(Table::values).filter_map(Value::as_table) {
        problems.extend(check_tables(path, importer, target));
    }
    problems
}

fn check_tables(path: &str, importer: &Crate, manifest: &Table) -> Vec<Problem> {
    let mut problems = Vec::new();
    let imports = |kind: &str| {
        let table = manifest.get(kind).and_then(Value::as_table);
        table.into_iter().flat_map(Table::keys).filter_map(|name| find(name))
    };
    for kind in ["dependencies", "build-dependencies"] {
        for import in imports(kind).filter(|import| !importer.imports.contains(&import.name)) {
            let what = format!("{} may not import {}", importer.name, import.name);
            problems.push(Problem::new(path, 0, what));
        }
    }
    for import in imports("dev-dependencies").filter(|import| !may_test_with(importer, import)) {
        let what = format!("tests of {} may not import {}", importer.name, import.name);
        problems.push(Problem::new(path, 0, what));
    }
    problems
}

/// Above floor 2 tests may use the simulator and the roles that a crate talks to.
fn may_test_with(importer: &Crate, import: &Crate) -> bool {
    let is_role = (3..=5).contains(&import.floor);
    importer.imports.contains(&import.name)
        || (importer.floor > 2 && (import.name == "sim" || is_role || LOW.contains(&import.name)))
}

/// Whether the root of a crate and its manifest name the floor of the table.
fn check_floor(files: &[File], manifest: &str, known: &Crate) -> Vec<Problem> {
    let directory = manifest.trim_end_matches("Cargo.toml");
    let roots = [format!("{directory}src/lib.rs"), format!("{directory}src/main.rs")];
    let floor = format!("Floor {}", known.floor);
    let is_wrong = |file: &&File| {
        let first = file.text.lines().next().unwrap_or_default();
        first.starts_with("//! Floor") && !first.contains(&floor)
    };
    let roots = files.iter().filter(|file| roots.contains(&file.path)).filter(is_wrong);
    roots.map(|file| Problem::new(&file.path, 1, format!("stands on {floor}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(name: &str, manifest: &str) -> Vec<String> {
        let importer = find(name).unwrap();
        let manifest: Table = toml::from_str(manifest).unwrap();
        let found = check_manifest("Cargo.toml", importer, &manifest);
        found.into_iter().map(|problem| problem.what).collect()
    }

    #[test]
    fn nobody_imports_upwards_or_a_counterpart() {
        assert_eq!(problems("client", "[dependencies]\nwire.workspace = true"), [""; 0]);
        let driver = problems("client", "[dependencies]\ndriver.workspace = true");
        assert_eq!(driver, ["client may not import driver"]);
        let memory = "[target.'cfg(unix)'.dependencies]\nmemory = { workspace = true }";
        assert_eq!(problems("consensus", memory), ["consensus may not import memory"]);
        assert_eq!(problems("wire", "[dependencies]\nthiserror.workspace = true"), [""; 0]);
    }

    #[test]
    fn tests_may_use_the_simulator_and_counterparts_but_not_the_facade() {
        let tests = "[dev-dependencies]\nsim.workspace = true\ndriver.workspace = true";
        assert_eq!(problems("client", tests), [""; 0]);
        let memory = "[dev-dependencies]\nsim.workspace = true";
        assert_eq!(problems("memory", memory), ["tests of memory may not import sim"]);
        let facade = "[dev-dependencies]\ncoracle.workspace = true\nos.workspace = true";
        assert_eq!(problems("archive", facade).len(), 2);
    }

    #[test]
    fn the_architecture_names_the_same_floors() {
        let text = include_str!("../../../ARCHITECTURE.md");
        for known in &CRATES {
            let is_row = |line: &&str| line.starts_with(&format!("| {} | ", known.floor));
            let row = text.lines().find(is_row).expect("a row for each floor");
            assert!(row.contains(&format!("`{}`", known.name)), "{} in {row}", known.name);
        }
    }

    #[test]
    fn imports_go_downwards() {
        for known in &CRATES {
            for import in known.imports {
                let below = find(import).unwrap();
                assert!(below.floor <= known.floor, "{} imports {import}", known.name);
            }
        }
    }
}
