//! What happens when. Pure: a scene goes in, what is to be done comes out.
//!
//! ```text
//! Elect -> Stream -> Ask -> Snapshot -> Between -> Crowd -> FailOver -> Down -> CatchUp -> Drain
//!            |        snapshot          send ahead   |                    |           -> Compare
//!          the stream begins                    SIGKILL leader         restart           -> Done
//! ```

use coracle::runtime::Nanos;

use super::status::{Book, Status};

/// How many members there are.
pub(crate) const MEMBERS: usize = 3;
/// How many orders must be on their way when the leader is killed.
pub(crate) const IN_FLIGHT_MIN: usize = 100;
/// Hundredths of the stream after which a snapshot is taken.
const SNAPSHOT_AT: u64 = 25;
/// Hundredths of the stream after which the leader is killed.
const KILL_AT: u64 = 45;
/// How long the killed member stays away once the others go on.
const AWAY: Nanos = Nanos::from_secs(1);
/// How long the members must stand still to be compared.
const STILL: Nanos = Nanos::from_millis(100);

/// Where the script stands; each stage is named for what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// One leader, two followers, a session.
    Elect,
    /// The part of the stream before the snapshot.
    Stream,
    /// A leader whose toggle takes the word.
    Ask,
    /// A snapshot on every member.
    Snapshot,
    /// The part of the stream between the snapshot and the kill.
    Between,
    /// Enough orders in flight.
    Crowd,
    /// The first answer of another leader.
    FailOver,
    /// A while without the killed member.
    Down,
    /// The restarted member.
    CatchUp,
    /// The last answer.
    Drain,
    /// Three members at one position.
    Compare,
    /// Nothing any more.
    Done,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Begin to send.
    Stream,
    /// Ask this leader for a snapshot.
    Snapshot(usize),
    /// Fill the window without regard to what is due.
    SendAhead,
    /// Kill this member.
    Kill(usize),
    /// Start this member again.
    Restart(usize),
}

/// What the script looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) now: Nanos,
    /// What members show; `None` for those that do not run, or show nothing yet.
    pub(crate) members: &'a [Option<Status>; MEMBERS],
    pub(crate) total: u64,
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    pub(crate) in_flight: usize,
    /// Whom the client's session is connected to.
    pub(crate) connected_to: Option<usize>,
    /// By whom answers came in this pass.
    pub(crate) answered_by: Option<usize>,
    /// Whether the leader took the word to take a snapshot.
    pub(crate) is_snapshot_asked: bool,
}

/// What the script has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The leader that was killed, when, and how many orders were in flight then.
    pub(crate) kill: Option<Kill>,
    /// When another member was seen to lead after that.
    pub(crate) elected: Option<Nanos>,
    /// Who answered first after that, and when.
    pub(crate) failover: Option<(usize, Nanos)>,
    /// From which position in the log the killed member came back.
    pub(crate) recovery: Option<i64>,
    /// How long the restarted member took to catch up.
    pub(crate) caught_up: Option<Nanos>,
    /// The stream's beginning, and its last answer.
    pub(crate) streamed: Option<(Nanos, Option<Nanos>)>,
    /// What the members show at one position.
    pub(crate) books: Option<[Book; MEMBERS]>,
}

/// The end of a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kill {
    pub(crate) member: usize,
    pub(crate) at: Nanos,
    pub(crate) in_flight: usize,
}

/// Something did not come in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("within {} s there was no {awaited}", waited.as_millis() / 1_000)]
pub(crate) struct Overdue {
    pub(crate) waited: Nanos,
    pub(crate) awaited: &'static str,
}

/// The script and how far it has come.
pub(crate) struct Script {
    stage: Stage,
    entered: Nanos,
    span: Nanos,
    facts: Facts,
    /// Commands that the restarted member must have executed to have caught up.
    target: u64,
    /// What the members showed, and since when.
    still: Option<([Book; MEMBERS], Nanos)>,
}

impl Script {
    /// Begins; the stream will take `span`.
    pub(crate) fn new(span: Nanos, now: Nanos) -> Self {
        let (stage, facts) = (Stage::Elect, Facts::default());
        Self { stage, entered: now, span, facts, target: 0, still: None }
    }

    /// Where it stands.
    pub(crate) const fn stage(&self) -> Stage {
        self.stage
    }

    /// What it has seen.
    pub(crate) const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Looks at the scene.
    ///
    /// # Errors
    /// What is awaited has not come in time.
    pub(crate) fn step(&mut self, scene: &Scene<'_>) -> Result<Option<Action>, Overdue> {
        self.note(scene);
        if let Some((stage, action)) = self.advance(scene) {
            if stage != self.stage {
                (self.stage, self.entered) = (stage, scene.now);
            }
            return Ok(action);
        }
        let (allowed, awaited) = self.patience();
        let waited = scene.now - self.entered;
        if waited > allowed { Err(Overdue { waited, awaited }) } else { Ok(None) }
    }

    /// What is seen whatever the stage.
    fn note(&mut self, scene: &Scene<'_>) {
        let all_answered = scene.sent == scene.total && scene.acknowledged == scene.total;
        if let Some((_, end @ None)) = &mut self.facts.streamed
            && all_answered
        {
            *end = Some(scene.now);
        }
        if let (Stage::FailOver, None) = (self.stage, self.facts.elected) {
            self.facts.elected = leader(scene).map(|_| scene.now);
        }
        if let (Stage::CatchUp, Some(kill)) = (self.stage, self.facts.kill)
            && let Some(position) = scene.members[kill.member].and_then(|status| status.recovery)
        {
            self.facts.recovery = Some(position);
        }
    }

