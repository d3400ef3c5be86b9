//! Counters: one writer each, read by anybody, named by records that tools can list.
//!
//! Layout: [`wire::counters`]. The driver allocates and frees ([`CountersManager`]); whoever owns a
//! counter writes its value ([`Counter`]); all others read ([`CounterReader`], [`CountersReader`]).
//! Ids are used again a second after they were freed: whoever keeps an id compares the registration
//! id before trusting it.

use std::collections::VecDeque;

use thiserror::Error;
use wire::counters::{
    CounterId, CounterTypeId, FREE_FOR_REUSE_DEADLINE_OFFSET, KEY_LENGTH_MAX, KEY_OFFSET, Key,
    LABEL_LENGTH_MAX, LABEL_LENGTH_OFFSET, LABEL_OFFSET, METADATA_LENGTH, NOT_FREE,
    OWNER_ID_OFFSET, REFERENCE_ID_OFFSET, REGISTRATION_ID_OFFSET, STATE_OFFSET, TYPE_ID_OFFSET,
    VALUE_LENGTH, VALUE_OFFSET, capacity, state,
};

use crate::buffer::AtomicBuffer;

/// Milliseconds between the freeing of a counter and its re-use.
///
/// Source: genuine default of `aeron.counters.free.to.reuse.timeout`.
pub const REUSE_DELAY_MS_DEFAULT: i64 = 1000;

/// The writer of one counter's value. There is one: it is not `Clone`, and setting takes `&mut`.
///
/// Dropping it changes nothing; the driver frees counters.
#[derive(Debug)]
pub struct Counter {
    record: AtomicBuffer,
    id: CounterId,
}

impl Counter {
    /// Its index.
    #[inline]
    #[must_use]
    pub fn id(&self) -> CounterId {
        self.id
    }

    /// The value, as its only writer sees it.
    #[inline]
    #[must_use]
    pub fn get(&self) -> i64 {
        // Relaxed: this value is the only writer.
        self.record.load_i64(VALUE_OFFSET)
    }

    /// Stores the value after everything that this thread did before.
    #[inline]
    pub fn set_release(&mut self, value: i64) {
        // Release: pairs with the acquire load in `CounterReader::get`.
        self.record.store_i64_release(VALUE_OFFSET, value);
    }

    /// Replaces the value if it is `current`; whether it was. For the one kind of counter that two
    /// processes write: toggles, which an operator moves and their owner moves back.
    #[inline]
    pub fn replace(&mut self, current: i64, new: i64) -> bool {
        self.record.compare_exchange_i64(VALUE_OFFSET, current, new)
    }

    /// Stores the value if it is larger; whether it was.
    #[inline]
    pub fn propose_max(&mut self, value: i64) -> bool {
        let is_larger = value > self.get();
        if is_larger {
            self.set_release(value);
        }
        is_larger
    }

    /// Adds to the value and returns what it was before.
    ///
    /// Not a fetch-and-add: right because nobody else writes.
    #[inline]
    pub fn add(&mut self, delta: i64) -> i64 {
        let before = self.get();
        self.set_release(before.wrapping_add(delta));
        before
    }

    /// Adds one and returns what it was before.
    #[inline]
    pub fn increment(&mut self) -> i64 {
        self.add(1)
    }

    /// Stores whose counter this is: what the driver does after allocating it.
    pub fn identify(&mut self, registration_id: i64, owner_id: i64, reference_id: i64) {
        self.record.store_i64_release(REFERENCE_ID_OFFSET, reference_id);
        self.record.store_i64_release(OWNER_ID_OFFSET, owner_id);
        // Release, last: pairs with the acquire load of the registration id by readers.
        self.record.store_i64_release(REGISTRATION_ID_OFFSET, registration_id);
    }

    /// A reader of the same counter.
    #[must_use]
    pub fn reader(&self) -> CounterReader {
        CounterReader { record: self.record.clone(), id: self.id }
    }
}

/// Reads one counter.
#[derive(Clone, Debug)]
pub struct CounterReader {
    record: AtomicBuffer,
    id: CounterId,
}

impl CounterReader {
    /// Its index.
    #[inline]
    #[must_use]
    pub fn id(&self) -> CounterId {
        self.id
    }

