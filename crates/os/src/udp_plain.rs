//! Sockets that pass one datagram per call: for systems without better, and to compare with.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use runtime::network::{BufferLengths, Datagram, Outgoing, Socket};

use crate::udp::{Pool, Trouble, buffer_lengths, trouble_of};

/// No datagram is longer.
pub(crate) const DATAGRAM_LENGTH_MAX: usize = 1 << 16;

/// What a socket is known by.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) local: SocketAddr,
    pub(crate) lengths: BufferLengths,
}

impl Shape {
    pub(crate) fn of(socket: &socket2::Socket) -> io::Result<Self> {
        let local = socket.local_addr()?.as_socket();
        let local = local.ok_or_else(|| io::Error::other("a socket without an IP address"))?;
        Ok(Self { local, lengths: buffer_lengths(socket)? })
    }
}

/// Room for one datagram.
pub(crate) struct Buffer(Box<[u8]>);

impl Default for Buffer {
    fn default() -> Self {
        Self(vec![0; DATAGRAM_LENGTH_MAX].into())
    }
}

pub(crate) struct PlainSocket {
    socket: UdpSocket,
    shape: Shape,
    pool: Arc<Pool>,
}

impl PlainSocket {
    pub(crate) fn new(socket: UdpSocket, shape: Shape, pool: Arc<Pool>) -> Self {
        Self { socket, shape, pool }
    }

    fn receive_into(
        &self,
        buffer: &mut Buffer,
        limit: usize,
        on: &mut dyn FnMut(Datagram<'_>),
    ) -> io::Result<usize> {
        let mut count = 0;
        while count < limit {
            match self.socket.recv_from(&mut buffer.0) {
                Ok((length, source)) => {
                    on(Datagram { source, bytes: &buffer.0[..length], received: None });
                    count += 1;
                }
                Err(error) => match trouble_of(&error) {
                    Trouble::NotNow => break,
                    Trouble::Again | Trouble::Refused | Trouble::Unreachable => {}
                    _ if count > 0 => break,
                    Trouble::Unsuitable | Trouble::Fatal => return Err(error),
                },
            }
        }
        Ok(count)
    }

    fn send_one(&self, to: Option<SocketAddr>, bytes: &[u8]) -> io::Result<usize> {
        match to {
            Some(to) => self.socket.send_to(bytes, to),
            None => self.socket.send(bytes),
        }
    }
}

impl Socket for PlainSocket {
    fn local_address(&self) -> SocketAddr {
        self.shape.local
    }

    fn buffer_lengths(&self) -> BufferLengths {
        self.shape.lengths
    }

    fn receive(&mut self, limit: usize, on: &mut dyn FnMut(Datagram<'_>)) -> io::Result<usize> {
        let mut buffer = self.pool.plain.take();
        let result = self.receive_into(&mut buffer, limit, on);
        self.pool.plain.put(buffer);
        result
    }

    fn send(&mut self, batch: &[Outgoing<'_>]) -> io::Result<usize> {
        let mut accepted = 0;
        let mut sent = false;
        let mut failure = None;
        for outgoing in batch {
            for bytes in outgoing.datagrams {
                let mut result = self.send_one(outgoing.to, bytes);
                // A refusal tells of an earlier datagram, once; a second one is believed.
                let is_retried = |trouble| matches!(trouble, Trouble::Again | Trouble::Refused);
                if result.as_ref().err().map(trouble_of).is_some_and(is_retried) {
                    result = self.send_one(outgoing.to, bytes);
                }
                match result {
                    Ok(_) => sent = true,
                    Err(error) => match trouble_of(&error) {
                        Trouble::Unreachable => failure = failure.or(Some(error)),
                        Trouble::NotNow | Trouble::Again | Trouble::Refused => return Ok(accepted),
                        _ if accepted > 0 => return Ok(accepted),
                        Trouble::Unsuitable | Trouble::Fatal => return Err(error),
                    },
                }
                accepted += 1;
            }
        }
        failure.filter(|_| !sent).map_or(Ok(accepted), Err)
    }

    fn connect(&mut self, peer: SocketAddr) -> io::Result<()> {
        self.socket.connect(peer)
    }
}
