//! What the consensus module does with its archive and the log's streams, action by action, over
//! real drivers and archives in a simulated world.

#![allow(clippy::unwrap_used)]

mod bed;

use bed::Bed;
use consensus::{ArchiveAction, ArchiveInput};
use wire::position::Position;

const START: Position = Position(0);

#[test]
fn a_leader_s_log_is_recorded_left_and_gone_on_with() {
    let mut bed = Bed::new(1, 1);
    assert_eq!(bed.leave(0), START);
    bed.lead(0, START);
    let (source, stream) = bed.nodes[0].log.log_source().unwrap();
    assert!(source.starts_with("aeron-spy:aeron:udp?"), "{source}");
    assert_eq!(stream, 100);
    let end = bed.append(0, 100);
    assert_eq!(bed.leave(0), end);
    bed.lead(0, end);
    let later = bed.append(0, 50);
    assert!(later > end);
    assert_eq!(bed.leave(0), later);
}

#[test]
fn a_recording_is_cut_and_gone_on_with() {
    let mut bed = Bed::new(2, 1);
    bed.lead(0, START);
    let kept = bed.append(0, 70);
    bed.append(0, 130);
    bed.leave(0);
    bed.perform(0, ArchiveAction::Truncate { position: kept });
    assert_eq!(bed.next(0), ArchiveInput::Truncated { position: kept });
    bed.lead(0, kept);
    let end = bed.append(0, 10);
    assert_eq!(bed.leave(0), end);
}

#[test]
fn an_archive_that_is_gone_is_told_once() {
    let mut bed = Bed::new(3, 1);
    bed.lead(0, START);
    bed.append(0, 3);
    bed.kill_archive(0);
    assert_eq!(bed.next(0), ArchiveInput::Lost);
    bed.run_millis(2_000);
    assert_eq!(bed.nodes[0].told, []);
}
