//! The network port over the loopback interface, at ports that the kernel chooses.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.
#![allow(clippy::disallowed_methods)] // A test of the real world may read its clock.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use coracle_os::udp::{Calls, OsNetwork};
use runtime::Nanos;
use runtime::network::{Network as _, Outgoing, Socket, SocketOptions};

const ALL_CALLS: [Calls; 3] = [Calls::Segmented, Calls::Batched, Calls::Plain];

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn open(network: &OsNetwork, at: SocketAddr) -> Box<dyn Socket> {
    network.bind(&SocketOptions::at(at)).unwrap()
}

/// Receives until `count` datagrams came or nothing came for a second.
fn receive(network: &OsNetwork, socket: &mut dyn Socket, count: usize) -> Vec<Vec<u8>> {
    let mut received = Vec::new();
    let end = Instant::now() + Duration::from_secs(1);
    while received.len() < count && Instant::now() < end {
        let got = socket.receive(3, &mut |datagram| received.push(datagram.bytes.to_vec()));
        if got.unwrap() == 0 {
            network.wait(Nanos::from_millis(10));
        }
    }
    received
}

#[test]
fn batches_of_mixed_lengths_arrive_whole_and_in_order_by_any_calls() {
    for (sending, receiving) in
        ALL_CALLS.into_iter().flat_map(|one| ALL_CALLS.map(|two| (one, two)))
    {
        for at in [loopback(0), (Ipv6Addr::LOCALHOST, 0).into()] {
            let from = OsNetwork::with_calls(sending).unwrap();
            let to = OsNetwork::with_calls(receiving).unwrap();
            let (mut sender, mut receiver) = (open(&from, at), open(&to, at));
            let lengths = [32, 1_408, 1_408, 1_408, 700, 1_408, 1_408, 24, 24, 24, 9_000, 1];
            let sent: Vec<Vec<u8>> =
                (1_u8..).zip(lengths).map(|(number, length)| vec![number; length]).collect();
            let datagrams: Vec<&[u8]> = sent.iter().map(Vec::as_slice).collect();
            let destination = Some(receiver.local_address());
            let batch = [Outgoing { to: destination, datagrams: &datagrams }];
            assert_eq!(sender.send(&batch).unwrap(), sent.len());
            let received = receive(&to, receiver.as_mut(), sent.len());
            assert!(received == sent, "{sending:?} to {receiving:?} at {at}");
        }
    }
}

#[test]
fn one_batch_reaches_several_destinations() {
    let network = OsNetwork::new().unwrap();
    let mut sockets: Vec<_> = (0..3).map(|_| open(&network, loopback(0))).collect();
    let addresses: Vec<_> = sockets.iter().map(|socket| socket.local_address()).collect();
    let (one, two): (&[u8], &[u8]) = (b"one", b"two");
    let batch = [
        Outgoing { to: Some(addresses[1]), datagrams: &[one, one] },
        Outgoing { to: Some(addresses[2]), datagrams: &[] },
        Outgoing { to: Some(addresses[2]), datagrams: &[two] },
    ];
    assert_eq!(sockets[0].send(&batch).unwrap(), 3);
    assert_eq!(receive(&network, sockets[1].as_mut(), 2), [one, one]);
    let mut source = None;
    while source.is_none() {
        let _ = sockets[2].receive(1, &mut |datagram| source = Some(datagram.source)).unwrap();
    }
    assert_eq!(source, Some(addresses[0]));
}

#[test]
fn many_datagrams_leave_in_order_as_the_buffers_allow() {
    for calls in ALL_CALLS {
        let network = OsNetwork::with_calls(calls).unwrap();
        let mut sender = open(&network, loopback(0));
        let mut receiver = open(&network, loopback(0));
        let sent: Vec<[u8; 4]> = (0..3_000_u32).map(u32::to_le_bytes).collect();
        let mut received = Vec::new();
        let mut accepted = 0;
        while accepted < sent.len() {
            let datagrams: Vec<&[u8]> =
                sent[accepted..].iter().take(200).map(<[u8; 4]>::as_slice).collect();
            let batch = [Outgoing { to: Some(receiver.local_address()), datagrams: &datagrams }];
            accepted += sender.send(&batch).unwrap();
            received.extend(receive(&network, receiver.as_mut(), accepted - received.len()));
        }
        assert!(received.iter().eq(sent.iter()), "{calls:?}: {} received", received.len());
    }
}

