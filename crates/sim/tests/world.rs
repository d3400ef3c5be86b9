//! What a simulated world promises to whatever is stepped in it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};

use coracle_sim::{HostId, LinkFaults, ProcessId, Verdict, World};
use memory::buffer::AtomicBuffer;
use runtime::agent::{Agent, Halt, Work};
use runtime::background::{Background, Job, Outcome};
use runtime::network::{Outgoing, Socket, SocketOptions};
use runtime::{Nanos, Now, Ports};

const PORT: u16 = 20_000;

fn ip(host: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, host).into()
}

fn at(host: u8) -> SocketAddr {
    (ip(host), PORT).into()
}

fn two_hosts(seed: u64) -> (World, HostId, HostId) {
    let mut world = World::new(seed);
    let one = world.add_host("one", &[ip(1)]);
    let two = world.add_host("two", &[ip(2)]);
    (world, one, two)
}

/// Sends a numbered datagram every millisecond.
struct Talker {
    socket: Box<dyn Socket>,
    to: SocketAddr,
    next: u32,
    due: Nanos,
    closed: Arc<Mutex<u32>>,
}

impl Agent for Talker {
    fn name(&self) -> &str {
        "talker"
    }

    fn do_work(&mut self, now: Now) -> Result<Work, Halt> {
        if now.mono < self.due {
            return Ok(Work::NONE.due(self.due));
        }
        self.due = now.mono + Nanos::from_millis(1);
        let bytes = self.next.to_le_bytes();
        let batch = [Outgoing { to: Some(self.to), datagrams: &[&bytes] }];
        assert_eq!(self.socket.send(&batch).unwrap(), 1);
        self.next += 1;
        Ok(Work::done(1))
    }

    fn on_close(&mut self, _now: Now) {
        *self.closed.lock().unwrap() += 1;
    }
}

/// Keeps the numbers that it hears.
struct Listener {
    socket: Box<dyn Socket>,
    heard: Arc<Mutex<Vec<u32>>>,
}

impl Agent for Listener {
    fn name(&self) -> &str {
        "listener"
    }

    fn do_work(&mut self, _now: Now) -> Result<Work, Halt> {
        let mut heard = self.heard.lock().unwrap();
        let count = self.socket.receive(16, &mut |datagram| {
            heard.push(u32::from_le_bytes(datagram.bytes.try_into().unwrap()));
        });
        Ok(Work::done(count.unwrap()))
    }
}

type Heard = Arc<Mutex<Vec<u32>>>;

fn talk(world: &mut World, host: HostId, to: SocketAddr) -> (ProcessId, Arc<Mutex<u32>>) {
    let closed = Arc::new(Mutex::new(0));
    let process = world.spawn(host, |ports| {
        let socket = bind(ports, 0);
        vec![Box::new(Talker { socket, to, next: 0, due: Nanos(0), closed: closed.clone() })]
    });
    (process, closed)
}

fn listen(world: &mut World, host: HostId) -> (ProcessId, Heard) {
    let heard = Heard::default();
    let process = world.spawn(host, |ports| {
        vec![Box::new(Listener { socket: bind(ports, PORT), heard: heard.clone() })]
    });
    (process, heard)
}

fn bind(ports: &Ports, port: u16) -> Box<dyn Socket> {
    let any = (Ipv4Addr::UNSPECIFIED, port).into();
    ports.network.bind(&SocketOptions::at(any)).unwrap()
}

fn sorted(heard: &Heard) -> Vec<u32> {
    let mut list = heard.lock().unwrap().clone();
    list.sort_unstable();
    list.dedup();
    list
}

#[test]
fn one_seed_gives_one_trace_and_another_seed_another() {
    let run = |seed| {
        let (mut world, one, two) = two_hosts(seed);
        world.set_links(LinkFaults { loss: 0.1, duplicate: 0.1, ..LinkFaults::default() });
        let (_, heard) = listen(&mut world, two);
        let _ = talk(&mut world, one, at(2));
        world.run_for(Nanos::from_secs(1));
        let heard = heard.lock().unwrap().clone();
        (world.trace_hash(), world.network_totals(), heard)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).0, run(8).0);
}

#[test]
fn a_quiet_link_delivers_everything_in_order() {
    let (mut world, one, two) = two_hosts(1);
    let (_, heard) = listen(&mut world, two);
    let _ = talk(&mut world, one, at(2));
    world.run_for(Nanos::from_secs(1));
    let heard = heard.lock().unwrap();
    assert!(heard.len() > 400, "{}", heard.len());
    assert!(heard.iter().copied().eq(0..u32::try_from(heard.len()).unwrap()));
}

