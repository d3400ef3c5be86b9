//! Commands of clients: one at a time, in order.
//!
//! A command that needs something from the background (a name, a log file) waits, and those behind
//! it wait in the ring. Once a name is known the command is begun anew, as nothing was changed yet.

use memory::ring::ReadAction;
use runtime::Now;
use runtime::background::{Job, Outcome, Ticket};
use runtime::point::{Point, strikes};
use wire::control::{Command, ControlError, ErrorCode, Event, Request};
use wire::counters::SystemCounter;

use super::Conductor;
use super::add_publication::{AddPublication, PublicationPlan};
use super::counters::CounterRequest;
use super::subscriptions::AddSubscription;
use crate::channel::udp::ResolveError;
use crate::refusal::Refusal;

/// How a command went.
pub(crate) enum Progress {
    Done,
    Waiting(Stage),
}

/// What a command waits for.
pub(crate) enum Stage {
    /// The address of a name.
    Name(Ticket, String),
    /// The log of a publication.
    Publication(Ticket, Box<PublicationPlan>),
}

/// The command under way; the bytes are kept between commands for their memory only.
#[derive(Default)]
pub(crate) struct Inbound {
    type_id: i32,
    body: Vec<u8>,
    stage: Option<Stage>,
}

impl Conductor {
    /// Takes the next command, if none is under way. Returns how many were taken.
    pub(super) fn poll_commands(&mut self, now: Now) -> usize {
        if self.inbound.stage.is_some() || self.to_sender.is_full() || self.to_receiver.is_full() {
            return 0;
        }
        if strikes(Point::CommandsLeft) {
            return 0;
        }
        let inbound = &mut self.inbound;
        let read = self.commands.read(1, |type_id, body| {
            inbound.type_id = type_id;
            inbound.body.clear();
            inbound.body.extend_from_slice(body);
            ReadAction::Continue
        });
        match read {
            Ok(0) => 0,
            Ok(count) => {
                self.run_command(now);
                count
            }
            Err(error) => {
                self.desk.error(&format!("command ring: {error}"));
                1
            }
        }
    }

    fn run_command(&mut self, now: Now) {
        let body = std::mem::take(&mut self.inbound.body);
        let stage = match Command::decode(self.inbound.type_id, &body) {
            Ok(command) => match self.execute(&command, now) {
                Ok(Progress::Done) => None,
                Ok(Progress::Waiting(stage)) => Some(stage),
                Err(refusal) => {
                    self.desk.refuse(command.correlation_id.0, &refusal);
                    None
                }
            },
            Err(error) => {
                // The correlation id is not to be trusted: 0, as the Java driver answers.
                let code = match error {
                    ControlError::UnknownType(_) => ErrorCode::UNKNOWN_COMMAND,
                    ControlError::Malformed { .. } => ErrorCode::MALFORMED_COMMAND,
                };
                self.desk.refuse(0, &Refusal::new(code, error.to_string()));
                None
            }
        };
        if stage.is_none() {
            self.names.clear();
        }
        self.inbound.stage = stage;
        self.inbound.body = body;
    }

    fn execute(&mut self, command: &Command<'_>, now: Now) -> Result<Progress, Refusal> {
        let (client_id, correlation_id) = (command.client_id.0, command.correlation_id.0);
        match command.request {
            Request::AddPublication { stream_id: stream, channel } => {
                let is_exclusive = false;
                let add =
                    AddPublication { client_id, correlation_id, stream, channel, is_exclusive };
                return self.add_publication(add, now);
            }
            Request::AddExclusivePublication { stream_id: stream, channel } => {
                let is_exclusive = true;
                let add =
                    AddPublication { client_id, correlation_id, stream, channel, is_exclusive };
                return self.add_publication(add, now);
            }
            Request::AddSubscription { stream_id: stream, channel } => {
                let add = AddSubscription { client_id, correlation_id, stream, channel };
                return self.add_subscription(add, now);
            }
            Request::AddDestination { registration_id, channel } => {
                return self.add_destination(correlation_id, registration_id.0, channel);
            }
            Request::AddReceiveDestination { registration_id, channel } => {
                return self.add_receive_destination(
                    correlation_id,
                    registration_id.0,
                    channel,
                    now,
                );
            }
            Request::RemoveDestination { registration_id, channel } => {
                return self.remove_destination(correlation_id, registration_id.0, channel);
            }
            Request::RemoveReceiveDestination { registration_id, channel } => {
                self.remove_receive_destination(correlation_id, registration_id.0, channel)?;
            }
            Request::RemovePublication { registration_id, revoke } => {
                self.remove_publication(correlation_id, registration_id.0, revoke, now)?;
            }
            Request::RemoveSubscription { registration_id } => {
                self.remove_subscription(correlation_id, registration_id.0, now)?;
            }
            Request::RemoveDestinationById { registration_id, destination } => {
                self.remove_destination_by_id(correlation_id, registration_id.0, destination.0)?;
            }
            _ => self.execute_simple(command, now)?,
        }
        Ok(Progress::Done)
    }