    /// The value; what its writer did before it set the value is visible afterwards.
    #[inline]
    #[must_use]
    pub fn get(&self) -> i64 {
        // Acquire: pairs with the release store in `Counter::set_release`.
        self.record.load_i64_acquire(VALUE_OFFSET)
    }

    /// The registration id at present: another one than before means that the id was used again.
    #[must_use]
    pub fn registration_id(&self) -> i64 {
        self.record.load_i64_acquire(REGISTRATION_ID_OFFSET)
    }
}

/// Why a counter cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CounterError {
    /// All records are in use or wait for their re-use.
    #[error("all {capacity} counters are in use")]
    Full {
        /// How many there are.
        capacity: usize,
    },
    /// The key is longer than a record takes.
    #[error("key of {length} bytes is longer than {KEY_LENGTH_MAX}")]
    KeyTooLong {
        /// Its length.
        length: usize,
    },
    /// The label is longer than a record takes.
    #[error("label of {length} bytes is longer than {LABEL_LENGTH_MAX}")]
    LabelTooLong {
        /// Its length.
        length: usize,
    },
    /// No such record, or not in use.
    #[error("counter {} is not allocated", .0.0)]
    NotAllocated(CounterId),
    /// The record belongs to somebody else by now.
    #[error("counter {} has registration id {found} instead of {expected}", id.0)]
    Registration {
        /// Which counter.
        id: CounterId,
        /// The registration id asked for.
        expected: i64,
        /// The registration id in the record.
        found: i64,
    },
}

/// One record as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterRecord {
    /// Its index.
    pub id: CounterId,
    /// See [`state`].
    pub state: i32,
    /// What it counts.
    pub type_id: CounterTypeId,
    /// When a freed record may be used again (epoch milliseconds).
    pub free_for_reuse_deadline_ms: i64,
    /// The key; bytes behind its used part may be left over from earlier.
    pub key: [u8; KEY_LENGTH_MAX],
    /// The label; bytes that are not UTF-8 are replaced.
    pub label: String,
    /// The value.
    pub value: i64,
    /// The registration that it belongs to.
    pub registration_id: i64,
    /// The client that owns it, -1 for the driver.
    pub owner_id: i64,
    /// What else it belongs to, such as an image.
    pub reference_id: i64,
}

/// Reads all counters of a driver.
#[derive(Clone, Debug)]
pub struct CountersReader {
    metadata: AtomicBuffer,
    values: AtomicBuffer,
    capacity: usize,
}

impl CountersReader {
    /// Counters in these two buffers; bytes that do not make a whole record are not used.
    #[must_use]
    pub fn new(metadata: AtomicBuffer, values: AtomicBuffer) -> Self {
        let capacity = capacity(metadata.length(), values.length()).min(i32::MAX as usize);
        Self { metadata, values, capacity }
    }

