//! What each address is: a frontend's, and how its members are; the host's own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use lb_common::abi::AddressFlags;

use super::{Accepting, Input, accepting};
use crate::config::model::{Config, Ports, Rule};
use crate::health::ProbeKey;

pub(super) fn all(input: &Input<'_>) -> BTreeMap<IpAddr, AddressFlags> {
    let config = input.config;
    let mut addresses: BTreeMap<_, _> =
        config.frontends().iter().map(|frontend| (frontend.address, AddressFlags::FRONTEND)).collect();
    for (&address, flags) in &mut addresses {
        *flags = flags.with(state(config, input.healthy, address)).with(width(config, address));
    }
    for own in &input.host.own {
        let flags = addresses.entry(*own).or_default();
        *flags = flags.with(AddressFlags::OWN);
    }
    addresses
}

/// The addresses of the frontends whose rules `key` has a say in, and how their members are now:
/// what an echo request is answered by (S-ICMP-1).
#[must_use]
#[allow(clippy::implicit_hasher, reason = "there is one such table")]
pub fn judged(
    config: &Config,
    healthy: &HashMap<ProbeKey, bool>,
    key: &ProbeKey,
) -> BTreeMap<IpAddr, AddressFlags> {
    let concerned = |rule: &&Rule| {
        config.probe_of(rule).is_some_and(|probe| ProbeKey::new(key.address, probe) == *key)
            && config.pool_of(rule).backends.iter().any(|backend| backend.address == key.address)
    };
    let rules = config.rules().iter().filter(concerned);
    let addresses: BTreeSet<_> = rules.map(|rule| config.frontend_of(rule).address).collect();
    addresses.into_iter().map(|address| (address, state(config, healthy, address))).collect()
}

/// Whether a rule of a frontend is of more than one port.
fn width(config: &Config, address: IpAddr) -> AddressFlags {
    let wide =
        |rule: &Rule| config.frontend_of(rule).address == address && !matches!(rule.ports, Ports::One(_));
    if config.rules().iter().any(wide) { AddressFlags::WIDE } else { AddressFlags::default() }
}

/// How the members of a frontend are. Those of NAT rules, which nobody probes, count where no other
/// rule says anything.
fn state(config: &Config, healthy: &HashMap<ProbeKey, bool>, address: IpAddr) -> AddressFlags {
    let mut failed = false;
    for rule in config.rules().iter().filter(|rule| config.frontend_of(rule).address == address) {
        let members = accepting(config, rule, healthy);
        if members.iter().any(|member| member.yes()) {
            return AddressFlags::SERVES;
        }
        failed |= members.contains(&Accepting::ProbeDown);
    }
    let mut nat =
        config.nat_rules().iter().filter(|rule| config.frontends()[rule.frontend].address == address);
    if failed {
        AddressFlags::DOWN
    } else if nat.any(|rule| !config.members_of_nat(rule).is_empty()) {
        AddressFlags::SERVES
    } else {
        AddressFlags::default()
    }
}
