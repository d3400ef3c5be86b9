//! The images of an endpoint by stream and session.
//!
//! Datagrams come in runs of one session: the image of the last is looked at first.

use super::image::ReceiverImage;

/// Stream id and session id.
pub(crate) type Key = (i32, i32);

/// Images in the order of their keys.
#[derive(Default)]
pub(crate) struct Images {
    list: Vec<ReceiverImage>,
    recent: usize,
}

impl ReceiverImage {
    fn key(&self) -> Key {
        let shape = &self.shared.shape;
        (shape.stream.0, shape.session.0)
    }
}

impl Images {
    fn index_of(&self, key: Key) -> Result<usize, usize> {
        match self.list.get(self.recent) {
            Some(image) if image.key() == key => Ok(self.recent),
            _ => self.list.binary_search_by_key(&key, ReceiverImage::key),
        }
    }

    /// The image of a stream and session.
    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut ReceiverImage> {
        self.recent = self.index_of(key).ok()?;
        self.list.get_mut(self.recent)
    }

    /// Adds one; an older one of the same key goes.
    pub(crate) fn insert(&mut self, image: ReceiverImage) {
        match self.index_of(image.key()) {
            Ok(index) => self.list[index] = image,
            Err(index) => self.list.insert(index, image),
        }
    }

    /// Takes one out.
    pub(crate) fn remove(&mut self, key: Key) -> Option<ReceiverImage> {
        let index = self.index_of(key).ok()?;
        Some(self.list.remove(index))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &ReceiverImage)> {
        self.list.iter().map(|image| (image.key(), image))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut ReceiverImage)> {
        self.list.iter_mut().map(|image| (image.key(), image))
    }
}
