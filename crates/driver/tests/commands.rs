//! What each command is answered with, in order, and what each mistake.

#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use common::*;
use runtime::Nanos;
use sim::World;
use wire::control::{CorrelationId, ErrorCode, Request};
use wire::counters::{CounterTypeId, SystemCounter};

const DIRECTORY: &str = "/dev/shm/driver";
const UDP: &str = "aeron:udp?endpoint=10.0.0.1:20000|term-length=64k";

fn driver_and_client() -> (World, Client) {
    let (mut world, hosts) = world(7, 1);
    start(&mut world, hosts[0], config(DIRECTORY));
    let mut client = Client::connect(&mut world, hosts[0], DIRECTORY);
    // So that the heartbeat counter is out of the way.
    client.add_subscription(&mut world, "aeron:ipc?alias=first");
    (world, client)
}

fn publication(channel: &str) -> Request<'_> {
    Request::AddPublication { stream_id: STREAM, channel }
}

fn subscription(channel: &str) -> Request<'_> {
    Request::AddSubscription { stream_id: STREAM, channel }
}

#[test]
fn each_command_is_answered_in_the_order_of_genuine_drivers() {
    let (mut world, mut client) = driver_and_client();
    let mut order = |request: Request<'_>| {
        let (id, seen) = client.call(&mut world, request);
        (id, kinds(&seen).join(", "))
    };
    let (first, answer) = order(publication(UDP));
    assert_eq!(answer, "publication");
    assert_eq!(
        order(subscription("aeron-spy:aeron:udp?endpoint=10.0.0.1:20000")).1,
        "subscription, image"
    );
    let (udp, answer) = order(subscription(UDP));
    assert_eq!(answer, "subscription, image");
    assert_eq!(order(subscription(UDP)).1, "subscription, image");
    let exclusive = Request::AddExclusivePublication { stream_id: STREAM, channel: UDP };
    assert_eq!(order(exclusive).1, "exclusive, image, image, image");
    let key = &[1, 2, 3][..];
    let type_id = CounterTypeId(1001);
    let (counter, answer) = order(Request::AddCounter { type_id, key, label: "mine" });
    assert_eq!(answer, "counter");
    let remove = Request::RemoveCounter { registration_id: CorrelationId(counter) };
    assert_eq!(order(remove).1, "success, no counter");
    let registration_id = CorrelationId(77);
    let fixed = Request::AddStaticCounter { registration_id, type_id, key, label: "fixed" };
    assert_eq!(order(fixed).1, "static counter");
    assert_eq!(order(Request::NextAvailableSessionId { stream_id: STREAM }).1, "session");
    let registration_id = CorrelationId(udp);
    assert_eq!(order(Request::RemoveSubscription { registration_id }).1, "success");
    let registration_id = CorrelationId(first);
    let remove = Request::RemovePublication { registration_id, revoke: false };
    assert_eq!(order(remove).1, "success");
    assert_eq!(order(Request::ClientKeepalive).1, "");
}

#[test]
fn mistakes_get_the_codes_of_genuine_drivers() {
    let (mut world, mut client) = driver_and_client();
    let id = CorrelationId(4242);
    let (bad, generic) = (ErrorCode::INVALID_CHANNEL, ErrorCode::GENERIC);
    let long = "x".repeat(1024);
    let reject =
        |reason| Request::RejectImage { image: id, position: wire::position::Position(0), reason };
    let requests = [
        (
            Request::RemovePublication { registration_id: id, revoke: false },
            ErrorCode::UNKNOWN_PUBLICATION,
        ),
        (Request::RemoveSubscription { registration_id: id }, ErrorCode::UNKNOWN_SUBSCRIPTION),
        (Request::RemoveCounter { registration_id: id }, ErrorCode::UNKNOWN_COUNTER),
        (
            Request::AddDestination { registration_id: id, channel: UDP },
            ErrorCode::UNKNOWN_PUBLICATION,
        ),
        (
            Request::AddReceiveDestination { registration_id: id, channel: UDP },
            ErrorCode::UNKNOWN_SUBSCRIPTION,
        ),
        (reject("why"), generic),
        (reject(&long), generic),
        (publication("aeron:tcp?endpoint=a:1"), bad),
        (publication("tcp"), bad),
        (publication("aeron:udp"), bad),
        (publication("aeron-spy:aeron:udp?endpoint=10.0.0.1:20000"), bad),
        (publication("aeron:udp?endpoint=10.0.0.1"), bad),
        (publication("aeron:udp?endpoint=10.0.0.1:20000|interface=9.9.9.9"), bad),
        (publication("aeron:udp?endpoint=224.0.0.2:20000"), bad),
        (publication("aeron:udp?tags=99"), bad),
        (publication("aeron:udp?endpoint=10.0.0.1:20000|stream-id=11"), bad),
        (publication("aeron:udp?endpoint=10.0.0.1:20000|pub-wnd=64"), bad),
        (publication("aeron:udp?endpoint=10.0.0.1:0"), generic),
        (publication("aeron:udp?endpoint=10.0.0.1:20000|fc=min"), generic),
        (publication("aeron:udp?endpoint=10.0.0.1:20000|mtu=9"), generic),
        (publication("aeron:udp?endpoint=10.0.0.1:20000|linger=xx"), generic),
        (publication("aeron:udp?control=10.0.0.1:20000"), generic),
        (publication("aeron:udp?control-mode=response|control=10.0.0.1:20000"), generic),
        (publication("aeron:udp?endpoint=10.0.0.1:20000|response-correlation-id=5"), generic),
        (publication("aeron:udp?endpoint=nowhere:20000"), ErrorCode::UNKNOWN_HOST),
        (subscription("aeron-spy:aeron:ipc"), bad),
        (subscription("aeron:udp?endpoint=10.0.0.1:20000|control=10.0.0.1:0"), generic),
        (subscription("aeron:udp?endpoint=10.0.0.9:20000"), generic),
        (subscription("aeron:udp?endpoint=10.0.0.1:20000|rcv-wnd=256k"), generic),
    ];
    for (request, expected) in requests {
        let (id, seen) = client.call(&mut world, request);
        let [Seen::Error { id: offending, code, .. }] = &seen[..] else {
            panic!("{request:?}: {seen:?}")
        };
        assert_eq!((*offending, *code), (id, expected), "{request:?}: {seen:?}");
    }
    assert!(client.system(SystemCounter::Errors) > 20);
    assert_eq!(client.values(CounterTypeId::SEND_CHANNEL_STATUS), [0_i64; 0], "nothing stays");
    assert_eq!(client.values(CounterTypeId::RECEIVE_CHANNEL_STATUS), [0_i64; 0]);
}

