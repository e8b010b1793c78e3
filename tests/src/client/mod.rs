//! Clients, each inside a namespace: they notice who answers, when nobody does, and when it becomes someone else.

pub mod burst;
pub mod consistency;
pub mod dns;
pub mod http;
mod line;
pub mod ping;
pub mod talk;
pub mod udp;

pub use line::Fault;
