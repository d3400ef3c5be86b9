//! Streams from one side's driver to the other's: lost datagrams, slow subscribers, several
//! destinations, spies, messages from the shortest to the longest.

use std::path::{Path, PathBuf};

use coracle::prelude::*;
use coracle::runtime::Nanos;
use coracle::wire::counters::SystemCounter;

use crate::content::Content;
use crate::java::Peer;
use crate::members::Side;
use crate::ours::{self, Deadline, Publisher, Verifier};
use crate::table::{OursOnTheirs, Seam, TheirsOnOurs};
use crate::transport::{self, Channel, FRAGMENTED, check_errors, port, system_counter};
use crate::{Setting, Test, test};

/// The tests of these seams.
pub(crate) const TESTS: &[Test] = &[
    test("our_driver_sends_to_theirs", &[(Seam::Udp, OursOnTheirs)], |setting| {
        facing(setting, Side::Ours, 0.0)
    }),
    test("their_driver_sends_to_ours", &[(Seam::Udp, TheirsOnOurs)], |setting| {
        facing(setting, Side::Theirs, 0.0)
    }),
    test("our_driver_sends_to_theirs_with_one_of_100_lost", LOSS_OURS, |setting| {
        facing(setting, Side::Ours, 0.01)
    }),
    test("their_driver_sends_to_ours_with_one_of_100_lost", LOSS_THEIRS, |setting| {
        facing(setting, Side::Theirs, 0.01)
    }),
    test("our_driver_sends_to_theirs_with_20_of_100_lost", LOSS_OURS, |setting| {
        facing(setting, Side::Ours, 0.2)
    }),
    test("their_driver_sends_to_ours_with_20_of_100_lost", LOSS_THEIRS, |setting| {
        facing(setting, Side::Theirs, 0.2)
    }),
    test("our_driver_sends_to_their_slow_subscriber", &[(Seam::Slow, OursOnTheirs)], |setting| {
        slow(setting, Side::Ours)
    }),
    test("their_driver_sends_to_our_slow_subscriber", &[(Seam::Slow, TheirsOnOurs)], |setting| {
        slow(setting, Side::Theirs)
    }),
    test(
        "our_publication_has_destinations_on_both",
        &[(Seam::Destinations, OursOnTheirs)],
        |setting| destinations(setting, Side::Ours),
    ),
    test(
        "their_publication_has_destinations_on_both",
        &[(Seam::Destinations, TheirsOnOurs)],
        |setting| destinations(setting, Side::Theirs),
    ),
    test(
        "our_subscription_hears_their_publications_at_several_ports",
        &[(Seam::Destinations, TheirsOnOurs)],
        |setting| sources(setting, Side::Theirs),
    ),
    test(
        "their_subscription_hears_our_publications_at_several_ports",
        &[(Seam::Destinations, OursOnTheirs)],
        |setting| sources(setting, Side::Ours),
    ),
    test("our_spy_on_their_driver", &[(Seam::Spies, OursOnTheirs)], |setting| {
        spies(setting, Side::Theirs)
    }),
    test("their_spy_on_our_driver", &[(Seam::Spies, TheirsOnOurs)], |setting| {
        spies(setting, Side::Ours)
    }),
    test("our_longest_messages_to_theirs", &[(Seam::Udp, OursOnTheirs)], |setting| {
        longest(setting, Side::Ours)
    }),
    test("their_longest_messages_to_ours", &[(Seam::Udp, TheirsOnOurs)], |setting| {
        longest(setting, Side::Theirs)
    }),
];

const LOSS_OURS: &[(Seam, crate::table::Direction)] = &[(Seam::Loss, OursOnTheirs)];
const LOSS_THEIRS: &[(Seam, crate::table::Direction)] = &[(Seam::Loss, TheirsOnOurs)];

