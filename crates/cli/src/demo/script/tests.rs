use coracle::consensus::{ElectionState, ModuleState, Role};

use super::*;

/// A cluster as the script sees it.
struct Fake {
    script: Script,
    now: Nanos,
    members: [Option<Status>; MEMBERS],
    sent: u64,
    acknowledged: u64,
    in_flight: usize,
    connected_to: Option<usize>,
    answered_by: Option<usize>,
    is_snapshot_asked: bool,
}

fn member(role: Role) -> Option<Status> {
    Some(Status {
        role: role as i64,
        state: ModuleState::Active as i64,
        election: ElectionState::Closed as i64,
        term: 1,
        book: Some(Book { executed: 600, position: 64_000, hash: 5, ..Book::default() }),
        ..Status::default()
    })
}

impl Fake {
    fn new() -> Self {
        Self {
            script: Script::new(Nanos::from_secs(12), Nanos(0)),
            now: Nanos(0),
            members: [None; MEMBERS],
            sent: 0,
            acknowledged: 0,
            in_flight: 0,
            connected_to: None,
            answered_by: None,
            is_snapshot_asked: false,
        }
    }

    /// With member 1 as the leader, and the script in this stage.
    fn at(stage: Stage) -> Self {
        let mut fake = Self::new();
        fake.members = [Role::Follower, Role::Leader, Role::Follower].map(member);
        fake.connected_to = Some(1);
        fake.script.stage = stage;
        fake.script.facts.streamed = Some((Nanos(0), None));
        fake.script.facts.kill = Some(Kill { member: 1, at: Nanos(0), in_flight: 200 });
        fake
    }

    fn try_step(&mut self, millis: i64) -> Result<Option<Action>, Overdue> {
        self.now = self.now + Nanos::from_millis(millis);
        self.script.step(&Scene {
            now: self.now,
            members: &self.members,
            total: 1_000,
            sent: self.sent,
            acknowledged: self.acknowledged,
            in_flight: self.in_flight,
            connected_to: self.connected_to,
            answered_by: self.answered_by,
            is_snapshot_asked: self.is_snapshot_asked,
        })
    }

    fn step(&mut self, millis: i64) -> (Option<Action>, Stage) {
        let action = self.try_step(millis).unwrap();
        (action, self.script.stage())
    }
}

#[test]
fn the_stream_begins_once_all_are_in_service_and_the_session_is_with_the_leader() {
    let mut fake = Fake::new();
    assert_eq!(fake.step(1), (None, Stage::Elect));
    fake.members = [member(Role::Follower), member(Role::Leader), None];
    fake.connected_to = Some(1);
    assert_eq!(fake.step(1), (None, Stage::Elect));
    fake.members[2] = member(Role::Follower);
    fake.connected_to = Some(0);
    assert_eq!(fake.step(1), (None, Stage::Elect));
    fake.connected_to = Some(1);
    assert_eq!(fake.step(1), (Some(Action::Stream), Stage::Stream));
}

#[test]
fn a_snapshot_is_asked_for_until_the_leader_takes_the_word_and_awaited_on_all() {
    let mut fake = Fake::at(Stage::Stream);
    fake.sent = 249;
    assert_eq!(fake.step(1), (None, Stage::Stream));
    fake.sent = 250;
    assert_eq!(fake.step(1), (None, Stage::Ask));
    assert_eq!(fake.step(1), (Some(Action::Snapshot(1)), Stage::Ask));
    assert_eq!(fake.step(1), (Some(Action::Snapshot(1)), Stage::Ask));
    fake.is_snapshot_asked = true;
    assert_eq!(fake.step(1), (None, Stage::Snapshot));
    for id in 0..MEMBERS {
        assert_eq!(fake.step(1), (None, Stage::Snapshot));
        fake.members[id].as_mut().unwrap().snapshots = 1;
    }
    assert_eq!(fake.step(1), (None, Stage::Between));
}

#[test]
fn the_leader_is_killed_with_a_hundred_in_flight_and_not_before() {
    let mut fake = Fake::at(Stage::Between);
    fake.script.facts.kill = None;
    fake.sent = 450;
    assert_eq!(fake.step(1), (Some(Action::SendAhead), Stage::Crowd));
    fake.in_flight = 99;
    assert_eq!(fake.step(1), (Some(Action::SendAhead), Stage::Crowd));
    fake.in_flight = 100;
    assert_eq!(fake.step(1), (Some(Action::Kill(1)), Stage::FailOver));
    let kill = Kill { member: 1, at: fake.now, in_flight: 100 };
    assert_eq!(fake.script.facts().kill, Some(kill));
}

