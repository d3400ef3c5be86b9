//! Flow control: how far a sender may go, by what its receivers say.
//!
//! Pure: status messages and times in, limits out. One value of [`FlowControl`] belongs to one
//! publication, owned by the sender (source: docs/udp.md, "Flow control").

mod min;

use runtime::Nanos;

use crate::config::{FlowConfig, GroupStrategy};
use min::MinFlow;

/// Receiver windows are counted in this when a re-send is bounded: Aeron's built-in default.
const RESEND_WINDOW: i32 = 128 * 1024;

/// What flow control needs of a status message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) receiver_id: i64,
    pub(crate) group_tag: Option<i64>,
    pub(crate) position: i64,
    pub(crate) window: i32,
    pub(crate) is_end_of_stream: bool,
}

impl Status {
    const fn limit(&self) -> i64 {
        self.position.saturating_add(self.window as i64)
    }
}

/// What a channel says about flow control: `fc=name,g:tag/size,t:timeout,rrwm:n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FlowSpec {
    pub(crate) strategy: Option<GroupStrategy>,
    pub(crate) group_tag: Option<i64>,
    pub(crate) group_min_size: Option<i32>,
    pub(crate) receiver_timeout: Option<Nanos>,
    pub(crate) retransmit_windows: Option<i32>,
}

impl FlowSpec {
    /// Reads the value of `fc`. The error is the part that is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut spec = Self::default();
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default();
        spec.strategy = Some(match name {
            "max" => GroupStrategy::Max,
            "min" => GroupStrategy::Min,
            "tagged" => GroupStrategy::Tagged,
            _ => return Err(format!("unknown flow control strategy: {name}")),
        });
        for part in parts {
            spec.option(part).ok_or_else(|| format!("invalid flow control option: {part}"))?;
        }
        Ok(spec)
    }

    fn option(&mut self, part: &str) -> Option<()> {
        let (key, value) = part.split_once(':')?;
        match key {
            "g" => {
                let (tag, size) = value.split_once('/').unwrap_or((value, ""));
                if !tag.is_empty() {
                    self.group_tag = Some(tag.parse().ok()?);
                }
                if !size.is_empty() {
                    let size = size.parse().ok().filter(|&size| size >= 0)?;
                    self.group_min_size = Some(size);
                }
            }
            "t" => self.receiver_timeout = Some(crate::channel::duration(value)?),
            "rrwm" => {
                let windows = value.parse().ok().filter(|&windows| windows > 0)?;
                self.retransmit_windows = Some(windows);
            }
            _ => return None,
        }
        Some(())
    }
}

#[derive(Debug)]
enum Strategy {
    /// The furthest limit of any receiver.
    Max,
    /// The nearest limit of those that count.
    Min(MinFlow),
}

/// Flow control of one publication.
#[derive(Debug)]
pub(crate) struct FlowControl {
    strategy: Strategy,
    retransmit_windows: i32,
}

impl FlowControl {
    /// For a publication with one receiver.
    pub(crate) fn unicast(config: &FlowConfig) -> Self {
        Self { strategy: Strategy::Max, retransmit_windows: config.unicast_retransmit_windows }
    }

    /// For a publication with many receivers.
    pub(crate) fn group(config: &FlowConfig, spec: &FlowSpec) -> Self {
        let timeout = spec.receiver_timeout.unwrap_or(config.receiver_timeout);
        let min_size = spec.group_min_size.unwrap_or(config.group_min_size);
        let strategy = match spec.strategy.unwrap_or(config.group_strategy) {
            GroupStrategy::Max => Strategy::Max,
            GroupStrategy::Min => Strategy::Min(MinFlow::new(None, min_size, timeout)),
            GroupStrategy::Tagged => {
                let tag = spec.group_tag.unwrap_or(config.group_tag);
                Strategy::Min(MinFlow::new(Some(tag), min_size, timeout))
            }
        };
        let windows = spec.retransmit_windows.unwrap_or(config.multicast_retransmit_windows);
        Self { strategy, retransmit_windows: windows }
    }

    /// Whether receivers are counted, so that there is a counter for them.
    pub(crate) fn counts_receivers(&self) -> bool {
        matches!(self.strategy, Strategy::Min(_))
    }

