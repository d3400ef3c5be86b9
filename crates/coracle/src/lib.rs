//! Floor 7: the facade: what users import.

#![forbid(unsafe_code)]
