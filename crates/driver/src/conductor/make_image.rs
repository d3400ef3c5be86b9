//! The receiver's half of an image: counters, congestion control, loss detection.

use std::sync::Arc;

use memory::counters::Counter;
use runtime::{Nanos, Now};
use wire::counters::{CounterId, CounterTypeId, StreamKey};
use wire::log::{LogDescription, LogKind, LogSwitches, LogTimeouts, SocketLengths};

use super::Conductor;
use super::desk::Belongs;
use super::images::ImagePlan;
use super::logs::LogFile;
use super::subscriptions::SubscriptionRecord;
use crate::config::GroupChoice;
use crate::receiver::congestion::Congestion;
use crate::receiver::connections::Connections;
use crate::receiver::feedback_delay::{FeedbackDelay, OptimalDelay};
use crate::receiver::image::{ImageCounters, ImageSettings, ReceiverImage};
use crate::receiver::loss::LossDetector;
use crate::receiver::report::LossReporter;
use crate::refusal::Refusal;
use crate::shared::ImageShared;

/// Shortest delay of a repeated NAK.
const NAK_RETRY_MIN: Nanos = Nanos(1000);

impl Conductor {
    /// Makes both halves. Counters made on the way are pushed to `made`, so that the caller can
    /// free them when this fails, or keep them.
    pub(super) fn make_image(
        &mut self,
        plan: &ImagePlan,
        wanting: &[i64],
        file: &LogFile,
        made: &mut Vec<CounterId>,
        now: Now,
    ) -> Result<(ReceiverImage, Arc<ImageShared>), Refusal> {
        let first = wanting.first().copied().unwrap_or(-1);
        let subscription =
            self.subscriptions.get(&first).ok_or_else(|| Refusal::unknown_subscription(first))?;
        let shape = plan.shape();
        let parameters = &subscription.parameters;
        let window_max = parameters
            .window
            .unwrap_or(self.config.terms.receiver_window)
            .min(shape.term_length / 2);
        let congestion = Congestion::new(
            parameters.congestion.as_deref(),
            window_max,
            shape.mtu,
            &self.config.loss,
            now.mono,
        )
        .map_err(Refusal::generic)?;
        let is_reliable = parameters.reliable.unwrap_or(self.config.subscriptions.reliable);
        let delay = self.feedback_delay(subscription, plan, is_reliable);
        let description = self.describe_image(subscription, plan, window_max, is_reliable);
        let channel = subscription.channel.clone();
        let log = self.make_image_log(plan, file, &description)?;
        let is_cubic = matches!(congestion, Congestion::Cubic(_));
        let counters = self.image_counters(plan, first, &channel, is_cubic, made)?;
        let shared = Arc::new(ImageShared::new(
            plan.correlation_id,
            shape,
            log,
            counters.rebuild.reader(),
            congestion.window(),
        ));
        let (receiver_id, group_tag) = self.receiver_identity(plan.endpoint);
        let settings = ImageSettings {
            is_reliable,
            receiver_id,
            group_tag,
            status_timeout: self.config.timeouts.status_message,
            liveness_timeout: self.config.timeouts.image_liveness,
        };
        let connections = Connections::new(plan.transport, plan.source, plan.control, now.mono);
        let image = ReceiverImage::new(
            Arc::clone(&shared),
            counters,
            settings,
            (connections, congestion),
            (
                LossDetector::new(delay),
                LossReporter::new(
                    (shape.session, shape.stream),
                    &channel,
                    &plan.source.to_string(),
                ),
            ),
            (plan.join_position(), now.mono),
            self.desk.system.clone(),
        );
        Ok((image, shared))
    }

