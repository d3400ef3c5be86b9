//! Getting a session.

use client::ErrorCode;
use coracle_archive_client::{
    ArchiveClient, ArchiveErrorCode, Config, ConnectError, Credentials, Disconnected,
    FixedCredentials, NoCredentials,
};
use runtime::Nanos;
use wire::archive::response::{Challenge, ControlResponseCode};
use wire::bytes::SemanticVersion;

use crate::scene::{ARCHIVE_ID, SESSION, Scene, config};

struct Shy;

impl Credentials for Shy {
    fn credentials(&mut self) -> Vec<u8> {
        b"who, me?".to_vec()
    }

    fn answer(&mut self, challenge: &[u8]) -> Vec<u8> {
        [challenge, b"!"].concat()
    }
}

#[test]
fn it_asks_for_a_session_and_learns_which_archive_it_is() {
    let mut scene = Scene::new();
    let connecting = scene.connecting(FixedCredentials(b"pw".to_vec()));
    let mut client = scene.outcome(connecting).unwrap();
    assert_eq!(client.control_session_id(), SESSION);
    assert_eq!(client.archive_id(), Some(ARCHIVE_ID));
    let (connect, _) = &scene.archive.connects[0];
    let credentials = format!("encoded_credentials: {:?}", b"pw");
    assert!(connect.contains(&credentials), "{connect}");
    assert!(connect.contains("response_stream_id: 20"), "{connect}");
    scene.poll(&mut client);
    assert!(scene.archive.asked[0].0.starts_with("KeepAlive"), "{:?}", scene.archive.asked);
}

#[test]
fn both_streams_have_one_session_and_short_sparse_terms() {
    let mut scene = Scene::new();
    scene.bed.commands();
    let connecting = scene.connecting(NoCredentials);
    scene.outcome(connecting).unwrap();
    let asked = scene.bed.commands();
    let of = |kind: &str| asked.iter().find(|text| text.starts_with(kind)).unwrap();
    for kind in ["AddSubscription", "AddExclusivePublication"] {
        let text = of(kind);
        for part in ["session-id=4711", "term-length=", "sparse=true"] {
            assert!(text.contains(part), "{text}");
        }
    }
}

#[test]
fn a_challenge_is_answered() {
    let mut scene = Scene::new();
    scene.archive.is_polite = false;
    let mut connecting = scene.connecting(Shy);
    for _ in 0..8 {
        assert!(connecting.poll(scene.bed.place.now).unwrap().is_none());
        scene.step();
    }
    scene.archive.send(&Challenge {
        control_session_id: SESSION,
        correlation_id: scene.archive.connects[0].1,
        version: SemanticVersion::NONE,
        encoded_challenge: b"riddle",
    });
    for _ in 0..2 {
        assert!(connecting.poll(scene.bed.place.now).unwrap().is_none());
        scene.step();
    }
    let (answer, id) = scene.archive.take_asked().remove(0);
    assert!(answer.starts_with("ChallengeResponse"), "{answer}");
    assert!(answer.contains(&format!("{:?}", b"riddle!")), "{answer}");
    scene.archive.is_polite = true;
    scene.archive.respond(id, ControlResponseCode::Ok, SESSION, "");
    assert_eq!(scene.outcome(connecting).unwrap().archive_id(), Some(ARCHIVE_ID));
}

#[test]
fn an_old_archive_is_not_asked_for_its_id() {
    let mut scene = Scene::new();
    scene.archive.version = SemanticVersion::new(1, 10, 0);
    let connecting = scene.connecting(NoCredentials);
    assert_eq!(scene.outcome(connecting).unwrap().archive_id(), None);
}

