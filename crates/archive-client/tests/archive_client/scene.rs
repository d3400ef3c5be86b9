//! One archive client, an archive that says what it is told to, and the driver between them.

use client::{
    Client, CorrelationId, ExclusivePublication, FragmentAssembler, Pending, Subscription,
};
use coracle_archive_client::{ArchiveClient, Config, ConnectError, Connecting, Credentials};
use runtime::Nanos;
use wire::archive::CONTROL_PROTOCOL_VERSION;
use wire::archive::request::Request;
use wire::archive::response::{ControlResponse, ControlResponseCode};
use wire::bytes::SemanticVersion;
use wire::message::Message;
use wire::position::StreamId;

use crate::bed::{Bed, Place};

pub(crate) const SESSION: i64 = 4242;
pub(crate) const ARCHIVE_ID: i64 = 77;

/// What an archive was asked: as text, and the id to answer to.
pub(crate) type Asked = (String, i64);

pub(crate) struct FakeArchive {
    client: Client,
    requests: Subscription,
    adding: Option<Pending<ExclusivePublication>>,
    pub(crate) responses: Option<ExclusivePublication>,
    assembler: FragmentAssembler,
    pub(crate) connects: Vec<Asked>,
    pub(crate) asked: Vec<Asked>,
    /// Connects and says its id without being told to.
    pub(crate) is_polite: bool,
    pub(crate) version: SemanticVersion,
}

pub(crate) struct Scene {
    pub(crate) bed: Bed,
    pub(crate) archive: FakeArchive,
}

pub(crate) fn config() -> Config {
    Config {
        control_channel: "aeron:ipc".to_string(),
        response_channel: "aeron:ipc".to_string(),
        message_timeout: Nanos::from_secs(2),
        client_name: "me".to_string(),
        ..Config::default()
    }
}

impl Scene {
    pub(crate) fn new() -> Self {
        let mut bed = Bed::new();
        let mut connecting = Client::connect(Place::config(), &bed.place.ports, bed.place.now);
        let mut client = connecting.poll(bed.place.now).unwrap().unwrap();
        let mut pending = client.add_subscription("aeron:ipc", StreamId(10));
        let _ = client.do_work(bed.place.now).unwrap();
        bed.driver.step(bed.place.now);
        let _ = client.do_work(bed.place.now).unwrap();
        let requests = pending.poll().unwrap().unwrap();
        let archive = FakeArchive {
            client,
            requests,
            adding: None,
            responses: None,
            assembler: FragmentAssembler::new(),
            connects: Vec::new(),
            asked: Vec::new(),
            is_polite: true,
            version: CONTROL_PROTOCOL_VERSION,
        };
        Self { bed, archive }
    }

    pub(crate) fn step(&mut self) {
        self.bed.step();
        self.archive.step(&self.bed);
        self.bed.step();
    }

    pub(crate) fn pass(&mut self, span: Nanos) {
        let end = self.bed.place.now.mono + span;
        while self.bed.place.now.mono < end {
            self.bed.place.pass_time(Nanos::from_millis(50));
            self.step();
        }
    }

    pub(crate) fn connecting(&mut self, credentials: impl Credentials + 'static) -> Connecting {
        let now = self.bed.place.now;
        ArchiveClient::connect(config(), Box::new(credentials), &self.bed.client, now).unwrap()
    }

    /// Goes on until the attempt is over.
    pub(crate) fn outcome(
        &mut self,
        mut connecting: Connecting,
    ) -> Result<ArchiveClient, ConnectError> {
        loop {
            self.bed.place.pass_time(Nanos::from_millis(50));
            self.step();
            if let Some(client) = connecting.poll(self.bed.place.now)? {
                return Ok(client);
            }
        }
    }

    pub(crate) fn connected() -> (Self, ArchiveClient) {
        let mut scene = Self::new();
        let connecting = scene.connecting(coracle_archive_client::NoCredentials);
        let mut client = scene.outcome(connecting).unwrap();
        scene.poll(&mut client);
        scene.archive.asked.clear();
        (scene, client)
    }

    /// The client sends, the archive answers, the client hears it.
    pub(crate) fn poll(&mut self, client: &mut ArchiveClient) {
        let _ = client.poll(self.bed.place.now).unwrap();
        self.step();
        let _ = client.poll(self.bed.place.now).unwrap();
    }
}

impl FakeArchive {
    fn step(&mut self, bed: &Bed) {
        let _ = self.client.do_work(bed.place.now).unwrap();
        if let Some(adding) = &mut self.adding
            && let Some(publication) = adding.poll().unwrap()
        {
            self.responses = Some(publication);
            self.adding = None;
            if self.is_polite {
                let id = self.connects.last().unwrap().1;
                self.respond(id, ControlResponseCode::Ok, SESSION, "");
            }
        }
        let mut taken = Vec::new();
        let Self { requests, assembler, .. } = self;
        requests.poll(100, |fragment| {
            assembler.on_fragment(fragment, |message| taken.push(message.payload().to_vec()));
        });
        for bytes in taken {
            self.on_request(&Request::decode(&bytes).unwrap().unwrap());
        }
    }

    fn on_request(&mut self, request: &Request<'_>) {
        let text = format!("{request:?}");
        match request {
            Request::AuthConnectRequest(connect) => {
                self.connects.push((text, connect.correlation_id));
                let channel = std::str::from_utf8(connect.response_channel).unwrap();
                let stream_id = StreamId(connect.response_stream_id);
                self.adding = Some(self.client.add_exclusive_publication(channel, stream_id));
            }
            Request::ArchiveIdRequest(request) if self.is_polite => {
                self.respond(request.correlation_id, ControlResponseCode::Ok, ARCHIVE_ID, "");
            }
            _ => {
                let id = correlation_id(&text);
                self.asked.push((text, id));
            }
        }
    }

    pub(crate) fn send<'a>(&mut self, message: &impl Message<'a>) {
        let mut bytes = vec![0; message.encoded_length()];
        message.encode(&mut bytes).unwrap();
        self.responses.as_mut().unwrap().offer(&bytes).unwrap();
    }

    pub(crate) fn respond(
        &mut self,
        correlation_id: i64,
        code: ControlResponseCode,
        relevant_id: i64,
        message: &str,
    ) {
        let version = self.version;
        self.send(&ControlResponse {
            control_session_id: SESSION,
            correlation_id,
            relevant_id,
            code,
            version,
            error_message: message.as_bytes(),
        });
    }

    pub(crate) fn ok(&mut self, id: CorrelationId, relevant_id: i64) {
        self.respond(id.0, ControlResponseCode::Ok, relevant_id, "");
    }

    /// Everything asked since the last call.
    pub(crate) fn take_asked(&mut self) -> Vec<Asked> {
        std::mem::take(&mut self.asked)
    }

    /// Ends the stream of answers, as the driver tells.
    pub(crate) fn hang_up(&mut self, bed: &mut Bed) {
        let id = self.responses.as_ref().unwrap().registration_id();
        let subscriptions: Vec<_> = bed.driver.subscriptions.keys().copied().collect();
        for subscription in subscriptions {
            bed.driver.unlink(id, subscription);
        }
    }
}

/// The number behind `correlation_id: ` in the text of a request; -1 when there is none.
fn correlation_id(text: &str) -> i64 {
    let Some((_, tail)) = text.split_once("correlation_id: ") else { return -1 };
    let end = tail.find([',', ' ']).unwrap();
    tail[..end].parse().unwrap()
}