/// Messages to the longest that a term of 1 MiB allows.
const LONG: Content = Content { seed: 13, minimum: 0, maximum: 128 * 1024 };
/// Messages to the longest that any term allows.
const LONGEST: Content = Content { seed: 14, minimum: 0, maximum: 16 * 1024 * 1024 };

/// A driver of each side.
struct Scene<'a> {
    setting: &'a Setting,
    ours: Driver,
    theirs: Peer,
    directory: PathBuf,
}

impl<'a> Scene<'a> {
    fn start(setting: &'a Setting, loss: f64) -> Result<Self, String> {
        let (theirs, directory) = transport::their_driver(setting)?;
        let ours = ours::start_driver(&setting.work.join("ours"), loss)?;
        Ok(Self { setting, ours, theirs, directory })
    }

    fn directory(&self, side: Side) -> &Path {
        match side {
            Side::Ours => self.ours.directory(),
            Side::Theirs => &self.directory,
        }
    }

    fn counter(&self, side: Side, counter: SystemCounter) -> Result<i64, String> {
        system_counter(self.directory(side), counter)
    }

    /// Ends both; an orderly exchange leaves nothing in our error log.
    fn close(self) -> Result<String, String> {
        let errors = check_errors(self.ours.directory())?;
        self.ours.close().map_err(|error| error.to_string())?;
        self.theirs.finish()?;
        Ok(errors)
    }
}

/// A client of one side on the driver of one side.
struct Part {
    client: Side,
    driver: Side,
    channel: String,
}

impl Part {
    /// A client on its own side's driver.
    fn at_home(side: Side, channel: &str) -> Self {
        Self { client: side, driver: side, channel: channel.to_string() }
    }
}

/// A publication and all who hear it from its first message on.
struct Play {
    publisher: Part,
    destinations: Vec<String>,
    /// Where subscribers hear besides their channels.
    sources: Vec<String>,
    subscribers: Vec<Part>,
    content: Content,
    count: u64,
    /// How long subscribers rest after each few fragments.
    pause: Option<Nanos>,
}

impl Play {
    fn new(publisher: Part, subscribers: Vec<Part>, (content, count): (Content, u64)) -> Self {
        let (destinations, sources) = (Vec::new(), Vec::new());
        Self { publisher, destinations, sources, subscribers, content, count, pause: None }
    }

    /// Sends all, and waits until all have all; returns how often the publisher had to wait.
    fn perform(&self, scene: &Scene<'_>) -> Result<u64, String> {
        let (mut verifiers, mut peers, mut clients) = (Vec::new(), Vec::new(), Vec::new());
        for part in &self.subscribers {
            let directory = scene.directory(part.driver);
            if part.client == Side::Theirs {
                peers.push(self.their_client(scene, "subscribe", part)?);
                continue;
            }
            let client = ours::connect(directory)?;
            let verifier = Verifier::add(&client, &part.channel, self.content)?;
            self.sources.iter().try_for_each(|it| verifier.add_destination(it))?;
            verifiers.push(verifier.slowed(self.pause));
            clients.push(client);
        }
        let mut poll = || verifiers.iter_mut().try_for_each(|it| it.poll().map(drop));
        let refused = if self.publisher.client == Side::Ours {
            let client = ours::connect(scene.directory(self.publisher.driver))?;
            let mut publisher = Publisher::add(&client, &self.publisher.channel, false)?;
            self.destinations.iter().try_for_each(|it| publisher.add_destination(it))?;
            let mut refused = 0;
            publisher.offer_all(self.content, self.count, || {
                refused += 1;
                poll()
            })?;
            self.expect_all(&mut verifiers, &mut peers)?;
            refused
        } else {
            let mut publisher = self.their_client(scene, "publish", &self.publisher)?;
            self.expect_all(&mut verifiers, &mut peers)?;
            drop(verifiers);
            let sent = publisher.expect("SENT")?;
            let refused = sent.rsplit(' ').next().and_then(|word| word.parse().ok());
            refused.ok_or_else(|| format!("sent what? {sent}"))?
        };
        drop(clients);
        Ok(refused)
    }

