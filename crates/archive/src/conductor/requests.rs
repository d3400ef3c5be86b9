//! What each request means: who may make it, what is checked, and what is answered.

use std::collections::VecDeque;

use client::CorrelationId;
use wire::archive::request::{AuthConnectRequest, Request};
use wire::archive::response::{ArchiveErrorCode, ControlResponseCode};
use wire::message::MessageHeader;
use wire::time::Now;
use wire::uri::key;

use super::Conductor;
use super::replays::token_of;
use super::source::Inbound;
use crate::catalog::Recording;
use crate::channel;
use crate::control::outbox::response;
use crate::control::refusal::Refusal;
use crate::control::session::{Connect, Session};
use crate::counters::type_id;
use crate::listing::{Filter, Kind, Listing, contains, descriptor, subscription};

/// What is answered to a request: a relevant id, or nothing for now.
pub(super) type Answer = Result<Option<i64>, Refusal>;

/// Who asks.
#[derive(Clone, Copy)]
pub(super) struct Asker {
    pub(super) session_id: i64,
    pub(super) correlation_id: i64,
    /// The image on which the request came.
    pub(super) image: CorrelationId,
}

impl Conductor {
    /// Takes what has come in and answers it, in order.
    pub(super) fn serve_requests(&mut self, now: Now) -> usize {
        let (mut inbound, mut gone) = (Vec::new(), Vec::new());
        for source in &mut self.sources {
            source.poll(&mut inbound, &mut gone);
        }
        let count = inbound.len() + gone.len();
        for request in inbound {
            self.on_request(&request, now);
        }
        for image in gone {
            let sessions = self.sessions.values_mut().filter(|it| it.image() == image);
            sessions.for_each(Session::close);
        }
        count
    }

    fn on_request(&mut self, inbound: &Inbound, now: Now) {
        let request = match Request::decode(&inbound.bytes) {
            Ok(Some(request)) => request,
            // A message that is not known is from a newer client.
            Ok(None) => return,
            Err(error) => return self.note(&format!("malformed request: {error}"), now),
        };
        match &request {
            Request::AuthConnectRequest(connect) => return self.connect(connect, inbound, now),
            Request::CloseSessionRequest(it) => {
                if let Some(session) = self.session_of(it.control_session_id, inbound.image) {
                    session.close();
                }
                return;
            }
            Request::ChallengeResponse(it) => {
                let (id, correlation_id) = (it.control_session_id, it.correlation_id);
                let sessions = &mut self.sessions;
                let session = sessions.get_mut(&id).filter(|it| it.image() == inbound.image);
                if let Some(session) = session {
                    let answer = it.encoded_credentials;
                    let authenticator = &mut *self.authenticator;
                    session.on_challenge_response(correlation_id, answer, authenticator, now);
                }
                return;
            }
            _ => {}
        }
        let Some((session_id, correlation_id)) = ids(&request) else { return };
        let asker = Asker { session_id, correlation_id, image: inbound.image };
        if !self.is_admitted(asker, &request, now) {
            return;
        }
        let template_id = MessageHeader::decode(&inbound.bytes).map_or(0, |it| it.template_id);
        let answer = self.authorise(asker, template_id).and_then(|()| {
            if matches!(request, Request::KeepAliveRequest(_)) {
                return Ok(None);
            }
            self.perform(asker, &request, now)
        });
        self.answer(asker, answer);
    }

    fn session_of(&mut self, id: i64, image: CorrelationId) -> Option<&mut Session> {
        self.sessions.get_mut(&id).filter(|session| session.image() == image)
    }

    /// Whether a request may be looked at: others are dropped without an answer. Only a replay with
    /// a token may come on another image than its session.
    fn is_admitted(&mut self, asker: Asker, request: &Request<'_>, now: Now) -> bool {
        let is_tokened = self.is_tokened(request, now);
        let Some(session) = self.sessions.get_mut(&asker.session_id) else { return false };
        if session.image() != asker.image && !is_tokened {
            if token_of(request).is_some() {
                // Else its client would wait for nothing until its patience ends.
                let refusal = Refusal::generic("the replay token is unknown or too old");
                session.refuse(asker.correlation_id, &refusal);
            }
            self.note("request on another publication than its session's", now);
            return false;
        }
        session.activate()
    }

