//! Checksums of recorded frames and of catalog entries.
//!
//! Genuine names and values: standard CRCs, stored as `i32` (archive specification 4.5).

/// Which checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// CRC-32 of IEEE 802.3.
    Crc32,
    /// CRC-32C, Castagnoli.
    Crc32c,
}

impl Checksum {
    /// The checksum with this name, the names of genuine Aeron's classes included.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "CRC-32" | "io.aeron.archive.checksum.Crc32" | "org.agrona.checksum.Crc32" => {
                Some(Self::Crc32)
            }
            "CRC-32C" | "io.aeron.archive.checksum.Crc32c" | "org.agrona.checksum.Crc32c" => {
                Some(Self::Crc32c)
            }
            _ => None,
        }
    }

    /// Its short name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC-32",
            Self::Crc32c => "CRC-32C",
        }
    }

    /// The checksum of `bytes`, as it is stored.
    #[must_use]
    pub fn compute(self, bytes: &[u8]) -> i32 {
        match self {
            Self::Crc32 => crc32fast::hash(bytes).cast_signed(),
            Self::Crc32c => crc32c::crc32c(bytes).cast_signed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of both algorithms over the nine digits, as published.
    #[test]
    fn checksums_are_the_standard_ones() {
        assert_eq!(Checksum::Crc32.compute(b"123456789"), 0xcbf4_3926_u32.cast_signed());
        assert_eq!(Checksum::Crc32c.compute(b"123456789"), 0xe306_9283_u32.cast_signed());
    }

    #[test]
    fn every_genuine_name_is_known() {
        assert_eq!(Checksum::from_name("org.agrona.checksum.Crc32c"), Some(Checksum::Crc32c));
        assert_eq!(Checksum::from_name("CRC-32"), Some(Checksum::Crc32));
        assert_eq!(Checksum::from_name("CRC-16"), None);
    }
}
