//! Publications in the conductor: positions, limits, cleaning and life cycle.
//!
//! ```text
//!            last reference gone            all sent and consumed        linger over
//!   Active ----------------------> Draining --------------------> Linger -----------> Done
//!      |                                                            ^
//!      +------------------------------ revoked ---------------------+
//! ```

use std::sync::Arc;

use memory::counters::Counter;
use memory::log::LogBuffer;
use memory::log::unblock::Unblocked;
use runtime::Nanos;
use wire::counters::{CounterId, SystemCounter};
use wire::position::Position;

use super::Conductor;
use super::logs::LogFile;
use super::subscribers::{Subscriber, Subscribers};
use super::touch::TouchAhead;
use super::untethered::UntetheredTimeouts;
use crate::channel::PublicationParameters;
use crate::messages::{EndpointId, SenderCommand};
use crate::shared::{PublicationShared, Shape};
use crate::system::SystemCounters;

/// Where a publication stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Active,
    Draining,
    Linger {
        since: Nanos,
    },
    /// The sender was told to let go; or nothing is left to wait for.
    Done,
}

/// The part that only network publications have.
pub(crate) struct NetworkPart {
    pub(crate) endpoint: EndpointId,
    pub(crate) shared: Arc<PublicationShared>,
    /// Counters that the sender writes.
    pub(crate) sender_counters: Vec<CounterId>,
    pub(crate) canonical: Option<String>,
}

/// How a publication travels.
pub(crate) enum Carrier {
    Ipc,
    Network(NetworkPart),
}

/// What was asked for when it was made.
#[derive(Clone, Debug)]
pub(crate) struct PublicationTerms {
    pub(crate) parameters: PublicationParameters,
    pub(crate) channel: String,
    pub(crate) channel_tag: Option<i64>,
    pub(crate) entity_tag: Option<i64>,
    pub(crate) is_exclusive: bool,
    pub(crate) window: i32,
    pub(crate) linger: Nanos,
    pub(crate) untethered: UntetheredTimeouts,
    pub(crate) spies_simulate_connection: bool,
}

/// A publication as the conductor owns it.
pub(crate) struct PublicationRecord {
    pub(crate) shape: Shape,
    pub(crate) terms: PublicationTerms,
    pub(crate) log: LogBuffer,
    pub(crate) file: LogFile,
    pub(crate) limit: Counter,
    pub(crate) position: Counter,
    pub(crate) carrier: Carrier,
    pub(crate) subscribers: Subscribers,
    pub(crate) touch: TouchAhead,
    pub(crate) references: usize,
    pub(crate) phase: Phase,
    /// Rejected by an IPC subscriber: none may join before.
    pub(crate) cool_down_until: Option<Nanos>,
    clean_position: i64,
    /// Furthest that any subscriber of an IPC publication has come.
    consumed: i64,
    trip_limit: i64,
    end_position: i64,
    stuck_at: (i64, Nanos),
}

/// What a timer pass asks the conductor to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Stay,
    /// Subscribers are to be told that it went.
    Leave,
    /// It can be let go of.
    Release,
}

impl PublicationRecord {
    pub(crate) fn new(
        shape: Shape,
        terms: PublicationTerms,
        (log, file): (LogBuffer, LogFile),
        (limit, position): (Counter, Counter),
        carrier: Carrier,
        (start, now): (i64, Nanos),
    ) -> Self {
        let touch = TouchAhead::new(start, shape.term_length, log.description().switches.sparse);
        Self {
            shape,
            terms,
            log,
            file,
            limit,
            position,
            carrier,
            subscribers: Subscribers::default(),
            touch,
            references: 1,
            phase: Phase::Active,
            cool_down_until: None,
            clean_position: start,
            consumed: start,
            trip_limit: start,
            end_position: i64::MAX,
            stuck_at: (start, now),
        }
    }

    pub(crate) fn is_ipc(&self) -> bool {
        matches!(self.carrier, Carrier::Ipc)
    }

    pub(crate) fn is_active(&self) -> bool {
        self.phase == Phase::Active
    }

