//! NAT rules: which frontend port is whose.
//!
//! Nothing is remembered beside the maps. A port is that member's which its rule in force goes to;
//! the port of a member that has left keeps a rule that goes nowhere and whose old view still names
//! the member, for as long as connections may need it, and is held for that time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use lb_common::abi::{Rule, View};
use lb_common::units::{MemberId, Port};

use super::{Input, Labels, Refusal, Service, number};
use crate::config::model::{Config, NatRule, NatTarget, PortRange, Protocol};
use crate::state::MapState;

/// A service of a NAT rule.
#[derive(Debug, Clone, Copy)]
pub(super) struct NatPort {
    /// Index into [`Config::nat_rules`].
    pub(super) rule: usize,
    pub(super) service: Service,
    /// `None`: held.
    pub(super) member: Option<MemberId>,
}

/// All services of all NAT rules, in the file's order.
pub(super) fn ports(input: &Input<'_>, labels: &Labels) -> Result<Vec<NatPort>, Refusal> {
    let holders = Holders::of(input);
    let mut all = Vec::new();
    for (index, rule) in input.config.nat_rules().iter().enumerate() {
        let forwarding = input.config.pool_of_nat(rule).forwarding;
        let members = input.config.members_of_nat(rule).iter();
        let members: Vec<MemberId> = members.map(|backend| labels[&(backend.address, forwarding)]).collect();
        let whose = match rule.to {
            NatTarget::Member { .. } => {
                members.iter().map(|&member| (rule.ports.first, Some(member))).collect()
            }
            NatTarget::Pool(_) => distribute(input.config, rule, &members, &holders)?,
        };
        for (port, member) in whose {
            let service = |&protocol| service(input.config, rule, port, protocol);
            let services = rule.protocols.each().iter().map(service);
            let needed = services.filter(|service| member.is_some() || holders.has(*service));
            all.extend(needed.map(|service| NatPort { rule: index, service, member }));
        }
    }
    Ok(all)
}

fn service(config: &Config, rule: &NatRule, port: u16, protocol: Protocol) -> Service {
    let address = config.frontends()[rule.frontend].address;
    Service { address, port: Port::new(port), protocol: number(protocol) }
}

/// Gives each member the port that it has, else the lowest that nobody has or had lately.
fn distribute(
    config: &Config,
    rule: &NatRule,
    members: &[MemberId],
    holders: &Holders,
) -> Result<BTreeMap<u16, Option<MemberId>>, Refusal> {
    let known = holders.of_rule(config, rule);
    let mut has = HashMap::<MemberId, u16>::new();
    for wanted in [Holding::Has, Holding::Had] {
        for (&port, (member, _)) in known.iter().filter(|(_, (_, holding))| *holding == wanted) {
            has.entry(*member).or_insert(port);
        }
    }
    let mut whose: BTreeMap<u16, Option<MemberId>> = known.keys().map(|&port| (port, None)).collect();
    let there = members.iter().filter_map(|member| Some((*has.get(member)?, Some(*member))));
    whose.extend(there);
    let held = whose.values().filter(|member| member.is_none()).count();
    let mut free = (rule.ports.first..=rule.ports.last).filter(|port| !known.contains_key(port));
    let mut left_over = 0;
    for &member in members.iter().filter(|member| !has.contains_key(member)) {
        match free.next() {
            Some(port) => {
                whose.insert(port, Some(member));
            }
            None => left_over += 1,
        }
    }
    if left_over > 0 {
        let ports = rule.ports;
        return Err(Refusal::RangeFull { rule: rule.name.clone(), ports, members: members.len(), held });
    }
    Ok(whose)
}

/// Whether a member has a port, or has left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Holding {
    Has,
    Had,
}

/// Ports that the maps give to one member, or hold for one.
struct Holders(BTreeMap<(IpAddr, u16, u8), (MemberId, Holding)>);

impl Holders {
    fn of(input: &Input<'_>) -> Self {
        let alive: BTreeSet<Service> = input.carried.iter().map(|(service, _)| *service).collect();
        let mut holders = BTreeMap::new();
        for (key, rule) in input.observed.rules_in_force() {
            let service = Service::of(key);
            let Some((member, holding)) = holder(rule, input.observed) else { continue };
            let is_over = input.settled.contains(&service) && !alive.contains(&service);
            if holding == Holding::Has || !is_over {
                holders.insert((service.address, service.port.get(), service.protocol), (member, holding));
            }
        }
        Self(holders)
    }

