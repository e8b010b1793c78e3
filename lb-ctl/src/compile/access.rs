//! Access lists: one for each set of prefixes, shared by the rules that have it.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi::access;

use super::{Input, Refusal, addr};
use crate::config::model::{Access, Prefix};
use crate::state::AccessEntry;

/// Numbers of lists by their prefixes.
pub(super) type Lists = BTreeMap<Vec<Prefix>, u32>;

/// A number for each list: the one that it has already, else one that no rule uses.
pub(super) fn lists(input: &Input<'_>) -> Result<Lists, Refusal> {
    let mut observed = BTreeMap::<u32, BTreeSet<AccessEntry>>::new();
    for entry in &input.observed.access {
        observed.entry(entry.list).or_default().insert(*entry);
    }
    let mut lists = Lists::new();
    let mut taken: BTreeSet<u32> = observed.keys().copied().collect();
    for rule in input.config.rules() {
        let Access::Prefixes(prefixes) = &rule.access else { continue };
        if lists.contains_key(prefixes) {
            continue;
        }
        let same = observed.iter().find(|(list, there)| entries_of(**list, prefixes) == **there);
        let list = match same {
            Some((list, _)) => *list,
            None => {
                (access::FIRST_LIST..u32::MAX).find(|list| !taken.contains(list)).ok_or(Refusal::NoRoom {
                    what: "access lists",
                    needed: u64::from(u32::MAX),
                    room: u64::from(u32::MAX),
                    option: "--access",
                })?
            }
        };
        taken.insert(list);
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
