//! Scenarios of elections and terms, each under the id that docs/simulation.md gives it. The
//! time-out of leaders is 400 ms here; all that a trial checks is checked after every step.

use coracle_trials::cluster::lab::Lab;
use coracle_trials::cluster::{Failure, Trouble};

type Tried = Result<(), Failure>;

#[test]
fn s_01_cold_start_of_all() -> Tried {
    for members in [1, 3, 5] {
        let mut lab = Lab::new(1, members)?;
        lab.leader()?;
        lab.serve(50)?;
        assert_eq!(lab.terms(), 1);
        lab.finish()?;
    }
    Ok(())
}

#[test]
fn s_02_cold_start_of_a_quorum_waits_for_the_missing_one_first() -> Tried {
    let mut lab = Lab::new(2, 3)?;
    lab.kill(2);
    assert!(!lab.wait(900, |lab| lab.leading().is_some())?, "the canvass has not ended");
    lab.leader()?;
    lab.serve(20)?;
    lab.finish()?;
    Ok(())
}

#[test]
fn s_03_members_that_canvass_at_once_again_and_again_agree() -> Tried {
    let mut lab = Lab::new(3, 5)?;
    for _ in 0..4 {
        let leader = lab.leader()?;
        let terms = lab.terms();
        lab.kill(leader);
        assert!(lab.wait(6_000, |lab| lab.terms() > terms)?, "no other leader");
        lab.start(leader);
    }
    let elections: u64 = lab.members().iter().map(|member| member.elections).max().unwrap_or(0);
    assert!(elections < 40, "{elections} rounds");
    lab.finish()?;
    Ok(())
}

#[test]
fn s_04_the_better_log_wins() -> Tried {
    let mut lab = Lab::new(4, 3)?;
    let leader = lab.leader()?;
    let short = lab.others(&[leader])[0];
    lab.serve(20)?;
    lab.kill(short);
    lab.serve(50)?;
    lab.kill(leader);
    lab.run(1_000)?;
    lab.start(short);
    assert_ne!(lab.leader()?, short, "its log is shorter");
    lab.finish()?;
    Ok(())
}

#[test]
fn s_06_a_vote_survives_the_kill_of_who_gave_it() -> Tried {
    let mut lab = Lab::with_settings(6, 3, "voters yes\nsync all")?;
    for _ in 0..5 {
        let leader = lab.leader()?;
        let terms = lab.terms();
        lab.part(&[leader]);
        lab.wait(8_000, |lab| lab.terms() > terms)?;
        lab.mend();
        lab.run(500)?;
    }
    lab.finish()?;
    Ok(())
}

#[test]
fn s_07_a_vote_survives_the_power_cut_of_who_gave_it() -> Tried {
    let mut lab = Lab::with_settings(7, 3, "sync all")?;
    for round in 0..4 {
        let leader = lab.leader()?;
        let other = lab.others(&[leader])[round % 2];
        let term = lab.members()[leader].term;
        lab.part(&[leader]);
        lab.wait(5_000, |lab| lab.members()[other].term > term)?;
        lab.cut_power(other);
        lab.start(other);
        lab.mend();
        lab.run(1_000)?;
    }
    lab.finish()?;
    Ok(())
}

#[test]
fn s_09_an_old_leader_that_returns_steps_down() -> Tried {
    let mut lab = Lab::new(9, 3)?;
    let old = lab.leader()?;
    lab.serve(20)?;
    lab.part(&[old]);
    let terms = lab.terms();
    assert!(lab.wait(5_000, |lab| lab.terms() > terms)?, "the others elect");
    lab.mend();
    assert!(lab.wait(5_000, |lab| !lab.members()[old].is_leading)?, "two lead");
    lab.finish()?;
    Ok(())
}

#[test]
fn s_10_positions_of_an_old_term_move_no_commit() -> Tried {
    let mut lab = Lab::new(10, 3)?;
    let old = lab.leader()?;
    lab.serve(20)?;
    // What it appends alone is of a term that others leave behind.
    lab.part(&[old]);
    let terms = lab.terms();
    lab.wait(5_000, |lab| lab.terms() > terms)?;
    lab.serve(20)?;
    let others = lab.others(&[old]);
    lab.kill(others[0]);
    lab.mend();
    lab.serve(20)?;
    lab.finish()?;
    Ok(())
}

