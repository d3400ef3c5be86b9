//! Our side: publishers and subscribers that write and check the same messages as the genuine ones.

use std::path::Path;
use std::sync::Arc;

use coracle::os;
use coracle::prelude::*;
use coracle::runtime::network::{Network, Outgoing, Socket, SocketOptions};
use coracle::runtime::random::Rng;
use coracle::runtime::{Nanos, network};
use coracle::{client, driver};
use sim::faults::{Lossy, LossyOptions};

use crate::content::{Checker, Content};

/// How long any wait may take.
const LIMIT: Nanos = Nanos::from_secs(40);

/// The stream of all tests.
pub(crate) const STREAM: StreamId = StreamId(1001);

/// Ends loops that wait for something.
pub(crate) struct Deadline {
    end: Nanos,
}

impl Deadline {
    /// Begins to count.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self { end: os::clock::now().mono + LIMIT }
    }

    /// Sleeps a moment.
    ///
    /// # Errors
    /// The time is up.
    pub(crate) fn pause(&self, what: &str) -> Result<(), String> {
        if os::clock::now().mono > self.end {
            return Err(format!("ours: {what}: not within {} s", LIMIT.as_millis() / 1000));
        }
        os::thread::sleep(Nanos::from_micros(100));
        Ok(())
    }
}

/// Connects our client to a driver.
///
/// # Errors
/// It could not.
pub(crate) fn connect(directory: &Path) -> Result<Client, String> {
    let config = client::Config { directory: directory.to_path_buf(), ..Default::default() };
    Client::connect(config).map_err(|error| error.to_string())
}

/// Starts our driver, with this share of its datagrams lost, each way.
///
/// # Errors
/// It could not.
pub(crate) fn start_driver(directory: &Path, loss: f64) -> Result<Driver, String> {
    let mut ports = os::ports(Some(7)).map_err(|error| error.to_string())?;
    if loss > 0.0 {
        let lossy = LossyOptions { loss, ..LossyOptions::default() };
        let inward = Lossy::new(ports.network, lossy, 1);
        ports.network = Arc::new(LosesWhatIsSent { inner: inward, loss });
    }
    let mut config = driver::Config::at(directory);
    config.terms.term_length = 1 << 20;
    config.terms.ipc_term_length = 1 << 20;
    Driver::launch_on(config, &ports).map_err(|error| error.to_string())
}

/// A publication of either kind.
#[allow(clippy::large_enum_variant)] // One a test.
pub(crate) enum Publisher {
    /// May have several publishers.
    Concurrent(Publication),
    /// Has one.
    Exclusive(ExclusivePublication),
}

impl Publisher {
    /// Adds it.
    ///
    /// # Errors
    /// The driver refused.
    pub(crate) fn add(client: &Client, channel: &str, exclusive: bool) -> Result<Self, String> {
        if exclusive {
            client.add_exclusive_publication(channel, STREAM).wait().map(Self::Exclusive)
        } else {
            client.add_publication(channel, STREAM).wait().map(Self::Concurrent)
        }
        .map_err(|error| error.to_string())
    }

    /// Sends to one more destination.
    ///
    /// # Errors
    /// The driver refused.
    pub(crate) fn add_destination(&self, channel: &str) -> Result<(), String> {
        match self {
            Self::Concurrent(publication) => publication.add_destination(channel),
            Self::Exclusive(publication) => publication.add_destination(channel),
        }
        .wait()
        .map_err(|error| error.to_string())
    }