    fn expect_all(&self, ours: &mut [Verifier], theirs: &mut [Peer]) -> Result<(), String> {
        let deadline = Deadline::new();
        while ours.iter().any(|verifier| verifier.count() < self.count) {
            let mut fragments = 0;
            for verifier in &mut *ours {
                fragments += verifier.poll()?;
            }
            if fragments == 0 {
                let counts: Vec<u64> = ours.iter().map(Verifier::count).collect();
                deadline.pause(&format!("only {counts:?} of {} messages came", self.count))?;
            }
        }
        theirs.iter_mut().try_for_each(|peer| peer.expect("VERIFIED").map(drop))
    }

    fn their_client(&self, scene: &Scene<'_>, role: &str, part: &Part) -> Result<Peer, String> {
        let pause = self.pause.map_or(0, |pause| pause.0 / 1_000);
        let more = [
            ("channel", part.channel.clone()),
            ("destinations", self.destinations.join(",")),
            ("sources", self.sources.join(",")),
            ("pause", pause.to_string()),
        ];
        let directory = scene.directory(part.driver);
        let what = (self.content, self.count);
        transport::start_client(scene.setting, role, directory, what, &more)
    }
}

const fn other(side: Side) -> Side {
    match side {
        Side::Ours => Side::Theirs,
        Side::Theirs => Side::Ours,
    }
}

/// One side's driver sends to the other's; our driver loses this share of its datagrams each way.
fn facing(setting: &Setting, sender: Side, loss: f64) -> Result<String, String> {
    let scene = Scene::start(setting, loss)?;
    let kinds = if loss > 0.1 {
        [(FRAGMENTED, 500), (LONG, 30)]
    } else {
        [(FRAGMENTED, 2_000), (LONG, 200)]
    };
    for kind in kinds {
        let channel = Channel::udp().text();
        let subscriber = Part::at_home(other(sender), &channel);
        Play::new(Part::at_home(sender, &channel), vec![subscriber], kind).perform(&scene)?;
    }
    let retransmits = scene.counter(sender, SystemCounter::RetransmitsSent)?;
    let naks = scene.counter(other(sender), SystemCounter::NaksSent)?;
    if loss > 0.0 && (retransmits == 0 || naks == 0) {
        return Err(format!("loss went unnoticed: {naks} NAKs, {retransmits} retransmits"));
    }
    let errors = scene.close()?;
    let count: u64 = kinds.iter().map(|kind| kind.1).sum();
    Ok(format!("{count} messages, {naks} NAKs, {retransmits} retransmits, {errors}"))
}

/// The subscriber rests again and again; the publisher has to wait for it, and nothing is lost.
fn slow(setting: &Setting, sender: Side) -> Result<String, String> {
    let scene = Scene::start(setting, 0.0)?;
    let mut all = Vec::new();
    for (kind, is_here) in [((FRAGMENTED, 1_000), false), ((LONG, 60), true)] {
        // To the other driver, then to the other side's client on the sender's.
        let channel = if is_here { Channel::Ipc } else { Channel::udp() }.text();
        let driver = if is_here { sender } else { other(sender) };
        let subscriber = Part { client: other(sender), driver, channel: channel.clone() };
        let mut play = Play::new(Part::at_home(sender, &channel), vec![subscriber], kind);
        play.pause = Some(Nanos::from_micros(300));
        let refused = play.perform(&scene)?;
        if refused == 0 {
            return Err("the publisher never had to wait".to_string());
        }
        all.push(refused);
    }
    let errors = scene.close()?;
    Ok(format!("1060 messages, the publishers waited {all:?} times, {errors}"))
}

