//! From [`RawConfig`] to [`Config`]: everything has one name, every name that is used exists, and
//! nothing contradicts anything else.

use lb_common::abi::Forwarding;

use super::access::{Access, AppliesTo};
use super::conflicts;
use super::error::Report;
use super::fields::At;
use super::model::{Backend, Config, Frontend, Interface, Pool, Probe, Protocols, Rule};
use super::nat_rules;
use super::priorities;
use super::raw::{RawBackend, RawConfig, RawEntry, RawPool, RawProbe, RawRule};
use super::references::{Target, Targets, resolve};
use super::sources;

/// With 131,071 slots, the largest ring, a member has 16 of them.
pub(super) const MOST_MEMBERS: u32 = 8_192;

/// The smallest ring has 4,099 slots: 100 for each of so many members.
const MEMBERS_OF_SMALLEST_RING: u32 = 40;

impl RawConfig {
    /// What is returned can be believed only if the report is still empty.
    pub(super) fn validate(self, report: &mut Report<'_>) -> Config {
        let targets = resolve(&self, report);
        conflicts::frontends(&self.frontends, report);
        for pool in &self.pools {
            members(pool, report);
        }
        conflicts::members(&self.pools, &self.frontends, report);
        conflicts::families(&self, &targets.rules, report);
        conflicts::frontend_ports(&self, &targets.rules, report);
        conflicts::backend_ports(&self, &targets.rules, report);
        sources::check(&self, report);
        nat_rules::check(&self, &targets, report);
        for rule in &self.rules {
            let udp = rule.protocols.is_some_and(|protocols| protocols.value == Protocols::Udp);
            let path = format!("rules[{}]", rule.index);
            access(&rule.access, rule.access_applies_to, udp, &path, report);
            initiative(rule, report);
        }
        build(self, targets)
    }
}

/// A connection that a TCP backend opens is known by its first segment.
fn initiative(rule: &RawRule, report: &mut Report<'_>) {
    let tcp = rule.protocols.is_some_and(|protocols| protocols.value == Protocols::Tcp);
    if let Some(At { place, value: true }) = rule.backend_initiates.filter(|_| tcp) {
        let message =
            "tcp rules need no such key: what a backend opens is known by its first segment; remove it";
        report.add(place, format!("rules[{}].backendInitiates", rule.index), message);
    }
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
        let message =
            format!("room for {}, but {count} backends are listed; write at least {count}", most.value);
        report.add(most.place, format!("{path}.maxMembers"), message);
    }
    let weightless = |backend: &RawBackend| backend.weight.is_some_and(|weight| weight.value == 0);
    if count > 0 && pool.backends.iter().all(weightless) {
        let message =
            "every backend has weight 0, so that none takes a connection; give one of them another weight";
        report.add(pool.place, format!("{path}.backends"), message);
    }
}

/// A list has an order, and what it judges exists.
pub(super) fn access(
    entries: &[RawEntry],
    applies_to: Option<At<AppliesTo>>,
    udp: bool,
    path: &str,
    report: &mut Report<'_>,
) {
    priorities::check(entries, &format!("{path}.access"), report);
    if let Some(At { place, value: AppliesTo::NewFlows }) = applies_to
        && udp
    {
        let message =
            "nothing tells a new datagram from one of a known flow, so that each is judged; remove the key";
        report.add(place, format!("{path}.accessAppliesTo"), message);
    }
}

/// Items that lack something are left out; they have a mistake each, so that nobody sees the rest.
fn build(raw: RawConfig, targets: Targets) -> Config {
    let probes: Vec<Probe> = raw.probes.into_iter().filter_map(probe).collect();
    let rule = |(rule, target): (RawRule, Target)| {
        let probe = target.probe.and_then(|probe| probes.get(probe));
        Some(Rule {
            name: rule.name?.value,
            frontend: target.frontend?,
            protocols: rule.protocols?.value,
            ports: rule.ports?.value,
            pool: target.pool?,
            backend_port: rule.backend_port?.value,
            probe: target.probe,
            no_healthy_backends: rule
                .no_healthy_backends
                .or(probe.map(|probe| probe.no_healthy_backends))
                .unwrap_or_default(),
            distribution: rule.distribution,
            idle_timeout: rule.idle_timeout,
            tracking: rule.tracking,
            backend_initiates: rule.backend_initiates.is_some_and(At::into_value),
            access: Access::new(
                priorities::in_order(rule.access),
                rule.access_applies_to.map_or_else(AppliesTo::default, At::into_value),
                raw.frontends.get(target.frontend?)?.address?.value,
            ),
        })
    };
    Config {
        rules: raw.rules.into_iter().zip(targets.rules).filter_map(rule).collect(),
        nat_rules: nat_rules::build(raw.nat_rules, targets.nat_rules, &raw.frontends),
        interfaces: raw
            .interfaces
            .into_iter()
            .filter_map(|interface| Some(Interface { name: interface.name?.value, mode: interface.mode }))
            .collect(),
        frontends: raw
            .frontends
            .into_iter()
            .filter_map(|frontend| {
                let (name, address) = (frontend.name?.value, frontend.address?.value);
                Some(Frontend { name, address, announce: frontend.announce })
            })
            .collect(),
        pools: raw.pools.into_iter().filter_map(pool).collect(),
        probes,
    }
}

fn probe(raw: RawProbe) -> Option<Probe> {
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
    let max_members = raw.max_members.map_or_else(|| room_for(raw.backends.len()), At::into_value);
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
        forwarding: raw.forwarding.map_or_else(Forwarding::default, At::into_value),
        sources: raw.sources.into_iter().flatten().map(At::into_value).collect(),
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

#[cfg(test)]
mod tests {
    use super::room_for;

    #[test]
    fn room_grows_by_doubling_and_has_an_end() {
        let rooms = [0, 40, 41, 80, 81, 5_120, 5_121, 8_192, 100_000].map(room_for);
        assert_eq!(rooms, [40, 40, 80, 80, 160, 5_120, 8_192, 8_192, 8_192]);
    }
}
