//! The demonstration as it runs: steps the client, looks at the members, does what the script says.

use std::sync::atomic::{AtomicBool, Ordering};

use coracle::Driver;
use coracle::client::Client;
use coracle::cluster_client::{
    ClusterClient, Config, ExactlyOnce, ExactlyOnceOptions, NoCredentials,
};
use coracle::os::clock;
use coracle::os::thread::sleep;
use coracle::runtime::{Nanos, Now, Ports};
use order_book::command::{COMMAND_LENGTH_MAX, Command};

use super::nodes::{HOST, Nodes, PORTS, ingress_endpoints};
use super::oracle::Oracle;
use super::pacer::Pacer;
use super::place::Place;
use super::ports;
use super::report::Report;
use super::script::{Action, MEMBERS, Scene, Script, Stage};
use super::status::Status;
use super::view::{Picture, View};
use crate::Failure;
use crate::orders::source::Request;

/// How many orders may be on their way.
const WINDOW: usize = 256;
/// When to send an order again that was not answered: a leader lets go of answers that it cannot
/// send at once.
const RESEND_AFTER: Nanos = Nanos::from_millis(250);
/// How many answers to take in one pass.
const ANSWERS_MAX: usize = 256;
/// How often to look at the members' counters.
const LOOK_INTERVAL: Nanos = Nanos::from_millis(1);
/// How often to look whether the nodes still run.
const CHECK_INTERVAL: Nanos = Nanos::from_millis(50);
/// How long to sleep after a pass in which nothing came and nothing went.
const IDLE: Nanos = Nanos::from_micros(50);

/// What is to be streamed.
pub(crate) struct Input {
    /// Orders and cancels, as many as the pacer has.
    pub(crate) requests: Box<dyn Iterator<Item = Request>>,
    /// When they are due.
    pub(crate) pacer: Pacer,
    /// Trades that their source tells of, and their volume.
    pub(crate) reported: Option<(usize, i64)>,
}

/// Everything that takes part; it ends in this order.
pub(crate) struct Play {
    client: ExactlyOnce,
    _driver: Driver,
    nodes: Nodes,
    place: Place,
    input: Input,
    oracle: Oracle,
    script: Script,
    view: View,
    started: Nanos,
    members: [Option<Status>; MEMBERS],
    next_look: Nanos,
    next_check: Nanos,
    is_ahead: bool,
    is_snapshot_asked: bool,
    answered_by: Option<usize>,
}

impl Play {
    /// Finds ports and directories, starts the client's driver and the nodes.
    pub(crate) fn prepare(input: Input, keep: bool) -> Result<Self, Failure> {
        let started = clock::now().mono;
        let place = Place::make("demo", keep)?;
        let system = coracle::os::ports(None)?;
        let found = ports::find(&*system.network, PORTS, system.seed)?;
        let (driver, client) = client(&place, &system, &found)?;
        let mut nodes = Nodes::new(std::env::current_exe()?, &place, &found);
        for id in 0..MEMBERS {
            nodes.start(id, &place)?;
        }
        let mut view = View::new();
        if let Some(note) = place.note() {
            view.tell(Nanos(0), note);
        }
        let (first, last) = (found.first().unwrap_or(&0), found.last().unwrap_or(&0));
        let starting = format!("three nodes start, at ports {first} to {last} of this machine");
        view.tell(Nanos(0), &starting);
        Ok(Self {
            client,
            _driver: driver,
            nodes,
            place,
            oracle: Oracle::new(),
            script: Script::new(input.pacer.span(), started),
            input,
            view,
            started,
            members: [None; MEMBERS],
            next_look: started,
            next_check: started,
            is_ahead: false,
            is_snapshot_asked: false,
            answered_by: None,
        })
    }

