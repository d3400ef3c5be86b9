//! `coracle driver`: a media driver in the foreground.

use std::sync::atomic::Ordering;

use coracle::Driver;
use coracle::driver::Config;
use coracle::runtime::Nanos;

use crate::properties::{self, Properties};
use crate::{Directory, Failure};

/// How often to look whether to end.
const INTERVAL: Nanos = Nanos::from_millis(20);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    directory: Directory,
    #[command(flatten)]
    properties: Properties,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let rows = Config::options();
    if arguments.properties.options {
        properties::list(&rows);
        return Ok(());
    }
    let mut config = Config::default();
    arguments.properties.apply(&rows, |name, text| config.set(name, text))?;
    if let Some(path) = &arguments.directory.path {
        config.directory.path.clone_from(path);
    }
    let stop = coracle::os::signal::termination()?;
    let driver = Driver::launch(config)?;
    println!("driver in {}", driver.directory().display());
    // Acquire: pairs with the store of the signal handler.
    while !stop.load(Ordering::Acquire) && driver.is_running() {
        coracle::os::thread::sleep(INTERVAL);
    }
    driver.close()?;
    println!("driver closed");
    Ok(())
}
