//! Rules: views, rings, health sets, and the transition from one view to another.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use lb_common::abi::{Mode, Rule, SLOTS_PER_WORD, View};
use lb_common::units::{MemberId, Port};

use super::access::{self, Lists};
use super::regions::Regions;
use super::ring::{self, RingKey};
use super::{Input, Labels, Refusal, Service, health};
use crate::config::model::{self, Config, Distribution, NoHealthyBackends, Pool};
use crate::health::ProbeKey;
use crate::state::{MapState, RuleKey};
use crate::units;

/// Fills in rules, rings and health.
pub(super) fn write(
    input: &Input<'_>,
    labels: &Labels,
    lists: &Lists,
    state: &mut MapState,
) -> Result<(), Refusal> {
    let before = in_force(input.observed);
    let rings = place_rings(input, labels, &before, state)?;
    let sets = place_health(input, labels, &before, state)?;
    let numbers = statistics(input, &before)?;
    let mut rules = BTreeMap::<Service, Rule>::new();
    for rule in input.config.rules() {
        let service = Service::named_by(input.config, rule);
        let set = sets[&set_key(rule)];
        let current = View {
            port: Port::new(rule.backend_port),
            mode: mode(rule.distribution) as u8,
            ..rings[rule.pool]
        };
        let current = with_health(current, set);
        let settled = input.settled.contains(&service);
        let old = before.get(&service).and_then(|before| old_view(before, settled, &current, state, input));
        let pool = input.config.pool_of(rule);
        rules.insert(
            service,
            Rule {
                current,
                old: old.map_or(View::default(), |old| with_health(old, set)),
                life: units::ticks(rule.idle_timeout.max(pool.transition), input.hz),
                stats: numbers[&service],
                access: access::of_rule(&rule.access, lists),
                reserved: 0,
            },
        );
    }
    keep_old_rings(&rules, input.observed, state);
    let (epoch, rules) = in_epoch(rules, &before, input)?;
    state.root.epoch = u32::from(epoch);
    state.rules = rules;
    Ok(())
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

/// A view of each pool's ring, by the pool's index. A ring that is there already stays where it is.
fn place_rings(
    input: &Input<'_>,
    labels: &Labels,
    before: &BTreeMap<Service, Rule>,
    state: &mut MapState,
) -> Result<Vec<View>, Refusal> {
    let mut regions = Regions::new(input.limits.slots, SLOTS_PER_WORD);
    let mut bases = BTreeSet::new();
    for view in before.values().flat_map(|rule| [rule.current, rule.old]).filter(|view| view.ring_size != 0) {
        regions.keep(view.ring_base, view.ring_size);
        bases.insert(view.ring_base);
    }
    let there: BTreeMap<&Arc<Vec<MemberId>>, u32> =
        bases.iter().filter_map(|&base| Some((input.observed.rings.get(&base)?, base))).collect();
    let mut fresh = BTreeMap::<Arc<Vec<MemberId>>, u32>::new();
    let mut views = Vec::new();
    for (index, pool) in input.config.pools().iter().enumerate() {
        let used = input.config.rules().iter().any(|rule| rule.pool == index);
        let ring = if used { build_ring(input, labels, pool) } else { Arc::default() };
        let size = u32::try_from(ring.len()).unwrap_or(u32::MAX);
        let known = there.get(&ring).or_else(|| fresh.get(&ring)).copied();
        let base = match known {
            Some(base) => base,
            None => regions.take(size).ok_or(Refusal::NoRoom {
                what: "slots of rings",
                needed: regions.used() + u64::from(size),
                room: u64::from(input.limits.slots),
                option: "--slots",
            })?,
        };
        if size != 0 {
            // The ring that is there, if it is: one pointer tells then that nothing has changed.
            let ring = there.get_key_value(&ring).map_or(ring.clone(), |(there, _)| Arc::clone(there));
            fresh.insert(Arc::clone(&ring), base);
            state.rings.insert(base, ring);
        }
        views.push(View {
            ring_base: if size == 0 { 0 } else { base },
            ring_size: size,
            present: 1,
            ..View::default()
        });
    }
    Ok(views)
}

fn build_ring(input: &Input<'_>, labels: &Labels, pool: &Pool) -> Arc<Vec<MemberId>> {
    let members: Vec<_> = pool
        .backends
        .iter()
        .filter(|backend| backend.weight > 0)
        .map(|backend| ring::Member {
            address: backend.address,
            weight: backend.weight,
            id: labels[&backend.address].0,
        })
        .collect();
    if members.is_empty() {
        return Arc::default();
    }
    let [high, low] = input.observed.root.hash_key;
    let key = RingKey((u128::from(high) << 64 | u128::from(low)).to_be_bytes());
    let slots = ring::build(key, &members, ring::size_for(pool.max_members));
    Arc::new(slots.into_iter().map(MemberId).collect())
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
    let labels: Labels = observed.members.iter().map(|(&label, member)| (member.address, label)).collect();
    let in_force = in_force(observed);
    let mut done = BTreeSet::new();
    let mut all = Vec::new();
    for rule in config.rules() {
        let (pool, probe) = (config.pool_of(rule), config.probe_of(rule));
        let concerned = key.is_none_or(|key| {
            probe.is_some_and(|probe| ProbeKey::new(key.address, probe) == *key)
                && pool.backends.iter().any(|backend| backend.address == key.address)
        });
        let Some(view) = in_force.get(&Service::named_by(config, rule)).map(|rule| rule.current) else {
            continue;
        };
        if !concerned || !done.insert(set_key(rule)) {
            continue;
        }
        let states = health::in_pool(pool, probe, rule.no_healthy_backends, healthy);
        let (_, words) = health::words(pool, &labels, &states);
        all.extend((view.health_base..).zip(words));
    }
    all
}

/// Rules with the same pool, probe and policy share a health set.
type SetKey = (usize, Option<usize>, NoHealthyBackends);

/// Where a health set lies: first word in the map, words left out before it, words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Set {
    base: u32,
    skip: u16,
    words: u16,
}

