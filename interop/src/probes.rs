//! What a genuine member does in states that only a member of ours brings about: members played by
//! this program speak to it on the consensus stream (the open points of the consensus rules).

use std::sync::Arc;

use coracle::cluster::config::Config;
use coracle::cluster::peers::{self, Peers};
use coracle::cluster::recording_log::RecordingLog;
use coracle::consensus::{
    CanvassPosition, ElectionState, LeadershipTermId, MemberId, NewLeadershipTerm, PeerMessage,
    RequestVote, TermRecord, Vote,
};
use coracle::os;
use coracle::os::files::OsFiles;
use coracle::prelude::*;
use coracle::runtime::Nanos;
use coracle::runtime::files::Files;
use coracle::wire::bytes::SemanticVersion;

use crate::cluster::CONTENT;
use crate::members::{self, Member, Plan, Side, WHOLE, counter};
use crate::ours::{self, Deadline};
use crate::ours_cluster::Session;
use crate::{Setting, Test, test};

/// The tests of these points.
pub(crate) const TESTS: &[Test] = &[
    test("their_leader_answers_probes", &[], probes),
    test("their_leader_waits_for_logs_without_end_and_is_dislodged", &[], dislodged),
];

/// A member that only speaks and listens.
struct Fake {
    id: i32,
    peers: Peers,
    _client: Client,
    heard: Vec<PeerMessage>,
}

impl Fake {
    /// Takes the place of a member.
    fn start(plan: &Plan, id: usize, driver: &Driver) -> Result<Self, String> {
        let client = ours::connect(driver.directory())?;
        let config: Config = plan.config(id)?;
        let settings = config.check().map_err(|error| error.to_string())?;
        let handle = (*client).clone();
        let asked = peers::subscribe(&handle, &settings, &config.channels);
        let deadline = Deadline::new();
        let mut asked = asked;
        let subscription = loop {
            match asked.poll().map_err(|error| error.to_string())? {
                Some(subscription) => break subscription,
                None => deadline.pause("a subscription to what members say")?,
            }
        };
        let version = SemanticVersion::new(0, 0, 1);
        let peers = Peers::new(&handle, subscription, &settings, &config.channels, version);
        let id = i32::try_from(id).map_err(|error| error.to_string())?;
        Ok(Self { id, peers, _client: client, heard: Vec::new() })
    }

    fn step(&mut self) -> Result<(), String> {
        let mut failed = None;
        self.peers.advance(os::clock::now(), |error| failed = Some(error.to_string()));
        let Self { peers, heard, .. } = self;
        peers.receive(|message| heard.push(message), |error| failed = Some(error.to_string()));
        failed.map_or(Ok(()), Err)
    }

    fn say(&mut self, to: usize, message: &PeerMessage) -> Result<(), String> {
        let to = MemberId(i32::try_from(to).map_err(|error| error.to_string())?);
        self.peers.send(to, message).map_err(|error| error.to_string())
    }

    fn canvass(&mut self, to: usize, log_term: i64, term: i64) -> Result<(), String> {
        let message = PeerMessage::CanvassPosition(CanvassPosition {
            log_leadership_term_id: LeadershipTermId(log_term),
            log_position: Position(0),
            leadership_term_id: LeadershipTermId(term),
            follower_member_id: MemberId(self.id),
        });
        self.say(to, &message)
    }

    /// Says "vote for me" for a term, with an empty log.
    fn stand(&mut self, to: usize, term: i64) -> Result<(), String> {
        let message = PeerMessage::RequestVote(RequestVote {
            log_leadership_term_id: LeadershipTermId(-1),
            log_position: Position(0),
            candidate_term_id: LeadershipTermId(term),
            candidate_member_id: MemberId(self.id),
        });
        self.say(to, &message)
    }

    /// Votes for whoever asked since the last time.
    fn vote(&mut self) -> Result<(), String> {
        let heard = std::mem::take(&mut self.heard);
        for message in heard {
            let PeerMessage::RequestVote(asked) = message else { continue };
            let to = usize::try_from(asked.candidate_member_id.0).unwrap_or(0);
            let vote = PeerMessage::Vote(Vote {
                candidate_term_id: asked.candidate_term_id,
                log_leadership_term_id: LeadershipTermId(0),
                log_position: Position(0),
                candidate_member_id: asked.candidate_member_id,
                follower_member_id: MemberId(self.id),
                vote: true,
            });
            self.say(to, &vote)?;
        }
        Ok(())
    }
}

