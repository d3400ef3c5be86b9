//! The services of this member, and tools: both streams of the control channel.

pub mod codec;
