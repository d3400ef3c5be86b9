//! Scenarios of snapshots, timers, clients and time, each under the id that docs/simulation.md
//! gives it; all that a trial checks is checked after every step.

use coracle_trials::cluster::Failure;
use coracle_trials::cluster::lab::Lab;

type Tried = Result<(), Failure>;

#[test]
fn s_69_a_kill_at_any_step_of_a_snapshot() -> Tried {
    let mut lab = Lab::with_settings(69, 3, "snapshots 0")?;
    for step in 0..10 {
        let leader = lab.leader()?;
        lab.serve(10)?;
        lab.ask_for_snapshot();
        lab.run(2 * step)?;
        let victim = if step % 2 == 0 { leader } else { lab.others(&[leader])[0] };
        lab.kill(victim);
        lab.start(victim);
        lab.run(600)?;
    }
    assert!(lab.snapshots() > 0);
    lab.finish()?;
    Ok(())
}

#[test]
fn s_75_snapshots_while_sessions_come_and_go_are_equal() -> Tried {
    let mut lab = Lab::with_settings(75, 3, "snapshots 0\nclients 3")?;
    lab.leader()?;
    for _ in 0..6 {
        lab.kill_client();
        lab.run(200)?;
        lab.ask_for_snapshot();
        lab.run(300)?;
    }
    assert!(lab.snapshots() >= 6);
    lab.finish()?;
    Ok(())
}

#[test]
fn s_77_a_member_without_the_last_snapshot_starts_from_an_older_one() -> Tried {
    let mut lab = Lab::with_settings(77, 3, "snapshots 0")?;
    let leader = lab.leader()?;
    let behind = lab.others(&[leader])[0];
    lab.serve(20)?;
    lab.ask_for_snapshot();
    lab.run(500)?;
    lab.kill(behind);
    lab.serve(20)?;
    lab.ask_for_snapshot();
    lab.run(500)?;
    lab.start(behind);
    let outcome = lab.finish()?;
    assert!(outcome.totals.snapshot_restarts > 0);
    Ok(())
}

#[test]
fn s_80_timers_due_during_elections_fire_once() -> Tried {
    let mut lab = Lab::with_settings(80, 3, "rate 100\nsnapshots 1000")?;
    for _ in 0..5 {
        let leader = lab.leader()?;
        lab.serve(100)?;
        lab.kill(leader);
        lab.run(700)?;
        lab.start(leader);
    }
    let outcome = lab.finish()?;
    assert!(outcome.totals.timers > 10, "{} timers", outcome.totals.timers);
    Ok(())
}

#[test]
fn s_84_messages_of_services_under_way_at_a_change_of_leaders() -> Tried {
    let mut lab = Lab::with_settings(84, 3, "rate 200")?;
    for _ in 0..5 {
        let leader = lab.leader()?;
        lab.serve(100)?;
        lab.part(&[leader]);
        lab.run(800)?;
        lab.mend();
    }
    let outcome = lab.finish()?;
    assert!(outcome.totals.service_messages > 20);
    Ok(())
}

/// Setting a clock ended drivers and clients, who took each other for dead: found by seeds 46 and
/// 53.
#[test]
fn s_86_clocks_are_set_an_hour_forward_and_back_and_drift() -> Tried {
    const HOUR: i64 = 3_600_000;
    for span in [HOUR, -HOUR] {
        let mut lab = Lab::new(86, 3)?;
        let leader = lab.leader()?;
        lab.drift(0, 500);
        lab.drift(1, -500);
        lab.serve(20)?;
        lab.set_clock(lab.others(&[leader])[0], span);
        lab.run(1_000)?;
        lab.set_clock(leader, span);
        lab.run(2_000)?;
        assert_eq!(lab.terms(), 1, "elections go by clocks that nobody sets");
        lab.serve(20)?;
        lab.finish()?;
    }
    Ok(())
}

#[test]
fn s_87_a_leader_whose_clock_is_behind_keeps_the_time_of_the_cluster() -> Tried {
    let mut lab = Lab::new(87, 3)?;
    let leader = lab.leader()?;
    lab.others(&[leader]).iter().for_each(|&member| lab.set_clock(member, -5_000));
    lab.serve(30)?;
    lab.kill(leader);
    lab.leader()?;
    lab.serve(30)?;
    lab.start(leader);
    lab.finish()?;
    Ok(())
}

#[test]
fn s_88_a_leader_that_stood_still_acknowledges_nothing_as_leader() -> Tried {
    for millis in [200, 400, 800, 4_000] {
        let mut lab = Lab::new(88, 3)?;
        let leader = lab.leader()?;
        lab.serve(20)?;
        lab.pause(leader, millis);
        lab.run(millis + 1_000)?;
        lab.serve(10)?;
        lab.finish()?;
    }
    Ok(())
}

#[test]
fn s_94_a_host_freezes_for_a_minute_clocks_and_all() -> Tried {
    let mut lab = Lab::new(94, 3)?;
    let leader = lab.leader()?;
    lab.serve(20)?;
    lab.freeze(leader, 60_000);
    lab.run(61_000)?;
    assert!(lab.terms() >= 2);
    lab.finish()?;
    Ok(())
}
