//! How much of the machine a measurement had: processor time of its own processes and of others.

use std::io;

/// Processor time since the start of the machine, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Of all cores, idle or not.
    total: u64,
    /// Of all cores, in use.
    busy: u64,
    /// Taken by the hypervisor for other machines.
    stolen: u64,
    /// In use by the processes that were asked for.
    own: u64,
    cores: u64,
}

/// Cores in use between two samples, on average.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// By the measurement.
    pub(crate) own: f64,
    /// By other processes.
    pub(crate) others: f64,
    /// By other machines.
    pub(crate) stolen: f64,
}

impl Usage {
    /// Above it a figure says more of the neighbours than of what was measured.
    const QUIET_MAX: f64 = 0.20;

    /// Whether hardly anybody else used the machine.
    pub(crate) fn is_quiet(self) -> bool {
        self.others + self.stolen <= Self::QUIET_MAX
    }
}

impl Sample {
    /// Reads it now, for these processes. One that has ended counts nothing.
    ///
    /// # Errors
    /// The system does not tell.
    pub(crate) fn take(processes: impl Iterator<Item = u32>) -> io::Result<Self> {
        let own = processes
            .filter_map(|id| std::fs::read_to_string(format!("/proc/{id}/stat")).ok())
            .filter_map(|text| process_ticks(&text))
            .sum();
        let sample = machine(&std::fs::read_to_string("/proc/stat")?);
        let sample = sample.ok_or_else(|| io::Error::other("/proc/stat is not understood"))?;
        Ok(Self { own, ..sample })
    }

    /// Who used the machine since an earlier sample.
    pub(crate) fn since(self, before: Self) -> Usage {
        let ticks = |of: fn(Self) -> u64| of(self).saturating_sub(of(before));
        let total = ticks(|sample| sample.total).max(1) as f64;
        let cores = |ticks: u64| ticks as f64 * self.cores as f64 / total;
        let own = ticks(|sample| sample.own);
        // Ticks are coarse: a part may exceed the whole by a little.
        let others = ticks(|sample| sample.busy).saturating_sub(own);
        let stolen = ticks(|sample| sample.stolen);
        Usage { own: cores(own), others: cores(others), stolen: cores(stolen) }
    }
}

/// The machine's part of a sample, from the text of `/proc/stat`.
fn machine(text: &str) -> Option<Sample> {
    let mut cpus = text.lines().filter(|line| line.starts_with("cpu"));
    let ticks: Vec<u64> =
        cpus.next()?.split_ascii_whitespace().skip(1).map_while(|word| word.parse().ok()).collect();
    let &[user, nice, system, idle, waiting, interrupts, soft_interrupts, stolen, ..] =
        ticks.as_slice()
    else {
        return None;
    };
    let busy = user + nice + system + interrupts + soft_interrupts;
    let total = busy + idle + waiting + stolen;
    Some(Sample { total, busy, stolen, own: 0, cores: cpus.count() as u64 })
}

/// User and system time from the text of `/proc/ID/stat`.
fn process_ticks(text: &str) -> Option<u64> {
    // The name of the program, in brackets, may hold anything; the state follows it.
    let (_, behind) = text.rsplit_once(')')?;
    let mut times = behind.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "cpu  100 10 50 1000 40 5 5 20 7 0\n\
                          cpu0 50 5 25 500 20 2 3 10 3 0\n\
                          cpu1 50 5 25 500 20 3 2 10 4 0\nintr 1 2 3\n";
    const AFTER: &str = "cpu  160 10 70 1090 60 5 5 30 7 0\n\
                         cpu0 1 1 1 1 1 1 1 1 1 0\ncpu1 1 1 1 1 1 1 1 1 1 0\n";

    #[test]
    fn what_is_in_use_is_own_others_or_stolen() {
        let before = Sample { own: 30, ..machine(BEFORE).unwrap() };
        let after = Sample { own: 90, ..machine(AFTER).unwrap() };
        // 200 ticks of two cores: 80 busy, 60 of them own, 10 stolen, 110 idle.
        let usage = after.since(before);
        assert_eq!(usage, Usage { own: 0.6, others: 0.2, stolen: 0.1 });
        assert!(!usage.is_quiet());
        assert!(Usage { others: 0.15, stolen: 0.05, ..usage }.is_quiet());
    }

    #[test]
    fn own_time_beyond_the_whole_leaves_nothing_to_others() {
        let before = machine(BEFORE).unwrap();
        let after = Sample { own: 85, ..machine(AFTER).unwrap() };
        assert!(after.since(before).others.abs() < f64::EPSILON);
    }

    #[test]
    fn a_process_may_be_called_anything() {
        let text = "42 (a) b 9 9) S 1 42 42 0 -1 4194560 500 0 3 0 17 25 0 0 20 0 3 0 999";
        assert_eq!(process_ticks(text), Some(42));
        assert_eq!(process_ticks("42 (sh) S 1 2"), None);
        assert_eq!(machine("cpu 1 2 3\n"), None);
    }

    #[test]
    fn a_process_that_works_is_seen_to() {
        let own = || Sample::take([std::process::id(), u32::MAX].into_iter()).unwrap();
        let before = own();
        let mut after = own();
        while after.own < before.own + 3 {
            after = own();
        }
        let usage = after.since(before);
        assert!(usage.own > 0.0 && usage.own <= after.cores as f64, "{usage:?}");
    }
}
