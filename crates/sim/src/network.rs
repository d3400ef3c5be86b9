//! The network port in memory: sockets of many hosts, and the datagrams between them.
//!
//! Delivery is by address and port as in the kernel. Each datagram passes the filter and the faults
//! of its link when it is sent, and waits in flight until it is due. Every host has its loopback
//! addresses, on which nothing is harmed unless the link from the host to itself says so.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use runtime::Nanos;
use runtime::network::SocketOptions;
use runtime::random::Rng;
use rustc_hash::FxHashMap;

use crate::current::Addressee;
use crate::links::{Link, LinkFaults, NetworkTotals, Passing, Verdict, corrupt, truncate};
use crate::trace::Trace;
use crate::world::{HostId, ProcessId};

/// What Linux gives by default.
pub(crate) const DEFAULT_BUFFER_LENGTH: usize = 212_992;
/// The largest payload of a UDP datagram over IPv4.
const DATAGRAM_LENGTH_MAX: usize = 65_507;
/// What a datagram takes of a receive buffer beyond its bytes, about as in Linux.
const DATAGRAM_OVERHEAD: usize = 256;
/// Ports given to sockets that ask for none.
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32_768..=60_999;

type Filter = Box<dyn FnMut(&Passing<'_>) -> Verdict + Send>;

struct HostNetwork {
    addresses: Vec<IpAddr>,
    /// Sockets by port, in the order in which they were bound.
    ports: FxHashMap<u16, Vec<usize>>,
    next_ephemeral: u16,
}

struct BoundSocket {
    /// Who looks at it.
    owner: Addressee,
    local: SocketAddr,
    peer: Option<SocketAddr>,
    group: Option<IpAddr>,
    reuse_address: bool,
    /// Places of packets.
    inbox: VecDeque<usize>,
    /// How many they are.
    waiting: Arc<AtomicUsize>,
    inbox_length: usize,
    receive_length: usize,
}

impl BoundSocket {
    /// How well a datagram suits this socket; `None` when it is not for it.
    fn suits(&self, source: SocketAddr, destination: SocketAddr) -> Option<u8> {
        let ip = self.local.ip();
        if ip.is_ipv4() != destination.is_ipv4()
            || self.peer.is_some_and(|peer| peer != source)
            || !(ip == destination.ip() || ip.is_unspecified())
        {
            return None;
        }
        Some(u8::from(self.peer.is_some()) * 2 + u8::from(!ip.is_unspecified()))
    }
}

#[derive(Default)]
struct Packet {
    source: Option<SocketAddr>,
    destination: Option<SocketAddr>,
    host: usize,
    bytes: Vec<u8>,
}

/// The state of the whole network.
pub(crate) struct NetworkCore {
    now: Nanos,
    rng: Rng,
    hosts: Vec<HostNetwork>,
    names: BTreeMap<String, Vec<IpAddr>>,
    owners: FxHashMap<IpAddr, HostId>,
    /// Rows by sender.
    links: Vec<Vec<Link>>,
    /// By id; an id is never used again, so that a closed socket cannot be mistaken for another.
    sockets: Vec<Option<BoundSocket>>,
    /// Members of each group at a port, in the order in which they joined.
    groups: BTreeMap<(IpAddr, u16), Vec<usize>>,
    /// When due, in which order sent, place of the packet.
    flight: BinaryHeap<Reverse<(Nanos, u64, usize)>>,
    sequence: u64,
    packets: Vec<Packet>,
    free: Vec<usize>,
    /// Who got something in the delivery under way.
    called: Vec<Addressee>,
    filter: Option<Filter>,
    totals: NetworkTotals,
    trace: Trace,
}

impl NetworkCore {
    pub(crate) fn new(rng: Rng) -> Self {
        Self {
            now: Nanos(0),
            rng,
            hosts: Vec::new(),
            names: BTreeMap::new(),
            owners: FxHashMap::default(),
            links: Vec::new(),
            sockets: Vec::new(),
            groups: BTreeMap::new(),
            flight: BinaryHeap::new(),
            sequence: 0,
            packets: Vec::new(),
            free: Vec::new(),
            called: Vec::new(),
            filter: None,
            totals: NetworkTotals::default(),
            trace: Trace::default(),
        }
    }

    pub(crate) fn add_host(&mut self, name: &str, addresses: &[IpAddr], faults: LinkFaults) {
        let id = self.hosts.len();
        for address in addresses {
            let usable =
                !address.is_loopback() && !address.is_multicast() && !address.is_unspecified();
            assert!(usable, "{address} cannot be the address of a host");
            let owner = self.owners.insert(*address, HostId(id));
            assert!(owner.is_none(), "{address} belongs to another host");
        }
        self.names.insert(name.to_owned(), addresses.to_vec());
        self.hosts.push(HostNetwork {
            addresses: addresses.to_vec(),
            ports: FxHashMap::default(),
            next_ephemeral: *EPHEMERAL.start(),
        });
        for row in &mut self.links {
            row.push(Link::new(faults));
        }
        let of = |to| Link::new(if to == id { LinkFaults::default() } else { faults });
        self.links.push((0..=id).map(of).collect());
    }

    pub(crate) fn set_name(&mut self, name: &str, addresses: &[IpAddr]) {
        self.names.insert(name.to_owned(), addresses.to_vec());
    }

    /// The addresses of a name or literal, best first.
    pub(crate) fn resolve(&self, name: &str) -> Option<Vec<IpAddr>> {
        if let Ok(literal) = name.parse::<IpAddr>() {
            return Some(vec![literal]);
        }
        if name == "localhost" {
            return Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        self.names.get(name).filter(|addresses| !addresses.is_empty()).cloned()
    }

    pub(crate) fn link_mut(&mut self, from: HostId, to: HostId) -> &mut Link {
        &mut self.links[from.0][to.0]
    }

    /// Every link between two different hosts.
    pub(crate) fn for_each_link(&mut self, mut on: impl FnMut(HostId, HostId, &mut Link)) {
        for (from, row) in self.links.iter_mut().enumerate() {
            for (to, link) in row.iter_mut().enumerate().filter(|(to, _)| *to != from) {
                on(HostId(from), HostId(to), link);
            }
        }
    }

    pub(crate) fn set_filter(&mut self, filter: Option<Filter>) {
        self.filter = filter;
    }

    pub(crate) fn totals(&self) -> NetworkTotals {
        self.totals
    }

    pub(crate) fn trace_value(&self) -> u64 {
        self.trace.value()
    }

    pub(crate) fn set_now(&mut self, now: Nanos) {
        self.now = now;
    }

    /// When the next datagram arrives.
    pub(crate) fn next_due(&self) -> Nanos {
        self.flight.peek().map_or(Nanos::MAX, |Reverse((due, _, _))| *due)
    }

    /// Puts what is due into the buffers of sockets, and tells which hosts got something.
    pub(crate) fn deliver(&mut self, now: Nanos, on: impl FnMut(Addressee)) {
        while self.next_due() <= now {
            let Some(Reverse((due, _, place))) = self.flight.pop() else { return };
            self.trace.mix_time(due);
            self.trace.mix_bytes(&self.packets[place].bytes);
            self.arrive(place);
        }
        self.called.drain(..).for_each(on);
    }

    fn arrive(&mut self, place: usize) {
        let packet = &self.packets[place];
        let (Some(source), Some(destination)) = (packet.source, packet.destination) else {
            return;
        };
        let host = packet.host;
        if destination.ip().is_multicast() {
            return self.arrive_at_group(place, source, destination, host);
        }
        let bound = self.hosts[host].ports.get(&destination.port());
        let best = bound.into_iter().flatten().filter_map(|&id| {
            let socket = self.sockets[id].as_ref()?;
            Some((socket.suits(source, destination)?, id))
        });
        match best.max() {
            Some((_, id)) => self.put(id, place),
            None => {
                self.totals.unreachable += 1;
                self.free.push(place);
            }
        }
    }

    /// A multicast goes to every member on the host: to each a packet of its own.
    fn arrive_at_group(
        &mut self,
        place: usize,
        source: SocketAddr,
        destination: SocketAddr,
        host: usize,
    ) {
        let key = (destination.ip(), destination.port());
        let members = self.groups.get(&key).cloned().unwrap_or_default();
        for id in members {
            let Some(socket) = self.sockets[id].as_ref() else { continue };
            if socket.owner.host.0 != host || socket.peer.is_some_and(|peer| peer != source) {
                continue;
            }
            let copy = self.place_for(source, destination, host);
            let mut bytes = mem::take(&mut self.packets[copy].bytes);
            bytes.extend_from_slice(&self.packets[place].bytes);
            self.packets[copy].bytes = bytes;
            self.put(id, copy);
        }
        self.free.push(place);
    }

    fn put(&mut self, id: usize, place: usize) {
        let length = self.packets[place].bytes.len() + DATAGRAM_OVERHEAD;
        match &mut self.sockets[id] {
            Some(socket) if socket.inbox_length + length <= socket.receive_length => {
                socket.inbox_length += length;
                socket.inbox.push_back(place);
                socket.waiting.store(socket.inbox.len(), Ordering::Relaxed);
                self.called.push(socket.owner);
                self.totals.delivered += 1;
                self.trace.mix(id as u64);
            }
            _ => {
                self.totals.overflowed += 1;
                self.free.push(place);
            }
        }
    }

    /// A place for a packet, with an empty buffer.
    fn place_for(&mut self, source: SocketAddr, destination: SocketAddr, host: usize) -> usize {
        let place = self.free.pop().unwrap_or_else(|| {
            self.packets.push(Packet::default());
            self.packets.len() - 1
        });
        let packet = &mut self.packets[place];
        (packet.source, packet.destination) = (Some(source), Some(destination));
        packet.host = host;
        packet.bytes.clear();
        place
    }

    pub(crate) fn bind(&mut self, owner: Addressee, options: &SocketOptions) -> io::Result<Bound> {
        let host = owner.host;
        let mut local = options.local;
        let network = &mut self.hosts[host.0];
        let ip = local.ip();
        let own = ip.is_unspecified()
            || ip.is_loopback()
            || ip.is_multicast()
            || network.addresses.contains(&ip);
        if !own {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        if local.port() == 0 {
            let port = network.free_port().ok_or(io::ErrorKind::AddrInUse)?;
            local.set_port(port);
        }
        let others = network.ports.entry(local.port()).or_default();
        let taken = others.iter().filter_map(|&id| self.sockets[id].as_ref()).any(|other| {
            let (one, two) = (other.local.ip(), local.ip());
            let overlap = one == two
                || one.is_ipv4() == two.is_ipv4() && (one.is_unspecified() || two.is_unspecified());
            overlap && !(other.reuse_address && options.reuse_address)
        });
        if taken {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let id = self.sockets.len();
        let waiting = Arc::new(AtomicUsize::new(0));
        others.push(id);
        if let Some(group) = options.group {
            self.groups.entry((group, local.port())).or_default().push(id);
        }
        self.sockets.push(Some(BoundSocket {
            owner,
            local,
            peer: options.connect,
            group: options.group,
            reuse_address: options.reuse_address,
            inbox: VecDeque::new(),
            waiting: Arc::clone(&waiting),
            inbox_length: 0,
            receive_length: granted(options.receive_buffer_length),
        }));
        Ok(Bound { id, local, waiting })
    }

    pub(crate) fn close(&mut self, id: usize) {
        let Some(socket) = self.sockets[id].take() else { return };
        let port = socket.local.port();
        if let Some(bound) = self.hosts[socket.owner.host.0].ports.get_mut(&port) {
            bound.retain(|other| *other != id);
        }
        if let Some(members) = socket.group.and_then(|group| self.groups.get_mut(&(group, port))) {
            members.retain(|other| *other != id);
        }
        self.free.extend(socket.inbox);
    }

    pub(crate) fn close_all(&mut self, process: ProcessId) {
        for id in 0..self.sockets.len() {
            if self.sockets[id].as_ref().is_some_and(|socket| socket.owner.process == process) {
                self.close(id);
            }
        }
    }

    pub(crate) fn connect(&mut self, id: usize, peer: SocketAddr) {
        if let Some(socket) = &mut self.sockets[id] {
            socket.peer = Some(peer);
        }
    }

    pub(crate) fn addresses(&self, host: HostId) -> &[IpAddr] {
        &self.hosts[host.0].addresses
    }

    /// Takes back the buffer of a datagram that was handed over.
    pub(crate) fn give_back(&mut self, place: usize, bytes: Vec<u8>) {
        self.packets[place].bytes = bytes;
        self.free.push(place);
    }

    /// Takes the next datagram of a socket, and back the place of the last one.
    pub(crate) fn take(&mut self, id: usize, done: Option<(usize, Vec<u8>)>) -> Option<Taken> {
        if let Some((place, bytes)) = done {
            self.give_back(place, bytes);
        }
        let socket = self.sockets[id].as_mut()?;
        let place = socket.inbox.pop_front()?;
        socket.waiting.store(socket.inbox.len(), Ordering::Relaxed);
        let packet = &mut self.packets[place];
        let bytes = mem::take(&mut packet.bytes);
        socket.inbox_length -= bytes.len() + DATAGRAM_OVERHEAD;
        Some(Taken { place, source: packet.source?, bytes })
    }

    pub(crate) fn send(
        &mut self,
        id: usize,
        to: Option<SocketAddr>,
        bytes: &[u8],
    ) -> io::Result<()> {
        // A socket of a process that has ended: its last words are not heard.
        let Some(socket) = &self.sockets[id] else { return Ok(()) };
        let Some(destination) = to.or(socket.peer) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        if bytes.len() > DATAGRAM_LENGTH_MAX || destination.port() == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (host, local) = (socket.owner.host, socket.local);
        if local.is_ipv4() != destination.is_ipv4() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut source = local;
        if local.ip().is_unspecified() || local.ip().is_multicast() {
            source.set_ip(self.hosts[host.0].source_towards(destination.ip()));
        }
        let ip = destination.ip();
        if ip.is_multicast() {
            self.send_to_group(host, source, destination, bytes);
        } else if ip.is_loopback() || ip.is_unspecified() {
            self.send_to_host(host, host, source, destination, bytes);
        } else if let Some(&owner) = self.owners.get(&ip) {
            self.send_to_host(host, owner, source, destination, bytes);
        } else {
            self.totals.sent += 1;
            self.totals.unreachable += 1;
        }
        Ok(())
    }

    fn send_to_group(
        &mut self,
        from: HostId,
        source: SocketAddr,
        destination: SocketAddr,
        bytes: &[u8],
    ) {
        for host in (0..self.hosts.len()).map(HostId) {
            let members = self.groups.get(&(destination.ip(), destination.port()));
            let socket = |id: &usize| self.sockets[*id].as_ref();
            let is_member = |id: &usize| socket(id).is_some_and(|it| it.owner.host == host);
            if members.is_some_and(|members| members.iter().any(is_member)) {
                self.send_to_host(from, host, source, destination, bytes);
            }
        }
    }

    fn send_to_host(
        &mut self,
        from: HostId,
        to: HostId,
        source: SocketAddr,
        destination: SocketAddr,
        bytes: &[u8],
    ) {
        self.totals.sent += 1;
        let verdict = self.filter.as_mut().map_or(Verdict::Pass, |filter| {
            filter(&Passing { from, to, source, destination, bytes })
        });
        let link = &mut self.links[from.0][to.0];
        let sent = (self.now, bytes.len());
        let fate = link.fate(sent, verdict, &mut self.rng, &mut self.totals);
        for due in fate.copies.into_iter().flatten() {
            let place = self.place_for(source, destination, to.0);
            let packet = &mut self.packets[place];
            packet.bytes.extend_from_slice(bytes);
            if fate.corrupt {
                corrupt(&mut packet.bytes, &mut self.rng);
            }
            if fate.truncate {
                truncate(&mut packet.bytes, &mut self.rng);
            }
            self.sequence += 1;
            self.flight.push(Reverse((due, self.sequence, place)));
        }
    }
}

impl HostNetwork {
    fn free_port(&mut self) -> Option<u16> {
        EPHEMERAL.into_iter().find_map(|_| {
            let port = self.next_ephemeral;
            self.next_ephemeral =
                if port >= *EPHEMERAL.end() { *EPHEMERAL.start() } else { port + 1 };
            self.ports.get(&port).is_none_or(Vec::is_empty).then_some(port)
        })
    }

    /// The address that a datagram without one of its own is sent from.
    fn source_towards(&self, destination: IpAddr) -> IpAddr {
        let own = self.addresses.iter().find(|own| own.is_ipv4() == destination.is_ipv4());
        match (destination, own) {
            (destination, Some(own)) if !destination.is_loopback() => *own,
            (IpAddr::V4(_), _) => Ipv4Addr::LOCALHOST.into(),
            (IpAddr::V6(_), _) => Ipv6Addr::LOCALHOST.into(),
        }
    }
}

/// The length of a buffer for the length asked.
pub(crate) fn granted(asked: usize) -> usize {
    if asked == 0 { DEFAULT_BUFFER_LENGTH } else { asked }
}

/// A socket that was bound.
pub(crate) struct Bound {
    pub(crate) id: usize,
    pub(crate) local: SocketAddr,
    /// How many datagrams wait for it.
    pub(crate) waiting: Arc<AtomicUsize>,
}

/// A datagram on its way to a handler, and the place that it goes back to.
pub(crate) struct Taken {
    pub(crate) place: usize,
    pub(crate) source: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}