#[test]
fn time_jumps_while_nothing_is_due() {
    let (mut world, _, two) = two_hosts(1);
    let _ = listen(&mut world, two);
    world.run_for(Nanos::from_secs(60));
    assert_eq!(world.elapsed(), Nanos::from_secs(60));
    assert!(world.passes() < 10_000, "{}", world.passes());
}

#[test]
fn each_fault_of_a_link_strikes_and_is_counted() {
    let (mut world, one, two) = two_hosts(3);
    world.set_link(
        one,
        two,
        LinkFaults {
            loss: 0.05,
            burst: 0.01,
            duplicate: 0.05,
            reorder: 0.05,
            corrupt: 0.05,
            reorder_span: Nanos::from_millis(5),
            ..LinkFaults::default()
        },
    );
    let (_, heard) = listen(&mut world, two);
    let _ = talk(&mut world, one, at(2));
    world.run_for(Nanos::from_secs(4));
    let totals = world.network_totals();
    let lost = totals.lost + totals.burst_lost;
    assert!(totals.lost > 0 && totals.burst_lost > 0, "{totals:?}");
    assert!(totals.duplicated > 0 && totals.reordered > 0 && totals.corrupted > 0, "{totals:?}");
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len() as u64, totals.delivered);
    assert!(totals.delivered.abs_diff(totals.sent + totals.duplicated - lost) <= 8, "{totals:?}");
    assert!(!heard.is_sorted(), "held back datagrams arrive late");
    assert!(heard.iter().any(|number| *number > 10_000), "flipped bits arrive flipped");
}

#[test]
fn a_cut_is_one_way_and_mending_ends_it() {
    let (mut world, one, two) = two_hosts(1);
    let (_, heard_by_one) = listen(&mut world, one);
    let (_, heard_by_two) = listen(&mut world, two);
    let _ = talk(&mut world, one, at(2));
    let _ = talk(&mut world, two, at(1));
    world.cut(one, two);
    world.run_for(Nanos::from_millis(100));
    assert_eq!(sorted(&heard_by_two), []);
    assert!(!sorted(&heard_by_one).is_empty());
    assert!(world.network_totals().cut > 0);
    world.mend();
    world.partition(&[one]);
    let before = sorted(&heard_by_one).len();
    world.run_for(Nanos::from_millis(100));
    assert!(sorted(&heard_by_one).len() <= before + 1 && sorted(&heard_by_two).is_empty());
    world.heal();
    world.run_for(Nanos::from_millis(100));
    assert!(!sorted(&heard_by_two).is_empty());
}

#[test]
fn a_filter_sees_every_datagram_and_decides() {
    let (mut world, one, two) = two_hosts(1);
    let (_, heard) = listen(&mut world, two);
    let _ = talk(&mut world, one, at(2));
    world.set_filter(move |passing| {
        assert_eq!((passing.from, passing.to, passing.destination), (one, two, at(2)));
        if passing.bytes[0] % 2 == 1 { Verdict::Drop } else { Verdict::Pass }
    });
    world.run_for(Nanos::from_millis(100));
    assert!(sorted(&heard).len() > 10);
    assert!(sorted(&heard).iter().all(|number| number % 2 == 0));
    assert!(world.network_totals().filtered > 10);
}

#[test]
fn a_kill_is_silent_and_a_stop_is_not() {
    let (mut world, one, two) = two_hosts(1);
    let (_, heard) = listen(&mut world, two);
    let (killed, closed_by_kill) = talk(&mut world, one, at(2));
    world.run_for(Nanos::from_millis(50));
    world.kill(killed);
    world.run_for(Nanos::from_millis(50));
    let before = heard.lock().unwrap().len();
    world.run_for(Nanos::from_millis(50));
    assert_eq!((heard.lock().unwrap().len(), *closed_by_kill.lock().unwrap()), (before, 0));
    let (stopped, closed_by_stop) = talk(&mut world, one, at(2));
    world.run_for(Nanos::from_millis(50));
    world.stop(stopped);
    assert_eq!(*closed_by_stop.lock().unwrap(), 1);
    assert!(!world.is_running(killed) && !world.is_running(stopped));
    assert!(heard.lock().unwrap().len() > before);
}

