//! Probes (section 8 of the specification).
//!
//! What a result means is decided by [`machine`], when a probe is due by [`schedule`]; neither does
//! any I/O or reads a clock. [`probe`] speaks to a member, and [`prober`] runs all of it and keeps
//! the table of results.

pub mod machine;
pub mod outcome;
pub mod probe;
pub mod prober;
pub mod schedule;
mod sockets;
mod table;

use std::net::IpAddr;
use std::time::Duration;

use crate::config::model::{Check, Probe};

pub use machine::Health;
pub use outcome::Outcome;
pub use prober::{Lag, ProbeTarget, Prober};
pub use table::{Event, Report};

/// What is probed and how.
///
/// All that a probe does is part of the key, so that any number of probes of one member and even
/// of one port live beside each other. What does not change a probe is not: rules whose probes
/// differ in name or in `noHealthyBackends` only share one, and a renamed probe keeps its state.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProbeKey {
    pub address: IpAddr,
    pub check: Check,
    pub port: u16,
    pub interval: Duration,
    pub timeout: Duration,
    pub threshold: u32,
}

impl ProbeKey {
    #[must_use]
    pub fn new(address: IpAddr, probe: &Probe) -> Self {
        Self {
            address,
            check: probe.check.clone(),
            port: probe.port,
            interval: probe.interval,
            timeout: probe.timeout,
            threshold: probe.threshold,
        }
    }

    /// How long a probe may take: its timeout, or until the next is due (S-PRB-18..20).
    #[must_use]
    pub fn time_limit(&self) -> Duration {
        self.timeout.min(self.interval)
    }
}