    /// Whether subscribers may join. One over IPC whose publisher has gone is still read by those
    /// who have not come to its end, and until then by others with them.
    pub(crate) fn is_joinable(&self) -> bool {
        let is_read = || self.bounds().is_some_and(|(slowest, _)| slowest < self.end_position);
        match self.phase {
            Phase::Active => true,
            Phase::Draining => self.is_ipc() && is_read(),
            Phase::Linger { .. } | Phase::Done => false,
        }
    }

    pub(crate) fn network(&self) -> Option<&NetworkPart> {
        match &self.carrier {
            Carrier::Ipc => None,
            Carrier::Network(network) => Some(network),
        }
    }

    /// How far it has been consumed: by the sender, or by the furthest IPC subscriber.
    pub(crate) fn consumer_position(&self) -> i64 {
        match &self.carrier {
            Carrier::Ipc => self.consumed,
            Carrier::Network(network) => network.shared.sender_position.get(),
        }
    }

    /// Where a new subscriber begins: with the slowest, never at what is cleaned.
    pub(crate) fn join_position(&self) -> i64 {
        let consumer = self.consumer_position();
        match (&self.carrier, self.bounds()) {
            (Carrier::Ipc, Some((slowest, _))) => consumer.min(slowest),
            _ => consumer,
        }
    }

    /// The slowest and the furthest subscriber. Producers run at most a term past the limit.
    fn bounds(&self) -> Option<(i64, i64)> {
        let ceiling = self.limit.get().saturating_add(i64::from(self.shape.term_length));
        self.subscribers.bounds(ceiling)
    }

    /// Below this position an untethered subscriber is too far behind.
    pub(crate) fn untethered_limit(&self) -> i64 {
        let window = i64::from(self.terms.window);
        let furthest = self.bounds().map_or(self.consumed, |(_, furthest)| furthest);
        let consumer = if self.is_ipc() { furthest } else { self.consumer_position() };
        consumer - window + window / 4
    }

    /// A subscriber joins: an IPC publication is connected from now on.
    pub(crate) fn add_subscriber(&mut self, subscriber: Subscriber) {
        self.subscribers.add(subscriber);
        if self.is_ipc() {
            self.log.set_connected(true);
        }
    }

    /// Publishes positions and limit; cleans what was consumed. Returns whether anything moved.
    pub(crate) fn update(&mut self) -> bool {
        let produced = self.log.producer_position().0;
        let has_moved = produced != self.position.get();
        if has_moved {
            self.position.set_release(produced);
        }
        match self.phase {
            Phase::Active => {}
            Phase::Draining => {
                self.note_consumption();
                return has_moved;
            }
            Phase::Linger { .. } | Phase::Done => return has_moved,
        }
        match &self.carrier {
            Carrier::Ipc => self.update_ipc() || has_moved,
            Carrier::Network(network) => {
                let shared = Arc::clone(&network.shared);
                self.update_network(&shared) || has_moved
            }
        }
    }

    fn note_consumption(&mut self) -> Option<i64> {
        let (slowest, furthest) = self.bounds()?;
        if self.is_ipc() {
            self.consumed = self.consumed.max(furthest);
        }
        Some(slowest)
    }

    fn update_ipc(&mut self) -> bool {
        let has_subscribers = self.subscribers.any_counts();
        if has_subscribers != self.log.is_connected() {
            self.log.set_connected(has_subscribers);
        }
        let Some(slowest) = self.note_consumption() else {
            if self.limit.get() > self.consumed {
                self.limit.set_release(self.consumed);
                self.trip_limit = self.consumed;
                self.clean(self.consumed);
                return true;
            }
            return false;
        };
        let window = i64::from(self.terms.window);
        let proposed = slowest + window;
        if proposed < self.trip_limit || proposed <= self.limit.get() {
            return false;
        }
        self.clean(slowest);
        if self.clean_position < slowest {
            return true;
        }
        self.limit.set_release(proposed);
        self.trip_limit = proposed + window / 8;
        true
    }

