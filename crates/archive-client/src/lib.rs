//! Floor 4: asks an archive to record, replay and replicate.

#![forbid(unsafe_code)]
