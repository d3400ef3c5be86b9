//! Joins the log that the module names, and reads it as far as it is committed.
//!
//! ```text
//! Join --subscription--> image of the session, at the position --> Reading --> end
//! ```

use client::{Action, CorrelationId, Handle, ImageAssembler, Pending, Subscription};
use runtime::{Nanos, Now};
use wire::position::{Position, SessionId, StreamId};
use wire::uri::ChannelUri;

use crate::host::{Host, Next};
use crate::link::{Join, ModuleLink};

/// How many fragments one pass reads.
const FRAGMENT_LIMIT: usize = 512;
/// When to ask the driver again after it refused the subscription.
const RETRY_INTERVAL: Nanos = Nanos::from_millis(20);

/// What the log that was read last left incomplete at its end: the next one may begin with the rest
/// of that message.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    assembler: ImageAssembler,
    position: Position,
}

/// A log that is being joined.
pub(crate) struct Joining {
    pub(crate) join: Join,
    channel: String,
    since: Nanos,
    door: Door,
}

enum Door {
    Pending(Pending<Subscription>),
    Open(Subscription),
    RetryAt { at: Nanos, cause: String },
}

/// What came of a pass of joining.
pub(crate) enum Joined {
    NotYet {
        done: usize,
        due: Nanos,
    },
    Reading(Box<LogReader>),
    /// The log never appeared: it went before it could be joined.
    Never(String),
}

impl Joining {
    pub(crate) fn new(
        join: Join,
        service_id: i32,
        handle: &Handle,
        now: Now,
    ) -> Result<Self, String> {
        let uri = ChannelUri::parse(&join.channel)
            .map_err(|error| format!("log channel {}: {error}", join.channel))?;
        let channel = uri.with("alias", format!("log-sc-{service_id}")).to_string();
        let pending = handle.add_subscription(&channel, StreamId(join.stream_id));
        Ok(Self { join, channel, since: now.mono, door: Door::Pending(pending) })
    }

    pub(crate) fn poll(
        mut self,
        handle: &Handle,
        timeout: Nanos,
        now: Now,
    ) -> Result<(Option<Self>, Joined), String> {
        let mut done = 0;
        match &mut self.door {
            Door::Pending(pending) => match pending.poll() {
                Ok(None) => {}
                Ok(Some(subscription)) => {
                    self.door = Door::Open(subscription);
                    done = 1;
                }
                Err(error) => {
                    let (at, cause) = (now.mono + RETRY_INTERVAL, error.to_string());
                    self.door = Door::RetryAt { at, cause };
                }
            },
            Door::RetryAt { at, .. } if *at <= now.mono => {
                let stream_id = StreamId(self.join.stream_id);
                self.door = Door::Pending(handle.add_subscription(&self.channel, stream_id));
                done = 1;
            }
            Door::RetryAt { .. } | Door::Open(_) => {}
        }
        if let Door::Open(subscription) = &mut self.door
            && let Some(image) = subscription.image_by_session(SessionId(self.join.session_id))
        {
            let (found, expected) = (image.join_position(), self.join.position);
            if found != expected {
                return Err(format!("log joined at {} instead of {}", found.0, expected.0));
            }
            let image = image.correlation_id();
            return Ok(self.reading(image));
        }
        let deadline = self.since + timeout;
        if now.mono >= deadline {
            let never = Joined::Never(self.describe());
            return Ok((None, never));
        }
        let due = match &self.door {
            Door::RetryAt { at, .. } => deadline.min(*at),
            Door::Pending(_) | Door::Open(_) => deadline,
        };
        Ok((Some(self), Joined::NotYet { done, due }))
    }

    fn reading(self, image: CorrelationId) -> (Option<Self>, Joined) {
        let Door::Open(subscription) = self.door else {
            unreachable!("an image was found in the open subscription");
        };
        let reader =
            LogReader { join: self.join, subscription, image, parts: Parts::default(), seen: None };
        (None, Joined::Reading(Box::new(reader)))
    }

    fn describe(&self) -> String {
        let state = match &self.door {
            Door::Pending(_) => "no answer from the driver",
            Door::Open(_) => "no image came",
            Door::RetryAt { cause, .. } => cause,
        };
        format!("log of session {} not joined: {state}", self.join.session_id)
    }
}