#[test]
fn refusals_by_a_peer_that_is_gone_are_not_errors() {
    for calls in ALL_CALLS {
        let network = OsNetwork::with_calls(calls).unwrap();
        let gone = open(&network, loopback(0)).local_address();
        let options = SocketOptions { connect: Some(gone), ..SocketOptions::at(loopback(0)) };
        let mut sender = network.bind(&options).unwrap();
        for _ in 0..10 {
            let batch = [Outgoing { to: None, datagrams: &[b"hello"] }];
            assert!(sender.send(&batch).unwrap() <= 1);
            assert_eq!(sender.receive(10, &mut |_| panic!("nobody sent")).unwrap(), 0);
        }
        let mut other = open(&network, loopback(0));
        sender.connect(other.local_address()).unwrap();
        let batch = [Outgoing { to: None, datagrams: &[b"hello"] }];
        assert_eq!(sender.send(&batch).unwrap(), 1);
        assert_eq!(receive(&network, other.as_mut(), 1), [b"hello"]);
    }
}

#[test]
fn a_destination_without_a_way_does_not_stop_the_others() {
    for calls in ALL_CALLS {
        let network = OsNetwork::with_calls(calls).unwrap();
        let mut sender = open(&network, loopback(0));
        let mut receiver = open(&network, loopback(0));
        // From loopback there is no way to the outside; the kernel says so or swallows it.
        let nowhere = SocketAddr::from((Ipv4Addr::new(240, 0, 0, 1), 9));
        let batch = [
            Outgoing { to: Some(nowhere), datagrams: &[b"lost"] },
            Outgoing { to: Some(receiver.local_address()), datagrams: &[b"found"] },
        ];
        let _ = sender.send(&batch);
        let rest = &batch[1..];
        let _ = sender.send(rest);
        assert_eq!(receive(&network, receiver.as_mut(), 1), [b"found"]);
    }
}

#[test]
fn buffers_are_granted_as_asked_and_told_in_usable_bytes() {
    let network = OsNetwork::new().unwrap();
    let options = SocketOptions {
        receive_buffer_length: 65_536,
        send_buffer_length: 32_768,
        ..SocketOptions::at(loopback(0))
    };
    let lengths = network.bind(&options).unwrap().buffer_lengths();
    assert_eq!((lengths.receive, lengths.send), (65_536, 32_768));
    assert!(network.default_buffer_lengths().unwrap().receive > 0);
}

#[test]
fn a_group_reaches_its_members_and_nobody_else() {
    let network = OsNetwork::new().unwrap();
    let group: IpAddr = Ipv4Addr::new(239, 255, 77, 1).into();
    let other: IpAddr = Ipv4Addr::new(239, 255, 77, 2).into();
    let port = open(&network, loopback(0)).local_address().port();
    let member_of = |group| SocketOptions {
        group: Some(group),
        interface: Some(Ipv4Addr::LOCALHOST.into()),
        reuse_address: true,
        ..SocketOptions::at((Ipv4Addr::UNSPECIFIED, port).into())
    };
    let mut members = [group, group, other].map(|ip| network.bind(&member_of(ip)).unwrap());
    let options = SocketOptions {
        interface: Some(Ipv4Addr::LOCALHOST.into()),
        ttl: Some(0),
        ..SocketOptions::at((Ipv4Addr::UNSPECIFIED, 0).into())
    };
    let mut sender = network.bind(&options).unwrap();
    let batch = [Outgoing { to: Some((group, port).into()), datagrams: &[b"all"] }];
    assert_eq!(sender.send(&batch).unwrap(), 1);
    assert_eq!(receive(&network, members[0].as_mut(), 1), [b"all"]);
    assert_eq!(receive(&network, members[1].as_mut(), 1), [b"all"]);
    assert_eq!(members[2].receive(1, &mut |_| ()).unwrap(), 0);
}

#[test]
fn waiting_ends_with_a_datagram_or_with_the_time() {
    let network = OsNetwork::new().unwrap();
    let mut sender = open(&network, loopback(0));
    let receiver = open(&network, loopback(0));
    let begin = Instant::now();
    network.wait(Nanos::from_millis(20));
    assert!(begin.elapsed() >= Duration::from_millis(20));
    let batch = [Outgoing { to: Some(receiver.local_address()), datagrams: &[b"wake"] }];
    assert_eq!(sender.send(&batch).unwrap(), 1);
    network.wait(Nanos::from_secs(60));
    assert!(begin.elapsed() < Duration::from_secs(30));
}
