//! Sockets that pass many datagrams per call, and runs of equal ones as one segmented datagram.
//!
//! Going out, neighbours of equal length for one destination (the last may be shorter) become one
//! message that the kernel or the card cuts into datagrams (UDP_SEGMENT, Linux 4.18). Coming in,
//! the kernel may join datagrams of one source likewise (UDP_GRO, Linux 5.0); they are cut apart
//! here. A socket that refuses segments once sends without them from then on: some cards do not
//! compute check sums, and a segment must fit the link.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd as _;
use std::ptr;
use std::sync::Arc;

use runtime::network::{BufferLengths, Datagram, Outgoing, Socket};
use socket2::SockAddr;

use crate::readiness::Watch;
use crate::udp::{Pool, Trouble, set_option, trouble_of};
use crate::udp_plain::{DATAGRAM_LENGTH_MAX, Shape};

/// Most messages received by one call.
const RECEIVE_BATCH: usize = 8;
/// The same while they are long: no more than a processor keeps at hand until they are handed over.
const RECEIVE_BATCH_LONG: usize = 2;
/// A long message: many datagrams that the kernel joined.
const LONG: usize = 16 << 10;
/// Most messages sent by one call.
const SEND_BATCH: usize = 64;
/// Most datagrams sent by one call: what the kernel takes as pieces of messages.
const PIECES_MAX: usize = 1_024;
/// Most datagrams that the kernel cuts one message into.
const SEGMENTS_MAX: usize = 64;
/// Most bytes of one message, for IPv4 and IPv6.
const MESSAGE_LENGTH_MAX: usize = 65_000;

/// A socket by batches.
pub(crate) struct BatchSocket {
    socket: socket2::Socket,
    shape: Shape,
    /// Whether runs go out as segmented messages.
    segments: bool,
    /// Messages that the next call asks for: one alone after silence, for it mostly is alone.
    batch: usize,
    /// The last call gave all that it was asked for, which was several.
    has_more: bool,
    pool: Arc<Pool>,
    watch: Option<Watch>,
}

impl BatchSocket {
    /// Takes a configured socket, and tries what the kernel can do if `segmented` is wanted.
    pub(crate) fn new(
        socket: socket2::Socket,
        shape: Shape,
        segmented: bool,
        pool: Arc<Pool>,
    ) -> Self {
        let can = |option, value| {
            segmented && set_option(&socket, libc::IPPROTO_UDP, option, value).is_ok()
        };
        let segments = can(libc::UDP_SEGMENT, 0);
        // Without it datagrams arrive one by one, which is just as well handled.
        let _ = can(libc::UDP_GRO, 1);
        Self { socket, shape, segments, batch: 1, has_more: false, pool, watch: None }
    }

    /// The same, tried only when there is something to read.
    pub(crate) fn watched_by(self, watch: Watch) -> Self {
        Self { watch: Some(watch), ..self }
    }