/// The table of terms in a member's files.
fn table(member: &Member) -> Result<Vec<TermRecord>, String> {
    let files: Arc<dyn Files> = Arc::new(OsFiles);
    let log = RecordingLog::read(&files, &member.cluster()).map_err(|error| error.to_string())?;
    Ok(log.terms())
}

/// Waits until one of two leads a term that is not below this one; returns who, and its table.
fn led(nodes: &[Member], term: i64) -> Result<(usize, Vec<TermRecord>), String> {
    let deadline = Deadline::new();
    loop {
        let leader = members::leader(nodes)?;
        let terms = table(&nodes[leader])?;
        if terms.last().is_some_and(|last| last.term.0 >= term) {
            return Ok((leader, terms));
        }
        deadline.pause(&format!("a leader of term {term}: {terms:?}"))?;
    }
}

/// Two genuine members and one that we play. A request to vote for a higher term, with an empty
/// log, ends each leader's term; the last one answers a probe for each term from its table, the one
/// for -1 among them.
fn probes(setting: &Setting) -> Result<String, String> {
    let plan = Plan::new(&setting.work, 3);
    let mut nodes = vec![
        plan.start(setting, Side::Theirs, 0, WHOLE)?,
        plan.start(setting, Side::Theirs, 1, WHOLE)?,
    ];
    let driver = ours::start_driver(&setting.work.join("fake"), 0.0)?;
    let mut fake = Fake::start(&plan, 2, &driver)?;
    let (mut leader, mut terms) = led(&nodes, 0)?;
    for _ in 0..2 {
        let last = terms.last().map_or(-1, |last| last.term.0);
        let deadline = Deadline::new();
        // What comes before its publications are connected is lost.
        while nodes.iter().any(Member::is_in_service) {
            fake.step()?;
            fake.stand(0, last + 1)?;
            fake.stand(1, last + 1)?;
            deadline.pause("a request to vote ends the term")?;
            os::thread::sleep(Nanos::from_millis(20));
        }
        (leader, terms) = led(&nodes, last + 1)?;
    }
    let last = terms.last().map_or(-1, |last| last.term.0);
    let mut answers = Vec::new();
    for id in -1..=last {
        answers.push(probe(&mut fake, leader, id, last)?);
    }
    // It is in service: a canvass of a higher term does not move it, and gets no answer.
    let deadline_at = os::clock::now().mono + Nanos::from_secs(1);
    fake.heard.clear();
    while os::clock::now().mono < deadline_at {
        fake.canvass(leader, last + 5, last + 5)?;
        fake.step()?;
        os::thread::sleep(Nanos::from_millis(50));
    }
    // Answers to the probes before may still come.
    let is_answer = |message: &PeerMessage| match message {
        PeerMessage::NewLeadershipTerm(it) => it.log_leadership_term_id.0 > last,
        _ => false,
    };
    if !nodes[leader].is_leader() || fake.heard.iter().any(is_answer) {
        let heard: Vec<&PeerMessage> = fake.heard.iter().filter(|it| is_answer(it)).collect();
        let state = members::states(&nodes);
        return Err(format!("a canvass of a higher term was heeded: {heard:?}{state}"));
    }
    check(&terms, &answers, leader)?;
    drop(fake);
    nodes.drain(..).try_for_each(Member::finish)?;
    driver.close().map_err(|error| error.to_string())?;
    Ok(format!("terms {:?}, probes from -1 to {last} answered from the table", ids(&terms)))
}

fn ids(terms: &[TermRecord]) -> Vec<(i64, i64)> {
    terms.iter().map(|record| (record.term.0, record.base.0)).collect()
}

