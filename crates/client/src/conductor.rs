//! The duty cycle of a client: requests out, answers in, signs of life both ways.
//!
//! Input: the inbox that handles fill, and the driver's broadcast. Output: the ring to the driver,
//! replies to pending requests, images to subscriptions. Answers are handled in
//! [`answers`](crate::answers).

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use memory::broadcast::Receiver as BroadcastReceiver;
use runtime::pulse::Pulse;
use runtime::{Nanos, Now, Ports, Work};
use wire::cnc::PackedVersion;
use wire::control::{Command, CorrelationId, NO_REGISTRATION, Request as DriverRequest};
use wire::counters::SystemCounter;
use wire::position::SessionId;

use crate::answers::Answers;
use crate::config::Config;
use crate::error::ClientError;
use crate::events::Events;
use crate::handle::{Ask, Handle, Outgoing, Question, Request, Resource};
use crate::heartbeat::Heartbeat;
use crate::logs::Logs;

/// Requests taken from the inbox in one pass, at most.
const REQUESTS_PER_PASS: usize = 64;
/// Messages of the driver taken in one pass, at most.
const MESSAGES_PER_PASS: usize = 64;
/// From this version of the control protocol drivers tell free session ids.
const SESSION_IDS_SINCE: PackedVersion = PackedVersion::new(1, 0, 0);

/// Steps one client.
pub(crate) struct Conductor {
    config: Config,
    inbox: Receiver<Request>,
    /// Commands for which the ring had no room yet, in order.
    stash: VecDeque<Outgoing>,
    receiver: BroadcastReceiver,
    answers: Answers,
    heartbeat: Heartbeat,
    /// The driver's sign of life.
    driver: Pulse,
    random: runtime::random::Rng,
    last_pass: Nanos,
    next_check: Nanos,
    ended: Option<ClientError>,
}

impl Conductor {
    pub(crate) fn new(
        config: Config,
        ports: &Ports,
        handle: Handle,
        receiver: BroadcastReceiver,
        inbox: Receiver<Request>,
        now: Now,
    ) -> Self {
        let logs = Logs::new(ports.files.clone(), ports.background(), config.resource_linger);
        Self {
            heartbeat: Heartbeat::new(handle.client_id(), &config.name),
            driver: Pulse::new(),
            answers: Answers::new(handle, logs, config.driver_timeout),
            inbox,
            stash: VecDeque::new(),
            receiver,
            random: ports.rng("client session ids"),
            last_pass: now.mono,
            next_check: now.mono,
            ended: None,
            config,
        }
    }

    pub(crate) const fn handle(&self) -> &Handle {
        self.answers.handle()
    }

    pub(crate) const fn events(&mut self) -> &mut Events {
        self.answers.events()
    }