#[test]
fn s_11_entries_of_old_terms_are_not_committed_by_counting() -> Tried {
    let mut lab = Lab::new(11, 5)?;
    for _ in 0..4 {
        let leader = lab.leader()?;
        lab.run(300)?;
        let followers = lab.others(&[leader]);
        // One follower still gets what the leader appends, then the leader is gone.
        lab.part(&[leader, followers[0]]);
        lab.run(150)?;
        lab.kill(leader);
        lab.mend();
        lab.leader()?;
        lab.start(leader);
        lab.run(200)?;
    }
    lab.finish()?;
    Ok(())
}

#[test]
fn s_12_a_leader_with_a_minority_commits_nothing_and_steps_down() -> Tried {
    let mut lab = Lab::new(12, 5)?;
    let leader = lab.leader()?;
    lab.serve(20)?;
    let follower = lab.others(&[leader])[0];
    lab.part(&[leader, follower]);
    lab.run(20)?;
    let commit = lab.members()[leader].commit;
    assert!(lab.wait(1_500, |lab| !lab.members()[leader].is_leading)?, "it leads on");
    assert_eq!(lab.members()[leader].commit, commit);
    lab.finish()?;
    Ok(())
}

#[test]
fn s_13_a_leader_that_hears_nobody_loses_its_lead() -> Tried {
    let mut lab = Lab::new(13, 3)?;
    let leader = lab.leader()?;
    lab.silence(leader, false);
    assert!(lab.wait(6_000, |lab| lab.leading().is_some_and(|it| it != leader))?);
    lab.finish()?;
    Ok(())
}

#[test]
fn s_14_a_leader_that_nobody_hears_is_replaced() -> Tried {
    let mut lab = Lab::new(14, 3)?;
    let leader = lab.leader()?;
    lab.silence(leader, true);
    assert!(lab.wait(6_000, |lab| lab.leading().is_some_and(|it| it != leader))?);
    lab.finish()?;
    Ok(())
}

#[test]
fn s_15_a_member_that_was_alone_for_long_disturbs_at_most_once() -> Tried {
    let mut lab = Lab::new(15, 3)?;
    let leader = lab.leader()?;
    let alone = lab.others(&[leader])[0];
    lab.part(&[alone]);
    lab.run(10_000)?;
    let terms = lab.terms();
    lab.mend();
    lab.run(10_000)?;
    assert!(lab.terms() <= terms + 1, "{} terms after {terms}", lab.terms());
    lab.finish()?;
    Ok(())
}

#[test]
fn s_16_one_member_that_reaches_all_is_enough() -> Tried {
    let mut lab = Lab::new(16, 5)?;
    lab.leader()?;
    // All ways but those of member 2 are cut for good.
    for one in lab.others(&[2]) {
        for two in lab.others(&[2, one]) {
            lab.cut(one, two);
        }
    }
    assert!(lab.wait(15_000, |lab| lab.leading() == Some(2))?, "member 2 could lead");
    let terms = lab.terms();
    lab.serve(30)?;
    lab.run(10_000)?;
    assert!(lab.terms() <= terms + 1, "{} terms after {terms}", lab.terms());
    lab.finish()?;
    Ok(())
}

#[test]
fn s_17_a_flapping_leader_costs_few_elections_and_nothing_committed() -> Tried {
    for half in [200, 400, 440] {
        let mut lab = Lab::new(17, 3)?;
        let leader = lab.leader()?;
        lab.serve(20)?;
        let terms = lab.terms();
        lab.flap(leader, half, 10_000);
        lab.run(10_000)?;
        assert!(lab.terms() - terms <= 12, "{} elections", lab.terms() - terms);
        lab.finish()?;
    }
    Ok(())
}

#[test]
fn s_18_a_leader_that_ends_in_order_has_a_successor() -> Tried {
    let mut lab = Lab::new(18, 3)?;
    let leader = lab.leader()?;
    lab.serve(20)?;
    lab.stop(leader);
    assert!(lab.wait(3_000, |lab| lab.leading().is_some_and(|it| it != leader))?);
    lab.serve(20)?;
    lab.finish()?;
    Ok(())
}

