//! [`Subscription`]: owns the images of a stream and polls them in turn.

use std::collections::BTreeSet;
use std::sync::mpsc::Receiver;

use wire::control::CorrelationId;
use wire::counters::{CounterId, CounterTypeId, LocalAddressKey, channel_status};
use wire::position::{SessionId, StreamId};
use wire::uri::ChannelUri;

use crate::fragment::{Action, Fragment};
use crate::handle::{ChannelStatus, Handle, Resource};
use crate::image::{Block, Image};
use crate::pending::Pending;
use crate::state::{Changes, Closed};

/// Receives a stream from all who publish it. Owned by one thread at a time.
///
/// New images come in, and closed ones leave, whenever it is polled: no lock is taken. To hear of
/// them call [`Subscription::poll_image_events`]. Dropping it closes it.
pub struct Subscription {
    setup: SubscriptionSetup,
    images: Vec<Member>,
    /// Announced images that have closed since.
    departed: Vec<Image>,
    /// Where the next poll begins: each image gets to be the first.
    next: usize,
}

struct Member {
    image: Image,
    is_announced: bool,
}

/// What the conductor hands over.
pub(crate) struct SubscriptionSetup {
    pub(crate) handle: Handle,
    pub(crate) registration_id: CorrelationId,
    pub(crate) channel: String,
    pub(crate) stream_id: StreamId,
    pub(crate) channel_status_id: CounterId,
    pub(crate) closed: Closed,
    pub(crate) changes: Changes,
    pub(crate) inbox: Receiver<Image>,
}

