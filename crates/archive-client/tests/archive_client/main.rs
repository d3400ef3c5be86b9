//! The archive client against an archive made for the purpose, over a driver made for the purpose.

#![allow(clippy::unwrap_used)] // Helpers of tests may fail like tests.

mod asking;
#[allow(dead_code)] // Shared with the tests of the client below.
#[path = "../../../client/tests/client/bed.rs"]
mod bed;
mod connecting;
#[allow(dead_code)] // As above.
#[path = "../../../client/tests/client/driver.rs"]
mod driver;
mod scene;
