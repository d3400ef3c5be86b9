//! SBE messages as plain structs, each declared once with `messages!`.
//!
//! ```text
//!   0         2            4          6         8                    8 + block length
//!   +---------+------------+----------+---------+--------------------+--------+-----------+
//!   | u16     | u16        | u16      | u16     | block:             | groups | variable  |
//!   | block   | template   | schema   | version | fixed fields       |        | fields    |
//!   | length  | id         | id       |         |                    |        | u32 + ... |
//!   +---------+------------+----------+---------+--------------------+--------+-----------+
//! ```
//!
//! Versions: what follows the block is found by the block length *of the sender*, so both an older
//! and a newer sender are understood. A field declared with `= value` reads as that value when the
//! sender's block ends before it; any other missing field is an error. Block bytes beyond the last
//! known field are skipped. A variable field declared `since N` is absent, and empty, in a message
//! of a version below `N`; missing otherwise, it is an error. Bytes after the last known field are
//! left alone (source: archive page 1, cluster page 1.1).

use crate::bytes::{DecodeError, EncodeError, Field, GROUP_COUNT_MAX, Reader, Writer};

/// Bytes of the header in front of every message.
pub const HEADER_LENGTH: usize = 8;

/// The header in front of every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageHeader {
    /// Bytes of the fixed block, as the sender knows it.
    pub block_length: u16,
    /// Which message follows.
    pub template_id: u16,
    /// Which family of messages it belongs to.
    pub schema_id: u16,
    /// Version of the schema that the sender speaks.
    pub version: u16,
}

impl MessageHeader {
    /// Takes the header off the front of a message.
    #[inline]
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut header = Reader::new(reader.take(HEADER_LENGTH)?);
        Ok(Self {
            block_length: header.read()?,
            template_id: header.read()?,
            schema_id: header.read()?,
            version: header.read()?,
        })
    }

    /// The header of a whole message.
    #[inline]
    pub fn decode(fragment: &[u8]) -> Result<Self, DecodeError> {
        Self::read(&mut Reader::new(fragment))
    }

    /// Writes the header.
    #[inline]
    pub fn write(self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.write(self.block_length)?;
        writer.write(self.template_id)?;
        writer.write(self.schema_id)?;
        writer.write(self.version)
    }
}

/// Block, groups and variable fields: a message without its header, or an entry of a group.
pub trait Body<'a>: Copy {
    /// Name of the message, as in the schema.
    const NAME: &'static str;
    /// Bytes of the fixed block in the version spoken here.
    const BLOCK_LENGTH: u16;
    /// Fields of the block with their lengths, in order.
    const FIELDS: &'static [(&'static str, u16)];

    /// Decodes what a sender of `version` wrote with a block of `block_length` bytes.
    fn read_body(
        block_length: u16,
        version: u16,
        reader: &mut Reader<'a>,
    ) -> Result<Self, DecodeError>;

    /// Writes block, groups and variable fields.
    fn write_body(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError>;

    /// Bytes that [`Self::write_body`] writes.
    fn body_length(&self) -> usize;

    /// Offset of a field in the block, for records that are changed in place.
    ///
    /// For constants: `const STOP: usize = offset(Descriptor::FIELDS, "stop_position");`.
    #[must_use]
    fn offset_of(field: &str) -> Option<usize> {
        find(Self::FIELDS, field)
    }
}

/// A message with its own header.
pub trait Message<'a>: Body<'a> {
    /// Number of the message in its schema.
    const TEMPLATE_ID: u16;
    /// Number of the schema.
    const SCHEMA_ID: u16;
    /// Version of the schema that is written here.
    const VERSION: u16;
    /// The header that is written in front of the message.
    const HEADER: MessageHeader = MessageHeader {
        block_length: Self::BLOCK_LENGTH,
        template_id: Self::TEMPLATE_ID,
        schema_id: Self::SCHEMA_ID,
        version: Self::VERSION,
    };

    /// Bytes of the whole message with its header: what to claim before [`Self::encode`].
    fn encoded_length(&self) -> usize {
        HEADER_LENGTH + self.body_length()
    }

    /// Writes header and message to the front of `buffer` and returns the length written.
    #[inline]
    fn encode(&self, buffer: &mut [u8]) -> Result<usize, EncodeError> {
        let (needed, available) = (self.encoded_length(), buffer.len());
        if needed > available {
            return Err(EncodeError::BufferTooShort { needed, available });
        }
        let mut writer = Writer::new(buffer);
        Self::HEADER.write(&mut writer)?;
        self.write_body(&mut writer)?;
        Ok(writer.position())
    }

