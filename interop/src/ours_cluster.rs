//! Our client of a cluster.

use std::collections::BTreeSet;
use std::path::Path;

use coracle::cluster_client::{self, ClusterClient, EgressEvent, NoCredentials, OfferError};
use coracle::os;
use coracle::prelude::*;
use coracle::runtime::Nanos;

use crate::content::Content;
use crate::members::Member;
use crate::ours::{self, Deadline};

/// Most messages on their way.
const WINDOW: usize = 100;

/// How long to wait for an echo before everything is sent again.
const PATIENCE: Nanos = Nanos::from_secs(2);

/// A session of ours, over the driver of a member.
pub(crate) struct Session {
    cluster: ClusterClient,
    _client: Client,
    content: Content,
    next: u64,
    unacknowledged: BTreeSet<u64>,
    leader_changes: u64,
    sent_again: u64,
}

impl Session {
    /// Opens it, knowing these endpoints.
    ///
    /// # Errors
    /// It does not open.
    pub(crate) fn open(
        member: &Member,
        endpoints: String,
        content: Content,
    ) -> Result<Self, String> {
        Self::open_by(member.aeron(), endpoints, content)
    }

    /// The same over any driver of this host.
    ///
    /// # Errors
    /// It does not open.
    pub(crate) fn open_by(
        aeron: &Path,
        endpoints: String,
        content: Content,
    ) -> Result<Self, String> {
        let client = ours::connect(aeron)?;
        let config = cluster_client::Config {
            ingress_endpoints: endpoints,
            egress_channel: "aeron:udp?endpoint=127.0.0.1:0".to_string(),
            ..Default::default()
        };
        let handle = (*client).clone();
        let now = os::clock::now();
        let cluster = ClusterClient::connect(config, Box::new(NoCredentials), handle, now);
        let mut session = Self {
            cluster,
            _client: client,
            content,
            next: 0,
            unacknowledged: BTreeSet::new(),
            leader_changes: 0,
            sent_again: 0,
        };
        let deadline = Deadline::new();
        while !session.cluster.is_connected() {
            session.step()?;
            deadline.pause("opening a session")?;
        }
        Ok(session)
    }

    /// The member that leads, as it was told.
    pub(crate) fn leader(&self) -> Option<usize> {
        usize::try_from(self.cluster.leader_member_id()?).ok()
    }

    /// Of how many new leaders it has heard.
    pub(crate) const fn leader_changes(&self) -> u64 {
        self.leader_changes
    }

    /// How many messages it sent again.
    pub(crate) const fn sent_again(&self) -> u64 {
        self.sent_again
    }

    /// Sends this many more numbered messages and takes their echoes. `at_half` is called once half
    /// of them are sent.
    ///
    /// # Errors
    /// One does not come back, or not as it was; or the session ends.
    pub(crate) fn echo(
        &mut self,
        count: u64,
        at_half: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        let mut at_half = Some(at_half);
        let (begin, end) = (self.next, self.next + count);
        let mut deadline = Deadline::new();
        let mut patience = os::clock::now().mono + PATIENCE;
        while self.next < end || !self.unacknowledged.is_empty() {
            let before = self.unacknowledged.len();
            let changes = self.leader_changes;
            self.step()?;
            if self.leader_changes != changes || os::clock::now().mono > patience {
                self.send_again()?;
                patience = os::clock::now().mono + PATIENCE;
            }
            while self.next < end && self.unacknowledged.len() < WINDOW && self.offer(self.next)? {
                self.unacknowledged.insert(self.next);
                self.next += 1;
            }
            if self.next - begin >= count / 2
                && let Some(at_half) = at_half.take()
            {
                at_half()?;
            }
            if self.unacknowledged.len() == before {
                deadline.pause("echoes")?;
            } else {
                deadline = Deadline::new();
                patience = os::clock::now().mono + PATIENCE;
            }
        }
        Ok(())
    }

    /// Keeps the session for so long without a word to the service.
    ///
    /// # Errors
    /// It ends.
    pub(crate) fn keep(&mut self, span: Nanos) -> Result<(), String> {
        let end = os::clock::now().mono + span;
        while os::clock::now().mono < end {
            self.step()?;
            os::thread::sleep(Nanos::from_millis(1));
        }
        Ok(())
    }

    /// Says goodbye.
    pub(crate) fn close(mut self) {
        self.cluster.close();
    }

    /// A leader that went may have taken them with it.
    fn send_again(&mut self) -> Result<(), String> {
        for number in self.unacknowledged.clone() {
            self.sent_again += 1;
            let deadline = Deadline::new();
            while self.unacknowledged.contains(&number) && !self.offer(number)? {
                self.step()?;
                deadline.pause("sending again")?;
            }
        }
        Ok(())
    }

    fn offer(&mut self, number: u64) -> Result<bool, String> {
        let mut payload = Vec::new();
        self.content.write(number, &mut payload);
        match self.cluster.offer_parts(&[&number.to_le_bytes(), &payload]) {
            Ok(()) => Ok(true),
            Err(OfferError::Closed) => Err("the session is closed".to_string()),
            Err(_) => Ok(false),
        }
    }

    fn step(&mut self) -> Result<(), String> {
        let now = os::clock::now();
        let _ = self.cluster.do_work(now).map_err(|error| error.to_string())?;
        let Self { cluster, content, unacknowledged, leader_changes, .. } = self;
        let mut result = Ok(());
        let mut expected = Vec::new();
        cluster.poll(100, now, |event| match event {
            EgressEvent::Message { payload, .. } => {
                let Some((number, echo)) = payload.split_first_chunk::<8>() else {
                    result = Err("an echo without a number".to_string());
                    return;
                };
                let number = u64::from_le_bytes(*number);
                content.write(number, &mut expected);
                if echo != expected {
                    result = Err(format!("echo {number} differs"));
                }
                unacknowledged.remove(&number);
            }
            EgressEvent::NewLeader { .. } => *leader_changes += 1,
            EgressEvent::AdminResponse { .. } => {}
        });
        result
    }
}
