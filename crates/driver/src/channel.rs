//! What a channel URI says, as values.
//!
//! Text in, typed parameters out; nothing is resolved here (see [`udp`]). Codes of refusals follow
//! genuine Aeron's split: a wrong number is a generic error, a wrong channel an invalid one.

pub(crate) mod udp;

use runtime::Nanos;
use wire::position::{StreamId, align_frame, is_term_length};
use wire::uri::ChannelUri;

use crate::config::GroupChoice;
use crate::refusal::Refusal;
use crate::sender::flow::FlowSpec;

/// Longest datagram payload that UDP allows, and so the largest MTU.
pub(crate) const MTU_MAX: i32 = 65_504;
/// Smallest MTU of a publication.
pub(crate) const MTU_MIN: i32 = 64;
/// `response-correlation-id=prototype`.
pub(crate) const PROTOTYPE: i64 = -2;

/// A session id as a channel names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionChoice {
    /// This one.
    Id(i32),
    /// That of the publication with this entity tag.
    Tag(i64),
}

/// Where a publication begins, when the channel says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StartPosition {
    pub(crate) initial_term_id: i32,
    pub(crate) term_id: i32,
    pub(crate) term_offset: i32,
}

/// How destinations of a channel come and go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ControlMode {
    /// There is one, or a group.
    #[default]
    None,
    /// By command.
    Manual,
    /// As receivers show up.
    Dynamic,
    /// By a response channel's requester.
    Response,
}

impl ControlMode {
    pub(crate) const fn is_multi_destination(self) -> bool {
        matches!(self, Self::Manual | Self::Dynamic)
    }
}

/// Time-outs of subscribers that are not tethered, where the channel gives them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UntetheredParameters {
    pub(crate) window_limit: Option<Nanos>,
    pub(crate) linger: Option<Nanos>,
    pub(crate) resting: Option<Nanos>,
}

/// Parameters that any channel may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CommonParameters {
    pub(crate) channel_tag: Option<i64>,
    pub(crate) entity_tag: Option<i64>,
    pub(crate) session: Option<SessionChoice>,
    pub(crate) sparse: Option<bool>,
    pub(crate) untethered: UntetheredParameters,
    pub(crate) stream_id: Option<i32>,
}

/// Parameters of publications.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PublicationParameters {
    pub(crate) mtu: Option<i32>,
    pub(crate) term_length: Option<i32>,
    pub(crate) start: Option<StartPosition>,
    pub(crate) linger: Option<Nanos>,
    pub(crate) window: Option<i32>,
    pub(crate) max_resend: Option<i32>,
    pub(crate) signals_end: bool,
    pub(crate) spies_simulate_connection: Option<bool>,
    pub(crate) flow: Option<FlowSpec>,
    pub(crate) response_correlation_id: Option<i64>,
}

/// Parameters of subscriptions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SubscriptionParameters {
    pub(crate) reliable: Option<bool>,
    pub(crate) tether: Option<bool>,
    pub(crate) rejoin: Option<bool>,
    pub(crate) group: Option<GroupChoice>,
    pub(crate) group_tag: Option<i64>,
    pub(crate) window: Option<i32>,
    pub(crate) congestion: Option<String>,
    pub(crate) nak_delay: Option<Nanos>,
}

/// Parameters of UDP channels, not yet resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UdpParameters {
    pub(crate) endpoint: Option<String>,
    pub(crate) control: Option<String>,
    pub(crate) interface: Option<String>,
    pub(crate) control_mode: ControlMode,
    pub(crate) ttl: Option<u8>,
    pub(crate) send_buffer_length: Option<usize>,
    pub(crate) receive_buffer_length: Option<usize>,
}

/// A channel URI whose parameters can be asked for.
pub(crate) struct Channel<'a> {
    text: &'a str,
    uri: ChannelUri,
}