/// A change of a subscription's images.
pub enum ImageEvent<'a> {
    /// It is new, and can be polled.
    Available(&'a mut Image),
    /// It is closed: its final state can be looked at.
    Unavailable(&'a mut Image),
}

impl Subscription {
    pub(crate) const fn new(setup: SubscriptionSetup) -> Self {
        Self { setup, images: Vec::new(), departed: Vec::new(), next: 0 }
    }

    /// Hands at most `limit` fragments to the handler, image by image; returns how many.
    ///
    /// Positions are stored once an image's turn is over.
    pub fn poll(&mut self, limit: usize, mut on_fragment: impl FnMut(Fragment<'_>)) -> usize {
        self.in_turn(limit, |image, limit| image.poll(limit, &mut on_fragment))
    }

    /// The same, with a handler that says how to go on; see [`Action`].
    pub fn controlled_poll(
        &mut self,
        limit: usize,
        mut on_fragment: impl FnMut(Fragment<'_>) -> Action,
    ) -> usize {
        self.in_turn(limit, |image, limit| image.controlled_poll(limit, &mut on_fragment))
    }

    /// Hands over, of each image, the whole frames that are there, up to `length_max` bytes in one
    /// piece; returns how many bytes.
    pub fn block_poll(&mut self, length_max: usize, mut on_block: impl FnMut(Block<'_>)) -> usize {
        self.update();
        let images = self.images.iter_mut();
        images.map(|member| member.image.block_poll(length_max, &mut on_block)).sum()
    }

    #[inline]
    fn in_turn(&mut self, limit: usize, mut poll: impl FnMut(&mut Image, usize) -> usize) -> usize {
        self.update();
        let first = if self.next < self.images.len() { self.next } else { 0 };
        self.next = first + 1;
        let mut done = 0;
        let (before, after) = self.images.split_at_mut(first);
        for member in after.iter_mut().chain(before) {
            if done >= limit {
                break;
            }
            done += poll(&mut member.image, limit - done);
        }
        done
    }

    /// Takes in new images and lets go of closed ones, without polling.
    #[inline]
    pub fn update(&mut self) {
        if self.setup.changes.take() {
            self.take_changes();
        }
    }

    #[cold]
    fn take_changes(&mut self) {
        while let Ok(image) = self.setup.inbox.try_recv() {
            self.images.push(Member { image, is_announced: false });
        }
        if self.images.iter().any(|member| member.image.is_closed()) {
            self.let_go();
        }
    }

    fn let_go(&mut self) {
        let mut index = 0;
        while let Some(member) = self.images.get(index) {
            if !member.image.is_closed() {
                index += 1;
                continue;
            }
            let member = self.images.remove(index);
            if member.is_announced {
                self.departed.push(member.image);
            }
        }
    }

    /// Tells of images that have come or gone since the last call; returns how many. Each image
    /// that was announced is announced gone, once; one that came and went between two calls is not
    /// told.
    pub fn poll_image_events(&mut self, mut on_event: impl FnMut(ImageEvent<'_>)) -> usize {
        self.update();
        let mut count = self.departed.len();
        for mut image in self.departed.drain(..) {
            on_event(ImageEvent::Unavailable(&mut image));
        }
        for member in self.images.iter_mut().filter(|member| !member.is_announced) {
            member.is_announced = true;
            count += 1;
            on_event(ImageEvent::Available(&mut member.image));
        }
        count
    }

    /// The images, oldest first. Call [`Subscription::update`] before if it is not polled.
    pub fn images(&self) -> impl ExactSizeIterator<Item = &Image> {
        self.images.iter().map(|member| &member.image)
    }

    /// The images, oldest first, to be polled one by one.
    pub fn images_mut(&mut self) -> impl ExactSizeIterator<Item = &mut Image> {
        self.images.iter_mut().map(|member| &mut member.image)
    }

    /// How many images there are.
    #[must_use]
    pub fn image_count(&self) -> usize {
        self.images.len()
    }

    /// The image of a publisher, newest if there are several.
    pub fn image_by_session(&mut self, session_id: SessionId) -> Option<&mut Image> {
        self.update();
        self.images_mut().filter(|image| image.session_id() == session_id).last()
    }

    /// Takes an image out, to be polled elsewhere. It is closed as before when its publisher goes
    /// or this subscription closes, but no event tells of it any more.
    pub fn take_image(&mut self, correlation_id: CorrelationId) -> Option<Image> {
        self.update();
        let found = |member: &Member| member.image.correlation_id() == correlation_id;
        let index = self.images.iter().position(found)?;
        Some(self.images.remove(index).image)
    }

    /// Whether a publisher is there. Call [`Subscription::update`] before if it is not polled.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.images().any(|image| !image.is_closed())
    }

    /// Whether it is closed, by its owner or with its client.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.setup.closed.is_set()
    }

    /// The channel, as it was asked for.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.setup.channel
    }

    /// The stream.
    #[must_use]
    pub const fn stream_id(&self) -> StreamId {
        self.setup.stream_id
    }

    /// The id of the request that made it.
    #[must_use]
    pub const fn registration_id(&self) -> CorrelationId {
        self.setup.registration_id
    }

    /// The counter that shows the channel's status; none for IPC and spies.
    #[must_use]
    pub const fn channel_status_id(&self) -> CounterId {
        self.setup.channel_status_id
    }

    /// What the channel's socket is doing.
    #[must_use]
    pub fn channel_status(&self) -> ChannelStatus {
        self.setup.handle.channel_status(self.setup.channel_status_id)
    }

    /// The addresses of the channel's sockets, as `ip:port`, once they are open. Allocates.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<String> {
        local_addresses(&self.setup.handle, self.setup.channel_status_id)
    }

    /// The endpoint with the port that was chosen for `endpoint=host:0`; `None` until it is known.
    #[must_use]
    pub fn resolved_endpoint(&self) -> Option<String> {
        self.local_addresses().into_iter().next()
    }

    /// The channel with [`Subscription::resolved_endpoint`] in place of a port 0: what to tell a
    /// peer. `None` until it is known, or when the channel is not valid.
    #[must_use]
    pub fn resolved_channel(&self) -> Option<String> {
        let mut uri = ChannelUri::parse(&self.setup.channel).ok()?;
        let wildcard = uri.value("endpoint").is_some_and(|text| text.ends_with(":0"));
        if !wildcard {
            return Some(self.setup.channel.clone());
        }
        uri.set("endpoint", self.resolved_endpoint()?);
        Some(uri.to_string())
    }

    /// Receives from one more destination (control-mode manual).
    pub fn add_destination(&self, channel: &str) -> Pending<()> {
        self.setup.handle.add_receive_destination(self.setup.registration_id, channel)
    }

    /// Receives from one destination less.
    pub fn remove_destination(&self, channel: &str) -> Pending<()> {
        self.setup.handle.remove_receive_destination(self.setup.registration_id, channel)
    }

    /// Closes it and its images. Dropping does the same.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if self.setup.closed.set() {
            let id = self.setup.registration_id;
            self.setup.handle.remove(id, Resource::Subscription, false);
        }
    }
}

/// The active local addresses of a channel, in order of their counters.
pub(crate) fn local_addresses(handle: &Handle, channel_status_id: CounterId) -> Vec<String> {
    if handle.channel_status(channel_status_id) != ChannelStatus::Active
        || channel_status_id == CounterId::NONE
    {
        return Vec::new();
    }
    let mut addresses = BTreeSet::new();
    let cnc = &handle.shared().cnc;
    cnc.for_each_counter(CounterTypeId::LOCAL_ADDRESS, |id, key| {
        if let Some(key) = LocalAddressKey::decode(key)
            && key.channel_status_id == channel_status_id.0
            && cnc.counter_value(id) == Some(channel_status::ACTIVE)
        {
            addresses.insert((id, key.address.to_string()));
        }
    });
    addresses.into_iter().map(|(_, address)| address).collect()
}
