//! What the maps mean to packets, without labels, regions, groups and numbers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lb_common::abi::{Rule, View, access};
use lb_common::units::Port;

use super::*;

/// A view as packets know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) port: u16,
    pub(super) mode: u8,
    /// Who has each slot.
    pub(super) ring: Vec<IpAddr>,
    pub(super) accepting: BTreeSet<IpAddr>,
}

/// A rule as packets know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) current: Choice,
    pub(super) old: Option<Choice>,
    /// Prefixes and their verdicts.
    pub(super) access: BTreeSet<(IpAddr, u8, u32)>,
    /// Kind of the list, and its flag.
    pub(super) code: (u32, u32),
    pub(super) life: u32,
    pub(super) stats: u32,
}

/// The rules in force. Panics where they name what is not there.
pub(super) fn rules(maps: &MapState) -> BTreeMap<Service, Meaning> {
    let meaning = |rule: &Rule| Meaning {
        current: choice(&rule.current, maps),
        old: (rule.old.present != 0).then(|| choice(&rule.old, maps)),
        access: prefixes(rule.list(), maps),
        code: (rule.list().min(access::FIRST_LIST), rule.access & access::NEW_FLOWS),
        life: rule.life,
        stats: rule.stats,
    };
    in_force(maps).into_iter().map(|(service, rule)| (service, meaning(&rule))).collect()
}

fn choice(view: &View, maps: &MapState) -> Choice {
    let address = |label: &lb_common::units::MemberId| maps.members[label].address;
    let ring = if view.ring_size == 0 { None } else { Some(&maps.rings[&view.ring_base]) };
    let accepting = maps.members.keys().filter(|label| maps.accepts(view, **label));
    Choice {
        port: view.port.get(),
        mode: view.mode,
        ring: ring.into_iter().flat_map(|ring| ring.iter()).map(address).collect(),
        accepting: accepting.map(address).collect(),
    }
}

fn prefixes(list: u32, maps: &MapState) -> BTreeSet<(IpAddr, u8, u32)> {
    let entries = maps.access.iter().filter(|(entry, _)| entry.list == list);
    entries.map(|(entry, verdict)| (entry.address, entry.length, *verdict)).collect()
}

/// Where replies come from: a member's socket and protocol, to a frontend's.
pub(super) fn replies(maps: &MapState) -> BTreeMap<(IpAddr, Port, u8), (IpAddr, Port)> {
    let mut replies = BTreeMap::new();
    for (address, owner) in &maps.owners {
        for (key, reverse) in maps.reverse.iter().filter(|(key, _)| key.group == owner.group) {
            replies.insert((*address, key.port, key.protocol), (reverse.address, reverse.port));
        }
    }
    replies
}

/// Nothing is in the maps that nobody names, and nothing is named that is not there.
pub(super) fn assert_tidy(world: &World) {
    let maps = world.maps();
    let epoch = u8::try_from(maps.root.epoch).unwrap();
    assert!(maps.rules.keys().all(|key| key.epoch == epoch), "rules of other epochs");
    assert!(maps.ranges.keys().all(|ports| ports.key.epoch == epoch), "ranges of other epochs");
    let lists: BTreeSet<u32> = maps.rules.values().map(Rule::list).collect();
    assert!(maps.access.keys().all(|entry| lists.contains(&entry.list)), "lists of nobody");
    let groups: BTreeSet<u32> = maps.owners.values().map(|owner| owner.group).collect();
    let filled: BTreeSet<u32> = maps.reverse.keys().map(|key| key.group).collect();
    assert_eq!(groups, filled, "groups and their entries");
    assert!(maps.reverse_ranges.keys().all(|ports| groups.contains(&ports.key.of)), "ranges of nobody");
    for owner in maps.owners.values() {
        assert!(maps.members.contains_key(&owner.member), "an owner without a member");
    }
    assert_regions_apart(&maps);
    assert_eq!(&maps, world.core.observed(), "what the core believes");
    let (sieve, needed) = (world.fake.sieve(), maps.sieve());
    assert!(
        sieve.iter().zip(needed.iter()).all(|(is, needed)| is & needed == *needed),
        "the sieve lets all through"
    );
}

/// No ring lies in another's slots, no health set of another pool in another's words.
fn assert_regions_apart(maps: &MapState) {
    let mut end = 0;
    for (base, ring) in &maps.rings {
        assert!(*base >= end, "the ring at {base} begins in another");
        end = base + u32::try_from(ring.len()).unwrap();
    }
    let sets: BTreeSet<(u32, u32)> = maps
        .rules
        .values()
        .map(|rule| (rule.current.health_base, u32::from(rule.current.health_words)))
        .filter(|(_, words)| *words > 0)
        .collect();
    let mut end = 0;
    for (base, words) in sets {
        assert!(base >= end, "the health set at {base} begins in another");
        end = base + words;
    }
}
