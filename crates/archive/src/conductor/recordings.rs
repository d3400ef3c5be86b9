//! Recordings: from a request through images to an entry that says where each ended.
//!
//! A recording's life: the image comes; its entry is written; its counter is asked for; entry and
//! counter are there, it is told and the recorder begins. At the end: the recorder has published
//! all that counts; the entry gets its stop position; it is told; the counter is closed.

use client::{Counter, CounterReader, Image, ImageEvent, Pending, Subscription};
use wire::archive::SourceLocation;
use wire::archive::response::{ArchiveErrorCode, RecordingSignal};
use wire::position::StreamId;
use wire::time::Now;

use super::Conductor;
use super::requests::{Answer, Asker};
use crate::catalog::{NULL_VALUE, Recording};
use crate::channel;
use crate::control::outbox::Signal;
use crate::control::refusal::Refusal;
use crate::counters::type_id;
use crate::recorder::RecorderEvent;

/// Longest source identity in the key of a position counter, so that the key fits.
const SOURCE_IDENTITY_MAX: usize = 88;
/// Longest channel in its label, so that the label fits.
const LABEL_CHANNEL_MAX: usize = 240;

/// A subscription whose images are recorded.
pub(super) struct RecordingSubscription {
    pub(super) id: i64,
    key: String,
    pub(super) stream_id: i32,
    /// The channel as subscribed to.
    pub(super) channel: String,
    original: String,
    stripped: String,
    control_session_id: i64,
    correlation_id: i64,
    is_auto_stop: bool,
    extends: Option<i64>,
    state: SubscriptionState,
}

enum SubscriptionState {
    Adding(Pending<Subscription>),
    Active(Subscription),
}

/// A recording in progress.
pub(super) struct ActiveRecording {
    subscription_id: i64,
    control_session_id: i64,
    correlation_id: i64,
    join_position: i64,
    is_extension: bool,
    is_aborted: bool,
    state: RecordingState,
}

enum RecordingState {
    /// Its counter was asked for, and its entry is being made durable.
    Starting { counter: Pending<Counter>, image: Image, barrier: u64 },
    /// The recorder has it.
    Recording { position: CounterReader },
}

impl Conductor {
    pub(super) fn start(
        &mut self,
        asker: Asker,
        stream_id: i32,
        location: SourceLocation,
        is_auto_stop: bool,
        channel: &[u8],
    ) -> Answer {
        self.expect_room()?;
        self.subscribe(asker, stream_id, location, is_auto_stop, channel, None)?;
        Ok(None)
    }

    pub(super) fn extend(
        &mut self,
        asker: Asker,
        (recording_id, stream_id, location): (i64, i32, SourceLocation),
        is_auto_stop: bool,
        channel: &[u8],
    ) -> Answer {
        self.expect_room()?;
        let recording = self.recording(recording_id)?;
        if recording.stream_id != stream_id {
            let text = format!("recording {recording_id} is of stream {}", recording.stream_id);
            return Err(Refusal::new(ArchiveErrorCode::UnknownRecording, text));
        }
        self.expect_inactive(recording_id)?;
        self.expect_no_deletion(recording_id)?;
        self.subscribe(asker, stream_id, location, is_auto_stop, channel, Some(recording_id))?;
        Ok(None)
    }

    /// The same for a replication: ends with its image. Returns the subscription's id.
    pub(super) fn subscribe_extension(
        &mut self,
        asker: Asker,
        (recording_id, stream_id, location): (i64, i32, SourceLocation),
        channel: &[u8],
    ) -> Result<i64, Refusal> {
        self.expect_room()?;
        self.subscribe(asker, stream_id, location, true, channel, Some(recording_id))
    }

    /// A subscription that records, once the driver has made it.
    pub(super) fn recording_subscription(&self, id: i64) -> Option<&Subscription> {
        match &self.subscriptions.get(&id)?.state {
            SubscriptionState::Adding(_) => None,
            SubscriptionState::Active(subscription) => Some(subscription),
        }
    }

