//! Packet cases: one sentence, one world, a few packets, and everything that must be seen.
//!
//! Two executors run each row: [`native`] through the pipeline as plain Rust, `kernel` through the
//! loaded program. To add a row, go to the file of its theme in [`table`]; to add a theme, add
//! its file there.
#![allow(dead_code, reason = "each of the test programs that share this uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

pub(crate) mod case;
pub(crate) mod exception;
pub(crate) mod expect;
pub(crate) mod family;
#[cfg(feature = "privileged")]
pub(crate) mod kernel;
#[cfg(feature = "privileged")]
mod kernel_flows;
pub(crate) mod native;
mod service;
#[cfg(feature = "privileged")]
pub(crate) mod surroundings;
pub(crate) mod table;
pub(crate) mod wide;
pub(crate) mod world;
