//! Names: each stands for one thing of its kind, and those that rules use exist.

use std::collections::HashMap;

use super::error::{Place, Report, quoted};
use super::fields::At;
use super::model::NatTarget;
use super::raw::{RawConfig, RawNatRule, RawPool, RawRule};
use super::suggest::did_you_mean;

/// What the names in a rule stand for: indices into the lists of [`RawConfig`].
pub(super) struct Target {
    pub(super) frontend: Option<usize>,
    pub(super) pool: Option<usize>,
    pub(super) probe: Option<usize>,
}

/// What the names in a NAT rule stand for, likewise.
pub(super) struct NatReferences {
    pub(super) frontend: Option<usize>,
    pub(super) to: Option<NatTarget>,
}

/// What all rules name.
pub(super) struct Targets {
    pub(super) rules: Vec<Target>,
    pub(super) nat_rules: Vec<NatReferences>,
}

/// Names are unique among their kind, and those that rules use exist.
pub(super) fn resolve(config: &RawConfig, report: &mut Report<'_>) -> Targets {
    Names::of("interfaces", config.interfaces.iter().map(|i| (i.index, &i.name)), report);
    Names::of("rules", config.rules.iter().map(|r| (r.index, &r.name)), report);
    Names::of("natRules", config.nat_rules.iter().map(|r| (r.index, &r.name)), report);
    let backends = config.pools.iter().map(|pool| backends(pool, report)).collect();
    let frontends = Names::of("frontends", config.frontends.iter().map(|f| (f.index, &f.name)), report);
    let pools = Names::of("pools", config.pools.iter().map(|p| (p.index, &p.name)), report);
    let probes = Names::of("probes", config.probes.iter().map(|p| (p.index, &p.name)), report);
    let mut target = |rule: &RawRule| {
        let mut find = |names: &Names<'_>, key: &str, wanted: &Option<At<String>>| {
            let path = format!("rules[{}].{key}", rule.index);
            names.find(wanted.as_ref()?, config.complete, &path, key, report)
        };
        Target {
            frontend: find(&frontends, "frontend", &rule.frontend),
            pool: find(&pools, "pool", &rule.pool),
            probe: find(&probes, "probe", &rule.probe),
        }
    };
    let rules = config.rules.iter().map(&mut target).collect();
    let names = MemberNames { complete: config.complete, pools, backends };
    let mut target = |rule: &RawNatRule| {
        let path = |key: &str| format!("natRules[{}].{key}", rule.index);
        let frontend = rule.frontend.as_ref();
        NatReferences {
            frontend: frontend.and_then(|name| {
                frontends.find(name, config.complete, &path("frontend"), "frontend", report)
            }),
            to: match (&rule.backend, &rule.pool) {
                (Some(member), _) => names.member(member, &path("backend"), report),
                (None, Some(pool)) => names
                    .pools
                    .find(pool, config.complete, &path("pool"), "pool", report)
                    .map(NatTarget::Pool),
                (None, None) => None,
            },
        }
    };
    let nat_rules = config.nat_rules.iter().map(&mut target).collect();
    Targets { rules, nat_rules }
}

fn backends<'c>(pool: &'c RawPool, report: &mut Report<'_>) -> Names<'c> {
    let kind = format!("pools[{}].backends", pool.index);
    Names::of(&kind, pool.backends.iter().map(|b| (b.index, &b.name)), report)
}

/// Pools and their backends, to find `pool/backend`.
struct MemberNames<'c> {
    complete: bool,
    pools: Names<'c>,
    /// By the pool's position.
    backends: Vec<Names<'c>>,
}

impl MemberNames<'_> {
    fn member(&self, wanted: &At<String>, path: &str, report: &mut Report<'_>) -> Option<NatTarget> {
        let Some((pool, backend)) = wanted.value.split_once('/') else {
            let mut named = self.pools.in_order.iter().zip(&self.backends);
            let meant = named.find(|(_, backends)| backends.known.contains_key(wanted.value.as_str()));
            let cure = match meant {
                Some((pool, _)) => format!("(did you mean {}?)", quoted(&format!("{pool}/{}", wanted.value))),
                None => "such as \"web/web-1\"".to_owned(),
            };
            let message = format!("{} names no pool; write pool/backend {cure}", quoted(&wanted.value));
            report.add(wanted.place, path, message);
            return None;
        };
        let part = |text: &str| At { place: wanted.place, value: text.to_owned() };
        let pool = self.pools.find(&part(pool), self.complete, path, "pool", report)?;
        let backend = self.backends[pool].find(&part(backend), self.complete, path, "backend", report)?;
        Some(NatTarget::Member { pool, backend })
    }
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

    /// The position of what a rule names at `path`. If names are lost, an unknown one is no mistake
    /// of its own.
    fn find(
        &self,
        wanted: &At<String>,
        complete: bool,
        path: &str,
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
            report.add(wanted.place, path, message);
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