/// A log that is being read.
pub(crate) struct LogReader {
    pub(crate) join: Join,
    subscription: Subscription,
    image: CorrelationId,
    parts: Parts,
    seen: Option<Seen>,
}

/// Messages that come in parts: the last of a log may go on in the next one.
#[derive(Default)]
struct Parts {
    assembler: ImageAssembler,
    /// What was incomplete when this log was joined: it is so again if the next one begins there.
    taken_up: Option<ImageAssembler>,
}

impl Parts {
    /// Of a log that was joined at a position.
    fn taking_up(rest: Rest, joined: Position) -> Self {
        if rest.position != joined {
            return Self::default();
        }
        Self { assembler: rest.assembler.clone(), taken_up: Some(rest.assembler) }
    }

    /// The log that was joined there ended at `position`. What was taken of it beyond that comes
    /// again, and must not be there twice: the message would be given up as one with a gap.
    fn into_rest(self, joined: Position, seen: Option<Seen>, position: Position) -> Rest {
        let is_all = seen.is_none_or(|seen| seen.position == position);
        let assembler = if is_all {
            self.assembler
        } else if position == joined {
            self.taken_up.unwrap_or_default()
        } else {
            ImageAssembler::new()
        };
        Rest { assembler, position }
    }
}

/// Where a log stood last, padding included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// What was taken of it.
    position: Position,
    /// The same without a message that has not come whole: a commit position, or the death of a
    /// leader, may lie in the middle of one.
    whole: Position,
}

impl Seen {
    /// Where a service stands that reads no more of a log of which it was to read up to `max`.
    ///
    /// If that was reached, all of it counts, since the rest of a message that is cut there exists
    /// nowhere. Otherwise the message begins anew in the next log.
    fn end(self, max: Position, is_end_of_stream: bool) -> Position {
        if self.position >= max {
            max
        } else if is_end_of_stream {
            self.position
        } else {
            self.whole
        }
    }
}

/// Set in the last frame of a message.
const END: u8 = 0x40;

/// What a pass of reading came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) fragments: usize,
    /// The state behind the last event is to be saved.
    pub(crate) is_snapshot_due: bool,
    /// No more will come; where the log stood then, padding included.
    pub(crate) end: Option<Position>,
}

impl LogReader {
    /// Takes up what an earlier log left, if this one goes on there.
    pub(crate) fn take_up(&mut self, rest: Rest) {
        self.parts = Parts::taking_up(rest, self.join.position);
    }

    /// The log ended here.
    pub(crate) fn into_rest(self, position: Position) -> Rest {
        self.parts.into_rest(self.join.position, self.seen, position)
    }

    /// The log is done at this position: another one follows.
    pub(crate) fn end_at(&mut self, position: Position) {
        self.join.max_position = self.join.max_position.min(position);
    }

    /// Reads on as far as `limit`, event by event: the next one waits until the requests of the one
    /// before have gone.
    pub(crate) fn poll(
        &mut self,
        limit: Position,
        host: &mut Host,
        link: &mut ModuleLink,
        handle: &Handle,
    ) -> Result<Progress, String> {
        let mut progress = Progress::default();
        let bound = limit.min(self.join.max_position);
        self.subscription.update();
        let (id, assembler) = (self.image, &mut self.parts.assembler);
        let mut images = self.subscription.images_mut();
        let Some(image) = images.find(|image| image.correlation_id() == id) else {
            let own = host.event.position;
            let end = |seen: Seen| seen.end(self.join.max_position, false);
            progress.end = Some(self.seen.map_or(own, end));
            return Ok(progress);
        };
        let mut failure = None;
        let before = self.seen.map_or_else(|| image.position(), |seen| seen.whole);
        let (mut whole, mut is_amid) = (before, before < image.position());
        progress.fragments = image.bounded_controlled_poll(bound, FRAGMENT_LIMIT, |fragment| {
            is_amid = fragment.header().flags & END == 0;
            if !is_amid {
                whole = fragment.position();
            }
            assembler.on_fragment_controlled(fragment, |message| {
                match handle_event(host, link, message.payload(), message.position(), handle) {
                    Ok(Flow::Go) => Action::Continue,
                    Ok(Flow::Stop) => Action::Break,
                    Ok(Flow::Snapshot) => {
                        progress.is_snapshot_due = true;
                        Action::Break
                    }
                    Err(error) => {
                        failure = Some(error);
                        Action::Break
                    }
                }
            })
        });
        if let Some(error) = failure {
            return Err(error);
        }
        let position = image.position();
        let seen = Seen { position, whole: if is_amid { whole } else { position } };
        self.seen = Some(seen);
        let is_end_of_stream = image.is_end_of_stream();
        if progress.fragments == 0 && (position >= self.join.max_position || is_end_of_stream) {
            progress.end = Some(seen.end(self.join.max_position, is_end_of_stream));
        }
        Ok(progress)
    }
}

