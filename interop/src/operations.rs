//! Every operation of an archive on segments, rightly and wrongly used, by clients of both sides on
//! archives of both: the same lines must come of all four. `java/ArchiveOperations.java` has the
//! same script.

use coracle::archive_client::{ArchiveErrorCode, SourceLocation};
use coracle::archive_client::{FromAnswer, Recording, RecordingSignal, Request, RequestError};
use coracle::prelude::*;

use crate::archive::{IPC, TheirClient, show, their_node};
use crate::content::Content;
use crate::ours::{Deadline, Publisher, STREAM};
use crate::ours_archive::{Node, Session};
use crate::table::{OursOnTheirs, Seam, TheirsOnOurs};
use crate::transport::Channel;
use crate::{Setting, Test, test};

/// The tests of this seam.
pub(crate) const TESTS: &[Test] = &[
    test("their_client_works_on_our_segments", &[(Seam::Segments, TheirsOnOurs)], |setting| {
        let expected = theirs_on_theirs(setting)?;
        let control = Channel::udp().text();
        let (aeron, archive) = (setting.work.join("ours"), setting.work.join("our-archive"));
        let node = Node::start(&aeron, &archive, &control)?;
        let client = TheirClient { java: &setting.java, aeron: show(&aeron), control: IPC };
        let lines = their_lines(&client, &control)?;
        node.close()?;
        compare(&expected, &lines)
    }),
    test("our_client_works_on_their_segments", &[(Seam::Segments, OursOnTheirs)], |setting| {
        let control = Channel::udp().text();
        let (aeron, archive) = (setting.work.join("ours"), setting.work.join("our-archive"));
        let node = Node::start(&aeron, &archive, &control)?;
        let expected = Script::run(Session::connect(&aeron, IPC)?, &control)?;
        node.close()?;
        let (theirs, aeron) = their_node(setting, &setting.work.join("archive"), &control)?;
        let lines = Script::run(Session::connect(&aeron, IPC)?, &control)?;
        theirs.finish()?;
        compare(&expected, &lines)
    }),
];

/// Messages of one frame of 1 KiB each, so that a segment begins with a message.
const CONTENT: Content = Content { seed: 22, minimum: 992, maximum: 992 };
const SEGMENT: i64 = 1 << 20;

fn theirs_on_theirs(setting: &Setting) -> Result<Vec<String>, String> {
    let control = Channel::udp().text();
    let (theirs, aeron) = their_node(setting, &setting.work.join("archive"), &control)?;
    let client = TheirClient { java: &setting.java, aeron: show(&aeron), control: IPC };
    let lines = their_lines(&client, &control)?;
    theirs.finish()?;
    Ok(lines)
}

/// What their client says of the archive.
fn their_lines(client: &TheirClient<'_>, _control: &str) -> Result<Vec<String>, String> {
    let options = [
        ("seed", CONTENT.seed.to_string()),
        ("min", CONTENT.minimum.to_string()),
        ("max", CONTENT.maximum.to_string()),
    ];
    let lines = client.start("operations", &options)?.finish()?;
    let lines = lines.into_iter().filter_map(|line| Some(line.strip_prefix("OPERATION ")?.into()));
    Ok(lines.collect())
}

fn compare(expected: &[String], found: &[String]) -> Result<String, String> {
    let differs = (0..expected.len()).find(|&at| expected.get(at) != found.get(at));
    if let Some(at) = differs {
        let (is, should) = (found.get(at), &expected[at]);
        return Err(format!("{is:?}, not {should:?}, after {:#?}", &expected[..at]));
    }
    if expected.len() != found.len() {
        return Err(format!("{} lines, not {}: {found:#?}", found.len(), expected.len()));
    }
    let refused = expected.iter().filter(|line| line.contains(" error ")).count();
    Ok(format!("{} equal answers, {refused} of them refusals", expected.len()))
}

/// Asks, and writes down what is answered.
struct Script {
    session: Session,
    control: String,
    lines: Vec<String>,
}

impl Script {
    fn run(session: Session, control: &str) -> Result<Vec<String>, String> {
        let mut script = Self { session, control: control.to_string(), lines: Vec::new() };
        let first = script.segments()?;
        let second = script.migration(first)?;
        script.refusals(first, second)?;
        Ok(script.lines)
    }

    /// What came of an operation: its answer as a number, or the code of the error.
    fn attempt<T: FromAnswer>(
        &mut self,
        name: &str,
        request: Request<T>,
        number: impl FnOnce(T) -> i64,
    ) -> Result<(), String> {
        let result = match self.session.answer(request)? {
            Ok(answer) => number(answer).to_string(),
            Err(RequestError::Refused { cause, .. }) => format!("error {}", cause.code.code()),
            Err(RequestError::RecordingUnknown { .. }) => {
                format!("error {}", ArchiveErrorCode::UnknownRecording.code())
            }
            Err(error) => return Err(error.to_string()),
        };
        self.lines.push(format!("{name} {result}"));
        Ok(())
    }

