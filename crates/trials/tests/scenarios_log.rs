//! Scenarios of the log, of disks and of catching up, each under the id that docs/simulation.md
//! gives it; all that a trial checks is checked after every step.

use coracle_trials::cluster::lab::Lab;
use coracle_trials::cluster::{Failure, Trouble};

type Tried = Result<(), Failure>;

#[test]
fn s_26_a_longer_uncommitted_tail_is_cut() -> Tried {
    let mut lab = Lab::new(26, 3)?;
    let mut cut = 0;
    for _ in 0..4 {
        let leader = lab.leader()?;
        lab.serve(10)?;
        lab.part(&[leader]);
        let terms = lab.terms();
        lab.wait(5_000, |lab| lab.terms() > terms)?;
        lab.serve(5)?;
        lab.mend();
        lab.run(1_500)?;
        cut += 1;
    }
    let outcome = lab.finish()?;
    assert!(outcome.totals.truncations > 0, "no tail in {cut} rounds");
    Ok(())
}

#[test]
fn s_28_a_kill_around_the_cut_of_a_log() -> Tried {
    let mut lab = Lab::new(28, 3)?;
    for step in 0..8 {
        let leader = lab.leader()?;
        lab.serve(5)?;
        lab.part(&[leader]);
        let terms = lab.terms();
        lab.wait(5_000, |lab| lab.terms() > terms)?;
        lab.mend();
        lab.run(20 + 15 * step)?;
        lab.kill(leader);
        lab.start(leader);
        lab.run(500)?;
    }
    lab.finish()?;
    Ok(())
}

#[test]
fn s_30_a_follower_that_missed_several_terms_gets_them_in_order() -> Tried {
    let mut lab = Lab::new(30, 5)?;
    let away = lab.leader()?;
    lab.kill(away);
    for _ in 0..3 {
        let leader = lab.leader()?;
        lab.serve(10)?;
        lab.kill(leader);
        lab.leader()?;
        lab.start(leader);
        lab.run(1_500)?;
    }
    lab.start(away);
    let outcome = lab.finish()?;
    assert!(outcome.totals.replications > 0);
    Ok(())
}

#[test]
fn s_33_a_follower_catches_up_while_the_log_grows() -> Tried {
    let mut lab = Lab::with_settings(33, 3, "rate 200")?;
    let leader = lab.leader()?;
    let slow = lab.others(&[leader])[0];
    lab.kill(slow);
    lab.serve(300)?;
    lab.start(slow);
    let is_close = |lab: &Lab| lab.members()[slow].commit + 65_536 > lab.committed();
    lab.run(500)?;
    assert!(lab.wait(10_000, is_close)?, "{:?}", lab.members());
    lab.finish()?;
    Ok(())
}

#[test]
fn s_34_a_leader_whose_disk_is_slow_commits_no_more_than_it_has() -> Tried {
    let mut lab = Lab::with_settings(34, 3, "sync all")?;
    let leader = lab.leader()?;
    lab.serve(20)?;
    lab.ail(leader, Trouble::SlowDisk);
    lab.run(4_000)?;
    lab.finish()?;
    Ok(())
}

#[test]
fn s_35_a_commit_never_falls_when_members_drop_out() -> Tried {
    let mut lab = Lab::new(35, 5)?;
    let leader = lab.leader()?;
    for &follower in &lab.others(&[leader])[..2] {
        lab.serve(10)?;
        lab.pause(follower, 1_000);
    }
    lab.serve(20)?;
    lab.finish()?;
    Ok(())
}

#[test]
fn s_37_a_stuck_follower_does_not_hold_up_the_others() -> Tried {
    let mut lab = Lab::with_settings(37, 3, "rate 200")?;
    let leader = lab.leader()?;
    lab.serve(20)?;
    lab.pause(lab.others(&[leader])[0], 2_500);
    let before = lab.answered();
    lab.run(2_400)?;
    assert!(lab.answered() > before + 100, "{} answers", lab.answered() - before);
    lab.finish()?;
    Ok(())
}

#[test]
fn s_43_the_source_of_a_copy_dies_while_it_is_copied() -> Tried {
    let mut lab = Lab::with_settings(43, 5, "rate 100")?;
    let leader = lab.leader()?;
    let behind = lab.others(&[leader])[0];
    lab.kill(behind);
    lab.serve(200)?;
    for wait in [30, 60, 90] {
        let leader = lab.leader()?;
        lab.start(behind);
        lab.run(wait)?;
        lab.kill(leader);
        lab.leader()?;
        lab.start(leader);
        lab.kill(behind);
        lab.run(1_000)?;
    }
    lab.start(behind);
    lab.finish()?;
    Ok(())
}

#[test]
fn s_51_a_failed_sync_ends_its_member() -> Tried {
    let mut lab = Lab::with_settings(51, 3, "sync all")?;
    let leader = lab.leader()?;
    lab.serve(20)?;
    lab.ail(leader, Trouble::FailedSync);
    lab.run(4_000)?;
    let outcome = lab.finish()?;
    assert_eq!(outcome.totals.failed_sync_ends, 1);
    Ok(())
}

#[test]
fn s_52_failing_and_short_writes_and_failing_reads() -> Tried {
    for trouble in [Trouble::FailedWrite, Trouble::ShortWrite, Trouble::FailedRead] {
        let mut lab = Lab::new(52, 3)?;
        let leader = lab.leader()?;
        lab.serve(20)?;
        lab.ail(leader, trouble);
        lab.run(1_000)?;
        lab.kill(lab.others(&[leader])[0]);
        lab.serve(20)?;
        lab.finish()?;
    }
    Ok(())
}

#[test]
fn s_53_a_full_disk_of_the_leader() -> Tried {
    let mut lab = Lab::with_settings(53, 3, "rate 300")?;
    let leader = lab.leader()?;
    lab.serve(20)?;
    lab.ail(leader, Trouble::FullDisk);
    lab.run(4_000)?;
    lab.serve(20)?;
    lab.finish()?;
    Ok(())
}

#[test]
fn s_54_a_disk_that_does_not_answer_for_long() -> Tried {
    let mut lab = Lab::with_settings(54, 3, "sync all")?;
    let leader = lab.leader()?;
    lab.serve(20)?;
    lab.ail(leader, Trouble::StalledDisk);
    let before = lab.answered();
    lab.run(8_000)?;
    assert!(lab.answered() > before, "nobody was served");
    lab.finish()?;
    Ok(())
}

#[test]
fn s_61_files_whose_directory_was_not_synced_vanish() -> Tried {
    let mut lab = Lab::with_settings(61, 3, "sync data\nrate 200")?;
    lab.leader()?;
    for member in [0, 1, 2, 0, 1, 2] {
        lab.serve(60)?;
        lab.cut_power(member);
        lab.start(member);
        lab.run(1_000)?;
    }
    lab.finish()?;
    Ok(())
}
