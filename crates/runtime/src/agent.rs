//! What an agent is: something that owns its data and is stepped.
//!
//! Threading is composition: [`Together`] makes one agent of two, so that a node can be one thread
//! or many without its parts knowing.

use wire::time::{Nanos, Now};

/// What a pass of an agent did, and when it wants the next one at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Work {
    /// How many things were done; zero lets the host idle.
    pub done: usize,
    /// When something falls due by time alone. [`Nanos::MAX`] when nothing does.
    ///
    /// A host may sleep until then only after a pass in which no agent did anything.
    pub next_deadline: Nanos,
}

impl Work {
    /// Nothing done, nothing due.
    pub const NONE: Self = Self { done: 0, next_deadline: Nanos::MAX };

    /// `count` things done, nothing due.
    pub const fn done(count: usize) -> Self {
        Self { done: count, next_deadline: Nanos::MAX }
    }

    /// The same work, due again at `deadline` at the latest.
    pub fn due(self, deadline: Nanos) -> Self {
        Self { next_deadline: self.next_deadline.min(deadline), ..self }
    }

    /// The work of two agents of one pass.
    pub fn and(self, other: Self) -> Self {
        Self {
            done: self.done.saturating_add(other.done),
            next_deadline: self.next_deadline.min(other.next_deadline),
        }
    }
}

/// Why an agent will not be stepped again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// It was asked to end, or its work is complete.
    #[error("terminated as asked")]
    Terminated,
    /// It cannot go on: the cause, for the log and the exit code.
    #[error("failed: {0}")]
    Failed(String),
}

/// A party that is stepped by one thread, or by the simulator, and never blocks.
pub trait Agent: Send {
    /// What the agent is called in logs and thread names.
    fn name(&self) -> &str;

    /// Called once before the first pass.
    ///
    /// # Errors
    /// A [`Halt`] ends the agent before it began; `on_close` is called still.
    fn on_start(&mut self, now: Now) -> Result<(), Halt> {
        let _ = now;
        Ok(())
    }

    /// One pass of the duty cycle. Must not block.
    ///
    /// # Errors
    /// A [`Halt`] ends the agent; errors that it can live with it counts and logs by itself.
    fn do_work(&mut self, now: Now) -> Result<Work, Halt>;

    /// An orderly end: called once after the last pass. A killed process never gets here, so
    /// nothing that others rely on may depend on it.
    fn on_close(&mut self, now: Now) {
        let _ = now;
    }
}

impl<A: Agent + ?Sized> Agent for Box<A> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn on_start(&mut self, now: Now) -> Result<(), Halt> {
        (**self).on_start(now)
    }

    fn do_work(&mut self, now: Now) -> Result<Work, Halt> {
        (**self).do_work(now)
    }

    fn on_close(&mut self, now: Now) {
        (**self).on_close(now);
    }
}

/// Several agents stepped as one, in order. When one halts, all halt.
pub struct Together {
    name: String,
    agents: Vec<Box<dyn Agent>>,
}

impl Together {
    /// Joins `agents` under one name.
    #[must_use]
    pub fn new(name: impl Into<String>, agents: Vec<Box<dyn Agent>>) -> Self {
        Self { name: name.into(), agents }
    }
}

impl Agent for Together {
    fn name(&self) -> &str {
        &self.name
    }

    fn on_start(&mut self, now: Now) -> Result<(), Halt> {
        self.agents.iter_mut().try_for_each(|agent| agent.on_start(now))
    }

    fn do_work(&mut self, now: Now) -> Result<Work, Halt> {
        let mut work = Work::NONE;
        for agent in &mut self.agents {
            work = work.and(agent.do_work(now)?);
        }
        Ok(work)
    }

    /// Closes the last first: what stands on others goes before them.
    fn on_close(&mut self, now: Now) {
        for agent in self.agents.iter_mut().rev() {
            agent.on_close(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    struct Scripted {
        name: &'static str,
        results: Vec<Result<Work, Halt>>,
        log: Arc<Mutex<Vec<String>>>,
    }

    impl Agent for Scripted {
        fn name(&self) -> &str {
            self.name
        }

        fn do_work(&mut self, _now: Now) -> Result<Work, Halt> {
            self.log.lock().unwrap().push(format!("{} works", self.name));
            self.results.remove(0)
        }

        fn on_close(&mut self, _now: Now) {
            self.log.lock().unwrap().push(format!("{} closes", self.name));
        }
    }

    #[test]
    fn together_adds_work_takes_the_earliest_deadline_and_closes_in_reverse() {
        let log = Arc::new(Mutex::new(Vec::new()));
        let agent = |name, results| Box::new(Scripted { name, results, log: log.clone() });
        let mut both = Together::new(
            "both",
            vec![
                agent("a", vec![Ok(Work::done(2).due(Nanos(9))), Ok(Work::NONE)]),
                agent("b", vec![Ok(Work::done(1).due(Nanos(5))), Err(Halt::Terminated)]),
            ],
        );
        assert_eq!(both.do_work(Now::default()), Ok(Work { done: 3, next_deadline: Nanos(5) }));
        assert_eq!(both.do_work(Now::default()), Err(Halt::Terminated));
        both.on_close(Now::default());
        let tail: Vec<_> = log.lock().unwrap().iter().rev().take(2).cloned().collect();
        assert_eq!(tail, ["a closes", "b closes"]);
    }
}
