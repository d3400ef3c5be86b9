//! Control: what clients ask, what they are told, and in which order.
//!
//! `outbox` is what waits to be told, `refusal` how a
//! request is turned down.

pub(crate) mod outbox;
pub(crate) mod refusal;
