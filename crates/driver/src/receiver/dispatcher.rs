//! Which datagrams of an endpoint are wanted, and what is known of each session.
//!
//! ```text
//!              data             setup            image made
//!   (unknown) -----> Pending ----------> Initial -----------> Active
//!       ^  ^            | 1 s               | refused            | silent for the image liveness
//!       |  +------------+-------------------+                    v
//!       +------------------------------------------- rejoin -- CoolDown
//! ```
//! A session of a stream that wants others only is `Unwanted` until the interest changes.

use std::collections::{BTreeMap, BTreeSet};

use runtime::Nanos;

/// Pending sessions are forgotten after this, so that the next data elicits a setup again.
pub(crate) const PENDING_TIMEOUT: Nanos = Nanos::from_secs(1);

/// What is known of a session without an image that takes data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    /// A setup was asked for.
    Pending { since: Nanos },
    /// The conductor makes an image.
    Initial,
    /// There is an image.
    Active,
    /// There was an image, and its stream had not ended.
    CoolDown,
    /// No subscription wants it.
    Unwanted,
}

/// What to do with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is for an image.
    Image,
    /// Ask its sender for a setup.
    Elicit,
    /// Have an image made.
    Create,
    /// Drop it.
    Ignore,
}

/// What subscriptions want of a stream.
#[derive(Clone, Debug, Default)]
struct Interest {
    wants_all: bool,
    sessions: BTreeSet<i32>,
}

impl Interest {
    fn wants(&self, session: i32) -> bool {
        self.wants_all || self.sessions.contains(&session)
    }
}

/// Streams and sessions of one endpoint; keys are (stream id, session id).
#[derive(Debug, Default)]
pub(crate) struct Dispatcher {
    streams: BTreeMap<i32, Interest>,
    sessions: BTreeMap<(i32, i32), Session>,
    session_limit: usize,
}

impl Dispatcher {
    pub(crate) fn new(session_limit: i32) -> Self {
        let session_limit = usize::try_from(session_limit).unwrap_or(0);
        Self { session_limit, ..Self::default() }
    }

    pub(crate) fn has_interest(&self) -> bool {
        !self.streams.is_empty()
    }

    pub(crate) fn add_interest(&mut self, stream: i32, session: Option<i32>) {
        let interest = self.streams.entry(stream).or_default();
        match session {
            None => interest.wants_all = true,
            Some(session) => {
                interest.sessions.insert(session);
            }
        }
        self.forget(stream, Session::Unwanted);
    }

    pub(crate) fn remove_interest(&mut self, stream: i32, session: Option<i32>) {
        let Some(interest) = self.streams.get_mut(&stream) else { return };
        match session {
            None => interest.wants_all = false,
            Some(session) => {
                interest.sessions.remove(&session);
            }
        }
        if !interest.wants_all && interest.sessions.is_empty() {
            self.streams.remove(&stream);
        }
        let streams = &self.streams;
        self.sessions.retain(|&(known, session), state| {
            known != stream
                || matches!(state, Session::Active | Session::Initial)
                || streams.get(&known).is_some_and(|interest| interest.wants(session))
        });
    }

    fn forget(&mut self, stream: i32, state: Session) {
        self.sessions.retain(|&(known, _), session| known != stream || *session != state);
    }

    /// Data came for a session.
    pub(crate) fn on_data(
        &mut self,
        stream: i32,
        session: i32,
        is_end_of_stream: bool,
        now: Nanos,
    ) -> Verdict {
        match self.sessions.get(&(stream, session)) {
            Some(Session::Active) => return Verdict::Image,
            Some(_) => return Verdict::Ignore,
            None => {}
        }
        let Some(interest) = self.streams.get(&stream) else { return Verdict::Ignore };
        if !interest.wants(session) {
            self.sessions.insert((stream, session), Session::Unwanted);
            return Verdict::Ignore;
        }
        if is_end_of_stream {
            return Verdict::Ignore;
        }
        self.sessions.insert((stream, session), Session::Pending { since: now });
        Verdict::Elicit
    }

    /// A setup came for a session. `Err` when the stream has too many sessions already.
    pub(crate) fn on_setup(&mut self, stream: i32, session: i32) -> Result<Verdict, usize> {
        match self.sessions.get(&(stream, session)) {
            Some(Session::Active) => return Ok(Verdict::Image),
            Some(Session::Initial | Session::CoolDown | Session::Unwanted) => {
                return Ok(Verdict::Ignore);
            }
            Some(Session::Pending { .. }) | None => {}
        }
        let Some(interest) = self.streams.get(&stream) else { return Ok(Verdict::Ignore) };
        if !interest.wants(session) {
            self.sessions.insert((stream, session), Session::Unwanted);
            return Ok(Verdict::Ignore);
        }
        let range = (stream, i32::MIN)..=(stream, i32::MAX);
        let counts = |state: &Session| matches!(state, Session::Active | Session::Initial);
        let count = self.sessions.range(range).filter(|(_, state)| counts(state)).count();
        if count >= self.session_limit {
            return Err(count);
        }
        self.sessions.insert((stream, session), Session::Initial);
        Ok(Verdict::Create)
    }

