//! Wrappers that harm any port, usable around real ones too.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use runtime::Nanos;
use runtime::network::{
    BufferLengths, Datagram, Interface, Network, Outgoing, Socket, SocketOptions,
};
use runtime::random::Rng;

/// What [`Lossy`] does to arriving datagrams. Probabilities are per datagram, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LossyOptions {
    /// Lost.
    pub loss: f64,
    /// Handed over twice.
    pub duplicate: f64,
    /// Held back until the next one of its socket was handed over, or nothing else came.
    pub reorder: f64,
}

/// How often each fault struck, over all sockets of a [`Lossy`] network.
#[derive(Debug, Default)]
pub struct LossyTotals {
    lost: AtomicU64,
    duplicated: AtomicU64,
    reordered: AtomicU64,
}

impl LossyTotals {
    /// Datagrams lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Datagrams handed over twice.
    #[must_use]
    pub fn duplicated(&self) -> u64 {
        self.duplicated.load(Ordering::Relaxed)
    }

    /// Datagrams held back.
    #[must_use]
    pub fn reordered(&self) -> u64 {
        self.reordered.load(Ordering::Relaxed)
    }
}

/// A network whose sockets lose, double and reorder what arrives at them.
///
/// What a socket sends is not touched: wrap the networks of both sides to harm both ways.
pub struct Lossy<N> {
    inner: N,
    options: LossyOptions,
    totals: Arc<LossyTotals>,
    seed: u64,
    sockets: AtomicU64,
}

impl<N: Network> Lossy<N> {
    /// Harms `inner` by `options`; what is drawn follows from the seed, socket by socket in the
    /// order in which they are bound.
    pub fn new(inner: N, options: LossyOptions, seed: u64) -> Self {
        Self { inner, options, totals: Arc::default(), seed, sockets: AtomicU64::new(0) }
    }

    /// What struck so far; to be kept by whoever counts.
    pub fn totals(&self) -> Arc<LossyTotals> {
        Arc::clone(&self.totals)
    }
}

impl<N: Network> Network for Lossy<N> {
    fn bind(&self, options: &SocketOptions) -> io::Result<Box<dyn Socket>> {
        let number = self.sockets.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(LossySocket {
            inner: self.inner.bind(options)?,
            options: self.options,
            totals: Arc::clone(&self.totals),
            rng: Rng::new(self.seed.wrapping_add(number), "lossy socket"),
            held: VecDeque::new(),
        }))
    }

    fn interfaces(&self) -> io::Result<Vec<Interface>> {
        self.inner.interfaces()
    }

    fn default_buffer_lengths(&self) -> io::Result<BufferLengths> {
        self.inner.default_buffer_lengths()
    }

    fn wait(&self, span: Nanos) {
        self.inner.wait(span);
    }
}

struct LossySocket {
    inner: Box<dyn Socket>,
    options: LossyOptions,
    totals: Arc<LossyTotals>,
    rng: Rng,
    held: VecDeque<(SocketAddr, Vec<u8>)>,
}

impl Socket for LossySocket {
    fn local_address(&self) -> SocketAddr {
        self.inner.local_address()
    }

    fn buffer_lengths(&self) -> BufferLengths {
        self.inner.buffer_lengths()
    }

    /// May hand over up to three times `limit`: doubles and what was held back come on top.
    fn receive(&mut self, limit: usize, on: &mut dyn FnMut(Datagram<'_>)) -> io::Result<usize> {
        let Self { inner, options, totals, rng, held } = self;
        let mut count = 0;
        let overdue = held.len();
        inner.receive(limit, &mut |datagram| {
            if rng.chance(options.loss) {
                totals.lost.fetch_add(1, Ordering::Relaxed);
                return;
            }
            if rng.chance(options.reorder) {
                totals.reordered.fetch_add(1, Ordering::Relaxed);
                held.push_back((datagram.source, datagram.bytes.to_vec()));
                return;
            }
            on(datagram);
            count += 1;
            if rng.chance(options.duplicate) {
                totals.duplicated.fetch_add(1, Ordering::Relaxed);
                on(datagram);
                count += 1;
            }
        })?;
        // What was held back before this call has been overtaken by all of it.
        for (source, bytes) in held.drain(..overdue) {
            on(Datagram { source, bytes: &bytes, received: None });
            count += 1;
        }
        Ok(count)
    }

    fn send(&mut self, batch: &[Outgoing<'_>]) -> io::Result<usize> {
        self.inner.send(batch)
    }

    fn connect(&mut self, peer: SocketAddr) -> io::Result<()> {
        self.inner.connect(peer)
    }
}
