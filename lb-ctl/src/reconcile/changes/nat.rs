//! NAT rules, and which of their ports changed hands.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{a_few, in_a_word};
use crate::compile::nat_mapping;
use crate::config::model::{Config, NatRule, NatTarget};
use crate::state::MapState;

pub(super) fn describe(config: &Config, rule: &NatRule) -> String {
    let pool = config.pool_of_nat(rule);
    let to = match rule.to {
        NatTarget::Member { backend, .. } => format!("{}/{}", pool.name, pool.backends[backend].name),
        NatTarget::Pool(_) => format!("pool {}", pool.name),
    };
    format!(
        "{} {}:{} to {to} port {}, {}",
        rule.protocols,
        config.frontends()[rule.frontend].address,
        rule.ports,
        rule.backend_port,
        in_a_word(&rule.access)
    )
}

/// A line for each rule, with a few of its ports.
pub(super) fn ports(
    before: Option<(&Config, &MapState)>,
    after: (&Config, &MapState),
    lines: &mut Vec<String>,
) {
    let before = before.map(|(config, maps)| by_rule(config, maps)).unwrap_or_default();
    let (config, maps) = after;
    let after = by_rule(config, maps);
    for rule in config.nat_rules() {
        let none = Ports::new();
        let [before, after] = [&before, &after].map(|ports| ports.get(rule.name.as_str()).unwrap_or(&none));
        let members = config.members_of_nat(rule);
        let name = |address: IpAddr| {
            let member = members.iter().find(|member| member.address == address);
            member.map_or_else(|| address.to_string(), |member| member.name.clone())
        };
        let changed = after.iter().filter(|(port, whose)| before.get(port) != Some(whose));
        let mut parts: Vec<String> = changed
            .map(|(port, whose)| match *whose {
                Whose { member, held: false } => format!("{port} goes to {}", name(member)),
                Whose { member, held: true } => format!("{port} is held for open connections of {member}"),
            })
            .collect();
        let gone = before.keys().filter(|port| !after.contains_key(port));
        parts.extend(gone.map(|port| format!("{port} is nobody's")));
        if !parts.is_empty() {
            lines.push(format!("NAT rule {}: {}", rule.name, a_few(parts).join(", ")));
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Whose {
    member: IpAddr,
    held: bool,
}

type Ports = BTreeMap<u16, Whose>;

fn by_rule<'c>(config: &'c Config, maps: &MapState) -> BTreeMap<&'c str, Ports> {
    let mut rules = BTreeMap::<&str, Ports>::new();
    for mapping in nat_mapping(config, maps) {
        let ports = rules.entry(mapping.rule.name.as_str()).or_default();
        ports.insert(mapping.service.port.get(), Whose { member: mapping.member, held: mapping.held });
    }
    rules
}
