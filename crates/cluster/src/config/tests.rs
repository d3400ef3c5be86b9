use super::*;

const THREE: &str = "0,a:1,a:2,a:3,a:0,a:5|1,b:1,b:2,b:3,b:0,b:5|2,c:1,c:2,c:3,c:0,c:5";

fn config() -> Config {
    let mut config = Config::default();
    for (property, text) in [
        ("aeron.cluster.members", THREE),
        ("aeron.cluster.member.id", "1"),
        ("aeron.cluster.ingress.channel", "aeron:udp?term-length=64k"),
        ("aeron.cluster.replication.channel", "aeron:udp?endpoint=b:0"),
    ] {
        config.set(property, text).unwrap();
    }
    config
}

#[test]
fn what_genuine_aeron_needs_is_enough() {
    let settings = config().check().unwrap();
    assert_eq!(settings.own.consensus, "b:2");
    let core = &settings.consensus;
    assert_eq!((core.member_id, core.members.len()), (MemberId(1), 3));
    assert_eq!(core.ingress_endpoints, "0=a:1,1=b:1,2=c:1");
    assert_eq!((core.service_count, core.sessions_max), (1, 10));
    assert_eq!((core.app_version, core.log_term_length), (1, 64 << 20));
    assert_eq!(core.timeouts, Timeouts::genuine());
    assert_eq!(core.appointed_leader, None);
}

#[test]
fn the_term_length_of_the_log_channel_reaches_the_core() {
    let mut config = config();
    config.set("aeron.cluster.log.channel", "aeron:udp?term-length=256k").unwrap();
    assert_eq!(config.check().unwrap().consensus.log_term_length, 256 << 10);
}

#[test]
fn the_fast_waits_are_those_of_the_core_and_fit_each_other() {
    let config = Config { timeouts: Config::fast().timeouts, ..config() };
    assert_eq!(config.check().unwrap().consensus.timeouts, Timeouts::fast());
}

#[test]
fn every_missing_option_is_named() {
    for property in [
        "aeron.cluster.members",
        "aeron.cluster.ingress.channel",
        "aeron.cluster.replication.channel",
    ] {
        let mut config = config();
        config.set(property, "").unwrap();
        assert_eq!(config.check().unwrap_err(), ConfigError::Missing(property));
    }
}

#[test]
fn options_out_of_their_bounds_are_refused_by_name() {
    let refused = |property: &str, text: &str| {
        let mut config = config();
        config.set(property, text).unwrap();
        config.check().unwrap_err()
    };
    let property = "aeron.cluster.member.id";
    assert_eq!(refused(property, "7"), ConfigError::Stranger { property, id: 7 });
    let property = "aeron.cluster.appointed.leader.id";
    assert_eq!(refused(property, "7"), ConfigError::Stranger { property, id: 7 });
    let property = "aeron.cluster.service.count";
    let range = ConfigError::Range { property, value: 11, low: 0, high: 10 };
    assert_eq!(refused(property, "11"), range);
    let log = "aeron.cluster.log.channel";
    assert_eq!(refused(log, "aeron:udp?term-id=4"), ConfigError::LogPosition);
    assert!(matches!(refused(log, "udp"), ConfigError::Channel { .. }));
    assert!(matches!(refused("aeron.cluster.members", "0,a"), ConfigError::Members(_)));
}

#[test]
fn a_canvass_that_is_shorter_than_two_silences_is_refused() {
    let mut config = config();
    config.set("aeron.cluster.startup.canvass.timeout", "19s").unwrap();
    let expected = ConfigError::Timeouts {
        longer: "aeron.cluster.startup.canvass.timeout",
        factor: 2,
        shorter: "aeron.cluster.leader.heartbeat.timeout",
    };
    assert_eq!(config.check().unwrap_err(), expected);
    config.set("aeron.cluster.leader.heartbeat.interval", "0").unwrap();
    assert!(matches!(config.check(), Err(ConfigError::Timeouts { .. })));
}

#[test]
fn every_option_can_be_set_by_its_name_and_no_name_is_given_twice() {
    let options = Config::options();
    let mut names: Vec<_> = options.iter().map(|option| option.property).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), options.len());
    let mut config = Config::default();
    for option in &options {
        config.set(option.property, &option.default).unwrap();
    }
    assert_eq!(config, Config::default());
    assert!(config.set("aeron.cluster.unheard.of", "1").is_err());
}
