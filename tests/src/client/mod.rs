//! Clients.
pub mod http;
