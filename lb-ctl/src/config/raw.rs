//! What the files say: each value of the right type and in its range, nothing compared with
//! anything else yet. A field that is `None` although a rule, pool, ... must have it has its
//! mistake in the report already.

use std::net::IpAddr;
use std::time::Duration;

use lb_common::abi::Forwarding;

use super::access::{AppliesTo, Entry};
use super::error::Place;
use super::fields::At;
use super::model::{
    AdminState, Announce, Check, Distribution, NoHealthyBackends, PortRange, Ports, Protocols, Tracking,
    XdpMode,
};

/// Several sources as if they were one: their lists one after the other.
#[derive(Debug, Default)]
pub(super) struct RawConfig {
    /// No list may be hidden behind a misspelt key: what is not here is not anywhere.
    pub(super) complete: bool,
    pub(super) interfaces: Vec<RawInterface>,
    pub(super) frontends: Vec<RawFrontend>,
    pub(super) pools: Vec<RawPool>,
    pub(super) probes: Vec<RawProbe>,
    pub(super) rules: Vec<RawRule>,
    pub(super) nat_rules: Vec<RawNatRule>,
}

#[derive(Debug)]
pub(super) struct RawInterface {
    /// Position in the list of its own file, for paths; the same below.
    pub(super) index: usize,
    pub(super) name: Option<At<String>>,
    pub(super) mode: XdpMode,
}

#[derive(Debug)]
pub(super) struct RawFrontend {
    pub(super) index: usize,
    pub(super) name: Option<At<String>>,
    pub(super) address: Option<At<IpAddr>>,
    pub(super) announce: Announce,
}

#[derive(Debug)]
pub(super) struct RawPool {
    pub(super) index: usize,
    pub(super) place: Place,
    pub(super) name: Option<At<String>>,
    /// `None`: chosen from the number of backends.
    pub(super) max_members: Option<At<u32>>,
    pub(super) transition: Duration,
    pub(super) forwarding: Option<At<Forwarding>>,
    /// `None`: its mistake is in the report.
    pub(super) sources: Vec<Option<At<IpAddr>>>,
    pub(super) backends: Vec<RawBackend>,
}

#[derive(Debug)]
pub(super) struct RawBackend {
    pub(super) index: usize,
    pub(super) name: Option<At<String>>,
    pub(super) address: Option<At<IpAddr>>,
    /// `None`: the default.
    pub(super) weight: Option<At<u16>>,
    pub(super) admin_state: AdminState,
}

#[derive(Debug)]
pub(super) struct RawProbe {
    pub(super) index: usize,
    pub(super) name: Option<At<String>>,
    pub(super) check: Option<Check>,
    pub(super) port: Option<At<u16>>,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) threshold: u32,
    pub(super) no_healthy_backends: NoHealthyBackends,
}

#[derive(Debug)]
pub(super) struct RawRule {
    pub(super) index: usize,
    pub(super) name: Option<At<String>>,
    pub(super) frontend: Option<At<String>>,
    pub(super) protocols: Option<At<Protocols>>,
    pub(super) ports: Option<At<Ports>>,
    pub(super) pool: Option<At<String>>,
    /// The first, as written, else the same as that of `ports`.
    pub(super) backend_port: Option<At<u16>>,
    pub(super) probe: Option<At<String>>,
    /// `None`: the probe's.
    pub(super) no_healthy_backends: Option<NoHealthyBackends>,
    pub(super) distribution: Distribution,
    pub(super) idle_timeout: Duration,
    pub(super) tracking: Tracking,
    pub(super) backend_initiates: Option<At<bool>>,
    pub(super) access: Vec<RawEntry>,
    /// `None`: the default.
    pub(super) access_applies_to: Option<At<AppliesTo>>,
}

impl RawRule {
    /// The ports at the members.
    pub(super) fn backend_ports(&self) -> Option<At<Ports>> {
        let At { place, value } = self.backend_port?;
        Some(At { place, value: self.ports?.value.at(value) })
    }
}

#[derive(Debug)]
pub(super) struct RawNatRule {
    pub(super) index: usize,
    pub(super) name: Option<At<String>>,
    pub(super) frontend: Option<At<String>>,
    pub(super) protocols: Option<At<Protocols>>,
    pub(super) ports: Option<At<PortRange>>,
    /// One of the two, unless the report says what is wrong.
    pub(super) backend: Option<At<String>>,
    pub(super) pool: Option<At<String>>,
    /// As written, else the same as `port`.
    pub(super) backend_port: Option<At<u16>>,
    pub(super) idle_timeout: Duration,
    pub(super) access: Vec<RawEntry>,
    /// `None`: the default.
    pub(super) access_applies_to: Option<At<AppliesTo>>,
}

/// An entry of an access list.
#[derive(Debug)]
pub(super) struct RawEntry {
    pub(super) index: usize,
    pub(super) place: Place,
    pub(super) says: Option<Entry>,
    pub(super) priority: Option<At<u32>>,
    /// It has one that is in the report already.
    pub(super) priority_is_wrong: bool,
}
