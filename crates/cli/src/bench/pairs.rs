//! Measures both sides in turn.

use std::path::PathBuf;

use coracle::os;
use coracle::runtime::Nanos;

use super::cpu::{Sample, Usage};
use super::report::{self, Better, Column, Pair, Run};
use super::side::{Genuine, Options, Process, Side};
use super::{latency, memory};
use crate::Failure;

/// What a stream is told by.
pub(crate) const RATE: &[Column] = &[
    Column { name: "M msgs/s", better: Better::More },
    Column { name: "MB/s", better: Better::More },
];

/// Round trips of one run, at most: they are kept in memory.
pub(crate) const SAMPLES_MAX: u32 = 4 << 20;

/// What all measurements share.
pub(crate) struct Setting {
    /// What to compare with.
    pub(crate) genuine: Option<Genuine>,
    /// For the directories of drivers.
    pub(crate) memory: PathBuf,
    /// For recordings.
    pub(crate) disk: PathBuf,
    /// How often each side is measured.
    pub(crate) pairs: usize,
    /// How long to wait before each pair for others to leave the machine alone.
    pub(crate) patience: Nanos,
    /// How long a measurement takes.
    pub(crate) span: Nanos,
    /// How long before it the same is done unmeasured.
    pub(crate) warm_up: Nanos,
    /// Bytes of memory to touch before it.
    pub(crate) touch: usize,
    /// What our processes are told instead of what the case says.
    pub(crate) ours: Vec<(String, String)>,
    /// The same for genuine Aeron's.
    pub(crate) theirs: Vec<(String, String)>,
}

/// One thing to measure.
pub(crate) struct Case {
    pub(crate) title: &'static str,
    /// Which processes and threads there are, and how they idle.
    pub(crate) topology: &'static str,
    pub(crate) columns: &'static [Column],
    pub(crate) measure: fn(&mut Stage<'_>) -> Result<Run, Failure>,
}

/// Measures a case and prints what comes out.
///
/// # Errors
/// A side fails.
pub(crate) fn run(case: &Case, setting: &Setting) -> Result<(), Failure> {
    let Case { title, topology, columns, measure } = case;
    print!("{title}\n{topology}\n{}", report::head(columns));
    let mut pairs = Vec::new();
    for number in 1..=setting.pairs {
        wait_for_quiet(setting.patience)?;
        let run = |side| Stage::open(setting, side).and_then(|mut stage| measure(&mut stage));
        let genuine = setting.genuine.as_ref();
        let theirs = || genuine.map(|genuine| run(Side::Genuine(genuine))).transpose();
        // Who begins alternates: a machine that grows warm or noisy favours neither.
        let (ours, theirs) = if number % 2 == 1 {
            let ours = run(Side::Ours)?;
            (ours, theirs()?)
        } else {
            let theirs = theirs()?;
            (run(Side::Ours)?, theirs)
        };
        let pair = Pair { ours, theirs };
        print!("{}", report::pair(number, &pair));
        pairs.push(pair);
    }
    println!("{}", report::summary(&pairs, columns));
    Ok(())
}

/// Waits until others have used hardly anything for a second, or the patience is over.
fn wait_for_quiet(patience: Nanos) -> Result<(), Failure> {
    const SECOND: Nanos = Nanos::from_secs(1);
    let mut left = patience;
    while left > Nanos(0) {
        let own = || Sample::take([std::process::id()].into_iter());
        let before = own()?;
        os::thread::sleep(SECOND);
        if own()?.since(before).is_quiet() {
            break;
        }
        left = left - SECOND;
    }
    Ok(())
}

/// What a role that measures has found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measured {
    messages: u64,
    bytes: u64,
    nanos: u64,
    /// Who used the machine meanwhile.
    pub(crate) usage: Usage,
}

impl Measured {
    /// Reads what such a role prints.
    fn parse(line: &str, usage: Usage) -> Result<Self, Failure> {
        let numbers: Vec<u64> =
            line.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        match *numbers.as_slice() {
            [messages, bytes, nanos] if messages > 0 && nanos > 0 => {
                Ok(Self { messages, bytes, nanos, usage })
            }
            _ => Err(format!("measured nothing: {line}").into()),
        }
    }

    /// As a rate of messages and bytes, for [`RATE`].
    pub(crate) fn rate(self) -> Run {
        // Per microsecond is millions per second.
        let micros = self.nanos as f64 / 1000.0;
        let values = vec![self.messages as f64 / micros, self.bytes as f64 / micros];
        Run { values, usage: self.usage }
    }
}

/// The processes of one run. All end with it, and their directories go.
pub(crate) struct Stage<'a> {
    pub(crate) setting: &'a Setting,
    side: Side<'a>,
    processes: Vec<Process>,
}

