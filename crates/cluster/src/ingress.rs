//! The streams on which clients speak, and which image each session came by.
//!
//! They are closed when an election begins and opened when it is over: a client finds its new
//! leader by a new image, so that none of its messages can be lost unnoticed in between.

pub mod codec;

use std::collections::BTreeMap;

use client::{
    Action, AddError, CorrelationId, Fragment, FragmentAssembler, Handle, ImageEvent, Pending,
    Subscription,
};
use consensus::{ClientInput, ClusterSessionId};
use runtime::{Nanos, Now};
use wire::cluster::ingress::SessionMessageHeader;
use wire::position::{SessionId, StreamId};

use codec::{FromClient, IngressError};

use crate::channels;
use crate::config::{ChannelsConfig, Settings};

/// When a subscription that the driver refused is asked for again: a name may resolve by then.
const RETRY_INTERVAL: Nanos = Nanos::from_secs(1);
/// Clients of this host.
const IPC: &str = "aeron:ipc";

/// What is recorded as an error; the member goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The driver refuses a subscription.
    #[error("clients cannot be heard on {channel}: {cause}")]
    Refused {
        /// What was asked for.
        channel: String,
        /// The driver's reason.
        cause: AddError,
    },
    /// See [`IngressError`].
    #[error(transparent)]
    Message(#[from] IngressError),
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is done with.
    Done,
    /// It is done with, and was of this open session.
    Of(ClusterSessionId),
    /// It cannot be taken now: leave it and what stands behind it.
    Wait,
}

enum State {
    Asked(Pending<Subscription>),
    Open(Subscription),
    Refused { again_at: Nanos },
}

/// One subscription with its images.
struct Stream {
    channel: String,
    state: State,
    /// Of this stream alone: another may have an image of the same transport session.
    assembler: FragmentAssembler,
    images: Vec<Source>,
}

/// An image, and who it is of.
struct Source {
    session_id: SessionId,
    image: CorrelationId,
    address: String,
}

/// All that clients say. Nothing here blocks.
pub struct Ingress {
    handle: Handle,
    stream_id: StreamId,
    channel: String,
    is_shared: bool,
    is_ipc_allowed: bool,
    streams: Vec<Stream>,
    links: BTreeMap<ClusterSessionId, CorrelationId>,
}

impl Ingress {
    /// Closed.
    #[must_use]
    pub fn new(handle: &Handle, settings: &Settings, config: &ChannelsConfig) -> Self {
        let channel = channels::ingress_subscription(&settings.ingress, &settings.own);
        Self {
            handle: handle.clone(),
            stream_id: StreamId(config.ingress_stream_id),
            channel: channel.to_string(),
            is_shared: channels::is_ingress_shared(&settings.ingress),
            is_ipc_allowed: config.ingress_ipc_allowed && !settings.ingress.is_ipc(),
            streams: Vec::new(),
            links: BTreeMap::new(),
        }
    }