#[test]
fn a_refusal_says_why_and_so_does_another_version() {
    let refuse = |version: SemanticVersion, relevant_id: i64, text: &str| {
        let mut scene = Scene::new();
        scene.archive.is_polite = false;
        scene.archive.version = version;
        let mut connecting = scene.connecting(NoCredentials);
        for _ in 0..8 {
            assert!(connecting.poll(scene.bed.place.now).unwrap().is_none());
            scene.step();
        }
        let id = scene.archive.connects[0].1;
        scene.archive.respond(id, ControlResponseCode::Error, relevant_id, text);
        scene.outcome(connecting).err().unwrap()
    };
    match refuse(SemanticVersion::new(1, 12, 0), 10, "go away") {
        ConnectError::Refused { cause, .. } => {
            assert_eq!(cause.code, ArchiveErrorCode::AuthenticationRejected);
            assert_eq!(cause.message, "go away");
        }
        other => panic!("{other}"),
    }
    let other = refuse(SemanticVersion::new(2, 0, 0), SESSION, "too old");
    assert!(matches!(&other, ConnectError::Version { message, .. } if message == "too old"));
}

#[test]
fn a_time_out_says_what_did_not_happen() {
    let mut scene = Scene::new();
    scene.archive.is_polite = false;
    let connecting = scene.connecting(NoCredentials);
    let error = scene.outcome(connecting).err().unwrap().to_string();
    assert!(error.contains("the request to connect was not answered within"), "{error}");
    assert!(error.contains("stream 10"), "{error}");

    let mut scene = Scene::new();
    scene.bed.driver.is_mute = true;
    let connecting = scene.connecting(NoCredentials);
    let error = scene.outcome(connecting).err().unwrap().to_string();
    assert!(error.contains("no session id came from the driver"), "{error}");
}

#[test]
fn nobody_listening_is_waited_for_until_the_time_out() {
    let mut scene = Scene::new();
    let now = scene.bed.place.now;
    let elsewhere = Config { control_stream_id: 99, ..config() };
    let client = ArchiveClient::connect(elsewhere, Box::new(NoCredentials), &scene.bed.client, now);
    let begun = scene.bed.place.now.mono;
    let error = scene.outcome(client.unwrap()).err().unwrap().to_string();
    assert!(error.contains("nobody listened"), "{error}");
    assert!(scene.bed.place.now.mono - begun >= Nanos::from_secs(2));
}

#[test]
fn a_stream_that_the_driver_has_no_room_for_yet_is_asked_for_again() {
    let mut scene = Scene::new();
    let text = "wait a moment";
    let mut connecting = scene.connecting(NoCredentials);
    scene.step();
    scene.bed.driver.refusal = Some((ErrorCode::RESOURCE_TEMPORARILY_UNAVAILABLE, text));
    assert!(connecting.poll(scene.bed.place.now).unwrap().is_none());
    assert!(scene.outcome(connecting).is_ok());

    let mut scene = Scene::new();
    let connecting = scene.connecting(NoCredentials);
    scene.step();
    scene.bed.driver.refusal = Some((ErrorCode::INVALID_CHANNEL, "never"));
    let error = scene.outcome(connecting).err().unwrap();
    assert!(matches!(error, ConnectError::Driver { .. }), "{error}");
}

#[test]
fn a_channel_that_is_none_is_refused_at_once() {
    let scene = Scene::new();
    let nonsense = Config { control_channel: "nonsense".to_string(), ..config() };
    let now = scene.bed.place.now;
    let error = ArchiveClient::connect(nonsense, Box::new(NoCredentials), &scene.bed.client, now);
    assert!(matches!(error.err(), Some(ConnectError::Channel { .. })));
}

#[test]
fn closing_says_goodbye_and_gives_up_what_is_open() {
    let (mut scene, mut client) = Scene::connected();
    let request = client.start_position(1);
    client.close();
    assert!(matches!(client.take(request), Some(Err(error))
        if error.to_string() == "start position: the archive went away"));
    assert_eq!(client.poll(scene.bed.place.now), Err(Disconnected::Closed));
    scene.step();
    assert!(scene.archive.take_asked()[0].0.starts_with("CloseSession"));
}
