//! Floor 3: the pure consensus core.

#![no_std]
#![forbid(unsafe_code)]