/// The leader's answer to one probe.
fn probe(fake: &mut Fake, leader: usize, id: i64, term: i64) -> Result<NewLeadershipTerm, String> {
    let deadline = Deadline::new();
    fake.heard.clear();
    loop {
        fake.canvass(leader, id, term)?;
        fake.step()?;
        let answer = fake.heard.drain(..).find_map(|message| match message {
            PeerMessage::NewLeadershipTerm(it)
                if (it.log_leadership_term_id.0, it.leadership_term_id.0) == (id, term) =>
            {
                Some(it)
            }
            _ => None,
        });
        if let Some(answer) = answer {
            return Ok(answer);
        }
        deadline.pause(&format!("an answer to the probe for {id}"))?;
        os::thread::sleep(Nanos::from_millis(20));
    }
}

/// Whether each answer tells of the term behind the one that was named, as the table has it.
fn check(terms: &[TermRecord], answers: &[NewLeadershipTerm], leader: usize) -> Result<(), String> {
    let current = *terms.last().ok_or("no term")?;
    for answer in answers {
        let id = answer.log_leadership_term_id.0;
        let next = terms.iter().find(|record| record.term.0 > id);
        let after = next.and_then(|next| terms.iter().find(|it| it.term > next.term));
        let expected = (
            next.map(|next| next.term),
            next.map(|next| next.base),
            after.map(|after| after.base),
            current.term,
            current.base,
            usize::try_from(answer.leader_member_id.0).ok(),
        );
        let found = (
            answer.next_leadership_term_id,
            answer.next_term_base_log_position,
            answer.next_log_position,
            answer.leadership_term_id,
            answer.term_base_log_position,
            Some(leader),
        );
        if found != expected {
            return Err(format!("probe {id}: {found:?}, not {expected:?}; table {terms:?}"));
        }
    }
    Ok(())
}

/// A genuine member with a log is elected by members that we play, and waits for their logs: there
/// is no end to that, whatever the time-outs say. A canvass of a higher term dislodges it.
fn dislodged(setting: &Setting) -> Result<String, String> {
    const WAITING: i64 = ElectionState::LeaderLogReplication as i64;
    let plan = Plan::new(&setting.work, 3);
    let nodes = plan.start_all(setting, &[Side::Theirs; 3])?;
    let leader = members::leader(&nodes)?;
    let node = nodes.get(leader).ok_or("no such member")?;
    let mut session = Session::open(node, plan.endpoints(0..3), CONTENT)?;
    session.echo(200, || Ok(()))?;
    members::agree(&nodes, 200)?;
    drop(session);
    nodes.into_iter().try_for_each(Member::finish)?;
    let node = plan.start(setting, Side::Theirs, 0, WHOLE)?;
    let driver = ours::start_driver(&setting.work.join("fakes"), 0.0)?;
    let mut fakes = [Fake::start(&plan, 1, &driver)?, Fake::start(&plan, 2, &driver)?];
    let deadline = Deadline::new();
    while node.counter(counter::ELECTION) != Some(WAITING) {
        for fake in &mut fakes {
            fake.canvass(0, 0, 0)?;
            fake.step()?;
            fake.vote()?;
        }
        os::thread::sleep(Nanos::from_millis(20));
        deadline.pause(&format!("it waits for logs{}", members::states([&node])))?;
    }
    // Five times the leader's heartbeat time-out, twice the start-up canvass time-out.
    const WATCH: Nanos = Nanos::from_secs(10);
    let began = os::clock::now().mono;
    while os::clock::now().mono - began < WATCH {
        for fake in &mut fakes {
            fake.step()?;
            fake.heard.clear();
        }
        if node.counter(counter::ELECTION) != Some(WAITING) {
            let state = members::states([&node]);
            return Err(format!("it waited no longer{state}"));
        }
        os::thread::sleep(Nanos::from_millis(20));
    }
    let deadline = Deadline::new();
    while node.counter(counter::ELECTION) == Some(WAITING) {
        for fake in &mut fakes {
            fake.canvass(0, 1_000, 1_000)?;
            fake.step()?;
        }
        os::thread::sleep(Nanos::from_millis(20));
        deadline.pause("a canvass of a higher term dislodges it")?;
    }
    let took = os::clock::now().mono - began - WATCH;
    drop(fakes);
    node.finish()?;
    driver.close().map_err(|error| error.to_string())?;
    Ok(format!("waited {} s, then dislodged in {} ms", WATCH.as_millis() / 1000, took.as_millis()))
}