    /// Plays to the end, or until it is stopped, and reports.
    pub(crate) fn perform(mut self, stop: &AtomicBool) -> Result<(), Failure> {
        // Acquire: pairs with the store of the signal handler.
        let is_stopped = || stop.load(Ordering::Acquire);
        let mut failure = None;
        while self.script.stage() != Stage::Done && !is_stopped() && failure.is_none() {
            match self.pass(clock::now()) {
                Ok(true) => {}
                Ok(false) => sleep(IDLE),
                Err(error) => failure = Some(error.to_string()),
            }
        }
        self.view.erase();
        if is_stopped() {
            self.end();
            return Err("stopped before its end".into());
        }
        let report = Report {
            total: self.input.pacer.total(),
            totals: self.oracle.totals(),
            facts: self.script.facts(),
            latencies: self.oracle.latencies(),
            reported: self.input.reported,
            sessions_lost: self.client.sessions_lost(),
            failure,
        };
        print!("{}", report.text());
        let has_passed = report.reasons().is_empty();
        self.end();
        if has_passed { Ok(()) } else { Err("the demonstration failed".into()) }
    }

    fn end(self) {
        let mut nodes = self.nodes;
        self.client.into_cluster().close_transport();
        for id in nodes.end() {
            eprintln!("coracle: member {id} did not end when it was asked to, and was killed");
        }
    }

    /// One pass; whether anything came or went.
    fn pass(&mut self, now: Now) -> Result<bool, Failure> {
        let answers = self.poll(now)?;
        self.look(now.mono)?;
        // Sent last: nothing is answered between this and what the script may do to the leader.
        let sent = self.send(now)?;
        let scene = Scene {
            now: now.mono,
            members: &self.members,
            total: self.input.pacer.total(),
            sent: self.oracle.totals().sent,
            acknowledged: self.oracle.totals().acknowledged,
            in_flight: self.client.in_flight(),
            connected_to: self.connected_to(),
            answered_by: self.answered_by,
            is_snapshot_asked: self.is_snapshot_asked,
        };
        let stage = self.script.stage();
        if let Some(action) = self.script.step(&scene)? {
            self.act(action, now.mono)?;
        }
        if self.script.stage() != stage {
            self.tell(stage, now.mono);
        }
        self.show(now.mono);
        Ok(answers + sent > 0)
    }

    fn connected_to(&self) -> Option<usize> {
        let cluster = self.client.cluster();
        let leader = cluster.leader_member_id().filter(|_| cluster.is_connected())?;
        usize::try_from(leader).ok()
    }

    fn poll(&mut self, now: Now) -> Result<usize, Failure> {
        let leader = self.connected_to();
        let is_before = self.script.facts().kill.is_none();
        let (oracle, mut answers) = (&mut self.oracle, 0);
        let polled = self.client.poll(ANSWERS_MAX, now, |number, payload| {
            oracle.on_answer(number, payload, now.mono, is_before);
            answers += 1;
        })?;
        self.answered_by = leader.filter(|_| answers > 0);
        Ok(polled)
    }

    fn send(&mut self, now: Now) -> Result<usize, Failure> {
        let pacer = &self.input.pacer;
        let due = if self.is_ahead { pacer.total() } else { pacer.due(now.mono) };
        let mut sent = 0;
        while self.oracle.totals().sent < due && self.client.waiting() < WINDOW {
            let Some(request) = self.input.requests.next() else { break };
            let mut buffer = [0; COMMAND_LENGTH_MAX];
            self.client.submit(command(&request).encode(&mut buffer))?;
            let due_at = pacer.due_at(self.oracle.totals().sent).min(now.mono);
            self.oracle.on_sent(&request, due_at);
            sent += 1;
        }
        let work = self.client.do_work(now)?;
        Ok(sent + work.done)
    }

    fn look(&mut self, now: Nanos) -> Result<(), Failure> {
        if now >= self.next_look {
            self.next_look = now + LOOK_INTERVAL;
            self.members = std::array::from_fn(|id| self.nodes.status(id));
        }
        if now >= self.next_check {
            self.next_check = now + CHECK_INTERVAL;
            self.nodes.check()?;
        }
        Ok(())
    }

