//! `coracle errors`: the distinct errors of a driver.

use coracle::directory::DriverDirectory;

use crate::time::utc;
use crate::{Directory, Failure};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    directory: Directory,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let directory = DriverDirectory::open(&arguments.directory.path())?;
    let mut distinct = 0;
    for error in directory.errors() {
        distinct += 1;
        let (first, last) = (utc(error.first_seen_ms), utc(error.last_seen_ms));
        println!("{} observations from {first} to {last} for:\n {}\n", error.count, error.text);
    }
    println!("{distinct} distinct errors observed");
    Ok(())
}
