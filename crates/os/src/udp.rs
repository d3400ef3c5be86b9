//! The network port over the kernel: how sockets are made and configured.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, Mutex, PoisonError};

use runtime::Nanos;
use runtime::network::{BufferLengths, Interface, Network, Socket, SocketOptions};
use socket2::{Domain, Protocol, Type};

#[cfg(target_os = "linux")]
use crate::readiness::Readiness;
#[cfg(target_os = "linux")]
use crate::udp_linux::{BatchSocket, ReceiveScratch, SendScratch};
use crate::udp_plain::{PlainSocket, Shape};
use crate::{check, interfaces};

/// The sockets of this host.
pub struct OsNetwork {
    calls: Calls,
    readiness: Arc<Readiness>,
    pool: Arc<Pool>,
}

/// How datagrams pass between a socket and the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// Many in one call, and runs of equal length as one segmented datagram, each where the system
    /// can do it. What a socket refuses is given up for that socket.
    Segmented,
    /// Many in one call, each for itself.
    Batched,
    /// One call for each.
    Plain,
}

impl OsNetwork {
    /// Sockets that use what the system offers.
    ///
    /// # Errors
    /// The system gives no means to wait on sockets.
    pub fn new() -> io::Result<Self> {
        Self::with_calls(Calls::Segmented)
    }

    /// Sockets that use no more than `calls`.
    ///
    /// # Errors
    /// The system gives no means to wait on sockets.
    pub fn with_calls(calls: Calls) -> io::Result<Self> {
        Ok(Self { calls, readiness: Arc::new(Readiness::new()?), pool: Arc::default() })
    }
}

impl Network for OsNetwork {
    fn bind(&self, options: &SocketOptions) -> io::Result<Box<dyn Socket>> {
        let socket = configured(options)?;
        #[cfg(target_os = "linux")]
        let watch = self.readiness.watch(socket.as_raw_fd())?;
        let shape = Shape::of(&socket)?;
        match self.calls {
            #[cfg(target_os = "linux")]
            Calls::Segmented | Calls::Batched => {
                let segmented = self.calls == Calls::Segmented;
                let pool = Arc::clone(&self.pool);
                Ok(Box::new(BatchSocket::new(socket, shape, segmented, pool).watched_by(watch)))
            }
            _ => Ok(Box::new(PlainSocket::new(socket.into(), shape, Arc::clone(&self.pool)))),
        }
    }

    fn interfaces(&self) -> io::Result<Vec<Interface>> {
        interfaces::interfaces()
    }

    fn default_buffer_lengths(&self) -> io::Result<BufferLengths> {
        let socket = socket2::Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        buffer_lengths(&socket)
    }

    fn wait(&self, span: Nanos) {
        self.readiness.wait(span);
    }
}

/// A socket by its options. Multicast goes only to sockets that joined its group, and datagrams
/// that are too long for the way are fragmented, as with genuine Aeron.
fn configured(options: &SocketOptions) -> io::Result<socket2::Socket> {
    let domain = Domain::for_address(options.local);
    let socket = socket2::Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if options.local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if options.reuse_address {
        socket.set_reuse_address(true)?;
    }
    allow_fragments(&socket, options.local.is_ipv6())?;
    if options.receive_buffer_length > 0 {
        socket.set_recv_buffer_size(options.receive_buffer_length)?;
    }
    if options.send_buffer_length > 0 {
        socket.set_send_buffer_size(options.send_buffer_length)?;
    }
    #[cfg(target_os = "linux")]
    if options.local.is_ipv4() {
        socket.set_multicast_all_v4(false)?;
    }
    socket.bind(&options.local.into())?;
    configure_multicast(&socket, options)?;
    if let Some(peer) = options.connect {
        socket.connect(&peer.into())?;
    }
    Ok(socket)
}

