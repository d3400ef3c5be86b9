//! `coracle driver`: a media driver in the foreground.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use coracle::Driver;
use coracle::driver::Config;
use coracle::runtime::Nanos;
use coracle::runtime::config::variable_name;
use coracle::runtime::files::Files as _;

use crate::{Directory, Failure};

/// How often to look whether to end.
const INTERVAL: Nanos = Nanos::from_millis(20);

/// Options come from the environment (`AERON_TERM_BUFFER_LENGTH=64k`), then from the files, then
/// from `--property`: the last one counts.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    directory: Directory,
    /// Set an option, such as aeron.term.buffer.length=64k.
    #[arg(long = "property", short = 'D', value_name = "NAME=VALUE")]
    properties: Vec<String>,
    /// List every option with its default, and end.
    #[arg(long)]
    options: bool,
    /// Files of properties, one NAME=VALUE a line.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.options {
        for row in Config::options() {
            println!("{}={}\n    {}", row.property, row.default, row.documentation.trim());
        }
        return Ok(());
    }
    let stop = coracle::os::signal::termination()?;
    let driver = Driver::launch(config(arguments)?)?;
    println!("driver in {}", driver.directory().display());
    // Acquire: pairs with the store of the signal handler.
    while !stop.load(Ordering::Acquire) && driver.is_running() {
        coracle::os::thread::sleep(INTERVAL);
    }
    driver.close()?;
    println!("driver closed");
    Ok(())
}

fn config(arguments: &Arguments) -> Result<Config, Failure> {
    let mut config = Config::default();
    for row in Config::options() {
        if let Ok(text) = std::env::var(variable_name(row.property)) {
            config.set(row.property, &text)?;
        }
    }
    for path in &arguments.files {
        let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = read(path).map_err(|error| named(&error))?;
        for line in text.lines().map(str::trim) {
            if !line.is_empty() && !line.starts_with(['#', '!']) {
                set(&mut config, line).map_err(|error| named(&error))?;
            }
        }
    }
    for property in &arguments.properties {
        set(&mut config, property)?;
    }
    if let Some(path) = &arguments.directory.path {
        config.directory.path.clone_from(path);
    }
    Ok(config)
}

fn set(config: &mut Config, property: &str) -> Result<(), Failure> {
    let (name, value) =
        property.split_once('=').ok_or_else(|| format!("{property}: not NAME=VALUE"))?;
    Ok(config.set(name.trim(), value.trim())?)
}

fn read(path: &std::path::Path) -> Result<String, Failure> {
    let file = coracle::os::files::OsFiles.open(path)?;
    let mut bytes = vec![0; usize::try_from(file.length()?)?];
    file.read_at(&mut bytes, 0)?;
    Ok(String::from_utf8(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_sets_its_option_and_anything_else_is_refused() {
        let mut config = Config::default();
        set(&mut config, "aeron.term.buffer.length = 64k").unwrap();
        assert_eq!(config.terms.term_length, 64 << 10);
        let refused = |property| set(&mut Config::default(), property).unwrap_err().to_string();
        assert_eq!(refused("aeron.term.buffer.length"), "aeron.term.buffer.length: not NAME=VALUE");
        assert_eq!(refused("aeron.no.such=1"), "no option is called aeron.no.such");
        assert!(refused("aeron.term.buffer.length=much").starts_with("aeron.term.buffer.length="));
    }
}
