//! Rules: views, rings, health sets, and the transition from one view to another.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lb_common::abi::{Mode, RANGE, Rule, View};
use lb_common::parse::UDP;
use lb_common::units::{MemberId, Port};

use super::access::{self, Lists};
use super::nat::NatPort;
use super::ranges::{self, Lasts};
use super::rings::Rings;
use super::sets::{Set, Sets, set_key};
use super::{Input, Labels, Refusal, Service, backends, health, tracking};
use crate::config::access::Access;
use crate::config::model::{Config, Distribution};
use crate::health::ProbeKey;
use crate::state::{MapState, RuleKey};
use crate::units;

/// Fills in rules, rings and health.
pub(super) fn write(
    input: &Input<'_>,
    labels: &Labels,
    nat: &[NatPort],
    lists: &Lists,
    state: &mut MapState,
) -> Result<(), Refusal> {
    let before = in_force(input.observed);
    let mut rings = Rings::new(input, &before);
    let mut sets = Sets::new(input, &before);
    let numbers = statistics(input, nat, &before)?;
    let pools = rings.of_pools(input, labels, state)?;
    let tracking = tracking::of_rules(input.config);
    let mut rules = BTreeMap::<Service, Rule>::new();
    let services =
        |(rule, tracks)| Service::of_rule(input.config, rule).map(move |service| (rule, tracks, service));
    for (rule, tracks, service) in input.config.rules().iter().zip(tracking).flat_map(services) {
        let before = before.get(&service);
        let pool = input.config.pool_of(rule);
        let wanted = Wanted {
            set: sets.of_rule(rule, before.map(|before| &before.current), labels, state)?,
            view: View {
                port: Port::new(rule.backend_port),
                mode: mode(rule.distribution) as u8,
                ..pools[rule.pool]
            },
            settled: input.settled.contains(&service),
            // A connection may be idle for longer than its rule says as long as it costs nothing; what is no
            // connection has no other end.
            life: if tracks.is_some() && service.protocol & !RANGE == UDP {
                rule.idle_timeout
            } else {
                rule.idle_timeout.max(pool.transition)
            },
            flags: if tracks.is_some() { Rule::TRACKED } else { 0 },
            access: &rule.access,
        };
        rules.insert(service, wanted.rule(before, numbers[&service], input, lists, state));
    }
    for &NatPort { rule, service, member } in nat {
        let before = before.get(&service);
        let rule = &input.config.nat_rules()[rule];
        let (set, ring) = match member {
            Some(member) => {
                let set = sets.always(member, before.map(|before| &before.current), state)?;
                (set, Arc::new(vec![member]))
            }
            None => (Set::NOBODY, Arc::default()),
        };
        let wanted = Wanted {
            set,
            view: View { port: Port::new(rule.backend_port), ..rings.place(&ring, state)? },
            // A port that is held is there for its old view alone.
            settled: member.is_some() && input.settled.contains(&service),
            life: rule.idle_timeout.max(input.config.pool_of_nat(rule).transition),
            flags: 0,
            access: &rule.access,
        };
        rules.insert(service, wanted.rule(before, numbers[&service], input, lists, state));
    }
    keep_old_rings(&rules, input.observed, state);
    let lasts = ranges::lasts(input.config);
    let (epoch, rules) = in_epoch(rules, &before, &lasts, input)?;
    state.root.epoch = u32::from(epoch);
    state.rules = rules;
    state.ranges = ranges::of_frontends(&lasts, epoch);
    ranges::room(&input.observed.ranges, &state.ranges, IpAddr::is_ipv4)?;
    ranges::room(&input.observed.ranges, &state.ranges, IpAddr::is_ipv6)
}

/// What a service is to become.
struct Wanted<'c> {
    /// Without its health set.
    view: View,
    set: Set,
    /// The old view is not needed any more.
    settled: bool,
    life: Duration,
    /// [`Rule::flags`].
    flags: u32,
    access: &'c Access,
}

impl Wanted<'_> {
    fn rule(
        &self,
        before: Option<&Rule>,
        stats: u32,
        input: &Input<'_>,
        lists: &Lists,
        state: &MapState,
    ) -> Rule {
        let current = self.set.seen_by(self.view);
        let old = before.and_then(|before| old_view(before, self.settled, &current, state, input));
        Rule {
            current,
            old: old.map_or(View::default(), |old| self.set.seen_by(old)),
            life: units::ticks(self.life, input.hz),
            stats,
            access: access::of_rule(self.access, lists),
            flags: self.flags,
        }
    }
}

fn in_force(observed: &MapState) -> BTreeMap<Service, Rule> {
    observed.rules_in_force().map(|(key, rule)| (Service::of(key), *rule)).collect()
}

fn mode(distribution: Distribution) -> Mode {
    match distribution {
        Distribution::FiveTuple => Mode::FiveTuple,
        Distribution::SourceIp => Mode::SourceIp,
        Distribution::SourceIpProtocol => Mode::SourceIpProtocol,
    }
}

/// The view that connections older than the change follow. One that is there stays until it has
/// settled: every connection opened since has an exception where it needs one. None, if it gives
/// what the current one gives, or no member at all.
fn old_view(
    before: &Rule,
    settled: bool,
    current: &View,
    state: &MapState,
    input: &Input<'_>,
) -> Option<View> {
    let in_transition = before.old.present != 0 && !settled;
    let old = if in_transition { before.old } else { before.current };
    let same = (old.port, old.mode) == (current.port, current.mode)
        && ring_of(&old, input.observed) == ring_of(current, state);
    (old.ring_size != 0 && !same).then_some(old)
}

