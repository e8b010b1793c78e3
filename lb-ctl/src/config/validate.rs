//! From [`RawConfig`] to [`Config`]: everything has one name, every name that is used exists, and
//! nothing contradicts anything else.

use std::collections::HashMap;

use super::conflicts;
use super::error::{Place, Report, quoted};
use super::fields::At;
use super::model::{Access, Backend, Config, Frontend, Interface, Pool, Prefix, Probe, Rule};
use super::raw::{RawBackend, RawConfig, RawPool, RawRule};
use super::suggest::did_you_mean;

/// With 131,071 slots, the largest ring, a member has 16 of them.
pub(super) const MOST_MEMBERS: u32 = 8_192;

/// The smallest ring has 4,099 slots: 100 for each of so many members.
const MEMBERS_OF_SMALLEST_RING: u32 = 40;

/// What the names in a rule stand for: indices into the lists of [`RawConfig`].
pub(super) struct Target {
    pub(super) frontend: Option<usize>,
    pub(super) pool: Option<usize>,
    probe: Option<usize>,
}

impl RawConfig {
    /// What is returned can be believed only if the report is still empty.
    pub(super) fn validate(self, report: &mut Report<'_>) -> Config {
        let targets = resolve(&self, report);
        conflicts::frontends(&self.frontends, report);
        for pool in &self.pools {
            members(pool, report);
        }
        conflicts::members(&self.pools, &self.frontends, report);
        conflicts::frontend_ports(&self, &targets, report);
        conflicts::backend_ports(&self, &targets, report);
        build(self, targets)
    }
}

