//! The recorded logs of members, to be compared.

use std::path::Path;

/// Length of a frame's header.
const HEADER: usize = 32;
/// Where session and stream stand in it: those by which this archive received the frame, live or
/// replayed.
const STREAM: std::ops::Range<usize> = 12..20;
/// Where its type stands in it.
const TYPE: usize = 6;
const PADDING: u8 = 0;

/// The log in a node's directory, from its start to `position`.
///
/// # Errors
/// It is shorter, or cannot be read.
pub(crate) fn read(home: &Path, position: i64) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", home.display());
    let entries = std::fs::read(home.join("cluster").join("recording.log")).map_err(failed)?;
    let id = entries.first_chunk().copied().map(i64::from_le_bytes).ok_or("no term")?;
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(home.join("archive")).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let parts = name.strip_suffix(".rec").and_then(|name| name.split_once('-'));
        let Some((recording, base)) = parts else { continue };
        if recording.parse() == Ok(id) {
            segments.push((base.parse::<i64>().map_err(|error| error.to_string())?, path));
        }
    }
    segments.sort();
    let mut log = Vec::new();
    for (base, path) in segments {
        if usize::try_from(base) != Ok(log.len()) {
            return Err(format!("{} does not follow at {}", path.display(), log.len()));
        }
        log.extend(std::fs::read(path).map_err(failed)?);
    }
    let length = usize::try_from(position).map_err(|error| error.to_string())?;
    if log.len() < length {
        return Err(format!("{}: the log ends at {}", home.display(), log.len()));
    }
    log.truncate(length);
    Ok(log)
}

/// Whether two logs are equal, frame by frame and byte by byte, but for the stream by which they
/// came and what stands in padding.
///
/// # Errors
/// Where they differ.
pub(crate) fn compare(one: &[u8], other: &[u8]) -> Result<(), String> {
    let mut at = 0;
    while at < one.len().max(other.len()) {
        let (frame, same) = (frame(one, at)?, frame(other, at)?);
        let is_padding = frame.get(TYPE) == Some(&PADDING);
        let length = if is_padding { HEADER } else { frame.len() };
        let differs = (0..length)
            .filter(|byte| !STREAM.contains(byte))
            .find(|&byte| frame.get(byte) != same.get(byte));
        if let Some(byte) = differs {
            return Err(format!("the frame at {at} differs in byte {byte}"));
        }
        at += frame.len().next_multiple_of(HEADER);
    }
    Ok(())
}

fn frame(log: &[u8], at: usize) -> Result<&[u8], String> {
    let rest = log.get(at..).unwrap_or_default();
    let length = rest.first_chunk().copied().map_or(0, i32::from_le_bytes);
    let length = usize::try_from(length).unwrap_or(0);
    let frame = rest.get(..length).filter(|frame| frame.len() >= HEADER);
    frame.ok_or_else(|| format!("no frame at {at}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Vec<u8> {
        let mut frame = vec![7; 64];
        frame[..4].copy_from_slice(&40_i32.to_le_bytes());
        [frame.clone(), frame].concat()
    }

    #[test]
    fn logs_are_equal_but_for_the_stream_by_which_they_came() {
        let mut other = log();
        (other[12], other[64 + 19]) = (9, 9);
        assert_eq!(compare(&log(), &other), Ok(()));
        other[64 + 33] = 9;
        assert_eq!(compare(&log(), &other), Err("the frame at 64 differs in byte 33".into()));
        assert!(compare(&log(), &log()[..64]).is_err());
    }
}
