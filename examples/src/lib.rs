//! Floor 8: small programs to begin with, in `src/bin`.
//!
//! | program | what |
//! |---|---|
//! | `echo` | a service of one's own, and a whole node around it |
//! | `counter` | a service with timers and snapshots |
//! | `order_book` | places orders on an order book and prints what becomes of them |
//! | `client` | opens a session and sends lines |
//!
//! A node needs a file of options, such as `node.toml` beside this crate; see `docs/node.md`.

#![forbid(unsafe_code)]
