//! A laboratory for end-to-end tests: network namespaces joined by veth pairs, servers that say
//! their name, clients that notice when another server answers, and raw frames.
//!
//! ```no_run
//! use lb_tests::{client::http, lab::{Lab, Topology}, server::Server};
//!
//! # fn main() -> anyhow::Result<()> {
//! let lab = Lab::new("demo", Topology::default())?;
//! let backend = &lab.backends()[0];
//! let _server = Server::http(backend.netns(), backend.name(), 8080)?;
//! let answer = http::get(lab.client(), backend.socket(8080), "/")?;
//! assert_eq!(answer.text(), "b1");
//! # lab.teardown()
//! # }
//! ```

pub mod client;
pub mod config;
pub mod counters;
pub mod demo;
pub mod frames;
pub mod instance;
pub mod lab;
pub mod server;
