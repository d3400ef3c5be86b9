//! Little-endian fields in borrowed bytes: [`Reader`], [`Writer`] and the two errors.
//!
//! Every length met here came from another process, so nothing indexes and nothing panics: a read
//! past the end is a [`DecodeError`], a write past the end an [`EncodeError`].

/// Longest variable-length field that a message may carry, in bytes (both SBE schemas).
pub const VARIABLE_LENGTH_MAX: usize = 1 << 30;
/// Most entries a repeating group may carry.
pub const GROUP_COUNT_MAX: usize = 65_534;

/// Why bytes are not the message or record that they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the thing does.
    #[error("{needed} bytes needed where {available} are left")]
    Truncated {
        /// Bytes that the next part takes.
        needed: usize,
        /// Bytes that are left.
        available: usize,
    },
    /// The fixed block ends before a field that every version of the message has.
    #[error("block of {block_length} bytes ends before the field {field} of {message}")]
    BlockTooShort {
        /// Message that was being decoded.
        message: &'static str,
        /// First field that is missing.
        field: &'static str,
        /// Length of the block as the sender gave it.
        block_length: u16,
    },
    /// The message belongs to another schema.
    #[error("schema {actual} where {expected} is spoken")]
    OtherSchema {
        /// Schema of this conversation.
        expected: u16,
        /// Schema that the message header names.
        actual: u16,
    },
    /// The message is another one of the same schema.
    #[error("template {actual} where {expected} was expected")]
    OtherTemplate {
        /// Template that was to be decoded.
        expected: u16,
        /// Template that the message header names.
        actual: u16,
    },
    /// A length or another value on which the rest depends is impossible.
    #[error("{field} is {value}")]
    BadValue {
        /// Name of the value.
        field: &'static str,
        /// What stands there.
        value: i64,
    },
}

/// Why a message or record could not be written. The bytes written so far are meaningless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The buffer ends before the message does.
    #[error("{needed} bytes needed where {available} are left")]
    BufferTooShort {
        /// Bytes that the message, or its next part, takes.
        needed: usize,
        /// Bytes that are left.
        available: usize,
    },
    /// A variable-length field is longer than [`VARIABLE_LENGTH_MAX`].
    #[error("a field of {length} bytes is too long")]
    FieldTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A repeating group has more than [`GROUP_COUNT_MAX`] entries.
    #[error("a group of {count} entries is too long")]
    GroupTooLong {
        /// Its number of entries.
        count: usize,
    },
}

/// Takes fields off the front of borrowed bytes.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the beginning of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// What has not been read.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Takes the next `length` bytes.
    #[inline]
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let available = self.bytes.len();
        let Some((taken, rest)) = self.bytes.split_at_checked(length) else {
            return Err(DecodeError::Truncated { needed: length, available });
        };
        self.bytes = rest;
        Ok(taken)
    }

    /// Takes the next field.
    #[inline]
    pub fn read<F: Field>(&mut self) -> Result<F, DecodeError> {
        let available = self.bytes.len();
        F::load(self).ok_or(DecodeError::Truncated { needed: F::LENGTH, available })
    }

    /// Takes a variable-length field: its length as `u32`, then its bytes.
    #[inline]
    pub fn variable(&mut self) -> Result<&'a [u8], DecodeError> {
        let length: u32 = self.read()?;
        // A u32 fits a usize on every target that has an address space for the messages.
        self.take(length as usize)
    }

    /// Takes the next `N` bytes, or none of them if fewer are left.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*taken)
    }
}

/// Puts fields into a borrowed buffer, one after the other.
#[derive(Debug)]
pub struct Writer<'a> {
    bytes: &'a mut [u8],
    position: usize,
}

impl<'a> Writer<'a> {
    /// Writes from the beginning of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Bytes written.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    /// Writes `source` as it is.
    #[inline]
    pub fn put(&mut self, source: &[u8]) -> Result<(), EncodeError> {
        let available = self.bytes.len() - self.position;
        let needed = source.len();
        let target = self.bytes.get_mut(self.position..).and_then(|rest| rest.get_mut(..needed));
        let Some(target) = target else {
            return Err(EncodeError::BufferTooShort { needed, available });
        };
        target.copy_from_slice(source);
        self.position += needed;
        Ok(())
    }

    /// Writes a field.
    #[inline]
    pub fn write<F: Field>(&mut self, field: F) -> Result<(), EncodeError> {
        field.store(self)
    }

    /// Writes a variable-length field: its length as `u32`, then its bytes.
    #[inline]
    pub fn variable(&mut self, source: &[u8]) -> Result<(), EncodeError> {
        let length = source.len();
        let prefix = u32::try_from(length).ok().filter(|_| length <= VARIABLE_LENGTH_MAX);
        let Some(prefix) = prefix else { return Err(EncodeError::FieldTooLong { length }) };
        self.write(prefix)?;
        self.put(source)
    }
}

/// A value of fixed length in the block of a message.
pub trait Field: Copy {
    /// Its bytes on the wire.
    const LENGTH: usize;

