//! Who accepts new connections: probes, admin states and what to do when nobody is left.

use std::collections::{BTreeMap, HashMap};

use super::Labels;
use crate::config::model::{AdminState, Backend, Config, NoHealthyBackends, Pool, Probe, Rule};
use crate::health::ProbeKey;

/// Why a member takes new connections, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepting {
    /// Its probe says so.
    Probed,
    /// The operator says so (S-ADM-1).
    AdminUp,
    /// There is no probe (S-RULE-7).
    Unprobed,
    /// Nobody else does, and the policy is to ask them all (S-PRB-28, `all-up`).
    AllDown,
    /// Not: its probe has failed, or has not answered yet.
    ProbeDown,
    /// Not: the operator says so (S-ADM-2).
    AdminDown,
    /// Not: its weight is 0.
    NoWeight,
}

impl Accepting {
    #[must_use]
    pub fn yes(self) -> bool {
        matches!(self, Self::Probed | Self::AdminUp | Self::Unprobed | Self::AllDown)
    }
}

/// Each member of a rule's pool, in the file's order.
#[must_use]
#[allow(clippy::implicit_hasher, reason = "there is one such table")]
pub fn accepting(config: &Config, rule: &Rule, healthy: &HashMap<ProbeKey, bool>) -> Vec<Accepting> {
    let (pool, probe) = (config.pool_of(rule), config.probe_of(rule));
    in_pool(pool, probe, rule.no_healthy_backends, healthy)
}

pub(super) fn in_pool(
    pool: &Pool,
    probe: Option<&Probe>,
    policy: NoHealthyBackends,
    healthy: &HashMap<ProbeKey, bool>,
) -> Vec<Accepting> {
    let mut all: Vec<_> = pool.backends.iter().map(|backend| one(backend, probe, healthy)).collect();
    if policy == NoHealthyBackends::AllUp && !all.iter().any(|state| state.yes()) {
        for state in all.iter_mut().filter(|state| **state == Accepting::ProbeDown) {
            *state = Accepting::AllDown;
        }
    }
    all
}

fn one(backend: &Backend, probe: Option<&Probe>, healthy: &HashMap<ProbeKey, bool>) -> Accepting {
    match (backend.weight, backend.admin_state, probe) {
        (0, _, _) => Accepting::NoWeight,
        (_, AdminState::Down, _) => Accepting::AdminDown,
        (_, AdminState::Up, _) => Accepting::AdminUp,
        (_, AdminState::None, None) => Accepting::Unprobed,
        (_, AdminState::None, Some(probe)) => {
            if healthy.get(&ProbeKey::new(backend.address, probe)).copied().unwrap_or(false) {
                Accepting::Probed
            } else {
                Accepting::ProbeDown
            }
        }
    }
}

/// The words of a health set from the first to the last that a member of the pool falls into:
/// how many words come before, and the words.
pub(super) fn words(pool: &Pool, labels: &Labels, states: &[Accepting]) -> (u16, Vec<u64>) {
    let mut words = BTreeMap::<u16, u64>::new();
    for (backend, state) in pool.backends.iter().zip(states) {
        let Some(label) = labels.get(&(backend.address, pool.forwarding)) else { continue };
        let (word, bit) = label.health_place();
        *words.entry(word).or_default() |= u64::from(state.yes()) << bit;
    }
    let Some((&first, _)) = words.first_key_value() else { return (0, Vec::new()) };
    let last = words.last_key_value().map_or(first, |(&word, _)| word);
    (first, (first..=last).map(|word| words.get(&word).copied().unwrap_or(0)).collect())
}
