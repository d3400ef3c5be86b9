//! Publishing, sending, receiving and polling allocate nothing once they run.

#![allow(unsafe_code)] // A global allocator is one.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use common::*;
use runtime::network::{
    BufferLengths, Datagram, Interface, Network, Outgoing, Socket, SocketOptions,
};
use runtime::{Agent, Nanos, Now};
use wire::control::Request;
use wire::counters::SystemCounter;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: it only counts, and leaves the work to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(address, layout) }
    }
}

const SLOTS: usize = 512;

/// Datagrams on their way to one port; loses every so many, so that NAKs are on the path too.
struct Inbox {
    slots: Vec<(SocketAddr, usize, [u8; 1500])>,
    head: usize,
    tail: usize,
}

#[derive(Default)]
struct Loopback {
    inboxes: Mutex<BTreeMap<u16, Arc<Mutex<Inbox>>>>,
    carried: Mutex<u64>,
}

struct LoopbackNetwork(Arc<Loopback>);

struct LoopbackSocket {
    network: Arc<Loopback>,
    local: SocketAddr,
    peer: Option<SocketAddr>,
    inbox: Arc<Mutex<Inbox>>,
}

impl Network for LoopbackNetwork {
    fn bind(&self, options: &SocketOptions) -> io::Result<Box<dyn Socket>> {
        let mut inboxes = self.0.inboxes.lock().unwrap();
        let mut local = options.local;
        local.set_ip([127, 0, 0, 1].into());
        if local.port() == 0 {
            local.set_port(40_000 + u16::try_from(inboxes.len()).unwrap());
        }
        let empty = (local, 0, [0; 1500]);
        let inbox = Arc::new(Mutex::new(Inbox { slots: vec![empty; SLOTS], head: 0, tail: 0 }));
        inboxes.insert(local.port(), Arc::clone(&inbox));
        let network = Arc::clone(&self.0);
        Ok(Box::new(LoopbackSocket { network, local, peer: options.connect, inbox }))
    }

    fn interfaces(&self) -> io::Result<Vec<Interface>> {
        Ok(Vec::new())
    }

    fn default_buffer_lengths(&self) -> io::Result<BufferLengths> {
        Ok(BufferLengths { send: 1 << 20, receive: 1 << 20 })
    }

    fn wait(&self, _span: Nanos) {}
}

impl Socket for LoopbackSocket {
    fn local_address(&self) -> SocketAddr {
        self.local
    }

    fn buffer_lengths(&self) -> BufferLengths {
        BufferLengths { send: 1 << 20, receive: 1 << 20 }
    }

    fn receive(&mut self, limit: usize, on: &mut dyn FnMut(Datagram<'_>)) -> io::Result<usize> {
        let mut inbox = self.inbox.lock().unwrap();
        let mut count = 0;
        while count < limit && inbox.head < inbox.tail {
            let (source, length, bytes) = &inbox.slots[inbox.head % SLOTS];
            on(Datagram { source: *source, bytes: &bytes[..*length], received: None });
            inbox.head += 1;
            count += 1;
        }
        Ok(count)
    }

    fn send(&mut self, batch: &[Outgoing<'_>]) -> io::Result<usize> {
        let mut count = 0;
        for outgoing in batch {
            let to = outgoing.to.or(self.peer).unwrap();
            let inboxes = self.network.inboxes.lock().unwrap();
            let mut carried = self.network.carried.lock().unwrap();
            for datagram in outgoing.datagrams {
                *carried += 1;
                count += 1;
                let Some(inbox) = inboxes.get(&to.port()).filter(|_| !carried.is_multiple_of(101))
                else {
                    continue;
                };
                let mut inbox = inbox.lock().unwrap();
                if inbox.tail - inbox.head < SLOTS {
                    let at = inbox.tail % SLOTS;
                    inbox.slots[at].0 = self.local;
                    inbox.slots[at].1 = datagram.len();
                    inbox.slots[at].2[..datagram.len()].copy_from_slice(datagram);
                    inbox.tail += 1;
                }
            }
        }
        Ok(count)
    }

    fn connect(&mut self, peer: SocketAddr) -> io::Result<()> {
        self.peer = Some(peer);
        Ok(())
    }
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    drop(Box::new(1));
    assert_eq!(ALLOCATIONS.get(), before + 1);
}

/// Method: the whole path of one host, over a network that allocates nothing itself, through many
/// terms, losses, status messages and timer passes.
#[test]
fn a_running_stream_allocates_nothing_from_publisher_to_subscriber() {
    const DIRECTORY: &str = "/dev/shm/driver";
    let (mut world, hosts) = world(1, 1);
    let process = world.spawn(hosts[0], |_| Vec::new());
    let mut ports = world.ports(process);
    ports.network = Arc::new(LoopbackNetwork(Arc::new(Loopback::default())));
    let start = world.now(hosts[0]);
    let mut agents = coracle_driver::launch(config(DIRECTORY), &ports, start).unwrap().together();
    let mut client = Client::connect(&mut world, hosts[0], DIRECTORY);
    let mut elapsed = Nanos(0);
    let mut step = |agents: &mut dyn Agent| {
        elapsed = elapsed + Nanos::from_micros(50);
        let mono = start.mono + elapsed;
        let epoch = runtime::EpochNanos(start.epoch.0 + elapsed.0);
        let _work = agents.do_work(Now { mono, epoch }).unwrap();
    };
    let channel = "aeron:udp?endpoint=127.0.0.1:20000|term-length=64k";
    client.send(Request::AddSubscription { stream_id: STREAM, channel });
    client.send(Request::AddPublication { stream_id: STREAM, channel });
    for _ in 0..1_000 {
        step(&mut agents);
        world.run_for(Nanos::from_millis(1));
        client.receive();
    }
    let publication = client.seen.iter().find_map(|seen| match seen {
        Seen::Publication(ready) => Some(client.open(ready)),
        _ => None,
    });
    let publication = publication.unwrap();
    let subscription = client.seen.iter().find_map(|seen| match seen {
        Seen::Subscription { id, .. } => Some(*id),
        _ => None,
    });
    let mut image = client.only_image(subscription.unwrap());
    let bytes = [5; 1000];
    let mut fragments = 0;
    let mut round = |agents: &mut dyn Agent, count: usize| {
        for _ in 0..count {
            for _ in 0..10 {
                let _refused_sometimes = publication.offer(&bytes);
            }
            step(agents);
            fragments += image.skip();
        }
        std::mem::take(&mut fragments)
    };
    // Queues, scratch buffers and the loss report reach their sizes.
    round(&mut agents, 5_000);
    let before = ALLOCATIONS.get();
    let fragments = round(&mut agents, 50_000);
    assert_eq!(ALLOCATIONS.get(), before, "after {fragments} fragments");
    assert!(fragments > 10_000);
    assert!(client.system(SystemCounter::RetransmitsSent) > 20);
}
