//! Archives of both sides that copy from each other, and archives that ask who is there.

use std::path::{Path, PathBuf};

use coracle::archive::{Authenticator, Verdict};
use coracle::archive_client::{
    Credentials, RecordingSignal, ReplicationParameters, SourceLocation,
};
use coracle::prelude::*;
use coracle::runtime::{Nanos, Now};

use crate::archive::{CONTENT, COUNT, IPC, Recorded, TheirClient, show, their_node_with};
use crate::java::Peer;
use crate::members::Side;
use crate::ours::{Deadline, Publisher, STREAM};
use crate::ours_archive::{Node, Session};
use crate::table::{OursOnTheirs, Seam, TheirsOnOurs};
use crate::transport::{Channel, port};
use crate::{Setting, Test, test};

/// The tests of these seams.
pub(crate) const TESTS: &[Test] = &[
    test("our_archive_copies_from_theirs", &[(Seam::Replication, OursOnTheirs)], |setting| {
        copies(setting, Side::Ours)
    }),
    test("their_archive_copies_from_ours", &[(Seam::Replication, TheirsOnOurs)], |setting| {
        copies(setting, Side::Theirs)
    }),
    test("our_archive_joins_their_live_stream", &[(Seam::Replication, OursOnTheirs)], |setting| {
        joins(setting, Side::Ours)
    }),
    test("their_archive_joins_our_live_stream", &[(Seam::Replication, TheirsOnOurs)], |setting| {
        joins(setting, Side::Theirs)
    }),
    test(
        "our_client_tells_their_archive_who_it_is",
        &[(Seam::Authentication, OursOnTheirs)],
        our_client_is_asked,
    ),
    test(
        "their_client_tells_our_archive_who_it_is",
        &[(Seam::Authentication, TheirsOnOurs)],
        their_client_is_asked,
    ),
];

/// The control stream of archives.
const CONTROL_STREAM: StreamId = StreamId(10);

/// An archive of each side, on a driver of its own.
struct Scene<'a> {
    setting: &'a Setting,
    ours: Node,
    theirs: Peer,
    our_aeron: PathBuf,
    their_aeron: PathBuf,
    our_control: String,
    their_control: String,
}

impl<'a> Scene<'a> {
    fn start(setting: &'a Setting) -> Result<Self, String> {
        let (our_control, their_control) = (Channel::udp().text(), Channel::udp().text());
        let our_aeron = setting.work.join("ours");
        let ours = Node::start(&our_aeron, &setting.work.join("our-archive"), &our_control)?;
        let archive = setting.work.join("their-archive");
        let (theirs, their_aeron) = their_node_with(setting, &archive, &their_control, &[])?;
        Ok(Self { setting, ours, theirs, our_aeron, their_aeron, our_control, their_control })
    }

    fn our_session(&self) -> Result<Session, String> {
        Session::connect(&self.our_aeron, IPC)
    }

    fn their_client(&self) -> TheirClient<'_> {
        TheirClient { java: &self.setting.java, aeron: show(&self.their_aeron), control: IPC }
    }

    fn close(self) -> Result<(), String> {
        self.ours.close()?;
        self.theirs.finish().map(drop)
    }
}

/// A recording is copied whole; the copy is cut, and goes on.
fn copies(setting: &Setting, copier: Side) -> Result<String, String> {
    const CHANNEL: &str = "aeron:ipc?term-length=64k";
    let scene = Scene::start(setting)?;
    let mut session = scene.our_session()?;
    let client = scene.their_client();
    let mut copies = Vec::new();
    for _ in 0..2 {
        let copy = if copier == Side::Ours {
            let recorded = client.record(CHANNEL)?;
            our_copy(&mut session, recorded.id, &scene.their_control, &recorded)?
        } else {
            let recorded = Recorded::of(&session.record(CHANNEL, (CONTENT, COUNT))?)?;
            their_copy(&client, recorded.id, &scene.our_control, &recorded)?
        };
        copies.push(copy);
    }
    drop(session);
    scene.close()?;
    Ok(format!("recordings {copies:?} of {COUNT} messages"))
}

/// Our archive copies theirs, is cut in the middle, and copies the rest.
fn our_copy(
    session: &mut Session,
    source: i64,
    control: &str,
    recorded: &Recorded,
) -> Result<i64, String> {
    let mut to = None;
    for _ in 0..2 {
        let parameters = ReplicationParameters { dst_recording_id: to, ..Default::default() };
        let asked = session.archive.replicate(source, control, CONTROL_STREAM, &parameters);
        session.wait(asked)?;
        let copy = session.signal(RecordingSignal::ReplicateEnd, to)?;
        stopped(session, copy, recorded.stop)?;
        session.replay(copy, IPC, (CONTENT, COUNT))?;
        session.verify(copy, (CONTENT, 0))?;
        if to.replace(copy).is_none() {
            // The first segment stays.
            let asked = session.archive.truncate_recording(copy, Position(1 << 20));
            session.wait(asked)?;
            session.signal(RecordingSignal::Delete, Some(copy))?;
        }
    }
    to.ok_or_else(|| "no copy".to_string())
}