enum Flow {
    Go,
    Stop,
    Snapshot,
}

fn handle_event(
    host: &mut Host,
    link: &mut ModuleLink,
    message: &[u8],
    position: Position,
    handle: &Handle,
) -> Result<Flow, String> {
    let next = host.on_log(message, position, handle)?;
    if host.has_failed() || host.sessions.is_waiting() {
        return Ok(Flow::Stop);
    }
    if next == Next::Snapshot {
        return Ok(Flow::Snapshot);
    }
    if host.requests.is_empty() {
        return Ok(Flow::Go);
    }
    let (_, is_clear) = link.flush(&mut host.requests)?;
    Ok(if is_clear { Flow::Go } else { Flow::Stop })
}

#[cfg(test)]
mod tests {
    use client::{Fragment, Header};
    use wire::position::TermId;

    use super::*;

    fn fragment(payload: &[u8], flags: u8, end: i32) -> Fragment<'_> {
        let frame_length = 32 + i32::try_from(payload.len()).unwrap();
        let header = Header {
            position: Position(i64::from(end)),
            flags,
            session_id: SessionId(1),
            stream_id: StreamId(100),
            term_id: TermId(0),
            term_offset: end - (frame_length + 31) / 32 * 32,
            frame_length,
            reserved_value: 0,
        };
        Fragment::new(payload, header)
    }

    fn take(parts: &mut Parts, fragment: Fragment<'_>) -> Option<Vec<u8>> {
        let mut whole = None;
        parts.assembler.on_fragment(fragment, |message| whole = Some(message.payload().to_vec()));
        whole
    }

    /// A log is left in the middle of a message that an earlier one began; the next begins there
    /// again.
    #[test]
    fn the_middle_of_a_message_that_comes_again_is_not_taken_twice() {
        let (begin, there) = (Position(0), Position(64));
        let (first, middle) = (fragment(b"first ", 0x80, 64), fragment(b"middle ", 0, 128));
        let mut parts = Parts::taking_up(Rest::default(), begin);
        assert_eq!(take(&mut parts, first), None);
        let seen = Seen { position: there, whole: begin };
        let rest = parts.into_rest(begin, Some(seen), there);
        let mut parts = Parts::taking_up(rest, there);
        assert_eq!(take(&mut parts, middle), None);
        let seen = Seen { position: Position(128), whole: there };
        let rest = parts.into_rest(there, Some(seen), there);
        let mut parts = Parts::taking_up(rest, there);
        assert_eq!(take(&mut parts, middle), None);
        let whole = take(&mut parts, fragment(b"last", 0x40, 192));
        assert_eq!(whole.as_deref(), Some(&b"first middle last"[..]));
    }

    #[test]
    fn a_message_does_not_go_on_in_a_log_that_begins_elsewhere() {
        let mut parts = Parts::default();
        take(&mut parts, fragment(b"first ", 0x80, 64));
        let seen = Seen { position: Position(64), whole: Position(0) };
        let rest = parts.into_rest(Position(0), Some(seen), Position(64));
        let mut parts = Parts::taking_up(rest, Position(32));
        assert_eq!(take(&mut parts, fragment(b"last", 0x40, 128)), None);
    }

    #[test]
    fn a_message_that_came_in_part_is_read_again_unless_the_log_ends_in_it() {
        let seen = Seen { position: Position(1_500), whole: Position(96) };
        assert_eq!(seen.end(Position(i64::MAX), false), Position(96), "the leader went");
        assert_eq!(seen.end(Position(96), false), Position(96), "the next log begins there");
        assert_eq!(seen.end(Position(1_500), false), Position(1_500), "a replay of all there is");
        assert_eq!(
            seen.end(Position(i64::MAX), true),
            Position(1_500),
            "the publisher ended there"
        );
    }
}
