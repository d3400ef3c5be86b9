//! Member to member: the consensus stream.

pub mod codec;
