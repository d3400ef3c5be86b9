//! Scenarios of what members keep and lose: logs that were purged, votes, directories in the wrong
//! place. Each under the id that docs/simulation.md gives it.

use archive_client::SourceLocation;
use coracle_trials::cluster::lab::Lab;
use coracle_trials::cluster::{Failure, Part};
use wire::position::Position;

type Tried = Result<(), Failure>;

/// Bytes of a segment of the log.
const SEGMENT: i64 = 128 << 10;

/// Purges the front of the log of a member up to its newest snapshot.
fn purge(lab: &mut Lab, member: usize, to: i64) -> Tried {
    let base = to / SEGMENT * SEGMENT;
    let purged =
        lab.ask_archive(member, move |archive| archive.purge_segments(0, Position(base)))?;
    assert!(purged.is_ok_and(|count| count > 0), "nothing was purged");
    Ok(())
}

/// A cluster with a snapshot beyond the first segments of its log.
fn with_a_long_log(seed: u64) -> Result<Lab, Failure> {
    let mut lab = Lab::with_settings(seed, 3, "snapshots 0\nrate 400\nclients 4")?;
    lab.leader()?;
    assert!(lab.wait(60_000, |lab| lab.committed() > 3 * SEGMENT)?, "{}", lab.committed());
    Ok(lab)
}

#[test]
fn s_31_a_follower_that_needs_what_was_purged_stays_out_and_says_so() -> Tried {
    let mut lab = with_a_long_log(31)?;
    let leader = lab.leader()?;
    let behind = lab.others(&[leader])[0];
    lab.kill(behind);
    let had = lab.members()[behind].commit;
    lab.wipe(behind);
    lab.ask_for_snapshot();
    lab.run(1_000)?;
    let committed = lab.committed();
    for member in [leader, lab.others(&[leader, behind])[0]] {
        purge(&mut lab, member, committed)?;
    }
    lab.may_end(behind);
    lab.start(behind);
    let answered = lab.answered();
    lab.run(8_000)?;
    assert!(lab.answered() > answered + 100, "the others serve on");
    let seen = lab.members()[behind];
    assert!(seen.append == 0 && seen.commit == 0 && had >= 0, "it skips what it lacks: {seen:?}");
    let errors = lab.errors(leader);
    assert!(errors.contains("position"), "nobody says why: {errors:?}");
    Ok(())
}

#[test]
fn s_32_two_of_three_that_lost_everything_begin_no_history_of_their_own() -> Tried {
    let mut lab = with_a_long_log(32)?;
    let leader = lab.leader()?;
    lab.serve(20)?;
    let lost = lab.others(&[leader]);
    for &member in &lost {
        assert!(lab.wait(5_000, |lab| lab.members()[member].append >= lab.committed())?);
    }
    lost.iter().for_each(|&member| lab.kill(member));
    // What they have told of is committed meanwhile.
    lab.run(1_000)?;
    lost.iter().for_each(|&member| lab.wipe(member));
    lost.iter().for_each(|&member| lab.start(member));
    assert_eq!(lab.leader()?, leader, "its log is the only one");
    lab.serve(50)?;
    lab.finish()?;
    Ok(())
}

#[test]
fn s_44_recordings_of_the_same_session_and_stream_are_told_apart_by_their_ids() -> Tried {
    let mut lab = Lab::new(44, 3)?;
    let leader = lab.leader()?;
    let victim = lab.others(&[leader])[0];
    lab.serve(20)?;
    let log = lab.ask_archive(victim, |archive| archive.list_recording(0))?;
    let log = log.ok().flatten().expect("the log is recorded");
    let channel = format!("aeron:ipc?session-id={}|term-length=64k", log.session_id.0);
    let stream = log.stream_id;
    for round in 0..2 {
        let (channel, mut begun, mut publication, mut passes) = (channel.clone(), None, None, 0);
        let made = lab.operate(victim, move |handle, archive| {
            publication.get_or_insert_with(|| handle.add_exclusive_publication(&channel, stream));
            begun.get_or_insert_with(|| {
                archive.start_recording(&channel, stream, SourceLocation::Local, true)
            });
            // Long enough for the recording to begin.
            passes += 1;
            (passes > 200).then_some(Ok(()))
        })?;
        assert_eq!(made, Ok(()));
        let second = 1 + round;
        let known = lab.ask_archive(victim, move |archive| archive.list_recording(second))?;
        let known = known.ok().flatten().expect("another recording");
        assert_eq!((known.session_id, known.stream_id), (log.session_id, stream));
        lab.kill(victim);
        lab.start(victim);
        lab.serve(20)?;
    }
    lab.kill(leader);
    lab.leader()?;
    lab.start(leader);
    lab.finish()?;
    Ok(())
}

#[test]
fn s_50_disks_of_a_majority_lied_and_whoever_did_not_makes_it_good() -> Tried {
    let mut lab = Lab::with_settings(50, 3, "sync all\nsnapshots 0")?;
    let leader = lab.leader()?;
    lab.serve(20)?;
    let liars = lab.others(&[leader]);
    let truths: Vec<_> = liars.iter().map(|&member| lab.copy(member)).collect();
    lab.serve(60)?;
    for (&member, truth) in liars.iter().zip(&truths) {
        lab.cut_power(member);
        lab.put_back(member, truth);
        lab.start(member);
    }
    assert_eq!(lab.leader()?, leader);
    lab.serve(20)?;
    lab.finish()?;
    Ok(())
}

