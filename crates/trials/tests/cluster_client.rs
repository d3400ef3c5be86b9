//! How a client of a cluster finds its leader, against members that are scripted here, over a real
//! driver in a simulated world.

#![allow(clippy::unwrap_used)]

use std::net::IpAddr;
use std::path::PathBuf;

use client::{Client, Pending, Publication, Subscription};
use cluster_client::{ClusterClient, Config, Credentials, SessionError};
use runtime::{Nanos, Now};
use sim::{HostId, World};
use wire::bytes::SemanticVersion;
use wire::cluster::egress::{Challenge, EventCode, SessionEvent};
use wire::cluster::ingress::{Ingress, SessionMessageHeader};
use wire::message::Message;
use wire::position::StreamId;

const DIRECTORY: &str = "/dev/shm/driver";
const MEMBERS: &str = "0=10.0.0.1:20000,1=10.0.0.1:20010";

/// What a member answers to a request for a session.
#[derive(Clone, Copy)]
enum Script {
    Redirect(i32),
    Accept,
    Challenge,
    Refuse,
    Reject,
    Ignore,
}

/// A member of the cluster.
struct Member {
    script: Script,
    ingress: Subscription,
    answering: Vec<(i64, Pending<Publication>)>,
    egress: Vec<Publication>,
    waiting: Vec<(i64, Publication)>,
    /// Payloads of session messages, and answers to challenges.
    heard: Vec<Vec<u8>>,
}

struct Lab {
    world: World,
    host: HostId,
    driver_client: Client,
    members: Vec<Member>,
}

/// Answers challenges with their bytes reversed.
struct Reversing;

impl Credentials for Reversing {
    fn encoded(&mut self) -> Vec<u8> {
        b"me".to_vec()
    }

    fn on_challenge(&mut self, challenge: &[u8]) -> Vec<u8> {
        challenge.iter().rev().copied().collect()
    }
}

impl Member {
    fn work(&mut self, client: &Client) {
        let mut came = Vec::new();
        self.ingress.poll(10, |fragment| came.push(fragment.payload().to_vec()));
        for message in came {
            match Ingress::decode(&message).unwrap().unwrap() {
                Ingress::SessionConnectRequest(request) => {
                    let channel = std::str::from_utf8(request.response_channel).unwrap();
                    assert!(channel.contains("rejoin=false") && !channel.contains(":0|"));
                    assert_eq!(request.encoded_credentials, b"me");
                    let stream = StreamId(request.response_stream_id);
                    let pending = client.add_publication(channel, stream);
                    self.answering.push((request.correlation_id, pending));
                }
                Ingress::ChallengeResponse(response) => {
                    self.heard.push(response.encoded_credentials.to_vec());
                    let publication = self.egress.pop().unwrap();
                    tell(&publication, response.correlation_id, EventCode::Ok, 1, "");
                }
                Ingress::SessionMessageHeader(_) => {
                    self.heard.push(SessionMessageHeader::payload(&message).to_vec());
                }
                _ => {}
            }
        }
        for index in (0..self.answering.len()).rev() {
            if let Some(publication) = self.answering[index].1.poll().unwrap() {
                let (correlation_id, _) = self.answering.remove(index);
                self.waiting.push((correlation_id, publication));
            }
        }
        for index in (0..self.waiting.len()).rev() {
            if self.waiting[index].1.available_window() > 0 && self.waiting[index].1.is_connected()
            {
                let (correlation_id, publication) = self.waiting.remove(index);
                self.answer(correlation_id, publication);
            }
        }
    }

    fn answer(&mut self, correlation_id: i64, publication: Publication) {
        match self.script {
            Script::Redirect(leader) => {
                tell(&publication, correlation_id, EventCode::Redirect, leader, MEMBERS);
            }
            Script::Accept => tell(&publication, correlation_id, EventCode::Ok, 1, ""),
            Script::Refuse => tell(&publication, correlation_id, EventCode::Error, 1, "full"),
            Script::Reject => {
                let code = EventCode::AuthenticationRejected;
                tell(&publication, correlation_id, code, 1, "who?");
            }
            Script::Challenge => {
                let challenge =
                    Challenge { correlation_id, cluster_session_id: 5, encoded_challenge: b"abc" };
                publication.offer(&encode(&challenge)).unwrap();
            }
            Script::Ignore => {}
        }
        self.egress.push(publication);
    }
}