    fn authorise(&mut self, asker: Asker, template_id: u16) -> Result<(), Refusal> {
        let Some(session) = self.sessions.get(&asker.session_id) else { return Ok(()) };
        if self.authenticator.is_authorised(template_id, &session.principal) {
            return Ok(());
        }
        let text = format!("unauthorised action {template_id}");
        Err(Refusal::new(ArchiveErrorCode::UnauthorisedAction, text))
    }

    pub(super) fn answer(&mut self, asker: Asker, answer: Answer) {
        let barrier = self.sync.barrier(&mut self.catalog);
        let Some(session) = self.sessions.get_mut(&asker.session_id) else { return };
        match answer {
            Ok(Some(relevant_id)) => session.confirm(asker.correlation_id, relevant_id, barrier),
            Ok(None) => {}
            Err(refusal) => session.refuse(asker.correlation_id, &refusal),
        }
    }

    fn connect(&mut self, request: &AuthConnectRequest<'_>, inbound: &Inbound, now: Now) {
        let control = &self.config.control;
        let Ok(asked) = channel::parse(request.response_channel) else {
            return self.note("connect with an invalid response channel", now);
        };
        let mut response = channel::strip(&asked);
        let or = |name, default: String| asked.value(name).map_or(default, str::to_string);
        response
            .set(key::TERM_LENGTH, or(key::TERM_LENGTH, control.term_buffer_length.to_string()));
        response.set(key::SPARSE, or(key::SPARSE, control.term_buffer_sparse.to_string()));
        response.set(key::MTU, or(key::MTU, control.mtu_length.to_string()));
        if channel::is_response(&asked) {
            response.set(key::RESPONSE_CORRELATION_ID, inbound.image.0);
        }
        let session_id = self.next_session_id;
        self.next_session_id += 1;
        let info = String::from_utf8_lossy(request.client_info);
        let separator = if info.is_empty() { "" } else { " " };
        let label = format!("control-session: {info}{separator}{}", inbound.description);
        let label: String = self.counter_label(&label).chars().take(380).collect();
        let mut counter_key = self.archive_id.to_le_bytes().to_vec();
        counter_key.extend_from_slice(&session_id.to_le_bytes());
        let counter = self.client.add_counter(type_id::CONTROL_SESSION, &counter_key, &label);
        let connect = Connect {
            session_id,
            image: inbound.image,
            correlation_id: request.correlation_id,
            version: request.version,
            credentials: request.encoded_credentials.to_vec(),
            channel: channel::to_text(&response),
            stream_id: request.response_stream_id,
        };
        let timeout = self.config.limits.connect_timeout;
        let session = Session::new(connect, counter, &self.client, now, timeout);
        self.sessions.insert(session_id, session);
    }

    fn perform(&mut self, asker: Asker, request: &Request<'_>, now: Now) -> Answer {
        match request {
            Request::StartRecordingRequest(it) => {
                self.start(asker, it.stream_id, it.source_location, false, it.channel)
            }
            Request::StartRecordingRequest2(it) => {
                self.start(asker, it.stream_id, it.source_location, it.auto_stop, it.channel)
            }
            Request::ExtendRecordingRequest(it) => {
                let to = (it.recording_id, it.stream_id, it.source_location);
                self.extend(asker, to, false, it.channel)
            }
            Request::ExtendRecordingRequest2(it) => {
                let to = (it.recording_id, it.stream_id, it.source_location);
                self.extend(asker, to, it.auto_stop, it.channel)
            }
            Request::StopRecordingRequest(it) => self.stop_by_channel(it.stream_id, it.channel),
            Request::StopRecordingSubscriptionRequest(it) => {
                self.stop_by_subscription(it.subscription_id)
            }
            Request::StopRecordingByIdentityRequest(it) => self.stop_by_identity(it.recording_id),
            Request::ReplayRequest(it) => self.replay(asker, it, now),
            Request::BoundedReplayRequest(it) => self.bounded_replay(asker, it, now),
            Request::StopReplayRequest(it) => {
                self.replayer.stop(it.replay_session_id);
                Ok(Some(0))
            }
            Request::StopAllReplaysRequest(it) => {
                self.replayer.stop_all(Some(it.recording_id).filter(|id| *id != -1));
                Ok(Some(0))
            }
            Request::ReplayTokenRequest(it) => {
                Ok(Some(self.add_token(asker, it.recording_id, now)))
            }
            Request::ArchiveIdRequest(_) => Ok(Some(self.archive_id)),
            Request::UpdateChannelRequest(it) => {
                self.update_channel(asker, it.recording_id, it.channel)
            }
            Request::ReplicateRequest(it) => self.replicate_plain(asker, it, now),
            Request::TaggedReplicateRequest(it) => self.replicate_tagged(asker, it, now),
            Request::ReplicateRequest2(it) => self.replicate(asker, it, now),
            Request::StopReplicationRequest(it) => self.stop_replication(it.replication_id),
            _ => self.perform_listing(asker, request, now),
        }
    }