    /// Whether it was opened and not closed since.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        !self.streams.is_empty()
    }

    /// Opens what a member in service hears: a follower its own endpoint, to say who leads; the
    /// leader also what the members share, and its own host.
    pub fn open(&mut self, is_leader: bool) {
        if self.is_open() {
            return;
        }
        if is_leader || !self.is_shared {
            self.ask(self.channel.clone());
        }
        if is_leader && self.is_ipc_allowed {
            self.ask(IPC.to_string());
        }
    }

    fn ask(&mut self, channel: String) {
        let state = State::Asked(self.handle.add_subscription(&channel, self.stream_id));
        let (assembler, images) = (FragmentAssembler::new(), Vec::new());
        self.streams.push(Stream { channel, state, assembler, images });
    }

    /// Lets every image go. Sessions outlive it: their clients find the leader anew.
    pub fn close(&mut self) {
        self.streams.clear();
        self.links.clear();
    }

    /// Takes in subscriptions and images that have come, and tells of sessions whose image has
    /// gone. Returns when something is to be asked for again.
    pub fn advance(
        &mut self,
        now: Now,
        mut on_input: impl FnMut(ClientInput),
        mut on_error: impl FnMut(StreamError),
    ) -> Nanos {
        let mut due = Nanos::MAX;
        for stream in &mut self.streams {
            match &mut stream.state {
                State::Asked(pending) => match pending.poll() {
                    Ok(None) => {}
                    Ok(Some(subscription)) => stream.state = State::Open(subscription),
                    Err(cause) => {
                        let channel = stream.channel.clone();
                        on_error(StreamError::Refused { channel, cause });
                        stream.state = State::Refused { again_at: now.mono + RETRY_INTERVAL };
                    }
                },
                State::Refused { again_at } if now.mono >= *again_at => {
                    let asked = self.handle.add_subscription(&stream.channel, self.stream_id);
                    stream.state = State::Asked(asked);
                }
                State::Refused { again_at } => due = due.min(*again_at),
                State::Open(_) => {}
            }
            stream.follow_images(|image| {
                self.links.retain(|&session, link| {
                    if *link == image {
                        on_input(ClientInput::IngressLost(session));
                    }
                    *link != image
                });
            });
        }
        due
    }

    /// Hands over what clients said, at most `limit` fragments of each stream; returns how many.
    pub fn receive(
        &mut self,
        limit: usize,
        taker: &mut impl Taker,
        mut on_error: impl FnMut(StreamError),
    ) -> usize {
        let mut count = 0;
        let links = &mut self.links;
        for stream in &mut self.streams {
            let State::Open(subscription) = &mut stream.state else { continue };
            let (assembler, images) = (&mut stream.assembler, &stream.images);
            // Messages come in runs of one session: it is linked after the first.
            let mut linked = None;
            count += subscription.controlled_poll(limit, |fragment| {
                assembler.on_fragment_controlled(fragment, |message| {
                    let taken = match SessionMessageHeader::split(message.payload()) {
                        Some((header, payload)) => taker.message(&header, payload),
                        None => take_other(message, taker, &mut on_error),
                    };
                    match taken {
                        Taken::Done => {}
                        Taken::Of(session) if linked == Some(session) => {}
                        Taken::Of(session) => {
                            link(links, session, images, message.session_id());
                            linked = Some(session);
                        }
                        Taken::Wait => return Action::Abort,
                    }
                    Action::Continue
                })
            });
        }
        count
    }

    /// Address of the newest image with this transport session.
    #[must_use]
    pub fn address(&self, session_id: SessionId) -> Option<&str> {
        let mut sources = self.streams.iter().flat_map(|stream| stream.images.iter().rev());
        sources.find(|source| source.session_id == session_id).map(|source| &*source.address)
    }

    /// Forgets a session that is over.
    pub fn forget(&mut self, session: ClusterSessionId) {
        self.links.remove(&session);
    }
}

/// Who takes what clients say.
pub trait Taker {
    /// A message for the log.
    fn message(&mut self, header: &SessionMessageHeader, payload: &[u8]) -> Taken;

    /// Anything, from this transport session.
    fn take(&mut self, said: FromClient<'_>, transport: SessionId) -> Taken;
}

#[cold]
fn take_other(
    message: Fragment<'_>,
    taker: &mut impl Taker,
    on_error: &mut impl FnMut(StreamError),
) -> Taken {
    match codec::decode(message.payload()) {
        Ok(Some(decoded)) => taker.take(decoded, message.session_id()),
        Ok(None) => Taken::Done,
        Err(error) => {
            on_error(error.into());
            Taken::Done
        }
    }
}

/// A session stays with the image of its first message: it ends with it.
fn link(
    links: &mut BTreeMap<ClusterSessionId, CorrelationId>,
    session: ClusterSessionId,
    images: &[Source],
    transport: SessionId,
) {
    if links.contains_key(&session) {
        return;
    }
    if let Some(source) = images.iter().rev().find(|source| source.session_id == transport) {
        links.insert(session, source.image);
    }
}

impl Stream {
    fn follow_images(&mut self, mut on_gone: impl FnMut(CorrelationId)) {
        let State::Open(subscription) = &mut self.state else { return };
        let (images, assembler) = (&mut self.images, &mut self.assembler);
        subscription.poll_image_events(|event| match event {
            ImageEvent::Available(image) => {
                images.push(Source {
                    session_id: image.session_id(),
                    image: image.correlation_id(),
                    address: image.source_identity().to_string(),
                });
            }
            ImageEvent::Unavailable(image) => {
                let gone = image.correlation_id();
                images.retain(|source| source.image != gone);
                assembler.remove(image.session_id());
                on_gone(gone);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_stays_with_its_first_image() {
        let session = ClusterSessionId(4);
        let source = |(session_id, image)| Source {
            session_id: SessionId(session_id),
            image: CorrelationId(image),
            address: String::new(),
        };
        let images = [(7, 70), (8, 80), (7, 71)].map(source);
        let mut links = BTreeMap::new();
        link(&mut links, session, &images, SessionId(9));
        assert!(links.is_empty(), "an image that is not known");
        link(&mut links, session, &images, SessionId(7));
        assert_eq!(links.get(&session), Some(&CorrelationId(71)), "the newest of its name");
        link(&mut links, session, &images, SessionId(8));
        assert_eq!(links.get(&session), Some(&CorrelationId(71)));
    }
}