fn configure_multicast(socket: &socket2::Socket, options: &SocketOptions) -> io::Result<()> {
    let mismatch = || io::Error::new(io::ErrorKind::InvalidInput, "IPv4 and IPv6 are mixed");
    let ttl = options.ttl.map(u32::from);
    match options.local {
        SocketAddr::V4(_) => {
            let interface = match options.interface {
                Some(IpAddr::V4(interface)) => Some(interface),
                None => None,
                Some(IpAddr::V6(_)) => return Err(mismatch()),
            };
            if let Some(interface) = interface {
                socket.set_multicast_if_v4(&interface)?;
            }
            if let Some(ttl) = ttl {
                socket.set_multicast_ttl_v4(ttl)?;
            }
            match options.group {
                None => Ok(()),
                Some(IpAddr::V4(group)) => {
                    socket.join_multicast_v4(&group, &interface.unwrap_or(Ipv4Addr::UNSPECIFIED))
                }
                Some(IpAddr::V6(_)) => Err(mismatch()),
            }
        }
        SocketAddr::V6(_) => {
            let index = match options.interface {
                Some(IpAddr::V6(interface)) => interfaces::index_of(interface)?,
                None => 0,
                Some(IpAddr::V4(_)) => return Err(mismatch()),
            };
            if index != 0 {
                socket.set_multicast_if_v6(index)?;
            }
            if let Some(ttl) = ttl {
                socket.set_multicast_hops_v6(ttl)?;
            }
            match options.group {
                None => Ok(()),
                Some(IpAddr::V6(group)) => socket.join_multicast_v6(&group, index),
                Some(IpAddr::V4(_)) => Err(mismatch()),
            }
        }
    }
}

/// Lets the kernel and routers cut up what is longer than a link can carry.
#[cfg(target_os = "linux")]
fn allow_fragments(socket: &socket2::Socket, is_v6: bool) -> io::Result<()> {
    if is_v6 {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT)
    } else {
        set_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT)
    }
}

#[cfg(not(target_os = "linux"))]
fn allow_fragments(_socket: &socket2::Socket, _is_v6: bool) -> io::Result<()> {
    Ok(())
}

/// Sets an option whose value is a number.
#[cfg(target_os = "linux")]
pub(crate) fn set_option(
    socket: &socket2::Socket,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    let value: *const libc::c_int = &raw const value;
    // SAFETY: the descriptor is open, the pointer is valid for reads of `length` bytes.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value.cast(), length) };
    check(result).map(|_| ())
}

/// The lengths of a socket's buffers. Linux tells twice what can be used.
pub(crate) fn buffer_lengths(socket: &socket2::Socket) -> io::Result<BufferLengths> {
    let divisor = if cfg!(target_os = "linux") { 2 } else { 1 };
    Ok(BufferLengths {
        send: socket.send_buffer_size()? / divisor,
        receive: socket.recv_buffer_size()? / divisor,
    })
}

/// Memory for calls, shared by the sockets of a network: as much as calls are under way at once.
#[derive(Default)]
pub(crate) struct Pool {
    #[cfg(target_os = "linux")]
    pub(crate) receive: Shelf<ReceiveScratch>,
    #[cfg(target_os = "linux")]
    pub(crate) send: Shelf<SendScratch>,
    pub(crate) plain: Shelf<crate::udp_plain::Buffer>,
}

/// Things that are taken, used and put back.
pub(crate) struct Shelf<T>(Mutex<Vec<T>>);

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T: Default> Shelf<T> {
    /// One that was put back, or a new one.
    pub(crate) fn take(&self) -> T {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        taken.unwrap_or_default()
    }

    pub(crate) fn put(&self, thing: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(thing);
    }
}

/// What becomes of a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing there, or no room: later.
    NotNow,
    /// Try again at once.
    Again,
    /// A peer refused an earlier datagram.
    Refused,
    /// This datagram cannot reach its destination; others may reach theirs.
    Unreachable,
    /// This datagram cannot be sent like that.
    Unsuitable,
    /// Anything else.
    Fatal,
}

pub(crate) fn trouble_of(error: &io::Error) -> Trouble {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => Trouble::NotNow,
        Some(libc::EINTR) => Trouble::Again,
        Some(libc::ECONNREFUSED | libc::ECONNRESET) => Trouble::Refused,
        Some(
            libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EHOSTDOWN | libc::EPERM,
        ) => Trouble::Unreachable,
        Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::EOPNOTSUPP | libc::ENOPROTOOPT) => {
            Trouble::Unsuitable
        }
        _ => Trouble::Fatal,
    }
}

/// Sleeps, at most for a millisecond: here it cannot tell when a socket becomes readable.
#[cfg(not(target_os = "linux"))]
struct Readiness;

#[cfg(not(target_os = "linux"))]
impl Readiness {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    fn wait(&self, span: Nanos) {
        crate::thread::sleep(span.min(Nanos::from_millis(1)));
    }
}
