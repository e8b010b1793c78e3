//! For tests: tables in memory, frames built by hand, checksums in full.
//!
//! Shares no arithmetic with the pipeline: what [`frame`] builds and [`sums()`] checks is
//! computed from the bytes alone.
#![allow(clippy::expect_used, clippy::panic, reason = "a test that is written wrongly stops here")]

mod bytes;
pub mod frame;
mod memory;
mod sums;

pub use bytes::Bytes;
pub use frame::Frame;
pub use memory::{FamilyMemory, Flows, Memory, Stored, WhenFull};
pub use sums::{Sums, checksum, packet, quoted_sums, sums};