/// Waits until a recording has stopped just there.
fn stopped(session: &mut Session, recording: i64, position: i64) -> Result<(), String> {
    let deadline = Deadline::new();
    loop {
        let asked = session.archive.stop_position(recording);
        let stop = session.wait(asked)?;
        if stop == Some(Position(position)) {
            return Ok(());
        }
        deadline.pause(&format!("the copy stops at {stop:?}, not {position}"))?;
    }
}

fn their_copy(
    client: &TheirClient<'_>,
    source: i64,
    control: &str,
    recorded: &Recorded,
) -> Result<i64, String> {
    let options = [("recording", source.to_string()), ("source", control.to_string())];
    let mut peer = client.start("replicate", &options)?;
    let copy = peer.expect("COPY")?;
    peer.say(&recorded.stop.to_string())?;
    peer.expect("REACHED")?;
    peer.expect("OK")?;
    let copy: i64 = copy.parse().map_err(|_| format!("copied what? {copy}"))?;
    client.replay(copy, IPC)?;
    client.replay(copy, &Channel::udp().text())?;
    Ok(copy)
}

/// A recording is copied while it grows; the copy goes over to the live stream.
fn joins(setting: &Setting, copier: Side) -> Result<String, String> {
    let scene = Scene::start(setting)?;
    let mut session = scene.our_session()?;
    let client = scene.their_client();
    let control = format!("control=127.0.0.1:{}|control-mode=dynamic", port());
    let channel = format!("aeron:udp?{control}|fc=max|term-length=64k|ssc=true");
    let live = format!("aeron:udp?endpoint=127.0.0.1:0|{control}");
    let (copy, position) = if copier == Side::Ours {
        let options = [("channel", channel)];
        let mut source = client.start("source", &options)?;
        let begun = source.expect("RECORDING")?;
        let recording = begun.split(' ').next().and_then(|word| word.parse().ok());
        let recording = recording.ok_or_else(|| format!("recorded what? {begun}"))?;
        let parameters = ReplicationParameters { live_destination: &live, ..Default::default() };
        let there = &scene.their_control;
        let asked = session.archive.replicate(recording, there, CONTROL_STREAM, &parameters);
        session.wait(asked)?;
        let copy = session.signal(RecordingSignal::Merge, None)?;
        session.signal(RecordingSignal::ReplicateEnd, Some(copy))?;
        let position: i64 =
            source.expect("POSITION")?.parse().map_err(|_| "no position".to_string())?;
        reaches(&mut session, copy, position)?;
        source.finish()?;
        (copy, position)
    } else {
        our_live_source(&mut session, &channel, &client, &live, &scene.our_control)?
    };
    if copier == Side::Ours {
        stopped(&mut session, copy, position)?;
        session.replay(copy, IPC, (CONTENT, COUNT))?;
    } else {
        client.replay(copy, IPC)?;
    }
    drop(session);
    scene.close()?;
    Ok(format!("recording {copy} to {position}, {COUNT} messages"))
}

/// Waits until an active recording has come so far.
fn reaches(session: &mut Session, recording: i64, position: i64) -> Result<(), String> {
    let deadline = Deadline::new();
    loop {
        let asked = session.archive.max_recorded_position(recording);
        let reached = session.wait(asked)?;
        if reached == Position(position) {
            return Ok(());
        }
        deadline.pause(&format!("the copy is at {reached:?}, not {position}"))?;
    }
}

/// Ours publishes and records while theirs copies and joins.
fn our_live_source(
    session: &mut Session,
    channel: &str,
    client: &TheirClient<'_>,
    live: &str,
    control: &str,
) -> Result<(i64, i64), String> {
    let mut publisher = Publisher::add(&session.client, channel, true)?;
    let local = SourceLocation::Local;
    let asked = session.archive.start_recording(channel, STREAM, local, true);
    session.wait(asked)?;
    publisher.offer_these(CONTENT, 0..COUNT / 2, || session.poll())?;
    let recording = session.list()?.last().ok_or("nothing is recorded")?.id;
    let options = [
        ("recording", recording.to_string()),
        ("source", control.to_string()),
        ("live", live.to_string()),
    ];
    let mut peer = client.start("replicate", &options)?;
    peer.expect("READY")?;
    for index in COUNT / 2..COUNT {
        publisher.offer_these(CONTENT, index..index + 1, || session.poll())?;
        session.poll()?;
        coracle::os::thread::sleep(Nanos::from_millis(1));
    }
    let copy = peer.expect("COPY")?;
    let position = publisher.position().0;
    peer.say(&position.to_string())?;
    peer.expect("REACHED")?;
    peer.expect("OK")?;
    drop(publisher);
    session.signal(RecordingSignal::Stop, Some(recording))?;
    let copy = copy.parse().map_err(|_| format!("copied what? {copy}"))?;
    Ok((copy, position))
}

