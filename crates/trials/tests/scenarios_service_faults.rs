//! Scenarios of services that fail, stray, lag, or are several, each under the id that
//! docs/simulation.md gives it; all that a trial checks is checked after every step.

use coracle_trials::cluster::lab::Lab;
use coracle_trials::cluster::{Failure, Part};

type Tried = Result<(), Failure>;

/// The first seed from this one on with which a member's parts have threads of their own.
fn lab_of_threads(first: u64, settings: &str) -> Result<Lab, Failure> {
    let is_of_threads = |lab: &mut Lab| (0..3).all(|member| lab.starve(member, Part::Service, 0));
    for seed in (first..).step_by(1_000) {
        let mut lab = Lab::with_settings(seed, 3, settings)?;
        lab.leader()?;
        if is_of_threads(&mut lab) {
            return Ok(lab);
        }
    }
    unreachable!("half of all members are of threads")
}

#[test]
fn s_36_a_follower_with_a_slow_service_becomes_leader() -> Tried {
    let mut lab = lab_of_threads(36, "rate 100\nsnapshots 0")?;
    let old = lab.leader()?;
    lab.serve(20)?;
    for follower in lab.others(&[old]) {
        assert!(lab.starve(follower, Part::Service, 700));
    }
    lab.run(400)?;
    lab.kill(old);
    let new = lab.leader()?;
    assert_ne!(new, old);
    lab.serve(50)?;
    lab.start(old);
    lab.finish()?;
    Ok(())
}

#[test]
fn s_38_the_longest_message_is_taken_and_one_more_byte_refuses_it() -> Tried {
    // A message is at most an eighth of a term of 64 KiB, with the headers of ingress and numbers.
    let longest = longest_message()?;
    let mut lab = Lab::with_settings(38, 3, "rate 60")?;
    lab.set_message_length(longest);
    lab.leader()?;
    lab.serve(300)?;
    lab.finish()?;
    Ok(())
}

/// The length of content above which a client refuses to send.
fn longest_message() -> Result<usize, Failure> {
    let mut lab = Lab::new(38, 3)?;
    lab.set_message_length(9_000);
    lab.leader()?;
    let Err(refused) = lab.serve(100) else { panic!("9000 bytes were sent") };
    let words: Vec<&str> = refused.what.split_whitespace().collect();
    let numbers: Vec<usize> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let [.., length, most] = numbers[..] else { panic!("{refused}") };
    assert!(length > 9_000 && most <= 8_192, "{refused}");
    // The rest is the number and who sends it.
    let longest = most - (length - 9_000);
    let mut lab = Lab::new(38, 3)?;
    lab.set_message_length(longest + 1);
    lab.leader()?;
    assert!(lab.serve(100).is_err(), "one more byte was sent");
    Ok(longest)
}

#[test]
fn s_71_a_service_that_fails_on_one_member_stops_only_that_one() -> Tried {
    let mut lab = Lab::new(71, 3)?;
    let leader = lab.leader()?;
    let sick = lab.others(&[leader])[0];
    lab.serve(20)?;
    lab.poison(&[sick]);
    let lives = lab.lives(sick);
    assert!(lab.wait(5_000, |lab| lab.lives(sick) > lives || !lab.is_up(sick))?, "it runs on");
    let terms = lab.terms();
    lab.serve(50)?;
    assert_eq!(lab.terms(), terms, "the others do not care");
    lab.finish()?;
    Ok(())
}

#[test]
fn s_71_a_service_that_fails_on_the_leader_costs_an_election_and_no_message() -> Tried {
    let mut lab = Lab::new(171, 3)?;
    let leader = lab.leader()?;
    lab.serve(20)?;
    lab.poison(&[leader]);
    assert!(lab.wait(6_000, |lab| lab.leading().is_some_and(|it| it != leader))?);
    lab.serve(50)?;
    lab.finish()?;
    Ok(())
}

#[test]
fn s_72_a_message_that_no_service_can_digest_stops_all_at_one_position() -> Tried {
    let mut lab = Lab::with_settings(72, 3, "snapshots 0")?;
    lab.leader()?;
    lab.serve(30)?;
    lab.poison(&[0, 1, 2]);
    lab.run(3_000)?;
    let (answered, committed) = (lab.answered(), lab.committed());
    lab.run(12_000)?;
    assert_eq!(lab.answered(), answered, "nobody is served");
    assert!(lab.committed() <= committed + 4_096, "starting again and again eats the log");
    // A service that digests it goes on where the others stopped: nothing was lost.
    lab.poison(&[]);
    lab.serve(30)?;
    lab.finish()?;
    Ok(())
}