fn ring_of<'s>(view: &View, maps: &'s MapState) -> Option<&'s Arc<Vec<MemberId>>> {
    maps.rings.get(&view.ring_base).filter(|_| view.ring_size != 0)
}

/// The words of the health sets in force, as probes and admin states have them now; only of the
/// sets that `key` has a say in, if it is given.
#[must_use]
#[allow(clippy::implicit_hasher, reason = "there is one such table")]
pub fn health_words(
    config: &Config,
    healthy: &HashMap<ProbeKey, bool>,
    observed: &MapState,
    key: Option<&ProbeKey>,
) -> Vec<(u32, u64)> {
    let labels = backends::known(observed);
    let in_force = in_force(observed);
    let mut done = BTreeSet::new();
    let mut all = Vec::new();
    for rule in config.rules() {
        let (pool, probe) = (config.pool_of(rule), config.probe_of(rule));
        let concerned = key.is_none_or(|key| {
            probe.is_some_and(|probe| ProbeKey::new(key.address, probe) == *key)
                && pool.backends.iter().any(|backend| backend.address == key.address)
        });
        let mut in_force = Service::of_rule(config, rule).filter_map(|service| in_force.get(&service));
        let Some(view) = in_force.next().map(|rule| rule.current) else { continue };
        if !concerned || !done.insert(set_key(rule)) {
            continue;
        }
        let states = health::in_pool(pool, probe, rule.no_healthy_backends, healthy);
        let (_, words) = health::words(pool, &labels, &states);
        all.extend((view.health_base..).zip(words));
    }
    all
}

/// A number for the statistics of each rule: the one that its service has, else the lowest free.
/// All ports and protocols of a rule count together.
fn statistics(
    input: &Input<'_>,
    nat: &[NatPort],
    before: &BTreeMap<Service, Rule>,
) -> Result<BTreeMap<Service, u32>, Refusal> {
    let carried = input.observed.reverse.values().map(|reverse| reverse.stats);
    let taken: BTreeSet<u32> = before.values().map(|rule| rule.stats).chain(carried).collect();
    let mut free = (0..input.limits.rules).filter(|stats| !taken.contains(stats));
    let no_room = || Refusal::NoRoom {
        what: "rules",
        needed: (input.config.rules().len() + input.config.nat_rules().len()) as u64,
        room: u64::from(input.limits.rules),
        option: "--rules",
    };
    let rules = input.config.rules().iter().map(|rule| Service::of_rule(input.config, rule).collect());
    let nat = nat.chunk_by(|one, other| one.rule == other.rule);
    let nat = nat.map(|ports| ports.iter().map(|port| port.service).collect());
    let (mut numbers, mut given) = (BTreeMap::new(), BTreeSet::new());
    for services in rules.chain(nat) {
        let services: Vec<Service> = services;
        let known = services.iter().filter_map(|service| before.get(service)).map(|rule| rule.stats);
        // Two rules may have been one.
        let known = known.into_iter().find(|number| !given.contains(number));
        let number = known.or_else(|| free.next()).ok_or_else(no_room)?;
        given.insert(number);
        numbers.extend(services.into_iter().map(|service| (service, number)));
    }
    Ok(numbers)
}

fn keep_old_rings(rules: &BTreeMap<Service, Rule>, observed: &MapState, state: &mut MapState) {
    for view in rules.values().map(|rule| rule.old).filter(|view| view.ring_size != 0) {
        if let Some(ring) = observed.rings.get(&view.ring_base) {
            state.rings.insert(view.ring_base, Arc::clone(ring));
        }
    }
}

/// The rules and their epoch: the one in force if they and their ranges are the same, else the next that no rule
/// has. Rules that a broken apply has left behind never come into force that way.
fn in_epoch(
    rules: BTreeMap<Service, Rule>,
    before: &BTreeMap<Service, Rule>,
    lasts: &Lasts,
    input: &Input<'_>,
) -> Result<(u8, BTreeMap<RuleKey, Rule>), Refusal> {
    let [in_force, ..] = input.observed.root.epoch.to_le_bytes();
    let same = rules == *before && *lasts == ranges::in_force(input.observed);
    let epoch = if same { in_force } else { next_epoch(in_force, rules.len(), input)? };
    let key = |service: Service| RuleKey {
        address: service.address,
        port: service.port,
        protocol: service.protocol,
        epoch,
    };
    Ok((epoch, rules.into_iter().map(|(service, rule)| (key(service), rule)).collect()))
}

fn next_epoch(in_force: u8, rules: usize, input: &Input<'_>) -> Result<u8, Refusal> {
    let there = &input.observed.rules;
    let ranges = input.observed.ranges.keys().map(|ports| ports.key.epoch);
    let used: BTreeSet<u8> = there.keys().map(|key| key.epoch).chain(ranges).collect();
    let needed = (there.len() + rules) as u64;
    let room = 2 * u64::from(input.limits.rules);
    let next = (1..=u8::MAX).map(|step| in_force.wrapping_add(step)).find(|epoch| !used.contains(epoch));
    next.filter(|_| needed <= room).ok_or(Refusal::NoRoom {
        what: "rules, old and new ones beside each other,",
        needed,
        room,
        option: "--rules",
    })
}
