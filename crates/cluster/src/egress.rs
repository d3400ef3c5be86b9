//! What clients hear from the module. Services write to the same streams by themselves.

pub mod codec;