#[test]
fn s_73_a_service_that_is_not_deterministic_is_named() -> Tried {
    for sick in 0..3 {
        let mut lab = Lab::new(73, 3)?;
        lab.leader()?;
        lab.serve(20)?;
        lab.stray(sick);
        let Err(failure) = lab.serve(50) else { panic!("member {sick} strays unseen") };
        assert!(failure.what.starts_with("I-19"), "{failure}");
        let named = (0..3).filter(|it| failure.what.contains(&format!("member {it}")));
        // The first to apply an event says what it was: if that one strays, the next is named.
        assert_eq!(named.count(), 1, "{failure}");
    }
    Ok(())
}

#[test]
fn s_76_snapshots_without_sessions_and_with_ten_thousand_timers() -> Tried {
    let mut lab = Lab::with_settings(76, 3, "snapshots 0")?;
    let leader = lab.leader()?;
    lab.serve(20)?;
    lab.storm_of_timers(10_000);
    lab.serve(20)?;
    lab.ask_for_snapshot();
    lab.run(500)?;
    let written = lab.snapshots();
    assert!(written >= 3, "{written} snapshots with timers");
    lab.dismiss_clients();
    lab.run(10_000)?;
    lab.ask_for_snapshot();
    lab.run(1_000)?;
    assert!(lab.snapshots() > written, "no snapshot without sessions");
    let follower = lab.others(&[leader])[0];
    lab.kill(follower);
    lab.start(follower);
    lab.run(2_000)?;
    let outcome = lab.finish()?;
    assert!(outcome.totals.snapshot_restarts > 0 && outcome.totals.timers >= 10_000);
    Ok(())
}

#[test]
fn s_78_a_snapshot_that_an_operator_declared_invalid_is_not_started_from() -> Tried {
    let mut lab = Lab::with_settings(78, 3, "snapshots 0")?;
    for _ in 0..2 {
        lab.leader()?;
        lab.serve(40)?;
        lab.ask_for_snapshot();
        lab.run(500)?;
    }
    (0..3).for_each(|member| lab.stop(member));
    for member in 0..3 {
        let newest = lab.invalidate_snapshot(member);
        assert!(newest.is_some_and(|position| position > 0));
        lab.start(member);
    }
    lab.leader()?;
    lab.serve(40)?;
    let outcome = lab.finish()?;
    assert!(outcome.totals.snapshot_restarts >= 3, "from the one before");
    Ok(())
}

#[test]
fn s_79_timers_that_are_all_due_at_once_fire_once_in_one_order() -> Tried {
    let mut lab = Lab::with_settings(79, 3, "snapshots 0")?;
    let leader = lab.leader()?;
    lab.serve(20)?;
    lab.storm_of_timers(10_000);
    assert!(lab.wait(8_000, |lab| lab.timers() > 2_000)?, "{} timers", lab.timers());
    // In the middle of it.
    assert!(lab.timers() < 10_000, "they all fired in one pass");
    lab.kill(leader);
    lab.leader()?;
    lab.start(leader);
    let outcome = lab.finish()?;
    assert!(outcome.totals.timers >= 10_000);
    Ok(())
}

#[test]
fn s_82_two_services_of_a_member_one_slow() -> Tried {
    let mut lab = lab_of_threads(82, "services 2\nrate 60")?;
    for _ in 0..3 {
        let leader = lab.leader()?;
        lab.serve(30)?;
        assert!(lab.starve(leader, Part::SecondService, 500));
        lab.ask_for_snapshot();
        lab.run(700)?;
    }
    assert!(lab.snapshots() > 0);
    lab.finish()?;
    Ok(())
}

#[test]
fn s_82_a_service_that_is_dead_stops_its_member() -> Tried {
    let mut lab = lab_of_threads(182, "services 2\nrate 60")?;
    let leader = lab.leader()?;
    lab.serve(30)?;
    lab.may_end(leader);
    assert!(lab.starve(leader, Part::SecondService, 25_000));
    assert!(lab.wait(25_000, |lab| lab.leading().is_some_and(|it| it != leader))?);
    lab.serve(30)?;
    lab.kill(leader);
    lab.start(leader);
    lab.finish()?;
    Ok(())
}
