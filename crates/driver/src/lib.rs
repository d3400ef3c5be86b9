//! Floor 3: the media driver: conductor, sender and receiver.

#![forbid(unsafe_code)]