    /// The next stage and what is to be done, if what is awaited has come.
    fn advance(&mut self, scene: &Scene<'_>) -> Option<(Stage, Option<Action>)> {
        let past = |hundredths| scene.sent * 100 >= scene.total * hundredths;
        match self.stage {
            Stage::Elect => {
                let leader = leader(scene)?;
                let all = scene.members.iter().flatten().filter(|it| it.is_in_service()).count();
                if all < MEMBERS || scene.connected_to != Some(leader) {
                    return None;
                }
                self.facts.streamed = Some((scene.now, None));
                Some((Stage::Stream, Some(Action::Stream)))
            }
            Stage::Stream => past(SNAPSHOT_AT).then_some((Stage::Ask, None)),
            Stage::Ask if scene.is_snapshot_asked => Some((Stage::Snapshot, None)),
            Stage::Ask => Some((Stage::Ask, Some(Action::Snapshot(leader(scene)?)))),
            Stage::Snapshot => {
                let taken = |member: &Option<Status>| member.is_some_and(|it| it.snapshots > 0);
                scene.members.iter().all(taken).then_some((Stage::Between, None))
            }
            Stage::Between => past(KILL_AT).then_some((Stage::Crowd, Some(Action::SendAhead))),
            Stage::Crowd => self.kill(scene),
            Stage::FailOver => {
                let by = scene.answered_by.filter(|&by| Some(by) != self.killed())?;
                self.facts.failover = Some((by, scene.now));
                Some((Stage::Down, None))
            }
            Stage::Down => {
                let member = self.killed().filter(|_| scene.now - self.entered >= AWAY)?;
                self.target = books(scene).map(|book| book.executed).max()?;
                Some((Stage::CatchUp, Some(Action::Restart(member))))
            }
            Stage::CatchUp => {
                let member = scene.members[self.killed()?].filter(Status::is_in_service)?;
                if member.book?.executed < self.target {
                    return None;
                }
                self.facts.caught_up = Some(scene.now - self.entered);
                Some((Stage::Drain, None))
            }
            Stage::Drain => self.facts.streamed?.1.map(|_| (Stage::Compare, None)),
            Stage::Compare => self.compare(scene),
            Stage::Done => Some((Stage::Done, None)),
        }
    }

    fn killed(&self) -> Option<usize> {
        self.facts.kill.map(|kill| kill.member)
    }

    fn kill(&mut self, scene: &Scene<'_>) -> Option<(Stage, Option<Action>)> {
        let member = leader(scene)?;
        if scene.in_flight < IN_FLIGHT_MIN || scene.connected_to != Some(member) {
            return Some((Stage::Crowd, Some(Action::SendAhead))).filter(|_| !self.is_late(scene));
        }
        self.facts.kill = Some(Kill { member, at: scene.now, in_flight: scene.in_flight });
        Some((Stage::FailOver, Some(Action::Kill(member))))
    }

    /// All members must show one position, and nothing new for a while.
    fn compare(&mut self, scene: &Scene<'_>) -> Option<(Stage, Option<Action>)> {
        let shown: Vec<Book> = books(scene).collect();
        let shown: [Book; MEMBERS] = shown.try_into().ok()?;
        if shown.iter().any(|book| book.position != shown[0].position) {
            self.still = None;
            return None;
        }
        let (before, since) = *self.still.get_or_insert((shown, scene.now));
        if before != shown {
            self.still = None;
            return None;
        }
        if scene.now - since < STILL {
            return None;
        }
        self.facts.books = Some(shown);
        Some((Stage::Done, None))
    }

    fn is_late(&self, scene: &Scene<'_>) -> bool {
        scene.now - self.entered > self.patience().0
    }

    /// How long to wait in this stage, and for what.
    fn patience(&self) -> (Nanos, &'static str) {
        let stream = self.span + Nanos::from_secs(20);
        match self.stage {
            Stage::Elect => (Nanos::from_secs(20), "leader with two followers and a session"),
            Stage::Stream => (stream, "quarter of the orders sent"),
            Stage::Ask => (Nanos::from_secs(10), "leader that takes a snapshot"),
            Stage::Snapshot => (Nanos::from_secs(15), "snapshot on every member"),
            Stage::Between => (stream, "half of the orders sent"),
            Stage::Crowd => (Nanos::from_secs(10), "moment with 100 orders in flight"),
            Stage::FailOver => (Nanos::from_secs(20), "answer by a new leader"),
            Stage::Down => (Nanos::from_secs(10), "member that goes on alone"),
            Stage::CatchUp => (Nanos::from_secs(20), "restarted member that caught up"),
            Stage::Drain => (stream, "answer to the last order"),
            Stage::Compare => (Nanos::from_secs(10), "one position on all members"),
            Stage::Done => (Nanos::MAX, "end"),
        }
    }
}

fn books<'a>(scene: &'a Scene<'_>) -> impl Iterator<Item = Book> + 'a {
    scene.members.iter().flatten().filter_map(|status| status.book)
}

/// The leader of the newest term.
fn leader(scene: &Scene<'_>) -> Option<usize> {
    let shown = scene.members.iter().enumerate();
    let leading = shown.filter_map(|(id, status)| Some((id, (*status)?)));
    leading.filter(|(_, it)| it.is_leading()).max_by_key(|(_, it)| it.term).map(|(id, _)| id)
}

#[cfg(test)]
mod tests;