    fn perform_listing(&mut self, asker: Asker, request: &Request<'_>, now: Now) -> Answer {
        match request {
            Request::ListRecordingsRequest(it) => {
                let (next, rest) = (it.from_recording_id, it.record_count);
                self.list(asker, Kind::Recordings { next, rest, filter: Filter::Any })
            }
            Request::ListRecordingsForUriRequest(it) => {
                let fragment = it.channel.to_vec();
                let filter = Filter::Matching { stream_id: it.stream_id, fragment };
                let (next, rest) = (it.from_recording_id, it.record_count);
                self.list(asker, Kind::Recordings { next, rest, filter })
            }
            Request::ListRecordingRequest(it) => self.list_one(asker, it.recording_id),
            Request::ListRecordingSubscriptionsRequest(it) => {
                let stream_id = it.apply_stream_id.then_some(it.stream_id);
                let range = (it.pseudo_index, it.subscription_count);
                self.list_subscriptions(asker, range, stream_id, it.channel)
            }
            Request::FindLastMatchingRecordingRequest(it) => {
                if it.min_recording_id < 0 {
                    return Err(Refusal::unknown_recording(it.min_recording_id));
                }
                let found = self.catalog.find_last(it.min_recording_id, |recording| {
                    recording.session_id == it.session_id
                        && recording.stream_id == it.stream_id
                        && contains(recording.original_channel.as_bytes(), it.channel)
                });
                Ok(Some(found.unwrap_or(-1)))
            }
            Request::StartPositionRequest(it) => {
                self.recording(it.recording_id).map(|it| Some(it.start_position))
            }
            Request::StopPositionRequest(it) => {
                self.recording(it.recording_id).map(|it| Some(it.stop_position))
            }
            Request::RecordingPositionRequest(it) => {
                self.recording(it.recording_id)?;
                Ok(Some(self.recorded_position(it.recording_id).unwrap_or(-1)))
            }
            Request::MaxRecordedPositionRequest(it) => {
                let stop = self.recording(it.recording_id)?.stop_position;
                Ok(Some(self.recorded_position(it.recording_id).unwrap_or(stop)))
            }
            _ => self.perform_on_segments(asker, request, now),
        }
    }

    fn perform_on_segments(&mut self, asker: Asker, request: &Request<'_>, now: Now) -> Answer {
        match request {
            Request::TruncateRecordingRequest(it) => {
                self.truncate(asker, it.recording_id, it.position, now)
            }
            Request::PurgeRecordingRequest(it) => self.purge(asker, it.recording_id),
            Request::DetachSegmentsRequest(it) => {
                self.detach(it.recording_id, it.new_start_position)?;
                Ok(Some(0))
            }
            Request::DeleteDetachedSegmentsRequest(it) => {
                self.delete_detached(asker, it.recording_id)
            }
            Request::PurgeSegmentsRequest(it) => {
                self.purge_segments(asker, it.recording_id, it.new_start_position)
            }
            Request::AttachSegmentsRequest(it) => self.attach(it.recording_id),
            Request::MigrateSegmentsRequest(it) => {
                self.migrate(asker, it.src_recording_id, it.dst_recording_id)
            }
            // Those without a session or an answer have been dealt with before.
            _ => Ok(None),
        }
    }

    pub(super) fn recording(&self, recording_id: i64) -> Result<&Recording, Refusal> {
        self.catalog.get(recording_id).ok_or_else(|| Refusal::unknown_recording(recording_id))
    }