    /// Takes it off the reader; `None`, and nothing taken, if the bytes end before it does.
    fn load(reader: &mut Reader<'_>) -> Option<Self>;

    /// Writes it.
    fn store(self, writer: &mut Writer<'_>) -> Result<(), EncodeError>;
}

macro_rules! integer_fields {
    ($($type:ty: null $null:expr;)*) => {$(
        impl Field for $type {
            const LENGTH: usize = size_of::<$type>();

            #[inline]
            fn load(reader: &mut Reader<'_>) -> Option<Self> {
                reader.array().map(Self::from_le_bytes)
            }

            #[inline]
            fn store(self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
                writer.put(&self.to_le_bytes())
            }
        }

        /// `None` is the null value of SBE for this type.
        impl Field for Option<$type> {
            const LENGTH: usize = size_of::<$type>();

            #[inline]
            fn load(reader: &mut Reader<'_>) -> Option<Self> {
                <$type>::load(reader).map(|value| (value != $null).then_some(value))
            }

            #[inline]
            fn store(self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
                self.unwrap_or($null).store(writer)
            }
        }
    )*};
}

integer_fields! {
    i8: null i8::MIN;
    u8: null u8::MAX;
    u16: null u16::MAX;
    i32: null i32::MIN;
    u32: null u32::MAX;
    i64: null i64::MIN;
}

/// Four bytes on the wire: 1 is true, and everything else (0, null, unknown) is not.
impl Field for bool {
    const LENGTH: usize = 4;

    #[inline]
    fn load(reader: &mut Reader<'_>) -> Option<Self> {
        i32::load(reader).map(|value| value == 1)
    }

    #[inline]
    fn store(self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        i32::from(self).store(writer)
    }
}

/// `N` bytes without a meaning: written as zero, not looked at when read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Padding<const N: usize>;

impl<const N: usize> Field for Padding<N> {
    const LENGTH: usize = N;

    #[inline]
    fn load(reader: &mut Reader<'_>) -> Option<Self> {
        reader.array::<N>().map(|_| Self)
    }

    #[inline]
    fn store(self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.put(&[0; N])
    }
}

/// A version of three parts in an `i32`: `major << 16 | minor << 8 | patch`. Zero is none.
///
/// Only the major part decides whether two sides can talk (source: archive and cluster pages).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SemanticVersion(pub i32);

impl SemanticVersion {
    /// No version: what an old sender that did not know of versions is taken to have said.
    pub const NONE: Self = Self(0);

    /// The version of these parts.
    #[must_use]
    pub const fn new(major: u8, minor: u8, patch: u8) -> Self {
        Self(((major as i32) << 16) | ((minor as i32) << 8) | patch as i32)
    }

    /// The part that decides on compatibility. Values beyond 255 are kept apart, not cut off.
    #[must_use]
    pub const fn major(self) -> i32 {
        self.0 >> 16
    }

    /// The second part.
    #[must_use]
    pub const fn minor(self) -> u8 {
        self.0.to_le_bytes()[1]
    }

    /// The third part.
    #[must_use]
    pub const fn patch(self) -> u8 {
        self.0.to_le_bytes()[0]
    }
}

impl core::fmt::Display for SemanticVersion {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(out, "{}.{}.{}", self.major(), self.minor(), self.patch())
    }
}

impl Field for SemanticVersion {
    const LENGTH: usize = 4;

    #[inline]
    fn load(reader: &mut Reader<'_>) -> Option<Self> {
        i32::load(reader).map(Self)
    }

    #[inline]
    fn store(self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.0.store(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_takes_nothing_when_too_little_is_left() {
        let mut reader = Reader::new(&[1, 0, 0, 0, 2]);
        assert_eq!(reader.read::<i32>(), Ok(1));
        let error = DecodeError::Truncated { needed: 2, available: 1 };
        assert_eq!(reader.read::<u16>(), Err(error));
        assert_eq!(reader.read::<u8>(), Ok(2));
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        let mut reader = Reader::new(&[0xff, 0xff, 0xff, 0xff, 1]);
        let error = DecodeError::Truncated { needed: 0xffff_ffff, available: 1 };
        assert_eq!(reader.variable(), Err(error));
    }

    #[test]
    fn a_writer_refuses_what_does_not_fit() {
        let mut buffer = [0; 6];
        let mut writer = Writer::new(&mut buffer);
        writer.write(-1_i32).expect("fits");
        let error = EncodeError::BufferTooShort { needed: 4, available: 2 };
        assert_eq!(writer.write(1_i32), Err(error));
        assert_eq!(writer.position(), 4);
    }

    #[test]
    fn absent_values_are_the_nulls_of_the_schema() {
        let mut buffer = [0; 8];
        Writer::new(&mut buffer).write(None::<i64>).expect("fits");
        assert_eq!(buffer, i64::MIN.to_le_bytes());
        assert_eq!(Reader::new(&buffer).read::<Option<i64>>(), Ok(None));
    }

    #[test]
    fn only_one_is_true() {
        for (bytes, expected) in [(1_i32, true), (0, false), (i32::MIN, false), (2, false)] {
            assert_eq!(Reader::new(&bytes.to_le_bytes()).read::<bool>(), Ok(expected));
        }
    }

    #[test]
    fn a_version_keeps_its_parts() {
        let version = SemanticVersion::new(3, 1, 7);
        assert_eq!(version.0, 0x0003_0107);
        assert_eq!((version.major(), version.minor(), version.patch()), (3, 1, 7));
    }
}
