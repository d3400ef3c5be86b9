//! Floor 5: the consensus module around the pure core.

#![forbid(unsafe_code)]