fn tell(publication: &Publication, correlation_id: i64, code: EventCode, leader: i32, text: &str) {
    let event = SessionEvent {
        cluster_session_id: if code == EventCode::Ok { 5 } else { -1 },
        correlation_id,
        leadership_term_id: 3,
        leader_member_id: leader,
        code,
        version: SemanticVersion::new(0, 3, 0),
        leader_heartbeat_timeout_ns: Some(1_000_000_000),
        detail: text.as_bytes(),
    };
    publication.offer(&encode(&event)).unwrap();
}

fn encode<'a>(message: &impl Message<'a>) -> Vec<u8> {
    let mut bytes = vec![0; message.encoded_length()];
    message.encode(&mut bytes).unwrap();
    bytes
}

impl Lab {
    /// Two members, 0 and 1, with these scripts; `None` is not there.
    fn new(seed: u64, scripts: [Option<Script>; 2]) -> Self {
        let mut world = World::new(seed);
        let host = world.add_host("host", &[IpAddr::from([10, 0, 0, 1])]);
        start_driver(&mut world, host);
        let driver_client = connect(&mut world, host);
        let mut lab = Self { world, host, driver_client, members: Vec::new() };
        for (script, port) in scripts.into_iter().zip([20_000, 20_010]) {
            let Some(script) = script else { continue };
            let channel = format!("aeron:udp?endpoint=10.0.0.1:{port}");
            let mut pending = lab.driver_client.add_subscription(&channel, StreamId(101));
            lab.run(50);
            let ingress = pending.poll().unwrap().unwrap();
            lab.members.push(Member {
                script,
                ingress,
                answering: Vec::new(),
                egress: Vec::new(),
                waiting: Vec::new(),
                heard: Vec::new(),
            });
        }
        lab
    }

    fn now(&self) -> Now {
        self.world.now(self.host)
    }

    fn run(&mut self, passes: usize) {
        for _ in 0..passes {
            let _ = self.driver_client.do_work(self.now()).unwrap();
            self.members.iter_mut().for_each(|member| member.work(&self.driver_client));
            self.world.wake(self.host);
            self.world.run_for(Nanos::from_millis(1));
        }
    }

    fn client(&mut self) -> ClusterClient {
        let config = Config {
            ingress_endpoints: MEMBERS.to_string(),
            egress_channel: "aeron:udp?endpoint=10.0.0.1:0".to_string(),
            message_timeout: Nanos::from_secs(2),
            ..Config::default()
        };
        let transport = connect(&mut self.world, self.host);
        ClusterClient::connect(config, Box::new(Reversing), transport, self.now())
    }

    /// The client once it is connected, or why it will not be.
    fn connect(&mut self) -> Result<ClusterClient, SessionError> {
        let mut client = self.client();
        for _ in 0..10_000 {
            let _ = client.do_work(self.now())?;
            if client.is_connected() {
                return Ok(client);
            }
            self.run(1);
        }
        panic!("neither connected nor timed out");
    }
}

fn client_config() -> client::Config {
    client::Config { directory: PathBuf::from(DIRECTORY), ..client::Config::default() }
}

fn connect(world: &mut World, host: HostId) -> Client {
    let process = world.spawn(host, |_| Vec::new());
    let ports = world.ports(process);
    let mut connecting = Client::connect(client_config(), &ports, world.now(host));
    for _ in 0..100 {
        if let Some(client) = connecting.poll(world.now(host)).unwrap() {
            return client;
        }
        world.run_for(Nanos::from_millis(1));
    }
    panic!("no driver");
}

