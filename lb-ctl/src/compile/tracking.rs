//! Which rules keep an entry for each flow, and why.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;

use crate::config::model::{Config, Ports, Protocol, Rule, Tracking};

/// Why a rule tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The file says so.
    Asked,
    /// Its members speak first, too, from their service port.
    BackendInitiates,
    /// It has all ports: whatever a member sends might be a reply.
    AllPorts,
    /// Another rule sends to the same port of the same member: only the flow tells whose reply one is. Index into
    /// [`Config::rules`].
    SharedPort(usize),
}

impl Why {
    /// For people, who know rules by their names.
    #[must_use]
    pub fn in_words(self, config: &Config) -> impl fmt::Display {
        match self {
            Self::Asked => "asked for".to_owned(),
            Self::BackendInitiates => "backends initiate".to_owned(),
            Self::AllPorts => "all ports".to_owned(),
            Self::SharedPort(rule) => {
                format!("backend port shared with rule {}", config.rules()[rule].name)
            }
        }
    }
}

/// For each rule whether it tracks, and why.
#[must_use]
pub fn of_rules(config: &Config) -> Vec<Option<Why>> {
    let shared = shared_ports(config);
    let why = |(index, rule): (usize, &Rule)| {
        if rule.tracking == Tracking::Always {
            Some(Why::Asked)
        } else if rule.ports == Ports::All {
            Some(Why::AllPorts)
        } else if rule.backend_initiates {
            Some(Why::BackendInitiates)
        } else {
            shared.get(&index).map(|other| Why::SharedPort(*other))
        }
    };
    config.rules().iter().enumerate().map(why).collect()
}

/// Rules that meet at a port of a member (S-RULE-3, S-RULE-4), each with another one. Only rules with the same
/// protocol and backend port can: first those of one pool, then those whose pools have a member in common. Ranges of
/// ports are never shared.
fn shared_ports(config: &Config) -> BTreeMap<usize, usize> {
    let mut shared = BTreeMap::new();
    let mut meet = |first: usize, second: usize| {
        shared.entry(first).or_insert(second);
        shared.entry(second).or_insert(first);
    };
    let in_several = in_several_pools(config);
    let mut by_pool: HashMap<(Protocol, u16, usize), usize> = HashMap::new();
    let mut by_member: HashMap<(Protocol, u16, IpAddr), usize> = HashMap::new();
    let one_port = |rule: &Rule| matches!(rule.ports, Ports::One(_));
    let rules = config.rules().iter().enumerate().filter(|(_, rule)| one_port(rule));
    let each = rules.flat_map(|(index, rule)| rule.protocols.each().iter().map(move |it| (index, rule, *it)));
    for (index, rule, protocol) in each {
        let port = rule.backend_port;
        if let Some(&first) = by_pool.get(&(protocol, port, rule.pool)) {
            meet(first, index);
            continue;
        }
        by_pool.insert((protocol, port, rule.pool), index);
        let addresses = config.pool_of(rule).backends.iter().map(|backend| backend.address);
        for address in addresses.filter(|address| in_several.contains_key(address)) {
            let first = *by_member.entry((protocol, port, address)).or_insert(index);
            if first != index {
                meet(first, index);
            }
        }
    }
    shared
}

/// Most addresses are in one pool, and rules of different pools cannot meet there.
fn in_several_pools(config: &Config) -> HashMap<IpAddr, usize> {
    let mut pools: HashMap<IpAddr, (usize, usize)> = HashMap::new();
    for (position, pool) in config.pools().iter().enumerate() {
        for backend in &pool.backends {
            let (last, count) = pools.entry(backend.address).or_insert((position, 1));
            if *last != position {
                (*last, *count) = (position, *count + 1);
            }
        }
    }
    pools
        .into_iter()
        .filter(|(_, (_, count))| *count > 1)
        .map(|(address, (_, count))| (address, count))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::config::{Source, load};

    fn whys(rules: &str) -> Vec<Option<Why>> {
        let text = format!(
            "version: 1
frontends: [{{ name: out, address: 203.0.113.10 }}, {{ name: in, address: 10.0.0.10 }}]
pools:
  - {{ name: web, backends: [{{ name: a, address: 10.0.1.11 }}, {{ name: b, address: 10.0.1.12 }}] }}
  - {{ name: new, backends: [{{ name: b, address: 10.0.1.12 }}, {{ name: c, address: 10.0.1.13 }}] }}
rules:
{rules}"
        );
        of_rules(&load(&[Source { name: "lb.yaml".to_owned(), text }]).unwrap())
    }

    /// S-POOL-13, S-RULE-3, S-RULE-4, S-RULE-6.
    #[test]
    fn rules_that_share_a_port_of_a_member_track_s_rule_3_4_6() {
        let shared = whys(
            "  - { name: public, frontend: out, protocol: tcp, port: 80, pool: web, backendPort: 8080 }
  - { name: internal, frontend: in, protocol: tcp, port: 80, pool: web, backendPort: 8080 }
  - { name: canary, frontend: out, protocol: tcp, port: 81, pool: new, backendPort: 8080 }
  - { name: quic, frontend: out, protocol: udp, port: 80, pool: web, backendPort: 8080 }
  - { name: other, frontend: in, protocol: tcp, port: 81, pool: new, backendPort: 8081 }
",
        );
        let with = |rule| Some(Why::SharedPort(rule));
        assert_eq!(shared, [with(1), with(0), with(0), None, None]);
    }

    #[test]
    fn a_rule_tracks_when_the_file_says_so() {
        let asked = whys(
            "  - { name: web, frontend: out, protocol: tcp, port: 80, pool: web, tracking: always }
  - { name: sip, frontend: out, protocol: udp, port: 5060, pool: web, backendInitiates: true }
  - { name: dns, frontend: out, protocol: udp, port: 53, pool: web, tracking: auto }
",
        );
        assert_eq!(asked, [Some(Why::Asked), Some(Why::BackendInitiates), None]);
    }
}
