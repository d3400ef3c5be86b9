//! `coracle archive`: an archive in the foreground, beside a driver that runs elsewhere.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use coracle::Archive;
use coracle::archive::Config;
use coracle::runtime::Nanos;
use coracle::runtime::config::SettingError;

use crate::properties::{self, Properties};
use crate::{Directory, Failure};

/// How often to look whether to end.
const INTERVAL: Nanos = Nanos::from_millis(20);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    directory: Directory,
    /// Directory of its recordings; as --property aeron.archive.dir=...
    #[arg(long, value_name = "DIRECTORY")]
    archive_dir: Option<PathBuf>,
    #[command(flatten)]
    properties: Properties,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let rows = [Config::options(), coracle::client::Config::options()].concat();
    if arguments.properties.options {
        properties::list(&rows);
        return Ok(());
    }
    let (mut config, mut aeron) = (Config::default(), coracle::client::Config::default());
    arguments.properties.apply(&rows, |name, text| match config.set(name, text) {
        Err(SettingError::Unknown(_)) => aeron.set(name, text),
        result => result,
    })?;
    if let Some(path) = &arguments.directory.path {
        aeron.directory.clone_from(path);
    }
    if let Some(path) = &arguments.archive_dir {
        config.storage.directory.clone_from(path);
    }
    let stop = coracle::os::signal::termination()?;
    let archive = Archive::launch(config, aeron)?;
    println!("archive in {}", archive.directory().display());
    // Acquire: pairs with the store of the signal handler.
    while !stop.load(Ordering::Acquire) && archive.is_running() {
        coracle::os::thread::sleep(INTERVAL);
    }
    archive.close()?;
    println!("archive closed");
    Ok(())
}
