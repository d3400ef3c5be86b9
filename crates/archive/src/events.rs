//! The recording events stream: tells whoever listens how recordings go. Nobody waits for it.

use std::collections::BTreeMap;

use client::{AddError, ExclusivePublication, Handle, Pending};
use wire::archive::event::{RecordingProgress, RecordingStarted, RecordingStopped};
use wire::position::StreamId;

use crate::catalog::Recording;
use crate::config::EventsConfig;
use crate::control::outbox::encode;

/// How often the begin and end of a recording are tried to be told.
const TRIES: usize = 3;

enum State {
    Off,
    Adding(Pending<ExclusivePublication>),
    On(Box<ExclusivePublication>),
}

/// Where recording events go.
pub(crate) struct EventsStream {
    state: State,
    /// The latest progress of each recording, by its start position: what was not told is replaced.
    progress: BTreeMap<i64, (i64, i64)>,
}

impl EventsStream {
    pub(crate) fn new(config: &EventsConfig, client: &Handle) -> Self {
        let state = if config.enabled {
            let stream_id = StreamId(config.stream_id);
            State::Adding(client.add_exclusive_publication(&config.channel, stream_id))
        } else {
            State::Off
        };
        Self { state, progress: BTreeMap::new() }
    }

    pub(crate) fn on_started(&mut self, recording: &Recording, start_position: i64) {
        self.tell(&encode(&RecordingStarted {
            recording_id: recording.id,
            start_position,
            session_id: recording.session_id,
            stream_id: recording.stream_id,
            channel: recording.original_channel.as_bytes(),
            source_identity: recording.source_identity.as_bytes(),
        }));
    }

    pub(crate) fn on_progress(&mut self, recording_id: i64, start_position: i64, position: i64) {
        if !matches!(self.state, State::Off) {
            self.progress.insert(recording_id, (start_position, position));
        }
    }

    pub(crate) fn on_stopped(&mut self, recording_id: i64, start_position: i64, stop: i64) {
        self.progress.remove(&recording_id);
        let stop_position = stop;
        self.tell(&encode(&RecordingStopped { recording_id, start_position, stop_position }));
    }

    /// Tells the progress of recordings; returns how many.
    ///
    /// # Errors
    /// The driver refuses the stream: the archive goes on without it.
    pub(crate) fn do_work(&mut self) -> Result<usize, AddError> {
        Ok(match &mut self.state {
            State::Off => 0,
            State::Adding(pending) => match pending.poll() {
                Ok(None) => 0,
                Ok(Some(publication)) => {
                    self.state = State::On(Box::new(publication));
                    1
                }
                Err(error) => {
                    self.state = State::Off;
                    self.progress.clear();
                    return Err(error);
                }
            },
            State::On(publication) => {
                let mut done = 0;
                self.progress.retain(|&recording_id, &mut (start_position, position)| {
                    let event = RecordingProgress { recording_id, start_position, position };
                    let is_told = publication.offer(&encode(&event)).is_ok();
                    done += usize::from(is_told);
                    !is_told && publication.is_connected()
                });
                done
            }
        })
    }

    fn tell(&mut self, bytes: &[u8]) {
        if let State::On(publication) = &mut self.state {
            let _ = (0..TRIES).any(|_| publication.offer(bytes).is_ok());
        }
    }
}
