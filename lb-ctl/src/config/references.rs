//! Names: each stands for one thing of its kind, and those that rules use exist.

use std::collections::HashMap;

use super::error::{Place, Report, quoted};
use super::fields::At;
use super::raw::{RawConfig, RawRule};
use super::suggest::did_you_mean;

/// What the names in a rule stand for: indices into the lists of [`RawConfig`].
pub(super) struct Target {
    pub(super) frontend: Option<usize>,
    pub(super) pool: Option<usize>,
    pub(super) probe: Option<usize>,
}

/// Names are unique among their kind, and those that rules use exist.
pub(super) fn resolve(config: &RawConfig, report: &mut Report<'_>) -> Vec<Target> {
    Names::of("interfaces", config.interfaces.iter().map(|i| (i.index, &i.name)), report);
    Names::of("rules", config.rules.iter().map(|r| (r.index, &r.name)), report);
    for pool in &config.pools {
        let kind = format!("pools[{}].backends", pool.index);
        Names::of(&kind, pool.backends.iter().map(|b| (b.index, &b.name)), report);
    }
    let frontends = Names::of("frontends", config.frontends.iter().map(|f| (f.index, &f.name)), report);
    let pools = Names::of("pools", config.pools.iter().map(|p| (p.index, &p.name)), report);
    let probes = Names::of("probes", config.probes.iter().map(|p| (p.index, &p.name)), report);
    let mut target = |rule: &RawRule| {
        let mut find = |names: &Names<'_>, key: &str, wanted: &Option<At<String>>| {
            names.find(wanted.as_ref()?, config.complete, rule.index, key, report)
        };
        Target {
            frontend: find(&frontends, "frontend", &rule.frontend),
            pool: find(&pools, "pool", &rule.pool),
            probe: find(&probes, "probe", &rule.probe),
        }
    };
    config.rules.iter().map(&mut target).collect()
}

/// The names of one kind of thing.
struct Names<'c> {
    known: HashMap<&'c str, (usize, Place)>,
    in_order: Vec<&'c str>,
    /// Nothing of this kind has a name that could not be read.
    complete: bool,
}

impl<'c> Names<'c> {
    fn of(
        kind: &str,
        items: impl Iterator<Item = (usize, &'c Option<At<String>>)>,
        report: &mut Report<'_>,
    ) -> Self {
        let mut names = Self { known: HashMap::new(), in_order: Vec::new(), complete: true };
        for (position, (index, name)) in items.enumerate() {
            let Some(At { place, value }) = name else {
                names.complete = false;
                continue;
            };
            if let Some((_, first)) = names.known.get(value.as_str()) {
                let first = report.refer(*place, *first);
                let message =
                    format!("the name {} is already used at {first}; choose another", quoted(value));
                report.add(*place, format!("{kind}[{index}].name"), message);
                continue;
            }
            names.known.insert(value, (position, *place));
            names.in_order.push(value);
        }
        names
    }

    /// The position of what a rule names. If names are lost, an unknown one is no mistake of its own.
    fn find(
        &self,
        wanted: &At<String>,
        complete: bool,
        rule: usize,
        key: &str,
        report: &mut Report<'_>,
    ) -> Option<usize> {
        let found = self.known.get(wanted.value.as_str()).map(|(position, _)| *position);
        if found.is_none() && complete && self.complete && !report.is_full() {
            let cure = match did_you_mean(&wanted.value, self.in_order.iter().copied()) {
                hint if !hint.is_empty() => hint,
                _ if self.in_order.is_empty() => {
                    format!("; there is no {key} yet, add one under \"{key}s\"")
                }
                _ => format!("; known: {}", listed(&self.in_order)),
            };
            let message = format!("unknown {key} {}{cure}", quoted(&wanted.value));
            report.add(wanted.place, format!("rules[{rule}].{key}"), message);
        }
        found
    }
}

/// The first few names.
fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| quoted(name)).collect();
    let rest = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    shown.join(", ") + &rest
}
