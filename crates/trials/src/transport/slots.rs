//! What a party publishes and subscribes: asked for, used, closed, asked for again.

use client::{
    AddError, Client, ExclusivePublication, ImageAssembler, OfferError, Pending, Publication,
    Subscription,
};
use runtime::Nanos;
use runtime::random::Rng;
use wire::position::Position;

use super::ledger::{Ledger, Phase, Reader};
use super::plan::{PublisherPlan, SubscriberPlan, index};

/// A publication of either kind.
enum Output {
    Shared(Box<Publication>),
    Exclusive(Box<ExclusivePublication>),
}

enum Publishing {
    Idle { until: Nanos },
    AskedShared(Pending<Publication>),
    AskedExclusive(Pending<ExclusivePublication>),
    Open { output: Output, answers: Vec<Pending<()>>, next: Nanos },
}

/// One publisher of a party.
pub(super) struct PublisherSlot {
    plan: PublisherPlan,
    state: Publishing,
    content: Vec<u8>,
}

enum Subscribing {
    Idle { until: Nanos },
    Asked(Pending<Subscription>),
    Open(Box<Input>),
}

struct Input {
    subscription: Subscription,
    answers: Vec<Pending<()>>,
    streams: Vec<(i64, ImageAssembler, Reader)>,
    lazy_until: Nanos,
}

/// One subscriber of a party.
pub(super) struct SubscriberSlot {
    plan: SubscriberPlan,
    state: Subscribing,
}

/// How long until a refused or closed resource is asked for again.
fn pause(rng: &mut Rng) -> Nanos {
    Nanos::from_millis(5 + rng.below(200).cast_signed())
}

/// Takes in answers about destinations; whether one was refused, so that all begins anew.
fn settle(answers: &mut Vec<Pending<()>>, ledger: &mut Ledger) -> bool {
    let mut is_refused = false;
    answers.retain_mut(|pending| match pending.poll() {
        Ok(answer) => answer.is_none(),
        Err(_) => {
            ledger.totals.refused += 1;
            is_refused = true;
            false
        }
    });
    is_refused
}

impl Output {
    fn offer(&mut self, message: &[u8]) -> Result<Position, OfferError> {
        match self {
            Self::Shared(publication) => publication.offer(message),
            Self::Exclusive(publication) => publication.offer(message),
        }
    }

    fn session(&self) -> i32 {
        match self {
            Self::Shared(publication) => publication.session_id().0,
            Self::Exclusive(publication) => publication.session_id().0,
        }
    }

    /// Longest payload of one frame, and longest message.
    fn lengths(&self) -> (usize, usize) {
        match self {
            Self::Shared(it) => (it.payload_length_max(), it.message_length_max()),
            Self::Exclusive(it) => (it.payload_length_max(), it.message_length_max()),
        }
    }

    fn add_destination(&self, channel: &str) -> Pending<()> {
        match self {
            Self::Shared(publication) => publication.add_destination(channel),
            Self::Exclusive(publication) => publication.add_destination(channel),
        }
    }
}

impl PublisherSlot {
    pub(super) const fn new(plan: PublisherPlan) -> Self {
        Self { plan, state: Publishing::Idle { until: Nanos(0) }, content: Vec::new() }
    }

    /// Lets go of everything.
    pub(super) fn reset(&mut self) {
        self.state = Publishing::Idle { until: Nanos(0) };
    }

    /// One pass; returns how many things were done and when the next is due.
    pub(super) fn step(
        &mut self,
        client: &Client,
        ledger: &mut Ledger,
        rng: &mut Rng,
        now: Nanos,
    ) -> (usize, Nanos) {
        let PublisherPlan { channel, stream, .. } = &self.plan;
        match &mut self.state {
            Publishing::Idle { until } if now < *until => return (0, *until),
            Publishing::Idle { .. } => {
                self.state = if self.plan.exclusive {
                    Publishing::AskedExclusive(client.add_exclusive_publication(channel, *stream))
                } else {
                    Publishing::AskedShared(client.add_publication(channel, *stream))
                };
            }
            Publishing::AskedShared(pending) => match pending.poll() {
                Ok(None) => return (0, Nanos::MAX),
                answer => self.answered(
                    answer.map(|it| it.map(|it| Output::Shared(Box::new(it)))),
                    ledger,
                    rng,
                    now,
                ),
            },
            Publishing::AskedExclusive(pending) => match pending.poll() {
                Ok(None) => return (0, Nanos::MAX),
                answer => {
                    self.answered(
                        answer.map(|it| it.map(|it| Output::Exclusive(Box::new(it)))),
                        ledger,
                        rng,
                        now,
                    );
                }
            },
            Publishing::Open { next, .. } if now < *next => return (0, *next),
            Publishing::Open { .. } => {
                let (done, next) = self.publish(ledger, rng, now);
                // Back-pressured for a while is idle time, in which the world may jump.
                return (done, next);
            }
        }
        (1, now)
    }

    fn answered(
        &mut self,
        answer: Result<Option<Output>, AddError>,
        ledger: &mut Ledger,
        rng: &mut Rng,
        now: Nanos,
    ) {
        self.state = match answer {
            Ok(Some(output)) => {
                let destinations = self.plan.destinations.iter();
                let answers = destinations.map(|it| output.add_destination(it)).collect();
                Publishing::Open { output, answers, next: now }
            }
            Ok(None) | Err(_) => {
                ledger.totals.refused += 1;
                Publishing::Idle { until: now + pause(rng) }
            }
        };
    }

