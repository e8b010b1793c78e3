//! Controller of the load balancer: configuration, compilation to map state, reconciliation,
//! probes, neighbours, API and command line.
//!
//! Who may use whom is written in `ARCHITECTURE.md` and held by `cargo xtask ci`.

pub mod announce;
pub mod api;
pub mod cli;
pub mod compile;
pub mod config;
pub mod daemon;
pub mod dataplane;
pub mod health;
pub mod neighbours;
pub mod plan;
pub mod reconcile;
pub mod state;
pub mod units;