    pub(crate) fn set_active(&mut self, stream: i32, session: i32) {
        self.sessions.insert((stream, session), Session::Active);
    }

    /// The receiver dropped the image of a session whose stream has not ended.
    pub(crate) fn set_cool_down(&mut self, stream: i32, session: i32) {
        self.sessions.insert((stream, session), Session::CoolDown);
    }

    /// No image was made.
    pub(crate) fn refuse(&mut self, stream: i32, session: i32) {
        self.remove_if(stream, session, Session::Initial);
    }

    /// Data may elicit a setup again.
    pub(crate) fn end_cool_down(&mut self, stream: i32, session: i32) {
        self.remove_if(stream, session, Session::CoolDown);
    }

    /// The image is gone and nothing stands in the way of another.
    pub(crate) fn remove(&mut self, stream: i32, session: i32) {
        self.sessions.remove(&(stream, session));
    }

    fn remove_if(&mut self, stream: i32, session: i32, state: Session) {
        if self.sessions.get(&(stream, session)) == Some(&state) {
            self.sessions.remove(&(stream, session));
        }
    }

    /// Forgets sessions whose setup did not come.
    pub(crate) fn on_timer(&mut self, now: Nanos) {
        self.sessions.retain(|_, session| match session {
            Session::Pending { since } => now - *since < PENDING_TIMEOUT,
            _ => true,
        });
    }

    /// When a pending session is to be forgotten.
    pub(crate) fn next_deadline(&self) -> Nanos {
        let pending = self.sessions.values().filter_map(|session| match session {
            Session::Pending { since } => Some(*since + PENDING_TIMEOUT),
            _ => None,
        });
        pending.min().unwrap_or(Nanos::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Nanos = Nanos(0);

    fn dispatcher() -> Dispatcher {
        let mut dispatcher = Dispatcher::new(i32::MAX);
        dispatcher.add_interest(10, None);
        dispatcher
    }

    #[test]
    fn data_of_an_unknown_session_elicits_one_setup_until_it_is_forgotten() {
        let mut dispatcher = dispatcher();
        assert_eq!(dispatcher.on_data(10, 1, false, NOW), Verdict::Elicit);
        assert_eq!(dispatcher.on_data(10, 1, false, NOW), Verdict::Ignore);
        dispatcher.on_timer(dispatcher.next_deadline());
        assert_eq!(dispatcher.on_data(10, 1, false, NOW), Verdict::Elicit);
        assert_eq!(dispatcher.on_data(11, 1, false, NOW), Verdict::Ignore);
        assert_eq!(dispatcher.on_data(10, 2, true, NOW), Verdict::Ignore);
    }

    #[test]
    fn a_setup_makes_one_image() {
        let mut dispatcher = dispatcher();
        assert_eq!(dispatcher.on_setup(10, 1), Ok(Verdict::Create));
        assert_eq!(dispatcher.on_setup(10, 1), Ok(Verdict::Ignore));
        dispatcher.set_active(10, 1);
        assert_eq!(dispatcher.on_setup(10, 1), Ok(Verdict::Image));
        assert_eq!(dispatcher.on_data(10, 1, false, NOW), Verdict::Image);
        assert_eq!(dispatcher.on_setup(11, 1), Ok(Verdict::Ignore));
    }

    #[test]
    fn a_session_in_cool_down_is_ignored_until_released() {
        let mut dispatcher = dispatcher();
        dispatcher.set_cool_down(10, 1);
        assert_eq!(dispatcher.on_data(10, 1, false, NOW), Verdict::Ignore);
        assert_eq!(dispatcher.on_setup(10, 1), Ok(Verdict::Ignore));
        dispatcher.end_cool_down(10, 1);
        assert_eq!(dispatcher.on_setup(10, 1), Ok(Verdict::Create));
        dispatcher.refuse(10, 1);
        assert_eq!(dispatcher.on_setup(10, 1), Ok(Verdict::Create));
    }

    #[test]
    fn interest_in_one_session_leaves_others_unwanted_until_it_widens() {
        let mut dispatcher = Dispatcher::new(i32::MAX);
        dispatcher.add_interest(10, Some(1));
        assert_eq!(dispatcher.on_setup(10, 2), Ok(Verdict::Ignore));
        assert_eq!(dispatcher.on_setup(10, 1), Ok(Verdict::Create));
        dispatcher.add_interest(10, None);
        assert_eq!(dispatcher.on_setup(10, 2), Ok(Verdict::Create));
        dispatcher.remove_interest(10, None);
        dispatcher.remove_interest(10, Some(1));
        assert!(!dispatcher.has_interest());
    }

    #[test]
    fn a_stream_takes_no_more_sessions_than_its_limit() {
        let mut dispatcher = Dispatcher::new(1);
        dispatcher.add_interest(10, None);
        assert_eq!(dispatcher.on_setup(10, 1), Ok(Verdict::Create));
        assert_eq!(dispatcher.on_setup(10, 2), Err(1));
    }
}