    /// A status message came; returns the new limit.
    pub(crate) fn on_status_message(&mut self, status: &Status, limit: i64, now: Nanos) -> i64 {
        match &mut self.strategy {
            Strategy::Max => limit.max(status.limit()),
            Strategy::Min(min) => min.on_status_message(status, limit, now),
        }
    }

    /// A receiver asked for a setup.
    pub(crate) fn on_trigger_send_setup(&mut self, group_tag: Option<i64>, now: Nanos) {
        if let Strategy::Min(min) = &mut self.strategy {
            min.on_trigger_send_setup(group_tag, now);
        }
    }

    /// A setup that was asked for went out.
    pub(crate) fn on_setup(&mut self, limit: i64, now: Nanos) {
        if let Strategy::Min(min) = &mut self.strategy {
            min.on_setup(limit, now);
        }
    }

    /// Nothing was sent; returns the new limit, which may be lower.
    pub(crate) fn on_idle(&mut self, limit: i64, now: Nanos) -> i64 {
        match &mut self.strategy {
            Strategy::Max => limit,
            Strategy::Min(min) => min.on_idle(limit, now),
        }
    }

    /// A receiver sent an error frame: it no longer counts.
    pub(crate) fn on_error(&mut self, receiver_id: i64) {
        if let Strategy::Min(min) = &mut self.strategy {
            min.on_error(receiver_id);
        }
    }

    /// Whether enough receivers are there for the publication to be connected.
    pub(crate) fn has_required_receivers(&self) -> bool {
        match &self.strategy {
            Strategy::Max => true,
            Strategy::Min(min) => min.has_required_receivers(),
        }
    }

    /// How many receivers count.
    pub(crate) fn receiver_count(&self) -> usize {
        match &self.strategy {
            Strategy::Max => 0,
            Strategy::Min(min) => min.receiver_count(),
        }
    }

    /// When time alone may change the limit.
    pub(crate) fn next_deadline(&self) -> Nanos {
        match &self.strategy {
            Strategy::Max => Nanos::MAX,
            Strategy::Min(min) => min.next_deadline(),
        }
    }

    /// Most bytes that one re-send may carry.
    pub(crate) fn retransmission_length_max(&self, term_length: i32) -> i32 {
        self.retransmit_windows.saturating_mul(RESEND_WINDOW.min(term_length / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(position: i64, window: i32) -> Status {
        Status { receiver_id: 1, group_tag: None, position, window, is_end_of_stream: false }
    }

    #[test]
    fn unicast_takes_the_furthest_limit_and_never_goes_back() {
        let mut flow = FlowControl::unicast(&FlowConfig::default());
        assert_eq!(flow.on_status_message(&status(0, 1000), 0, Nanos(0)), 1000);
        assert_eq!(flow.on_status_message(&status(0, 500), 1000, Nanos(0)), 1000);
        assert_eq!(flow.on_idle(1000, Nanos::from_secs(60)), 1000);
        assert!(flow.has_required_receivers());
    }

    #[test]
    fn re_sends_span_windows_of_at_most_half_a_term() {
        let unicast = FlowControl::unicast(&FlowConfig::default());
        assert_eq!(unicast.retransmission_length_max(16 << 20), 16 * 128 * 1024);
        assert_eq!(unicast.retransmission_length_max(65_536), 16 * 32_768);
        let spec = FlowSpec::parse("max,rrwm:2").unwrap();
        let group = FlowControl::group(&FlowConfig::default(), &spec);
        assert_eq!(group.retransmission_length_max(16 << 20), 2 * 128 * 1024);
    }

    #[test]
    fn a_spec_is_read_whole_or_refused() {
        let spec = FlowSpec::parse("tagged,g:-7/3,t:2s,rrwm:9").unwrap();
        assert_eq!(spec.strategy, Some(GroupStrategy::Tagged));
        assert_eq!((spec.group_tag, spec.group_min_size), (Some(-7), Some(3)));
        assert_eq!(spec.receiver_timeout, Some(Nanos::from_secs(2)));
        assert_eq!(FlowSpec::parse("min,g:/5").unwrap().group_min_size, Some(5));
        for wrong in ["fastest", "min,x:1", "min,g:a", "min,t:soon", "min,rrwm:0", "min,g:1/-1"] {
            assert!(FlowSpec::parse(wrong).is_err(), "{wrong}");
        }
    }
}
