//! Replays: what is checked before one begins (archive specification 6.1), and tokens.

use client::CounterId;
use wire::archive::request::{BoundedReplayRequest, ReplayRequest as PlainReplay, Request};
use wire::archive::response::ArchiveErrorCode;
use wire::position::{Position, TermId};
use wire::time::{Nanos, Now};
use wire::uri::key;

use super::Conductor;
use super::requests::{Answer, Asker};
use crate::catalog::Recording;
use crate::channel;
use crate::control::refusal::Refusal;
use crate::replayer::{Bound, Recorded, ReplayRequest};

/// Length that asks for all there is and all that comes.
const FOLLOW: i64 = -1;
/// Length that asks for all there is now.
const ALL_AND_STOP: i64 = -2;

/// Lets a client ask for a replay on another publication than that of its session.
pub(super) struct Token {
    value: i64,
    pub(super) control_session_id: i64,
    recording_id: i64,
    deadline: Nanos,
}

/// What both kinds of replay requests say.
struct Wanted<'a> {
    recording_id: i64,
    position: i64,
    length: i64,
    stream_id: i32,
    file_io_max_length: i32,
    token: i64,
    channel: &'a [u8],
}

impl Conductor {
    pub(super) fn add_token(&mut self, asker: Asker, recording_id: i64, now: Now) -> i64 {
        self.tokens.retain(|token| now.mono < token.deadline);
        let value = match self.rng.next_i64() {
            -1 => 0,
            value => value,
        };
        self.tokens.push(Token {
            value,
            control_session_id: asker.session_id,
            recording_id,
            deadline: now.mono + self.config.limits.connect_timeout,
        });
        value
    }

    /// Whether a request carries a token that is good for it.
    pub(super) fn is_tokened(&self, request: &Request<'_>, now: Now) -> bool {
        let (recording_id, session_id) = match request {
            Request::ReplayRequest(it) => (it.recording_id, it.control_session_id),
            Request::BoundedReplayRequest(it) => (it.recording_id, it.control_session_id),
            _ => return false,
        };
        let Some(token) = token_of(request) else { return false };
        self.tokens.iter().any(|it| {
            it.value == token
                && it.recording_id == recording_id
                && it.control_session_id == session_id
                && now.mono < it.deadline
        })
    }

    pub(super) fn replay(&mut self, asker: Asker, it: &PlainReplay<'_>, now: Now) -> Answer {
        let wanted = Wanted {
            recording_id: it.recording_id,
            position: it.position,
            length: it.length,
            stream_id: it.replay_stream_id,
            file_io_max_length: it.file_io_max_length,
            token: it.replay_token,
            channel: it.replay_channel,
        };
        self.begin_replay(asker, &wanted, None, now)
    }

    pub(super) fn bounded_replay(
        &mut self,
        asker: Asker,
        it: &BoundedReplayRequest<'_>,
        now: Now,
    ) -> Answer {
        let id = CounterId(it.limit_counter_id);
        let record = self.client.counters().record(id);
        let record = record.filter(|record| record.state == wire::counters::state::ALLOCATED);
        let unknown = || Refusal::generic(format!("limit counter {} does not exist", id.0));
        let record = record.ok_or_else(unknown)?;
        let bound = Bound {
            id,
            registration_id: record.registration_id,
            value: record.value,
            is_closed: false,
        };
        let wanted = Wanted {
            recording_id: it.recording_id,
            position: it.position,
            length: it.length,
            stream_id: it.replay_stream_id,
            file_io_max_length: it.file_io_max_length,
            token: it.replay_token,
            channel: it.replay_channel,
        };
        self.begin_replay(asker, &wanted, Some(bound), now)
    }