    fn update_network(&mut self, shared: &PublicationShared) -> bool {
        let sent = shared.sender_position.get();
        let spies = self.bounds();
        shared.set_spies(spies.map(|(_, furthest)| furthest));
        let is_connected = shared.is_connected();
        if is_connected != self.log.is_connected() {
            self.log.set_connected(is_connected);
        }
        let term_length = i64::from(self.shape.term_length);
        if shared.has_receivers() || (shared.spies_simulate_connection && shared.has_spies()) {
            let slowest = spies.map_or(sent, |(slowest, _)| slowest.min(sent));
            let proposed = slowest + i64::from(self.terms.window);
            if proposed <= self.limit.get() {
                return false;
            }
            self.clean(slowest - term_length);
            if self.is_clean_enough(proposed) {
                self.limit.set_release(proposed);
            }
            true
        } else if self.limit.get() > sent {
            self.limit.set_release(sent);
            self.clean(sent - term_length);
            true
        } else {
            false
        }
    }

    /// Whether producers below this limit cannot enter a term that is dirty.
    fn is_clean_enough(&self, limit: i64) -> bool {
        let bits = self.shape.bits();
        let terms = (limit >> bits) - (self.clean_position >> bits);
        let is_at_start = self.shape.offset(self.clean_position) == 0;
        terms < 2 || (terms == 2 && !is_at_start)
    }

    fn clean(&mut self, target: i64) {
        while self.clean_position < target {
            let cleaned =
                self.log.clean(Position(self.clean_position), Position(target), usize::MAX);
            if cleaned.0 == self.clean_position {
                return;
            }
            self.clean_position = cleaned.0;
        }
    }

    /// The last reference is gone.
    pub(crate) fn end(&mut self) {
        let produced = self.log.producer_position().0;
        self.end_at(produced);
        self.phase = Phase::Draining;
    }

    /// The publisher takes it back: what was not sent will not be.
    pub(crate) fn revoke(&mut self, now: Nanos) {
        self.log.set_revoked();
        if let Carrier::Network(network) = &self.carrier {
            network.shared.revoke();
        }
        let produced = self.log.producer_position().0;
        self.end_at(produced);
        self.log.set_connected(false);
        self.phase = Phase::Linger { since: now };
    }

    fn end_at(&mut self, produced: i64) {
        self.limit.set_release(produced);
        self.end_position = produced;
        self.log.set_end_of_stream_position(Position(produced));
        if let Carrier::Network(network) = &self.carrier {
            network.shared.set_end_position(produced);
        }
    }

    /// A timer pass.
    pub(crate) fn on_timer(
        &mut self,
        unblock_timeout: Nanos,
        system: &SystemCounters,
        now: Nanos,
    ) -> Step {
        match self.phase {
            Phase::Active => {
                if !self.terms.is_exclusive {
                    self.check_stuck(unblock_timeout, system, now);
                }
                Step::Stay
            }
            Phase::Draining => {
                if !self.is_drained(system) {
                    return Step::Stay;
                }
                self.phase = Phase::Linger { since: now };
                Step::Leave
            }
            Phase::Linger { since } => {
                let is_over = match &self.carrier {
                    Carrier::Ipc => true,
                    Carrier::Network(network) => {
                        since + self.terms.linger <= now || network.shared.is_received()
                    }
                };
                if !is_over {
                    return Step::Stay;
                }
                self.phase = Phase::Done;
                Step::Release
            }
            Phase::Done => Step::Stay,
        }
    }

    fn is_drained(&mut self, system: &SystemCounters) -> bool {
        let spies_done = self.bounds().is_none_or(|(slowest, _)| slowest >= self.end_position);
        match &self.carrier {
            Carrier::Ipc => {
                if !spies_done {
                    let slowest = self.bounds().map_or(0, |(slowest, _)| slowest);
                    self.unblock(slowest, system);
                }
                spies_done
            }
            Carrier::Network(network) => {
                let sent = network.shared.sender_position.get();
                if sent < self.end_position && network.shared.has_receivers() {
                    self.unblock(sent, system);
                    return false;
                }
                spies_done
            }
        }
    }

