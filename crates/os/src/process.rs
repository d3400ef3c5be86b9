//! What one process is to another.

use std::io;

/// Lets the kernel kill this process when its parent dies: for children that must not be left over.
///
/// `parent` is the id of the parent as it told its child; if it is dead already, that is an error.
///
/// # Errors
/// The parent is another by now, or the system cannot do it.
#[cfg(target_os = "linux")]
pub fn die_with_parent(parent: u32) -> io::Result<()> {
    // SAFETY: the option takes one number and touches no memory of ours.
    let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    crate::check(result)?;
    expect_parent(parent)
}

/// As on Linux, but only the state of things now is checked.
///
/// # Errors
/// The parent is another by now.
#[cfg(not(target_os = "linux"))]
pub fn die_with_parent(parent: u32) -> io::Result<()> {
    expect_parent(parent)
}

fn expect_parent(parent: u32) -> io::Result<()> {
    if std::os::unix::process::parent_id() == parent {
        Ok(())
    } else {
        Err(io::Error::other("the parent process has ended"))
    }
}