#[test]
fn a_killed_process_leaves_its_port_and_its_lock_to_the_next() {
    let (mut world, _, two) = two_hosts(1);
    let lock_path = Path::new("/lock");
    let keep = |ports: &Ports| Box::leak(Box::new(ports.files.lock(lock_path).unwrap())).is_some();
    let (first, _) = listen(&mut world, two);
    assert!(keep(&world.ports(first)));
    let bare = world.spawn(two, |_| Vec::new());
    let ports = world.ports(bare);
    assert!(ports.network.bind(&SocketOptions::at(at(2))).is_err());
    assert!(ports.files.lock(lock_path).unwrap().is_none());
    world.kill(first);
    assert!(ports.network.bind(&SocketOptions::at(at(2))).is_ok());
    assert!(keep(&ports));
}

#[test]
fn a_paused_process_does_nothing_and_then_goes_on() {
    let (mut world, one, two) = two_hosts(1);
    let (_, heard) = listen(&mut world, two);
    let (talker, _) = talk(&mut world, one, at(2));
    world.pause(talker, Nanos::from_millis(100));
    world.run_for(Nanos::from_millis(90));
    assert_eq!(heard.lock().unwrap().len(), 0);
    world.run_for(Nanos::from_millis(90));
    assert!(heard.lock().unwrap().len() > 20);
}

#[test]
fn processes_of_one_host_share_mapped_bytes_which_outlive_them() {
    let (mut world, one, two) = two_hosts(1);
    let path = Path::new("/shared");
    let ids = [one, one, two].map(|host| world.spawn(host, |_| Vec::new()));
    let [writer, reader, stranger] = ids.map(|id| world.ports(id));
    let written = writer.files.create_mapped(path, 4_096, true).unwrap();
    let read = reader.files.map(path).unwrap();
    AtomicBuffer::new(written.region().clone()).store_i64(8, 42);
    assert_eq!(AtomicBuffer::new(read.region().clone()).load_i64(8), 42);
    assert!(stranger.files.map(path).is_err());
    world.kill(ids[0]);
    world.kill(ids[1]);
    drop((written, read));
    let next = world.spawn(one, |_| Vec::new());
    let file = world.ports(next).files.open(path).unwrap();
    let mut bytes = [0; 8];
    assert_eq!(file.read_at(&mut bytes, 8).unwrap(), 8);
    assert_eq!(i64::from_le_bytes(bytes), 42);
}

#[test]
fn the_files_of_a_dead_process_take_nothing_more() {
    let (mut world, one, _) = two_hosts(1);
    let process = world.spawn(one, |_| Vec::new());
    let ports = world.ports(process);
    let file = ports.files.create(Path::new("/file")).unwrap();
    world.kill(process);
    assert!(file.write_at(b"late", 0).is_err());
    assert!(ports.files.remove(Path::new("/file")).is_err());
}

#[test]
fn background_jobs_take_time_keep_their_order_and_die_with_their_process() {
    let (mut world, one, _) = two_hosts(1);
    world.set_background_delay(Nanos::from_millis(1), Nanos::from_millis(2));
    let process = world.spawn(one, |_| Vec::new());
    let ports = world.ports(process);
    let mut window = ports.background();
    let create = |name: &str| Job::CreateZeroed { path: name.into(), length: 100, sync: true };
    let tickets = [
        window.submit(create("/a")),
        window.submit(create("/a")),
        window.submit(Job::Resolve("two".into())),
        window.submit(Job::Resolve("nobody".into())),
    ];
    let mut seen = Vec::new();
    let mut collect = |window: &mut Box<dyn Background>| {
        window.poll(&mut |ticket, outcome| {
            seen.push((
                ticket,
                match outcome {
                    Outcome::Opened(file) => format!("opened {}", file.length().unwrap()),
                    Outcome::Resolved(list) => format!("resolved {}", list[0]),
                    Outcome::Failed(error) => format!("failed {:?}", error.kind()),
                    Outcome::Done | Outcome::Mapped(_) => "other".to_owned(),
                },
            ));
        })
    };
    assert_eq!(collect(&mut window), 0);
    world.run_for(Nanos::from_millis(3));
    assert_eq!(collect(&mut window), 4);
    let expected = ["opened 100", "failed AlreadyExists", "resolved 10.0.0.2", "failed NotFound"];
    let expected: Vec<_> = tickets.into_iter().zip(expected.map(str::to_owned)).collect();
    assert_eq!(seen, expected);
    let _ = window.submit(create("/never"));
    world.kill(process);
    world.run_for(Nanos::from_millis(10));
    let next = world.spawn(one, |_| Vec::new());
    assert_eq!(world.ports(next).files.entry(Path::new("/never")).unwrap(), None);
}