#[test]
fn failover_ends_with_an_answer_that_is_not_the_killed_leader_s() {
    let mut fake = Fake::at(Stage::FailOver);
    fake.members[1] = None;
    assert_eq!(fake.step(200), (None, Stage::FailOver));
    fake.answered_by = Some(1);
    assert_eq!(fake.step(200), (None, Stage::FailOver));
    fake.members[2] = member(Role::Leader);
    fake.answered_by = Some(2);
    assert_eq!(fake.step(200), (None, Stage::Down));
    assert_eq!(fake.script.facts().elected, Some(Nanos::from_millis(600)));
    assert_eq!(fake.script.facts().failover, Some((2, Nanos::from_millis(600))));
    assert_eq!(fake.step(999), (None, Stage::Down));
    assert_eq!(fake.step(1), (Some(Action::Restart(1)), Stage::CatchUp));
}

#[test]
fn a_restarted_member_has_caught_up_with_what_others_had_executed_when_it_started() {
    let mut fake = Fake::at(Stage::Down);
    fake.members[1] = None;
    fake.step(1_000);
    fake.members[1] = Some(Status { recovery: Some(6_400), ..Status::default() });
    assert_eq!(fake.step(10), (None, Stage::CatchUp));
    fake.members[1] = member(Role::Follower);
    fake.members[1].as_mut().unwrap().book = Some(Book { executed: 599, ..Book::default() });
    assert_eq!(fake.step(10), (None, Stage::CatchUp));
    fake.members[1] = member(Role::Follower);
    assert_eq!(fake.step(10), (None, Stage::Drain));
    assert_eq!(fake.script.facts().recovery, Some(6_400));
    assert_eq!(fake.script.facts().caught_up, Some(Nanos::from_millis(30)));
}

#[test]
fn members_are_compared_once_all_is_answered_and_all_stand_still_at_one_position() {
    let mut fake = Fake::at(Stage::Drain);
    (fake.sent, fake.acknowledged) = (1_000, 999);
    assert_eq!(fake.step(1), (None, Stage::Drain));
    fake.acknowledged = 1_000;
    assert_eq!(fake.step(1), (None, Stage::Compare));
    let book = |fake: &mut Fake, id: usize, change: fn(&mut Book)| {
        change(fake.members[id].as_mut().unwrap().book.as_mut().unwrap());
    };
    book(&mut fake, 2, |book| book.position = 63_000);
    assert_eq!(fake.step(200), (None, Stage::Compare));
    book(&mut fake, 2, |book| book.position = 64_000);
    assert_eq!(fake.step(1), (None, Stage::Compare));
    // It was still at work on this position.
    book(&mut fake, 2, |book| book.hash = 6);
    assert_eq!(fake.step(99), (None, Stage::Compare));
    assert_eq!(fake.step(1), (None, Stage::Compare));
    assert_eq!(fake.step(99), (None, Stage::Compare));
    assert_eq!(fake.step(1), (None, Stage::Done));
    let hashes = fake.script.facts().books.unwrap().map(|book| book.hash);
    assert_eq!(hashes, [5, 5, 6]);
}

#[test]
fn whatever_does_not_come_is_named_when_its_time_is_over() {
    for stage in [
        Stage::Elect,
        Stage::Stream,
        Stage::Ask,
        Stage::Snapshot,
        Stage::Between,
        Stage::Crowd,
        Stage::FailOver,
        Stage::CatchUp,
        Stage::Drain,
        Stage::Compare,
    ] {
        let mut fake = Fake::at(stage);
        if stage != Stage::Crowd {
            fake.members = [None; MEMBERS];
        }
        assert!(fake.try_step(9_000).is_ok(), "{stage:?}");
        let overdue = fake.try_step(40_000).unwrap_err();
        assert_eq!(overdue.waited, Nanos::from_secs(49));
        assert!(overdue.to_string().starts_with("within 49 s there was no "));
    }
}