    fn feedback_delay(
        &self,
        subscription: &SubscriptionRecord,
        plan: &ImagePlan,
        is_reliable: bool,
    ) -> FeedbackDelay {
        let config = &self.config.loss;
        if !is_reliable {
            return FeedbackDelay::Constant { delay: Nanos(0), retry: Nanos(0) };
        }
        let choice = subscription.parameters.group.unwrap_or(self.config.subscriptions.group);
        let is_group = match choice {
            GroupChoice::Yes => true,
            GroupChoice::No => false,
            GroupChoice::Infer => plan.is_group() || self.is_multicast_endpoint(plan.endpoint),
        };
        if is_group {
            let rng = runtime::random::Rng::new(
                plan.correlation_id.cast_unsigned() ^ self.config_seed,
                "nak delay",
            );
            let (backoff, size) =
                (config.nak_multicast_max_backoff, config.nak_multicast_group_size);
            return FeedbackDelay::Optimal(OptimalDelay::new(backoff, size, rng));
        }
        let ratio = config.nak_unicast_retry_ratio.max(1);
        let times = |delay: Nanos| Nanos(delay.max(NAK_RETRY_MIN).0.saturating_mul(ratio));
        match subscription.parameters.nak_delay {
            Some(delay) => FeedbackDelay::Constant { delay, retry: times(delay) },
            None => {
                let delay = config.nak_unicast_delay.max(NAK_RETRY_MIN);
                FeedbackDelay::Constant { delay, retry: times(delay) }
            }
        }
    }

    fn describe_image(
        &self,
        subscription: &SubscriptionRecord,
        plan: &ImagePlan,
        window: i32,
        is_reliable: bool,
    ) -> LogDescription {
        let shape = plan.shape();
        let untethered = &subscription.untethered;
        LogDescription {
            correlation_id: plan.correlation_id,
            initial_term_id: shape.initial_term_id,
            session_id: shape.session,
            stream_id: shape.stream,
            mtu_length: shape.mtu,
            term_length: shape.term_length,
            page_size: self.logs.page_size(),
            publication_window_length: 0,
            receiver_window_length: window,
            max_resend: 0,
            entity_tag: 0,
            response_correlation_id: 0,
            sockets: SocketLengths::default(),
            timeouts: LogTimeouts {
                linger_ns: 0,
                untethered_window_limit_ns: untethered.window_limit.0,
                untethered_linger_ns: untethered.linger.0,
                untethered_resting_ns: untethered.resting.0,
            },
            switches: LogSwitches {
                group: plan.is_group(),
                is_response: subscription.is_response,
                rejoin: subscription.rejoins,
                reliable: is_reliable,
                sparse: subscription.is_sparse,
                signal_eos: false,
                spies_simulate_connection: false,
                tether: subscription.is_tethered,
            },
            kind: LogKind::IMAGE,
        }
    }

    fn image_counters(
        &mut self,
        plan: &ImagePlan,
        subscription: i64,
        channel: &str,
        is_cubic: bool,
        made: &mut Vec<CounterId>,
    ) -> Result<ImageCounters, Refusal> {
        let owner = self.subscriptions.get(&subscription).map_or(-1, |record| record.client_id);
        let belongs = Belongs { registration_id: plan.correlation_id, owner, reference: 0 };
        let key = StreamKey {
            registration_id: plan.correlation_id,
            session_id: plan.setup.session_id,
            stream_id: plan.setup.stream_id,
            channel,
        };
        let start = plan.join_position();
        let desk = &mut self.desk;
        let mut allocate = |type_id, name, value| -> Result<Counter, Refusal> {
            let counter = desk.allocate_stream(type_id, name, &key, belongs, value)?;
            made.push(counter.id());
            Ok(counter)
        };
        Ok(ImageCounters {
            hwm: allocate(CounterTypeId::RECEIVER_HWM, "rcv-hwm", start)?,
            rebuild: allocate(CounterTypeId::RECEIVER_POSITION, "rcv-pos", start)?,
            naks: allocate(CounterTypeId::NAKS_SENT, "rcv-naks-sent", 0)?,
            cubic: if is_cubic {
                Some((
                    allocate(CounterTypeId::PER_IMAGE, "rcv-cc-cubic-rtt", 0)?,
                    allocate(CounterTypeId::PER_IMAGE, "rcv-cc-cubic-wnd", 0)?,
                ))
            } else {
                None
            },
        })
    }
}
