//! What every part of the log needs: the archive, the driver's client and the settings.

use archive_client::{ArchiveClient, FromAnswer, ReplaySession, Request};
use client::Handle;
use runtime::{Nanos, Now};
use wire::position::StreamId;

use super::LogFault;
use crate::config::{ChannelsConfig, Settings};

/// How long to wait for what no request times out.
pub(crate) const PATIENCE: Nanos = Nanos::from_secs(10);
/// How often something is asked again, or looked for in counters.
pub(crate) const LOOK_INTERVAL: Nanos = Nanos::from_millis(10);

/// Shared by all parts.
pub(crate) struct Environment {
    pub(crate) archive: ArchiveClient,
    pub(crate) handle: Handle,
    pub(crate) settings: Settings,
    pub(crate) channels: ChannelsConfig,
}

impl Environment {
    pub(crate) const fn log_stream(&self) -> StreamId {
        StreamId(self.channels.log_stream_id)
    }

    /// The answer to a request, once.
    pub(crate) fn take<T: FromAnswer>(
        &mut self,
        request: Request<T>,
    ) -> Result<Option<T>, LogFault> {
        taken(&mut self.archive, request)
    }
}

/// The answer to a request, once.
pub(crate) fn taken<T: FromAnswer>(
    archive: &mut ArchiveClient,
    request: Request<T>,
) -> Result<Option<T>, LogFault> {
    archive.take(request).transpose().map_err(LogFault::from)
}

/// A wait that ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Nanos,
    what: &'static str,
}

impl Deadline {
    /// `what` is what will not have happened, as a clause.
    pub(crate) fn new(now: Now, what: &'static str) -> Self {
        Self { at: now.mono + PATIENCE, what }
    }

    pub(crate) const fn at(self) -> Nanos {
        self.at
    }

    pub(crate) fn check(self, now: Now) -> Result<(), LogFault> {
        if now.mono < self.at {
            Ok(())
        } else {
            Err(LogFault::Late { what: self.what, waited: PATIENCE })
        }
    }
}

/// Replays that nobody wants any more: each is stopped as soon as it is known.
#[derive(Default)]
pub(crate) struct Errands {
    replays: Vec<Request<ReplaySession>>,
    stops: Vec<Request<()>>,
}

impl Errands {
    /// Stops a replay that has not begun yet.
    pub(crate) fn stop_asked(&mut self, request: Request<ReplaySession>) {
        self.replays.push(request);
    }

    /// Stops a replay.
    pub(crate) fn stop(&mut self, archive: &mut ArchiveClient, replay: ReplaySession) {
        self.stops.push(archive.stop_replay(replay));
    }

    /// Every request is answered or timed out, so this never grows for long.
    pub(crate) fn poll(&mut self, archive: &mut ArchiveClient) {
        let stops = &mut self.stops;
        self.replays.retain(|request| match archive.take(*request) {
            None => true,
            Some(Ok(replay)) => {
                stops.push(archive.stop_replay(replay));
                false
            }
            Some(Err(_)) => false,
        });
        stops.retain(|request| archive.take(*request).is_none());
    }
}
