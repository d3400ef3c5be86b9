//! The demonstration as a user runs it, with real processes, signals and files.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use coracle::os::process::terminate;

fn start(arguments: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
    command.arg("demo").args(arguments).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// The directories of a demonstration.
fn directories(pid: u32) -> [PathBuf; 2] {
    let name = format!("coracle-demo-{pid}");
    [std::env::temp_dir().join(&name), Path::new("/dev/shm").join(&name)]
}

/// The processes that work in them.
fn nodes(pid: u32) -> usize {
    let name = format!("coracle-demo-{pid}");
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = processes.map(|it| std::fs::read(it.path().join("cmdline")).unwrap_or_default());
    lines.filter(|line| String::from_utf8_lossy(line).contains(&name)).count()
}

fn assert_nothing_is_left(pid: u32) {
    for directory in directories(pid) {
        assert!(!directory.exists(), "{} is left", directory.display());
    }
    assert_eq!(nodes(pid), 0);
}

#[test]
fn no_order_is_lost_or_doubled_when_the_leader_is_killed() {
    let (mut child, mut output) = start(&["--duration", "8", "--rate", "1000"]);
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    assert!(text.ends_with("PASS\n"), "{text}");
    let counted = ["acknowledged     8,000", "lost                 0", "doubled              0"];
    assert!(counted.iter().all(|line| text.lines().any(|found| found == *line)), "{text}");
    assert_nothing_is_left(child.id());
}

#[test]
fn a_demonstration_that_is_stopped_leaves_nothing_behind() {
    let (mut child, output) = start(&[]);
    let mut lines = output.lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("leads term")), "it never began");
    terminate(&mut child).unwrap();
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest:?}");
    assert_nothing_is_left(child.id());
}

#[cfg(target_os = "linux")]
#[test]
fn no_node_outlives_a_demonstration_that_is_killed() {
    use coracle::os::{clock, thread::sleep};
    use coracle::runtime::Nanos;

    let (mut child, output) = start(&[]);
    let mut lines = output.lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("leads term")), "it never began");
    assert_eq!(nodes(child.id()), 3);
    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = clock::now().mono + Nanos::from_secs(20);
    while nodes(child.id()) > 0 {
        assert!(clock::now().mono < deadline, "nodes still run");
        sleep(Nanos::from_millis(10));
    }
    for directory in directories(child.id()) {
        // Where shared memory is short there is one only.
        let _ = std::fs::remove_dir_all(directory);
    }
}
