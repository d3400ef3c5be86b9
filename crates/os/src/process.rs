//! What one process is to another.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

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

/// Lets the kernel kill the child of this command when the thread that starts it ends, so that a
/// child is never left over, however its parent ends. Elsewhere than on Linux nothing is promised.
///
/// Start it from the main thread: another thread's end takes the child with it.
pub fn bind_to_parent(command: &mut Command) {
    let parent = std::process::id();
    // SAFETY: between fork and exec it only makes system calls: no lock is taken and nothing is
    // allocated, as a child of a process with threads must not.
    unsafe { command.pre_exec(move || die_with_parent(parent)) };
}

/// Asks a child to end, by SIGTERM. One that has ended already and was waited for is left alone.
///
/// # Errors
/// The system refuses, or the state of the child cannot be told.
pub fn terminate(child: &mut Child) -> io::Result<()> {
    if child.try_wait()?.is_some() {
        return Ok(());
    }
    let pid = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    // SAFETY: the call touches no memory of ours; the child was not waited for, so that its id
    // cannot have become another's.
    crate::check(unsafe { libc::kill(pid, libc::SIGTERM) })?;
    Ok(())
}

fn expect_parent(parent: u32) -> io::Result<()> {
    if std::os::unix::process::parent_id() == parent {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::ESRCH))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    #[test]
    fn a_child_that_is_asked_to_end_ends_by_that_signal() {
        let mut command = Command::new("sleep");
        bind_to_parent(command.arg("1000"));
        let mut child = command.spawn().unwrap();
        terminate(&mut child).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
        terminate(&mut child).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_child_is_killed_when_the_thread_that_started_it_ends() {
        let starter = std::thread::spawn(|| {
            let mut command = Command::new("sleep");
            bind_to_parent(command.arg("1000"));
            command.spawn().unwrap()
        });
        let mut child = starter.join().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    }
}
