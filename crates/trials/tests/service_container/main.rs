//! A service container and a client of the cluster, against a consensus module that is scripted
//! here, over a real driver in a simulated world.
//!
//! The module of these tests is written from the seam's description (docs/cluster-protocol.md): it
//! shares no code with the parties under test but the wire.

#![allow(clippy::unwrap_used)]

mod bed;
mod module;

use bed::Bed;
use cluster_client::{EgressEvent, ExactlyOnce, ExactlyOnceOptions};
use runtime::Halt;
use wire::cluster::Role;

#[test]
fn a_client_is_answered_by_the_service_of_the_leader() {
    let mut bed = Bed::led(1, Role::Leader);
    let mut client = bed.connect_client();
    client.offer_parts(&[b"hel", b"lo"]).unwrap();
    assert_eq!(bed.answer(&mut client), b"echo hello");
}

#[test]
fn a_client_is_answered_whose_session_and_message_are_read_at_once() {
    let mut bed = Bed::led(13, Role::Leader);
    bed.module.commits = false;
    let mut client = bed.connect_client();
    client.offer(b"hello").unwrap();
    assert!(!bed.until(|bed| bed.gauge("echoes") == Some(1)));
    bed.module.commits = true;
    assert_eq!(bed.answer(&mut client), b"echo hello");
}

#[test]
fn the_service_of_a_follower_reads_the_log_and_says_nothing() {
    let mut bed = Bed::led(2, Role::Follower);
    let mut client = bed.connect_client();
    client.offer(b"hello").unwrap();
    assert!(bed.until(|bed| bed.gauge("echoes") == Some(1)));
    assert!(!bed.until(|bed| {
        let _ = client.do_work(bed.now()).unwrap();
        client.poll(10, bed.now(), |_| {}) > 0
    }));
}

#[test]
fn nothing_is_read_beyond_the_commit_position() {
    let mut bed = Bed::led(3, Role::Leader);
    let mut client = bed.connect_client();
    bed.module.commits = false;
    client.offer(b"hello").unwrap();
    assert!(!bed.until(|bed| bed.gauge("echoes") == Some(1)));
    bed.module.commits = true;
    assert_eq!(bed.answer(&mut client), b"echo hello");
}

#[test]
fn requests_of_the_service_reach_the_module_and_its_timers_come_back() {
    let mut bed = Bed::led(4, Role::Leader);
    let mut client = bed.connect_client();
    client.offer(b"timer").unwrap();
    assert_eq!(bed.answer(&mut client), b"echo timer");
    assert!(bed.until(|bed| bed.module.timers == [(7, 1_000)]));
    bed.module.fire(7);
    assert!(bed.until(|bed| bed.gauge("timers") == Some(1)));
}

#[test]
fn a_snapshot_without_an_archive_is_acknowledged_as_failed() {
    let mut bed = Bed::led(5, Role::Leader);
    let position = bed.module.snapshot();
    assert!(bed.until(|bed| bed.module.acks.len() == 3));
    let ack = bed.module.acks[2];
    assert_eq!((ack.log_position, ack.ack_id, ack.relevant_id), (position, 2, -1));
    let mut client = bed.connect_client();
    client.offer(b"hello").unwrap();
    assert_eq!(bed.answer(&mut client), b"echo hello");
}

#[test]
fn a_container_joins_the_next_log_where_the_last_one_ended() {
    let mut bed = Bed::led(6, Role::Leader);
    let mut client = bed.connect_client();
    client.offer(b"hello").unwrap();
    assert_eq!(bed.answer(&mut client), b"echo hello");
    bed.module.end_log();
    bed.join(Role::Leader);
    let position = bed.module.log_position();
    assert!(bed.until(|bed| bed.module.acks.len() == 3));
    assert_eq!((bed.module.acks[2].log_position, bed.module.acks[2].ack_id), (position, 2));
    client.offer(b"again").unwrap();
    assert_eq!(bed.answer(&mut client), b"echo again");
}

/// A log ends in the middle of a long message, the next one is left in the middle of it too, and
/// the one after it begins where that did.
#[test]
fn the_middle_of_a_message_that_comes_again_is_not_taken_twice() {
    let mut bed = Bed::led(14, Role::Leader);
    let mut client = bed.connect_client();
    let payload: Vec<u8> = (0..3_000_u32).map(|it| it.to_le_bytes()[0]).collect();
    let message = bed.module.session_message(1, &payload);
    let parts: Vec<&[u8]> = message.chunks(1_024).collect();
    bed.module.append_part(parts[0], 0x80);
    bed.module.end_log();
    bed.join(Role::Leader);
    assert!(bed.until(|bed| bed.module.acks.len() == 3));
    let position = bed.module.log_position();
    bed.module.append_part(parts[1], 0);
    (0..50).for_each(|_| bed.step());
    bed.module.leave_log(position);
    bed.join(Role::Leader);
    assert!(bed.until(|bed| bed.module.acks.len() == 4));
    assert_eq!(bed.module.acks[3].log_position, position);
    bed.module.append_part(parts[1], 0);
    bed.module.append_part(parts[2], 0x40);
    assert_eq!(bed.answer(&mut client), [b"echo ", &payload[..]].concat());
}

