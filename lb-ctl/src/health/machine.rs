//! What the results of probes make of a member: a pure state machine (S-PRB-21..23, 25).

use super::ProbeKey;
use super::outcome::{Evidence, Outcome};
use crate::config::model::Check;

/// Whether a member takes new connections, as its probe sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Health {
    /// Not known yet: takes no new connections.
    Unknown,
    Up,
    Down,
}

/// What is remembered between two probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    health: Health,
    /// The member has succeeded before, so that it is no longer "newly started" (S-PRB-23).
    proven: bool,
    /// Consecutive results that speak for another health.
    against: u32,
}

/// How results are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// Consecutive results that change the health; 0 is taken as 1.
    pub threshold: u32,
    /// An explicit answer acts at once (S-PRB-22); otherwise all results count (S-PRB-21).
    pub answers_act_at_once: bool,
}

/// A change of health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    pub from: Health,
    pub to: Health,
}

/// The state after a probe, and the change of health if there is one.
#[must_use]
pub fn step(state: State, params: Params, outcome: Outcome) -> (State, Option<Change>) {
    let evidence = outcome.evidence();
    let Some(target) = speaks_for(evidence) else {
        return (state, None);
    };
    if target == state.health {
        return (State { against: 0, ..state }, None);
    }
    let against = state.against.saturating_add(1);
    if against < needed(state, params, evidence) {
        return (State { against, ..state }, None);
    }
    let proven = state.proven || target == Health::Up;
    let change = Change { from: state.health, to: target };
    (State { health: target, proven, against: 0 }, Some(change))
}

/// The health that a result speaks for.
fn speaks_for(evidence: Evidence) -> Option<Health> {
    match evidence {
        Evidence::Success => Some(Health::Up),
        Evidence::Rejection | Evidence::Silence => Some(Health::Down),
        Evidence::None => None,
    }
}

/// Consecutive results that it takes to change the health.
fn needed(state: State, params: Params, evidence: Evidence) -> u32 {
    let first_success = evidence == Evidence::Success && !state.proven;
    let explicit = matches!(evidence, Evidence::Success | Evidence::Rejection);
    if first_success || (explicit && params.answers_act_at_once) { 1 } else { params.threshold }
}

impl State {
    /// A member that starts with this health. One that is up or down was probed before, by an
    /// earlier daemon.
    #[must_use]
    pub fn starting(health: Health) -> Self {
        Self { health, proven: health != Health::Unknown, against: 0 }
    }

    #[must_use]
    pub fn health(self) -> Health {
        self.health
    }

    /// Consecutive results that speak for another health.
    #[must_use]
    pub fn against(self) -> u32 {
        self.against
    }
}

impl Params {
    #[must_use]
    pub fn of(key: &ProbeKey) -> Self {
        let answers_act_at_once = match key.check {
            Check::Tcp => false,
            Check::Http { .. } => true,
        };
        Self { threshold: key.threshold, answers_act_at_once }
    }
}

#[cfg(test)]
mod tests;