    /// How many counters there can be.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    fn index(&self, id: CounterId) -> Option<usize> {
        usize::try_from(id.0).ok().filter(|&index| index < self.capacity)
    }

    fn state_at(&self, index: usize) -> i32 {
        // Acquire: pairs with the release store of the state in `CountersManager::allocate`.
        self.metadata.load_i32_acquire(index * METADATA_LENGTH + STATE_OFFSET)
    }

    fn value_record(&self, index: usize) -> AtomicBuffer {
        self.values.slice(index * VALUE_LENGTH, VALUE_LENGTH)
    }

    /// The state of a record; unused when there is no such record.
    #[must_use]
    pub fn state(&self, id: CounterId) -> i32 {
        self.index(id).map_or(state::UNUSED, |index| self.state_at(index))
    }

    /// Whether a record is in use for this registration.
    #[must_use]
    pub fn is_registered(&self, id: CounterId, registration_id: i64) -> bool {
        self.check(id, registration_id).is_ok()
    }

    /// What the record counts, if it is in use.
    #[must_use]
    pub fn type_id(&self, id: CounterId) -> Option<CounterTypeId> {
        let index = self.allocated(id).ok()?;
        Some(CounterTypeId(self.metadata.load_i32(index * METADATA_LENGTH + TYPE_ID_OFFSET)))
    }

    fn allocated(&self, id: CounterId) -> Result<usize, CounterError> {
        let index = self.index(id).ok_or(CounterError::NotAllocated(id))?;
        if self.state_at(index) != state::ALLOCATED {
            return Err(CounterError::NotAllocated(id));
        }
        Ok(index)
    }

    fn check(&self, id: CounterId, expected: i64) -> Result<usize, CounterError> {
        let index = self.allocated(id)?;
        let at = index * VALUE_LENGTH + REGISTRATION_ID_OFFSET;
        let found = self.values.load_i64_acquire(at);
        if found != expected {
            return Err(CounterError::Registration { id, expected, found });
        }
        Ok(index)
    }

    /// A reader of a counter, whoever it belongs to.
    ///
    /// # Errors
    /// [`CounterError::NotAllocated`].
    pub fn reader(&self, id: CounterId) -> Result<CounterReader, CounterError> {
        let index = self.allocated(id)?;
        Ok(CounterReader { record: self.value_record(index), id })
    }

    /// The writer of a counter that the driver allocated for this client.
    ///
    /// The caller is its owner and asks once: nothing here can check that no second writer exists.
    ///
    /// # Errors
    /// Not in use, or in use for another registration.
    pub fn writer(&self, id: CounterId, registration_id: i64) -> Result<Counter, CounterError> {
        let index = self.check(id, registration_id)?;
        Ok(Counter { record: self.value_record(index), id })
    }

    /// The writer of a subscriber position: its registration id is the subscription's, which a
    /// response names apart from the counter.
    ///
    /// The caller is the client that the driver allocated it for, and asks once.
    ///
    /// # Errors
    /// [`CounterError::NotAllocated`].
    pub fn writer_unchecked(&self, id: CounterId) -> Result<Counter, CounterError> {
        let index = self.allocated(id)?;
        Ok(Counter { record: self.value_record(index), id })
    }

    /// The counter of this type and registration.
    #[must_use]
    pub fn find(&self, type_id: CounterTypeId, registration_id: i64) -> Option<CounterId> {
        self.ids().find(|&id| {
            self.type_id(id) == Some(type_id) && self.is_registered(id, registration_id)
        })
    }

    /// Ids in use.
    pub fn ids(&self) -> impl Iterator<Item = CounterId> + '_ {
        (0..self.capacity)
            .map(|index| (index, self.state_at(index)))
            .take_while(|&(_, found)| found != state::UNUSED)
            .filter(|&(_, found)| found == state::ALLOCATED)
            .map(|(index, _)| CounterId(index as i32))
    }

    /// The records in use, by id.
    pub fn records(&self) -> impl Iterator<Item = CounterRecord> + '_ {
        self.ids().filter_map(|id| self.record(id))
    }

    /// A record of any state but unused. Its fields may be of different moments if it is being
    /// freed or used again meanwhile.
    #[must_use]
    pub fn record(&self, id: CounterId) -> Option<CounterRecord> {
        let index = self.index(id)?;
        let found = self.state_at(index);
        if found == state::UNUSED {
            return None;
        }
        let at = index * METADATA_LENGTH;
        let mut key = [0; KEY_LENGTH_MAX];
        self.metadata.copy_out(at + KEY_OFFSET, &mut key);
        let values = index * VALUE_LENGTH;
        Some(CounterRecord {
            id,
            state: found,
            type_id: CounterTypeId(self.metadata.load_i32(at + TYPE_ID_OFFSET)),
            free_for_reuse_deadline_ms: self
                .metadata
                .load_i64_acquire(at + FREE_FOR_REUSE_DEADLINE_OFFSET),
            key,
            label: self.label_at(at),
            value: self.values.load_i64_acquire(values + VALUE_OFFSET),
            registration_id: self.values.load_i64_acquire(values + REGISTRATION_ID_OFFSET),
            owner_id: self.values.load_i64_acquire(values + OWNER_ID_OFFSET),
            reference_id: self.values.load_i64_acquire(values + REFERENCE_ID_OFFSET),
        })
    }

    fn label_at(&self, at: usize) -> String {
        // Acquire: pairs with the release store of the length where a label is changed in place.
        let length = self.metadata.load_i32_acquire(at + LABEL_LENGTH_OFFSET);
        let mut text = [0; LABEL_LENGTH_MAX];
        let text = &mut text[..usize::try_from(length).unwrap_or(0).min(LABEL_LENGTH_MAX)];
        self.metadata.copy_out(at + LABEL_OFFSET, text);
        String::from_utf8_lossy(text).into_owned()
    }

    /// Appends to the label of a counter in place, cut to what fits.
    ///
    /// Called by the counter's owner only: clients name themselves in their heartbeat so.
    ///
    /// # Errors
    /// Not in use, or in use for another registration.
    pub fn append_label(
        &self,
        id: CounterId,
        registration_id: i64,
        text: &str,
    ) -> Result<(), CounterError> {
        let at = self.check(id, registration_id)? * METADATA_LENGTH;
        let length = self.metadata.load_i32(at + LABEL_LENGTH_OFFSET);
        let length = usize::try_from(length).unwrap_or(0).min(LABEL_LENGTH_MAX);
        let text = &text.as_bytes()[..text.len().min(LABEL_LENGTH_MAX - length)];
        self.metadata.copy_in(at + LABEL_OFFSET + length, text);
        // Release: the text is in place before the length that covers it.
        let length = (length + text.len()) as i32;
        self.metadata.store_i32_release(at + LABEL_LENGTH_OFFSET, length);
        Ok(())
    }

    /// Replaces the label of a counter in place. Readers may see old and new text mixed for a
    /// moment.
    ///
    /// # Errors
    /// Not in use, or too long.
    pub fn set_label(&self, id: CounterId, text: &str) -> Result<(), CounterError> {
        let at = self.allocated(id)? * METADATA_LENGTH;
        if text.len() > LABEL_LENGTH_MAX {
            return Err(CounterError::LabelTooLong { length: text.len() });
        }
        self.metadata.copy_in(at + LABEL_OFFSET, text.as_bytes());
        self.metadata.store_i32_release(at + LABEL_LENGTH_OFFSET, text.len() as i32);
        Ok(())
    }
}

