//! The `fc` parameter: `strategy[,g:<spec>][,t:<duration>][,rrwm:<number>]`.

use super::values::parse_duration_ns;
use super::{ChannelUri, UriError, key};

/// Which flow control a sender uses. What is not given comes from the driver's options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowControl<'a> {
    /// `min`, `max`, `tagged` or another name.
    pub strategy: &'a str,
    /// Tag of the receivers that count.
    pub group_tag: Option<i64>,
    /// How many of them make a connection.
    pub group_min_size: Option<i32>,
    /// When a silent receiver no longer counts, in nanoseconds.
    pub receiver_timeout_ns: Option<i64>,
    /// A re-send is at most this many receiver windows.
    pub retransmit_window_multiple: Option<i32>,
}

impl<'a> FlowControl<'a> {
    /// Parses the parameter; none for unknown parts and bad numbers.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(',');
        let strategy = parts.next().filter(|name| !name.is_empty())?;
        let mut flow = Self { strategy, ..Self::default() };
        for part in parts {
            match part.split_once(':')? {
                ("g", group) => flow.parse_group(group)?,
                ("t", timeout) => flow.receiver_timeout_ns = Some(parse_duration_ns(timeout)?),
                ("rrwm", multiple) => {
                    let multiple = multiple.parse().ok().filter(|&multiple| multiple >= 1)?;
                    flow.retransmit_window_multiple = Some(multiple);
                }
                _ => return None,
            }
        }
        Some(flow)
    }

    /// `<tag>`, `<tag>/<size>` or `/<size>`.
    fn parse_group(&mut self, group: &str) -> Option<()> {
        let (tag, size) = match group.split_once('/') {
            Some((tag, size)) => (tag, Some(size)),
            None => (group, None),
        };
        if !tag.is_empty() || size.is_none() {
            self.group_tag = Some(tag.parse().ok()?);
        }
        if let Some(size) = size {
            self.group_min_size = Some(size.parse().ok().filter(|&size| size >= 0)?);
        }
        Some(())
    }
}

impl ChannelUri {
    /// The flow control, if given.
    ///
    /// # Errors
    /// Unknown parts and bad numbers. Whether the strategy is known is the driver's to say.
    pub fn flow_control(&self) -> Result<Option<FlowControl<'_>>, UriError> {
        let flow = self.value(key::FLOW_CONTROL).and_then(FlowControl::parse);
        let expected = "strategy[,g:<tag>/<size>][,t:<duration>][,rrwm:<number>]";
        self.parsed(key::FLOW_CONTROL, expected, |_| flow)
    }
}