impl<'a> Channel<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Refusal> {
        let uri = ChannelUri::parse(text).map_err(|error| Refusal::channel(error.to_string()))?;
        Ok(Self { text, uri })
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    pub(crate) fn is_ipc(&self) -> bool {
        self.uri.is_ipc()
    }

    pub(crate) fn is_spy(&self) -> bool {
        self.uri.is_spy()
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.uri.value(key)
    }

    /// Whether the URI has this key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    fn parsed<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Option<T>,
        refuse: fn(String) -> Refusal,
    ) -> Result<Option<T>, Refusal> {
        let Some(text) = self.get(key) else { return Ok(None) };
        parse(text).map(Some).ok_or_else(|| refuse(format!("invalid {key}={text}")))
    }

    fn generic<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        self.parsed(key, parse, Refusal::generic)
    }

    fn channel<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        self.parsed(key, parse, Refusal::channel)
    }

    fn boolean(&self, key: &str) -> Option<bool> {
        self.get(key).map(|text| text.eq_ignore_ascii_case("true"))
    }

    pub(crate) fn common(&self, stream_id: StreamId) -> Result<CommonParameters, Refusal> {
        let (channel_tag, entity_tag) = self.tags()?;
        let given = self.channel("stream-id", |text| text.parse().ok())?;
        if given.is_some_and(|given| given != stream_id.0) {
            return Err(Refusal::channel(format!("stream-id differs from {}", stream_id.0)));
        }
        Ok(CommonParameters {
            channel_tag,
            entity_tag,
            session: self.channel("session-id", session_choice)?,
            sparse: self.boolean("sparse"),
            untethered: UntetheredParameters {
                window_limit: self.generic("untethered-window-limit-timeout", duration)?,
                linger: self.generic("untethered-linger-timeout", duration)?,
                resting: self.generic("untethered-resting-timeout", duration)?,
            },
            stream_id: given,
        })
    }

    fn tags(&self) -> Result<(Option<i64>, Option<i64>), Refusal> {
        let Some(text) = self.get("tags") else { return Ok((None, None)) };
        let wrong = || Refusal::channel(format!("invalid tags={text}"));
        let mut parts = text.split(',').map(|part| match part {
            "" => Ok(None),
            part => part.parse().map(Some).map_err(|_| wrong()),
        });
        let channel_tag = parts.next().transpose()?.flatten();
        let entity_tag = parts.next().transpose()?.flatten();
        if parts.next().is_some() {
            return Err(wrong());
        }
        Ok((channel_tag, entity_tag))
    }

    pub(crate) fn publication(&self) -> Result<PublicationParameters, Refusal> {
        let mtu = self.generic("mtu", |text| {
            size(text).filter(|&mtu| {
                (i64::from(MTU_MIN)..=i64::from(MTU_MAX)).contains(&mtu) && mtu % 32 == 0
            })
        })?;
        let term_length = self.generic("term-length", |text| {
            size(text).and_then(|length| i32::try_from(length).ok()).filter(|&l| is_term_length(l))
        })?;
        let flow = match self.get("fc") {
            None => None,
            Some(text) => Some(FlowSpec::parse(text).map_err(Refusal::generic)?),
        };
        let max_resend = self.channel("max-resend", |text| {
            text.parse().ok().filter(|count| (1..=256).contains(count))
        })?;
        Ok(PublicationParameters {
            mtu: mtu.and_then(|mtu| i32::try_from(mtu).ok()),
            term_length,
            start: self.start_position()?,
            linger: self.generic("linger", duration)?,
            window: self.channel("pub-wnd", positive_i32)?,
            max_resend,
            signals_end: self.boolean("eos").unwrap_or(true),
            spies_simulate_connection: self.boolean("ssc"),
            flow,
            response_correlation_id: self.generic("response-correlation-id", |text| {
                if text == "prototype" { Some(PROTOTYPE) } else { text.parse().ok() }
            })?,
        })
    }

    fn start_position(&self) -> Result<Option<StartPosition>, Refusal> {
        let number = |key| self.channel(key, |text| text.parse::<i32>().ok());
        let given = [number("init-term-id")?, number("term-id")?, number("term-offset")?];
        match given {
            [None, None, None] => Ok(None),
            [Some(initial_term_id), Some(term_id), Some(term_offset)] => {
                let is_valid = term_id.wrapping_sub(initial_term_id) >= 0
                    && (0..=wire::position::TERM_LENGTH_MAX).contains(&term_offset)
                    && align_frame(term_offset) == term_offset;
                let start = StartPosition { initial_term_id, term_id, term_offset };
                is_valid.then_some(Some(start)).ok_or_else(|| {
                    Refusal::channel("init-term-id, term-id and term-offset contradict each other")
                })
            }
            _ => Err(Refusal::channel(
                "init-term-id, term-id and term-offset must all be given or none",
            )),
        }
    }

    pub(crate) fn subscription(&self) -> Result<SubscriptionParameters, Refusal> {
        Ok(SubscriptionParameters {
            reliable: self.boolean("reliable"),
            tether: self.boolean("tether"),
            rejoin: self.boolean("rejoin"),
            group: self.get("group").map(|text| match text {
                "true" => GroupChoice::Yes,
                "false" => GroupChoice::No,
                _ => GroupChoice::Infer,
            }),
            group_tag: self.generic("gtag", |text| text.parse().ok())?,
            window: self.generic("rcv-wnd", positive_i32)?,
            congestion: self.get("cc").map(str::to_string),
            nak_delay: self.channel("nak-delay", duration)?,
        })
    }

    pub(crate) fn udp(&self) -> Result<UdpParameters, Refusal> {
        if self.has("media-rcv-ts-offset") {
            return Err(Refusal::channel("media-rcv-ts-offset is not supported"));
        }
        let parameters = UdpParameters {
            endpoint: self.get("endpoint").map(str::to_string),
            control: self.get("control").map(str::to_string),
            interface: self.get("interface").map(str::to_string),
            control_mode: match self.get("control-mode") {
                Some("manual") => ControlMode::Manual,
                Some("dynamic") => ControlMode::Dynamic,
                Some("response") => ControlMode::Response,
                _ => ControlMode::None,
            },
            ttl: self.generic("ttl", |text| text.parse().ok())?,
            send_buffer_length: self.generic("so-sndbuf", positive_usize)?,
            receive_buffer_length: self.generic("so-rcvbuf", positive_usize)?,
        };
        let mode = parameters.control_mode;
        if mode == ControlMode::Dynamic && parameters.control.is_none() {
            return Err(Refusal::channel("control-mode=dynamic requires control"));
        }
        let is_named = parameters.endpoint.is_some()
            || parameters.control.is_some()
            || self.has("tags")
            || matches!(mode, ControlMode::Manual | ControlMode::Response);
        if !is_named {
            return Err(Refusal::channel(format!(
                "endpoint, control, tags or control-mode required: {}",
                self.text
            )));
        }
        Ok(parameters)
    }
}

