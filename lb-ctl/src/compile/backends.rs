//! Members: their labels, the way to them, and the way back from them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use lb_common::abi::{MEMBERS, Member, Owner, Reverse, ReverseKey, Rule, RuleKey};
use lb_common::units::{Addr, MemberId, Port, Target};

use super::{Input, Labels, Refusal, Service, addr, ipv4};
use crate::state::MapState;

/// A label for each member of each pool: the one that its address has, else the lowest free one.
pub(super) fn labels(input: &Input<'_>) -> Result<Labels, Refusal> {
    let known: BTreeMap<Addr, MemberId> =
        input.observed.members.iter().map(|(&label, member)| (member.address, label)).collect();
    let mut free = (1..=u16::MAX).map(MemberId).filter(|label| !input.observed.members.contains_key(label));
    let mut labels = Labels::new();
    let wanted: BTreeSet<Ipv4Addr> =
        input.config.pools().iter().flat_map(|pool| &pool.backends).map(|backend| backend.address).collect();
    for &address in &wanted {
        let label = known.get(&addr(address)).copied().or_else(|| free.next()).ok_or(Refusal::NoRoom {
            what: "members",
            needed: wanted.len() as u64,
            room: u64::from(MEMBERS) - 1,
            option: "number of nodes; there is no option for this",
        })?;
        labels.insert(address, label);
    }
    Ok(labels)
}

/// The members of the pools, and those that slots or connections may still name.
pub(super) fn members(input: &Input<'_>, labels: &Labels) -> BTreeMap<MemberId, Member> {
    let needed = still_named(input);
    let kept = input.observed.members.iter().filter(|(label, _)| needed.contains(label));
    let kept = kept.map(|(&label, member)| (label, ipv4(member.address)));
    let wanted = labels.iter().map(|(&address, &label)| (label, address));
    kept.chain(wanted).map(|(label, address)| (label, way_to(address, input))).collect()
}

fn way_to(address: Ipv4Addr, input: &Input<'_>) -> Member {
    let hop = input.host.next_hops.get(&address).copied().unwrap_or_default();
    Member { address: addr(address), present: 1, ..hop }
}

/// Labels in the rings of rules in force, which packets may be reading, and in live exceptions.
fn still_named(input: &Input<'_>) -> BTreeSet<MemberId> {
    let mut named: BTreeSet<MemberId> = input.carried.iter().map(|(_, target)| target.member).collect();
    let in_force = input.observed.rules_in_force().map(|(_, rule)| rule);
    for members in members_of_rings(in_force, input.observed).into_values() {
        named.extend(members);
    }
    named
}

/// The members of each ring that a rule names, by the ring's first slot.
fn members_of_rings<'r>(
    rules: impl Iterator<Item = &'r Rule>,
    maps: &MapState,
) -> BTreeMap<u32, BTreeSet<MemberId>> {
    let mut rings = BTreeMap::new();
    for view in rules.flat_map(|rule| [rule.current, rule.old]).filter(|view| view.ring_size != 0) {
        rings.entry(view.ring_base).or_insert_with(|| {
            let slots = maps.rings.get(&view.ring_base).into_iter().flat_map(|ring| ring.iter());
            let mut members = vec![false; MEMBERS as usize];
            slots.for_each(|member| members[usize::from(member.0)] = true);
            (1..=u16::MAX).filter(|&label| members[usize::from(label)]).map(MemberId).collect()
        });
    }
    rings
}

/// What replies of a member may come from: a frontend by port and protocol.
type Mapping = BTreeMap<(Port, u8), Reverse>;

/// Fills in owners and reverse: members that answer for the same services share a group. A group
/// never changes what it stands for; a member whose services change gets another one, so that one
/// write changes all of its replies.
pub(super) fn replies(input: &Input<'_>, labels: &Labels, state: &mut MapState) -> Result<(), Refusal> {
    let there = groups(input.observed);
    let mut taken: BTreeSet<u32> = input.observed.reverse.keys().map(|key| key.group).collect();
    taken.extend(input.observed.owners.values().map(|owner| owner.group));
    let mut free = (1..=u32::MAX).filter(|group| !taken.contains(group));
    let mut groups = BTreeMap::<Mapping, u32>::new();
    for (address, (member, mapping)) in mappings(input, labels, state)? {
        if mapping.is_empty() {
            continue;
        }
        let group = *groups.entry(mapping).or_insert_with_key(|mapping| {
            there.get(&frontends(mapping)).copied().or_else(|| free.next()).unwrap_or(0)
        });
        state.owners.insert(address, Owner { group, member, reserved: 0 });
    }
    for (mapping, group) in groups {
        for ((port, protocol), reverse) in mapping {
            state.reverse.insert(ReverseKey { group, port, protocol, reserved: 0 }, reverse);
        }
    }
    Ok(())
}

