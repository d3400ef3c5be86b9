//! The two sides: their processes take the same roles, with the same options.

use std::io::{self, BufRead as _, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::Failure;

/// Of genuine Aeron's side: the same roles in Java.
const SOURCES: [(&str, &str); 4] = [
    ("Bench.java", include_str!("../../../../interop/java/Bench.java")),
    ("BenchTransport.java", include_str!("../../../../interop/java/BenchTransport.java")),
    ("BenchArchive.java", include_str!("../../../../interop/java/BenchArchive.java")),
    ("BenchCluster.java", include_str!("../../../../interop/java/BenchCluster.java")),
];

/// As it was found to be fastest.
const JAVA: [&str; 12] = [
    "-XX:+UseParallelGC",
    "-Xms256m",
    "-Xmx512m",
    "-XX:+UnlockExperimentalVMOptions",
    "-XX:+TrustFinalNonStaticFields",
    "-XX:-UsePerfData",
    "-Dagrona.disable.bounds.checks=true",
    "-Djava.net.preferIPv4Stack=true",
    "--add-opens",
    "java.base/jdk.internal.misc=ALL-UNNAMED",
    "--add-opens",
    "java.base/java.util.zip=ALL-UNNAMED",
];

/// NAME=VALUE each.
pub(crate) type Options = [(&'static str, String)];

/// Options of every driver of a bench, under the names that both sides know.
pub(crate) fn driver_properties() -> Vec<(&'static str, String)> {
    [
        ("aeron.threading.mode", "SHARED"),
        ("aeron.dir.delete.on.start", "true"),
        ("aeron.perform.storage.checks", "false"),
        ("aeron.term.buffer.sparse.file", "true"),
        ("aeron.mtu.length", "1408"),
        ("aeron.ipc.mtu.length", "1408"),
        ("aeron.term.buffer.length", "16m"),
        ("aeron.ipc.term.buffer.length", "64m"),
        ("aeron.socket.so_sndbuf", "2m"),
        ("aeron.socket.so_rcvbuf", "2m"),
        ("aeron.rcv.initial.window.length", "2m"),
    ]
    .map(|(name, value)| (name, value.to_string()))
    .to_vec()
}

/// Genuine Aeron on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Genuine {
    class_path: String,
}

impl Genuine {
    /// Compiles the roles against a jar.
    ///
    /// # Errors
    /// There is no compiler, or the jar is not genuine Aeron's.
    pub(crate) fn prepare(jar: &str, work: &Path) -> Result<Self, Failure> {
        let classes = work.join("classes");
        std::fs::create_dir_all(&classes)?;
        let mut compiler = Command::new("javac");
        compiler.arg("-d").arg(&classes).args(["-cp", jar]);
        for (name, text) in SOURCES {
            let path = work.join(name);
            std::fs::write(&path, text)?;
            compiler.arg(path);
        }
        let output = compiler.output().map_err(|error| format!("javac: {error}"))?;
        if !output.status.success() {
            return Err(format!("javac: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(Self { class_path: format!("{jar}:{}", classes.display()) })
    }
}

/// Whose processes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side<'a> {
    Ours,
    Genuine(&'a Genuine),
}

impl Side<'_> {
    /// For directories.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Genuine(_) => "genuine",
        }
    }

    /// Starts a process in a role.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn start<'o>(
        self,
        role: &str,
        options: impl Iterator<Item = (&'o str, &'o str)>,
    ) -> Result<Process, Failure> {
        let mut command = match self {
            Self::Ours => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["bench", "role", role]);
                command.arg(format!("parent={}", std::process::id()));
                command
            }
            Self::Genuine(Genuine { class_path }) => {
                let mut command = Command::new("java");
                command.args(JAVA).args(["-cp", class_path, "Bench", role]);
                command
            }
        };
        command.args(options.map(|(name, value)| format!("{name}={value}")));
        let name = format!("{} {role}", self.name());
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
        let output = child.stdout.take().ok_or("a process without output")?;
        let input = child.stdin.take();
        Ok(Process { name, child, _input: input, lines: BufReader::new(output).lines() })
    }
}

/// A process in a role. Killed when dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    /// Genuine roles end when it does.
    _input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// The system's id of it.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as nothing in it can prevent.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()
    }

    /// Waits for a line that begins so, and returns the rest of it.
    ///
    /// # Errors
    /// The process ended without it.
    pub(crate) fn expect(&mut self, beginning: &str) -> Result<String, Failure> {
        for line in self.lines.by_ref() {
            let line = line?;
            if let Some(rest) = line.strip_prefix(beginning) {
                return Ok(rest.trim().to_string());
            }
            if line.starts_with("FAIL") {
                return Err(format!("{}: {line}", self.name).into());
            }
        }
        Err(format!("{} ended before {beginning}", self.name).into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory for this process alone. Removed when dropped.
pub(crate) struct WorkDirectory(PathBuf);

impl WorkDirectory {
    /// Makes one in `base`.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn make(base: &Path) -> io::Result<Self> {
        let path = base.join(format!("coracle-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for WorkDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