/// A publication whose destinations are told, then one whose destinations come by themselves; a
/// subscriber of each side hears all.
fn destinations(setting: &Setting, sender: Side) -> Result<String, String> {
    const KIND: (Content, u64) = (FRAGMENTED, 1_000);
    let scene = Scene::start(setting, 0.0)?;
    let ends = [Channel::udp().text(), Channel::udp().text()];
    let subscribers =
        vec![Part::at_home(Side::Ours, &ends[0]), Part::at_home(Side::Theirs, &ends[1])];
    // Both must be there before the first message goes out.
    let publisher = Part::at_home(sender, "aeron:udp?control-mode=manual|fc=min,g:/2");
    let mut manual = Play::new(publisher, subscribers, KIND);
    manual.destinations = ends.to_vec();
    manual.perform(&scene)?;
    let control = format!("aeron:udp?control=127.0.0.1:{}|control-mode=dynamic", port());
    let end = control.replace('?', "?endpoint=127.0.0.1:0|");
    let subscribers = vec![Part::at_home(Side::Ours, &end), Part::at_home(Side::Theirs, &end)];
    let publisher = Part::at_home(sender, &format!("{control}|fc=min,g:/2"));
    Play::new(publisher, subscribers, KIND).perform(&scene)?;
    let errors = scene.close()?;
    Ok(format!("manual and dynamic, {} messages to two subscribers each, {errors}", KIND.1))
}

/// One stream goes to two ports of one subscription, which hears it once.
fn sources(setting: &Setting, sender: Side) -> Result<String, String> {
    const KIND: (Content, u64) = (FRAGMENTED, 1_000);
    let scene = Scene::start(setting, 0.0)?;
    let ends = [Channel::udp().text(), Channel::udp().text()];
    let subscriber = Part::at_home(other(sender), "aeron:udp?control-mode=manual");
    let publisher = Part::at_home(sender, "aeron:udp?control-mode=manual");
    let mut play = Play::new(publisher, vec![subscriber], KIND);
    play.destinations = ends.to_vec();
    play.sources = ends.to_vec();
    play.perform(&scene)?;
    let errors = scene.close()?;
    Ok(format!("{} messages, each by two ways, taken once, {errors}", KIND.1))
}

/// Spies of the other side on a side's driver, beside a subscriber elsewhere and alone.
fn spies(setting: &Setting, driver: Side) -> Result<String, String> {
    const KIND: (Content, u64) = (FRAGMENTED, 1_000);
    let scene = Scene::start(setting, 0.0)?;
    let mut count = 0;
    for publisher in [Side::Ours, Side::Theirs] {
        for is_alone in [false, true] {
            let mut channel = Channel::udp().text();
            let mut subscribers = vec![Part {
                client: other(driver),
                driver,
                channel: format!("aeron-spy:{channel}"),
            }];
            if is_alone {
                channel += "|ssc=true";
            } else {
                subscribers.push(Part::at_home(other(driver), &channel));
            }
            let publisher = Part { client: publisher, driver, channel };
            Play::new(publisher, subscribers, KIND).perform(&scene)?;
            count += 1;
        }
    }
    let errors = scene.close()?;
    Ok(format!("{count} times {} messages, {errors}", KIND.1))
}

/// Messages to 16 MiB, over a term of 128 MiB.
fn longest(setting: &Setting, sender: Side) -> Result<String, String> {
    const COUNT: u64 = 4;
    let scene = Scene::start(setting, 0.0)?;
    for is_here in [false, true] {
        let channel = if is_here { Channel::Ipc } else { Channel::udp() }.text();
        let separator = if is_here { '?' } else { '|' };
        let publication = format!("{channel}{separator}term-length=128m");
        let driver = if is_here { sender } else { other(sender) };
        let subscriber = Part { client: other(sender), driver, channel };
        let publisher = Part::at_home(sender, &publication);
        Play::new(publisher, vec![subscriber], (LONGEST, COUNT)).perform(&scene)?;
    }
    let errors = scene.close()?;
    Ok(format!("twice {COUNT} messages from 0 to {} bytes, {errors}", LONGEST.maximum))
}
