//! The network port: UDP sockets, one call per batch.
//!
//! Implementations: `os` over the kernel, `sim` in memory. Fault wrappers implement the same
//! traits.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use wire::time::{EpochNanos, Nanos};

/// What a socket is bound to and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// The local address; port 0 lets the network choose.
    pub local: SocketAddr,
    /// The only peer, if there is one: datagrams go there and come from there alone.
    pub connect: Option<SocketAddr>,
    /// A multicast group to join, on `interface`.
    pub group: Option<IpAddr>,
    /// The interface for multicast traffic, by one of its addresses; `None` leaves it to the host.
    pub interface: Option<IpAddr>,
    /// Time to live of multicast datagrams; `None` leaves the host's default.
    pub ttl: Option<u8>,
    /// Length in bytes asked for the kernel's receive buffer; 0 leaves the default.
    pub receive_buffer_length: usize,
    /// Length in bytes asked for the kernel's send buffer; 0 leaves the default.
    pub send_buffer_length: usize,
    /// Whether others on this host may bind the same address, as multicast receivers must.
    pub reuse_address: bool,
}

impl SocketOptions {
    /// A plain unicast socket at `local`.
    #[must_use]
    pub const fn at(local: SocketAddr) -> Self {
        Self {
            local,
            connect: None,
            group: None,
            interface: None,
            ttl: None,
            receive_buffer_length: 0,
            send_buffer_length: 0,
            reuse_address: false,
        }
    }
}

/// Lengths of the kernel's buffers for a socket, in usable bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferLengths {
    /// For datagrams on their way out.
    pub send: usize,
    /// For datagrams not yet received.
    pub receive: usize,
}

/// A datagram that arrived. Its bytes live until the handler returns.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Who sent it, as the network says: anybody can claim anything.
    pub source: SocketAddr,
    /// Its payload.
    pub bytes: &'a [u8],
    /// When the host received it, where the host tells.
    pub received: Option<EpochNanos>,
}

/// Datagrams for one destination.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The destination; `None` on a connected socket.
    pub to: Option<SocketAddr>,
    /// The datagrams, in order. Neighbours of equal length may leave in one segmented send.
    pub datagrams: &'a [&'a [u8]],
}

/// A network interface of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The host's name for it.
    pub name: String,
    /// One of its addresses; an interface with several is listed several times.
    pub address: IpAddr,
    /// Length in bits of the network prefix of `address`.
    pub prefix_length: u8,
    /// Whether it is a loopback interface.
    pub is_loopback: bool,
    /// Whether it can carry multicast.
    pub is_multicast: bool,
}

/// Where sockets come from.
pub trait Network: Send + Sync {
    /// Opens a socket that never blocks.
    ///
    /// # Errors
    /// Whatever the host says: address in use, not available, no permission.
    fn bind(&self, options: &SocketOptions) -> io::Result<Box<dyn Socket>>;

    /// Every address of every interface that is up, in a stable order.
    ///
    /// # Errors
    /// The host cannot list them.
    fn interfaces(&self) -> io::Result<Vec<Interface>>;

    /// The buffer lengths that a socket gets when it asks for none.
    ///
    /// # Errors
    /// The host cannot tell.
    fn default_buffer_lengths(&self) -> io::Result<BufferLengths>;

    /// Sleeps until a socket that was bound through this port is readable, or `span` has passed.
    ///
    /// Called by idle strategies only. May return early.
    fn wait(&self, span: Nanos);
}

/// A shared network is a network, so that a wrapper can be put around the one of [`crate::Ports`].
impl<N: Network + ?Sized> Network for Arc<N> {
    fn bind(&self, options: &SocketOptions) -> io::Result<Box<dyn Socket>> {
        (**self).bind(options)
    }

    fn interfaces(&self) -> io::Result<Vec<Interface>> {
        (**self).interfaces()
    }

    fn default_buffer_lengths(&self) -> io::Result<BufferLengths> {
        (**self).default_buffer_lengths()
    }

    fn wait(&self, span: Nanos) {
        (**self).wait(span);
    }
}

/// One bound UDP socket.
pub trait Socket: Send {
    /// The address that it is bound to, with the port that was chosen.
    fn local_address(&self) -> SocketAddr;

    /// The lengths of its buffers as granted.
    fn buffer_lengths(&self) -> BufferLengths;

    /// Hands over datagrams that have arrived, about `limit` at most, without waiting. The first
    /// after silence may come alone.
    ///
    /// Returns how many. Zero when none has, or none had when the host last looked at all sockets,
    /// which it does for one call of each. What the host joined (several datagrams of one source)
    /// is handed over whole, so that it may be more than `limit`.
    ///
    /// # Errors
    /// A failure of the socket itself; refusals by peers are not errors.
    fn receive(&mut self, limit: usize, on: &mut dyn FnMut(Datagram<'_>)) -> io::Result<usize>;

    /// Sends a batch in order and returns how many datagrams were accepted.
    ///
    /// Fewer than all means that the host's buffer is full: send the rest later.
    ///
    /// # Errors
    /// A failure of the socket itself, before any datagram was accepted.
    fn send(&mut self, batch: &[Outgoing<'_>]) -> io::Result<usize>;

    /// Changes the only peer: names may resolve anew.
    ///
    /// # Errors
    /// The host refuses the address.
    fn connect(&mut self, peer: SocketAddr) -> io::Result<()>;
}
