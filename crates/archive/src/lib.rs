//! Floor 4: records, replays and replicates streams.

#![forbid(unsafe_code)]
