//! `open_enum!`: enumerations of the wire that keep values they do not know.

/// Declares an enumeration of four bytes whose unknown values survive a round trip.
///
/// The variants stand for the named codes; any other code becomes `Unknown(code)`, so a `match`
/// has to say what it does with the words of a newer peer.
macro_rules! open_enum {
    ($(#[$meta:meta])* pub enum $Name:ident {
        $($(#[$variant_meta:meta])* $Variant:ident = $code:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $Name {
            $($(#[$variant_meta])* $Variant,)*
            /// A code that has no name here (also the null value of SBE).
            Unknown(i32),
        }

        impl $Name {
            /// The value of a code of the wire.
            #[must_use]
            #[inline]
            pub const fn from_code(code: i32) -> Self {
                match code {
                    $($code => Self::$Variant,)*
                    _ => Self::Unknown(code),
                }
            }

            /// The code on the wire.
            #[must_use]
            #[inline]
            pub const fn code(self) -> i32 {
                match self {
                    $(Self::$Variant => $code,)*
                    Self::Unknown(code) => code,
                }
            }
        }

        impl $crate::bytes::Field for $Name {
            const LENGTH: usize = 4;

            #[inline]
            fn load(reader: &mut $crate::bytes::Reader<'_>) -> Option<Self> {
                <i32 as $crate::bytes::Field>::load(reader).map(Self::from_code)
            }

            #[inline]
            fn store(
                self,
                writer: &mut $crate::bytes::Writer<'_>,
            ) -> Result<(), $crate::bytes::EncodeError> {
                writer.write(self.code())
            }
        }
    };
}

pub(crate) use open_enum;

#[cfg(test)]
mod tests {
    #![allow(unreachable_pub)] // The macro declares public items.

    use crate::bytes::{Reader, Writer};

    open_enum! {
        /// Two known codes.
        pub enum Direction {
            /// Towards.
            In = 0,
            /// Away.
            Out = 1,
        }
    }

    #[test]
    fn an_unknown_code_survives_a_round_trip() {
        for code in [0, 1, 2, -1, i32::MIN, i32::MAX] {
            let direction = Direction::from_code(code);
            let mut buffer = [0; 4];
            Writer::new(&mut buffer).write(direction).expect("fits");
            assert_eq!(buffer, code.to_le_bytes());
            assert_eq!(Reader::new(&buffer).read(), Ok(direction));
        }
        assert_eq!(Direction::from_code(1), Direction::Out);
        assert_eq!(Direction::from_code(7), Direction::Unknown(7));
    }
}