/// Names are unique among their kind, and those that rules use exist.
fn resolve(config: &RawConfig, report: &mut Report<'_>) -> Vec<Target> {
    Names::of(
        "interfaces",
        config.interfaces.iter().map(|i| (i.index, &i.name)),
        report,
    );
    Names::of(
        "rules",
        config.rules.iter().map(|r| (r.index, &r.name)),
        report,
    );
    for pool in &config.pools {
        let kind = format!("pools[{}].backends", pool.index);
        Names::of(
            &kind,
            pool.backends.iter().map(|b| (b.index, &b.name)),
            report,
        );
    }
    let frontends = Names::of(
        "frontends",
        config.frontends.iter().map(|f| (f.index, &f.name)),
        report,
    );
    let pools = Names::of(
        "pools",
        config.pools.iter().map(|p| (p.index, &p.name)),
        report,
    );
    let probes = Names::of(
        "probes",
        config.probes.iter().map(|p| (p.index, &p.name)),
        report,
    );
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
        let mut names = Self {
            known: HashMap::new(),
            in_order: Vec::new(),
            complete: true,
        };
        for (position, (index, name)) in items.enumerate() {
            let Some(At { place, value }) = name else {
                names.complete = false;
                continue;
            };
            if let Some((_, first)) = names.known.get(value.as_str()) {
                let first = report.refer(*place, *first);
                let message = format!(
                    "the name {} is already used at {first}; choose another",
                    quoted(value)
                );
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
        let found = self
            .known
            .get(wanted.value.as_str())
            .map(|(position, _)| *position);
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

/// A pool has room for its members, and one of them can take connections.
fn members(pool: &RawPool, report: &mut Report<'_>) {
    let path = format!("pools[{}]", pool.index);
    let count = pool.backends.len();
    if count > MOST_MEMBERS as usize {
        let message = format!("{count} backends; a pool has at most {MOST_MEMBERS}, split it");
        report.add(pool.place, format!("{path}.backends"), message);
    } else if let Some(most) = pool.max_members
        && count > most.value as usize
    {
        let message = format!(
            "room for {}, but {count} backends are listed; write at least {count}",
            most.value
        );
        report.add(most.place, format!("{path}.maxMembers"), message);
    }
    let weightless = |backend: &RawBackend| backend.weight.is_some_and(|weight| weight.value == 0);
    if count > 0 && pool.backends.iter().all(weightless) {
        let message = "every backend has weight 0, so that none takes a connection; give one of them another weight";
        report.add(pool.place, format!("{path}.backends"), message);
    }
}

/// Items that lack something are left out; they have a mistake each, so that nobody sees the rest.
fn build(raw: RawConfig, targets: Vec<Target>) -> Config {
    let probes: Vec<Probe> = raw.probes.into_iter().filter_map(probe).collect();
    let rule = |(rule, target): (RawRule, Target)| {
        let probe = target.probe.and_then(|probe| probes.get(probe));
        Some(Rule {
            name: rule.name?.value,
            frontend: target.frontend?,
            protocol: rule.protocol?.value,
            port: rule.port?.value,
            pool: target.pool?,
            backend_port: rule.backend_port?.value,
            probe: target.probe,
            no_healthy_backends: rule
                .no_healthy_backends
                .or(probe.map(|probe| probe.no_healthy_backends))
                .unwrap_or_default(),
            distribution: rule.distribution,
            idle_timeout: rule.idle_timeout,
            access: access(rule.access),
        })
    };
    Config {
        rules: raw
            .rules
            .into_iter()
            .zip(targets)
            .filter_map(rule)
            .collect(),
        interfaces: raw
            .interfaces
            .into_iter()
            .filter_map(|interface| {
                Some(Interface {
                    name: interface.name?.value,
                    mode: interface.mode,
                })
            })
            .collect(),
        frontends: raw
            .frontends
            .into_iter()
            .filter_map(|frontend| {
                Some(Frontend {
                    name: frontend.name?.value,
                    address: frontend.address?.value,
                })
            })
            .collect(),
        pools: raw.pools.into_iter().filter_map(pool).collect(),
        probes,
    }
}

fn probe(raw: super::raw::RawProbe) -> Option<Probe> {
    Some(Probe {
        name: raw.name?.value,
        check: raw.check?,
        port: raw.port?.value,
        interval: raw.interval,
        timeout: raw.timeout,
        threshold: raw.threshold,
        no_healthy_backends: raw.no_healthy_backends,
    })
}

fn pool(raw: RawPool) -> Option<Pool> {
    let max_members = raw
        .max_members
        .map_or_else(|| room_for(raw.backends.len()), At::into_value);
    let backend = |raw: RawBackend| {
        Some(Backend {
            name: raw.name?.value,
            address: raw.address?.value,
            weight: raw.weight.map_or(1, At::into_value),
            admin_state: raw.admin_state,
        })
    };
    Some(Pool {
        name: raw.name?.value,
        max_members,
        transition: raw.transition,
        backends: raw.backends.into_iter().filter_map(backend).collect(),
    })
}

/// The default of `maxMembers`: what the smallest ring serves well, doubled until everybody fits,
/// so that a growing pool rarely changes the size of its ring.
fn room_for(backends: usize) -> u32 {
    let mut room = MEMBERS_OF_SMALLEST_RING;
    while (room as usize) < backends && room < MOST_MEMBERS {
        room *= 2;
    }
    room.min(MOST_MEMBERS)
}

fn access(mut prefixes: Vec<Prefix>) -> Access {
    prefixes.sort_unstable();
    prefixes.dedup();
    match prefixes.first() {
        None => Access::Closed,
        // The shortest prefix of the lowest address comes first.
        Some(prefix) if prefix.length == 0 => Access::Open,
        Some(_) => Access::Prefixes(prefixes),
    }
}

#[cfg(test)]
mod tests {
    use super::room_for;

    #[test]
    fn room_grows_by_doubling_and_has_an_end() {
        let rooms = [0, 40, 41, 80, 81, 5_120, 5_121, 8_192, 100_000].map(room_for);
        assert_eq!(rooms, [40, 40, 80, 80, 160, 5_120, 8_192, 8_192, 8_192]);
    }
}