    fn deleted(&mut self, recording: i64) -> Result<(), String> {
        self.session.signal(RecordingSignal::Delete, Some(recording)).map(drop)
    }

    fn start(&mut self, recording: i64) -> Result<(), String> {
        let asked = self.session.archive.start_position(recording);
        self.attempt("start", asked, |position| position.0)
    }

    fn stop(&mut self, recording: i64) -> Result<(), String> {
        let asked = self.session.archive.stop_position(recording);
        self.attempt("stop", asked, |position| position.map_or(-1, |position| position.0))
    }

    fn verify(&mut self, recording: i64, first: u64) -> Result<(), String> {
        let end = self.session.verify(recording, (CONTENT, first))?;
        self.lines.push(format!("verified {first} to {end}"));
        Ok(())
    }

    fn detach(&mut self, name: &str, recording: i64, position: i64) -> Result<(), String> {
        let asked = self.session.archive.detach_segments(recording, Position(position));
        self.attempt(name, asked, |()| 0)
    }

    fn attach(&mut self, recording: i64) -> Result<(), String> {
        let asked = self.session.archive.attach_segments(recording);
        self.attempt("attach", asked, |count| count)
    }

    fn truncate(&mut self, name: &str, recording: i64, position: i64) -> Result<(), String> {
        let asked = self.session.archive.truncate_recording(recording, Position(position));
        self.attempt(name, asked, |count| count)
    }

    fn segments(&mut self) -> Result<i64, String> {
        let first = self.record("aeron:ipc?term-length=64k", 0..4_000)?;
        let stop = self.described(first)?.stop_position.map_or(-1, |position| position.0);
        self.lines.push(format!("recorded {stop}"));
        self.detach("detach inside of a segment", first, SEGMENT + 32)?;
        self.detach("detach beyond the end", first, 64 * SEGMENT)?;
        self.detach("detach", first, SEGMENT)?;
        self.start(first)?;
        self.verify(first, 1024)?;
        let parameters = coracle::archive_client::ReplayParameters {
            position: Some(Position(0)),
            ..Default::default()
        };
        let asked = self.session.archive.replay(first, IPC, StreamId(77), &parameters);
        self.attempt("replay what is detached", asked, |session| session.0)?;
        self.attach(first)?;
        self.start(first)?;
        self.verify(first, 0)?;
        self.detach("detach", first, SEGMENT)?;
        let asked = self.session.archive.delete_detached_segments(first);
        self.attempt("delete detached", asked, |count| count)?;
        self.deleted(first)?;
        self.attach(first)?;
        let asked = self.session.archive.purge_segments(first, Position(2 * SEGMENT));
        self.attempt("purge segments", asked, |count| count)?;
        self.deleted(first)?;
        self.start(first)?;
        self.truncate("truncate before the start", first, SEGMENT)?;
        self.truncate("truncate", first, 3 * SEGMENT + 4096)?;
        self.deleted(first)?;
        self.verify(first, 2048)?;
        Ok(first)
    }

    fn migration(&mut self, first: i64) -> Result<i64, String> {
        self.extend(first, 3 * SEGMENT + 4096, 3076..3176)?;
        self.verify(first, 2048)?;
        self.truncate("truncate", first, 3 * SEGMENT)?;
        self.deleted(first)?;
        self.stop(first)?;
        let channel = self.continued(first, 3 * SEGMENT)?;
        let second = self.record(&channel, 3072..4572)?;
        let Recording { start_position, stop_position, .. } = self.described(second)?;
        let stop = stop_position.map_or(-1, |position| position.0);
        self.lines.push(format!("second {} to {stop}", start_position.0));
        let asked = self.session.archive.migrate_segments(second, first);
        self.attempt("migrate", asked, |count| count)?;
        self.deleted(second)?;
        self.stop(first)?;
        self.verify(first, 2048)?;
        let asked = self.session.archive.start_position(second);
        self.attempt("source's start", asked, |position| position.0)?;
        let asked = self.session.archive.stop_position(second);
        self.attempt("source's stop", asked, |it| it.map_or(-1, |position| position.0))?;
        let asked = self.session.archive.migrate_segments(first, first);
        self.attempt("migrate to itself", asked, |count| count)?;
        let asked = self.session.archive.purge_recording(second);
        self.attempt("purge", asked, |count| count)?;
        self.deleted(second)?;
        Ok(second)
    }

