//! Starts the genuine side: `java/Peer.java` on the genuine jar, one role a process.

use std::io::{BufRead, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use coracle::os;
use coracle::runtime::Nanos;

/// The release of genuine Aeron that everything is tested against.
pub(crate) const VERSION: &str = "1.51.0";

const OPENS: [&str; 4] = [
    "--add-opens",
    "java.base/jdk.internal.misc=ALL-UNNAMED",
    "--add-opens",
    "java.base/java.util.zip=ALL-UNNAMED",
];

/// Why nothing can be tested.
pub(crate) enum Unready {
    /// What this machine has not: the tests are skipped.
    Lacking(String),
    /// What is wrong with the tests themselves.
    Broken(String),
}

/// What runs genuine Aeron on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Java {
    /// The genuine jar, then the compiled peers.
    pub(crate) class_path: String,
}

impl Java {
    /// Finds or fetches the jar and compiles the peers into `work`.
    ///
    /// # Errors
    /// What this machine lacks, or that a peer does not compile.
    pub(crate) fn prepare(work: &Path) -> Result<Self, Unready> {
        let jar = find_jar().map_err(Unready::Lacking)?;
        let classes = work.join("classes");
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("java");
        compile(&sources, &classes, &jar).map_err(Unready::Broken)?;
        Ok(Self { class_path: format!("{}:{}", show(&jar), show(&classes)) })
    }

    /// Runs a program of the genuine jar to its end, and returns what it printed.
    ///
    /// # Errors
    /// It could not be run, or failed; with all that it printed.
    pub(crate) fn run(&self, class: &str, arguments: &[&str]) -> Result<String, String> {
        self.run_with(&[], class, arguments)
    }

    /// The same with properties of the system (`-Dname=value`).
    ///
    /// # Errors
    /// It could not be run, or failed; with all that it printed.
    pub(crate) fn run_with(
        &self,
        properties: &[&str],
        class: &str,
        arguments: &[&str],
    ) -> Result<String, String> {
        let own = ["-cp", &self.class_path, class];
        run("java", &[OPENS.as_slice(), properties, &own, arguments].concat())
    }

    /// Starts a role of `Peer` with its options.
    ///
    /// # Errors
    /// The process could not be started.
    pub(crate) fn start(&self, role: &str, options: &[(&str, String)]) -> Result<Peer, String> {
        let mut command = Command::new("java");
        os::process::bind_to_parent(&mut command);
        let mut child = command
            .args(OPENS)
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m"])
            .args(["-cp", &self.class_path, "Peer", role])
            .args(options.iter().map(|(name, value)| format!("{name}={value}")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| format!("java: {error}"))?;
        let output = child.stdout.take().ok_or("java has no output")?;
        let input = child.stdin.take();
        let lines = BufReader::new(output).lines();
        Ok(Peer { role: role.to_string(), child, input, lines, seen: Vec::new() })
    }
}

/// A running role. Killed when dropped. Every role ends by itself after its deadline, so that
/// waiting for its lines cannot hang.
pub(crate) struct Peer {
    role: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    seen: Vec<String>,
}

impl Peer {
    /// Waits for a line that begins so, and returns the rest of it.
    ///
    /// # Errors
    /// The role failed or ended without such a line; with all that it printed.
    pub(crate) fn expect(&mut self, beginning: &str) -> Result<String, String> {
        for line in self.lines.by_ref() {
            let line = line.map_err(|error| error.to_string())?;
            self.seen.push(line.clone());
            if let Some(rest) = line.strip_prefix(beginning) {
                return Ok(rest.trim().to_string());
            }
            if line.starts_with("FAIL") {
                break;
            }
        }
        let seen = self.seen.join("\n  ");
        Err(format!("java {}: no line {beginning:?}; it said:\n  {seen}", self.role))
    }

    /// Says a line to it.
    ///
    /// # Errors
    /// It does not listen.
    pub(crate) fn say(&mut self, line: &str) -> Result<(), String> {
        let input = self.input.as_mut().ok_or("it listens no more")?;
        writeln!(input, "{line}").and_then(|()| input.flush()).map_err(|error| error.to_string())
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks a serving role to end, and waits for its OK.
    ///
    /// # Errors
    /// It did not end well.
    pub(crate) fn finish(mut self) -> Result<Vec<String>, String> {
        self.finish_in_place()
    }

    /// The same for one that is part of something.
    ///
    /// # Errors
    /// It did not end well.
    pub(crate) fn finish_in_place(&mut self) -> Result<Vec<String>, String> {
        drop(self.input.take());
        self.expect("OK")?;
        self.child.wait().map_err(|error| error.to_string())?;
        Ok(std::mem::take(&mut self.seen))
    }
}

/// How long a client that has done its part may take to close what it has.
const CLOSING: Nanos = Nanos::from_secs(2);

impl Drop for Peer {
    /// A client killed while it writes its last command blocks the commands of all others until the
    /// driver passes it, which takes as long as they wait for an answer.
    fn drop(&mut self) {
        if matches!(&*self.role, "publish" | "subscribe") {
            let until = os::clock::now_mono() + CLOSING;
            while matches!(self.child.try_wait(), Ok(None)) && os::clock::now_mono() < until {
                os::thread::sleep(Nanos::from_millis(5));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The genuine jar, from the local repository or the registry, and a Java to use it with.
fn find_jar() -> Result<PathBuf, String> {
    run("java", &["-version"])?;
    run("javac", &["-version"])?;
    let home = std::env::var("HOME").map_err(|_| "no home directory".to_string())?;
    let jar = PathBuf::from(home)
        .join(format!(".m2/repository/io/aeron/aeron-all/{VERSION}/aeron-all-{VERSION}.jar"));
    if !jar.exists() {
        let artifact = format!("-Dartifact=io.aeron:aeron-all:{VERSION}");
        run("mvn", &["-q", "dependency:get", &artifact])?;
    }
    Ok(jar)
}

/// Compiles all sources of a directory.
fn compile(sources: &Path, classes: &Path, jar: &Path) -> Result<(), String> {
    std::fs::create_dir_all(classes).map_err(|error| error.to_string())?;
    let listed = std::fs::read_dir(sources).map_err(|error| error.to_string())?;
    let mut arguments = vec!["-d".into(), show(classes), "-cp".into(), show(jar)];
    arguments.extend(listed.flatten().map(|entry| show(&entry.path())));
    run("javac", &arguments.iter().map(String::as_str).collect::<Vec<_>>()).map(drop)
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

/// Runs a program to its end; whatever it asks, the answer is yes.
fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{program}: {error}");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // It need not ask anything.
        let _ = input.write_all(b"y\ny\n");
    }
    let output = child.wait_with_output().map_err(failed)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}\n{text}{errors}", arguments.join(" "), output.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_does_not_compile_is_no_lack_of_this_machine() {
        if run("javac", &["-version"]).is_err() {
            return;
        }
        let work = std::env::temp_dir().join(format!("coracle-java-{}", std::process::id()));
        let (sources, classes) = (work.join("sources"), work.join("classes"));
        std::fs::create_dir_all(&sources).unwrap();
        std::fs::write(sources.join("Right.java"), "final class Right {}").unwrap();
        assert_eq!(compile(&sources, &classes, Path::new("no.jar")), Ok(()));
        std::fs::write(sources.join("Wrong.java"), "final class Wrong { int }").unwrap();
        let cause = compile(&sources, &classes, Path::new("no.jar")).unwrap_err();
        assert!(cause.contains("Wrong.java:1"), "{cause}");
        std::fs::remove_dir_all(&work).unwrap();
    }
}