/// Allocates and frees counters: the driver's, and only its conductor's.
#[derive(Debug)]
pub struct CountersManager {
    reader: CountersReader,
    free: VecDeque<(CounterId, i64)>,
    used: usize,
    reuse_delay_ms: i64,
}

impl CountersManager {
    /// Counters in two buffers of zeros.
    #[must_use]
    pub fn new(metadata: AtomicBuffer, values: AtomicBuffer, reuse_delay_ms: i64) -> Self {
        let reader = CountersReader::new(metadata, values);
        Self { reader, free: VecDeque::new(), used: 0, reuse_delay_ms }
    }

    /// Reads the same counters.
    #[must_use]
    pub fn reader(&self) -> &CountersReader {
        &self.reader
    }

    /// Takes a record into use; its value and ids are 0.
    ///
    /// # Errors
    /// Full, or key or label too long; nothing has changed then.
    pub fn allocate(
        &mut self,
        type_id: CounterTypeId,
        key: &[u8],
        label: &str,
        now_ms: i64,
    ) -> Result<Counter, CounterError> {
        if key.len() > KEY_LENGTH_MAX {
            return Err(CounterError::KeyTooLong { length: key.len() });
        }
        if label.len() > LABEL_LENGTH_MAX {
            return Err(CounterError::LabelTooLong { length: label.len() });
        }
        let id = self.next_id(now_ms)?;
        let index = id.0 as usize;
        let mut counter = Counter { record: self.reader.value_record(index), id };
        counter.set_release(0);
        counter.identify(0, 0, 0);
        let (metadata, at) = (&self.reader.metadata, index * METADATA_LENGTH);
        metadata.store_i32(at + TYPE_ID_OFFSET, type_id.0);
        metadata.store_i64(at + FREE_FOR_REUSE_DEADLINE_OFFSET, NOT_FREE);
        metadata.copy_in(at + KEY_OFFSET, key);
        metadata.copy_in(at + LABEL_OFFSET, label.as_bytes());
        metadata.store_i32_release(at + LABEL_LENGTH_OFFSET, label.len() as i32);
        // Release: pairs with the acquire load in `CountersReader::state_at`.
        metadata.store_i32_release(at + STATE_OFFSET, state::ALLOCATED);
        Ok(counter)
    }

