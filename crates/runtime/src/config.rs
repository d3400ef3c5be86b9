//! Options listed once: field, type, default, documentation and Aeron's property name.
//!
//! From one [`config!`](macro@crate::config) list come the struct, its `Default`, setting by
//! property name or environment variable, and the table that documentation and `--help` print.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;

use wire::time::Nanos;

/// A value that an option can hold.
pub trait Setting: Sized {
    /// Reads it from text.
    ///
    /// # Errors
    /// What the text should have been.
    fn parse(text: &str) -> Result<Self, String>;

    /// Writes it so that [`Setting::parse`] reads the same.
    fn show(&self) -> String;
}

/// One row of the table of options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionRow {
    /// The field's name.
    pub field: &'static str,
    /// The name under which genuine Aeron reads it, or ours where it has none.
    pub property: &'static str,
    /// Its default, as text.
    pub default: String,
    /// What it means.
    pub documentation: &'static str,
}

/// Why an option could not be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// No option has this name.
    #[error("no option is called {0}")]
    Unknown(String),
    /// The text is not a value of the option.
    #[error("{property}={text}: {cause}")]
    Invalid {
        /// The option.
        property: &'static str,
        /// What was given.
        text: String,
        /// What it should have been.
        cause: String,
    },
}

/// The environment variable of a property: upper case, dots as underscores.
#[must_use]
pub fn variable_name(property: &str) -> String {
    property.replace('.', "_").to_uppercase()
}

/// Declares a group of options. See the module's documentation.
#[macro_export]
macro_rules! config {
    ($(#[$meta:meta])* pub struct $Name:ident {
        $( $(#[doc = $doc:literal])+ $field:ident : $type:ty = $default:expr, $property:literal; )*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Name { $( $(#[doc = $doc])+ pub $field: $type, )* }

        impl Default for $Name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl $Name {
            /// Sets the option with this property name.
            ///
            /// # Errors
            /// No option has the name, or the text is no value of it.
            pub fn set(
                &mut self,
                property: &str,
                text: &str,
            ) -> Result<(), $crate::config::SettingError> {
                match property {
                    $( $property => {
                        self.$field = $crate::config::parse($property, text)?;
                        Ok(())
                    } )*
                    _ => Err($crate::config::SettingError::Unknown(property.to_string())),
                }
            }

            /// Every option with its default.
            #[must_use]
            pub fn options() -> Vec<$crate::config::OptionRow> {
                let default = Self::default();
                vec![ $( $crate::config::OptionRow {
                    field: stringify!($field),
                    property: $property,
                    default: $crate::config::Setting::show(&default.$field),
                    documentation: concat!($($doc),+).trim_ascii(),
                }, )* ]
            }
        }
    };
}

/// Reads a value for a named option.
///
/// # Errors
/// [`SettingError::Invalid`] with the cause.
pub fn parse<T: Setting>(property: &'static str, text: &str) -> Result<T, SettingError> {
    T::parse(text.trim()).map_err(|cause| SettingError::Invalid {
        property,
        text: text.to_string(),
        cause,
    })
}

macro_rules! settings_from_str {
    ($($type:ty: $what:literal),*) => {$(
        impl Setting for $type {
            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| concat!("expected ", $what).to_string())
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

settings_from_str!(bool: "true or false", f64: "a number", SocketAddr: "address:port",
    u8: "a number from 0 to 255");

macro_rules! settings_with_size {
    ($($type:ty),*) => {$(
        /// A whole number; `k`, `m` and `g` multiply by powers of 1024.
        impl Setting for $type {
            fn parse(text: &str) -> Result<Self, String> {
                size(text).and_then(|value| value.try_into().ok()).ok_or_else(|| {
                    format!("expected a whole number from {} to {}", Self::MIN, Self::MAX)
                })
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

settings_with_size!(i32, i64, u32, u64, usize);

fn size(text: &str) -> Option<i128> {
    let (digits, factor) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (&text[..at], 1 << 10),
        (at, 'm' | 'M') => (&text[..at], 1 << 20),
        (at, 'g' | 'G') => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    digits.parse::<i64>().ok().map(|value| i128::from(value) * factor)
}

/// A span: a whole number with `ns`, `us`, `ms` or `s`; a bare number is nanoseconds.
impl Setting for Nanos {
    fn parse(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let factor = match &text[digits.len()..] {
            "" | "ns" => Some(1),
            "us" => Some(1_000),
            "ms" => Some(1_000_000),
            "s" => Some(1_000_000_000),
            _ => None,
        };
        factor
            .zip(digits.parse::<i64>().ok())
            .and_then(|(factor, value)| value.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| "expected a duration such as 10ms, with ns, us, ms or s".to_string())
    }

    fn show(&self) -> String {
        match self.0 {
            span if span % 1_000_000_000 == 0 => format!("{}s", span / 1_000_000_000),
            span if span % 1_000_000 == 0 => format!("{}ms", span / 1_000_000),
            span if span % 1_000 == 0 => format!("{}us", span / 1_000),
            span => format!("{span}ns"),
        }
    }
}

impl Setting for String {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_string())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Setting for PathBuf {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self::from(text))
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

/// An option that may be unset: empty text unsets it.
impl<T: Setting> Setting for Option<T> {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { T::parse(text).map(Some) }
    }

    fn show(&self) -> String {
        self.as_ref().map(T::show).unwrap_or_default()
    }
}

/// Writes rows as a table in Markdown.
///
/// # Errors
/// Whatever the target says.
pub fn write_table(rows: &[OptionRow], target: &mut dyn std::fmt::Write) -> std::fmt::Result {
    writeln!(target, "| property | default | meaning |\n|---|---|---|")?;
    rows.iter().try_for_each(|row| {
        let cell: &dyn Display = &row.documentation;
        writeln!(target, "| `{}` | {} | {cell} |", row.property, row.default)
    })
}

#[cfg(test)]
#[allow(unreachable_pub)] // What the macro makes is public where it is used.
mod tests {
    use super::*;

    config! {
        /// Options of a test.
        pub struct Sample {
            /// Length of a term,
            /// in bytes.
            term_length: i32 = 65_536, "sample.term.length";
            /// How long to wait.
            timeout: Nanos = Nanos::from_secs(5), "sample.timeout";
        }
    }

    #[test]
    fn options_are_set_by_property_name_with_units() {
        let mut sample = Sample::default();
        sample.set("sample.term.length", "16m").unwrap();
        sample.set("sample.timeout", "250ms").unwrap();
        assert_eq!(sample, Sample { term_length: 16 << 20, timeout: Nanos::from_millis(250) });
    }

    #[test]
    fn a_bad_value_names_the_option_the_text_and_what_was_expected() {
        let error = Sample::default().set("sample.timeout", "5 weeks").unwrap_err();
        assert_eq!(
            error.to_string(),
            "sample.timeout=5 weeks: expected a duration such as 10ms, with ns, us, ms or s"
        );
        assert!(Sample::default().set("sample.term.length", "4g").is_err());
        assert_eq!(
            Sample::default().set("nothing", "1"),
            Err(SettingError::Unknown("nothing".into()))
        );
    }

    #[test]
    fn the_table_has_a_row_for_each_option() {
        let mut table = String::new();
        write_table(&Sample::options(), &mut table).unwrap();
        assert!(table.contains("| `sample.term.length` | 65536 | Length of a term, in bytes. |"));
        assert_eq!(variable_name("sample.timeout"), "SAMPLE_TIMEOUT");
    }
}