    /// Whether a subscription is still there.
    pub(super) fn is_subscribed(&self, subscription_id: i64) -> bool {
        self.subscriptions.contains_key(&subscription_id)
    }

    fn expect_room(&self) -> Result<(), Refusal> {
        let limits = &self.config.limits;
        let is_used = |it: &RecordingSubscription| {
            self.active.values().any(|recording| recording.subscription_id == it.id)
        };
        let waiting = self.subscriptions.values().filter(|it| !is_used(it)).count();
        let max = usize::try_from(limits.max_concurrent_recordings).unwrap_or(0);
        if self.active.len() + waiting >= max {
            let text = format!("{max} recordings are active");
            return Err(Refusal::new(ArchiveErrorCode::MaxRecordings, text));
        }
        let threshold = self.config.storage.low_storage_space_threshold;
        let usable = i64::try_from(self.usable_space()?).unwrap_or(i64::MAX);
        if usable <= threshold {
            let text = format!("{usable} bytes of space are left, the threshold is {threshold}");
            return Err(Refusal::new(ArchiveErrorCode::StorageSpace, text));
        }
        Ok(())
    }

    pub(super) fn expect_inactive(&self, recording_id: i64) -> Result<(), Refusal> {
        if self.active.contains_key(&recording_id) {
            let text = format!("recording {recording_id} is active");
            return Err(Refusal::new(ArchiveErrorCode::ActiveRecording, text));
        }
        Ok(())
    }

    fn subscribe(
        &mut self,
        asker: Asker,
        stream_id: i32,
        location: SourceLocation,
        is_auto_stop: bool,
        text: &[u8],
        extends: Option<i64>,
    ) -> Result<i64, Refusal> {
        let uri = channel::parse(text)?;
        let key = channel::subscription_key(&uri, stream_id);
        if self.subscriptions.values().any(|it| it.key == key) {
            let text = format!("{key} is being recorded");
            return Err(Refusal::new(ArchiveErrorCode::ActiveSubscription, text));
        }
        let stripped = channel::stripped(&uri);
        let is_spy = location == SourceLocation::Local && uri.is_udp() && !uri.is_spy();
        let channel = if is_spy { format!("aeron-spy:{stripped}") } else { stripped.clone() };
        let pending = self.client.add_subscription(&channel, StreamId(stream_id));
        let id = pending.registration_id().0;
        let subscription = RecordingSubscription {
            id,
            key,
            stream_id,
            channel,
            original: String::from_utf8_lossy(text).into_owned(),
            stripped,
            control_session_id: asker.session_id,
            correlation_id: asker.correlation_id,
            is_auto_stop,
            extends,
            state: SubscriptionState::Adding(pending),
        };
        self.subscriptions.insert(id, subscription);
        Ok(id)
    }

    pub(super) fn stop_by_channel(&mut self, stream_id: i32, text: &[u8]) -> Answer {
        let key = channel::subscription_key(&channel::parse(text)?, stream_id);
        let found = self.subscriptions.values().find(|it| it.key == key).map(|it| it.id);
        let unknown = || {
            let text = format!("{key} is not being recorded");
            Refusal::new(ArchiveErrorCode::UnknownSubscription, text)
        };
        self.end_subscription(found.ok_or_else(unknown)?);
        Ok(Some(0))
    }

    pub(super) fn stop_by_subscription(&mut self, id: i64) -> Answer {
        if !self.subscriptions.contains_key(&id) {
            let text = format!("unknown subscription {id}");
            return Err(Refusal::new(ArchiveErrorCode::UnknownSubscription, text));
        }
        self.end_subscription(id);
        Ok(Some(0))
    }

    pub(super) fn stop_by_identity(&mut self, recording_id: i64) -> Answer {
        self.recording(recording_id)?;
        let Some(active) = self.active.get(&recording_id) else { return Ok(Some(0)) };
        let subscription_id = active.subscription_id;
        self.abort(recording_id);
        self.end_subscription(subscription_id);
        Ok(Some(1))
    }

