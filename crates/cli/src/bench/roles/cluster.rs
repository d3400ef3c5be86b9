//! Members of a cluster that echoes, and its clients.

use std::path::Path;
use std::sync::Arc;

use coracle::cluster_client::{self, ClusterClient, EgressEvent, NoCredentials, OfferError};
use coracle::cluster_service::{Cluster, ClusterSessionId, ClusteredService, SnapshotWriter, Step};
use coracle::node::{self, Members, Profile, Settings};
use coracle::os::thread::AgentThread;
use coracle::runtime::idle::Idle;
use coracle::runtime::invoker::Invoker;
use coracle::runtime::network::Network;
use coracle::runtime::{Nanos, Now};
use coracle::{Node, client, driver, os};

use super::transport::start_driver;
use super::{FRAGMENT_LIMIT, Options, measured};
use crate::Failure;
use crate::bench::latency;

/// How long a cluster may take to come up.
const LIMIT: Nanos = Nanos::from_secs(60);
/// What is not back by then was lost.
const LOSS_LIMIT: Nanos = Nanos::from_secs(10);
/// Between two looks whether the leader was killed.
const LOOK_INTERVAL: Nanos = Nanos::from_millis(1);

/// Sends back what comes, as it is.
struct Echo;

impl ClusteredService for Echo {
    fn on_snapshot(&mut self, _cluster: &mut Cluster<'_>, _message: &[u8]) {}

    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: Option<ClusterSessionId>,
        message: &[u8],
    ) {
        if let Some(session) = session {
            // The windows of a bench leave room; a loss would be found out by the client.
            let _ = cluster.send(session, message);
        }
    }

    fn take_snapshot(
        &mut self,
        _cluster: &mut Cluster<'_>,
        _writer: &mut SnapshotWriter<'_>,
    ) -> Step {
        Step::Done
    }
}

pub(super) fn member(options: &Options) -> Result<(), Failure> {
    let members = Members::Listed(options.text("members")?.to_string());
    let mut settings =
        Settings::new(options.text("directory")?, options.number("member")?, members);
    settings.aeron_directory = Some(options.text("dir")?.into());
    if options.text("idle")? != "default" {
        settings.profile = Profile::Reference;
        settings.idle = match options.text("idle")? {
            "wait" => node::Idle::Wait,
            _ => node::Idle::Yield,
        };
    }
    settings.properties = options.properties().collect();
    let node = Node::launch(settings.config()?, vec![Box::new(Echo)])?;
    node.wait()?;
    Err("the node ended".into())
}

/// A client with a driver of its own.
struct Session {
    /// Stepped with the client, unless it has a thread.
    driver: Option<Invoker>,
    _thread: Option<AgentThread>,
    cluster: ClusterClient,
    message: Vec<u8>,
    idle: Idle,
    network: Arc<dyn Network>,
    /// When a part of it has to be stepped again at the latest.
    due: Nanos,
}

impl Session {
    fn start(options: &Options, has_thread: bool) -> Result<Self, Failure> {
        let ports = os::ports(None)?;
        let (mut driver, mut thread) = (None, None);
        if has_thread {
            thread = Some(start_driver(options)?);
        } else {
            let agents = driver::launch(options.driver_config()?, &ports, os::clock::now())?;
            driver = Some(Invoker::new(Box::new(agents.together())));
        }
        let directory = options.text("dir")?.into();
        let aeron = client::Config { directory, ..client::Config::default() };
        let mut connecting = client::Client::connect(aeron, &ports, os::clock::now());
        let aeron = loop {
            let now = os::clock::now();
            let _ = driver.as_mut().map(|driver| driver.step(now));
            if let Some(aeron) = connecting.poll(now)? {
                break aeron;
            }
            std::thread::yield_now();
        };
        let config = cluster_client::Config {
            ingress_channel: options.text("ingress-channel")?.to_string(),
            ingress_endpoints: options.text("ingress")?.to_string(),
            egress_channel: options.text("egress")?.to_string(),
            message_timeout: LIMIT,
            ..cluster_client::Config::default()
        };
        let now = os::clock::now();
        let cluster = ClusterClient::connect(config, Box::new(NoCredentials), aeron, now);
        let (message, idle) = (options.message()?, Idle::new(options.strategy()?));
        let (network, due) = (ports.network, now.mono);
        Ok(Self { driver, _thread: thread, cluster, message, idle, network, due })
    }

    fn open(&mut self) -> Result<(), Failure> {
        while !self.cluster.is_connected() {
            let now = os::clock::now();
            let done = self.step(now)?;
            self.idle(done, now);
        }
        Ok(())
    }

    fn step(&mut self, now: Now) -> Result<usize, Failure> {
        let (mut done, mut due) = (0, Nanos::MAX);
        if let Some(driver) = &mut self.driver {
            let work = driver.step(now);
            done += work.done;
            due = work.next_deadline;
            if let Some(halt) = driver.halted() {
                return Err(format!("driver: {halt:?}").into());
            }
        }
        let work = self.cluster.do_work(now)?;
        self.due = due.min(work.next_deadline);
        Ok(done + work.done)
    }

