//! NAT rules for whoever asks: what they do, and which port is whose.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::core::{Core, in_force};
use super::rates::Rates;
use super::status::{access, transition};
use crate::api::types::{Nat, NatMapping, NatRule, Packets};
use crate::compile::nat_mapping;
use crate::config::model::{Backend, Config, NatTarget};

/// Each rule and its numbers.
pub(super) fn rules(config: &Config, core: &Core, rates: &Rates, warnings: &mut Vec<String>) -> Vec<NatRule> {
    let in_force = in_force(core.observed());
    // Ports, held ones apart, and the number of the statistics.
    let mut seen = BTreeMap::<&str, ([BTreeSet<u16>; 2], u32)>::new();
    for mapping in nat_mapping(config, core.observed()) {
        let (ports, number) = seen.entry(&mapping.rule.name).or_default();
        ports[usize::from(mapping.held)].insert(mapping.service.port.get());
        *number = in_force.get(&mapping.service).map_or(0, |rule| rule.stats);
    }
    let mut rules = Vec::new();
    for rule in config.nat_rules() {
        let known = seen.remove(rule.name.as_str());
        let stats = known.as_ref().map(|(_, number)| core.dataplane().rule_stats(*number)).transpose();
        let stats = stats.unwrap_or_else(|error| {
            warnings.push(error.to_string());
            None
        });
        let ([used, held], number) = known.unwrap_or_default();
        let (stats, rate) = (stats.unwrap_or_default(), rates.of(number));
        let pool = config.pool_of_nat(rule);
        rules.push(NatRule {
            name: rule.name.clone(),
            protocol: rule.protocols.to_string(),
            address: config.frontends()[rule.frontend].address,
            ports: rule.ports.to_string(),
            pool: pool.name.clone(),
            member: match rule.to {
                NatTarget::Member { backend, .. } => Some(pool.backends[backend].name.clone()),
                NatTarget::Pool(_) => None,
            },
            backend_port: rule.backend_port,
            access: access(&rule.access).to_owned(),
            used: used.len(),
            held: held.len(),
            room: rule.ports.count(),
            inbound: Packets { packets: stats.inbound.packets, bytes: stats.inbound.bytes },
            replies: Packets { packets: stats.replies.packets, bytes: stats.replies.bytes },
            opened: stats.opened,
            opened_per_second: rate.opened,
            packets_per_second: rate.packets,
        });
    }
    rules
}

/// The mapping in force; none before the first apply.
pub(super) fn mappings(core: &Core) -> Nat {
    let Some(config) = core.config() else { return Nat { mappings: Vec::new() } };
    let mut names = HashMap::new();
    for pool in config.pools() {
        let name = |backend: &Backend| ((pool.name.as_str(), backend.address), backend.name.clone());
        names.extend(pool.backends.iter().map(name));
    }
    let mapping = |it: crate::compile::NatMapping<'_>| {
        let pool = &config.pool_of_nat(it.rule).name;
        let name = names.get(&(pool.as_str(), it.member)).filter(|_| !it.held);
        NatMapping {
            rule: it.rule.name.clone(),
            protocol: if it.service.protocol == lb_common::parse::UDP { "udp" } else { "tcp" }.to_owned(),
            address: it.service.address,
            frontend_port: it.service.port.get(),
            pool: pool.clone(),
            member: name.cloned(),
            member_address: it.member,
            backend_port: it.rule.backend_port,
            state: if it.held { "held" } else { "serving" }.to_owned(),
            transition: transition(core, it.service),
        }
    };
    Nat { mappings: nat_mapping(config, core.observed()).into_iter().map(mapping).collect() }
}