/// Asks whoever says "ask" and admits whoever says "known"; nobody may purge. The same rule stands
/// in `java/ArchiveOperations.java`.
struct Guard;

const PRINCIPAL: &[u8] = b"somebody";
/// Template of the request to purge a recording.
const PURGE: u16 = 104;

impl Authenticator for Guard {
    fn on_connect(&mut self, _: i64, credentials: &[u8], _: Now) -> Verdict {
        match credentials {
            b"known" => Verdict::Accepted { principal: PRINCIPAL.to_vec() },
            b"ask" => Verdict::Challenged { challenge: b"who".to_vec() },
            _ => Verdict::Rejected,
        }
    }

    fn on_challenge_response(&mut self, _: i64, answer: &[u8], _: Now) -> Verdict {
        match answer {
            b"answer" => Verdict::Accepted { principal: PRINCIPAL.to_vec() },
            _ => Verdict::Rejected,
        }
    }

    fn is_authorised(&mut self, template_id: u16, principal: &[u8]) -> bool {
        template_id != PURGE && principal == PRINCIPAL
    }
}

/// What our client says.
struct Word {
    first: &'static str,
    then: &'static str,
}

impl Credentials for Word {
    fn credentials(&mut self) -> Vec<u8> {
        self.first.into()
    }

    fn answer(&mut self, challenge: &[u8]) -> Vec<u8> {
        if challenge == b"who" { self.then.into() } else { Vec::new() }
    }
}

/// What is said first and to a challenge, and whether it is enough.
const WORDS: [(&str, &str, bool); 4] =
    [("known", "", true), ("ask", "answer", true), ("ask", "nobody", false), ("", "", false)];

fn our_client_is_asked(setting: &Setting) -> Result<String, String> {
    let control = Channel::udp().text();
    let secured = [("secured", "yes".to_string())];
    let archive = setting.work.join("archive");
    let (theirs, aeron) = their_node_with(setting, &archive, &control, &secured)?;
    for (first, then, is_enough) in WORDS {
        let connected = our_word(&aeron, &control, Word { first, then });
        match connected {
            Ok(mut session) if is_enough => {
                session.list()?;
                let asked = session.archive.purge_recording(0);
                let refused = session.wait(asked).err().unwrap_or_default();
                if !refused.contains("error 13") {
                    return Err(format!("a purge was not refused: {refused}"));
                }
            }
            Err(cause) if !is_enough && cause.contains("error 10") => {}
            Ok(_) => return Err(format!("{first} {then} was admitted")),
            Err(cause) => return Err(format!("{first} {then}: {cause}")),
        }
    }
    theirs.finish()?;
    Ok("2 admitted, one after a challenge; 2 rejected; purges refused".to_string())
}

fn our_word(aeron: &Path, control: &str, word: Word) -> Result<Session, String> {
    Session::connect_as(aeron, control, Box::new(word))
}

fn their_client_is_asked(setting: &Setting) -> Result<String, String> {
    let (aeron, archive) = (setting.work.join("ours"), setting.work.join("archive"));
    let control = Channel::udp().text();
    let node = Node::start_guarded(&aeron, &archive, &control, Box::new(Guard))?;
    let client = TheirClient { java: &setting.java, aeron: show(&aeron), control: &control };
    for (first, then, is_enough) in WORDS {
        let options = [("credentials", first.to_string()), ("answer", then.to_string())];
        let lines = client.start("secured", &options)?.finish()?;
        let expected: &[&str] = match (first, is_enough) {
            ("ask", true) => &["CHALLENGE who", "ADMITTED 0", "REFUSED 13"],
            (_, true) => &["ADMITTED 0", "REFUSED 13"],
            ("ask", false) => &["CHALLENGE who", "REJECTED 10"],
            (_, false) => &["REJECTED 10"],
        };
        let said = lines.iter().filter(|line| *line != "OK");
        if !said.eq(expected) {
            return Err(format!("{first} {then}: {lines:?}, not {expected:?}"));
        }
    }
    node.close()?;
    Ok("2 admitted, one after a challenge; 2 rejected; purges refused".to_string())
}
