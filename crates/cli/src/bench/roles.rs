//! Our side's processes, one role each. Genuine ones are in `interop/java/Bench*.java`: same roles,
//! options and output.

mod archive;
mod cluster;
mod transport;

use std::collections::BTreeMap;
use std::path::PathBuf;

use coracle::os;
use coracle::os::thread::AgentThread;
use coracle::prelude::*;
use coracle::runtime::Nanos;
use coracle::runtime::idle::IdleStrategy;
use coracle::{client, driver};

use crate::Failure;

/// Fragments taken in one poll, at most.
const FRAGMENT_LIMIT: usize = 256;
/// Passes between two looks at the clock.
const PASSES: u32 = 64;
/// How often a process that serves looks whether it still does.
const INTERVAL: Nanos = Nanos::from_millis(100);
/// How long anything may take to connect.
const LIMIT: Nanos = Nanos::from_secs(20);

/// Takes a role until it is done; one that serves, until the process is killed.
///
/// # Errors
/// Whatever went wrong; it is told on standard output, too, to whoever waits for a line there.
pub(crate) fn run(name: &str, options: &[String]) -> Result<(), Failure> {
    let result = take(name, options);
    if let Err(failure) = &result {
        println!("FAIL: {failure}");
    }
    result
}

fn take(name: &str, options: &[String]) -> Result<(), Failure> {
    let options = Options::parse(options)?;
    os::process::die_with_parent(options.number("parent")?)?;
    match name {
        "driver" => transport::driver(&options),
        "publish" => transport::publish(&options),
        "subscribe" => transport::subscribe(&options),
        "ping" => transport::ping(&options),
        "pong" => transport::pong(&options),
        "archive" => archive::archive(&options),
        "record" => archive::record(&options),
        "replay" => archive::replay(&options),
        "member" => cluster::member(&options),
        "load" => cluster::load(&options),
        "first-echo" => cluster::first_echo(&options),
        "outage" => cluster::outage(&options),
        _ => Err(format!("unknown role {name}").into()),
    }
}

/// What a role was told.
struct Options(BTreeMap<String, String>);

impl Options {
    fn parse(options: &[String]) -> Result<Self, Failure> {
        let pair = |option: &String| match option.split_once('=') {
            Some((name, value)) => Ok((name.to_string(), value.to_string())),
            None => Err(format!("{option}: not NAME=VALUE")),
        };
        Ok(Self(options.iter().map(pair).collect::<Result<_, _>>()?))
    }

    fn text(&self, name: &str) -> Result<&str, Failure> {
        Ok(self.0.get(name).ok_or_else(|| format!("no {name}"))?)
    }

    fn number<T: TryFrom<u64>>(&self, name: &str) -> Result<T, Failure> {
        let number = self.text(name)?.parse::<u64>()?;
        T::try_from(number).map_err(|_| format!("{name}={number}: too large").into())
    }

    fn span(&self, name: &str) -> Result<Nanos, Failure> {
        Ok(Nanos::from_millis(self.number::<u32>(name)?.into()))
    }

    fn stream(&self, name: &str) -> Result<StreamId, Failure> {
        Ok(StreamId(self.number::<u16>(name)?.into()))
    }

    /// A message of the length asked for.
    fn message(&self) -> Result<Vec<u8>, Failure> {
        Ok(vec![0; self.number::<u32>("length")?.try_into()?])
    }

    /// How an agent idles.
    fn strategy(&self) -> Result<IdleStrategy, Failure> {
        match self.text("idle")? {
            "spin" => Ok(IdleStrategy::Spin),
            "yield" => Ok(IdleStrategy::Yield),
            "backoff" => Ok(IdleStrategy::BACKOFF),
            "wait" => Ok(IdleStrategy::WAIT),
            other => Err(format!("idle={other}").into()),
        }
    }

    /// How an application idles.
    fn pace(&self) -> Result<Pace, Failure> {
        match self.text("idle")? {
            "spin" => Ok(Pace::Spin),
            "yield" => Ok(Pace::Yield),
            other => Err(format!("idle={other}").into()),
        }
    }

