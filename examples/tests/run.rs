//! The examples as a newcomer runs them.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// A node that is killed when the test is over, with its files.
struct Node {
    child: Child,
    directory: PathBuf,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn node(program: &str, port: u16) -> Node {
    let name = format!("coracle-example-{}-{port}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&directory).unwrap();
    let options = format!(
        "directory = {:?}\naeron_directory = {:?}\nmember_id = 0\nhosts = [\"127.0.0.1\"]\n\
         base_port = {port}\nterm_length = \"64k\"\n",
        directory.join("node"),
        directory.join("aeron")
    );
    let file = directory.join("node.toml");
    std::fs::write(&file, options).unwrap();
    let child = Command::new(program).arg(file).spawn().unwrap();
    Node { child, directory }
}

/// The first of five ports in a row that nobody has, from `start` on.
fn free_ports(start: u16) -> u16 {
    let is_free = |port| std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok();
    (start..32_000).step_by(10).find(|base| (0..5).all(|next| is_free(base + next))).unwrap()
}

fn client(port: u16, words: &[&str]) -> Output {
    let endpoint = format!("0=127.0.0.1:{}", port + 2);
    let program = env!("CARGO_BIN_EXE_client");
    // A node that has just begun to start is not there yet: the client says so, and is run again.
    for _ in 0..10 {
        let output = Command::new(program)
            .arg(&endpoint)
            .args(words)
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        if output.status.success() {
            return output;
        }
    }
    panic!("the client had no success");
}

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_string).collect()
}

#[test]
fn a_client_hears_its_echo() {
    let port = free_ports(28_000);
    let _node = node(env!("CARGO_BIN_EXE_echo"), port);
    let output = client(port, &["hello", "world"]);
    assert_eq!(lines(&output)[1..], ["hello", "world"]);
}

#[test]
fn a_counter_counts_over_sessions() {
    let port = free_ports(28_500);
    let _node = node(env!("CARGO_BIN_EXE_counter"), port);
    let output = client(port, &["one", "two"]);
    assert!(lines(&output)[1].starts_with("1 messages at "), "{output:?}");
    let output = client(port, &["three"]);
    assert!(lines(&output)[1].starts_with("3 messages at "), "{output:?}");
}

#[test]
fn orders_meet_and_are_reported() {
    let output = Command::new(env!("CARGO_BIN_EXE_order_book"))
        .arg(free_ports(29_000).to_string())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = lines(&output);
    assert_eq!(lines.len(), 5, "{output:?}");
    let third = "3: Report { outcome: Done, id: 3, open: 0, trades: 2, volume: 7 }";
    assert_eq!(lines[2], third);
    assert!(lines[4].contains("UnknownOrder"), "{}", lines[4]);
}