#[test]
fn a_container_terminates_as_the_module_asks() {
    let mut bed = Bed::led(7, Role::Leader);
    bed.module.terminate();
    assert!(bed.until(|bed| bed.module.acks.len() == 3));
    assert!(bed.until(|bed| !bed.halts().is_empty()));
    assert_eq!(bed.halts(), [("clustered-service-0-0".to_string(), Halt::Terminated)]);
}

#[test]
fn a_client_follows_a_new_leader_and_keeps_its_session() {
    let mut bed = Bed::led(8, Role::Leader);
    let mut client = bed.connect_client();
    let session = client.session_id();
    bed.module.keep_alives.clear();
    bed.module.announce_leader(9);
    let mut heard = 0;
    assert!(bed.until(|bed| {
        let _ = client.do_work(bed.now()).unwrap();
        client.poll(10, bed.now(), |event| {
            heard += usize::from(matches!(event, EgressEvent::NewLeader { .. }));
        });
        heard == 1 && client.is_connected()
    }));
    assert!(bed.until(|bed| !bed.module.keep_alives.is_empty()));
    assert_eq!(bed.module.keep_alives, [9]);
    assert_eq!((client.session_id(), client.leadership_term_id()), (session, Some(9)));
    client.offer(b"hello").unwrap();
    assert_eq!(bed.answer(&mut client), b"echo hello");
}

#[test]
fn a_client_keeps_an_idle_session_alive() {
    let mut bed = Bed::led(9, Role::Leader);
    let mut client = bed.connect_client();
    bed.module.keep_alives.clear();
    assert!(bed.until(|bed| {
        let _ = client.do_work(bed.now()).unwrap();
        bed.module.keep_alives.len() == 3
    }));
}

#[test]
fn numbered_messages_survive_the_loss_of_the_session() {
    let mut bed = Bed::led(10, Role::Leader);
    let client = bed.connect_client();
    let mut client = ExactlyOnce::new(client, ExactlyOnceOptions::new(77));
    bed.module.drops_messages = true;
    client.submit(b"one").unwrap();
    client.submit(b"two").unwrap();
    let mut answers = Vec::new();
    for _ in 0..50 {
        let _ = client.do_work(bed.now()).unwrap();
        bed.step();
    }
    bed.module.drops_messages = false;
    bed.module.close_session(1);
    assert!(bed.until(|bed| {
        let _ = client.do_work(bed.now()).unwrap();
        client
            .poll(10, bed.now(), |number, answer| answers.push((number, answer.to_vec())))
            .unwrap();
        answers.len() == 2
    }));
    assert_eq!(answers, [(1, b"echo one".to_vec()), (2, b"echo two".to_vec())]);
    assert_eq!((client.sessions_lost(), client.cluster().session_id()), (1, Some(2)));
}

#[test]
fn a_snapshot_brings_service_and_sessions_back() {
    let mut bed = Bed::led(11, Role::Leader);
    bed.start_archive();
    let mut client = bed.connect_client();
    client.offer(b"hello").unwrap();
    assert_eq!(bed.answer(&mut client), b"echo hello");
    let position = bed.module.snapshot();
    assert!(bed.until(|bed| bed.module.acks.len() == 3));
    let ack = bed.module.acks[2];
    assert_eq!((ack.log_position, ack.ack_id), (position, 2));
    assert!(ack.relevant_id >= 0, "no snapshot was recorded");
    bed.restart_container(ack.relevant_id, position);
    assert!(bed.until(|bed| bed.module.acks.len() == 1));
    let started = bed.module.acks[0];
    assert_eq!((started.log_position, started.ack_id), (position, 0));
    assert!(started.relevant_id >= 0, "the service did not start");
    assert!(bed.until(|bed| bed.gauge("echoes") == Some(1)));
    bed.join(Role::Leader);
    assert!(bed.until(|bed| bed.module.acks.len() == 2));
    client.offer(b"again").unwrap();
    assert_eq!(bed.answer(&mut client), b"echo again");
    assert!(bed.until(|bed| bed.gauge("echoes") == Some(2)));
}

#[test]
fn a_snapshot_that_is_not_there_keeps_the_service_from_starting() {
    let mut bed = Bed::led(12, Role::Leader);
    bed.start_archive();
    bed.restart_container(99, 0);
    assert!(bed.until(|bed| bed.module.acks.len() == 1));
    assert_eq!(bed.module.acks[0].relevant_id, -1);
    assert!(bed.until(|bed| !bed.halts().is_empty()));
    assert!(matches!(&bed.halts()[0].1, Halt::Failed(cause) if cause.contains("snapshot")));
}