    fn has(&self, Service { address, port, protocol }: Service) -> bool {
        self.0.contains_key(&(address, port.get(), protocol))
    }

    /// Those of a rule. Where its protocols disagree, who has the port counts, then the first.
    fn of_rule(&self, config: &Config, rule: &NatRule) -> BTreeMap<u16, (MemberId, Holding)> {
        let address = config.frontends()[rule.frontend].address;
        let protocols: Vec<u8> = rule.protocols.each().iter().map(|&protocol| number(protocol)).collect();
        let mut ports = BTreeMap::<u16, (MemberId, Holding)>::new();
        let all = (address, rule.ports.first, 0)..=(address, rule.ports.last, u8::MAX);
        for (&(_, port, protocol), &(member, holding)) in self.0.range(all) {
            if protocols.contains(&protocol) {
                let known = ports.entry(port).or_insert((member, holding));
                if holding < known.1 {
                    *known = (member, holding);
                }
            }
        }
        ports
    }
}

/// Whose a port is by its rule. Rings of pools have thousands of slots.
fn holder(rule: &Rule, maps: &MapState) -> Option<(MemberId, Holding)> {
    let only = |view: &View| match maps.rings.get(&view.ring_base)?.as_slice() {
        [member] if view.ring_size == 1 => Some(*member),
        _ => None,
    };
    if rule.current.ring_size == 0 {
        return Some((only(&rule.old)?, Holding::Had));
    }
    Some((only(&rule.current)?, Holding::Has))
}

/// A NAT rule's port and its member, as the maps have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NatMapping<'c> {
    pub rule: &'c NatRule,
    pub service: Service,
    pub member: IpAddr,
    /// The member has left, and its connections may go on.
    pub held: bool,
}

/// The mapping in force, by the file's order and port (S-NAT-6).
#[must_use]
pub fn nat_mapping<'c>(config: &'c Config, maps: &MapState) -> Vec<NatMapping<'c>> {
    let rules = NatRules::of(config);
    let mapping = |(key, rule): (_, &Rule)| {
        let service = Service::of(key);
        let (index, nat) = rules.serving(service)?;
        let (member, holding) = holder(rule, maps)?;
        let member = maps.members.get(&member)?.address;
        Some((index, NatMapping { rule: nat, service, member, held: holding == Holding::Had }))
    };
    let mut all: Vec<_> = maps.rules_in_force().filter_map(mapping).collect();
    all.sort_by_key(|(index, it)| (*index, it.service.port.get(), it.service.protocol));
    all.into_iter().map(|(_, mapping)| mapping).collect()
}

/// NAT rules by what they serve.
pub struct NatRules<'c>(BTreeMap<(IpAddr, u8, u16), (usize, &'c NatRule)>);

impl<'c> NatRules<'c> {
    #[must_use]
    pub fn of(config: &'c Config) -> Self {
        let keys = |(index, rule): (usize, &'c NatRule)| {
            let address = config.frontends()[rule.frontend].address;
            let key = move |&protocol| ((address, number(protocol), rule.ports.first), (index, rule));
            rule.protocols.each().iter().map(key)
        };
        Self(config.nat_rules().iter().enumerate().flat_map(keys).collect())
    }

    /// The one that serves this, and its index: ranges do not overlap.
    #[must_use]
    pub fn serving(&self, service: Service) -> Option<(usize, &'c NatRule)> {
        let Service { address, port, protocol } = service;
        let below = self.0.range((address, protocol, 0)..=(address, protocol, port.get()));
        let (_, &(index, rule)) = below.last()?;
        rule.ports.contains(port.get()).then_some((index, rule))
    }
}

/// What a range says that has no port for a new member (S-NAT-4). More members than ports is a mistake
/// of the file.
pub(super) fn full(rule: &str, ports: PortRange, members: usize, held: usize) -> String {
    let (room, is) = (ports.count(), if held == 1 { "is" } else { "are" });
    format!(
        "NAT rule {rule}: {ports} is full: of its {room} ports {held} {is} held for connections of members \
         that have left, and {members} members need one each\n  \
         raise the end of the range (no member changes its port), or wait until a held port is free \
         (lbctl nat shows when)"
    )
}
