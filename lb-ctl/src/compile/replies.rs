//! The way back: which frontend a member's replies come from.
//!
//! Members that answer for the same services share a group, so that the maps hold members + rules
//! entries; what is computed here on the way is not much more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use lb_common::abi::{Forwarding, Owner, RANGE, REVERSES, ReverseKey, Rule, TRACKED_REPLIES};
use lb_common::units::{MemberId, Port, Target};

use super::backends::members_of_rings;
use super::nat::NatPort;
use super::ranges;
use super::tracking::{self, Why};
use super::{Input, Labels, Refusal, Service};
use crate::config::model::{self, Config, Ports};
use crate::state::{MapState, Reverse, RuleKey};

/// What replies of a member may come from: a frontend by port and protocol at the member.
type Mapping = BTreeMap<(Port, u8), Reverse>;
type Entries = BTreeMap<ReverseKey, Reverse>;

/// Members of one kind answer for the same services: those of the rules of their pools, and those
/// that connections may still need.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    pools: BTreeSet<usize>,
    /// Ports of NAT rules, by which each member of a range is a kind of its own.
    nat: Mapping,
    carried: Mapping,
}

/// Fills in owners and reverse. A group never changes what it stands for; a member whose services
/// change gets another one, so that one write changes all of its replies.
pub(super) fn write(
    input: &Input<'_>,
    labels: &Labels,
    nat: &[NatPort],
    state: &mut MapState,
) -> Result<(), Refusal> {
    let services = services(input.config, state);
    let pools = of_pools(input, &services, &tracking::of_rules(input.config));
    let mut groups = Groups::of(input.observed);
    let mut known = BTreeMap::<Kind, (u32, u16)>::new();
    for (address, (member, kind)) in kinds(input, labels, nat, &services, &pools, state)? {
        let (group, flags) = *known.entry(kind).or_insert_with_key(|kind| {
            let mapping = kind.mapping(&pools);
            let group = groups.standing_for(&mapping);
            let ranges = mapping.keys().any(|(_, protocol)| protocol & RANGE != 0);
            let entry =
                |((port, protocol), reverse)| (ReverseKey { group, port, protocol, reserved: 0 }, reverse);
            state.reverse.extend(mapping.into_iter().map(entry));
            (group, if ranges { Owner::RANGES } else { 0 })
        });
        if group != NO_GROUP {
            state.owners.insert(address, Owner { group, member, flags });
        }
    }
    state.reverse_ranges = ranges::of_groups(&state.reverse);
    ranges::room(&input.observed.reverse_ranges, &state.reverse_ranges, |_| true)?;
    room(&input.observed.reverse, &state.reverse)
}

/// Old entries stay until the new ones are in force.
fn room(old: &Entries, new: &Entries) -> Result<(), Refusal> {
    let room = REVERSES as usize;
    let kept = old.iter().filter(|(key, _)| !new.contains_key(key));
    let all: Vec<bool> = new.iter().chain(kept).map(|(_, reverse)| reverse.address.is_ipv4()).collect();
    let ipv4 = all.iter().filter(|ipv4| **ipv4).count();
    match ipv4.max(all.len() - ipv4) {
        needed if needed > room => Err(Refusal::NoWayBack { needed, room }),
        _ => Ok(()),
    }
}

impl Kind {
    fn mapping(&self, pools: &Pools) -> Mapping {
        let keys = self.pools.iter().flat_map(|&pool| pools.mappings[pool].keys()).chain(self.nat.keys());
        let configured = keys.filter_map(|key| Some((*key, *self.configured(*key, pools)?)));
        self.carried.iter().map(|(&key, &reverse)| (key, reverse)).chain(configured).collect()
    }

    /// What the file says of a port. Rules that share it, all of which track, want one to answer for flows without
    /// an entry: that which did before they shared it, else the first.
    fn configured<'s>(&'s self, key: (Port, u8), pools: &'s Pools) -> Option<&'s Reverse> {
        let all = || self.pools.iter().filter_map(|&pool| pools.mappings[pool].get(&key));
        all().find(|reverse| pools.answers(reverse)).or_else(|| all().next()).or_else(|| self.nat.get(&key))
    }

    /// What the file gives a port that this way back is needed for: a port in a range, or a range around one,
    /// of which `among` has the candidates by pool.
    fn other(&self, key: (Port, u8), way: &Reverse, among: &[Mapping]) -> Option<(Port, Reverse)> {
        let (first, last) = at_member(key.0, way);
        let nat = (key.1 & RANGE != 0).then_some(&self.nat).into_iter().flatten();
        let configured = self.pools.iter().flat_map(|&pool| &among[pool]).chain(nat);
        let mut others = configured.filter_map(|(&(port, protocol), other)| {
            let (other_first, other_last) = at_member(port, other);
            let shared = first.max(other_first);
            let meet =
                (protocol ^ key.1) & !RANGE == 0 && (port, protocol) != key && shared <= last.min(other_last);
            let back = |way: &Reverse, first: u16| (way.address, way.port.plus(shared - first));
            (meet && back(way, first) != back(other, other_first)).then_some((Port::new(shared), *other))
        });
        others.next()
    }
}