    fn receive_into(
        &mut self,
        scratch: &mut ReceiveScratch,
        limit: usize,
        on: &mut dyn FnMut(Datagram<'_>),
    ) -> io::Result<usize> {
        let mut count = 0;
        while count < limit {
            let wanted = (limit - count).min(self.batch);
            match scratch.receive(&self.socket, wanted) {
                Ok(messages) => {
                    for index in 0..messages {
                        count += scratch.hand_over(index, on);
                    }
                    self.batch = scratch.next_batch(messages, wanted);
                    self.has_more = messages == wanted && wanted > 1;
                    if !self.has_more {
                        break;
                    }
                }
                Err(error) => match trouble_of(&error) {
                    Trouble::NotNow => {
                        self.has_more = false;
                        break;
                    }
                    Trouble::Again | Trouble::Refused | Trouble::Unreachable => {}
                    _ if count > 0 => {
                        self.has_more = true;
                        break;
                    }
                    Trouble::Unsuitable | Trouble::Fatal => return Err(error),
                },
            }
        }
        Ok(count)
    }

    fn send_from(
        &mut self,
        scratch: &mut SendScratch,
        batch: &[Outgoing<'_>],
    ) -> io::Result<usize> {
        let mut accepted = 0;
        let mut sent = false;
        let mut failure = None;
        let mut refused = false;
        loop {
            let first = scratch.fill(batch, accepted, self.segments);
            if first == 0 {
                return failure.filter(|_| !sent).map_or(Ok(accepted), Err);
            }
            let error = match scratch.send(&self.socket) {
                Ok(datagrams) => {
                    accepted += datagrams;
                    (sent, refused) = (true, false);
                    continue;
                }
                Err(error) => error,
            };
            match trouble_of(&error) {
                Trouble::Again => {}
                // It tells of an earlier datagram, once; a second one is believed.
                Trouble::Refused if !refused => refused = true,
                Trouble::NotNow | Trouble::Refused => return Ok(accepted),
                Trouble::Unreachable => {
                    accepted += first;
                    failure = failure.or(Some(error));
                }
                Trouble::Unsuitable if first > 1 => self.segments = false,
                _ if accepted > 0 => return Ok(accepted),
                Trouble::Unsuitable | Trouble::Fatal => return Err(error),
            }
        }
    }
}

impl Socket for BatchSocket {
    fn local_address(&self) -> SocketAddr {
        self.shape.local
    }

    fn buffer_lengths(&self) -> BufferLengths {
        self.shape.lengths
    }

    fn receive(&mut self, limit: usize, on: &mut dyn FnMut(Datagram<'_>)) -> io::Result<usize> {
        if self.watch.as_mut().is_some_and(|watch| !watch.is_worth_trying()) {
            self.batch = 1;
            return Ok(0);
        }
        self.has_more = false;
        let mut scratch = self.pool.receive.take();
        let result = self.receive_into(&mut scratch, limit, on);
        self.pool.receive.put(scratch);
        if let Some(watch) = &mut self.watch {
            // A failure may hide what came before it.
            watch.on_tried(result.is_err() || self.has_more);
        }
        result
    }

    fn send(&mut self, batch: &[Outgoing<'_>]) -> io::Result<usize> {
        let mut scratch = self.pool.send.take();
        let result = self.send_from(&mut scratch, batch);
        self.pool.send.put(scratch);
        result
    }

    fn connect(&mut self, peer: SocketAddr) -> io::Result<()> {
        self.socket.connect(&peer.into())
    }
}

/// One control message with a number, laid out as the kernel wants it: the value right behind the
/// header, the whole padded to the alignment of the header.
#[repr(C)]
#[derive(Clone, Copy)]
struct Control<T> {
    header: libc::cmsghdr,
    value: T,
    _padding: [u32; 1],
}

impl<T> Control<T> {
    const LENGTH: usize = mem::offset_of!(Self, value) + size_of::<T>();
}

/// All-zero bytes of a structure of the C library.
fn zeroed<T: Plain>() -> T {
    // SAFETY: every `Plain` type consists of integers and raw pointers, for which zero is a value.
    unsafe { mem::zeroed() }
}

/// Types for which all-zero bytes are a value.
trait Plain: Copy {}
impl Plain for libc::mmsghdr {}
impl Plain for libc::sockaddr_storage {}
impl Plain for Control<libc::c_int> {}
impl Plain for Control<u16> {}

/// Memory for receiving.
pub(crate) struct ReceiveScratch {
    bytes: Box<[u8]>,
    sources: Box<[libc::sockaddr_storage; RECEIVE_BATCH]>,
    controls: Box<[Control<libc::c_int>; RECEIVE_BATCH]>,
    pieces: Box<[libc::iovec; RECEIVE_BATCH]>,
    messages: Box<[libc::mmsghdr; RECEIVE_BATCH]>,
}

// SAFETY: its pointers lead into its own boxes and are set anew before each call.
unsafe impl Send for ReceiveScratch {}

impl Default for ReceiveScratch {
    fn default() -> Self {
        let nothing = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        Self {
            bytes: vec![0; RECEIVE_BATCH * DATAGRAM_LENGTH_MAX].into(),
            sources: Box::new([zeroed(); RECEIVE_BATCH]),
            controls: Box::new([zeroed(); RECEIVE_BATCH]),
            pieces: Box::new([nothing; RECEIVE_BATCH]),
            messages: Box::new([zeroed(); RECEIVE_BATCH]),
        }
    }
}

impl ReceiveScratch {
    /// Receives at most `wanted` messages and returns how many.
    fn receive(&mut self, socket: &socket2::Socket, wanted: usize) -> io::Result<usize> {
        let wanted = wanted.min(RECEIVE_BATCH);
        let buffers = self.bytes.chunks_exact_mut(DATAGRAM_LENGTH_MAX);
        for (index, buffer) in buffers.take(wanted).enumerate() {
            self.pieces[index] =
                libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
            self.controls[index].header.cmsg_len = 0;
            let message = &mut self.messages[index].msg_hdr;
            message.msg_name = (&raw mut self.sources[index]).cast();
            message.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            message.msg_iov = &raw mut self.pieces[index];
            message.msg_iovlen = 1;
            message.msg_control = (&raw mut self.controls[index]).cast();
            message.msg_controllen = size_of::<Control<libc::c_int>>();
            message.msg_flags = 0;
        }
        if wanted == 1 {
            let message = &mut self.messages[0];
            let (socket, header) = (socket.as_raw_fd(), &raw mut message.msg_hdr);
            // SAFETY: the message points to memory of this scratch, valid for writes of the lengths
            // given; `self` is borrowed until the call ends. Bare: see `readiness::look`.
            let length = unsafe { libc::syscall(libc::SYS_recvmsg, socket, header, 0) };
            let length = libc::c_uint::try_from(length).map_err(|_| io::Error::last_os_error())?;
            message.msg_len = length;
            return Ok(1);
        }
        let (messages, count) = (self.messages.as_mut_ptr(), wanted as libc::c_uint);
        // SAFETY: each of the first `wanted` messages points to memory of its own inside of this
        // scratch, valid for writes of the lengths given; `self` is borrowed until the call ends.
        let received = crate::check(unsafe {
            libc::recvmmsg(socket.as_raw_fd(), messages, count, 0, ptr::null_mut())
        })?;
        Ok(usize::try_from(received).unwrap_or_default())
    }

    /// Hands over the datagrams of a message that was received; returns how many.
    fn hand_over(&self, index: usize, on: &mut dyn FnMut(Datagram<'_>)) -> usize {
        let message = &self.messages[index];
        let begin = index * DATAGRAM_LENGTH_MAX;
        let length = usize::try_from(message.msg_len).unwrap_or_default().min(DATAGRAM_LENGTH_MAX);
        let bytes = &self.bytes[begin..begin + length];
        let Some(source) = address_of(&self.sources[index]) else { return 0 };
        let segment = self.segment_length(index).unwrap_or(length);
        if segment >= length {
            on(Datagram { source, bytes, received: None });
            return 1;
        }
        let segments = bytes.chunks(segment);
        let count = segments.len();
        for bytes in segments {
            on(Datagram { source, bytes, received: None });
        }
        count
    }

    /// How many messages to ask for next, after so many of those that were wanted.
    fn next_batch(&self, messages: usize, wanted: usize) -> usize {
        let last = messages.checked_sub(1).and_then(|last| self.messages.get(last));
        match last {
            Some(last) if last.msg_len as usize >= LONG => RECEIVE_BATCH_LONG,
            Some(_) if messages == wanted || messages > 1 => RECEIVE_BATCH,
            _ => 1,
        }
    }

    /// The length of the datagrams that were joined into a message, if any were.
    fn segment_length(&self, index: usize) -> Option<usize> {
        let control = &self.controls[index];
        let is_told = self.messages[index].msg_hdr.msg_controllen >= Control::<libc::c_int>::LENGTH
            && control.header.cmsg_len >= Control::<libc::c_int>::LENGTH
            && control.header.cmsg_level == libc::IPPROTO_UDP
            && control.header.cmsg_type == libc::UDP_GRO;
        if !is_told {
            return None;
        }
        usize::try_from(control.value).ok().filter(|length| *length > 0)
    }
}

/// The address that the kernel wrote.
fn address_of(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the storage is long enough and aligned for every kind of address, and all of
            // its bytes are initialised.
            let address = unsafe { (&raw const *storage).cast::<libc::sockaddr_in>().read() };
            let ip = Ipv4Addr::from_bits(u32::from_be(address.sin_addr.s_addr));
            Some((ip, u16::from_be(address.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let address = unsafe { (&raw const *storage).cast::<libc::sockaddr_in6>().read() };
            let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
            let port = u16::from_be(address.sin6_port);
            Some(SocketAddrV6::new(ip, port, 0, address.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Memory for sending.
pub(crate) struct SendScratch {
    destinations: Vec<SockAddr>,
    pieces: Vec<libc::iovec>,
    runs: Vec<Run>,
    controls: Box<[Control<u16>; SEND_BATCH]>,
    messages: Box<[libc::mmsghdr; SEND_BATCH]>,
}

/// The datagrams of one message.
struct Run {
    /// Place among the destinations.
    destination: Option<usize>,
    first_piece: usize,
    /// Pieces of memory: datagrams that lie one behind the other make one.
    pieces: usize,
    count: usize,
    /// Length of all datagrams but the last.
    length: usize,
}

// SAFETY: its pointers lead into its own boxes and vectors, or to datagrams that are borrowed until
// the call under way ends, and are set anew before each call.
unsafe impl Send for SendScratch {}

impl Default for SendScratch {
    fn default() -> Self {
        Self {
            destinations: Vec::with_capacity(SEND_BATCH),
            pieces: Vec::with_capacity(PIECES_MAX),
            runs: Vec::with_capacity(SEND_BATCH),
            controls: Box::new([zeroed(); SEND_BATCH]),
            messages: Box::new([zeroed(); SEND_BATCH]),
        }
    }
}

impl SendScratch {
    /// Lays out messages for the datagrams of a batch after the first `skip`, as many as one call
    /// takes; returns how many datagrams the first message has, zero when none is left.
    ///
    /// What is laid out points into `batch`: it is sent before the borrow ends.
    fn fill(&mut self, batch: &[Outgoing<'_>], mut skip: usize, segmented: bool) -> usize {
        self.destinations.clear();
        self.pieces.clear();
        self.runs.clear();
        for outgoing in batch {
            let skipped = skip.min(outgoing.datagrams.len());
            skip -= skipped;
            if !self.fill_one(outgoing.to, &outgoing.datagrams[skipped..], segmented) {
                break;
            }
        }
        self.runs.first().map_or(0, |run| run.count)
    }

    /// Lays out datagrams for one destination; returns whether there is room for more.
    fn fill_one(
        &mut self,
        to: Option<SocketAddr>,
        mut datagrams: &[&[u8]],
        segmented: bool,
    ) -> bool {
        let mut destination = None;
        while let Some(first) = datagrams.first() {
            let count = if segmented { run_length(datagrams) } else { 1 };
            if self.runs.len() == SEND_BATCH || self.pieces.len() + count > PIECES_MAX {
                return false;
            }
            if let (Some(to), None) = (to, destination) {
                destination = Some(self.destinations.len());
                self.destinations.push(to.into());
            }
            let first_piece = self.pieces.len();
            let (run, rest) = datagrams.split_at(count);
            for bytes in run {
                self.add_piece(first_piece, bytes);
            }
            let pieces = self.pieces.len() - first_piece;
            self.runs.push(Run { destination, first_piece, pieces, count, length: first.len() });
            datagrams = rest;
        }
        true
    }

    /// Adds bytes to the run that begins with a piece.
    fn add_piece(&mut self, first_piece: usize, bytes: &[u8]) {
        let (iov_base, iov_len) = (bytes.as_ptr().cast_mut().cast::<libc::c_void>(), bytes.len());
        if let Some(last) = self.pieces[first_piece..].last_mut()
            && last.iov_base.addr() + last.iov_len == iov_base.addr()
        {
            last.iov_len += iov_len;
            return;
        }
        self.pieces.push(libc::iovec { iov_base, iov_len });
    }

    /// Sends what is laid out; returns how many datagrams were accepted, at least one.
    fn send(&mut self, socket: &socket2::Socket) -> io::Result<usize> {
        for (index, run) in self.runs.iter().enumerate() {
            let message = &mut self.messages[index].msg_hdr;
            (message.msg_name, message.msg_namelen) = match run.destination {
                Some(place) => {
                    let destination = &self.destinations[place];
                    (destination.as_ptr().cast_mut().cast(), destination.len())
                }
                None => (ptr::null_mut(), 0),
            };
            message.msg_iov = self.pieces[run.first_piece..].as_mut_ptr();
            message.msg_iovlen = run.pieces;
            (message.msg_control, message.msg_controllen) = (ptr::null_mut(), 0);
            if run.count > 1 {
                let control = &mut self.controls[index];
                control.header.cmsg_len = Control::<u16>::LENGTH;
                control.header.cmsg_level = libc::IPPROTO_UDP;
                control.header.cmsg_type = libc::UDP_SEGMENT;
                control.value = u16::try_from(run.length).unwrap_or(u16::MAX);
                message.msg_control = (&raw mut *control).cast();
                message.msg_controllen = size_of::<Control<u16>>();
            }
        }
        if let [run] = &*self.runs {
            let message = &raw const self.messages[0].msg_hdr;
            // SAFETY: as below, of the one message. Bare: see `readiness::look`.
            let sent = unsafe { libc::syscall(libc::SYS_sendmsg, socket.as_raw_fd(), message, 0) };
            return if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(run.count) };
        }
        let (messages, count) = (self.messages.as_mut_ptr(), self.runs.len() as libc::c_uint);
        // SAFETY: the first `count` messages were just set: names and controls are this scratch's,
        // pieces are datagrams of the batch that `fill` borrowed, which its caller borrows still.
        // The kernel only reads through them.
        let sent = crate::check(unsafe { libc::sendmmsg(socket.as_raw_fd(), messages, count, 0) })?;
        let sent = usize::try_from(sent).unwrap_or_default();
        Ok(self.runs.iter().take(sent).map(|run| run.count).sum())
    }
}

/// How many of the first datagrams can leave as one segmented message.
fn run_length(datagrams: &[&[u8]]) -> usize {
    let Some((first, rest)) = datagrams.split_first() else { return 0 };
    let mut total = first.len();
    let mut count = 1;
    if first.is_empty() {
        return count;
    }
    for next in rest.iter().take(SEGMENTS_MAX - 1) {
        total += next.len();
        if next.is_empty() || next.len() > first.len() || total > MESSAGE_LENGTH_MAX {
            break;
        }
        count += 1;
        if next.len() < first.len() {
            break;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::udp::OsNetwork;
    use runtime::network::{Network as _, SocketOptions};
    use socket2::{Domain, Protocol, Type};

    /// A socket at a free port of loopback.
    fn bound() -> socket2::Socket {
        let socket = socket2::Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket
    }

    fn batch_socket(socket: socket2::Socket) -> BatchSocket {
        let shape = Shape::of(&socket).unwrap();
        BatchSocket::new(socket, shape, true, Arc::default())
    }

    fn send_run(sender: &mut BatchSocket) -> Vec<Vec<u8>> {
        let at = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut receiver = OsNetwork::new().unwrap().bind(&SocketOptions::at(at)).unwrap();
        let sent: Vec<Vec<u8>> = (1..=10_u8).map(|number| vec![number; 1_408]).collect();
        let datagrams: Vec<&[u8]> = sent.iter().map(Vec::as_slice).collect();
        let to = Some(receiver.local_address());
        let batch = [Outgoing { to, datagrams: &datagrams }];
        assert_eq!(sender.send(&batch).unwrap(), sent.len());
        let mut received = Vec::new();
        let mut on_datagram = |datagram: Datagram<'_>| received.push(datagram.bytes.to_vec());
        while receiver.receive(100, &mut on_datagram).unwrap() > 0 {}
        assert_eq!(received, sent);
        received
    }

    #[test]
    fn a_run_leaves_in_one_segmented_message() {
        let mut sender = batch_socket(bound());
        assert!(sender.segments, "this kernel cannot segment");
        send_run(&mut sender);
        assert!(sender.segments);
        let bytes = [0; 8];
        let mut scratch = SendScratch::default();
        let batch = [Outgoing { to: None, datagrams: &[&bytes, &bytes, &bytes[..4]] }];
        assert_eq!(scratch.fill(&batch, 0, true), 3);
        assert_eq!((scratch.runs.len(), scratch.fill(&batch, 1, false)), (1, 1));
        assert_eq!((scratch.runs.len(), scratch.fill(&batch, 3, true)), (2, 0));
    }

    /// Method: the kernel refuses segments of a socket that computes no check sums.
    #[test]
    fn a_socket_that_refuses_segments_sends_without_them_from_then_on() {
        let socket = bound();
        set_option(&socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
        let mut sender = batch_socket(socket);
        assert!(sender.segments);
        send_run(&mut sender);
        assert!(!sender.segments);
        send_run(&mut sender);
    }

    #[test]
    fn a_run_is_of_equal_lengths_but_for_a_shorter_last() {
        let of = |lengths: &[usize]| {
            let bytes = vec![0; 70_000];
            let datagrams: Vec<&[u8]> = lengths.iter().map(|length| &bytes[..*length]).collect();
            run_length(&datagrams)
        };
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&[8]), 1);
        assert_eq!(of(&[8, 8, 8]), 3);
        assert_eq!(of(&[8, 8, 4, 8]), 3);
        assert_eq!(of(&[8, 9]), 1);
        assert_eq!(of(&[8, 0]), 1);
        assert_eq!(of(&[0, 0]), 1);
        assert_eq!(of(&[8; 100]), SEGMENTS_MAX);
        assert_eq!(of(&[1_408; 100]), 46);
        assert_eq!(of(&[65_000, 100]), 1);
    }
}