    /// Offers one message; whether it went out.
    ///
    /// # Errors
    /// It never will.
    pub(crate) fn offer(&mut self, message: &[u8]) -> Result<bool, String> {
        let result = match self {
            Self::Concurrent(publication) => publication.offer(message),
            Self::Exclusive(publication) => publication.offer(message),
        };
        match result {
            Ok(_) => Ok(true),
            Err(OfferError::AdminAction | OfferError::BackPressured | OfferError::NotConnected) => {
                Ok(false)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Its session.
    pub(crate) fn session_id(&self) -> SessionId {
        match self {
            Self::Concurrent(publication) => publication.session_id(),
            Self::Exclusive(publication) => publication.session_id(),
        }
    }

    /// Where it stands.
    #[must_use]
    pub(crate) fn position(&self) -> Position {
        match self {
            Self::Concurrent(publication) => publication.position(),
            Self::Exclusive(publication) => publication.position(),
        }
    }

    /// Offers messages until all have gone out; `between` is called whenever one is refused.
    ///
    /// # Errors
    /// One never will, or not in time; or whatever `between` says.
    pub(crate) fn offer_all(
        &mut self,
        content: Content,
        count: u64,
        between: impl FnMut() -> Result<(), String>,
    ) -> Result<(), String> {
        self.offer_these(content, 0..count, between)
    }

    /// Offers these messages of all; `between` is called whenever one is refused.
    ///
    /// # Errors
    /// One never will go out, or not in time; or whatever `between` says.
    pub(crate) fn offer_these(
        &mut self,
        content: Content,
        these: std::ops::Range<u64>,
        mut between: impl FnMut() -> Result<(), String>,
    ) -> Result<(), String> {
        let deadline = Deadline::new();
        let mut message = Vec::new();
        for index in these {
            content.write(index, &mut message);
            while !self.offer(&message)? {
                between()?;
                deadline.pause(&format!("offer of message {index}"))?;
            }
        }
        Ok(())
    }
}

/// A subscription that checks all that comes.
pub(crate) struct Verifier {
    subscription: Subscription,
    assembler: FragmentAssembler,
    checker: Checker,
    /// How long to rest after a few fragments.
    pause: Option<Nanos>,
    /// Where the stream stands after what has come.
    position: Option<Position>,
}

impl Verifier {
    /// Adds it.
    ///
    /// # Errors
    /// The driver refused.
    pub(crate) fn add(client: &Client, channel: &str, content: Content) -> Result<Self, String> {
        Self::add_on(client, channel, STREAM, content)
    }

    /// Adds it on a stream of its own.
    ///
    /// # Errors
    /// The driver refused.
    pub(crate) fn add_on(
        client: &Client,
        channel: &str,
        stream: StreamId,
        content: Content,
    ) -> Result<Self, String> {
        let subscription = client.add_subscription(channel, stream).wait();
        let subscription = subscription.map_err(|error| error.to_string())?;
        let (assembler, checker) = (FragmentAssembler::new(), Checker::new(content));
        Ok(Self { subscription, assembler, checker, pause: None, position: None })
    }

    /// Hears what comes to one more destination.
    ///
    /// # Errors
    /// The driver refused.
    pub(crate) fn add_destination(&self, channel: &str) -> Result<(), String> {
        self.subscription.add_destination(channel).wait().map_err(|error| error.to_string())
    }

    /// Expects the messages from this one on.
    pub(crate) fn beginning_with(mut self, first: u64) -> Self {
        self.checker.count = first;
        self
    }

    /// Rests so long after each few fragments.
    pub(crate) fn slowed(mut self, pause: Option<Nanos>) -> Self {
        self.pause = pause;
        self
    }

    /// Where the stream stands after what has come, if anything has.
    pub(crate) const fn position(&self) -> Option<Position> {
        self.position
    }

    /// How many messages have come.
    pub(crate) fn count(&self) -> u64 {
        self.checker.count
    }

    /// Checks what has come.
    ///
    /// # Errors
    /// A message is wrong.
    pub(crate) fn poll(&mut self) -> Result<usize, String> {
        let Self { subscription, assembler, checker, pause, position } = self;
        let mut result = Ok(());
        let limit = if pause.is_some() { 4 } else { 64 };
        let fragments = subscription.poll(limit, |fragment| {
            *position = Some(fragment.position());
            assembler.on_fragment(fragment, |message| {
                if result.is_ok() {
                    result = checker.check(message.payload());
                }
            });
        });
        if let Some(pause) = *pause {
            os::thread::sleep(pause);
        }
        result.map(|()| fragments)
    }

    /// Waits until this many have come, all right.
    ///
    /// # Errors
    /// One is wrong, or they do not come in time.
    pub(crate) fn expect(&mut self, count: u64) -> Result<(), String> {
        let deadline = Deadline::new();
        while self.checker.count < count {
            if self.poll()? == 0 {
                deadline.pause(&format!("only {} of {count} messages came", self.checker.count))?;
            }
        }
        Ok(())
    }
}

/// A network that loses a share of what is sent through it.
struct LosesWhatIsSent<N> {
    inner: N,
    loss: f64,
}

impl<N: Network> Network for LosesWhatIsSent<N> {
    fn bind(&self, options: &SocketOptions) -> std::io::Result<Box<dyn Socket>> {
        let inner = self.inner.bind(options)?;
        let rng = Rng::new(u64::from(inner.local_address().port()), "loss");
        Ok(Box::new(LosesSome { inner, loss: self.loss, rng }))
    }

    fn interfaces(&self) -> std::io::Result<Vec<network::Interface>> {
        self.inner.interfaces()
    }

    fn default_buffer_lengths(&self) -> std::io::Result<network::BufferLengths> {
        self.inner.default_buffer_lengths()
    }

    fn wait(&self, span: Nanos) {
        self.inner.wait(span);
    }
}

struct LosesSome {
    inner: Box<dyn Socket>,
    loss: f64,
    rng: Rng,
}

impl Socket for LosesSome {
    fn local_address(&self) -> std::net::SocketAddr {
        self.inner.local_address()
    }

    fn buffer_lengths(&self) -> network::BufferLengths {
        self.inner.buffer_lengths()
    }

    fn receive(
        &mut self,
        limit: usize,
        on: &mut dyn FnMut(network::Datagram<'_>),
    ) -> std::io::Result<usize> {
        self.inner.receive(limit, on)
    }

    fn send(&mut self, batch: &[Outgoing<'_>]) -> std::io::Result<usize> {
        let mut accepted = 0;
        for outgoing in batch {
            for datagram in outgoing.datagrams {
                let alone = [Outgoing { to: outgoing.to, datagrams: &[datagram] }];
                if !self.rng.chance(self.loss) && self.inner.send(&alone)? == 0 {
                    return Ok(accepted);
                }
                accepted += 1;
            }
        }
        Ok(accepted)
    }

    fn connect(&mut self, peer: std::net::SocketAddr) -> std::io::Result<()> {
        self.inner.connect(peer)
    }
}