    pub(crate) fn do_work(&mut self, now: Now) -> Result<Work, ClientError> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        self.pass(now).inspect_err(|error| self.end(error.clone()))
    }

    fn pass(&mut self, now: Now) -> Result<Work, ClientError> {
        self.check_service_interval(now)?;
        let mut done = self.take_requests(now);
        done += self.send();
        done += self.receive()?;
        // Removals that came of the answers go out in the same pass.
        done += self.answers.drain_removals(&mut self.stash);
        done += self.send();
        done += self.answers.time_out(now);
        if now.mono >= self.next_check {
            done += self.check(now)?;
            self.next_check = now.mono + self.config.keep_alive_interval;
        }
        let deadline = self.next_check.min(self.answers.next_deadline());
        Ok(Work::done(done).due(deadline))
    }

    /// Tells the driver that the client leaves, if there is room in the ring, and ends.
    pub(crate) fn close(&mut self) {
        if self.ended.is_some() {
            return;
        }
        self.send();
        let farewell = self.command(NO_REGISTRATION, DriverRequest::ClientClose);
        self.handle().shared().cnc.offer(&farewell);
        self.end(ClientError::Closed);
    }

    fn end(&mut self, error: ClientError) {
        // Release: pairs with the acquire in `Handle::is_closed`.
        self.handle().shared().is_closed.store(true, Ordering::Release);
        self.answers.end(&error);
        while let Ok(request) = self.inbox.try_recv() {
            if let Request::Ask(ask) = request {
                ask.question.fail(crate::AddError::Client(error.clone()));
            }
        }
        self.stash.clear();
        self.ended = Some(error);
    }

    fn check_service_interval(&mut self, now: Now) -> Result<(), ClientError> {
        let elapsed = now.mono - self.last_pass;
        let limit = self.handle().shared().cnc.client_liveness_timeout();
        self.last_pass = now.mono;
        if elapsed > limit {
            return Err(ClientError::ServiceInterval { elapsed, limit });
        }
        Ok(())
    }

    fn take_requests(&mut self, now: Now) -> usize {
        let mut count = 0;
        while count < REQUESTS_PER_PASS
            && let Ok(request) = self.inbox.try_recv()
        {
            count += 1;
            match request {
                Request::Ask(ask) => self.ask(ask, now),
                Request::Remove { registration_id, resource, revoke } => {
                    self.remove(registration_id, resource, revoke);
                }
            }
        }
        count
    }

    fn ask(&mut self, ask: Ask, now: Now) {
        if let Question::SessionId { reply, .. } = &ask.question
            && !self.driver_tells_session_ids()
        {
            let session_id = SessionId(self.random.next_i32());
            // Nobody may be listening any more.
            drop(reply.send(Ok(session_id)));
            return;
        }
        self.stash.push_back(ask.message);
        self.answers.expect(ask.id, ask.question, now);
    }

    fn driver_tells_session_ids(&self) -> bool {
        let id = wire::counters::CounterId(SystemCounter::ControlProtocolVersion.id());
        let version = self.handle().shared().cnc.counter_value(id).unwrap_or(0);
        version >= i64::from(SESSION_IDS_SINCE.0)
    }

    fn remove(&mut self, id: CorrelationId, resource: Resource, revoke: bool) {
        if !self.answers.resources().remove(id, resource) {
            return;
        }
        let message = self.removal(id, resource, revoke);
        self.stash.push_back(message);
    }

    fn removal(&self, id: CorrelationId, resource: Resource, revoke: bool) -> Outgoing {
        self.command(self.handle().next_correlation_id(), removal(id, resource, revoke))
    }

    fn command(&self, id: CorrelationId, request: DriverRequest<'_>) -> Outgoing {
        let client_id = self.handle().client_id();
        Outgoing::new(&Command { client_id, correlation_id: id, request })
    }

    /// Sends what is stashed, as far as the ring has room.
    fn send(&mut self) -> usize {
        let mut count = 0;
        while let Some(message) = self.stash.front() {
            if !self.answers.handle().shared().cnc.offer(message) {
                break;
            }
            self.stash.pop_front();
            count += 1;
        }
        count
    }

    fn receive(&mut self) -> Result<usize, ClientError> {
        let mut count = 0;
        while count < MESSAGES_PER_PASS {
            let message = self.receiver.receive().map_err(|_| ClientError::UnableToKeepUp)?;
            let Some((type_id, body)) = message else { break };
            self.answers.on_message(type_id, body)?;
            count += 1;
        }
        Ok(count)
    }

    /// Looks whether the driver lives and shows that the client does.
    fn check(&mut self, now: Now) -> Result<usize, ClientError> {
        let cnc = &self.answers.handle().shared().cnc;
        let heartbeat_ms = cnc.driver_heartbeat_ms();
        if heartbeat_ms == wire::ring::to_driver::HEARTBEAT_CLOSED {
            return Err(ClientError::DriverShutDown);
        }
        let age = self.driver.age(heartbeat_ms, now.mono);
        if age > self.config.driver_timeout {
            return Err(ClientError::DriverTimeout { age_ms: age.as_millis() });
        }
        self.heartbeat.beat(cnc, now)?;
        Ok(self.answers.release_logs(now))
    }
}

impl Drop for Conductor {
    /// Closes what was handed out, in this process only.
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.end(ClientError::Closed);
        }
    }
}

/// The command that removes a resource.
pub(crate) const fn removal(
    registration_id: CorrelationId,
    resource: Resource,
    revoke: bool,
) -> DriverRequest<'static> {
    match resource {
        Resource::Publication => DriverRequest::RemovePublication { registration_id, revoke },
        Resource::Subscription => DriverRequest::RemoveSubscription { registration_id },
        Resource::Counter => DriverRequest::RemoveCounter { registration_id },
    }
}
