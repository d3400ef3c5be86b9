//! Threads that step agents.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use runtime::idle::{Idle, IdleAction, IdleStrategy};
use runtime::invoker::Invoker;
use runtime::network::Network;
use runtime::{Agent, Halt, Nanos};

use crate::clock::{self, PassClock, now_mono};

/// A thread that steps one agent until it halts or is asked to stop.
///
/// Dropping it leaves the thread running.
pub struct AgentThread {
    stop: Arc<AtomicBool>,
    handle: JoinHandle<Halt>,
}

impl AgentThread {
    /// Begins a thread with the agent's name.
    ///
    /// `network` is waited on by the strategy that waits: it wakes for sockets bound through it.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn spawn(
        agent: Box<dyn Agent>,
        strategy: IdleStrategy,
        network: Arc<dyn Network>,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let handle = thread::Builder::new()
            .name(agent.name().to_owned())
            .spawn(move || run(agent, strategy, network.as_ref(), &seen))?;
        Ok(Self { stop, handle })
    }

    /// Asks the agent to end: it is closed in order after the pass under way.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Waits for the end and tells why it came.
    #[must_use]
    pub fn join(self) -> Halt {
        self.handle.join().unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Halt::Failed(format!("panicked: {}", text.unwrap_or("without a message")))
        })
    }
}

/// Steps an agent on the calling thread until it halts or `stop` is set; then it has been closed.
pub fn run(
    agent: Box<dyn Agent>,
    strategy: IdleStrategy,
    network: &dyn Network,
    stop: &AtomicBool,
) -> Halt {
    let mut invoker = Invoker::new(agent);
    let mut idle = Idle::new(strategy);
    let mut clock = PassClock::default();
    // Acquire: pairs with the release in `AgentThread::stop` and in signal handlers.
    while !stop.load(Ordering::Acquire) {
        let now = clock.now();
        let work = invoker.step(now);
        if let Some(halt) = invoker.halted() {
            return halt.clone();
        }
        let until_deadline = (work.next_deadline - now.mono).max(Nanos(0));
        let action = match idle.after(work.done, until_deadline) {
            IdleAction::Continue if idle.gives_way(|| now_mono() - now.mono) => IdleAction::Yield,
            action => action,
        };
        perform(action, network);
    }
    invoker.close(clock::now());
    Halt::Terminated
}

/// Does what an idle strategy decided: for threads that step something else than an agent, too.
pub fn perform(action: IdleAction, network: &dyn Network) {
    match action {
        IdleAction::Continue => {}
        IdleAction::Spin => std::hint::spin_loop(),
        IdleAction::Yield => thread::yield_now(),
        IdleAction::Park(span) => sleep(span),
        IdleAction::Wait(span) => network.wait(span),
    }
}

/// Sleeps.
pub fn sleep(span: Nanos) {
    thread::sleep(duration_of(span));
}

pub(crate) fn duration_of(span: Nanos) -> Duration {
    Duration::from_nanos(span.0.max(0).cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::udp::OsNetwork;
    use runtime::{Now, Work};
    use std::sync::Mutex;

    struct Counting {
        left: u32,
        log: Arc<Mutex<Vec<&'static str>>>,
    }

    impl Agent for Counting {
        fn name(&self) -> &str {
            "counting"
        }

        fn on_start(&mut self, _now: Now) -> Result<(), Halt> {
            self.log.lock().unwrap().push("start");
            Ok(())
        }

        fn do_work(&mut self, now: Now) -> Result<Work, Halt> {
            assert_eq!(thread::current().name(), Some("counting"));
            assert!(self.left != 13, "unlucky");
            let counted = || Halt::Failed("counted".to_owned());
            self.left = self.left.checked_sub(1).ok_or_else(counted)?;
            Ok(Work::NONE.due(now.mono + Nanos::from_micros(50)))
        }

        fn on_close(&mut self, _now: Now) {
            self.log.lock().unwrap().push("close");
        }
    }

    fn spawn(left: u32, strategy: IdleStrategy) -> (AgentThread, Arc<Mutex<Vec<&'static str>>>) {
        let log = Arc::default();
        let agent = Box::new(Counting { left, log: Arc::clone(&log) });
        let network = Arc::new(OsNetwork::new().unwrap());
        (AgentThread::spawn(agent, strategy, network).unwrap(), log)
    }

    #[test]
    fn a_thread_ends_when_its_agent_halts_whatever_its_way_to_idle() {
        let strategies = [
            IdleStrategy::Spin,
            IdleStrategy::Yield,
            IdleStrategy::BACKOFF,
            IdleStrategy::Wait { yields: 0, span_max: Nanos::from_millis(1) },
        ];
        for strategy in strategies {
            let (thread, log) = spawn(12, strategy);
            assert_eq!(thread.join(), Halt::Failed("counted".to_owned()));
            assert_eq!(*log.lock().unwrap(), ["start", "close"]);
        }
    }

    #[test]
    fn a_thread_that_is_stopped_closes_its_agent() {
        let (thread, log) = spawn(u32::MAX, IdleStrategy::BACKOFF);
        while log.lock().unwrap().is_empty() {
            thread::yield_now();
        }
        thread.stop();
        assert_eq!(thread.join(), Halt::Terminated);
        assert_eq!(*log.lock().unwrap(), ["start", "close"]);
    }

    #[test]
    fn a_panic_is_a_failure_with_its_message() {
        let (thread, _) = spawn(13, IdleStrategy::Yield);
        assert_eq!(thread.join(), Halt::Failed("panicked: unlucky".to_owned()));
    }
}