/// What members of each pool answer for.
struct Pools {
    mappings: Vec<Mapping>,
    /// Frontends that some member answers for already.
    there: BTreeSet<(IpAddr, Port)>,
}

impl Pools {
    fn answers(&self, reverse: &Reverse) -> bool {
        self.there.contains(&(reverse.address, reverse.port))
    }
}

/// The ports at a member from which replies become this.
fn at_member(first: Port, way: &Reverse) -> (u16, u16) {
    (first.get(), first.plus(way.last.behind(way.port)).get())
}

/// Of members that answer for nothing.
const NO_GROUP: u32 = 0;

/// What a group stands for: frontends by port and protocol at the member, with their first and last port.
type Frontends = BTreeMap<(Port, u8), (IpAddr, Port, Port)>;

/// Numbers of groups.
struct Groups {
    there: BTreeMap<Frontends, u32>,
    taken: BTreeSet<u32>,
    last: u32,
}

impl Groups {
    /// The groups that the maps hold.
    fn of(maps: &MapState) -> Self {
        let mut groups = BTreeMap::<u32, Frontends>::new();
        for (key, reverse) in &maps.reverse {
            let group = groups.entry(key.group).or_default();
            group.insert((key.port, key.protocol), frontend(reverse));
        }
        let owners = maps.owners.values().map(|owner| owner.group);
        let taken = groups.keys().copied().chain(owners).collect();
        let there = groups.into_iter().map(|(group, frontends)| (frontends, group)).collect();
        Self { there, taken, last: NO_GROUP }
    }

    /// The group that stands for this already, else the next free one.
    fn standing_for(&mut self, mapping: &Mapping) -> u32 {
        if mapping.is_empty() {
            return NO_GROUP;
        }
        let frontends = mapping.iter().map(|(&key, reverse)| (key, frontend(reverse)));
        *self.there.entry(frontends.collect()).or_insert_with(|| {
            let free = (self.last + 1..=u32::MAX).find(|group| !self.taken.contains(group));
            self.last = free.unwrap_or(NO_GROUP);
            self.last
        })
    }
}

fn frontend(reverse: &Reverse) -> (IpAddr, Port, Port) {
    (reverse.address, reverse.port, reverse.last)
}

/// What replies of each service become.
fn services(config: &Config, state: &MapState) -> BTreeMap<Service, Reverse> {
    let lasts = ranges::lasts(config);
    let reverse = |key: &RuleKey, rule: &Rule| Reverse {
        address: key.address,
        port: key.port,
        last: lasts.get(&Service::of(key)).copied().unwrap_or(key.port),
        flags: if rule.flags & Rule::TRACKED != 0 { TRACKED_REPLIES } else { 0 },
        stats: rule.stats,
        life: rule.life,
        reserved: 0,
    };
    state.rules.iter().map(|(key, rule)| (Service::of(key), reverse(key, rule))).collect()
}

/// What the file says of the members of each pool. Members that initiate never answer without an entry.
fn of_pools(input: &Input<'_>, services: &BTreeMap<Service, Reverse>, tracking: &[Option<Why>]) -> Pools {
    let there = input.observed.reverse.values().map(|reverse| (reverse.address, reverse.port)).collect();
    let mut pools = Pools { mappings: vec![Mapping::new(); input.config.pools().len()], there };
    let named = input.config.rules().iter().zip(tracking);
    let named = named.flat_map(|(rule, why)| {
        Service::of_rule(input.config, rule).map(move |service| (rule, why, service))
    });
    for (rule, why, service) in named {
        let nat = input.config.pool_of(rule).forwarding == Forwarding::Nat;
        if !nat || matches!(why, Some(Why::BackendInitiates | Why::AllPorts)) {
            continue;
        }
        let Some(reverse) = services.get(&service) else { continue };
        let key = (Port::new(rule.backend_port), service.protocol);
        let known = pools.mappings[rule.pool].get(&key);
        if known.is_none_or(|known| pools.answers(reverse) && !pools.answers(known)) {
            pools.mappings[rule.pool].insert(key, *reverse);
        }
    }
    pools
}

/// The services whose replies are told by their port. Any port may answer for a rule of all ports: there the
/// entry of the flow tells.
fn of_rules(config: &Config) -> impl Iterator<Item = (&model::Rule, Service)> {
    let by_port = config.rules().iter().filter(|rule| rule.ports != Ports::All);
    by_port.flat_map(|rule| Service::of_rule(config, rule).map(move |service| (rule, service)))
}

