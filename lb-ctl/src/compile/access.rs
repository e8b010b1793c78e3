//! Access lists: one for each set of verdicts, shared by the rules that have it.
//!
//! A list never changes: a rule that says something else gets another one, so that it becomes
//! effective with the rule.

use std::collections::BTreeMap;

use lb_common::abi::access;

use super::{Input, Refusal};
use crate::config::access::{Access, AppliesTo, Verdict};
use crate::config::model::Prefix;
use crate::state::AccessEntry;

/// Numbers of lists by what they say.
pub(super) type Lists = BTreeMap<Vec<(Prefix, Verdict)>, u32>;

/// A number for each list: the one that it has already, else one that no rule uses.
pub(super) fn lists(input: &Input<'_>) -> Result<Lists, Refusal> {
    let observed = observed(input);
    let mut free = (access::FIRST_LIST..access::NEW_FLOWS).filter(|list| !observed.contains_key(list));
    let there: BTreeMap<&[(Prefix, Verdict)], u32> =
        observed.iter().map(|(&list, verdicts)| (&verdicts[..], list)).collect();
    let mut lists = Lists::new();
    let mut needed = input.observed.access.len() as u64;
    let rules = input.config.rules().iter().map(|rule| &rule.access);
    for access in rules.chain(input.config.nat_rules().iter().map(|rule| &rule.access)) {
        let verdicts = access.verdicts();
        if access.is_open() || access.is_closed() || lists.contains_key(verdicts) {
            continue;
        }
        let known = there.get(verdicts).copied();
        if known.is_none() {
            needed += verdicts.len() as u64;
        }
        if let Some(list) = known.or_else(|| free.next()) {
            lists.insert(verdicts.to_vec(), list);
        }
    }
    let room = u64::from(input.limits.access);
    if needed > room {
        let what = "prefixes of access lists, old and new ones beside each other,";
        return Err(Refusal::NoRoom { what, needed, room, option: "--access" });
    }
    Ok(lists)
}

/// The lists in the maps, each sorted as [`Access::verdicts`] is.
fn observed(input: &Input<'_>) -> BTreeMap<u32, Vec<(Prefix, Verdict)>> {
    let mut lists = BTreeMap::<u32, Vec<(Prefix, Verdict)>>::new();
    for (entry, &value) in &input.observed.access {
        let prefix = Prefix { address: entry.address, length: entry.length };
        let verdict = if value == access::ALLOW { Verdict::Allow } else { Verdict::Deny };
        lists.entry(entry.list).or_default().push((prefix, verdict));
    }
    for verdicts in lists.values_mut() {
        verdicts.sort_unstable();
    }
    lists
}

/// What a rule says about access.
pub(super) fn of_rule(rule: &Access, lists: &Lists) -> u32 {
    if rule.is_open() {
        return access::OPEN;
    }
    let list = lists.get(rule.verdicts()).copied().unwrap_or(access::CLOSED);
    match rule.applies_to() {
        AppliesTo::AllPackets => list,
        AppliesTo::NewFlows => list | access::NEW_FLOWS,
    }
}

/// All verdicts of all lists.
pub(super) fn entries(lists: &Lists) -> BTreeMap<AccessEntry, u32> {
    let entry = |list: u32, &(prefix, verdict): &(Prefix, Verdict)| {
        let value = match verdict {
            Verdict::Allow => access::ALLOW,
            Verdict::Deny => access::DENY,
        };
        (AccessEntry { list, address: prefix.address, length: prefix.length }, value)
    };
    lists.iter().flat_map(|(verdicts, &list)| verdicts.iter().map(move |one| entry(list, one))).collect()
}