    fn act(&mut self, action: Action, now: Nanos) -> Result<(), Failure> {
        match action {
            Action::Stream => self.input.pacer.start(now),
            Action::Snapshot(id) => self.is_snapshot_asked = self.nodes.ask_for_snapshot(id),
            Action::SendAhead => self.is_ahead = true,
            Action::Kill(id) => {
                self.nodes.kill(id)?;
                self.members[id] = None;
                self.is_ahead = false;
            }
            Action::Restart(id) => self.nodes.start(id, &self.place)?,
        }
        Ok(())
    }

    /// Tells what ended a stage.
    fn tell(&mut self, ended: Stage, now: Nanos) {
        let facts = *self.script.facts();
        let killed = facts.kill.map_or(0, |kill| kill.member);
        let text = match ended {
            Stage::Elect => {
                let leader = self.connected_to().unwrap_or(0);
                let term = self.members[leader].map_or(-1, |member| member.term);
                let total = self.input.pacer.total();
                format!("member {leader} leads term {term}: {total} orders and cancels to send")
            }
            Stage::Ask => "the leader was asked for a snapshot".into(),
            Stage::Snapshot => "a snapshot is on every member".into(),
            Stage::Crowd => {
                let in_flight = facts.kill.map_or(0, |kill| kill.in_flight);
                format!("SIGKILL to member {killed}, the leader, with {in_flight} in flight")
            }
            Stage::FailOver => {
                let at = facts.kill.map_or(now, |kill| kill.at);
                let by = facts.failover.map_or(0, |(by, _)| by);
                let took = (now - at).as_millis();
                format!("member {by} answers as the leader, {took} ms after the kill")
            }
            Stage::Down => format!("member {killed} is started again"),
            Stage::CatchUp => {
                let position = facts.recovery.unwrap_or(0);
                format!("member {killed} is back: the snapshot at {position}, then the log")
            }
            Stage::Drain => "every order and cancel is acknowledged".into(),
            Stage::Stream | Stage::Between | Stage::Compare | Stage::Done => return,
        };
        self.view.tell(now - self.started, &text);
    }

    fn show(&mut self, now: Nanos) {
        let elapsed = now - self.started;
        if !self.view.is_due(elapsed) {
            return;
        }
        self.view.show(&Picture {
            elapsed,
            stage: self.script.stage(),
            total: self.input.pacer.total(),
            sent: self.oracle.totals().sent,
            acknowledged: self.oracle.totals().acknowledged,
            processes: std::array::from_fn(|id| self.nodes.process(id)),
            members: self.members,
        });
    }
}

/// A driver for the client alone, and the client.
fn client(place: &Place, system: &Ports, ports: &[u16]) -> Result<(Driver, ExactlyOnce), Failure> {
    let directory = place.driver("client");
    let mut options = coracle::driver::Config::default();
    options.directory.path.clone_from(&directory);
    options.set("aeron.term.buffer.length", "1m")?;
    options.set("aeron.counters.buffer.length", "1m")?;
    let driver = Driver::launch_on(options, system)?;
    let options = coracle::client::Config { directory, ..Default::default() };
    let mut connecting = Client::connect(options, system, clock::now());
    let client = loop {
        match connecting.poll(clock::now())? {
            Some(client) => break client,
            None => sleep(LOOK_INTERVAL),
        }
    };
    let config = Config {
        ingress_endpoints: ingress_endpoints(ports),
        egress_channel: format!("aeron:udp?endpoint={HOST}:0"),
        ..Config::default()
    };
    let cluster = ClusterClient::connect(config, Box::new(NoCredentials), client, clock::now());
    let name = system.seed.cast_signed();
    let options = ExactlyOnceOptions {
        window: WINDOW,
        resend_after: RESEND_AFTER,
        ..ExactlyOnceOptions::new(name)
    };
    Ok((driver, ExactlyOnce::new(cluster, options)))
}

fn command(request: &Request) -> Command {
    match *request {
        Request::Place { id, side, price, amount } => Command::Place { id, side, price, amount },
        Request::Cancel { id } => Command::Cancel { id },
    }
}