    fn publish(&mut self, ledger: &mut Ledger, rng: &mut Rng, now: Nanos) -> (usize, Nanos) {
        let Publishing::Open { output, answers, next } = &mut self.state else { return (0, now) };
        let is_refused = settle(answers, ledger);
        let key = (self.plan.route, output.session());
        let (payload_max, message_max) = output.lengths();
        let mut done = 0;
        let mut is_over = is_refused || ledger.phase == Phase::Storm && rng.chance(0.004);
        for _ in 0..1 + rng.below(10) {
            let length = draw_length(rng, payload_max, message_max);
            let number = ledger.take_number();
            ledger.fill(number, length, &mut self.content);
            let mut offered = output.offer(&self.content);
            if offered == Err(OfferError::AdminAction) {
                offered = output.offer(&self.content);
            }
            if let Err(error) = &offered {
                let wait = format!("{error} on {}", self.plan.channel);
                ledger.waits.insert(self.plan.slot, wait);
            }
            match offered {
                Ok(end) => {
                    let slot = (self.plan.slot, key);
                    ledger.published(slot, (number, length), end.0, payload_max);
                    done += 1;
                }
                Err(OfferError::BackPressured) => {
                    ledger.totals.back_pressured += 1;
                    break;
                }
                Err(OfferError::NotConnected | OfferError::AdminAction) => break,
                Err(OfferError::Closed) => {
                    is_over = true;
                    break;
                }
                Err(error) => {
                    ledger.violations.push(format!("publisher {}: {error}", self.plan.slot));
                    break;
                }
            }
        }
        *next = now + Nanos::from_micros(500 + rng.below(20_000).cast_signed());
        let due = *next;
        if is_over {
            ledger.totals.closes += 1;
            self.state = Publishing::Idle { until: now + pause(rng) };
        }
        (done, due)
    }
}

/// Mostly short, sometimes empty, at the edge of a frame, or as long as can be.
fn draw_length(rng: &mut Rng, payload_max: usize, message_max: usize) -> usize {
    match rng.below(20) {
        0 => 0,
        1 => (payload_max - 2 + index(rng, 5)).min(message_max),
        2 => index(rng, message_max + 1),
        3 | 4 => index(rng, 2_000),
        _ => index(rng, 120),
    }
}

impl SubscriberSlot {
    pub(super) const fn new(plan: SubscriberPlan) -> Self {
        Self { plan, state: Subscribing::Idle { until: Nanos(0) } }
    }

    /// Lets go of everything.
    pub(super) fn reset(&mut self) {
        self.state = Subscribing::Idle { until: Nanos(0) };
    }

    /// One pass; returns how many things were done and when the next is due.
    pub(super) fn step(
        &mut self,
        client: &Client,
        ledger: &mut Ledger,
        rng: &mut Rng,
        now: Nanos,
    ) -> (usize, Nanos) {
        match &mut self.state {
            Subscribing::Idle { until } if now < *until => return (0, *until),
            Subscribing::Idle { .. } => {
                let pending = client.add_subscription(&self.plan.channel, self.plan.stream);
                self.state = Subscribing::Asked(pending);
            }
            Subscribing::Asked(pending) => match pending.poll() {
                Ok(None) => return (0, Nanos::MAX),
                Ok(Some(subscription)) => {
                    let destinations = self.plan.destinations.iter();
                    let answers = destinations.map(|it| subscription.add_destination(it)).collect();
                    let (streams, lazy_until) = (Vec::new(), Nanos(0));
                    self.state = Subscribing::Open(Box::new(Input {
                        subscription,
                        answers,
                        streams,
                        lazy_until,
                    }));
                }
                Err(_) => {
                    ledger.totals.refused += 1;
                    self.state = Subscribing::Idle { until: now + pause(rng) };
                }
            },
            Subscribing::Open(input) => {
                if settle(&mut input.answers, ledger) || input.subscription.is_closed() {
                    self.state = Subscribing::Idle { until: now + pause(rng) };
                    return (1, now);
                }
                if ledger.phase == Phase::Storm {
                    if now < input.lazy_until {
                        return (0, input.lazy_until);
                    }
                    if rng.chance(0.0005) {
                        input.lazy_until = now + Nanos::from_millis(rng.below(400).cast_signed());
                    } else if rng.chance(0.0004) {
                        ledger.totals.closes += 1;
                        self.state = Subscribing::Idle { until: now + pause(rng) };
                        return (1, now);
                    }
                }
                return (input.poll(&self.plan, ledger, rng), Nanos::MAX);
            }
        }
        (1, now)
    }
}

impl Input {
    fn poll(&mut self, plan: &SubscriberPlan, ledger: &mut Ledger, rng: &mut Rng) -> usize {
        self.subscription.update();
        let mut done = 0;
        for image in self.subscription.images_mut() {
            let id = image.correlation_id().0;
            let at = self.streams.iter().position(|(known, ..)| *known == id);
            let at = at.unwrap_or_else(|| {
                let position = image.join_position().0;
                let key = (plan.route, image.session_id().0);
                ledger.totals.images += 1;
                ledger.totals.late_joins += u64::from(position > 0);
                let reader = Reader { key, slot: plan.slot, position };
                self.streams.push((id, ImageAssembler::new(), reader));
                self.streams.len() - 1
            });
            let (_, assembler, reader) = &mut self.streams[at];
            done += image.poll(1 + index(rng, 30), |fragment| {
                let is_whole = fragment.is_whole();
                assembler.on_fragment(fragment, |message| {
                    ledger.totals.fragmented += u64::from(!is_whole);
                    ledger.received(reader, message.position().0, message.payload());
                });
            });
        }
        done
    }
}
