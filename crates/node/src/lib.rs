//! Floor 6: the roles of one process, assembled and stepped on any ports.

#![forbid(unsafe_code)]