    fn expect_no_listing(&self, asker: Asker) -> Result<(), Refusal> {
        let session = self.sessions.get(&asker.session_id);
        if session.is_some_and(|session| session.listing.is_some()) {
            return Err(Refusal::new(ArchiveErrorCode::ActiveListing, "a listing is active"));
        }
        Ok(())
    }

    fn list(&mut self, asker: Asker, kind: Kind) -> Answer {
        self.expect_no_listing(asker)?;
        if let Kind::Recordings { rest, .. } = &kind
            && *rest < 0
        {
            return Err(Refusal::generic(format!("cannot list {rest} recordings")));
        }
        let correlation_id = asker.correlation_id;
        self.begin_listing(asker.session_id, Listing { correlation_id, kind });
        Ok(None)
    }

    fn list_one(&mut self, asker: Asker, recording_id: i64) -> Answer {
        self.expect_no_listing(asker)?;
        let Asker { session_id, correlation_id, .. } = asker;
        let message = descriptor(&self.catalog, recording_id, session_id, correlation_id);
        let message = message.unwrap_or_else(|| {
            let code = ControlResponseCode::RecordingUnknown;
            response(session_id, correlation_id, recording_id, code, "")
        });
        let messages = VecDeque::from([message]);
        self.list(asker, Kind::Subscriptions { messages, is_short: false })
    }

    fn list_subscriptions(
        &mut self,
        asker: Asker,
        (index, count): (i32, i32),
        stream_id: Option<i32>,
        fragment: &[u8],
    ) -> Answer {
        self.expect_no_listing(asker)?;
        let Asker { session_id, correlation_id, .. } = asker;
        let wanted = usize::try_from(count).unwrap_or(0);
        let first = usize::try_from(index).unwrap_or(usize::MAX);
        let fitting = self.subscriptions.values().skip(first).filter(|it| {
            stream_id.is_none_or(|wanted| it.stream_id == wanted)
                && contains(it.channel.as_bytes(), fragment)
        });
        let messages: VecDeque<Vec<u8>> = fitting
            .take(wanted)
            .map(|it| subscription(session_id, correlation_id, it.id, it.stream_id, &it.channel))
            .collect();
        let is_short = wanted == 0 || messages.len() < wanted;
        self.list(asker, Kind::Subscriptions { messages, is_short })
    }

    fn update_channel(&mut self, asker: Asker, recording_id: i64, text: &[u8]) -> Answer {
        self.expect_no_listing(asker)?;
        if self.catalog.get(recording_id).is_none() {
            return self.list_one(asker, recording_id);
        }
        let stripped = channel::stripped(&channel::parse(text)?);
        let original = String::from_utf8_lossy(text).into_owned();
        self.catalog.update(recording_id, |it| {
            it.stripped_channel = stripped;
            it.original_channel = original;
        })?;
        Ok(Some(0))
    }
}

/// Session and correlation ids of a request; `None` for those without.
fn ids(request: &Request<'_>) -> Option<(i64, i64)> {
    macro_rules! ids {
        ($($Variant:ident)*) => {
            match request {
                $(Request::$Variant(it) => Some((it.control_session_id, it.correlation_id)),)*
                Request::CloseSessionRequest(_) | Request::AuthConnectRequest(_) => None,
            }
        };
    }
    ids!(StartRecordingRequest StopRecordingRequest ReplayRequest StopReplayRequest
        ListRecordingsRequest ListRecordingsForUriRequest ListRecordingRequest
        ExtendRecordingRequest RecordingPositionRequest TruncateRecordingRequest
        StopRecordingSubscriptionRequest StopPositionRequest FindLastMatchingRecordingRequest
        ListRecordingSubscriptionsRequest BoundedReplayRequest StopAllReplaysRequest
        ReplicateRequest StopReplicationRequest StartPositionRequest DetachSegmentsRequest
        DeleteDetachedSegmentsRequest PurgeSegmentsRequest AttachSegmentsRequest
        MigrateSegmentsRequest ChallengeResponse KeepAliveRequest TaggedReplicateRequest
        StartRecordingRequest2 ExtendRecordingRequest2 StopRecordingByIdentityRequest
        ReplicateRequest2 MaxRecordedPositionRequest ArchiveIdRequest PurgeRecordingRequest
        ReplayTokenRequest UpdateChannelRequest)
}