#[test]
fn malformed_and_unknown_commands_are_answered_with_correlation_id_0() {
    let (mut world, mut client) = driver_and_client();
    client.send_raw(0x01, &[0; 20]);
    client.send_raw(0x99, &[0; 20]);
    let mut lying = [0; 40];
    lying[20..24].copy_from_slice(&i32::MAX.to_le_bytes());
    client.send_raw(0x01, &lying);
    client.send_raw(0x04, &[0xFF; 64]);
    let codes: Vec<_> = client
        .run(&mut world, Nanos::from_millis(100))
        .into_iter()
        .map(|seen| match seen {
            Seen::Error { id, code, .. } => (id, code),
            other => panic!("{other:?}"),
        })
        .collect();
    let (malformed, unknown) = (ErrorCode::MALFORMED_COMMAND, ErrorCode::UNKNOWN_COMMAND);
    assert_eq!(codes, [(0, malformed), (0, unknown), (0, malformed), (0, malformed)]);
}

#[test]
fn a_static_counter_is_the_same_for_all_and_clashes_with_a_plain_one() {
    let (mut world, mut client) = driver_and_client();
    let type_id = CounterTypeId(1001);
    let add = |registration_id| Request::AddStaticCounter {
        registration_id: CorrelationId(registration_id),
        type_id,
        key: &[],
        label: "fixed",
    };
    let (_, first) = client.call(&mut world, add(500));
    let (_, second) = client.call(&mut world, add(500));
    let counter = |seen: &[Seen]| match seen {
        [Seen::StaticCounter { counter, .. }] => *counter,
        other => panic!("{other:?}"),
    };
    assert_eq!(counter(&first), counter(&second));
    let (plain, _) =
        client.call(&mut world, Request::AddCounter { type_id, key: &[], label: "plain" });
    let (_, seen) = client.call(&mut world, add(plain));
    assert!(matches!(&seen[..], [Seen::Error { code: ErrorCode::GENERIC, .. }]), "{seen:?}");
}

#[test]
fn a_silent_client_loses_all_that_it_had() {
    let (mut world, mut client) = driver_and_client();
    let (mut other, _) = (client_beside(&mut world), ());
    let subscription = other.add_subscription(&mut world, "aeron:ipc");
    client.keep_alive(&world);
    let publication = client.add_publication(&mut world, IPC);
    let (counter, _) = client.call(
        &mut world,
        Request::AddCounter { type_id: CounterTypeId(1001), key: &[], label: "mine" },
    );
    other.receive();
    let seen = other.run(&mut world, Nanos::from_secs(20));
    let expected = [
        Seen::ClientTimeout(client.id),
        Seen::NoCounter { id: client.id },
        Seen::NoCounter { id: counter },
        Seen::NoImage { image: publication.ready.id, subscription },
    ];
    assert_eq!(seen, expected);
    assert_eq!(other.system(SystemCounter::ClientTimeouts), 1);
    assert!(!other.exists(&publication.ready.log));
    assert_eq!(other.values(CounterTypeId::CLIENT_HEARTBEAT).len(), 1);
}