    fn idle(&mut self, done: usize, now: Now) {
        let until_due = (self.due - now.mono).max(Nanos(0));
        os::thread::perform(self.idle.after(done, until_due), self.network.as_ref());
    }

    /// Hands over when each message was sent that has come back; returns how many.
    fn poll(&mut self, now: Now, mut on_echo: impl FnMut(Nanos)) -> usize {
        self.cluster.poll(FRAGMENT_LIMIT, now, |event| {
            if let EgressEvent::Message { payload, .. } = event
                && let Some(stamp) = payload.first_chunk()
            {
                on_echo(Nanos(i64::from_le_bytes(*stamp)));
            }
        })
    }

    /// Sends a message with the time in it; false if it has to wait.
    fn send(&mut self) -> Result<bool, Failure> {
        let stamp = self.message.first_chunk_mut().ok_or("length: at least 8")?;
        *stamp = os::clock::now_mono().0.to_le_bytes();
        match self.cluster.offer(&self.message) {
            Ok(()) => Ok(true),
            Err(
                OfferError::BackPressured | OfferError::NotConnected | OfferError::AwaitingLeader,
            ) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Keeps messages under way.
struct Load {
    session: Session,
    window: usize,
    under_way: usize,
    heard_at: Nanos,
    /// Nanoseconds that each took in the last run.
    times: Vec<i64>,
}

impl Load {
    fn run(&mut self, span: Nanos) -> Result<Nanos, Failure> {
        let end = os::clock::now_mono() + span;
        self.times.clear();
        loop {
            let now = os::clock::now();
            if now.mono >= end || self.times.len() + FRAGMENT_LIMIT > self.times.capacity() {
                return Ok(now.mono);
            }
            let done = self.pass(now)?;
            self.session.idle(done, now);
        }
    }

    fn pass(&mut self, now: Now) -> Result<usize, Failure> {
        let mut done = self.session.step(now)?;
        let times = &mut self.times;
        let before = times.len();
        let on_echo = |sent| times.push((os::clock::now_mono() - sent).0);
        done += self.session.poll(now, on_echo);
        let heard = self.times.len() - before;
        self.under_way -= heard;
        if heard > 0 || self.under_way == 0 {
            self.heard_at = now.mono;
        } else if now.mono - self.heard_at > LOSS_LIMIT {
            return Err(format!("{} messages are lost", self.under_way).into());
        }
        while self.under_way < self.window && self.session.send()? {
            self.under_way += 1;
            done += 1;
        }
        Ok(done)
    }
}

pub(super) fn load(options: &Options) -> Result<(), Failure> {
    let mut session = Session::start(options, false)?;
    session.open()?;
    let window = options.number("window")?;
    let times = Vec::with_capacity(options.number("samples")?);
    let mut load = Load { session, window, under_way: 0, heard_at: os::clock::now_mono(), times };
    load.run(options.span("warm-up-ms")?)?;
    println!("MEASURING");
    let start = os::clock::now_mono();
    let end = load.run(options.span("measure-ms")?)?;
    latency::write(Path::new(options.text("out")?), &load.times)?;
    let messages = load.times.len() as u64;
    measured(messages, messages * load.session.message.len() as u64, end - start);
    Ok(())
}

pub(super) fn first_echo(options: &Options) -> Result<(), Failure> {
    let mut session = Session::start(options, false)?;
    println!("READY");
    session.open()?;
    let (mut is_sent, mut is_heard) = (false, false);
    while !is_heard {
        let now = os::clock::now();
        session.step(now)?;
        session.poll(now, |_| is_heard = true);
        is_sent = is_sent || session.send()?;
        session.idle(0, now);
    }
    println!("ECHO");
    // Whoever waits for it still looks at this process.
    os::thread::sleep(LIMIT);
    Ok(())
}

/// Sends at a rate, whatever comes of it, until an echo tells that a dead leader has a successor.
pub(super) fn outage(options: &Options) -> Result<(), Failure> {
    let mut session = Session::start(options, true)?;
    session.open()?;
    println!("LEADER {}", session.cluster.leader_member_id().ok_or("nobody leads")?);
    let interval = Nanos::from_micros(options.number::<u32>("interval-us")?.into());
    let path = Path::new(options.text("killed")?);
    let start = os::clock::now_mono();
    let warm = start + options.span("warm-up-ms")?;
    let (mut next, mut next_look) = (start, warm);
    let (mut killed, mut back) = (Nanos::MAX, None);
    let mut is_warm = false;
    while back.is_none() {
        let now = os::clock::now();
        let mut done = session.step(now)?;
        done += session.poll(now, |sent| {
            if sent > killed && back.is_none() {
                back = Some(os::clock::now_mono());
            }
        });
        while next <= now.mono {
            session.send()?;
            next = next + interval;
        }
        if now.mono >= next_look {
            if !is_warm {
                is_warm = true;
                println!("MEASURING");
            }
            if let Ok(text) = std::fs::read_to_string(path) {
                killed = Nanos(text.parse()?);
                next_look = Nanos::MAX;
            } else {
                next_look = now.mono + LOOK_INTERVAL;
            }
        }
        session.idle(done, now);
    }
    println!("OUTAGE {}", back.map_or(0, |back| (back - killed).0));
    os::thread::sleep(LIMIT);
    Ok(())
}