    fn refusals(&mut self, first: i64, second: i64) -> Result<(), String> {
        let local = SourceLocation::Local;
        let channel = "aeron:ipc?term-length=64k";
        let asked = self.session.archive.start_position(second);
        self.attempt("start of what is purged", asked, |position| position.0)?;
        let asked = self.session.archive.purge_recording(second);
        self.attempt("purge what is purged", asked, |count| count)?;
        let asked = self.session.archive.list_recording(second);
        self.attempt("list what is purged", asked, |found| i64::from(found.is_some()))?;
        let asked = self.session.archive.stop_recording(channel, StreamId(4242));
        self.attempt("stop what is not recorded", asked, i64::from)?;
        let asked = self.session.archive.stop_replication(77);
        self.attempt("stop a replication that is not", asked, i64::from)?;
        let parameters = coracle::archive_client::ReplicationParameters {
            dst_recording_id: Some(98),
            ..Default::default()
        };
        let control = self.control.clone();
        let asked = self.session.archive.replicate(99, &control, StreamId(10), &parameters);
        self.attempt("replicate what is not", asked, |id| id)?;
        let asked =
            self.session.archive.extend_recording(first, channel, StreamId(4242), local, true);
        self.attempt("extend another stream", asked, |_| 0)?;
        let asked = self.session.archive.extend_recording(99, channel, STREAM, local, true);
        self.attempt("extend what is not", asked, |_| 0)?;
        let asked = self.session.archive.update_channel(first, "aeron:ipc?alias=other");
        self.attempt("update channel", asked, |()| 0)?;
        let asked = self.session.archive.list_recordings_for_uri(0, 9, "alias=other", STREAM);
        let listed = self.session.wait(asked)?;
        for Recording { id, original_channel, .. } in &listed {
            self.lines.push(format!("found {id} {original_channel}"));
        }
        self.lines.push(format!("find it by that {}", listed.len()));
        // Last, for theirs moves the end all the same.
        self.truncate("truncate inside of a frame", first, 3 * SEGMENT - 32 * 5)
    }

    fn described(&mut self, recording: i64) -> Result<Recording, String> {
        let asked = self.session.archive.list_recording(recording);
        self.session.wait(asked)?.ok_or_else(|| format!("there is no recording {recording}"))
    }

    /// A channel whose stream goes on at a position of a recording.
    fn continued(&mut self, recording: i64, position: i64) -> Result<String, String> {
        let Recording { initial_term_id, term_length, mtu_length, .. } =
            self.described(recording)?;
        let (terms, offset) =
            (position / i64::from(term_length), position % i64::from(term_length));
        let initial = initial_term_id.0;
        let term = initial.wrapping_add(i32::try_from(terms).map_err(|error| error.to_string())?);
        Ok(format!(
            "aeron:ipc?mtu={mtu_length}|term-length={term_length}|init-term-id={initial}\
             |term-id={term}|term-offset={offset}"
        ))
    }

    /// Records messages on a channel, until it is closed.
    fn record(&mut self, channel: &str, these: std::ops::Range<u64>) -> Result<i64, String> {
        let mut publisher = Publisher::add(&self.session.client, channel, true)?;
        let own = format!("{channel}|session-id={}", publisher.session_id().0);
        let local = SourceLocation::Local;
        let asked = self.session.archive.start_recording(&own, STREAM, local, true);
        self.session.wait(asked)?;
        publisher.offer_these(CONTENT, these, || self.session.poll())?;
        let found = coracle::archive_client::RecordingMatch {
            recording_id_min: 0,
            channel_fragment: "",
            stream_id: STREAM,
            session_id: publisher.session_id(),
        };
        let asked = self.session.archive.find_last_matching_recording(&found);
        let recording = self.session.wait(asked)?.ok_or("nothing is recorded")?;
        self.end(publisher, recording)?;
        Ok(recording)
    }

    /// Goes on with a recording that has stopped at a position.
    fn extend(
        &mut self,
        recording: i64,
        position: i64,
        these: std::ops::Range<u64>,
    ) -> Result<(), String> {
        let channel = self.continued(recording, position)?;
        let mut publisher = Publisher::add(&self.session.client, &channel, true)?;
        let own = format!("{channel}|session-id={}", publisher.session_id().0);
        let local = SourceLocation::Local;
        let asked = self.session.archive.extend_recording(recording, &own, STREAM, local, true);
        self.session.wait(asked)?;
        publisher.offer_these(CONTENT, these, || self.session.poll())?;
        self.end(publisher, recording)?;
        let stop = self.described(recording)?.stop_position.map_or(-1, |position| position.0);
        self.lines.push(format!("extended to {stop}"));
        Ok(())
    }

    /// Waits until all is recorded, and ends it.
    fn end(&mut self, publisher: Publisher, recording: i64) -> Result<(), String> {
        let deadline = Deadline::new();
        loop {
            let asked = self.session.archive.recording_position(recording);
            if self.session.wait(asked)? == Some(publisher.position()) {
                break;
            }
            deadline.pause("all is recorded")?;
        }
        drop(publisher);
        self.session.signal(RecordingSignal::Stop, Some(recording)).map(drop)
    }
}