    /// Closes a subscription; its recordings end with what has been written.
    pub(super) fn end_subscription(&mut self, id: i64) {
        let of_it = self.active.iter().filter(|(_, it)| it.subscription_id == id);
        let recordings: Vec<i64> = of_it.map(|(recording_id, _)| *recording_id).collect();
        for recording_id in recordings {
            self.abort(recording_id);
        }
        self.subscriptions.remove(&id);
    }

    fn abort(&mut self, recording_id: i64) {
        if let Some(active) = self.active.get_mut(&recording_id) {
            active.is_aborted = true;
        }
        self.recorder.abort(recording_id);
    }

    /// The published position of an active recording.
    pub(super) fn recorded_position(&self, recording_id: i64) -> Option<i64> {
        self.active.get(&recording_id).map(|active| match &active.state {
            RecordingState::Starting { .. } => active.join_position,
            RecordingState::Recording { position } => position.get(),
        })
    }

    /// The position counter of an active recording, once the recorder has it.
    pub(super) fn position_counter(&self, recording_id: i64) -> Option<CounterReader> {
        match &self.active.get(&recording_id)?.state {
            RecordingState::Starting { .. } => None,
            RecordingState::Recording { position } => Some(position.clone()),
        }
    }

    /// Subscriptions that were added, images that came, recordings that can begin.
    pub(super) fn step_recordings(&mut self, now: Now) -> usize {
        let mut done = 0;
        let mut next = i64::MIN;
        while let Some((&id, _)) = self.subscriptions.range(next..).next() {
            next = id + 1;
            done += self.step_subscription(id, now);
        }
        let mut next = i64::MIN;
        while let Some((&id, active)) = self.active.range(next..).next() {
            next = id + 1;
            if active.is_starting() {
                done += self.step_start(id, now);
            }
        }
        done
    }

    fn step_subscription(&mut self, id: i64, now: Now) -> usize {
        let Some(it) = self.subscriptions.get_mut(&id) else { return 0 };
        let (session_id, correlation_id) = (it.control_session_id, it.correlation_id);
        match &mut it.state {
            SubscriptionState::Adding(pending) => match pending.poll() {
                Ok(None) => 0,
                Ok(Some(subscription)) => {
                    it.state = SubscriptionState::Active(subscription);
                    if let Some(session) = self.sessions.get_mut(&session_id) {
                        session.confirm(correlation_id, id, 0);
                    }
                    1
                }
                Err(error) => {
                    self.subscriptions.remove(&id);
                    self.refuse(session_id, correlation_id, &error.into());
                    1
                }
            },
            SubscriptionState::Active(subscription) => {
                let mut ids = Vec::new();
                subscription.poll_image_events(|event| {
                    if let ImageEvent::Available(image) = event {
                        ids.push(image.correlation_id());
                    }
                });
                let images: Vec<Image> =
                    ids.into_iter().filter_map(|image| subscription.take_image(image)).collect();
                let count = images.len();
                for image in images {
                    if let Err(refusal) = self.on_image(id, image, now) {
                        self.refuse(session_id, correlation_id, &refusal);
                    }
                }
                count
            }
        }
    }

