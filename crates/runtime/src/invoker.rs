//! Steps one agent for a host: start, passes, end.

use wire::time::Now;

use crate::agent::{Agent, Halt, Work};

/// Owns an agent and keeps its calls in order, whatever the host does.
pub struct Invoker {
    agent: Box<dyn Agent>,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    New,
    Running,
    Halted(Halt),
}

impl Invoker {
    /// An agent that has not been started.
    #[must_use]
    pub fn new(agent: Box<dyn Agent>) -> Self {
        Self { agent, state: State::New }
    }

    /// The agent's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.agent.name()
    }

    /// Why the agent is no longer stepped, once it is not.
    #[must_use]
    pub fn halted(&self) -> Option<&Halt> {
        match &self.state {
            State::Halted(halt) => Some(halt),
            State::New | State::Running => None,
        }
    }

    /// One pass; the first one starts the agent. A halt closes it, and later passes do nothing.
    pub fn step(&mut self, now: Now) -> Work {
        let result = match self.state {
            State::New => {
                self.state = State::Running;
                self.agent.on_start(now).and_then(|()| self.agent.do_work(now))
            }
            State::Running => self.agent.do_work(now),
            State::Halted(_) => return Work::NONE,
        };
        result.unwrap_or_else(|halt| {
            self.agent.on_close(now);
            self.state = State::Halted(halt);
            Work::done(1)
        })
    }

    /// Ends the agent in order, if it still runs.
    pub fn close(&mut self, now: Now) {
        if self.state == State::Running {
            self.agent.on_close(now);
        }
        if self.halted().is_none() {
            self.state = State::Halted(Halt::Terminated);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing {
        calls: std::sync::mpsc::Sender<&'static str>,
    }

    impl Agent for Failing {
        fn name(&self) -> &str {
            "failing"
        }

        fn on_start(&mut self, _now: Now) -> Result<(), Halt> {
            self.calls.send("start").unwrap();
            Ok(())
        }

        fn do_work(&mut self, _now: Now) -> Result<Work, Halt> {
            self.calls.send("work").unwrap();
            Err(Halt::Failed("disk".into()))
        }

        fn on_close(&mut self, _now: Now) {
            self.calls.send("close").unwrap();
        }
    }

    #[test]
    fn a_halted_agent_is_closed_once_and_never_stepped_again() {
        let (calls, seen) = std::sync::mpsc::channel();
        let mut invoker = Invoker::new(Box::new(Failing { calls }));
        let _ = invoker.step(Now::default());
        let _ = invoker.step(Now::default());
        invoker.close(Now::default());
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), ["start", "work", "close"]);
        assert_eq!(invoker.halted(), Some(&Halt::Failed("disk".into())));
    }
}
