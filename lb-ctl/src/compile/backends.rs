//! Members: their labels, the way to them, and the way back from them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use lb_common::abi::{MEMBERS, Member, Owner, Reverse, ReverseKey, Rule};
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

/// Fills in owners and reverse: members that answer for the same services share a group.
pub(super) fn replies(input: &Input<'_>, labels: &Labels, state: &mut MapState) -> Result<(), Refusal> {
    let mappings = mappings(input, labels, state)?;
    let mut groups = BTreeMap::<Mapping, u32>::new();
    let mut taken: BTreeSet<u32> = input.observed.reverse.keys().map(|key| key.group).collect();
    taken.extend(input.observed.owners.values().map(|owner| owner.group));
    let mut claimed = BTreeSet::new();
    for (address, (member, mapping)) in mappings {
        let group = *groups.entry(mapping).or_insert_with_key(|_| {
            let before = input.observed.owners.get(&address).map(|owner| owner.group);
            let group = before.filter(|group| !claimed.contains(group));
            let group = group.or_else(|| (1..=u32::MAX).find(|group| !taken.contains(group))).unwrap_or(0);
            taken.insert(group);
            claimed.insert(group);
            group
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

/// For each member what its rules in force and its carried connections ask for.
fn mappings(
    input: &Input<'_>,
    labels: &Labels,
    state: &MapState,
) -> Result<BTreeMap<Addr, (MemberId, Mapping)>, Refusal> {
    let mut mappings: BTreeMap<Addr, (MemberId, Mapping)> =
        state.members.iter().map(|(&label, member)| (member.address, (label, Mapping::new()))).collect();
    for (service, reverse, address, port) in configured(input, state) {
        if labels.contains_key(&ipv4(address))
            && let Some((_, mapping)) = mappings.get_mut(&address)
        {
            mapping.insert((port, service.protocol), reverse);
        }
    }
    for (address, port, protocol, reverse) in needed(input, state) {
        let Some((_, mapping)) = mappings.get_mut(&address) else { continue };
        let there = mapping.entry((port, protocol)).or_insert(reverse);
        if (there.address, there.port) != (reverse.address, reverse.port) {
            return Err(Refusal::StillCarried {
                member: ipv4(address),
                port: port.get(),
                old: name(&reverse),
                new: name(there),
            });
        }
    }
    Ok(mappings)
}

fn name(reverse: &Reverse) -> String {
    format!("{}:{}", ipv4(reverse.address), reverse.port.get())
}

/// What the file says: each rule's members at its backend port.
fn configured<'a>(
    input: &'a Input<'_>,
    state: &'a MapState,
) -> impl Iterator<Item = (Service, Reverse, Addr, Port)> + 'a {
    input.config.rules().iter().flat_map(move |rule| {
        let service = Service::named_by(input.config, rule);
        let reverse = reverse_of(service, state);
        let port = Port::new(rule.backend_port);
        let backends = &input.config.pool_of(rule).backends;
        backends.iter().map(move |backend| (service, reverse, addr(backend.address), port))
    })
}

fn reverse_of(service: Service, state: &MapState) -> Reverse {
    let rule = state.rules.iter().find_map(|(key, rule)| {
        ((key.address, key.port, key.protocol) == (service.address, service.port, service.protocol))
            .then_some(rule)
    });
    let rule = rule.copied().unwrap_or_default();
    Reverse { address: service.address, port: service.port, reserved: 0, stats: rule.stats, life: rule.life }
}

/// Entries of the maps that views in force, old views or live exceptions of a service still need;
/// a service that the file no longer has needs none.
fn needed(input: &Input<'_>, state: &MapState) -> Vec<(Addr, Port, u8, Reverse)> {
    let stays: BTreeSet<Service> = state.rules.keys().map(Service::of).collect();
    let mut in_use: BTreeSet<(Service, Target)> = input.carried.clone();
    for (maps, rules) in [
        (input.observed, input.observed.rules_in_force().collect::<Vec<_>>()),
        (state, state.rules.iter().collect()),
    ] {
        let rings = members_of_rings(rules.iter().map(|(_, rule)| *rule), maps);
        for (key, rule) in rules {
            for view in [rule.current, rule.old].into_iter().filter(|view| view.present != 0) {
                let members = rings.get(&view.ring_base).into_iter().flatten();
                in_use.extend(members.map(|&member| (Service::of(key), view.target(member))));
            }
        }
    }
    in_use.retain(|(service, _)| stays.contains(service));
    in_use.into_iter().filter_map(|(service, target)| observed(input.observed, service, target)).collect()
}

/// The entry by which the maps send replies of a target back through a service, if they do.
fn observed(maps: &MapState, service: Service, target: Target) -> Option<(Addr, Port, u8, Reverse)> {
    let address = maps.members.get(&target.member)?.address;
    let group = maps.owners.get(&address)?.group;
    let key = ReverseKey { group, port: target.port, protocol: service.protocol, reserved: 0 };
    let reverse = maps.reverse.get(&key)?;
    let same = (reverse.address, reverse.port) == (service.address, service.port);
    same.then_some((address, target.port, service.protocol, *reverse))
}