    fn on_image(&mut self, subscription_id: i64, image: Image, now: Now) -> Result<(), Refusal> {
        let Some(it) = self.subscriptions.get(&subscription_id) else { return Ok(()) };
        let (control_session_id, correlation_id) = (it.control_session_id, it.correlation_id);
        let extends = it.extends;
        let recording_id = match extends {
            None => {
                let recording = self.describe(it, &image, now);
                self.catalog.add(recording)?
            }
            Some(recording_id) => {
                if let Err(refusal) = self.check_extension(recording_id, &image) {
                    if it.is_auto_stop {
                        self.end_subscription(subscription_id);
                    }
                    return Err(refusal);
                }
                self.catalog.update(recording_id, |recording| {
                    recording.control_session_id = control_session_id;
                    recording.correlation_id = correlation_id;
                    recording.session_id = image.session_id().0;
                    recording.stop_timestamp = NULL_VALUE;
                    recording.stop_position = NULL_VALUE;
                })?;
                recording_id
            }
        };
        let counter = self.add_position_counter(recording_id, &image)?;
        let active = ActiveRecording {
            subscription_id,
            control_session_id,
            correlation_id,
            join_position: image.join_position().0,
            is_extension: extends.is_some(),
            is_aborted: false,
            state: RecordingState::Starting {
                counter,
                image,
                barrier: self.sync.barrier(&mut self.catalog),
            },
        };
        self.active.insert(recording_id, active);
        Ok(())
    }

    fn describe(&self, it: &RecordingSubscription, image: &Image, now: Now) -> Recording {
        let term_buffer_length = image.term_length();
        Recording {
            start_timestamp: now.epoch_millis(),
            stop_timestamp: NULL_VALUE,
            start_position: image.join_position().0,
            stop_position: NULL_VALUE,
            initial_term_id: image.initial_term_id().0,
            segment_file_length: self.config.storage.segment_file_length.max(term_buffer_length),
            term_buffer_length,
            mtu_length: image.mtu_length(),
            session_id: image.session_id().0,
            stream_id: it.stream_id,
            stripped_channel: it.stripped.clone(),
            original_channel: it.original.clone(),
            source_identity: image.source_identity().to_string(),
            ..Recording::default()
        }
    }

    fn check_extension(&self, recording_id: i64, image: &Image) -> Result<(), Refusal> {
        self.expect_inactive(recording_id)?;
        self.expect_no_deletion(recording_id)?;
        let recording = self.recording(recording_id)?;
        let found = [
            ("join position", image.join_position().0, recording.stop_position),
            ("initial term", image.initial_term_id().0.into(), recording.initial_term_id.into()),
            ("term length", image.term_length().into(), recording.term_buffer_length.into()),
            ("mtu", image.mtu_length().into(), recording.mtu_length.into()),
        ];
        match found.iter().find(|(_, found, expected)| found != expected) {
            None => Ok(()),
            Some((what, found, expected)) => {
                let text = format!(
                    "cannot extend recording {recording_id}: {what} is {found}, expected {expected}"
                );
                Err(Refusal::new(ArchiveErrorCode::InvalidExtension, text))
            }
        }
    }

    fn add_position_counter(
        &self,
        recording_id: i64,
        image: &Image,
    ) -> Result<Pending<Counter>, Refusal> {
        let recording = self.recording(recording_id)?;
        let source = image.source_identity();
        let source = source.get(..source.len().min(SOURCE_IDENTITY_MAX)).unwrap_or("");
        let mut key = recording_id.to_le_bytes().to_vec();
        key.extend_from_slice(&image.session_id().0.to_le_bytes());
        key.extend_from_slice(&(source.len() as i32).to_le_bytes());
        key.extend_from_slice(source.as_bytes());
        key.extend_from_slice(&self.archive_id.to_le_bytes());
        let channel: String = recording.stripped_channel.chars().take(LABEL_CHANNEL_MAX).collect();
        let (session_id, stream_id) = (image.session_id().0, recording.stream_id);
        let label = format!("rec-pos: {recording_id} {session_id} {stream_id} {channel}");
        let label = self.counter_label(&label);
        Ok(self.client.add_counter(type_id::RECORDING_POSITION, &key, &label))
    }

    /// Begins a recording whose counter and entry are there.
    fn step_start(&mut self, recording_id: i64, now: Now) -> usize {
        let completed = self.sync.completed();
        let Some(active) = self.active.get_mut(&recording_id) else { return 0 };
        let RecordingState::Starting { counter, barrier, .. } = &mut active.state else { return 0 };
        if *barrier > completed {
            return 0;
        }
        let counter = match counter.poll() {
            Ok(None) => return 0,
            Ok(Some(counter)) => counter,
            Err(error) => {
                let position = active.join_position;
                self.on_stopped(recording_id, position, Some(error.into()), now);
                return 1;
            }
        };
        self.begin(recording_id, counter, now);
        1
    }

