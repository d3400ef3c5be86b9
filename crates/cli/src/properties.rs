//! Options by their property names: from the environment, from files, from the command line.

use std::path::{Path, PathBuf};

use coracle::os::files::OsFiles;
use coracle::runtime::config::{OptionRow, SettingError, variable_name};
use coracle::runtime::files::{Files as _, read_exact_at};

use crate::Failure;

/// Options come from the environment (`AERON_TERM_BUFFER_LENGTH=64k`), then from the files, then
/// from `--property`: the last one counts.
#[derive(clap::Args)]
pub(crate) struct Properties {
    /// Set an option, such as aeron.term.buffer.length=64k.
    #[arg(long = "property", short = 'D', value_name = "NAME=VALUE")]
    properties: Vec<String>,
    /// List every option with its default, and end.
    #[arg(long)]
    pub(crate) options: bool,
    /// Files of properties, one NAME=VALUE a line.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Properties {
    /// Sets all that are given. `rows` are those that the environment may give.
    pub(crate) fn apply(
        &self,
        rows: &[OptionRow],
        mut set: impl FnMut(&str, &str) -> Result<(), SettingError>,
    ) -> Result<(), Failure> {
        for row in rows {
            if let Ok(text) = std::env::var(variable_name(row.property)) {
                set(row.property, &text)?;
            }
        }
        for path in &self.files {
            let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let text = read(path).map_err(|error| named(&error))?;
            for line in text.lines().map(str::trim) {
                if !line.is_empty() && !line.starts_with(['#', '!']) {
                    set_one(&mut set, line).map_err(|error| named(&error))?;
                }
            }
        }
        self.properties.iter().try_for_each(|property| set_one(&mut set, property))
    }
}

/// Prints a table of options.
pub(crate) fn list(rows: &[OptionRow]) {
    for row in rows {
        println!("{}={}\n    {}", row.property, row.default, row.documentation.trim());
    }
}

fn set_one(
    set: &mut impl FnMut(&str, &str) -> Result<(), SettingError>,
    property: &str,
) -> Result<(), Failure> {
    let (name, value) =
        property.split_once('=').ok_or_else(|| format!("{property}: not NAME=VALUE"))?;
    Ok(set(name.trim(), value.trim())?)
}

fn read(path: &Path) -> Result<String, Failure> {
    let file = OsFiles.open(path)?;
    let mut bytes = vec![0; usize::try_from(file.length()?)?];
    read_exact_at(&*file, &mut bytes, 0)?;
    Ok(String::from_utf8(bytes)?)
}

#[cfg(test)]
mod tests {
    use coracle::driver::Config;

    use super::*;

    #[test]
    fn a_property_sets_its_option_and_anything_else_is_refused() {
        let mut config = Config::default();
        let mut set = |property: &str| {
            set_one(&mut |name, text| config.set(name, text), property)
                .map_err(|error| error.to_string())
        };
        set("aeron.term.buffer.length = 64k").unwrap();
        let form = set("aeron.term.buffer.length").unwrap_err();
        assert_eq!(form, "aeron.term.buffer.length: not NAME=VALUE");
        assert_eq!(set("aeron.no.such=1").unwrap_err(), "no option is called aeron.no.such");
        let value = set("aeron.term.buffer.length=much").unwrap_err();
        assert!(value.starts_with("aeron.term.buffer.length="));
        assert_eq!(config.terms.term_length, 64 << 10);
    }
}
