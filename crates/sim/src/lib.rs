//! Floor 2: the simulated world behind the ports of the runtime.

#![forbid(unsafe_code)]
