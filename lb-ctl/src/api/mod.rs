//! The API between daemon and clients.

pub mod types;