/// What a group stands for: frontends by port and protocol at the member.
type Frontends = BTreeMap<(Port, u8), (Addr, Port)>;

fn frontends(mapping: &Mapping) -> Frontends {
    mapping.iter().map(|(&key, reverse)| (key, (reverse.address, reverse.port))).collect()
}

/// The groups that are there.
fn groups(maps: &MapState) -> BTreeMap<Frontends, u32> {
    let mut groups = BTreeMap::<u32, Frontends>::new();
    for (key, reverse) in &maps.reverse {
        let group = groups.entry(key.group).or_default();
        group.insert((key.port, key.protocol), (reverse.address, reverse.port));
    }
    groups.into_iter().map(|(group, frontends)| (frontends, group)).collect()
}

/// For each member what its rules in force and its carried connections ask for.
fn mappings(
    input: &Input<'_>,
    labels: &Labels,
    state: &MapState,
) -> Result<BTreeMap<Addr, (MemberId, Mapping)>, Refusal> {
    let services = services(state);
    let mut mappings: BTreeMap<Addr, (MemberId, Mapping)> =
        state.members.iter().map(|(&label, member)| (member.address, (label, Mapping::new()))).collect();
    for rule in input.config.rules() {
        let service = Service::named_by(input.config, rule);
        let key = (Port::new(rule.backend_port), service.protocol);
        for backend in &input.config.pool_of(rule).backends {
            let there = labels.get(&backend.address).and(mappings.get_mut(&addr(backend.address)));
            if let (Some((_, mapping)), Some(reverse)) = (there, services.get(&service)) {
                mapping.insert(key, *reverse);
            }
        }
    }
    for (service, target) in in_use(input, state) {
        let Some(reverse) = services.get(&service) else { continue };
        let Some(address) = answers(input.observed, service, target) else { continue };
        let Some((_, mapping)) = mappings.get_mut(&address) else { continue };
        let there = mapping.entry((target.port, service.protocol)).or_insert(*reverse);
        if there != reverse {
            return Err(Refusal::StillCarried {
                member: ipv4(address),
                port: target.port.get(),
                old: name(reverse),
                new: name(there),
            });
        }
    }
    Ok(mappings)
}

fn name(reverse: &Reverse) -> String {
    format!("{}:{}", ipv4(reverse.address), reverse.port.get())
}

/// What replies of each service become.
fn services(state: &MapState) -> BTreeMap<Service, Reverse> {
    let reverse = |key: &RuleKey, rule: &Rule| Reverse {
        address: key.address,
        port: key.port,
        reserved: 0,
        stats: rule.stats,
        life: rule.life,
    };
    state.rules.iter().map(|(key, rule)| (Service::of(key), reverse(key, rule))).collect()
}

/// Targets that views in force, old views or live exceptions of a service may still give.
fn in_use(input: &Input<'_>, state: &MapState) -> BTreeSet<(Service, Target)> {
    let mut in_use = input.carried.clone();
    for (maps, rules) in [
        (input.observed, input.observed.rules_in_force().collect::<Vec<_>>()),
        (state, state.rules.iter().collect()),
    ] {
        let rings = members_of_rings(rules.iter().map(|(_, rule)| *rule), maps);
        for (key, rule) in rules {
            for view in [rule.current, rule.old].into_iter().filter(|view| view.ring_size != 0) {
                let members = rings.get(&view.ring_base).into_iter().flatten();
                in_use.extend(members.map(|&member| (Service::of(key), view.target(member))));
            }
        }
    }
    in_use
}

/// The member's address, if the maps send replies of this target back through the service.
fn answers(maps: &MapState, service: Service, target: Target) -> Option<Addr> {
    let address = maps.members.get(&target.member)?.address;
    let group = maps.owners.get(&address)?.group;
    let key = ReverseKey { group, port: target.port, protocol: service.protocol, reserved: 0 };
    let reverse = maps.reverse.get(&key)?;
    ((reverse.address, reverse.port) == (service.address, service.port)).then_some(address)
}
