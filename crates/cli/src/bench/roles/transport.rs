//! Drivers, and what streams through them.

use std::path::Path;

use coracle::prelude::*;
use coracle::runtime::Nanos;
use coracle::{driver as media_driver, os};

use super::{FRAGMENT_LIMIT, Options, PASSES, Pace, measured, offer, serve, wait_until};
use crate::Failure;
use crate::bench::latency;

pub(super) fn driver(options: &Options) -> Result<(), Failure> {
    serve(&[start_driver(options)?])
}

/// All of a driver on one thread that idles as asked for, in the way of [`coracle::Driver`].
pub(super) fn start_driver(options: &Options) -> Result<os::thread::AgentThread, Failure> {
    let ports = os::ports(None)?;
    let agents = media_driver::launch(options.driver_config()?, &ports, os::clock::now())?;
    let together = Box::new(agents.together());
    let strategy = options.strategy()?.giving_way();
    Ok(os::thread::AgentThread::spawn(together, strategy, ports.network)?)
}

pub(super) fn publish(options: &Options) -> Result<(), Failure> {
    let (message, pace) = (options.message()?, options.pace()?);
    let client = options.connect()?;
    let (channel, stream) = (options.text("channel")?, options.stream("stream")?);
    let mut publication = client.add_exclusive_publication(channel, stream).wait()?;
    loop {
        offer(&mut publication, &message, pace)?;
    }
}

/// Counts what comes.
#[derive(Clone, Copy, Default)]
struct Count {
    messages: u64,
    bytes: u64,
}

pub(super) fn subscribe(options: &Options) -> Result<(), Failure> {
    let pace = options.pace()?;
    let client = options.connect()?;
    let (channel, stream) = (options.text("channel")?, options.stream("stream")?);
    let mut subscription = client.add_subscription(channel, stream).wait()?;
    println!("READY");
    wait_until("a publisher", || {
        subscription.update();
        subscription.is_connected()
    })?;
    let mut count = Count::default();
    let begin = os::clock::now_mono();
    poll(&mut subscription, &mut count, pace, begin + options.span("warm-up-ms")?);
    let before = count;
    println!("MEASURING");
    let start = os::clock::now_mono();
    let end = poll(&mut subscription, &mut count, pace, start + options.span("measure-ms")?);
    measured(count.messages - before.messages, count.bytes - before.bytes, end - start);
    Ok(())
}

fn poll(subscription: &mut Subscription, count: &mut Count, pace: Pace, until: Nanos) -> Nanos {
    loop {
        for _ in 0..PASSES {
            let fragments = subscription.poll(FRAGMENT_LIMIT, |fragment| {
                count.messages += 1;
                count.bytes += fragment.payload().len() as u64;
            });
            if fragments == 0 {
                pace.idle();
            }
        }
        let now = os::clock::now_mono();
        if now >= until {
            return now;
        }
    }
}

/// Sends one message at a time and waits for it to come back.
struct Pinger {
    subscription: Subscription,
    publication: ExclusivePublication,
    message: Vec<u8>,
    pace: Pace,
    sequence: u64,
    /// Nanoseconds of each round trip of the last run.
    times: Vec<i64>,
}

impl Pinger {
    fn run(&mut self, span: Nanos) -> Result<(), Failure> {
        let begin = os::clock::now_mono();
        let mut sent = begin;
        self.times.clear();
        while self.times.len() < self.times.capacity() && sent - begin < span {
            self.sequence += 1;
            let number = self.sequence.to_le_bytes();
            self.message.first_chunk_mut().ok_or("length: at least 8")?.clone_from(&number);
            offer(&mut self.publication, &self.message, self.pace)?;
            let mut is_back = false;
            while !is_back {
                let on_fragment = |fragment: Fragment<'_>| {
                    is_back |= fragment.payload().first_chunk() == Some(&number);
                };
                if self.subscription.poll(1, on_fragment) == 0 {
                    self.pace.idle();
                }
            }
            let now = os::clock::now_mono();
            self.times.push((now - sent).0);
            sent = now;
        }
        Ok(())
    }
}

pub(super) fn ping(options: &Options) -> Result<(), Failure> {
    let client = options.connect()?;
    let (back, back_stream) = (options.text("back-channel")?, options.stream("back-stream")?);
    let (channel, stream) = (options.text("channel")?, options.stream("stream")?);
    let mut pinger = Pinger {
        subscription: client.add_subscription(back, back_stream).wait()?,
        publication: client.add_exclusive_publication(channel, stream).wait()?,
        message: options.message()?,
        pace: options.pace()?,
        sequence: 0,
        times: Vec::with_capacity(options.number("samples")?),
    };
    wait_until("the other side", || {
        pinger.subscription.update();
        pinger.subscription.is_connected() && pinger.publication.is_connected()
    })?;
    pinger.run(options.span("warm-up-ms")?)?;
    println!("MEASURING");
    let start = os::clock::now_mono();
    pinger.run(options.span("measure-ms")?)?;
    let span = os::clock::now_mono() - start;
    latency::write(Path::new(options.text("out")?), &pinger.times)?;
    let messages = pinger.times.len() as u64;
    measured(messages, messages * pinger.message.len() as u64, span);
    Ok(())
}

pub(super) fn pong(options: &Options) -> Result<(), Failure> {
    let pace = options.pace()?;
    let client = options.connect()?;
    let (back, back_stream) = (options.text("back-channel")?, options.stream("back-stream")?);
    let (channel, stream) = (options.text("channel")?, options.stream("stream")?);
    let mut subscription = client.add_subscription(channel, stream).wait()?;
    let mut publication = client.add_exclusive_publication(back, back_stream).wait()?;
    println!("READY");
    loop {
        let mut result = Ok(());
        let answer = |fragment: Fragment<'_>| {
            result = offer(&mut publication, fragment.payload(), pace);
        };
        if subscription.poll(1, answer) == 0 {
            pace.idle();
        }
        result?;
    }
}