fn start_driver(world: &mut World, host: HostId) {
    let mut config = driver::Config::at(DIRECTORY);
    config.buffers.to_driver_length = (64 << 10) + 768;
    config.buffers.to_clients_length = (64 << 10) + 128;
    config.buffers.counters_values_length = 256 << 10;
    config.buffers.error_log_length = 64 << 10;
    config.buffers.loss_report_length = 16 << 10;
    config.terms.term_length = 64 << 10;
    config.terms.ipc_term_length = 64 << 10;
    let now = world.now(host);
    world.spawn(host, |ports| {
        let agents = driver::launch(config, ports, now).unwrap();
        vec![agents.conductor, agents.sender, agents.receiver]
    });
}

fn says(lab: &mut Lab, client: &mut ClusterClient, payload: &[u8]) {
    client.offer(payload).unwrap();
    for _ in 0..100 {
        let _ = client.do_work(lab.now()).unwrap();
        lab.run(1);
    }
}

#[test]
fn a_redirect_leads_to_the_leader_and_what_is_offered_goes_there() {
    for seed in 0..20 {
        let mut lab = Lab::new(seed, [Some(Script::Redirect(1)), Some(Script::Accept)]);
        let mut client = lab.connect().unwrap();
        assert_eq!((client.session_id(), client.leader_member_id()), (Some(5), Some(1)));
        says(&mut lab, &mut client, b"hello");
        assert_eq!(lab.members[0].heard, [b""; 0]);
        assert_eq!(lab.members[1].heard, [b"hello"]);
    }
}

#[test]
fn one_member_that_is_there_is_enough() {
    let mut lab = Lab::new(1, [None, Some(Script::Accept)]);
    assert_eq!(lab.connect().unwrap().leader_member_id(), Some(1));
}

#[test]
fn a_challenge_is_answered_by_the_credentials() {
    let mut lab = Lab::new(2, [None, Some(Script::Challenge)]);
    assert!(lab.connect().unwrap().is_connected());
    assert_eq!(lab.members[0].heard, [b"cba"]);
}

#[test]
fn refusals_say_what_the_cluster_said() {
    let mut lab = Lab::new(3, [None, Some(Script::Refuse)]);
    let refused = SessionError::Refused { detail: "full".to_string() };
    assert_eq!(lab.connect().err(), Some(refused));
    let mut lab = Lab::new(4, [None, Some(Script::Reject)]);
    let rejected = SessionError::AuthenticationRejected { detail: "who?".to_string() };
    assert_eq!(lab.connect().err(), Some(rejected));
}

#[test]
fn a_time_out_says_what_was_tried() {
    let mut lab = Lab::new(5, [None, None]);
    let error = lab.connect().err().unwrap().to_string();
    assert!(error.contains("waiting for a member to be connected"), "{error}");
    assert!(error.contains("0=10.0.0.1:20000 (not connected)"), "{error}");
    let mut lab = Lab::new(6, [Some(Script::Ignore), None]);
    let error = lab.connect().err().unwrap().to_string();
    assert!(error.contains("waiting for the answer to the request"), "{error}");
}

#[test]
fn a_redirect_to_nobody_is_followed_by_asking_again() {
    let mut lab = Lab::new(7, [Some(Script::Redirect(-1)), None]);
    let mut client = lab.client();
    for _ in 0..500 {
        let _ = client.do_work(lab.now()).unwrap();
        lab.run(1);
    }
    assert!(lab.members[0].egress.len() >= 2, "it asked once");
    lab.members[0].script = Script::Accept;
    for _ in 0..1_000 {
        let _ = client.do_work(lab.now()).unwrap();
        lab.run(1);
    }
    assert!(client.is_connected());
}

#[test]
fn without_a_leader_the_session_ends_when_the_announced_time_is_over() {
    let mut lab = Lab::new(8, [None, Some(Script::Accept)]);
    let mut client = lab.connect().unwrap();
    lab.members.clear();
    let error = (0..20_000).find_map(|_| {
        lab.run(1);
        client.do_work(lab.now()).err()
    });
    let Some(SessionError::NewLeaderTimeout { waited }) = error else { panic!("{error:?}") };
    assert!((2_000..2_100).contains(&waited.as_millis()), "{waited:?}");
}
