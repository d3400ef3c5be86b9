//! `coracle describe`: all that files and counters tell of a member.

use std::fmt::Write as _;
use std::path::Path;

use coracle::cluster::counters::Gauge;
use coracle::cluster::recording_log::FILE_NAME;
use coracle::cluster_control::{ClusterControl, election_name, role_name, state_name, toggle_name};
use coracle::memory::buffer::AtomicBuffer;
use coracle::memory::error_log::read_errors;
use coracle::os;
use coracle::os::files::OsFiles;
use coracle::runtime::Now;
use coracle::runtime::files::Files as _;
use coracle::wire::bytes::Reader;
use coracle::wire::cluster::mark::ERROR_LOG_OFFSET;
use coracle::wire::cluster::recording_log::{ENTRY_ALIGNMENT, Entry, EntryKind};

use crate::Failure;
use crate::member::{Mark, Member, Place, read};
use crate::time::utc;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let member = arguments.place.find()?;
    print!("{}", description(&member, os::clock::now())?);
    Ok(())
}

fn description(member: &Member, now: Now) -> Result<String, Failure> {
    let mut text = String::new();
    if let Some(mark) = &member.mark {
        text += &life(mark, member.cluster_id, now);
    }
    if let Some(directory) = &member.cluster_directory {
        text += &format!("cluster    {}\n", directory.display());
    }
    text += &format!("driver     {}", member.aeron_directory.display());
    match ClusterControl::open(&member.aeron_directory, member.cluster_id) {
        Err(error) => text += &format!(": {error}\n"),
        Ok(control) if !control.is_alive(now) => text += ": not running\n",
        Ok(control) => text += &counters(&control),
    }
    if let Some(settings) = &member.settings {
        text += "members\n";
        for it in settings.members()? {
            let line = format!(
                "  {}: ingress {}, consensus {}, log {}, catchup {}, archive {}\n",
                it.id.0, it.ingress, it.consensus, it.log, it.catchup, it.archive
            );
            text += &line;
        }
    }
    if let Some(directory) = &member.cluster_directory {
        text += &recording_log(directory)?;
        text += &errors(directory)?;
    }
    Ok(text)
}

/// What module and services have noted in their mark files.
fn errors(directory: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    for file in OsFiles.list(directory)? {
        let is_mark = file.name.starts_with("cluster-mark") && file.name.ends_with(".dat");
        if !is_mark || file.length <= ERROR_LOG_OFFSET as u64 {
            continue;
        }
        let mapping = OsFiles.map(&directory.join(&file.name))?;
        let whole = AtomicBuffer::new(mapping.region().clone());
        let log = whole.slice(ERROR_LOG_OFFSET, whole.length() - ERROR_LOG_OFFSET);
        for error in read_errors(&log) {
            let last = utc(error.last_seen_ms);
            let (name, count) = (&file.name, error.count);
            text += &format!("{name}: {count} times, last {last}: {}\n", error.text);
        }
    }
    Ok(text)
}

fn life(mark: &Mark, cluster_id: i32, now: Now) -> String {
    let Mark { member_id, process_id, activity_ms, start_ms, .. } = mark;
    let sign = match activity_ms {
        -1 => "ended in order".to_string(),
        _ => format!("last sign of life {} ms ago", now.epoch_millis() - activity_ms),
    };
    let start = utc(*start_ms);
    let who = format!("member {member_id} of cluster {cluster_id}");
    format!("{who}: process {process_id}, started {start}, {sign}\n")
}

fn counters(control: &ClusterControl) -> String {
    let Some(role) = control.role() else {
        return ": running, without a consensus module\n".to_string();
    };
    let show = |gauge| control.value(gauge).map_or_else(|| "?".into(), |it| it.to_string());
    let word =
        |gauge, name: fn(i64) -> String| control.value(gauge).map_or_else(|| "?".into(), name);
    format!(
        ": running\n\
         role       {}, module {}, election {}, toggle {}\n\
         term       {}, committed to {}\n\
         so far     {} elections, {} snapshots, {} errors, {} clients timed out\n",
        role_name(role),
        word(Gauge::ModuleState, state_name),
        word(Gauge::ElectionState, election_name),
        word(Gauge::ControlToggle, toggle_name),
        show(Gauge::LeadershipTermId),
        show(Gauge::CommitPosition),
        show(Gauge::ElectionCount),
        show(Gauge::SnapshotCount),
        show(Gauge::Errors),
        show(Gauge::TimedOutClients),
    )
}

/// The entries as they stand in the file. Nothing is made or repaired.
fn recording_log(directory: &Path) -> Result<String, Failure> {
    let path = directory.join(FILE_NAME);
    if OsFiles.entry(&path)?.is_none() {
        return Ok(format!("there is no {FILE_NAME}\n"));
    }
    let bytes = read(&path)?;
    Ok(entries(&bytes))
}

fn entries(bytes: &[u8]) -> String {
    let mut text = format!("{FILE_NAME}\n");
    let mut reader = Reader::new(bytes);
    while !reader.rest().is_empty() {
        let head = &reader.rest()[..reader.rest().len().min(ENTRY_ALIGNMENT)];
        if head.iter().all(|&byte| byte == 0) {
            text += "  torn from here on\n";
            break;
        }
        match Entry::read(&mut reader) {
            Ok(Some(entry)) => line(&mut text, &entry),
            Ok(None) => text += "  removed\n",
            Err(error) => {
                text += &format!("  damaged from here on: {error}\n");
                break;
            }
        }
    }
    text
}

fn line(text: &mut String, entry: &Entry<'_>) {
    let Entry { recording_id, leadership_term_id: term, log_position: position, .. } = entry;
    let what = match entry.kind {
        EntryKind::Term => {
            let end = if *position == -1 { "open".into() } else { format!("to {position}") };
            format!("term {term} from {}, {end}", entry.term_base_log_position)
        }
        EntryKind::Snapshot => {
            let whose = whose(entry.service_id);
            format!("snapshot of {whose} at {position} in term {term}")
        }
        EntryKind::StandbySnapshot { archive_endpoint } => {
            let endpoint = String::from_utf8_lossy(archive_endpoint);
            let whose = whose(entry.service_id);
            format!("snapshot of {whose} at {position} in term {term}, at {endpoint}")
        }
        EntryKind::Unknown(kind) => format!("kind {kind}"),
    };
    let invalid = if entry.is_valid { "" } else { ", invalid" };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "  {what}, recording {recording_id}, time {}{invalid}", entry.timestamp);
}

fn whose(service_id: i32) -> String {
    if service_id == -1 { "the module".to_string() } else { format!("service {service_id}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: EntryKind<'_>) -> Entry<'_> {
        Entry {
            recording_id: 4,
            leadership_term_id: 2,
            term_base_log_position: 64,
            log_position: -1,
            timestamp: 9,
            service_id: -1,
            kind,
            is_valid: true,
        }
    }

    #[test]
    fn entries_are_told_as_they_stand_in_the_file() {
        let mut text = String::new();
        line(&mut text, &entry(EntryKind::Term));
        let snapshot = Entry { log_position: 640, is_valid: false, ..entry(EntryKind::Snapshot) };
        line(&mut text, &snapshot);
        assert_eq!(
            text,
            "  term 2 from 64, open, recording 4, time 9\n  \
             snapshot of the module at 640 in term 2, recording 4, time 9, invalid\n"
        );
        assert_eq!(entries(&[0; 128]), "recording.log\n  torn from here on\n");
        assert!(entries(&[1; 20]).contains("damaged from here on"));
    }
}
