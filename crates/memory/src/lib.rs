//! Floor 1: log buffers, counters, rings and broadcast buffers over shared memory.

#![allow(unsafe_code)]
pub mod region;
