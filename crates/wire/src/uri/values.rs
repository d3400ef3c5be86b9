//! Typed values of parameters.

use super::{ChannelUri, UriError, key};
use crate::frame::MTU_LENGTH_MAX;
use crate::position::{FRAME_ALIGNMENT, SessionId, StreamId, TermId, is_term_length};
use alloc::string::ToString;

/// Where the session id of a publication comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionIdParameter {
    /// This one.
    Id(SessionId),
    /// That of the publication with this entity tag.
    OfTag(i64),
}

/// Names for a channel, and for a publication or subscription on it, within one driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tags {
    /// Tag of the channel.
    pub channel: i64,
    /// Tag of the publication or subscription.
    pub entity: Option<i64>,
}

/// Where a publication begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitialPosition {
    /// First term of the stream.
    pub initial_term_id: TermId,
    /// Term where the publication begins.
    pub term_id: TermId,
    /// Offset in that term; at most the term length, which is the caller's to check.
    pub term_offset: i32,
}

/// How destinations are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlMode {
    /// There is one, the endpoint. Any other text reads as this, as in the Java driver.
    None,
    /// Clients add and remove them.
    Manual,
    /// Receivers make themselves known.
    Dynamic,
    /// The other side of a response channel.
    Response,
}

impl ControlMode {
    /// Whether there may be several destinations.
    #[must_use]
    pub const fn is_multi_destination(self) -> bool {
        matches!(self, Self::Manual | Self::Dynamic)
    }
}

/// Whether many receivers are expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Group {
    /// As the address and the sender say.
    #[default]
    Infer,
    /// Yes or no.
    Is(bool),
}

/// What a publication of a response channel belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseCorrelation {
    /// A subscription (on the asking side) or an image (on the answering side).
    Id(i64),
    /// Nothing yet: only the shape of the channel matters.
    Prototype,
}

/// Where a time stamp is put into a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampOffset {
    /// Into the reserved value of the header.
    ReservedValue,
    /// Into the payload at this offset.
    Payload(i32),
}

/// A number of bytes: digits, then possibly `k`, `m` or `g` in either case.
#[must_use]
pub fn parse_size(text: &str) -> Option<i64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 10),
        b'm' | b'M' => (&text[..text.len() - 1], 20),
        b'g' | b'G' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    parse_digits(digits)?.checked_mul(1 << shift)
}