/// A process of a [`Stage`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Started(usize);

impl<'a> Stage<'a> {
    fn open(setting: &'a Setting, side: Side<'a>) -> Result<Self, Failure> {
        let stage = Self { setting, side, processes: Vec::new() };
        std::fs::create_dir_all(stage.memory())?;
        std::fs::create_dir_all(stage.disk())?;
        memory::touch(setting.touch);
        Ok(stage)
    }

    /// Whether the processes are ours.
    pub(crate) const fn is_ours(&self) -> bool {
        matches!(self.side, Side::Ours)
    }

    /// A directory in memory.
    pub(crate) fn memory(&self) -> PathBuf {
        self.setting.memory.join(self.side.name())
    }

    /// A directory on disk.
    pub(crate) fn disk(&self) -> PathBuf {
        self.setting.disk.join(format!("{}-disk", self.side.name()))
    }

    /// Starts a process.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn start(&mut self, role: &str, options: &Options) -> Result<Started, Failure> {
        let own = if self.is_ours() { &self.setting.ours } else { &self.setting.theirs };
        let said = options.iter().map(|(name, value)| (*name, value.as_str()));
        let own = own.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        // Of two values of an option the later one counts.
        self.processes.push(self.side.start(role, said.chain(own))?);
        Ok(Started(self.processes.len() - 1))
    }

    /// Starts a process and waits until it is ready.
    ///
    /// # Errors
    /// It fails.
    pub(crate) fn serve(&mut self, role: &str, options: &Options) -> Result<Started, Failure> {
        let started = self.start(role, options)?;
        self.expect(started, "READY")?;
        Ok(started)
    }

    /// Waits for a line of a process that begins so, and returns the rest of it.
    ///
    /// # Errors
    /// It fails.
    pub(crate) fn expect(&mut self, at: Started, beginning: &str) -> Result<String, Failure> {
        self.process(at)?.expect(beginning)
    }

    /// Ends a process by SIGKILL.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn kill(&mut self, at: Started) -> Result<(), Failure> {
        Ok(self.process(at)?.kill()?)
    }

    fn process(&mut self, Started(at): Started) -> Result<&mut Process, Failure> {
        Ok(self.processes.get_mut(at).ok_or("a process of another stage")?)
    }

    /// The system's id of a process.
    ///
    /// # Errors
    /// It is of another stage.
    pub(crate) fn id(&self, Started(at): Started) -> Result<u32, Failure> {
        Ok(self.processes.get(at).ok_or("a process of another stage")?.id())
    }

    /// Waits for what a process measures, and watches the machine meanwhile.
    ///
    /// # Errors
    /// It fails.
    pub(crate) fn measure(&mut self, started: Started) -> Result<Measured, Failure> {
        self.expect(started, "MEASURING")?;
        let before = self.sample()?;
        let line = self.expect(started, "MEASURED")?;
        Measured::parse(&line, self.sample()?.since(before))
    }

    /// How long to go on, for roles that measure.
    pub(crate) fn spans(&self) -> [(&'static str, String); 2] {
        let millis = |span: Nanos| span.as_millis().to_string();
        [("warm-up-ms", millis(self.setting.warm_up)), ("measure-ms", millis(self.setting.span))]
    }

    /// Measures round trips by the role `ping`, for [`latency::COLUMNS`].
    ///
    /// # Errors
    /// It fails.
    pub(crate) fn round_trip(
        &mut self,
        mut options: Vec<(&'static str, String)>,
    ) -> Result<Run, Failure> {
        let times = self.memory().join("times");
        options.extend(self.spans());
        options.push(("out", times.display().to_string()));
        options.push(("samples", SAMPLES_MAX.to_string()));
        let ping = self.start("ping", &options)?;
        let usage = self.measure(ping)?.usage;
        Ok(Run { values: latency::values(&latency::read(&times)?), usage })
    }

    /// A sample of the machine, with all processes of the stage.
    ///
    /// # Errors
    /// The system does not tell.
    pub(crate) fn sample(&self) -> Result<Sample, Failure> {
        let processes = self.processes.iter().map(Process::id);
        Ok(Sample::take(processes.chain([std::process::id()]))?)
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.processes.clear();
        let _ = std::fs::remove_dir_all(self.memory());
        let _ = std::fs::remove_dir_all(self.disk());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_in_millions_per_second() {
        let usage = Usage::default();
        let measured = Measured::parse("6000000 192000000 3000000000", usage).unwrap();
        assert_eq!(measured.rate(), Run { values: vec![2.0, 64.0], usage });
        for nothing in ["0 0 10", "5 5 0", "1 2", "1 2 3 4", "a b c", ""] {
            assert!(Measured::parse(nothing, usage).is_err(), "{nothing}");
        }
    }
}