    fn driver_config(&self) -> Result<driver::Config, Failure> {
        let mut config = driver::Config::at(self.text("dir")?);
        for (name, value) in &self.0 {
            let is_other = ["aeron.archive.", "aeron.cluster.", "coracle.archive."]
                .iter()
                .any(|it| name.starts_with(it));
            if is_property(name) && !is_other {
                config.set(name, value)?;
            }
        }
        Ok(config)
    }

    /// The options of the parts of a node.
    fn properties(&self) -> impl Iterator<Item = (String, String)> {
        let options = self.0.iter().filter(|(name, _)| is_property(name));
        options.map(|(name, value)| (name.clone(), value.clone()))
    }

    fn connect(&self) -> Result<Client, Failure> {
        let directory = PathBuf::from(self.text("dir")?);
        Ok(Client::connect(client::Config { directory, ..Default::default() })?)
    }
}

/// Whether an option is a property of a part of a node: genuine Aeron's, or ours alone.
fn is_property(name: &str) -> bool {
    name.starts_with("aeron.") || name.starts_with("coracle.")
}

/// What an application does when there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Spin,
    Yield,
}

impl Pace {
    #[inline]
    fn idle(self) {
        match self {
            Self::Spin => std::hint::spin_loop(),
            Self::Yield => std::thread::yield_now(),
        }
    }
}

/// Waits, patiently but not for ever.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<(), Failure> {
    let end = os::clock::now().mono + LIMIT;
    while !is_so() {
        if os::clock::now().mono > end {
            return Err(format!("{what}: not within {} s", LIMIT.as_millis() / 1000).into());
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// Offers a message until it has gone out.
#[inline]
fn offer(
    publication: &mut ExclusivePublication,
    message: &[u8],
    pace: Pace,
) -> Result<(), OfferError> {
    loop {
        match publication.offer(message) {
            Ok(_) => return Ok(()),
            Err(OfferError::AdminAction | OfferError::BackPressured | OfferError::NotConnected) => {
                pace.idle();
            }
            Err(error) => return Err(error),
        }
    }
}

/// Tells that this process serves, and lets its threads do so.
fn serve(threads: &[AgentThread]) -> Result<(), Failure> {
    println!("READY");
    while !threads.iter().any(AgentThread::is_finished) {
        os::thread::sleep(INTERVAL);
    }
    Err("a thread ended".into())
}

fn measured(messages: u64, bytes: u64, nanos: Nanos) {
    println!("MEASURED {messages} {bytes} {}", nanos.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(texts: &[&str]) -> Result<Options, Failure> {
        Options::parse(&texts.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read_by_name() {
        let options = options(&["length=32", "idle=yield", "warm-up-ms=1500", "dir=/a=b"]).unwrap();
        assert_eq!(options.message().unwrap(), [0; 32]);
        assert_eq!(options.pace().unwrap(), Pace::Yield);
        assert_eq!(options.strategy().unwrap(), IdleStrategy::Yield);
        assert_eq!(options.span("warm-up-ms").unwrap(), Nanos::from_millis(1500));
        assert_eq!(options.text("dir").unwrap(), "/a=b");
        assert_eq!(options.text("channel").unwrap_err().to_string(), "no channel");
        assert!(options.number::<u8>("warm-up-ms").is_err());
    }

    #[test]
    fn a_driver_gets_its_own_properties() {
        let texts = ["dir=/x", "aeron.mtu.length=8k", "aeron.archive.file.sync.level=0"];
        assert_eq!(options(&texts).unwrap().driver_config().unwrap().terms.mtu, 8192);
        assert!(options(&["no value"]).is_err());
        assert!(options(&["dir=/x", "aeron.unheard.of=1"]).unwrap().driver_config().is_err());
        assert!(options(&["dir=/x", "coracle.unheard.of=1"]).unwrap().driver_config().is_err());
        let [log, archive] = ["aeron.cluster.log.channel=aeron:ipc", "coracle.archive.guards=true"];
        let texts = ["dir=/x", log, archive, "coracle.sender.batch=16"];
        let options = options(&texts).unwrap();
        assert!(options.driver_config().is_ok());
        assert_eq!(options.properties().count(), 3);
    }

    #[test]
    fn a_role_that_nobody_knows_is_refused() {
        let parent = format!("parent={}", std::os::unix::process::parent_id());
        let refused = take("juggle", &[parent]).unwrap_err().to_string();
        assert_eq!(refused, "unknown role juggle");
    }
}