    fn execute_simple(&mut self, command: &Command<'_>, now: Now) -> Result<(), Refusal> {
        let (client_id, correlation_id) = (command.client_id.0, command.correlation_id.0);
        match command.request {
            Request::AddCounter { type_id, key, label } => {
                self.add_counter(CounterRequest { client_id, correlation_id, type_id, key, label })
            }
            Request::AddStaticCounter { registration_id, type_id, key, label } => {
                let request = CounterRequest { client_id, correlation_id, type_id, key, label };
                self.add_static_counter(request, registration_id.0)
            }
            Request::RemoveCounter { registration_id } => {
                self.remove_counter(correlation_id, registration_id.0)
            }
            Request::ClientKeepalive => {
                self.on_keepalive(client_id);
                Ok(())
            }
            Request::ClientClose => {
                self.on_client_close(client_id);
                Ok(())
            }
            Request::TerminateDriver { token } => {
                if self.config.agents.termination.permits(token) {
                    self.is_terminated = true;
                } else {
                    self.desk.error("termination of the driver was asked for and denied");
                }
                Ok(())
            }
            Request::RejectImage { image, reason, .. } => {
                self.reject_image(correlation_id, image.0, reason, now)
            }
            Request::NextAvailableSessionId { stream_id } => {
                let publications = &self.publications;
                let is_used = |session: i32| {
                    publications.values().any(|record| {
                        record.shape.stream == stream_id && record.shape.session.0 == session
                    })
                };
                let session_id = wire::position::SessionId(self.sessions.next(is_used));
                let correlation_id = command.correlation_id;
                self.desk.send(&Event::NextAvailableSessionId { correlation_id, session_id });
                Ok(())
            }
            // All others are handled by the caller.
            _ => Ok(()),
        }
    }

    fn remove_publication(
        &mut self,
        correlation_id: i64,
        registration_id: i64,
        revoke: bool,
        now: Now,
    ) -> Result<(), Refusal> {
        if !self.publication_links.contains_key(&registration_id) {
            return Err(Refusal::unknown_publication(registration_id));
        }
        self.unlink_publication(registration_id, revoke, now);
        self.desk.succeed(correlation_id);
        Ok(())
    }

    /// The command has to wait for a name, or never can go on.
    pub(super) fn await_name(&mut self, error: ResolveError) -> Result<Progress, Refusal> {
        match error {
            ResolveError::Refused(refusal) => Err(refusal),
            ResolveError::UnknownName(name) => {
                let ticket = self.logs.background.submit(Job::Resolve(name.clone()));
                Ok(Progress::Waiting(Stage::Name(ticket, name)))
            }
        }
    }

    /// A ticket came back: whether the command under way waited for it.
    pub(super) fn on_command_outcome(
        &mut self,
        ticket: Ticket,
        outcome: Outcome,
        now: Now,
    ) -> Option<Outcome> {
        match self.inbound.stage.take() {
            Some(Stage::Name(awaited, name)) if awaited == ticket => {
                self.on_name(name, outcome, now);
                None
            }
            Some(Stage::Publication(awaited, plan)) if awaited == ticket => {
                let correlation_id = plan.registration_id();
                let made = self
                    .logs
                    .on_created(plan.path.clone(), outcome)
                    .and_then(|file| self.finish_publication(*plan, file, now));
                if let Err(refusal) = made {
                    self.desk.refuse(correlation_id, &refusal);
                }
                self.names.clear();
                None
            }
            other => {
                self.inbound.stage = other;
                Some(outcome)
            }
        }
    }

    fn on_name(&mut self, name: String, outcome: Outcome, now: Now) {
        let address = match outcome {
            Outcome::Resolved(addresses) => addresses.first().copied(),
            _ => None,
        };
        if let Some(address) = address {
            self.names.insert(name, address);
            self.run_command(now);
            return;
        }
        let body = std::mem::take(&mut self.inbound.body);
        if let Ok(command) = Command::decode(self.inbound.type_id, &body) {
            let text = format!("cannot resolve {name}");
            let refusal = Refusal::new(ErrorCode::UNKNOWN_HOST, text);
            self.desk.refuse(command.correlation_id.0, &refusal);
        }
        self.inbound.body = body;
    }

    /// Passes a command whose producer died, once the ring has stood still for too long.
    pub(super) fn check_ring(&mut self, now: Now) {
        let position = self.commands.consumer_position();
        let has_more = self.commands.producer_position() > position;
        let since = self.ring_stuck_at.filter(|&(at, _)| at == position);
        match since.filter(|_| has_more && self.inbound.stage.is_none()) {
            None => self.ring_stuck_at = Some((position, now.mono)),
            Some((_, since)) => {
                let is_over = now.mono - since > self.config.timeouts.client_liveness;
                if is_over && self.commands.unblock() {
                    self.desk.system.increment(SystemCounter::UnblockedCommands);
                }
            }
        }
    }
}
