//! The results of all probes, and the changes that nobody has been told of yet.

use std::collections::{HashMap, VecDeque};
use std::time::SystemTime;

use super::ProbeKey;
use super::machine::{self, Health, Params, State};
use super::outcome::{Evidence, Outcome};

/// A member's health changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub key: ProbeKey,
    pub health: Health,
    /// The result that tipped the balance.
    pub outcome: Outcome,
    pub at: SystemTime,
    /// The health was unknown before.
    pub first: bool,
}

/// What is known of a target, for `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub health: Health,
    /// When the health became this; when the target was added, if it has not changed since.
    pub since: SystemTime,
    /// The latest result and its time.
    pub last: Option<(Outcome, SystemTime)>,
    /// Consecutive results that speak for another health.
    pub against: u32,
    /// Probes that have ended.
    pub probes: u64,
    /// Probes that spoke against the member.
    pub failures: u64,
    /// Probes that said nothing about the member, because this host could not make them.
    pub local_failures: u64,
}

/// Every target. Its size is that of the set of targets, however slowly events are taken: of one
/// target, only the latest event waits.
#[derive(Default)]
pub(super) struct Table {
    targets: HashMap<ProbeKey, Target>,
    /// Targets with an event, oldest first.
    changed: VecDeque<ProbeKey>,
    added: u64,
}

/// Tells a target from an earlier one with the same key, whose last result may still come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Incarnation(u64);

struct Target {
    incarnation: Incarnation,
    params: Params,
    state: State,
    report: Report,
    event: Option<Event>,
}

impl Table {
    pub(super) fn add(&mut self, key: ProbeKey, health: Health, now: SystemTime) -> Incarnation {
        self.added += 1;
        let incarnation = Incarnation(self.added);
        let target = Target {
            incarnation,
            params: Params::of(&key),
            state: State::starting(health),
            report: Report {
                health,
                since: now,
                last: None,
                against: 0,
                probes: 0,
                failures: 0,
                local_failures: 0,
            },
            event: None,
        };
        self.targets.insert(key, target);
        incarnation
    }

    pub(super) fn remove(&mut self, key: &ProbeKey) {
        if self.targets.remove(key).is_some_and(|target| target.event.is_some()) {
            self.changed.retain(|changed| changed != key);
        }
    }

    /// Takes a result in. True if there is an event to tell.
    pub(super) fn record(
        &mut self,
        key: &ProbeKey,
        incarnation: Incarnation,
        outcome: Outcome,
        at: SystemTime,
    ) -> bool {
        let target = self.targets.get_mut(key).filter(|target| target.incarnation == incarnation);
        let Some(target) = target else { return false };
        let (state, change) = machine::step(target.state, target.params, outcome);
        target.state = state;
        target.report.note(state, outcome, at);
        let Some(change) = change else { return false };
        target.report.since = at;
        let untold = target.event.take();
        if untold.is_none() {
            self.changed.push_back(key.clone());
        }
        target.event = Some(Event {
            key: key.clone(),
            health: change.to,
            outcome,
            at,
            first: change.from == Health::Unknown || untold.is_some_and(|event| event.first),
        });
        true
    }

    /// The target that has waited longest, with its latest event.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        let key = self.changed.pop_front()?;
        self.targets.get_mut(&key)?.event.take()
    }

    pub(super) fn snapshot(&self) -> Vec<(ProbeKey, Report)> {
        self.targets.iter().map(|(key, target)| (key.clone(), target.report.clone())).collect()
    }
}

impl Report {
    fn note(&mut self, state: State, outcome: Outcome, at: SystemTime) {
        self.health = state.health();
        self.against = state.against();
        self.last = Some((outcome, at));
        self.probes += 1;
        match outcome.evidence() {
            Evidence::Success => {}
            Evidence::Rejection | Evidence::Silence => self.failures += 1,
            Evidence::None => self.local_failures += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panic")]

    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::config::model::Check;
    use crate::health::outcome::LocalFailure;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn key(number: u8) -> ProbeKey {
        ProbeKey {
            address: Ipv4Addr::new(10, 0, 0, number).into(),
            check: Check::Tcp,
            port: 80,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            threshold: 1,
        }
    }

    #[test]
    fn events_wait_in_order_and_only_the_latest_of_each_target() {
        let mut table = Table::default();
        let one = table.add(key(1), Health::Unknown, NOW);
        let two = table.add(key(2), Health::Up, NOW);
        assert!(table.record(&key(1), one, Outcome::Connected, NOW));
        assert!(table.record(&key(2), two, Outcome::Refused, NOW));
        assert!(table.record(&key(1), one, Outcome::Reset, NOW));
        assert!(!table.record(&key(1), one, Outcome::Refused, NOW));
        let first = table.next_event().unwrap();
        assert_eq!((first.key, first.health, first.outcome), (key(1), Health::Down, Outcome::Reset));
        assert!(first.first, "the consumer has not heard of this target yet");
        let second = table.next_event().unwrap();
        assert_eq!((second.key, second.health, second.first), (key(2), Health::Down, false));
        assert_eq!(table.next_event(), None);
    }

    #[test]
    fn late_result_of_a_removed_target_is_not_taken_for_its_successor() {
        let mut table = Table::default();
        let before = table.add(key(1), Health::Unknown, NOW);
        table.record(&key(1), before, Outcome::Connected, NOW);
        table.remove(&key(1));
        let after = table.add(key(1), Health::Unknown, NOW);
        assert!(!table.record(&key(1), before, Outcome::Connected, NOW));
        assert_eq!(table.next_event(), None, "nor is an event of the removed one told");
        assert!(table.record(&key(1), after, Outcome::Connected, NOW));
    }

    #[test]
    fn report_counts_what_speaks_against_the_member_apart_from_our_own_faults() {
        let mut table = Table::default();
        let one = table.add(key(1), Health::Up, NOW);
        let later = NOW + Duration::from_secs(9);
        let fault = Outcome::LocalFailure(LocalFailure::NoFreeSocket);
        table.record(&key(1), one, Outcome::Connected, NOW);
        table.record(&key(1), one, Outcome::Refused, later);
        table.record(&key(1), one, fault, later);
        let expected = Report {
            health: Health::Down,
            since: later,
            last: Some((fault, later)),
            against: 0,
            probes: 3,
            failures: 1,
            local_failures: 1,
        };
        assert_eq!(table.snapshot(), [(key(1), expected)]);
    }
}
