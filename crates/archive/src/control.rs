//! Control: what clients ask, what they are told, and in which order.
//!
//! `session` is one client's connection, `outbox` what waits to be told, `refusal` how a
//! request is turned down.

pub(crate) mod outbox;
pub(crate) mod refusal;
pub(crate) mod session;
