//! The hot paths of transport on one thread, to be counted instruction by instruction:
//!
//! ```text
//! cargo build --release -p coracle --example steps
//! valgrind --tool=callgrind target/release/examples/steps ipc 2000
//! callgrind_annotate --inclusive=yes callgrind.out.PID
//! ```
//!
//! `ipc` passes 32 bytes within one driver, `udp` 1 KiB between two, `idle` steps those without a
//! message. Every measured part is a function of its own, which is not inlined: its inclusive count
//! divided by its calls is what it takes, whatever else the machine does meanwhile.

use std::error::Error;
use std::hint::black_box;

use coracle::client::{self, Client, ExclusivePublication, Pending, Subscription};
use coracle::driver::{self, DriverAgents};
use coracle::os;
use coracle::runtime::{Agent, Nanos, Now, Ports};
use coracle::wire::position::StreamId;

/// Messages offered, fragments polled and polls of nothing in one round.
const ROUND: usize = 64;
/// Passes until something must have come about.
const PATIENCE: usize = 100_000;

type Failure = Box<dyn Error>;

/// A driver and its client, stepped by hand.
struct Side {
    agents: DriverAgents,
    client: Client,
}

impl Side {
    fn launch(name: &str, ports: &Ports) -> Result<Self, Failure> {
        let directory = format!("coracle-steps-{name}-{}", std::process::id());
        let directory = std::path::Path::new("/dev/shm").join(directory);
        let mut config = driver::Config::at(&directory);
        config.directory.delete_on_shutdown = true;
        for (name, value) in [
            ("aeron.ipc.term.buffer.length", "1m"),
            ("aeron.term.buffer.length", "16m"),
            ("aeron.socket.so_sndbuf", "2m"),
            ("aeron.socket.so_rcvbuf", "2m"),
            ("aeron.rcv.initial.window.length", "2m"),
        ] {
            config.set(name, value)?;
        }
        let agents = driver::launch(config, ports, os::clock::now())?;
        let config = client::Config { directory, ..Default::default() };
        let mut connecting = Client::connect(config, ports, os::clock::now());
        for _ in 0..PATIENCE {
            if let Some(client) = connecting.poll(os::clock::now())? {
                return Ok(Self { agents, client });
            }
            os::thread::sleep(Nanos::from_micros(100));
        }
        Err("no driver".into())
    }

    fn step(&mut self, now: Now) -> Result<(), Failure> {
        conductor_pass(&mut self.agents, now)?;
        sender_pass(&mut self.agents, now)?;
        receiver_pass(&mut self.agents, now)?;
        let _work = self.client.do_work(now)?;
        Ok(())
    }

    fn wait<T>(&mut self, mut pending: Pending<T>) -> Result<T, Failure> {
        for _ in 0..PATIENCE {
            self.step(os::clock::now())?;
            if let Some(answer) = pending.poll()? {
                return Ok(answer);
            }
            os::thread::sleep(Nanos::from_micros(10));
        }
        Err("no answer".into())
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.agents.conductor.on_close(os::clock::now());
    }
}

#[inline(never)]
fn conductor_pass(agents: &mut DriverAgents, now: Now) -> Result<usize, Failure> {
    Ok(agents.conductor.do_work(now)?.done)
}

#[inline(never)]
fn sender_pass(agents: &mut DriverAgents, now: Now) -> Result<usize, Failure> {
    Ok(agents.sender.do_work(now)?.done)
}

#[inline(never)]
fn receiver_pass(agents: &mut DriverAgents, now: Now) -> Result<usize, Failure> {
    Ok(agents.receiver.do_work(now)?.done)
}

#[inline(never)]
fn offers(publication: &mut ExclusivePublication, message: &[u8]) -> usize {
    (0..ROUND).filter(|_| publication.offer(black_box(message)).is_ok()).count()
}

#[inline(never)]
fn polls(subscription: &mut Subscription) -> usize {
    let mut bytes = 0;
    subscription.poll(ROUND, |fragment| bytes += fragment.payload().len());
    bytes
}

#[inline(never)]
fn empty_polls(subscription: &mut Subscription) -> usize {
    (0..ROUND).map(|_| subscription.poll(ROUND, |_| {})).sum()
}

fn ipc(rounds: usize) -> Result<(), Failure> {
    let ports = os::ports(Some(7))?;
    let mut side = Side::launch("ipc", &ports)?;
    let pending = side.client.add_subscription("aeron:ipc", StreamId(7));
    let mut subscription = side.wait(pending)?;
    let pending = side.client.add_exclusive_publication("aeron:ipc", StreamId(7));
    let mut publication = side.wait(pending)?;
    let message = [7; 32];
    for _ in 0..rounds {
        black_box(offers(&mut publication, &message));
        black_box(polls(&mut subscription));
        black_box(empty_polls(&mut subscription));
        conductor_pass(&mut side.agents, os::clock::now())?;
        let _work = side.client.do_work(os::clock::now())?;
    }
    Ok(())
}

/// Streams over the loopback interface, one way; nothing is sent when `is_idle`.
fn udp(rounds: usize, is_idle: bool) -> Result<(), Failure> {
    let ports = os::ports(Some(7))?;
    let (mut here, mut there) = (Side::launch("here", &ports)?, Side::launch("there", &ports)?);
    let channel = "aeron:udp?endpoint=127.0.0.1:23457";
    let pending = there.client.add_subscription(channel, StreamId(7));
    let mut subscription = there.wait(pending)?;
    let pending = here.client.add_exclusive_publication(channel, StreamId(7));
    let mut publication = here.wait(pending)?;
    let message = [7; 1024];
    for _ in 0..PATIENCE {
        here.step(os::clock::now())?;
        there.step(os::clock::now())?;
        subscription.update();
        if publication.is_connected() && subscription.is_connected() {
            break;
        }
        os::thread::sleep(Nanos::from_micros(10));
    }
    for _ in 0..rounds {
        if !is_idle {
            black_box(offers(&mut publication, &message));
        }
        here.step(os::clock::now())?;
        there.step(os::clock::now())?;
        black_box(polls(&mut subscription));
        here.step(os::clock::now())?;
        there.step(os::clock::now())?;
        black_box(polls(&mut subscription));
    }
    Ok(())
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [case, rounds] if case == "ipc" => ipc(rounds.parse()?),
        [case, rounds] if case == "udp" => udp(rounds.parse()?, false),
        [case, rounds] if case == "idle" => udp(rounds.parse()?, true),
        _ => Err("usage: steps ipc|udp|idle ROUNDS".into()),
    }
}
