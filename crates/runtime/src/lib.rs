//! Floor 2: agents, the three ports (network, files, background) and what steps them.

#![forbid(unsafe_code)]
