//! Scenarios of what rots and what lands elsewhere, each under the id that docs/simulation.md gives
//! it; all that a trial checks is checked after every step.

use coracle_trials::cluster::lab::Lab;
use coracle_trials::cluster::{Failure, Trouble};

type Tried = Result<(), Failure>;

/// As in the profile of a node that is safe.
const SAFE: &str = "checksums yes\nsync data\nsnapshots 0\nrate 60";
/// The first segment of the log, which is the first recording of each member.
const LOG: &str = "/archive/0-0.rec";

#[test]
fn s_55_a_follower_whose_log_rotted_regains_it_from_the_leader() -> Tried {
    let mut lab = Lab::with_settings(55, 3, SAFE)?;
    let follower = lab.leader().map(|leader| lab.others(&[leader])[0])?;
    lab.serve(200)?;
    lab.kill(follower);
    assert!(lab.rot(follower, LOG));
    lab.start(follower);
    let totals = lab.finish()?.totals;
    assert!(totals.losses > 0 && totals.regains > 0, "{} losses", totals.losses);
    Ok(())
}

#[test]
fn s_55_a_leader_whose_log_rotted_regains_it_from_its_successor() -> Tried {
    let mut lab = Lab::with_settings(56, 3, SAFE)?;
    let leader = lab.leader()?;
    lab.serve(200)?;
    lab.kill(leader);
    assert!(lab.rot(leader, LOG));
    lab.start(leader);
    lab.run(2_000)?;
    lab.serve(50)?;
    let totals = lab.finish()?.totals;
    assert!(totals.losses > 0 && totals.regains > 0, "{} losses", totals.losses);
    Ok(())
}

#[test]
fn s_55_a_leader_that_runs_finds_what_rots_and_regains_it() -> Tried {
    let mut lab = Lab::with_settings(57, 3, SAFE)?;
    let leader = lab.leader()?;
    lab.serve(200)?;
    assert!(lab.rot(leader, LOG));
    lab.serve(200)?;
    let totals = lab.finish()?.totals;
    assert!(totals.losses > 0 && totals.regains > 0, "{} losses", totals.losses);
    Ok(())
}

#[test]
fn s_55_a_leader_whose_log_rotted_where_another_has_to_copy_it_lets_a_third_lead() -> Tried {
    let mut lab = Lab::with_settings(58, 3, SAFE)?;
    let leader = lab.leader()?;
    let behind = lab.others(&[leader])[0];
    lab.kill(behind);
    lab.serve(200)?;
    assert!(lab.rot(leader, LOG));
    lab.start(behind);
    lab.serve(100)?;
    let totals = lab.finish()?.totals;
    assert!(totals.losses > 0 && totals.regains > 0, "{} losses", totals.losses);
    Ok(())
}

#[test]
fn s_55_one_flipped_read_is_read_again_and_nothing_is_lost() -> Tried {
    let mut lab = Lab::with_settings(59, 3, SAFE)?;
    let leader = lab.leader()?;
    let behind = lab.others(&[leader])[0];
    lab.kill(behind);
    lab.serve(200)?;
    lab.start(behind);
    lab.ail(leader, Trouble::RotRead);
    lab.serve(100)?;
    let totals = lab.finish()?.totals;
    assert_eq!(totals.losses, 0);
    Ok(())
}

#[test]
fn s_55_a_member_that_rotted_elects_nobody_until_it_is_whole() -> Tried {
    let mut lab = Lab::with_settings(60, 3, SAFE)?;
    let leader = lab.leader()?;
    let [behind, rotten] = lab.others(&[leader])[..] else { return Ok(()) };
    lab.kill(behind);
    lab.serve(200)?;
    let committed = lab.committed();
    // What was committed is on the leader's disk, and was on this one.
    lab.kill(leader);
    lab.kill(rotten);
    assert!(lab.rot(rotten, LOG));
    lab.start(rotten);
    lab.start(behind);
    lab.run(10_000)?;
    assert_eq!(lab.leading(), None, "a leader without what was committed");
    assert_eq!(lab.committed(), committed);
    lab.start(leader);
    let totals = lab.finish()?.totals;
    assert!(totals.losses > 0 && totals.regains > 0, "{} losses", totals.losses);
    Ok(())
}

#[test]
fn s_56_rot_on_most_disks_at_once_ends_service_and_begins_nothing_anew() -> Tried {
    let mut lab = Lab::with_settings(61, 3, SAFE)?;
    lab.leader()?;
    lab.serve(200)?;
    let committed = lab.committed();
    (0..3).for_each(|member| lab.kill(member));
    assert!(lab.rot(0, LOG) && lab.rot(1, LOG));
    (0..3).for_each(|member| lab.start(member));
    lab.run(15_000)?;
    assert_eq!(lab.leading(), None);
    assert_eq!(lab.committed(), committed);
    let lossy: Vec<_> = lab.members().iter().map(|member| member.is_lossy).collect();
    assert_eq!(lossy, [true, true, false]);
    Ok(())
}

#[test]
fn s_57_a_snapshot_that_rotted_is_passed_over_for_an_older_one() -> Tried {
    for (seed, rotten) in [(62, "/archive/3-0.rec"), (63, "/archive/4-0.rec")] {
        let mut lab = Lab::with_settings(seed, 3, SAFE)?;
        let leader = lab.leader()?;
        let member = lab.others(&[leader])[0];
        for _ in 0..2 {
            lab.serve(40)?;
            lab.ask_for_snapshot();
            lab.run(1_000)?;
        }
        lab.kill(member);
        assert!(lab.rot(member, rotten), "no second snapshot");
        lab.start(member);
        lab.serve(40)?;
        let totals = lab.finish()?.totals;
        assert_eq!(totals.losses, 0);
        assert!(totals.snapshot_restarts > 0);
    }
    Ok(())
}

#[test]
fn s_57_all_snapshots_of_a_member_rotted_and_it_starts_from_the_log() -> Tried {
    let mut lab = Lab::with_settings(64, 3, SAFE)?;
    let leader = lab.leader()?;
    let member = lab.others(&[leader])[0];
    lab.serve(40)?;
    lab.ask_for_snapshot();
    lab.run(1_000)?;
    lab.kill(member);
    assert!(lab.rot(member, "/archive/1-0.rec") && lab.rot(member, "/archive/2-0.rec"));
    lab.start(member);
    let totals = lab.finish()?.totals;
    assert_eq!(totals.losses, 0);
    Ok(())
}

#[test]
fn s_59_a_write_that_lands_elsewhere_is_found_and_regained() -> Tried {
    for seed in 65..68 {
        let mut lab = Lab::with_settings(seed, 3, SAFE)?;
        let leader = lab.leader()?;
        lab.serve(50)?;
        let member = if seed == 65 { leader } else { lab.others(&[leader])[0] };
        lab.ail(member, Trouble::Misdirect);
        lab.serve(200)?;
        lab.finish()?;
    }
    Ok(())
}
