//! The leader's log as a follower receives it: by a replay first, or live at once.

use client::{Pending, Subscription};
use consensus::ArchiveInput;
use runtime::{Nanos, Now};
use wire::position::SessionId;

use super::LogFault;
use super::environment::{Environment, LOOK_INTERVAL};
use super::publication::next_tags;
use super::reader::Reader;
use crate::channels;

/// How long the sockets of a log that was left are waited for.
const CLOSE_TIMEOUT: Nanos = Nanos::from_secs(2);

/// A subscription of the leader's log on its way or there.
pub(super) struct Join {
    session_id: SessionId,
    channel: String,
    state: State,
    /// Where the leader is to replay to; `None` without catch-up, or once that is over.
    catchup: Option<String>,
    /// The same with its port, once it is known.
    endpoint: Option<String>,
    /// Destinations that were added and not removed.
    destinations: Vec<String>,
    /// Changes of destinations that are not answered.
    changes: Vec<Pending<()>>,
}

enum State {
    Subscribing(Pending<Subscription>),
    Subscribed(Box<Subscribed>),
}

struct Subscribed {
    /// Keeps the image open.
    subscription: Subscription,
    /// Once the image is there.
    reader: Option<Reader>,
}

impl Join {
    pub(super) fn open(environment: &Environment, session_id: SessionId, is_catchup: bool) -> Self {
        let settings = &environment.settings;
        let tags = next_tags(environment);
        let channel = channels::log_subscription(&settings.log, tags, session_id).to_string();
        let stream_id = environment.log_stream();
        let pending = environment.handle.add_subscription(&channel, stream_id);
        let catchup = is_catchup
            .then(|| channels::destination(&settings.catchup, &settings.own.catchup).to_string());
        Self {
            session_id,
            channel,
            state: State::Subscribing(pending),
            catchup,
            endpoint: None,
            destinations: Vec::new(),
            changes: Vec::new(),
        }
    }

    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    pub(super) const fn session_id(&self) -> SessionId {
        self.session_id
    }

    pub(super) fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    pub(super) fn reader(&mut self) -> Option<&mut Reader> {
        match &mut self.state {
            State::Subscribing(_) => None,
            State::Subscribed(subscribed) => subscribed.reader.as_mut(),
        }
    }

    /// Receives the live log as well, or at once.
    pub(super) fn add_live_destination(&mut self, environment: &Environment) {
        let settings = &environment.settings;
        let live = channels::live_destination(&settings.log, &settings.own).to_string();
        self.add(live);
    }

    fn add(&mut self, destination: String) {
        if let State::Subscribed(subscribed) = &self.state {
            self.changes.push(subscribed.subscription.add_destination(&destination));
            self.destinations.push(destination);
        }
    }

    pub(super) fn remove_catchup_destination(&mut self) {
        let (State::Subscribed(subscribed), Some(catchup)) = (&self.state, self.catchup.take())
        else {
            return;
        };
        self.destinations.retain(|known| *known != catchup);
        self.changes.push(subscribed.subscription.remove_destination(&catchup));
    }

    /// When to look again for what nobody tells of.
    pub(super) fn due(&self, now: Now) -> Nanos {
        if self.catchup.is_some() && self.endpoint.is_none() {
            now.mono + LOOK_INTERVAL
        } else {
            Nanos::MAX
        }
    }

    /// The next thing that happened. The core knows how long to wait.
    pub(super) fn poll(
        &mut self,
        environment: &Environment,
    ) -> Result<Option<ArchiveInput>, LogFault> {
        self.poll_changes()?;
        if let State::Subscribing(pending) = &mut self.state {
            let Some(subscription) = pending.poll()? else { return Ok(None) };
            let subscribed = Subscribed { subscription, reader: None };
            self.state = State::Subscribed(Box::new(subscribed));
            match self.catchup.clone() {
                Some(catchup) => self.add(catchup),
                None => self.add_live_destination(environment),
            }
            return Ok(None);
        }
        let State::Subscribed(subscribed) = &mut self.state else { return Ok(None) };
        let Subscribed { subscription, reader } = &mut **subscribed;
        if let Some(reader) = reader {
            let end = reader.poll_end();
            return Ok(end.map(|is_end_of_stream| ArchiveInput::ImageClosed { is_end_of_stream }));
        }
        if self.catchup.is_some() && self.endpoint.is_none() {
            if !self.changes.is_empty() {
                return Ok(None);
            }
            self.endpoint = resolved(&environment.settings.own.catchup, subscription);
            return Ok(self.endpoint.is_some().then_some(ArchiveInput::CatchupReady));
        }
        *reader = Reader::join(subscription, self.session_id);
        Ok(reader.as_ref().map(|reader| ArchiveInput::ImageJoined {
            session_id: self.session_id.0,
            position: reader.image().join_position(),
        }))
    }

    fn poll_changes(&mut self) -> Result<(), LogFault> {
        let mut result = Ok(());
        self.changes.retain_mut(|change| match change.poll() {
            Ok(answer) => answer.is_none(),
            Err(error) => {
                result = Err(error.into());
                false
            }
        });
        result
    }

    /// Closes the image. Services and archive may hold the channel open for a while, so its sockets
    /// are closed by taking its destinations away.
    pub(super) fn leave(self, now: Now) -> Option<Closing> {
        let State::Subscribed(subscribed) = self.state else { return None };
        let Subscribed { subscription, reader } = *subscribed;
        drop(reader);
        let remove = |channel: &String| subscription.remove_destination(channel);
        let removals = self.destinations.iter().map(remove).collect();
        Some(Closing { subscription, removals, deadline: now.mono + CLOSE_TIMEOUT })
    }
}

/// A log that was left, until its sockets are closed: the next one needs their ports.
pub(super) struct Closing {
    subscription: Subscription,
    removals: Vec<Pending<()>>,
    deadline: Nanos,
}

impl Closing {
    pub(super) fn is_done(&mut self, now: Now) -> bool {
        self.removals.retain_mut(|removal| matches!(removal.poll(), Ok(None)));
        let is_closed = self.removals.is_empty() && self.subscription.local_addresses().is_empty();
        is_closed || now.mono >= self.deadline
    }
}

/// The endpoint under its configured name with the port that the driver chose for port 0.
fn resolved(configured: &str, subscription: &Subscription) -> Option<String> {
    let Some(host) = configured.strip_suffix(":0") else { return Some(configured.to_string()) };
    let address = subscription.resolved_endpoint()?;
    let (_, port) = address.rsplit_once(':')?;
    Some(format!("{host}:{port}"))
}