    /// Decodes a whole message that must be this one.
    #[inline]
    fn decode(fragment: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(fragment);
        let header = MessageHeader::read(&mut reader)?;
        if header.schema_id != Self::SCHEMA_ID {
            let (expected, actual) = (Self::SCHEMA_ID, header.schema_id);
            return Err(DecodeError::OtherSchema { expected, actual });
        }
        if header.template_id != Self::TEMPLATE_ID {
            let (expected, actual) = (Self::TEMPLATE_ID, header.template_id);
            return Err(DecodeError::OtherTemplate { expected, actual });
        }
        Self::read_body(header.block_length, header.version, &mut reader)
    }
}

/// Offset of a field among `fields`. Meant for constants, where an unknown name does not compile.
///
/// # Panics
/// If there is no field of that name.
#[must_use]
pub const fn offset(fields: &[(&str, u16)], field: &str) -> usize {
    match find(fields, field) {
        Some(offset) => offset,
        None => panic!("no field of that name"),
    }
}

const fn find(fields: &[(&str, u16)], field: &str) -> Option<usize> {
    let mut offset = 0;
    let mut index = 0;
    while index < fields.len() {
        let (name, length) = fields[index];
        if is_same(name.as_bytes(), field.as_bytes()) {
            return Some(offset);
        }
        offset += length as usize;
        index += 1;
    }
    None
}

const fn is_same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut index = 0;
    while index < left.len() {
        if left[index] != right[index] {
            return false;
        }
        index += 1;
    }
    true
}

/// A repeating group: entries to be encoded, or the bytes of entries that were checked.
///
/// On the wire: `u16` block length of an entry, `u16` count, then the entries.
#[derive(Clone, Copy)]
pub struct Group<'a, T>(Entries<'a, T>);

#[derive(Clone, Copy)]
enum Entries<'a, T> {
    Slice(&'a [T]),
    Wire { count: u16, block_length: u16, version: u16, bytes: &'a [u8] },
}

impl<T> Default for Group<'_, T> {
    fn default() -> Self {
        Self(Entries::Slice(&[]))
    }
}

impl<'a, T> From<&'a [T]> for Group<'a, T> {
    fn from(entries: &'a [T]) -> Self {
        Self(Entries::Slice(entries))
    }
}

impl<'a, T: Body<'a>> Group<'a, T> {
    /// How many entries there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.0 {
            Entries::Slice(entries) => entries.len(),
            Entries::Wire { count, .. } => count as usize,
        }
    }

    /// Whether there is no entry.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries in order.
    pub fn iter(&self) -> impl Iterator<Item = T> + 'a
    where
        T: 'a,
    {
        let (slice, mut wire) = match self.0 {
            Entries::Slice(entries) => (entries, None),
            Entries::Wire { count, block_length, version, bytes } => {
                (&[][..], Some((count, block_length, version, Reader::new(bytes))))
            }
        };
        let decoded = core::iter::from_fn(move || {
            let (count, block_length, version, reader) = wire.as_mut()?;
            *count = count.checked_sub(1)?;
            // All entries were decoded when the group was read, so none is lost here.
            T::read_body(*block_length, *version, reader).ok()
        });
        slice.iter().copied().chain(decoded)
    }

    /// Takes a group off the reader and checks every entry.
    pub(crate) fn read(version: u16, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let block_length = reader.read()?;
        let count: u16 = reader.read()?;
        let bytes = reader.rest();
        for _ in 0..count {
            T::read_body(block_length, version, reader)?;
        }
        let used = bytes.len() - reader.rest().len();
        let bytes = bytes.get(..used).unwrap_or_default();
        Ok(Self(Entries::Wire { count, block_length, version, bytes }))
    }

    pub(crate) fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        let count = self.len();
        let encoded = u16::try_from(count).ok().filter(|_| count <= GROUP_COUNT_MAX);
        let Some(encoded) = encoded else { return Err(EncodeError::GroupTooLong { count }) };
        writer.write(T::BLOCK_LENGTH)?;
        writer.write(encoded)?;
        self.iter().try_for_each(|entry| entry.write_body(writer))
    }

    pub(crate) fn encoded_length(&self) -> usize {
        4 + self.iter().map(|entry| entry.body_length()).sum::<usize>()
    }
}

impl<'a, T: Body<'a> + PartialEq + 'a> PartialEq for Group<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<'a, T: Body<'a> + Eq + 'a> Eq for Group<'a, T> {}

impl<'a, T: Body<'a> + core::fmt::Debug + 'a> core::fmt::Debug for Group<'a, T> {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.debug_list().entries(self.iter()).finish()
    }
}

/// The fixed block of a sender, from which fields are taken in order.
pub(crate) struct Block<'a> {
    message: &'static str,
    length: u16,
    reader: Reader<'a>,
}