#[test]
fn s_64_the_directory_of_another_member_is_refused() -> Tried {
    let mut lab = Lab::new(64, 3)?;
    let leader = lab.leader()?;
    let (one, two) = (lab.others(&[leader])[0], lab.others(&[leader])[1]);
    lab.serve(20)?;
    let own = lab.copy(two);
    lab.kill(two);
    let foreign = lab.copy(one);
    lab.put_back(two, &foreign);
    let refused = lab.try_start(two)?.unwrap_or_default();
    assert!(refused.contains(&format!("member {one}")), "{refused:?}");
    lab.put_back(two, &own);
    lab.start(two);
    lab.finish()?;
    Ok(())
}

#[test]
fn s_66_shared_memory_that_is_wiped_under_a_member_is_made_anew_by_the_next() -> Tried {
    let mut lab = Lab::new(66, 3)?;
    let leader = lab.leader()?;
    lab.serve(20)?;
    for member in [leader, lab.others(&[leader])[0]] {
        lab.may_end(member);
        lab.remove_shared_memory(member);
        lab.run(1_000)?;
        lab.kill(member);
        lab.start(member);
        lab.serve(20)?;
    }
    lab.finish()?;
    Ok(())
}

#[test]
fn s_90_a_leader_whose_archive_stands_still_leads_no_more() -> Tried {
    let mut tried = false;
    for seed in (90..).step_by(1_000).take(8) {
        let mut lab = Lab::new(seed, 3)?;
        let leader = lab.leader()?;
        lab.serve(20)?;
        lab.may_end(leader);
        if !lab.starve(leader, Part::Archive, 20_000) {
            continue;
        }
        tried = true;
        let answered = lab.answered();
        lab.run(15_000)?;
        assert!(lab.leading().is_some_and(|it| it != leader), "it leads on");
        assert!(lab.answered() > answered, "nobody serves");
        lab.kill(leader);
        lab.start(leader);
        lab.finish()?;
        break;
    }
    assert!(tried);
    Ok(())
}

#[test]
fn s_91_a_member_whose_driver_dies_ends_and_comes_back() -> Tried {
    let mut tried = false;
    for seed in (91..).step_by(1_000).take(8) {
        let mut lab = Lab::new(seed, 3)?;
        let leader = lab.leader()?;
        lab.serve(20)?;
        lab.may_end(leader);
        let lives = lab.lives(leader);
        if !lab.starve(leader, Part::Driver, 40_000) {
            continue;
        }
        tried = true;
        let is_over = |lab: &Lab| lab.lives(leader) > lives || !lab.is_up(leader);
        assert!(lab.wait(30_000, is_over)?, "it goes on without a driver");
        lab.serve(20)?;
        lab.finish()?;
        break;
    }
    assert!(tried);
    Ok(())
}

#[test]
fn s_93_a_member_without_room_for_its_files_says_so_and_leaves_nothing_half_made() -> Tried {
    let mut lab = Lab::new(93, 3)?;
    let leader = lab.leader()?;
    let poor = lab.others(&[leader])[0];
    lab.serve(20)?;
    for _ in 0..3 {
        lab.kill(poor);
        lab.fill_disk(poor);
        let refused = lab.try_start(poor)?;
        assert!(refused.is_some_and(|what| what.contains("driver:")), "it starts without room");
        lab.cure(poor);
        lab.start(poor);
        lab.serve(20)?;
    }
    lab.finish()?;
    Ok(())
}

#[test]
fn s_40_members_with_other_terms_and_datagrams_lead_the_log_as_it_began() -> Tried {
    let settings = "snapshots 0\nlog-channel-of 1 aeron:udp?term-length=128k\n\
                    log-channel-of 2 aeron:udp?term-length=64k|mtu=4096";
    let mut lab = Lab::with_settings(40, 3, settings)?;
    let mut led = Vec::new();
    for _ in 0..6 {
        let leader = lab.leader()?;
        led.push(leader);
        lab.serve(30)?;
        lab.kill(leader);
        lab.leader()?;
        lab.start(leader);
        lab.run(1_500)?;
    }
    led.sort_unstable();
    led.dedup();
    assert!(led.len() > 1, "one led all the time");
    lab.finish()?;
    Ok(())
}

#[test]
fn s_08_a_member_without_the_file_of_its_votes_does_not_start() -> Tried {
    let mut lab = Lab::new(8, 3)?;
    let leader = lab.leader()?;
    let victim = lab.others(&[leader])[0];
    lab.serve(20)?;
    lab.kill(victim);
    let whole = lab.copy(victim);
    assert!(lab.remove(victim, "/cluster/node-state.dat"));
    for _ in 0..2 {
        let refused = lab.try_start(victim)?.unwrap_or_default();
        assert!(refused.contains("node-state.dat"), "{refused:?}");
    }
    lab.put_back(victim, &whole);
    lab.start(victim);
    lab.serve(20)?;
    lab.finish()?;
    Ok(())
}