    /// As [`allocate`](Self::allocate), with a key of the declared layouts.
    ///
    /// # Errors
    /// As [`allocate`](Self::allocate).
    pub fn allocate_keyed(
        &mut self,
        type_id: CounterTypeId,
        key: &Key,
        label: &str,
        now_ms: i64,
    ) -> Result<Counter, CounterError> {
        self.allocate(type_id, key.as_bytes(), label, now_ms)
    }

    fn next_id(&mut self, now_ms: i64) -> Result<CounterId, CounterError> {
        if let Some(at) = self.free.iter().position(|&(_, deadline)| deadline <= now_ms)
            && let Some((id, _)) = self.free.remove(at)
        {
            return Ok(id);
        }
        if self.used == self.reader.capacity {
            return Err(CounterError::Full { capacity: self.reader.capacity });
        }
        self.used += 1;
        Ok(CounterId((self.used - 1) as i32))
    }

    /// Gives a record back; it is used again after the delay. Whether it was in use.
    ///
    /// Its writer must not write any more: drop it first.
    pub fn free(&mut self, id: CounterId, now_ms: i64) -> bool {
        let Ok(index) = self.reader.allocated(id) else { return false };
        let (metadata, at) = (&self.reader.metadata, index * METADATA_LENGTH);
        let deadline = now_ms.saturating_add(self.reuse_delay_ms);
        // Release: readers that see the record reclaimed do not look at the rest.
        metadata.store_i32_release(at + STATE_OFFSET, state::RECLAIMED);
        metadata.zero(at + KEY_OFFSET, KEY_LENGTH_MAX);
        metadata.store_i64_release(at + FREE_FOR_REUSE_DEADLINE_OFFSET, deadline);
        self.free.push_back((id, deadline));
        true
    }

