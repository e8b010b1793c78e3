//! Access lists: one for each set of prefixes, shared by the rules that have it.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi::access;

use super::{Input, Refusal, addr, ipv4};
use crate::config::model::{Access, Prefix};
use crate::state::AccessEntry;

/// Numbers of lists by their prefixes.
pub(super) type Lists = BTreeMap<Vec<Prefix>, u32>;

/// A number for each list: the one that it has already, else one that no rule uses.
pub(super) fn lists(input: &Input<'_>) -> Result<Lists, Refusal> {
    let mut observed = BTreeMap::<u32, Vec<Prefix>>::new();
    for entry in &input.observed.access {
        let prefix = Prefix { address: ipv4(entry.address), length: entry.length };
        observed.entry(entry.list).or_default().push(prefix);
    }
    let mut free = (access::FIRST_LIST..u32::MAX).filter(|list| !observed.contains_key(list));
    let mut there = Lists::new();
    for (&list, prefixes) in &observed {
        let mut prefixes = prefixes.clone();
        prefixes.sort_unstable();
        there.insert(prefixes, list);
    }
    let mut lists = Lists::new();
    for rule in input.config.rules() {
        let Access::Prefixes(prefixes) = &rule.access else { continue };
        if lists.contains_key(prefixes) {
            continue;
        }
        let list = there.get(prefixes).copied().or_else(|| free.next()).ok_or(Refusal::NoRoom {
            what: "access lists",
            needed: u64::from(u32::MAX),
            room: u64::from(u32::MAX),
            option: "--access",
        })?;
        lists.insert(prefixes.clone(), list);
    }
    Ok(lists)
}

/// What a rule says about access.
pub(super) fn of_rule(access: &Access, lists: &Lists) -> u32 {
    match access {
        Access::Open => access::OPEN,
        Access::Closed => access::CLOSED,
        Access::Prefixes(prefixes) => lists.get(prefixes).copied().unwrap_or(access::CLOSED),
    }
}

/// All prefixes of all lists.
pub(super) fn entries(lists: &Lists) -> BTreeSet<AccessEntry> {
    lists.iter().flat_map(|(prefixes, &list)| entries_of(list, prefixes)).collect()
}

fn entries_of(list: u32, prefixes: &[Prefix]) -> BTreeSet<AccessEntry> {
    prefixes
        .iter()
        .map(|prefix| AccessEntry { list, address: addr(prefix.address), length: prefix.length })
        .collect()
}
