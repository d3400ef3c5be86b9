use std::path::Path;

use runtime::Nanos;

use super::*;

fn three() -> Settings {
    let hosts = ["10.0.0.1", "10.0.0.2", "fe80::3"].map(str::to_string).to_vec();
    Settings::new("/node", 1, Members::Hosts { hosts, base_port: BASE_PORT })
}

#[test]
fn members_on_hosts_have_the_ports_of_genuine_samples() {
    let members = members::to_text(&three().members().unwrap());
    let expected = "0,10.0.0.1:9002,10.0.0.1:9003,10.0.0.1:9004,10.0.0.1:0,10.0.0.1:9001|\
                    1,10.0.0.2:9102,10.0.0.2:9103,10.0.0.2:9104,10.0.0.2:0,10.0.0.2:9101|\
                    2,[fe80::3]:9202,[fe80::3]:9203,[fe80::3]:9204,[fe80::3]:0,[fe80::3]:9201";
    assert_eq!(members, expected);
    let listed = Settings { members: Members::Listed(members), ..three() };
    assert_eq!(listed.members(), three().members());
}

#[test]
fn every_part_is_told_of_the_others() {
    let config = Settings { cluster_id: 3, ..three() }.config().unwrap();
    assert_eq!(config.driver.directory.path, Path::new("/node/aeron"));
    assert_eq!(config.client.directory, Path::new("/node/aeron"));
    assert_eq!(config.archive.storage.directory, Path::new("/node/archive"));
    assert_eq!(config.cluster.member.directory, Path::new("/node/cluster"));
    assert_eq!(config.services[0].directory, Path::new("/node/cluster"));
    assert_eq!((config.cluster.member.cluster_id, config.services[0].cluster_id), (3, 3));
    assert_eq!(config.archive.control.channel, "aeron:udp?endpoint=10.0.0.2:9101");
    let any_port = "aeron:udp?endpoint=10.0.0.2:0";
    assert_eq!(config.archive.control.replication_channel, any_port);
    assert_eq!(config.cluster.channels.replication_channel, any_port);
    assert_eq!(config.archive_client.response_stream_id, 420);
    assert_eq!(config.archive_client.control_channel, config.archive.control.local_channel);
    config.driver.check().unwrap();
    config.archive.check().unwrap();
    let checked = config.cluster.check().unwrap();
    assert_eq!((checked.own.id.0, checked.members.len()), (1, 3));
}

#[test]
fn a_safe_node_syncs_and_a_reference_one_is_as_genuine() {
    let safe = three().config().unwrap();
    let storage = &safe.archive.storage;
    assert_eq!(storage.file_sync_level, SyncLevel::Data);
    assert_eq!(storage.catalog_file_sync_level, SyncLevel::Data);
    assert_eq!(storage.record_checksum, Some(Checksum::Crc32c));
    assert_eq!(safe.cluster.timeouts.leader_heartbeat_timeout, Nanos::from_millis(400));
    let reference = Settings { profile: Profile::Reference, ..three() }.config().unwrap();
    let storage = archive::config::StorageConfig {
        directory: "/node/archive".into(),
        ..archive::config::StorageConfig::default()
    };
    assert_eq!(reference.archive.storage, storage);
    assert_eq!(reference.driver.terms, driver::config::TermConfig::default());
    assert_eq!(reference.cluster.timeouts, cluster::config::TimeoutsConfig::default());
    assert_eq!(reference.cluster.channels.log_channel, "aeron:udp?term-length=64m");
    assert!(reference.shared_memory() > 3 * safe.shared_memory() / 2);
}

#[test]
fn a_term_length_is_that_of_all_streams() {
    let settings = Settings { term_length: Some(64 << 10), ..three() };
    let config = settings.config().unwrap();
    assert_eq!(config.driver.terms.term_length, 65_536);
    assert_eq!(config.cluster.channels.log_channel, "aeron:udp?term-length=65536");
    assert_eq!(config.archive.storage.segment_file_length, 131_072);
    config.archive.check().unwrap();
    let odd = Settings { term_length: Some(100_000), ..three() };
    assert_eq!(odd.config().unwrap_err(), SettingsError::TermLength(100_000));
}

#[test]
fn properties_reach_every_part_that_has_them_and_count_more() {
    let property = |name: &str, text: &str| (name.to_string(), text.to_string());
    let properties = vec![
        property("aeron.dir", "/elsewhere"),
        property("aeron.archive.message.timeout", "3s"),
        property("aeron.archive.control.channel", "aeron:udp?endpoint=10.0.0.2:7"),
        property("aeron.archive.local.control.stream.id", "77"),
        property("aeron.cluster.session.timeout", "20s"),
        property("aeron.cluster.app.version", "512"),
    ];
    let config = Settings { properties, ..three() }.config().unwrap();
    assert_eq!(config.client.directory, Path::new("/elsewhere"));
    let timeout = Nanos::from_secs(3);
    assert_eq!(config.archive_client.message_timeout, timeout);
    assert_eq!(config.services[0].archive_timeout, timeout);
    assert_eq!(config.archive.control.channel, "aeron:udp?endpoint=10.0.0.2:7");
    assert_eq!(config.archive_client.control_channel, "aeron:ipc?term-length=64k");
    assert_eq!(config.archive_client.control_stream_id, 77);
    assert_eq!(config.services[0].archive_control_stream_id, 77);
    assert_eq!(config.cluster.timeouts.session_timeout, Nanos::from_secs(20));
    assert_eq!(config.cluster.app_version.0, 512);
}

#[test]
fn a_property_that_no_part_has_or_that_identifies_the_node_is_refused() {
    let mut config = three().config().unwrap();
    for name in ["aeron.no.such", "aeron.cluster.member.id", "aeron.cluster.service.count"] {
        assert_eq!(config.set(name, "1"), Err(SettingError::Unknown(name.to_string())));
    }
    assert!(matches!(
        config.set("aeron.archive.file.sync.level", "9"),
        Err(SettingError::Invalid { property: "aeron.archive.file.sync.level", .. })
    ));
    let names: Vec<&str> = Config::options().iter().map(|row| row.property).collect();
    assert!(names.is_sorted() && names.contains(&"aeron.mtu.length"));
    assert!(!names.contains(&"aeron.cluster.member.id"));
}

#[test]
fn settings_that_make_no_node_say_why() {
    let error = |settings: Settings| settings.config().unwrap_err().to_string();
    let stranger = Settings { member_id: 7, ..three() };
    assert_eq!(error(stranger), "member id 7 is not among the members");
    let nobody = Settings { members: Members::Listed(String::new()), ..three() };
    assert_eq!(error(nobody), "no members are given");
    let hosts = vec!["a".to_string(), "b".to_string()];
    let high = Members::Hosts { hosts, base_port: 65_500 };
    let high = Settings { members: high, ..three() };
    assert_eq!(error(high), "base port 65500 leaves no ports for member 1");
    let odd = Members::Listed("1,a:1,a:2,a:3,a:0,a".to_string());
    assert_eq!(error(Settings { members: odd, ..three() }), "endpoint a is not host:port");
}

#[test]
fn words_that_are_none_of_a_choice_are_refused_with_the_choice() {
    assert_eq!("reference".parse(), Ok(Profile::Reference));
    let error = "fast".parse::<Profile>().unwrap_err();
    assert_eq!(error, "fast is not one of safe, reference");
    assert_eq!(Idle::Wait.strategy(false), IdleStrategy::BACKOFF);
}