fn session_choice(text: &str) -> Option<SessionChoice> {
    match text.strip_prefix("tag:") {
        Some(tag) => tag.parse().ok().map(SessionChoice::Tag),
        None => text.parse().ok().map(SessionChoice::Id),
    }
}

/// A span of time such as `10ms`; a bare number is nanoseconds.
pub(crate) fn duration(text: &str) -> Option<Nanos> {
    runtime::config::parse::<Nanos>("", text).ok().filter(|span| span.0 >= 0)
}

/// A number of bytes such as `64k`.
fn size(text: &str) -> Option<i64> {
    runtime::config::parse::<i64>("", text).ok().filter(|&bytes| bytes >= 0)
}

fn positive_i32(text: &str) -> Option<i32> {
    size(text).and_then(|bytes| i32::try_from(bytes).ok()).filter(|&bytes| bytes > 0)
}

fn positive_usize(text: &str) -> Option<usize> {
    size(text).and_then(|bytes| usize::try_from(bytes).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::control::ErrorCode;

    fn publication(text: &str) -> Result<PublicationParameters, Refusal> {
        Channel::parse(text)?.publication()
    }

    #[test]
    fn parameters_of_a_publication_are_read_with_their_units() {
        let text = "aeron:udp?endpoint=127.0.0.1:4000|mtu=8k|term-length=64k|linger=250ms|eos=false\
                    |init-term-id=-5|term-id=-3|term-offset=96|pub-wnd=16k|fc=min,g:/2";
        let read = publication(text).unwrap();
        assert_eq!((read.mtu, read.term_length), (Some(8192), Some(65_536)));
        assert_eq!(read.linger, Some(Nanos::from_millis(250)));
        let start = StartPosition { initial_term_id: -5, term_id: -3, term_offset: 96 };
        assert_eq!((read.start, read.signals_end), (Some(start), false));
        assert_eq!(read.flow.unwrap().group_min_size, Some(2));
    }

    #[test]
    fn refusals_carry_the_code_that_genuine_drivers_give() {
        let code =
            |tail: &str| publication(&format!("aeron:udp?endpoint=a:1|{tail}")).unwrap_err().code;
        for tail in ["mtu=70000", "mtu=1409", "term-length=65537", "linger=xx", "fc=fast"] {
            assert_eq!(code(tail), ErrorCode::GENERIC, "{tail}");
        }
        for tail in ["init-term-id=1", "max-resend=0", "init-term-id=2|term-id=1|term-offset=0"] {
            assert_eq!(code(tail), ErrorCode::INVALID_CHANNEL, "{tail}");
        }
        let udp = |text: &str| Channel::parse(text).and_then(|c| c.udp()).unwrap_err().code;
        assert_eq!(udp("aeron:udp?mtu=1408"), ErrorCode::INVALID_CHANNEL);
        assert_eq!(udp("aeron:udp?control-mode=dynamic"), ErrorCode::INVALID_CHANNEL);
        assert!(Channel::parse("aeron:tcp?endpoint=a:1").is_err());
        assert!(Channel::parse("nonsense").is_err());
    }

    #[test]
    fn tags_and_session_ids_are_numbers_or_refused() {
        let common = |text: &str| Channel::parse(text).unwrap().common(StreamId(7));
        let read = common("aeron:ipc?tags=5,-6|session-id=tag:9").unwrap();
        assert_eq!((read.channel_tag, read.entity_tag), (Some(5), Some(-6)));
        assert_eq!(read.session, Some(SessionChoice::Tag(9)));
        let only_entity = common("aeron:ipc?tags=,6").unwrap();
        assert_eq!((only_entity.channel_tag, only_entity.entity_tag), (None, Some(6)));
        for wrong in ["tags=a", "session-id=b", "stream-id=8", "tags=1,2,3"] {
            let refusal = common(&format!("aeron:ipc?{wrong}")).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::INVALID_CHANNEL, "{wrong}");
        }
    }
}
