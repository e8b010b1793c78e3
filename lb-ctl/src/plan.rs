//! From what the maps hold to what they must hold: the writes, in an order that no packet minds.
//!
//! Everything that a new rule names is there before the rule, and everything that an old rule
//! names stays until no packet can find the old rule:
//!
//! 1. who asks for a frontend that goes is not answered any more; the sieve lets through whatever either
//!    side needs;
//! 2. members, the way back from them, addresses, access lists, rings, health sets and the table of
//!    routes: all of it unreachable, or meant for the rules in force as well;
//! 3. the rules and ranges of ports, under an epoch that no packet looks for yet;
//! 4. members that change their group, as late as possible: a service that a group leaves out or
//!    gives to another frontend is one that this very change takes away;
//! 5. the root, which names the new epoch and the table of routes: **this one write makes the change effective**;
//! 6. then who asks for a new frontend is answered: had he been before, his first packet would have met no
//!    rule;
//! 7. and nobody needs the rest any more: it goes in the reverse order.
//!
//! A failure in 1..=5 is undone by the inverse writes and leaves the old state. Later failures
//! leave the new state in force and something to tidy up, which the next plan finds by itself.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi::{AddressFlags, sieve};

use crate::dataplane::Change;
use crate::state::MapState;

/// Writes in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Up to and with the switch.
    pub until_effective: Vec<Change>,
    /// After it.
    pub tidy: Vec<Change>,
}

impl Plan {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.until_effective.is_empty() && self.tidy.is_empty()
    }
}

/// Plans the way from `observed` to `wanted`.
#[must_use]
pub fn plan(observed: &MapState, wanted: &MapState) -> Plan {
    let mut plan = Plan::default();
    withdrawn(observed, wanted, &mut plan);
    sieves(observed, wanted, &mut plan);
    members(observed, wanted, &mut plan);
    let moved = ways_back(observed, wanted, &mut plan);
    addresses_and_access(observed, wanted, &mut plan);
    rings_and_health(observed, wanted, &mut plan);
    rules(observed, wanted, &mut plan);
    routes(observed, wanted, &mut plan);
    plan.until_effective.extend(moved);
    if observed.root != wanted.root {
        plan.until_effective.push(Change::Root(wanted.root));
    }
    announced(observed, wanted, &mut plan);
    plan.tidy.reverse();
    plan
}

/// The write that takes a change back, given what the maps held before it.
#[must_use]
pub fn inverse(change: &Change, before: &MapState) -> Option<Change> {
    Some(match change {
        Change::Root(_) => Change::Root(before.root),
        Change::Sieve(_) => Change::Sieve(before.sieve()),
        Change::Rule(key, _) => Change::Rule(*key, before.rules.get(key).copied()),
        Change::Range(ports, _) => Change::Range(*ports, before.ranges.get(ports).copied()),
        Change::ReverseRange(ports, _) => {
            Change::ReverseRange(*ports, before.reverse_ranges.get(ports).copied())
        }
        Change::Address(address, _) => Change::Address(*address, before.addresses.get(address).copied()),
        Change::Announced(key, _) => Change::Announced(*key, before.announced.get(key).copied()),
        Change::Access(entry, _) => Change::Access(*entry, before.access.get(entry).copied()),
        Change::Health(index, _) => Change::Health(*index, before.health.get(index).copied()?),
        Change::Member(label, _) => Change::Member(*label, before.members.get(label).copied()),
        Change::Owner(address, _) => Change::Owner(*address, before.owners.get(address).copied()),
        Change::Reverse(key, _) => Change::Reverse(*key, before.reverse.get(key).copied()),
        Change::Source(index, _) => Change::Source(*index, before.sources.get(index).copied()),
        Change::Routes(place, _) => Change::Routes(*place, Box::new(*before.routes.get(*place)?)),
        // A ring or a number of statistics that no rule names is free space.
        Change::Ring(..) | Change::NewStats(_) => return None,
    })
}

/// What the maps hold after a change.
pub fn apply(state: &mut MapState, change: &Change) {
    match change {
        Change::Root(root) => state.root = *root,
        Change::Sieve(_) | Change::NewStats(_) => {}
        Change::Rule(key, value) => set(&mut state.rules, *key, *value),
        Change::Range(ports, value) => set(&mut state.ranges, *ports, *value),
        Change::ReverseRange(ports, value) => set(&mut state.reverse_ranges, *ports, *value),
        Change::Address(address, value) => set(&mut state.addresses, *address, *value),
        Change::Announced(key, announced) => set(&mut state.announced, *key, *announced),
        Change::Access(entry, verdict) => set(&mut state.access, *entry, *verdict),
        Change::Ring(base, ring) => {
            state.rings.insert(*base, ring.clone());
        }
        Change::Health(index, word) => {
            state.health.insert(*index, *word);
        }
        Change::Member(label, value) => set(&mut state.members, *label, *value),
        Change::Owner(address, value) => set(&mut state.owners, *address, *value),
        Change::Reverse(key, value) => set(&mut state.reverse, *key, *value),
        Change::Source(index, value) => set(&mut state.sources, *index, *value),
        Change::Routes(place, table) => {
            if let Some(routes) = state.routes.get_mut(*place) {
                *routes = **table;
            }
        }
    }
}

