//! Listings: what a client asked to be told of, some at a time.

use wire::archive::response::{
    ControlResponseCode, RecordingDescriptor, RecordingSubscriptionDescriptor,
};
use wire::message::{Message, MessageHeader};

use crate::catalog::{Catalog, Recording};
use crate::control::outbox::{encode, response};

/// Entries looked at in one cycle.
const BATCH: usize = 64;

/// A listing in progress.
pub(crate) struct Listing {
    pub(crate) correlation_id: i64,
    pub(crate) kind: Kind,
}

/// What is listed.
pub(crate) enum Kind {
    /// Recordings from an id on.
    Recordings { next: i64, rest: i32, filter: Filter },
    /// Subscriptions that record, as bytes, already chosen.
    Subscriptions { messages: std::collections::VecDeque<Vec<u8>>, is_short: bool },
}

/// Which recordings are listed.
pub(crate) enum Filter {
    /// All.
    Any,
    /// Those of a stream whose original channel contains a text.
    Matching { stream_id: i32, fragment: Vec<u8> },
}

impl Filter {
    pub(crate) fn fits(&self, recording: &Recording) -> bool {
        match self {
            Self::Any => true,
            Self::Matching { stream_id, fragment } => {
                recording.stream_id == *stream_id
                    && contains(recording.original_channel.as_bytes(), fragment)
            }
        }
    }
}

/// Whether `text` contains `fragment`, byte by byte.
pub(crate) fn contains(text: &[u8], fragment: &[u8]) -> bool {
    fragment.is_empty() || text.windows(fragment.len()).any(|window| window == fragment)
}

/// What came of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is more to come.
    More,
    /// It is complete.
    Done,
}

impl Listing {
    /// Sends the next entries by `send`, which says whether one went; an entry that did not is sent
    /// again.
    pub(crate) fn step(
        &mut self,
        catalog: &Catalog,
        session_id: i64,
        mut send: impl FnMut(&[u8]) -> bool,
    ) -> Step {
        let correlation_id = self.correlation_id;
        match &mut self.kind {
            Kind::Recordings { next, rest, filter } => {
                let mut looked_at = 0;
                while *rest > 0 {
                    if looked_at == BATCH {
                        return Step::More;
                    }
                    looked_at += 1;
                    let Some(recording) = catalog.iter_from(*next).next() else {
                        let code = ControlResponseCode::RecordingUnknown;
                        let end = response(session_id, correlation_id, *next, code, "");
                        return if send(&end) { Step::Done } else { Step::More };
                    };
                    if filter.fits(recording) {
                        let Some(message) =
                            descriptor(catalog, recording.id, session_id, correlation_id)
                        else {
                            return Step::Done;
                        };
                        if !send(&message) {
                            return Step::More;
                        }
                        *rest -= 1;
                    }
                    *next = recording.id + 1;
                }
                Step::Done
            }
            Kind::Subscriptions { messages, is_short } => {
                while let Some(message) = messages.front() {
                    if !send(message) {
                        return Step::More;
                    }
                    messages.pop_front();
                }
                let code = ControlResponseCode::SubscriptionUnknown;
                if *is_short && !send(&response(session_id, correlation_id, 0, code, "")) {
                    return Step::More;
                }
                Step::Done
            }
        }
    }
}

/// The message that describes a recording: its catalog entry behind the ids of who asked.
pub(crate) fn descriptor(
    catalog: &Catalog,
    recording_id: i64,
    session_id: i64,
    correlation_id: i64,
) -> Option<Vec<u8>> {
    let entry = catalog.listing_bytes(recording_id)?;
    let header: MessageHeader = RecordingDescriptor::HEADER;
    let mut bytes = Vec::with_capacity(24 + entry.len());
    for word in [header.block_length, header.template_id, header.schema_id, header.version] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(&session_id.to_le_bytes());
    bytes.extend_from_slice(&correlation_id.to_le_bytes());
    bytes.extend_from_slice(&entry);
    Some(bytes)
}

/// The message that describes a subscription.
pub(crate) fn subscription(
    control_session_id: i64,
    correlation_id: i64,
    subscription_id: i64,
    stream_id: i32,
    channel: &str,
) -> Vec<u8> {
    encode(&RecordingSubscriptionDescriptor {
        control_session_id,
        correlation_id,
        subscription_id,
        stream_id,
        stripped_channel: channel.as_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{DIRECTORY, Disk};
    use std::path::Path;
    use wire::archive::response::Response;

    fn catalog(count: usize) -> Catalog {
        let disk = Disk::new();
        let mut catalog =
            Catalog::open(&disk.files(), Path::new(DIRECTORY), 1 << 20, None).unwrap();
        for index in 0..count {
            let recording = Recording {
                term_buffer_length: 65_536,
                segment_file_length: 65_536,
                mtu_length: 1_408,
                stream_id: index as i32 % 2,
                original_channel: format!("aeron:ipc?alias=r{index}"),
                ..Recording::default()
            };
            catalog.add(recording).unwrap();
        }
        catalog
    }

    /// Runs a listing to its end over a stream that takes `window` messages in each cycle; what was
    /// sent, as ids and the id in the terminator.
    fn run(catalog: &Catalog, mut listing: Listing, window: usize) -> (Vec<i64>, Option<i64>) {
        let (mut ids, mut end) = (Vec::new(), None);
        for _ in 0..1_000 {
            let mut room = window;
            let step = listing.step(catalog, 7, |bytes| {
                if room == 0 {
                    return false;
                }
                room -= 1;
                match Response::decode(bytes).unwrap().unwrap() {
                    Response::RecordingDescriptor(it) => {
                        assert_eq!((it.control_session_id, it.correlation_id), (7, 9));
                        ids.push(it.recording_id);
                    }
                    Response::ControlResponse(it) => end = Some(it.relevant_id),
                    other => panic!("{other:?}"),
                }
                true
            });
            if step == Step::Done {
                return (ids, end);
            }
        }
        panic!("the listing does not end");
    }

    fn recordings(next: i64, rest: i32, filter: Filter) -> Listing {
        Listing { correlation_id: 9, kind: Kind::Recordings { next, rest, filter } }
    }

    #[test]
    fn a_listing_ends_after_its_count_or_with_the_id_that_is_not_there() {
        let catalog = catalog(5);
        assert_eq!(run(&catalog, recordings(1, 2, Filter::Any), 9), (vec![1, 2], None));
        assert_eq!(run(&catalog, recordings(3, 9, Filter::Any), 1), (vec![3, 4], Some(5)));
        assert_eq!(run(&catalog, recordings(8, 1, Filter::Any), 1), (vec![], Some(8)));
    }

    #[test]
    fn a_listing_filters_by_stream_and_by_a_part_of_the_channel() {
        let catalog = catalog(200);
        let filter = Filter::Matching { stream_id: 1, fragment: b"alias=r19".to_vec() };
        let (ids, end) = run(&catalog, recordings(0, 99, filter), 3);
        assert_eq!(ids, [19, 191, 193, 195, 197, 199]);
        assert_eq!(end, Some(200));
    }
}
