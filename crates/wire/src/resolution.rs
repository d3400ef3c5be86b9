//! Name resolution frames: what drivers tell one another about names (docs/udp.md).
//!
//! ```text
//! 0 frame header, 8 bytes | entries, each 8-aligned
//! entry  0 kind u8 | 1 flags u8 | 2 port u16 | 4 age ms i32 | 8 address, 4 or 16 bytes
//!        12 or 24 name length i16 | name
//! ```
//!
//! The address is in network order, the port is not.

use crate::frame::{BASE_HEADER_LENGTH, FrameType, Invalid, put_base};
use crate::le::{bytes_at, i32_at, put, u16_at};
use core::net::{IpAddr, SocketAddr};

/// Longest name.
pub const NAME_LENGTH_MAX: usize = 512;
/// Flag of an entry in which a driver tells its own name.
pub const SELF_FLAG: u8 = 0x80;

const KIND_IPV4: u8 = 1;
const KIND_IPV6: u8 = 2;
const PORT_OFFSET: usize = 2;
const AGE_OFFSET: usize = 4;
const ADDRESS_OFFSET: usize = 8;
const ALIGNMENT: usize = 8;

/// Where a name was last known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// [`SELF_FLAG`].
    pub flags: u8,
    /// Address and port of the driver with that name; a wildcard address in an entry about itself
    /// means the address that the datagram came from.
    pub address: SocketAddr,
    /// How long ago the name was heard of, in milliseconds.
    pub age_ms: i32,
    /// The name, at most [`NAME_LENGTH_MAX`] bytes.
    pub name: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Bytes that the entry takes, alignment included.
    #[must_use]
    pub const fn encoded_length(&self) -> usize {
        let address = if self.address.is_ipv4() { 4 } else { 16 };
        (ADDRESS_OFFSET + address + 2 + self.name.len()).next_multiple_of(ALIGNMENT)
    }

    /// Whether a driver speaks of itself.
    #[must_use]
    pub const fn is_self(&self) -> bool {
        self.flags & SELF_FLAG != 0
    }

    /// The entry that `bytes` begin with, and how many of them it takes.
    fn fields(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let (ip, name_length_offset) = match *bytes.first()? {
            KIND_IPV4 => {
                let octets: [u8; 4] = bytes_at(bytes, ADDRESS_OFFSET)?;
                (IpAddr::from(octets), ADDRESS_OFFSET + 4)
            }
            KIND_IPV6 => {
                let octets: [u8; 16] = bytes_at(bytes, ADDRESS_OFFSET)?;
                (IpAddr::from(octets), ADDRESS_OFFSET + 16)
            }
            _ => return None,
        };
        // A negative length is far above the limit when read without sign.
        let length = usize::from(u16_at(bytes, name_length_offset)?);
        if length > NAME_LENGTH_MAX {
            return None;
        }
        let entry = Self {
            flags: *bytes.get(1)?,
            address: SocketAddr::new(ip, u16_at(bytes, PORT_OFFSET)?),
            age_ms: i32_at(bytes, AGE_OFFSET)?,
            name: bytes.get(name_length_offset + 2..)?.get(..length)?,
        };
        Some((entry, entry.encoded_length()))
    }

    fn write(&self, bytes: &mut [u8], name_length: u16) {
        let (kind, name_length_offset) = match self.address.ip() {
            IpAddr::V4(ip) => {
                put(bytes, ADDRESS_OFFSET, ip.octets());
                (KIND_IPV4, ADDRESS_OFFSET + 4)
            }
            IpAddr::V6(ip) => {
                put(bytes, ADDRESS_OFFSET, ip.octets());
                (KIND_IPV6, ADDRESS_OFFSET + 16)
            }
        };
        put(bytes, 0, [kind, self.flags]);
        put(bytes, PORT_OFFSET, self.address.port().to_le_bytes());
        put(bytes, AGE_OFFSET, self.age_ms.to_le_bytes());
        put(bytes, name_length_offset, name_length.to_le_bytes());
        bytes[name_length_offset + 2..][..self.name.len()].copy_from_slice(self.name);
    }
}