    fn check_stuck(&mut self, timeout: Nanos, system: &SystemCounters, now: Nanos) {
        let consumer = self.consumer_position();
        let (position, since) = self.stuck_at;
        let is_ahead = self.log.active_term_count() != self.shape.term_count(consumer)
            || self.log.producer_position().0 > consumer;
        if consumer != position || !is_ahead {
            self.stuck_at = (consumer, now);
        } else if now - since > timeout {
            self.unblock(consumer, system);
        }
    }

    fn unblock(&self, position: i64, system: &SystemCounters) {
        if self.log.unblock(Position(position)) != Unblocked::No {
            system.increment(SystemCounter::UnblockedPublications);
        }
    }
}

impl Conductor {
    /// Lets go of one client's hold on a publication. `revoke` ends it for everybody.
    pub(super) fn unlink_publication(&mut self, link_id: i64, revoke: bool, now: runtime::Now) {
        let Some(link) = self.publication_links.remove(&link_id) else { return };
        let Some(record) = self.publications.get_mut(&link.publication) else { return };
        record.references = record.references.saturating_sub(1);
        if !record.is_active() {
            return;
        }
        if revoke {
            record.revoke(now.mono);
            self.desk.system.increment(SystemCounter::PublicationsRevoked);
            self.leave_subscribers(link.publication);
        } else if record.references == 0 {
            record.end();
        }
    }

    /// A timer pass over all publications.
    pub(super) fn check_publications(&mut self, now: Nanos) {
        let timeout = self.config.timeouts.publication_unblock;
        let mut steps = Vec::new();
        for (id, record) in &mut self.publications {
            let step = record.on_timer(timeout, &self.desk.system, now);
            if step != Step::Stay {
                steps.push((*id, step));
            }
        }
        for (id, step) in steps {
            match step {
                Step::Stay => {}
                Step::Leave => self.leave_subscribers(id),
                Step::Release => self.release_publication(id),
            }
        }
        self.check_untethered_publications(now);
    }

    /// An IPC subscriber rejected a publication: all leave it for a while.
    pub(super) fn reject_publication(&mut self, id: i64, until: Nanos) {
        if let Some(record) = self.publications.get_mut(&id) {
            record.cool_down_until = Some(until);
        }
        self.leave_subscribers(id);
    }

    /// Publications that were rejected may be joined again.
    pub(super) fn end_cool_downs(&mut self, now: runtime::Now) {
        let is_over = |record: &PublicationRecord| {
            record.cool_down_until.is_some_and(|until| until <= now.mono)
        };
        let over: Vec<i64> =
            self.publications.iter().filter(|(_, r)| is_over(r)).map(|(id, _)| *id).collect();
        for id in over {
            if let Some(record) = self.publications.get_mut(&id) {
                record.cool_down_until = None;
            }
            self.join_subscribers(id, now);
        }
    }

    /// Tells the subscribers of a local publication that it went.
    pub(super) fn leave_subscribers(&mut self, publication: i64) {
        let Some(record) = self.publications.get_mut(&publication) else { return };
        for subscriber in record.subscribers.take_all() {
            self.send_unavailable(publication, subscriber.subscription);
            self.desk.free(subscriber.position.id());
        }
    }

    fn release_publication(&mut self, publication: i64) {
        self.leave_subscribers(publication);
        let Some(record) = self.publications.get(&publication) else { return };
        match &record.carrier {
            Carrier::Ipc => self.free_publication(publication),
            Carrier::Network(network) => {
                let endpoint = network.endpoint;
                self.to_sender.push(SenderCommand::RemovePublication {
                    endpoint,
                    registration_id: publication,
                });
            }
        }
    }

    /// Nobody uses the publication any more.
    pub(super) fn free_publication(&mut self, publication: i64) {
        let Some(record) = self.publications.remove(&publication) else { return };
        self.desk.free(record.limit.id());
        self.desk.free(record.position.id());
        let mut endpoint = None;
        if let Carrier::Network(network) = &record.carrier {
            endpoint = Some(network.endpoint);
            for id in &network.sender_counters {
                self.desk.free(*id);
            }
        }
        let PublicationRecord { log, carrier, file, .. } = record;
        drop((log, carrier));
        self.logs.remove(file);
        if let Some(endpoint) = endpoint {
            self.release_send_endpoint(endpoint);
        }
    }
}