#[test]
fn a_client_that_says_goodbye_is_buried_without_a_time_out() {
    let (mut world, mut client) = driver_and_client();
    let mut other = client_beside(&mut world);
    other.add_subscription(&mut world, "aeron:ipc");
    client.keep_alive(&world);
    client.send(Request::ClientClose);
    let seen = other.run(&mut world, Nanos::from_secs(3));
    assert_eq!(seen, [Seen::NoCounter { id: client.id }]);
    assert_eq!(other.system(SystemCounter::ClientTimeouts), 0);
}

fn client_beside(world: &mut World) -> Client {
    let host = world.hosts().next().unwrap();
    Client::connect(world, host, DIRECTORY)
}

#[test]
fn a_command_under_way_when_the_driver_begins_is_waited_for() {
    let (mut world, hosts) = world(7, 1);
    start(&mut world, hosts[0], config(DIRECTORY));
    let client = Client::connect(&mut world, hosts[0], DIRECTORY);
    let _slow = client.producer().try_claim(1, 64).unwrap();
    world.run_for(Nanos::from_secs(3));
    assert_eq!(client.system(SystemCounter::UnblockedCommands), 0);
}

#[test]
fn a_command_that_its_client_never_finished_is_passed() {
    let (mut world, mut client) = driver_and_client();
    let _never_finished = client.producer().try_claim(1, 64).unwrap();
    client.send(publication(IPC));
    assert_eq!(client.run(&mut world, Nanos::from_secs(9)), []);
    let seen = client.run(&mut world, Nanos::from_secs(4));
    assert!(kinds(&seen).starts_with(&["publication"]), "{seen:?}");
    assert_eq!(client.system(SystemCounter::UnblockedCommands), 1);
}

#[test]
fn termination_is_denied_unless_configured() {
    let (mut world, hosts) = world(7, 1);
    let mut config = config(DIRECTORY);
    config.set("aeron.driver.termination.validator", "token:please").unwrap();
    let driver = start(&mut world, hosts[0], config);
    let mut client = Client::connect(&mut world, hosts[0], DIRECTORY);
    client.send(Request::TerminateDriver { token: b"now" });
    client.run(&mut world, Nanos::from_secs(2));
    assert!(world.halts(driver).is_empty());
    client.send(Request::TerminateDriver { token: b"please" });
    client.run(&mut world, Nanos::from_secs(2));
    assert_eq!(world.halts(driver)[0].0, "conductor");
}

#[test]
fn names_are_resolved_aside_and_commands_keep_their_order() {
    let (mut world, mut client) = driver_and_client();
    world.set_background_delay(Nanos::from_millis(30), Nanos::from_millis(40));
    let host1 = "aeron:udp?endpoint=host1:20000|term-length=64k";
    let first = client.send(publication(host1));
    let second = client.send(publication(IPC));
    let seen = client.run(&mut world, Nanos::from_millis(500));
    let ids: Vec<_> = seen
        .iter()
        .filter_map(|seen| match seen {
            Seen::Publication(ready) => Some(ready.id),
            _ => None,
        })
        .collect();
    assert_eq!(ids, [first, second], "{seen:?}");
}

#[test]
fn a_directory_is_taken_over_from_the_dead_and_not_from_the_living() {
    let (mut world, hosts) = world(7, 1);
    let driver = start(&mut world, hosts[0], config(DIRECTORY));
    let mut client = Client::connect(&mut world, hosts[0], DIRECTORY);
    let publication = client.add_publication(&mut world, IPC);
    let now = world.now(hosts[0]);
    let ports = {
        let process = world.spawn(hosts[0], |_| Vec::new());
        world.ports(process)
    };
    let refused = coracle_driver::launch(config(DIRECTORY), &ports, now);
    assert!(matches!(refused, Err(coracle_driver::LaunchError::Active(_))));
    world.kill(driver);
    start(&mut world, hosts[0], config(DIRECTORY));
    assert!(!client.exists(&publication.ready.log), "at once, by its lock");
    let mut fresh = Client::connect(&mut world, hosts[0], DIRECTORY);
    fresh.add_publication(&mut world, IPC);
}

#[test]
fn errors_of_the_last_driver_are_saved_beside_its_directory() {
    let (mut world, mut client) = driver_and_client();
    client.call(&mut world, publication("aeron:udp"));
    let host = world.hosts().next().unwrap();
    let ports = {
        let process = world.spawn(host, |_| Vec::new());
        world.ports(process)
    };
    world.kill(sim::ProcessId(0));
    start(&mut world, host, config(DIRECTORY));
    let saved: Vec<_> = ports
        .files
        .list(std::path::Path::new("/dev/shm"))
        .unwrap()
        .into_iter()
        .filter(|entry| entry.name.starts_with("driver-2026-01-01"))
        .collect();
    assert_eq!(saved.len(), 1);
    assert!(saved[0].name.ends_with("-error.log") && saved[0].length > 20, "{saved:?}");
}
