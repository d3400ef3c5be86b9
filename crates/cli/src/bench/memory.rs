//! Memory that a process has for itself.

use crate::Failure;

/// Bytes in memory of mappings that are private to a process: its code, heap and stacks, not the
/// files that it shares with others, or could share.
///
/// # Errors
/// The system does not tell.
pub(crate) fn private_bytes(process: u32) -> Result<u64, Failure> {
    let path = format!("/proc/{process}/smaps");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    private_kib(&text).map(|kib| kib * 1024).ok_or_else(|| format!("{path}: no mapping").into())
}

/// Writes to every page of so many bytes and gives them back: what is taken next is in memory.
pub(crate) fn touch(length: usize) {
    drop(std::hint::black_box(vec![1_u8; length]));
}

/// From the text of `/proc/ID/smaps`; `None` without a private mapping.
fn private_kib(text: &str) -> Option<u64> {
    let mut is_private = false;
    let mut sum = None;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match (words.next()?, words.next()?) {
            ("Private_Clean:" | "Private_Dirty:", kib) if is_private => {
                sum = Some(sum.unwrap_or(0) + kib.parse::<u64>().ok()?);
            }
            (name, _) if name.ends_with(':') => {}
            (_range, permissions) => is_private = permissions.ends_with('p'),
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use coracle::os;
    use coracle::runtime::Nanos;

    use super::*;

    #[test]
    fn what_is_mapped_to_be_shared_does_not_count_though_nobody_shares_it() {
        let text = "55d0c0000000-55d0c0021000 rw-p 00000000 00:00 0      [heap]\n\
                    Rss:                 132 kB\nShared_Clean:          4 kB\n\
                    Private_Clean:         8 kB\nPrivate_Dirty:       120 kB\n\
                    VmFlags: rd wr mr mw me ac\n\
                    7f0000000000-7f0000100000 rw-s 00000000 00:1a 99   /dev/shm/x/1.logbuffer\n\
                    Private_Clean:         0 kB\nPrivate_Dirty:      1024 kB\n";
        assert_eq!(private_kib(text), Some(128));
        assert_eq!(private_kib(""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_that_is_written_is_seen() {
        let before = private_bytes(std::process::id()).unwrap();
        let block = vec![1_u8; 32 << 20];
        // While a test beside this one forks, its child shares every page until it runs another
        // program, and no page is private.
        let deadline = os::clock::now_mono() + Nanos::from_secs(10);
        loop {
            let after = private_bytes(std::process::id()).unwrap();
            if after >= before + (16 << 20) {
                break;
            }
            assert!(os::clock::now_mono() < deadline, "{before} {after}");
        }
        drop(std::hint::black_box(block));
    }
}
