//! Looks at the counters of a driver, from outside.

use std::path::Path;

use memory::buffer::AtomicBuffer;
use memory::counters::CountersReader;
use runtime::Ports;
use wire::cnc::{self, Header};

/// The counters of the driver in `directory`.
pub(crate) fn open(ports: &Ports, directory: &str) -> Result<CountersReader, String> {
    let path = Path::new(directory).join(cnc::FILE_NAME);
    let mapping = ports.files.map(&path).map_err(|error| error.to_string())?;
    let whole = AtomicBuffer::new(mapping.region().clone());
    let mut bytes = [0; cnc::HEADER_LENGTH];
    whole.copy_out(0, &mut bytes);
    let header = Header::decode(&bytes).map_err(|error| error.to_string())?;
    let sections = header.sections(whole.length()).map_err(|error| error.to_string())?;
    let part = |section: cnc::Section| whole.slice(section.offset, section.length);
    Ok(CountersReader::new(part(sections.counters_metadata), part(sections.counters_values)))
}
