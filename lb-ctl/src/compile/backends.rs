//! Members: their labels, and the way to them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lb_common::abi::{Forwarding, MEMBERS, Rule};
use lb_common::units::MemberId;

use super::sources::{self, Sources};
use super::{Hop, Input, Labels, Refusal};
use crate::state::{MapState, Member};

/// A label for each member of each pool and its way of forwarding: the one that it has, else the
/// lowest free one.
pub(super) fn labels(input: &Input<'_>) -> Result<Labels, Refusal> {
    let known = known(input.observed);
    let mut free = (1..=u16::MAX).map(MemberId).filter(|label| !input.observed.members.contains_key(label));
    let mut labels = Labels::new();
    let pools = input.config.pools().iter();
    let members =
        pools.flat_map(|pool| pool.backends.iter().map(|backend| (backend.address, pool.forwarding)));
    let wanted: BTreeSet<_> = members.collect();
    for &member in &wanted {
        let label = known.get(&member).copied().or_else(|| free.next()).ok_or(Refusal::NoRoom {
            what: "members",
            needed: wanted.len() as u64,
            room: u64::from(MEMBERS) - 1,
            option: "number of nodes; there is no option for this",
        })?;
        labels.insert(member, label);
    }
    Ok(labels)
}

/// The labels that the maps have.
pub(crate) fn known(maps: &MapState) -> Labels {
    maps.members.iter().map(|(&label, member)| (kind(member), label)).collect()
}

/// What a label stands for.
pub(super) fn kind(member: &Member) -> (IpAddr, Forwarding) {
    let known = [Forwarding::FullNat, Forwarding::DsrL2, Forwarding::DsrIpip].into_iter();
    (member.address, known.into_iter().find(|way| *way as u8 == member.forwarding).unwrap_or_default())
}

/// The members of the pools, and those that slots or connections may still name.
pub(super) fn members(input: &Input<'_>, labels: &Labels, sources: &Sources) -> BTreeMap<MemberId, Member> {
    let needed = still_named(input);
    let kept = input.observed.members.iter().filter(|(label, _)| needed.contains(label));
    let kept = kept.map(|(&label, member)| (label, kind(member)));
    let wanted = labels.iter().map(|(&member, &label)| (label, member));
    kept.chain(wanted).map(|(label, member)| (label, way_to(member, sources, input))).collect()
}

fn way_to(member: (IpAddr, Forwarding), sources: &Sources, input: &Input<'_>) -> Member {
    let (address, forwarding) = member;
    let Hop { ifindex, destination, source, mtu } =
        input.host.next_hops.get(&address).copied().unwrap_or_default();
    let first = sources.first(member, input);
    Member {
        address,
        apart: sources::apart(member, first, input),
        ifindex,
        destination,
        source,
        mtu,
        present: 1,
        forwarding: forwarding as u8,
        sources: first,
    }
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
pub(super) fn members_of_rings<'r>(
    rules: impl Iterator<Item = &'r Rule>,
    maps: &MapState,
) -> BTreeMap<u32, BTreeSet<MemberId>> {
    let mut rings = BTreeMap::new();
    for view in rules.flat_map(|rule| [rule.current, rule.old]).filter(|view| view.ring_size != 0) {
        rings.entry(view.ring_base).or_insert_with(|| {
            let slots = maps.rings.get(&view.ring_base).map_or(&[][..], |ring| ring);
            let highest = slots.iter().max().map_or(0, |member| member.0);
            let mut members = vec![false; usize::from(highest) + 1];
            for member in slots {
                members[usize::from(member.0)] = true;
            }
            (1..=highest).filter(|&label| members[usize::from(label)]).map(MemberId).collect()
        });
    }
    rings
}