#[test]
fn s_21_a_single_member_that_stalls_does_not_elect_itself_again() -> Tried {
    let mut lab = Lab::new(21, 1)?;
    lab.leader()?;
    lab.serve(20)?;
    lab.freeze(0, 30_000);
    lab.run(31_000)?;
    lab.set_clock(0, 600);
    lab.run(1_000)?;
    assert_eq!(lab.terms(), 1);
    lab.finish()?;
    Ok(())
}

#[test]
fn s_22_a_lost_quorum_comes_back_in_any_order() -> Tried {
    for first in 0..2 {
        let mut lab = Lab::new(22, 3)?;
        let leader = lab.leader()?;
        lab.serve(20)?;
        let followers = lab.others(&[leader]);
        followers.iter().for_each(|&member| lab.kill(member));
        lab.run(3_000)?;
        lab.start(followers[first]);
        lab.leader()?;
        lab.serve(20)?;
        lab.finish()?;
    }
    Ok(())
}

#[test]
fn s_23_all_lose_power_at_once_and_return_one_by_one() -> Tried {
    let mut lab = Lab::with_settings(23, 3, "sync all")?;
    lab.leader()?;
    lab.serve(60)?;
    for order in [[2, 0, 1], [0, 1, 2]] {
        (0..3).for_each(|member| lab.cut_power(member));
        for member in order {
            lab.run(4_000)?;
            lab.start(member);
        }
        lab.leader()?;
        lab.serve(20)?;
    }
    lab.finish()?;
    Ok(())
}

#[test]
fn s_24_an_election_during_a_snapshot() -> Tried {
    let mut lab = Lab::new(24, 3)?;
    for _ in 0..3 {
        let leader = lab.leader()?;
        lab.serve(40)?;
        lab.ask_for_snapshot();
        lab.run(5)?;
        lab.kill(leader);
        lab.leader()?;
        lab.start(leader);
        lab.run(1_000)?;
    }
    lab.finish()?;
    Ok(())
}

#[test]
fn s_25_a_leader_changes_while_clients_connect() -> Tried {
    let mut lab = Lab::new(25, 3)?;
    for _ in 0..5 {
        let leader = lab.leader()?;
        lab.kill_client();
        lab.run(50)?;
        lab.kill(leader);
        lab.run(20)?;
        lab.start(leader);
        lab.serve(10)?;
    }
    lab.finish()?;
    Ok(())
}

#[test]
fn s_62_a_member_that_lost_everything_comes_back_as_a_follower() -> Tried {
    let mut lab = Lab::new(62, 3)?;
    let leader = lab.leader()?;
    lab.serve(60)?;
    let lost = lab.others(&[leader])[0];
    assert!(lab.wait(5_000, |lab| lab.members()[lost].append >= lab.committed())?);
    lab.kill(lost);
    lab.wipe(lost);
    lab.start(lost);
    lab.serve(20)?;
    lab.finish()?;
    Ok(())
}

#[test]
fn s_63_a_member_restored_from_an_old_backup_catches_up() -> Tried {
    let mut lab = Lab::new(63, 3)?;
    let leader = lab.leader()?;
    let old = lab.others(&[leader])[0];
    lab.serve(20)?;
    let copy = lab.copy(old);
    lab.serve(60)?;
    lab.kill(leader);
    lab.leader()?;
    lab.start(leader);
    lab.serve(20)?;
    lab.run(2_000)?;
    lab.kill(old);
    lab.put_back(old, &copy);
    lab.start(old);
    lab.finish()?;
    Ok(())
}

#[test]
fn s_49_a_disk_that_lied_costs_its_member_a_catch_up_and_others_nothing() -> Tried {
    let mut lab = Lab::with_settings(49, 3, "sync all")?;
    let leader = lab.leader()?;
    let liar = lab.others(&[leader])[0];
    lab.serve(20)?;
    lab.ail(liar, Trouble::LyingDisk);
    lab.serve(60)?;
    lab.cut_power(liar);
    lab.start(liar);
    lab.serve(20)?;
    lab.finish()?;
    Ok(())
}