/// The entries of a frame, from what [`frame::decode`](crate::frame::decode) left of it.
///
/// Ends after the first entry that is malformed, with the reason.
pub fn entries(body: &[u8]) -> impl Iterator<Item = Result<Entry<'_>, Invalid>> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let rest = body.get(at..).filter(|rest| !rest.is_empty())?;
        let Some((entry, length)) = Entry::fields(rest) else {
            let malformed = Invalid::ResolutionEntry(at);
            at = body.len();
            return Some(Err(malformed));
        };
        at += length;
        Some(Ok(entry))
    })
}

/// Fills a buffer with one frame of entries.
///
/// ```
/// # use coracle_wire::resolution::{Entry, FrameWriter};
/// let address = "127.0.0.1:8050".parse().unwrap();
/// let entry = Entry { flags: 0, address, age_ms: 0, name: b"a" };
/// let mut buffer = [0; 64];
/// let mut writer = FrameWriter::new(&mut buffer).unwrap();
/// assert!(writer.push(&entry));
/// assert_eq!(writer.finish().len(), 8 + 16);
/// ```
#[derive(Debug)]
pub struct FrameWriter<'a> {
    bytes: &'a mut [u8],
    length: usize,
}

impl<'a> FrameWriter<'a> {
    /// Begins a frame in `bytes`, which has the length of the largest datagram.
    ///
    /// None when not even the frame header fits.
    #[must_use]
    pub const fn new(bytes: &'a mut [u8]) -> Option<Self> {
        if bytes.len() < BASE_HEADER_LENGTH {
            return None;
        }
        Some(Self { bytes, length: BASE_HEADER_LENGTH })
    }

    /// Appends an entry; false when it does not fit or its name is too long.
    pub fn push(&mut self, entry: &Entry<'_>) -> bool {
        let end = self.length + entry.encoded_length();
        let name_length = match u16::try_from(entry.name.len()) {
            Ok(length) if usize::from(length) <= NAME_LENGTH_MAX => length,
            _ => return false,
        };
        let Some(place) = self.bytes.get_mut(self.length..end) else {
            return false;
        };
        place.fill(0);
        entry.write(place, name_length);
        self.length = end;
        true
    }

    /// Whether there is no entry yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == BASE_HEADER_LENGTH
    }

    /// Completes the frame: the bytes to send.
    #[must_use]
    pub fn finish(self) -> &'a [u8] {
        let Self { bytes, length } = self;
        put_base(bytes, length, 0, FrameType::RESOLUTION);
        &bytes[..length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{self, Frame};
    use alloc::vec::Vec;

    fn entry<'a>(address: &str, name: &'a [u8]) -> Entry<'a> {
        Entry { flags: SELF_FLAG, address: address.parse().unwrap(), age_ms: 1234, name }
    }

    #[test]
    fn entries_survive_a_round_trip() {
        let sent = [entry("10.1.2.3:8050", b"alpha"), entry("[fe80::1]:65535", b"b")];
        let mut bytes = [0xFF; 128];
        let mut writer = FrameWriter::new(&mut bytes).unwrap();
        assert!(sent.iter().all(|entry| writer.push(entry)));
        let frame = writer.finish();
        assert_eq!(frame.len(), 8 + 24 + 32);
        let Ok(Frame::Resolution(body)) = frame::decode(frame) else {
            panic!("no resolution frame");
        };
        let received: Result<Vec<_>, _> = entries(body).collect();
        assert_eq!(received, Ok(sent.to_vec()));
        assert!(received.unwrap()[0].is_self());
    }

    #[test]
    fn an_entry_cut_before_its_name_ends_is_malformed() {
        let mut bytes = [0; 64];
        let mut writer = FrameWriter::new(&mut bytes).unwrap();
        assert!(writer.push(&entry("10.1.2.3:8050", b"alpha")));
        let body = &writer.finish()[8..];
        for length in 1..ADDRESS_OFFSET + 4 + 2 + 5 {
            let found: Vec<_> = entries(&body[..length]).collect();
            assert_eq!(found, [Err(Invalid::ResolutionEntry(0))]);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut bytes = [0; 8 + 24];
        let mut writer = FrameWriter::new(&mut bytes).unwrap();
        assert!(!writer.push(&entry("10.1.2.3:8050", &[b'x'; 513])));
        assert!(writer.is_empty() && writer.push(&entry("10.1.2.3:8050", b"alpha")));
        assert!(!writer.push(&entry("10.1.2.3:8050", b"beta")));
        assert!(FrameWriter::new(&mut [0; 7]).is_none());
    }
}