/// Nanoseconds: digits, then possibly `ns`, `us`, `ms` or `s`.
#[must_use]
pub fn parse_duration_ns(text: &str) -> Option<i64> {
    let units = [("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];
    let of_unit = |(unit, factor)| Some((text.strip_suffix(unit)?, factor));
    let (digits, factor): (&str, i64) = units.into_iter().find_map(of_unit).unwrap_or((text, 1));
    parse_digits(digits)?.checked_mul(factor)
}

/// A number without sign.
pub(super) fn parse_digits(text: &str) -> Option<i64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

impl ChannelUri {
    /// What `parse` makes of a parameter, if it is given.
    pub(super) fn parsed<T>(
        &self,
        key: &str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, UriError> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let wrong = || UriError::Value { key: key.to_string(), value: value.to_string(), expected };
        parse(value).map(Some).ok_or_else(wrong)
    }

    /// A 32-bit number, if given.
    ///
    /// # Errors
    /// Names the key and the text.
    pub fn i32(&self, key: &str) -> Result<Option<i32>, UriError> {
        self.parsed(key, "a 32-bit number", |text| text.parse().ok())
    }

    /// A 64-bit number, if given.
    ///
    /// # Errors
    /// Names the key and the text.
    pub fn i64(&self, key: &str) -> Result<Option<i64>, UriError> {
        self.parsed(key, "a 64-bit number", |text| text.parse().ok())
    }

    /// `true` or `false`, if given. The Java driver reads any other text as false.
    ///
    /// # Errors
    /// Names the key and the text.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, UriError> {
        self.parsed(key, "true or false", |text| text.parse().ok())
    }

    /// A size below 2 GiB in bytes, if given.
    ///
    /// # Errors
    /// Names the key and the text.
    pub fn size(&self, key: &str) -> Result<Option<i32>, UriError> {
        self.parsed(key, "a size below 2g", |text| parse_size(text)?.try_into().ok())
    }

    /// A duration in nanoseconds, if given.
    ///
    /// # Errors
    /// Names the key and the text.
    pub fn duration_ns(&self, key: &str) -> Result<Option<i64>, UriError> {
        self.parsed(key, "a duration such as 5s, 20ms, 7us or 9ns", parse_duration_ns)
    }

    /// The session, if given.
    ///
    /// # Errors
    /// Neither a number nor `tag:` and a number.
    pub fn session_id(&self) -> Result<Option<SessionIdParameter>, UriError> {
        self.parsed(key::SESSION_ID, "a 32-bit number or tag:<number>", |text| {
            if let Some(tag) = text.strip_prefix("tag:") {
                return tag.parse().ok().map(SessionIdParameter::OfTag);
            }
            text.parse().ok().map(|id| SessionIdParameter::Id(SessionId(id)))
        })
    }

    /// The tags, if given.
    ///
    /// # Errors
    /// Not one or two numbers.
    pub fn tags(&self) -> Result<Option<Tags>, UriError> {
        self.parsed(key::TAGS, "one or two 64-bit numbers", |text| {
            Some(match text.split_once(',') {
                Some((channel, entity)) => {
                    Tags { channel: channel.parse().ok()?, entity: Some(entity.parse().ok()?) }
                }
                None => Tags { channel: text.parse().ok()?, entity: None },
            })
        })
    }

    /// The stream id, if given.
    ///
    /// # Errors
    /// Not a number.
    pub fn stream_id(&self) -> Result<Option<StreamId>, UriError> {
        Ok(self.i32(key::STREAM_ID)?.map(StreamId))
    }

    /// The term length, if given: a power of two from 64 KiB to 1 GiB.
    ///
    /// # Errors
    /// Anything else.
    pub fn term_length(&self) -> Result<Option<i32>, UriError> {
        self.parsed(key::TERM_LENGTH, "a power of two from 64k to 1g", |text| {
            let length = parse_size(text)?.try_into().ok()?;
            is_term_length(length).then_some(length)
        })
    }

    /// The MTU, if given: a multiple of 32 from 64 to 65504.
    ///
    /// # Errors
    /// Anything else.
    pub fn mtu(&self) -> Result<Option<i32>, UriError> {
        self.parsed(key::MTU, "a multiple of 32 from 64 to 65504", |text| {
            let length: i32 = parse_size(text)?.try_into().ok()?;
            let is_good = (64..=MTU_LENGTH_MAX).contains(&length) && length % FRAME_ALIGNMENT == 0;
            is_good.then_some(length)
        })
    }

    /// Where a publication begins, if given.
    ///
    /// # Errors
    /// Not all three parameters, a term before the initial one, an offset that is not aligned.
    pub fn initial_position(&self) -> Result<Option<InitialPosition>, UriError> {
        let initial = self.i32(key::INITIAL_TERM_ID)?;
        let term_id = self.i32(key::TERM_ID)?;
        let offset = self.parsed(key::TERM_OFFSET, "a multiple of 32 from 0 to 1g", |text| {
            let offset: i32 = parse_size(text)?.try_into().ok()?;
            (offset <= 1 << 30 && offset % FRAME_ALIGNMENT == 0).then_some(offset)
        })?;
        let (initial_term_id, term_id, term_offset) = match (initial, term_id, offset) {
            (None, None, None) => return Ok(None),
            (Some(initial), Some(id), Some(offset)) => (TermId(initial), TermId(id), offset),
            _ => return Err(UriError::IncompletePosition),
        };
        if term_id.terms_since(initial_term_id) < 0 {
            let (key, value) = (key::TERM_ID.to_string(), term_id.0.to_string());
            return Err(UriError::Value { key, value, expected: "at or after init-term-id" });
        }
        Ok(Some(InitialPosition { initial_term_id, term_id, term_offset }))
    }

    /// The multicast time to live, if given: 0 to 255.
    ///
    /// # Errors
    /// Anything else.
    pub fn ttl(&self) -> Result<Option<u8>, UriError> {
        self.parsed(key::TTL, "a number from 0 to 255", |text| text.parse().ok())
    }

    /// The slots for re-sends, if given: 1 to 256.
    ///
    /// # Errors
    /// Anything else.
    pub fn max_resend(&self) -> Result<Option<i32>, UriError> {
        self.parsed(key::MAX_RESEND, "a number from 1 to 256", |text| {
            text.parse().ok().filter(|slots| (1..=256).contains(slots))
        })
    }

    /// How destinations are found.
    #[must_use]
    pub fn control_mode(&self) -> ControlMode {
        match self.value(key::CONTROL_MODE) {
            Some("manual") => ControlMode::Manual,
            Some("dynamic") => ControlMode::Dynamic,
            Some("response") => ControlMode::Response,
            _ => ControlMode::None,
        }
    }

    /// Whether many receivers are expected.
    ///
    /// # Errors
    /// None of `true`, `false` and `infer`.
    pub fn group(&self) -> Result<Group, UriError> {
        let group = self.parsed(key::GROUP, "true, false or infer", |text| match text {
            "infer" => Some(Group::Infer),
            _ => text.parse().ok().map(Group::Is),
        })?;
        Ok(group.unwrap_or_default())
    }

    /// What a publication of a response channel belongs to, if given.
    ///
    /// # Errors
    /// Neither a number nor `prototype`.
    pub fn response_correlation(&self) -> Result<Option<ResponseCorrelation>, UriError> {
        self.parsed(key::RESPONSE_CORRELATION_ID, "a 64-bit number or prototype", |text| {
            Some(match text {
                "prototype" => ResponseCorrelation::Prototype,
                _ => ResponseCorrelation::Id(text.parse().ok()?),
            })
        })
    }

    /// Where a time stamp is put, if given. The key is one of the three `*-ts-offset` keys.
    ///
    /// # Errors
    /// Neither an offset nor `reserved`.
    pub fn timestamp_offset(&self, key: &str) -> Result<Option<TimestampOffset>, UriError> {
        self.parsed(key, "an offset or reserved", |text| {
            Some(match text {
                "reserved" => TimestampOffset::ReservedValue,
                _ => TimestampOffset::Payload(parse_digits(text)?.try_into().ok()?),
            })
        })
    }
}
