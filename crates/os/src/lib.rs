//! Floor 2: the real world behind the ports of the runtime.

#![allow(unsafe_code)]
