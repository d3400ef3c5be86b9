//! Cursors over message bodies: fields one after the other, texts with a length before them.

use crate::le::bytes_at;

/// Reads a body from its beginning.
pub(super) struct Body<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Body<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let value = bytes_at(self.bytes, self.at)?;
        self.at += N;
        Some(value)
    }

    pub(super) fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(super) fn address(&mut self) -> Option<[u8; 16]> {
        self.array()
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// A length and that many bytes.
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.i32()?).ok()?;
        let bytes = self.bytes.get(self.at..)?.get(..length)?;
        self.at += length;
        Some(bytes)
    }

    /// A length and that many bytes of text.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        core::str::from_utf8(self.bytes()?).ok()
    }

    /// A length and that many bytes; the text up to the first that is none.
    ///
    /// For reasons meant for people: a bad byte in one must not hide the message.
    pub(super) fn prose(&mut self) -> Option<&'a str> {
        let bytes = self.bytes()?;
        let good = match core::str::from_utf8(bytes) {
            Ok(text) => return Some(text),
            Err(error) => error.valid_up_to(),
        };
        Some(core::str::from_utf8(&bytes[..good]).unwrap_or_default())
    }

    /// Skips to the next multiple of four.
    pub(super) const fn align(&mut self) {
        self.at = self.at.next_multiple_of(4);
    }
}

/// Where an encoder puts its fields: into bytes, or nowhere while it measures.
pub(super) struct Target<'a> {
    bytes: Option<&'a mut [u8]>,
    at: usize,
    is_full: bool,
}

impl<'a> Target<'a> {
    /// Counts only.
    pub(super) const fn measure() -> Self {
        Self { bytes: None, at: 0, is_full: false }
    }

    pub(super) const fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes: Some(bytes), at: 0, is_full: false }
    }

    /// Bytes written, if they all fitted.
    pub(super) const fn finish(self) -> Option<usize> {
        if self.is_full { None } else { Some(self.at) }
    }

    pub(super) fn raw(&mut self, value: &[u8]) {
        let end = self.at + value.len();
        if let Some(bytes) = &mut self.bytes {
            match bytes.get_mut(self.at..end) {
                Some(place) => place.copy_from_slice(value),
                None => self.is_full = true,
            }
        }
        self.at = end;
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.raw(&value.to_le_bytes());
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.raw(&value.to_le_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.raw(&value.to_le_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.raw(&value.to_le_bytes());
    }

    /// A length and the bytes.
    pub(super) fn bytes(&mut self, value: &[u8]) {
        match i32::try_from(value.len()) {
            Ok(length) => self.i32(length),
            Err(_) => self.is_full = true,
        }
        self.raw(value);
    }

    /// Zeros up to the next multiple of four.
    pub(super) fn align(&mut self) {
        let filler = self.at.next_multiple_of(4) - self.at;
        self.raw(&[0; 3][..filler]);
    }
}