    fn begin(&mut self, recording_id: i64, mut counter: Counter, now: Now) {
        let Some(mut active) = self.active.remove(&recording_id) else { return };
        let RecordingState::Starting { image, .. } = active.state else { return };
        let position = active.join_position;
        counter.set(position);
        let reader = self.client.counters().reader(counter.id());
        let recording = self.catalog.get(recording_id).cloned();
        let (Ok(position_reader), Some(recording)) = (reader, recording) else { return };
        let signal =
            if active.is_extension { RecordingSignal::Extend } else { RecordingSignal::Start };
        let signal = Signal {
            correlation_id: active.correlation_id,
            recording_id,
            subscription_id: active.subscription_id,
            position,
            signal,
        };
        let (control_session_id, is_aborted) = (active.control_session_id, active.is_aborted);
        active.state = RecordingState::Recording { position: position_reader };
        self.active.insert(recording_id, active);
        self.signal(control_session_id, &signal);
        self.events.on_started(&recording, position);
        if let Err(error) = self.recorder.start(&recording, image, counter) {
            self.on_stopped(recording_id, position, Some(Refusal::from(error)), now);
        } else if is_aborted {
            self.recorder.abort(recording_id);
        }
    }

    pub(super) fn take_recorder_events(&mut self, now: Now) -> usize {
        let mut events = std::mem::take(&mut self.recorder_events);
        self.recorder.take_events(&mut events);
        let count = events.len();
        for event in events.drain(..) {
            match event {
                RecorderEvent::Progress { recording_id, position } => {
                    let active = self.active.get(&recording_id);
                    if let Some(start) = active.map(|active| active.join_position) {
                        self.events.on_progress(recording_id, start, position);
                    }
                }
                RecorderEvent::Stopped { recording_id, position, failure, counter } => {
                    self.on_stopped(recording_id, position, failure, now);
                    // Closed last: until then readers find the final position in it.
                    drop(counter);
                }
            }
        }
        self.recorder_events = events;
        count
    }

    fn on_stopped(&mut self, recording_id: i64, position: i64, failure: Option<Refusal>, now: Now) {
        let Some(active) = self.active.remove(&recording_id) else { return };
        self.write_stop(recording_id, position, now);
        self.replayer.on_recording_stopped(recording_id, position);
        if let Some(refusal) = failure {
            self.note(&refusal.message, now);
            self.refuse(active.control_session_id, active.correlation_id, &refusal);
        }
        let signal = Signal {
            correlation_id: active.correlation_id,
            recording_id,
            subscription_id: active.subscription_id,
            position,
            signal: RecordingSignal::Stop,
        };
        self.signal(active.control_session_id, &signal);
        self.events.on_stopped(recording_id, active.join_position, position);
        let subscription = self.subscriptions.get(&active.subscription_id);
        if subscription.is_some_and(|subscription| subscription.is_auto_stop) {
            self.end_subscription(active.subscription_id);
        }
    }

    /// Writes into the catalog where each recording stands: what is published, no more.
    pub(super) fn end_recordings(&mut self, now: Now) {
        let active: Vec<i64> = self.active.keys().copied().collect();
        for recording_id in active {
            let position = self.recorded_position(recording_id);
            let ended = self.catalog.update(recording_id, |recording| {
                recording.stop_position = position.unwrap_or(recording.start_position);
                recording.stop_timestamp = now.epoch_millis();
            });
            if let Err(error) = ended {
                self.note(&error.to_string(), now);
            }
        }
    }
}

impl ActiveRecording {
    const fn is_starting(&self) -> bool {
        matches!(self.state, RecordingState::Starting { .. })
    }
}