/// The label and the kind of each member.
fn kinds(
    input: &Input<'_>,
    labels: &Labels,
    nat: &[NatPort],
    services: &BTreeMap<Service, Reverse>,
    pools: &Pools,
    state: &MapState,
) -> Result<BTreeMap<IpAddr, (MemberId, Kind)>, Refusal> {
    // Others than these do not answer through us, or to us ourselves.
    let by_nat = state.members.iter().filter(|(_, member)| member.forwarding == Forwarding::Nat as u8);
    let mut kinds: BTreeMap<IpAddr, (MemberId, Kind)> =
        by_nat.map(|(&label, member)| (member.address, (label, Kind::default()))).collect();
    for (index, pool) in input.config.pools().iter().enumerate() {
        for backend in pool.backends.iter().filter(|_| pool.forwarding == Forwarding::Nat) {
            if let Some((_, kind)) = kinds.get_mut(&backend.address) {
                kind.pools.insert(index);
            }
        }
    }
    for &NatPort { rule, service, member } in nat {
        let address = member.and_then(|member| Some(state.members.get(&member)?.address));
        let kind = address.and_then(|address| kinds.get_mut(&address));
        if let (Some((_, kind)), Some(reverse)) = (kind, services.get(&service)) {
            let port = Port::new(input.config.nat_rules()[rule].backend_port);
            kind.nat.insert((port, service.protocol), *reverse);
        }
    }
    let of_ranges = |pool: &Mapping| {
        pool.iter()
            .filter(|((_, protocol), _)| protocol & RANGE != 0)
            .map(|(&key, &way)| (key, way))
            .collect()
    };
    let ranges: Vec<Mapping> = pools.mappings.iter().map(of_ranges).collect();
    for (service, target) in in_use(input, labels, nat) {
        let Some(reverse) = services.get(&service) else { continue };
        let Some(address) = answers(input.observed, service, target) else { continue };
        let Some((_, kind)) = kinds.get_mut(&address) else { continue };
        let key = (target.port, service.protocol);
        let there = match kind.configured(key, pools) {
            Some(there) => *there,
            None => *kind.carried.entry(key).or_insert(*reverse),
        };
        let among = if key.1 & RANGE == 0 { &ranges } else { &pools.mappings };
        let other = kind.other(key, reverse, among).or((there != *reverse).then_some((target.port, there)));
        if let Some((port, new)) = other {
            return Err(Refusal::StillCarried {
                member: address,
                port: port.get(),
                old: name(reverse),
                new: name(&new),
            });
        }
    }
    Ok(kinds)
}

fn name(reverse: &Reverse) -> String {
    SocketAddr::new(reverse.address, reverse.port.get()).to_string()
}

/// Whom the file gives a service.
#[derive(Clone, Copy)]
enum Given {
    /// An index.
    Pool(usize),
    /// Of a NAT rule; nobody, if its port is held.
    Member(Option<MemberId>),
}

/// Targets of live exceptions, and those of views in force that the file does not give any more.
fn in_use(input: &Input<'_>, labels: &Labels, nat: &[NatPort]) -> Vec<(Service, Target)> {
    let members = |pool: &crate::config::model::Pool| -> BTreeSet<MemberId> {
        pool.backends
            .iter()
            .filter_map(|backend| labels.get(&(backend.address, pool.forwarding)).copied())
            .collect()
    };
    let pools: Vec<_> = input.config.pools().iter().map(members).collect();
    let rules = of_rules(input.config)
        .map(|(rule, service)| (service, (Port::new(rule.backend_port), Given::Pool(rule.pool))));
    let nat = nat.iter().map(|&NatPort { rule, service, member }| {
        (service, (Port::new(input.config.nat_rules()[rule].backend_port), Given::Member(member)))
    });
    let configured: BTreeMap<Service, (Port, Given)> = rules.chain(nat).collect();
    let rings = members_of_rings(input.observed.rules_in_force().map(|(_, rule)| rule), input.observed);
    let mut beyond = BTreeMap::<(u32, usize), Vec<MemberId>>::new();
    let mut in_use: Vec<_> = input.carried.iter().copied().collect();
    for (key, rule) in input.observed.rules_in_force() {
        let service = Service::of(key);
        let Some(&(port, given)) = configured.get(&service) else { continue };
        for view in [rule.current, rule.old] {
            let Some(ring) = rings.get(&view.ring_base).filter(|_| view.ring_size != 0) else { continue };
            let targets = |member: &MemberId| (service, view.target(*member));
            match given {
                Given::Pool(pool) if view.port == port => {
                    let left = beyond
                        .entry((view.ring_base, pool))
                        .or_insert_with(|| ring.difference(&pools[pool]).copied().collect());
                    in_use.extend(left.iter().map(targets));
                }
                Given::Member(given) if view.port == port => {
                    in_use.extend(ring.iter().filter(|member| Some(**member) != given).map(targets));
                }
                Given::Pool(_) | Given::Member(_) => in_use.extend(ring.iter().map(targets)),
            }
        }
    }
    in_use
}

/// The member's address, if the maps send replies of this target back through the service.
fn answers(maps: &MapState, service: Service, target: Target) -> Option<IpAddr> {
    let address = maps.members.get(&target.member)?.address;
    let group = maps.owners.get(&address)?.group;
    let key = ReverseKey { group, port: target.port, protocol: service.protocol, reserved: 0 };
    let reverse = maps.reverse.get(&key)?;
    ((reverse.address, reverse.port) == (service.address, service.port)).then_some(address)
}