    /// A writer of a record that is in use, for values that the driver sets on behalf of a client.
    ///
    /// # Errors
    /// [`CounterError::NotAllocated`].
    pub fn writer(&mut self, id: CounterId) -> Result<Counter, CounterError> {
        self.reader.writer_unchecked(id)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::region::Region;

    const TYPE: CounterTypeId = CounterTypeId(1001);

    fn manager(capacity: usize) -> CountersManager {
        let metadata = AtomicBuffer::new(Region::heap(capacity * METADATA_LENGTH));
        let values = AtomicBuffer::new(Region::heap(capacity * VALUE_LENGTH));
        CountersManager::new(metadata, values, REUSE_DELAY_MS_DEFAULT)
    }

    #[test]
    fn what_one_sets_another_reads() {
        let mut counters = manager(4);
        let mut counter = counters.allocate(TYPE, b"key", "label", 0).unwrap();
        counter.identify(7, 8, 9);
        assert_eq!((counter.increment(), counter.add(4)), (0, 1));
        assert!(counter.propose_max(6) && !counter.propose_max(5));
        let record = counters.reader().record(counter.id()).unwrap();
        assert_eq!((record.value, record.state, record.type_id), (6, state::ALLOCATED, TYPE));
        assert_eq!((record.registration_id, record.owner_id, record.reference_id), (7, 8, 9));
        assert_eq!((&record.key[..4], record.label.as_str()), (&b"key\0"[..], "label"));
        assert_eq!(record.free_for_reuse_deadline_ms, i64::MAX);
        assert_eq!(counter.reader().get(), 6);
    }

    #[test]
    fn a_freed_id_is_used_again_after_the_delay_and_not_before() {
        let mut counters = manager(3);
        let first = counters.allocate(TYPE, b"old", "first", 0).unwrap().id();
        let second = counters.allocate(TYPE, b"", "second", 0).unwrap().id();
        assert!(counters.free(first, 10));
        assert!(!counters.free(first, 10));
        let third = counters.allocate(TYPE, b"", "third", 1009).unwrap().id();
        assert_eq!((first, second, third), (CounterId(0), CounterId(1), CounterId(2)));
        let full = counters.allocate(TYPE, b"", "", 1009).unwrap_err();
        assert_eq!(full, CounterError::Full { capacity: 3 });
        let again = counters.allocate(TYPE, b"k", "again", 1010).unwrap();
        assert_eq!(again.id(), first);
        let record = counters.reader().record(first).unwrap();
        assert_eq!((&record.key[..3], record.label.as_str()), (&b"k\0\0"[..], "again"));
    }

    #[test]
    fn reused_records_begin_with_zeros() {
        let mut counters = manager(1);
        let mut counter = counters.allocate(TYPE, b"", "", 0).unwrap();
        counter.identify(1, 2, 3);
        counter.set_release(4);
        counters.free(counter.id(), 0);
        let again = counters.allocate(TYPE, b"", "", 1000).unwrap();
        let record = counters.reader().record(again.id()).unwrap();
        let ids = (record.registration_id, record.owner_id, record.reference_id);
        assert_eq!((record.value, ids), (0, (0, 0, 0)));
    }

    #[test]
    fn writers_are_handed_out_only_for_the_registration_asked_for() {
        let mut counters = manager(2);
        let mut counter = counters.allocate(TYPE, b"", "", 0).unwrap();
        counter.identify(77, 1, 0);
        let (id, reader) = (counter.id(), counters.reader().clone());
        assert!(reader.writer(id, 77).is_ok());
        let other = CounterError::Registration { id, expected: 78, found: 77 };
        assert_eq!(reader.writer(id, 78).unwrap_err(), other);
        for bad in [CounterId(1), CounterId(2), CounterId(-1), CounterId(i32::MIN)] {
            assert_eq!(reader.writer(bad, 77).unwrap_err(), CounterError::NotAllocated(bad));
        }
        counters.free(id, 0);
        assert_eq!(reader.writer(id, 77).unwrap_err(), CounterError::NotAllocated(id));
    }

    #[test]
    fn listing_skips_freed_records_and_ends_at_the_first_unused_one() {
        let mut counters = manager(8);
        let ids: Vec<_> = (0..4)
            .map(|at| {
                let mut counter = counters.allocate(TYPE, b"", "", 0).unwrap();
                counter.identify(100 + at, -1, 0);
                counter.id()
            })
            .collect();
        counters.free(ids[1], 0);
        let listed: Vec<_> = counters.reader().records().map(|record| record.id).collect();
        assert_eq!(listed, [ids[0], ids[2], ids[3]]);
        assert_eq!(counters.reader().find(TYPE, 103), Some(ids[3]));
        assert_eq!(counters.reader().find(TYPE, 101), None);
    }

    #[test]
    fn labels_change_in_place_and_are_cut_where_they_end() {
        let mut counters = manager(1);
        let mut counter = counters.allocate(TYPE, b"", "client-heartbeat: id=5", 0).unwrap();
        counter.identify(5, 5, 0);
        let (id, reader) = (counter.id(), counters.reader());
        reader.append_label(id, 5, " name=x").unwrap();
        assert_eq!(reader.record(id).unwrap().label, "client-heartbeat: id=5 name=x");
        reader.append_label(id, 5, &"y".repeat(500)).unwrap();
        assert_eq!(reader.record(id).unwrap().label.len(), LABEL_LENGTH_MAX);
        reader.set_label(id, "short").unwrap();
        assert_eq!(reader.record(id).unwrap().label, "short");
        assert!(reader.append_label(id, 6, "").is_err());
    }

    #[test]
    fn keys_and_labels_that_do_not_fit_are_refused() {
        let mut counters = manager(1);
        let key = counters.allocate(TYPE, &[0; 113], "", 0).unwrap_err();
        assert_eq!(key, CounterError::KeyTooLong { length: 113 });
        let label = counters.allocate(TYPE, b"", &"x".repeat(381), 0).unwrap_err();
        assert_eq!(label, CounterError::LabelTooLong { length: 381 });
        assert!(counters.allocate(TYPE, &[1; 112], &"x".repeat(380), 0).is_ok());
    }

    #[test]
    fn lengths_written_by_others_are_not_trusted() {
        let mut counters = manager(1);
        let id = counters.allocate(TYPE, b"", "label", 0).unwrap().id();
        for length in [-1, i32::MIN, i32::MAX, 381] {
            counters.reader().metadata.store_i32(LABEL_LENGTH_OFFSET, length);
            assert!(counters.reader().record(id).unwrap().label.len() <= LABEL_LENGTH_MAX);
        }
    }
}