    fn begin_replay(
        &mut self,
        asker: Asker,
        wanted: &Wanted<'_>,
        bound: Option<Bound>,
        now: Now,
    ) -> Answer {
        let max = usize::try_from(self.config.limits.max_concurrent_replays).unwrap_or(0);
        if self.replayer.count() >= max {
            let text = format!("{max} replays are active");
            return Err(Refusal::new(ArchiveErrorCode::MaxReplays, text));
        }
        let recording = self.recording(wanted.recording_id)?.clone();
        let live = self.position_counter(recording.id);
        let recorded_now = self.recorded_position(recording.id).unwrap_or(recording.stop_position);
        let position = start_position(&recording, wanted.position)?;
        let limit_now = bound.as_ref().map_or(recorded_now, |bound| bound.value);
        let is_open = bound.is_some() || recording.is_active();
        if is_open && position > limit_now {
            let text = format!("position {position} is beyond the limit {limit_now}");
            return Err(Refusal::position(text));
        }
        let max_length =
            if is_open { i64::MAX - position } else { recording.stop_position - position };
        let length = match wanted.length {
            FOLLOW => max_length,
            ALL_AND_STOP if limit_now - position == 0 => {
                let text = format!("recording {} has nothing to replay", recording.id);
                return Err(Refusal::new(ArchiveErrorCode::EmptyRecording, text));
            }
            ALL_AND_STOP => limit_now - position,
            length => length.min(max_length),
        };
        if length < 0 {
            return Err(Refusal::generic(format!("cannot replay {length} bytes")));
        }
        // Files on their way out hold nothing between start and stop: they are no hindrance.
        let request = ReplayRequest {
            control_session_id: asker.session_id,
            correlation_id: asker.correlation_id,
            buffer_length: self.replay_buffer_length(&recording, wanted.file_io_max_length)?,
            channel: self.replay_channel(asker, &recording, position, wanted)?,
            position,
            limit: position.saturating_add(length),
            recorded: match live {
                Some(counter) => Recorded::Live(counter),
                None => Recorded::Ended(recorded_now),
            },
            bound,
            stream_id: wanted.stream_id,
            checksum: self.config.storage.replay_checksum,
            recording,
        };
        let deadline = now.mono + self.config.limits.connect_timeout;
        self.replayer.add(request, &self.client, deadline);
        Ok(None)
    }

    fn replay_buffer_length(&self, recording: &Recording, wanted: i32) -> Result<usize, Refusal> {
        let ours = self.config.storage.file_io_max_length;
        let length = if wanted > 0 { wanted.min(ours) } else { ours };
        if length < recording.mtu_length {
            let mtu = recording.mtu_length;
            return Err(Refusal::generic(format!("io length {length} is below the mtu {mtu}")));
        }
        Ok(usize::try_from(length).unwrap_or(0))
    }

    /// The channel of a replay's publication, which begins where the replay does.
    fn replay_channel(
        &self,
        asker: Asker,
        recording: &Recording,
        position: i64,
        wanted: &Wanted<'_>,
    ) -> Result<String, Refusal> {
        let asked = channel::parse(wanted.channel)?;
        let mut uri = channel::strip(&asked);
        let term_length = recording.term_buffer_length;
        let initial = TermId(recording.initial_term_id);
        let at = Position(position);
        uri.set(key::TERM_LENGTH, term_length);
        uri.set(key::INITIAL_TERM_ID, initial.0);
        uri.set(key::TERM_ID, at.term_id(term_length.trailing_zeros(), initial).0);
        uri.set(key::TERM_OFFSET, at.term_offset(term_length));
        uri.set(key::MTU, recording.mtu_length);
        for name in [key::EOS, key::SPARSE, key::LINGER] {
            if let Some(value) = asked.value(name) {
                uri.set(name, value);
            }
        }
        channel::set_default(&mut uri, key::LINGER, self.config.limits.replay_linger_timeout.0);
        let is_foreign = self
            .sessions
            .get(&asker.session_id)
            .is_some_and(|session| session.image() != asker.image);
        if channel::is_response(&asked) && is_foreign && wanted.token != -1 {
            uri.set(key::RESPONSE_CORRELATION_ID, asker.image.0);
        }
        Ok(channel::to_text(&uri))
    }
}

/// The token that a request carries; none if it carries none.
pub(super) fn token_of(request: &Request<'_>) -> Option<i64> {
    let token = match request {
        Request::ReplayRequest(it) => it.replay_token,
        Request::BoundedReplayRequest(it) => it.replay_token,
        _ => return None,
    };
    Some(token).filter(|token| *token != -1)
}

/// Where a replay begins, if that is inside the recording.
fn start_position(recording: &Recording, wanted: i64) -> Result<i64, Refusal> {
    let (start, stop) = (recording.start_position, recording.stop_position);
    if wanted == -1 {
        return Ok(start);
    }
    if wanted % 32 != 0 {
        return Err(Refusal::generic(format!("position {wanted} is not aligned")));
    }
    let is_inside = start <= wanted && (recording.is_active() || wanted < stop);
    if !is_inside {
        let text = format!("position {wanted} is outside of {start} to {stop}");
        return Err(Refusal::position(text));
    }
    Ok(wanted)
}