fn set<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}

/// Who asks for a frontend that is to go is not answered any more.
fn withdrawn(observed: &MapState, wanted: &MapState, plan: &mut Plan) {
    let gone = observed.announced.keys().filter(|key| !wanted.announced.contains_key(key));
    plan.until_effective.extend(gone.map(|&key| Change::Announced(key, None)));
}

/// Last of what is written backwards: first after the switch.
fn announced(observed: &MapState, wanted: &MapState, plan: &mut Plan) {
    let new = wanted.announced.iter().filter(|(key, at)| observed.announced.get(key) != Some(at));
    plan.tidy.extend(new.map(|(&key, &at)| Change::Announced(key, Some(at))));
}

fn sieves(observed: &MapState, wanted: &MapState, plan: &mut Plan) {
    let (before, after) = (observed.sieve(), wanted.sieve());
    let mut both = Box::new([0; sieve::WORDS]);
    for (index, word) in both.iter_mut().enumerate() {
        *word = before[index] | after[index];
    }
    if both != before {
        plan.until_effective.push(Change::Sieve(both.clone()));
    }
    if after != both {
        plan.tidy.push(Change::Sieve(after));
    }
}

/// Entries of a table that are new or another now go before the switch, those that are gone after.
fn table<K: Ord + Copy, V: Copy + PartialEq>(
    observed: &BTreeMap<K, V>,
    wanted: &BTreeMap<K, V>,
    plan: &mut Plan,
    change: impl Fn(K, Option<V>) -> Change,
) {
    let changed = wanted.iter().filter(|(key, value)| observed.get(key) != Some(value));
    plan.until_effective.extend(changed.map(|(&key, &value)| change(key, Some(value))));
    let gone = observed.keys().filter(|key| !wanted.contains_key(key));
    plan.tidy.extend(gone.map(|&key| change(key, None)));
}

/// The addresses of ours that members name come before them.
fn members(observed: &MapState, wanted: &MapState, plan: &mut Plan) {
    table(&observed.sources, &wanted.sources, plan, Change::Source);
    table(&observed.members, &wanted.members, plan, Change::Member);
}

/// Groups and owners; returned are the owners that change their group.
fn ways_back(observed: &MapState, wanted: &MapState, plan: &mut Plan) -> Vec<Change> {
    table(&observed.reverse, &wanted.reverse, plan, Change::Reverse);
    table(&observed.reverse_ranges, &wanted.reverse_ranges, plan, Change::ReverseRange);
    let mut owners = Plan::default();
    table(&observed.owners, &wanted.owners, &mut owners, Change::Owner);
    let known = |change: &Change| matches!(change, Change::Owner(address, _) if observed.owners.contains_key(address));
    let (moved, added): (Vec<_>, Vec<_>) = owners.until_effective.into_iter().partition(known);
    plan.until_effective.extend(added);
    plan.tidy.extend(owners.tidy);
    moved
}

fn addresses_and_access(observed: &MapState, wanted: &MapState, plan: &mut Plan) {
    addresses(observed, wanted, plan);
    table(&observed.access, &wanted.access, plan, Change::Access);
}

/// A frontend is known to have ranges as long as a packet may be to one.
fn addresses(observed: &MapState, wanted: &MapState, plan: &mut Plan) {
    let mut meanwhile = wanted.addresses.clone();
    for (address, flags) in &mut meanwhile {
        let before = observed.addresses.get(address).copied().unwrap_or_default();
        if before.has(AddressFlags::WIDE) && !flags.has(AddressFlags::WIDE) {
            plan.tidy.push(Change::Address(*address, Some(*flags)));
            *flags = flags.with(AddressFlags::WIDE);
        }
    }
    table(&observed.addresses, &meanwhile, plan, Change::Address);
}

fn rings_and_health(observed: &MapState, wanted: &MapState, plan: &mut Plan) {
    let fresh = wanted.rings.iter().filter(|(base, ring)| observed.rings.get(base) != Some(ring));
    plan.until_effective.extend(fresh.map(|(base, ring)| Change::Ring(*base, ring.clone())));
    let fresh = wanted.health.iter().filter(|(index, word)| observed.health.get(index) != Some(word));
    plan.until_effective.extend(fresh.map(|(&index, &word)| Change::Health(index, word)));
}

fn routes(observed: &MapState, wanted: &MapState, plan: &mut Plan) {
    let tables = observed.routes.iter().zip(&wanted.routes).enumerate();
    let changed = tables.filter(|(_, (observed, wanted))| observed != wanted);
    plan.until_effective.extend(changed.map(|(place, (_, wanted))| Change::Routes(place, Box::new(*wanted))));
}

fn rules(observed: &MapState, wanted: &MapState, plan: &mut Plan) {
    let numbers =
        |state: &MapState| -> BTreeSet<u32> { state.rules.values().map(|rule| rule.stats).collect() };
    let known = observed.reverse.values().map(|reverse| reverse.stats).chain(numbers(observed)).collect();
    plan.until_effective.extend(numbers(wanted).difference(&known).map(|&number| Change::NewStats(number)));
    table(&observed.rules, &wanted.rules, plan, Change::Rule);
    table(&observed.ranges, &wanted.ranges, plan, Change::Range);
}
