//! The network port of one process, and its sockets, over the core of the simulated network.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use runtime::Nanos;
use runtime::network::{
    BufferLengths, Datagram, Interface, Network, Outgoing, Socket, SocketOptions,
};

use crate::current::{Addressee, Current};
use crate::lock;
use crate::network::{Bound, DEFAULT_BUFFER_LENGTH, NetworkCore, granted};
use crate::world::{HostId, ProcessId};

/// The network port of one process.
pub(crate) struct SimNetwork {
    core: Arc<Mutex<NetworkCore>>,
    host: HostId,
    process: ProcessId,
    current: Current,
}

impl SimNetwork {
    pub(crate) fn new(
        core: Arc<Mutex<NetworkCore>>,
        (host, process): (HostId, ProcessId),
        current: Current,
    ) -> Self {
        Self { core, host, process, current }
    }
}

impl Network for SimNetwork {
    fn bind(&self, options: &SocketOptions) -> io::Result<Box<dyn Socket>> {
        let (host, process) = (self.host, self.process);
        let owner = Addressee { host, process, agent: self.current.get() };
        let Bound { id, local, waiting } = lock(&self.core).bind(owner, options)?;
        let lengths = BufferLengths {
            send: granted(options.send_buffer_length),
            receive: granted(options.receive_buffer_length),
        };
        Ok(Box::new(SimSocket { core: Arc::clone(&self.core), id, local, waiting, lengths }))
    }

    fn interfaces(&self) -> io::Result<Vec<Interface>> {
        let loopback = |address, prefix_length| Interface {
            name: "lo".to_owned(),
            address,
            prefix_length,
            is_loopback: true,
            is_multicast: true,
        };
        let mut list = vec![
            loopback(Ipv4Addr::LOCALHOST.into(), 8),
            loopback(Ipv6Addr::LOCALHOST.into(), 128),
        ];
        for address in lock(&self.core).addresses(self.host) {
            list.push(Interface {
                name: "eth0".to_owned(),
                address: *address,
                prefix_length: if address.is_ipv4() { 24 } else { 64 },
                is_loopback: false,
                is_multicast: true,
            });
        }
        Ok(list)
    }

    fn default_buffer_lengths(&self) -> io::Result<BufferLengths> {
        Ok(BufferLengths { send: DEFAULT_BUFFER_LENGTH, receive: DEFAULT_BUFFER_LENGTH })
    }

    /// Returns at once: in a simulated world time passes between steps only.
    fn wait(&self, _span: Nanos) {}
}

struct SimSocket {
    core: Arc<Mutex<NetworkCore>>,
    id: usize,
    local: SocketAddr,
    waiting: Arc<AtomicUsize>,
    lengths: BufferLengths,
}

impl Socket for SimSocket {
    fn local_address(&self) -> SocketAddr {
        self.local
    }

    fn buffer_lengths(&self) -> BufferLengths {
        self.lengths
    }

    /// The core is not locked while `on` runs: it may use the network.
    fn receive(&mut self, limit: usize, on: &mut dyn FnMut(Datagram<'_>)) -> io::Result<usize> {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return Ok(0);
        }
        let mut done = None;
        let mut count = 0;
        while count < limit {
            let Some(taken) = ({ lock(&self.core).take(self.id, done.take()) }) else {
                return Ok(count);
            };
            on(Datagram { source: taken.source, bytes: &taken.bytes, received: None });
            done = Some((taken.place, taken.bytes));
            count += 1;
        }
        if let Some((place, bytes)) = done {
            lock(&self.core).give_back(place, bytes);
        }
        Ok(count)
    }

    fn send(&mut self, batch: &[Outgoing<'_>]) -> io::Result<usize> {
        let mut core = lock(&self.core);
        let mut count = 0;
        for outgoing in batch {
            for bytes in outgoing.datagrams {
                match core.send(self.id, outgoing.to, bytes) {
                    Ok(()) => count += 1,
                    Err(error) if count == 0 => return Err(error),
                    Err(_) => return Ok(count),
                }
            }
        }
        Ok(count)
    }

    fn connect(&mut self, peer: SocketAddr) -> io::Result<()> {
        if peer.is_ipv4() != self.local.is_ipv4() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        lock(&self.core).connect(self.id, peer);
        Ok(())
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        lock(&self.core).close(self.id);
    }
}
