//! Floor 2: the real world behind the ports of the runtime.
//!
//! Sockets, files, mapped memory, clocks, threads and signals of the operating system, and nothing
//! that knows what they are used for. [`ports`] gives a process all of it. Linux is the system that
//! it is made for; on other Unix systems datagrams cost one call each and waiting is plain sleep.

#![allow(unsafe_code)] // Calls of the C library; each block argues why it is sound.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // They are forbidden elsewhere.

pub mod background;
pub mod clock;
pub mod files;
pub mod interfaces;
mod mmap;
pub mod process;
#[cfg(target_os = "linux")]
mod readiness;
pub mod signal;
pub mod thread;
pub mod udp;
#[cfg(target_os = "linux")]
mod udp_linux;
mod udp_plain;

use std::fs;
use std::io::{self, Read as _};
use std::sync::Arc;

use runtime::Ports;

/// The ports of this process, with a seed of the caller's or one from the system.
///
/// # Errors
/// The system gives no random bytes or no means to wait on sockets.
pub fn ports(seed: Option<u64>) -> io::Result<Ports> {
    let files = Arc::new(files::OsFiles);
    Ok(Ports {
        network: Arc::new(udp::OsNetwork::new()?),
        files: files.clone(),
        workers: Arc::new(background::OsWorkers::new(files)),
        seed: seed.map_or_else(random_seed, Ok)?,
        process_id: i64::from(std::process::id()),
    })
}

fn random_seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// What a call that returns -1 on failure returned.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
