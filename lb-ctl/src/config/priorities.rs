//! The order of an access list: as written, or by `priority`, which all entries have or none.

use std::collections::HashMap;

use super::access::Entry;
use super::error::{Place, Report};
use super::fields::At;
use super::raw::RawEntry;

/// What is wrong with the priorities of a list; `path` is that of the list.
pub(super) fn check(entries: &[RawEntry], path: &str, report: &mut Report<'_>) {
    if entries.iter().all(|entry| entry.priority.is_none()) {
        return;
    }
    let mut seen = HashMap::<u32, Place>::new();
    for entry in entries {
        let Some(At { place, value }) = entry.priority else {
            if !entry.priority_is_wrong {
                let message =
                    "has no priority, but others of this list have one; write it for all or for none";
                report.add(entry.place, format!("{path}[{}]", entry.index), message);
            }
            continue;
        };
        if let Some(first) = seen.get(&value) {
            let first = report.refer(place, *first);
            let message = format!("priority {value} is used at {first} already; each entry needs its own");
            report.add(place, format!("{path}[{}].priority", entry.index), message);
        } else {
            seen.insert(value, place);
        }
    }
}

/// The entries, that with the lowest priority first (S-SEC-3).
pub(super) fn in_order(mut entries: Vec<RawEntry>) -> Vec<Entry> {
    // Stable: without priorities the order stays.
    entries.sort_by_key(|entry| entry.priority.map(At::into_value));
    entries.into_iter().filter_map(|entry| entry.says).collect()
}
