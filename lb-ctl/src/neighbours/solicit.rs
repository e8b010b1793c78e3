//! When to ask the kernel to resolve or to check a neighbour. No input or output, no clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::table::{Need, NeighbourKey};

/// A neighbour that answers is checked this often, so that a new MAC address is noticed even
/// where nothing but our XDP program sends to it (its frames do not age the kernel's entry).
const REFRESH: Duration = Duration::from_secs(30);
/// The kernel itself probes for three seconds; then again after this, doubled each time.
const FIRST_RETRY: Duration = Duration::from_secs(4);
const LAST_RETRY: Duration = Duration::from_secs(32);
/// At most this many at once, and a pause between: 500 per second.
const BATCH: usize = 50;
const BATCH_PAUSE: Duration = Duration::from_millis(100);

/// The neighbours to ask for, and when.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    entries: BTreeMap<NeighbourKey, Entry>,
    not_before: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    need: Need,
    at: Instant,
    pause: Duration,
}

impl Schedule {
    /// Takes over what is needed now. A neighbour that lost its address is due at once; one that
    /// is still missing keeps its place.
    pub(super) fn update(&mut self, needs: &BTreeMap<NeighbourKey, Need>, now: Instant) {
        self.entries.retain(|key, _| needs.contains_key(key));
        for (&key, &need) in needs {
            let known = self.entries.get(&key);
            if known.is_none_or(|entry| entry.need != need) {
                self.entries.insert(key, Entry::new(need, now));
            }
        }
    }

    /// The neighbours that are due, longest first.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<NeighbourKey> {
        if self.not_before.is_some_and(|at| now < at) {
            return Vec::new();
        }
        let mut due: Vec<_> = self.entries.iter_mut().filter(|(_, entry)| entry.at <= now).collect();
        due.sort_by_key(|(_, entry)| entry.at);
        due.truncate(BATCH);
        for (_, entry) in &mut due {
            entry.asked(now);
        }
        let keys: Vec<_> = due.into_iter().map(|(&key, _)| key).collect();
        if !keys.is_empty() {
            self.not_before = Some(now + BATCH_PAUSE);
        }
        keys
    }

    /// When to come back.
    pub(super) fn next(&self) -> Option<Instant> {
        let first = self.entries.values().map(|entry| entry.at).min()?;
        Some(self.not_before.map_or(first, |at| first.max(at)))
    }
}

impl Entry {
    fn new(need: Need, now: Instant) -> Self {
        let at = match need {
            Need::Resolve => now,
            Need::Refresh => now + REFRESH,
        };
        Self { need, at, pause: FIRST_RETRY }
    }

    fn asked(&mut self, now: Instant) {
        match self.need {
            Need::Resolve => {
                self.at = now + self.pause;
                self.pause = (self.pause * 2).min(LAST_RETRY);
            }
            Need::Refresh => self.at = now + REFRESH,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn key(number: u16) -> NeighbourKey {
        let [high, low] = number.to_be_bytes();
        NeighbourKey { ifindex: 2, address: Ipv4Addr::new(10, 0, high, low).into() }
    }

    fn needs(numbers: std::ops::Range<u16>, need: Need) -> BTreeMap<NeighbourKey, Need> {
        numbers.map(|number| (key(number), need)).collect()
    }

    /// Runs the schedule on its own wishes for a while; seconds at which it asked.
    fn asked_at(schedule: &mut Schedule, start: Instant, seconds: u64) -> Vec<u64> {
        let mut asked = Vec::new();
        while let Some(at) = schedule.next() {
            if at > start + Duration::from_secs(seconds) {
                break;
            }
            let due = schedule.take_due(at);
            asked.extend(due.iter().map(|_| (at - start).as_secs()));
        }
        asked
    }

    #[test]
    fn a_missing_neighbour_is_asked_for_at_once_and_then_ever_less_often() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        schedule.update(&needs(0..1, Need::Resolve), start);
        let expected = [0, 4, 12, 28, 60, 92];
        assert_eq!(asked_at(&mut schedule, start, 100), expected);
    }

    #[test]
    fn a_known_neighbour_is_checked_every_thirty_seconds() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        schedule.update(&needs(0..1, Need::Refresh), start);
        assert_eq!(asked_at(&mut schedule, start, 100), [30, 60, 90]);
    }

    #[test]
    fn repeating_the_same_needs_does_not_hurry() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        schedule.update(&needs(0..1, Need::Resolve), start);
        assert_eq!(schedule.take_due(start).len(), 1);
        schedule.update(&needs(0..1, Need::Resolve), start + Duration::from_secs(1));
        assert_eq!(schedule.next(), Some(start + FIRST_RETRY));
    }

    #[test]
    fn a_neighbour_that_is_lost_is_asked_for_at_once() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        schedule.update(&needs(0..1, Need::Refresh), start);
        let lost = start + Duration::from_secs(7);
        schedule.update(&needs(0..1, Need::Resolve), lost);
        assert_eq!(schedule.take_due(lost), [key(0)]);
    }

    #[test]
    fn a_neighbour_that_nobody_needs_is_forgotten() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        schedule.update(&needs(0..1, Need::Resolve), start);
        schedule.update(&BTreeMap::new(), start);
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn a_thousand_missing_neighbours_are_each_asked_for_once_within_two_seconds() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        schedule.update(&needs(0..1000, Need::Resolve), start);
        let asked = asked_at(&mut schedule, start, 3);
        assert_eq!(asked.len(), 1000);
        assert_eq!(asked.iter().filter(|&&second| second == 0).count(), 500);
        assert_eq!(asked.iter().max(), Some(&1));
    }
}