fn set_key(rule: &model::Rule) -> SetKey {
    (rule.pool, rule.probe, rule.no_healthy_backends)
}

fn with_health(view: View, set: Set) -> View {
    View { health_base: set.base, health_skip: set.skip, health_words: set.words, ..view }
}

/// A place for each health set: the one that a rule has already, if it holds these very words,
/// else a fresh one. Words in force are changed by verdicts of probes alone; what an apply changes
/// becomes effective with its rules.
fn place_health(
    input: &Input<'_>,
    labels: &Labels,
    before: &BTreeMap<Service, Rule>,
    state: &mut MapState,
) -> Result<BTreeMap<SetKey, Set>, Refusal> {
    let mut regions = Regions::new(input.limits.health_words, 1);
    for view in before.values().map(|rule| rule.current) {
        regions.keep(view.health_base, u32::from(view.health_words));
    }
    let mut sets = BTreeMap::<SetKey, Set>::new();
    let mut claimed = BTreeSet::new();
    for rule in input.config.rules() {
        let key = set_key(rule);
        if sets.contains_key(&key) {
            continue;
        }
        let (pool, probe) = (input.config.pool_of(rule), input.config.probe_of(rule));
        let states = health::in_pool(pool, probe, rule.no_healthy_backends, input.healthy);
        let (skip, words) = health::words(pool, labels, &states);
        let count = u16::try_from(words.len()).unwrap_or(u16::MAX);
        let view = before.get(&Service::named_by(input.config, rule)).map(|before| before.current);
        let base = match view.filter(|view| holds(input.observed, view, skip, &words)) {
            Some(view) if !claimed.contains(&view.health_base) => view.health_base,
            Some(_) | None => regions.take(u32::from(count)).ok_or(Refusal::NoRoom {
                what: "words of health sets",
                needed: regions.used() + u64::from(count),
                room: u64::from(input.limits.health_words),
                option: "--health-words",
            })?,
        };
        if count > 0 {
            claimed.insert(base);
        }
        state.health.extend((base..).zip(words));
        sets.insert(key, Set { base, skip, words: count });
    }
    Ok(sets)
}

/// Whether the health set of a view is there and holds these words.
fn holds(maps: &MapState, view: &View, skip: u16, words: &[u64]) -> bool {
    let there = (view.health_base..).map(|index| maps.health.get(&index));
    !words.is_empty()
        && (view.health_skip, usize::from(view.health_words)) == (skip, words.len())
        && there.zip(words).all(|(there, word)| there == Some(word))
}

/// A number for the statistics of each rule: the one that its service has, else the lowest free.
fn statistics(
    input: &Input<'_>,
    before: &BTreeMap<Service, Rule>,
) -> Result<BTreeMap<Service, u32>, Refusal> {
    let carried = input.observed.reverse.values().map(|reverse| reverse.stats);
    let taken: BTreeSet<u32> = before.values().map(|rule| rule.stats).chain(carried).collect();
    let mut free = (0..input.limits.rules).filter(|stats| !taken.contains(stats));
    let services = input.config.rules().iter().map(|rule| Service::named_by(input.config, rule));
    services
        .map(|service| {
            let stats = before.get(&service).map(|rule| rule.stats).or_else(|| free.next());
            let stats = stats.ok_or(Refusal::NoRoom {
                what: "rules",
                needed: input.config.rules().len() as u64,
                room: u64::from(input.limits.rules),
                option: "--rules",
            })?;
            Ok((service, stats))
        })
        .collect()
}

fn keep_old_rings(rules: &BTreeMap<Service, Rule>, observed: &MapState, state: &mut MapState) {
    for view in rules.values().map(|rule| rule.old).filter(|view| view.ring_size != 0) {
        if let Some(ring) = observed.rings.get(&view.ring_base) {
            state.rings.insert(view.ring_base, Arc::clone(ring));
        }
    }
}

/// The rules and their epoch: the one in force if they are the same, else the next that no rule
/// has. Rules that a broken apply has left behind never come into force that way.
fn in_epoch(
    rules: BTreeMap<Service, Rule>,
    before: &BTreeMap<Service, Rule>,
    input: &Input<'_>,
) -> Result<(u8, BTreeMap<RuleKey, Rule>), Refusal> {
    let [in_force, ..] = input.observed.root.epoch.to_le_bytes();
    let epoch = if rules == *before { in_force } else { next_epoch(in_force, rules.len(), input)? };
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
    let used: BTreeSet<u8> = there.keys().map(|key| key.epoch).collect();
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