impl<'a> Block<'a> {
    #[inline]
    pub(crate) fn read(
        message: &'static str,
        length: u16,
        reader: &mut Reader<'a>,
    ) -> Result<Self, DecodeError> {
        Ok(Self { message, length, reader: Reader::new(reader.take(length.into())?) })
    }

    /// The next field. A block that ends before it must be that of an older sender: such a field
    /// has a value for that, `absent`.
    #[inline]
    pub(crate) fn field<F: Field>(
        &mut self,
        name: &'static str,
        absent: Option<F>,
    ) -> Result<F, DecodeError> {
        if let Some(value) = F::load(&mut self.reader) {
            return Ok(value);
        }
        // What is left of a torn field must not be taken for a shorter one behind it.
        self.reader = Reader::new(&[]);
        absent.ok_or(DecodeError::BlockTooShort {
            message: self.message,
            field: name,
            block_length: self.length,
        })
    }
}

/// Declares a struct with a [`Body`]: an entry of a group or a record without message header.
///
/// `Name { field: type, newer: type = value_if_absent } ( group: Entry ) [ text, newer since 3 ]`;
/// groups and variable fields are optional parts. Fields speak for themselves, or have a comment.
macro_rules! message {
    ($(#[$meta:meta])* $Name:ident { $($fixed:tt)* }) => {
        $crate::message::message! { @declare [$(#[$meta])*] [] $Name { $($fixed)* } () [] }
    };
    ($(#[$meta:meta])* $Name:ident { $($fixed:tt)* } ($($groups:tt)*)) => {
        $crate::message::message! {
            @declare [$(#[$meta])*] ['a] $Name { $($fixed)* } ($($groups)*) []
        }
    };
    ($(#[$meta:meta])* $Name:ident { $($fixed:tt)* } $(($($groups:tt)*))? [$($variable:tt)*]) => {
        $crate::message::message! {
            @declare [$(#[$meta])*] ['a] $Name { $($fixed)* } ($($($groups)*)?) [$($variable)*]
        }
    };
    (@declare [$($meta:tt)*] [$($life:lifetime)?] $Name:ident
        { $($(#[$field_meta:meta])* $field:ident: $type:ty $(= $absent:expr)?),* $(,)? }
        ($($(#[$group_meta:meta])* $group:ident: $Entry:ty),* $(,)?)
        [$($(#[$variable_meta:meta])* $variable:ident $(since $since:literal)?),* $(,)?]
    ) => {
        $($meta)*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)] // Names of fields speak for themselves, or have a comment.
        pub struct $Name $(<$life>)? {
            $($(#[$field_meta])* pub $field: $type,)*
            $($(#[$group_meta])* pub $group: $crate::message::Group<'a, $Entry>,)*
            $($(#[$variable_meta])* pub $variable: &'a [u8],)*
        }

        impl<'a> $crate::message::Body<'a> for $Name $(<$life>)? {
            const NAME: &'static str = stringify!($Name);
            #[allow(clippy::cast_possible_truncation)] // Checked against the schemas by a test.
            const BLOCK_LENGTH: u16 =
                (0 $(+ <$type as $crate::bytes::Field>::LENGTH)*) as u16;
            #[allow(clippy::cast_possible_truncation)] // As above.
            const FIELDS: &'static [(&'static str, u16)] = &[
                $((stringify!($field), <$type as $crate::bytes::Field>::LENGTH as u16),)*
            ];

            #[inline]
            fn read_body(
                block_length: u16,
                version: u16,
                reader: &mut $crate::bytes::Reader<'a>,
            ) -> Result<Self, $crate::bytes::DecodeError> {
                let _ = version;
                #[allow(unused_mut)] // A message may have no field.
                let mut block =
                    $crate::message::Block::read(stringify!($Name), block_length, reader)?;
                Ok(Self {
                    $($field: block.field(
                        stringify!($field),
                        $crate::message::message!(@absent $($absent)?),
                    )?,)*
                    $($group: $crate::message::Group::read(version, reader)?,)*
                    $($variable: $crate::message::message!(@variable version reader $($since)?),)*
                })
            }

            #[inline]
            fn write_body(
                &self,
                writer: &mut $crate::bytes::Writer<'_>,
            ) -> Result<(), $crate::bytes::EncodeError> {
                $(writer.write(self.$field)?;)*
                $(self.$group.write(writer)?;)*
                $(writer.variable(self.$variable)?;)*
                let _ = writer;
                Ok(())
            }

            #[inline]
            fn body_length(&self) -> usize {
                <Self as $crate::message::Body<'a>>::BLOCK_LENGTH as usize
                    $(+ self.$group.encoded_length())*
                    $(+ 4 + self.$variable.len())*
            }
        }
    };
    (@absent) => { None };
    (@absent $absent:expr) => { Some($absent) };
    (@variable $version:ident $reader:ident) => { $reader.variable()? };
    (@variable $version:ident $reader:ident $since:literal) => {
        if $version < $since { &[] } else { $reader.variable()? }
    };
    (@type $Name:ident) => { $Name };
    (@type $Name:ident $($borrowing:tt)+) => { $Name<'a> };
}

/// Declares the messages of one conversation and the enum of all that may arrive in it.
///
/// Messages that are declared in another conversation too are named after the list:
/// `} also { Challenge<'a> as Challenge }`.
macro_rules! messages {
    ($(#[$enum_meta:meta])*
    pub enum $Any:ident $(<$life:lifetime>)?: schema $schema:literal version $version:literal {
        $($(#[$meta:meta])* $Name:ident = $id:literal
            { $($fixed:tt)* } $(($($groups:tt)*))? $([$($variable:tt)*])?)*
    } $(also { $($Shared:ty as $shared:ident),* $(,)? })?) => {
        $(
            $crate::message::message! {
                $(#[$meta])* $Name { $($fixed)* } $(($($groups)*))? $([$($variable)*])?
            }

            impl<'a> $crate::message::Message<'a>
                for $crate::message::message!(@type $Name $($($groups)*)? $($($variable)*)?)
            {
                const TEMPLATE_ID: u16 = $id;
                const SCHEMA_ID: u16 = $schema;
                const VERSION: u16 = $version;
            }
        )*

        $(#[$enum_meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)] // Each variant holds the message of its name, documented there.
        pub enum $Any $(<$life>)? {
            $($Name($crate::message::message!(@type $Name $($($groups)*)? $($($variable)*)?)),)*
            $($($shared($Shared),)*)?
        }

        impl<'a> $Any $(<$life>)? {
            /// Name, template id and block length of each message declared here.
            pub const TABLE: &'static [(&'static str, u16, u16)] = &[$((
                stringify!($Name),
                $id,
                <$crate::message::message!(@type $Name $($($groups)*)? $($($variable)*)?)
                    as $crate::message::Body<'_>>::BLOCK_LENGTH,
            ),)*];

            /// Decodes one whole message; `None` if the template is not of this conversation.
            ///
            /// # Errors
            /// Another schema, or bytes that are too short for the message.
            #[inline]
            pub fn decode(fragment: &'a [u8]) -> Result<Option<Self>, $crate::bytes::DecodeError> {
                let mut reader = $crate::bytes::Reader::new(fragment);
                let header = $crate::message::MessageHeader::read(&mut reader)?;
                if header.schema_id != $schema {
                    return Err($crate::bytes::DecodeError::OtherSchema {
                        expected: $schema,
                        actual: header.schema_id,
                    });
                }
                let (block_length, version) = (header.block_length, header.version);
                Ok(Some(match header.template_id {
                    $($id => Self::$Name($crate::message::Body::read_body(
                        block_length, version, &mut reader,
                    )?),)*
                    $($(id if id == <$Shared as $crate::message::Message<'_>>::TEMPLATE_ID => {
                        Self::$shared($crate::message::Body::read_body(
                            block_length, version, &mut reader,
                        )?)
                    })*)?
                    _ => return Ok(None),
                }))
            }

            /// Writes header and message to the front of `buffer`; returns the length written.
            ///
            /// # Errors
            /// The buffer is shorter than [`Self::encoded_length`], or a field is too long.
            #[inline]
            pub fn encode(&self, buffer: &mut [u8]) -> Result<usize, $crate::bytes::EncodeError> {
                match self {
                    $(Self::$Name(message) => {
                        $crate::message::Message::encode(message, buffer)
                    })*
                    $($(Self::$shared(message) => {
                        $crate::message::Message::encode(message, buffer)
                    })*)?
                }
            }

            /// Bytes of the whole message with its header.
            #[must_use]
            pub fn encoded_length(&self) -> usize {
                match self {
                    $(Self::$Name(message) => {
                        $crate::message::Message::encoded_length(message)
                    })*
                    $($(Self::$shared(message) => {
                        $crate::message::Message::encoded_length(message)
                    })*)?
                }
            }
        }

        $crate::message::messages! {
            @from [$Any $(<$life>)?]
            $([$Name $crate::message::message!(@type $Name $($($groups)*)? $($($variable)*)?)])*
        }
    };
    (@from $any:tt $($one:tt)*) => {
        $($crate::message::messages! { @into $any $one })*
    };
    (@into [$($Any:tt)*] [$Name:ident $Message:ty]) => {
        impl<'a> From<$Message> for $($Any)* {
            fn from(message: $Message) -> Self {
                Self::$Name(message)
            }
        }
    };
}

pub(crate) use {message, messages};

#[cfg(test)]
mod tests;
