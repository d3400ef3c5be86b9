//! Replays of the live log to followers that are behind.

use std::collections::BTreeMap;

use archive_client::{ReplayLength, ReplayParameters, ReplaySession, Request};
use consensus::{MemberId, RecordingId};
use wire::position::{Position, SessionId};

use super::LogFault;
use super::environment::{Environment, Errands};
use crate::channels;

/// At most one for each member.
#[derive(Default)]
pub(super) struct Catchups {
    members: BTreeMap<MemberId, Catchup>,
}

enum Catchup {
    /// Where to is not known yet.
    AwaitEndpoint {
        from: Position,
    },
    Asked(Request<ReplaySession>),
    Running(ReplaySession),
}

impl Catchups {
    /// Notes one; another one of the member must be stopped before.
    pub(super) fn expect(&mut self, member: MemberId, from: Position) {
        self.members.insert(member, Catchup::AwaitEndpoint { from });
    }

    /// Begins one that was noted. The replay follows the live recording and comes in its session,
    /// so the follower finds both in one image.
    pub(super) fn start(
        &mut self,
        environment: &mut Environment,
        (recording_id, session_id): (RecordingId, SessionId),
        member: MemberId,
        endpoint: &str,
    ) {
        let Some(Catchup::AwaitEndpoint { from }) = self.members.get(&member) else { return };
        let channel = &environment.settings.catchup;
        let channel = channels::catchup_replay(channel, endpoint, session_id, member.0).to_string();
        let parameters = ReplayParameters {
            position: Some(*from),
            length: ReplayLength::Follow,
            ..ReplayParameters::default()
        };
        let stream_id = environment.log_stream();
        let archive = &mut environment.archive;
        let request = archive.replay(recording_id.0, &channel, stream_id, &parameters);
        self.members.insert(member, Catchup::Asked(request));
    }

    pub(super) fn stop(
        &mut self,
        environment: &mut Environment,
        errands: &mut Errands,
        member: MemberId,
    ) {
        match self.members.remove(&member) {
            None | Some(Catchup::AwaitEndpoint { .. }) => {}
            Some(Catchup::Asked(request)) => errands.stop_asked(request),
            Some(Catchup::Running(replay)) => errands.stop(&mut environment.archive, replay),
        }
    }

    pub(super) fn stop_all(&mut self, environment: &mut Environment, errands: &mut Errands) {
        while let Some((&member, _)) = self.members.first_key_value() {
            self.stop(environment, errands, member);
        }
    }

    /// Takes answers in; returns why one was refused. Its follower gives up by itself.
    pub(super) fn poll(&mut self, environment: &mut Environment) -> Option<LogFault> {
        let mut refused = None;
        self.members.retain(|_, catchup| {
            let Catchup::Asked(request) = catchup else { return true };
            match environment.take(*request) {
                Ok(None) => true,
                Ok(Some(replay)) => {
                    *catchup = Catchup::Running(replay);
                    true
                }
                Err(fault) => {
                    refused = Some(fault);
                    false
                }
            }
        });
        refused
    }
}
