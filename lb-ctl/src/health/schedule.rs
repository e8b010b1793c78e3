//! When a probe is due: pure, on instants that it is given.
//!
//! Targets that are added together are spread by a hash of what they are, the same after each
//! restart. Times are counted from the first probe, so that they never drift, and a small jitter
//! keeps probes from falling into step with something else that happens at regular times.

use std::hash::Hash;
use std::time::{Duration, Instant};

use siphasher::sip::SipHasher13;

use super::ProbeKey;

/// The first probe of a target comes within this time, however long its interval is.
const FIRST_WITHIN: Duration = Duration::from_secs(1);

/// Intervals are not shorter than this.
const SHORTEST: Duration = Duration::from_millis(1);

/// The largest jitter, as a part of the interval.
const JITTER_PART: u32 = 32;

/// The times of one target's probes.
#[derive(Debug, Clone)]
pub struct Schedule {
    hasher: SipHasher13,
    interval: Duration,
    /// Where the second probe, and with it all that follow, stands after the first.
    first_gap: Duration,
    /// When the present probe is due, without its jitter.
    nominal: Instant,
    round: u64,
}

impl Schedule {
    /// The schedule of a target that is added now.
    #[must_use]
    pub fn starting(key: &ProbeKey, now: Instant) -> Self {
        let mut hasher = SipHasher13::new();
        key.hash(&mut hasher);
        let place = fraction(hasher, 0);
        // A first probe soon, so that a new member need not wait; then the spread over the
        // interval, but never before a probe that takes its whole time is over.
        let first_gap = key.interval.mul_f64(place).max(key.time_limit());
        Self {
            hasher,
            interval: key.interval.max(SHORTEST),
            first_gap,
            nominal: now + key.interval.min(FIRST_WITHIN).mul_f64(place),
            round: 1,
        }
    }

    /// When the present probe is due.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.nominal + (self.interval / JITTER_PART).mul_f64(fraction(self.hasher, self.round))
    }

    /// Goes on to the next probe. Probes whose time has wholly passed by `now` are left out; their
    /// number is returned.
    pub fn advance(&mut self, now: Instant) -> u64 {
        self.nominal += if self.round == 1 { self.first_gap } else { self.interval };
        self.round += 1;
        let mut missed = 0;
        while self.nominal + self.interval < now {
            self.nominal += self.interval;
            missed += 1;
        }
        missed
    }
}

/// A number in `0.0..1.0` that is always the same for the same target and round.
fn fraction(mut hasher: SipHasher13, round: u64) -> f64 {
    use std::hash::Hasher;
    hasher.write_u64(round);
    let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
    f64::from(u32::from_le_bytes([a, b, c, d])) / 2_f64.powi(32)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::config::model::Check;

    fn key(number: u32, interval: u64, timeout: u64) -> ProbeKey {
        ProbeKey {
            address: Ipv4Addr::from_bits(0x0a00_0000 + number).into(),
            check: Check::Tcp,
            port: 80,
            interval: Duration::from_secs(interval),
            timeout: Duration::from_secs(timeout),
            threshold: 2,
        }
    }

    /// When the first `count` probes are due, after the start.
    fn times(key: &ProbeKey, count: usize) -> Vec<Duration> {
        let start = Instant::now();
        let mut schedule = Schedule::starting(key, start);
        let mut next = || {
            let due = schedule.due();
            schedule.advance(due);
            due - start
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn times_are_the_same_after_a_restart_and_differ_between_targets() {
        assert_eq!(times(&key(1, 5, 2), 20), times(&key(1, 5, 2), 20));
        assert_ne!(times(&key(1, 5, 2), 20), times(&key(2, 5, 2), 20));
    }

    #[test]
    fn first_probe_comes_within_a_second_and_the_next_within_an_interval() {
        for number in 0..500 {
            let times = times(&key(number, 15, 5), 2);
            assert!(times[0] <= Duration::from_secs(1) + Duration::from_secs(15) / JITTER_PART);
            let gap = times[1].saturating_sub(times[0]);
            let jitter = Duration::from_secs(15) / JITTER_PART;
            assert!(gap + jitter >= Duration::from_secs(5), "{gap:?}");
            assert!(gap <= Duration::from_secs(15) + jitter, "{gap:?}");
        }
    }

    #[test]
    fn times_do_not_drift() {
        let times = times(&key(7, 5, 2), 10_002);
        let expected = Duration::from_secs(5 * 10_000);
        let jitter = Duration::from_secs(5) / JITTER_PART;
        let took = times[10_001].saturating_sub(times[1]);
        assert!(took + jitter >= expected && took <= expected + jitter, "{took:?}");
    }

    #[test]
    fn a_thousand_targets_are_spread_evenly() {
        let mut tenths = [0; 10];
        for number in 0..1_000 {
            let second = times(&key(number, 1, 1), 2)[0].as_millis() / 100;
            tenths[usize::try_from(second).unwrap_or(9).min(9)] += 1;
        }
        assert!(tenths.iter().all(|count| (60..140).contains(count)), "{tenths:?}");
    }

    #[test]
    fn a_late_probe_is_made_up_for_and_missed_ones_are_left_out() {
        let start = Instant::now();
        let mut schedule = Schedule::starting(&key(1, 1, 1), start);
        assert_eq!(schedule.advance(start), 0);
        let due = schedule.due();
        let late = due + Duration::from_millis(1_500);
        assert_eq!(schedule.advance(late), 0, "it is due by now, and is sent at once");
        assert!(schedule.due() < late);
        let resumed = due + Duration::from_mins(1);
        let missed = schedule.advance(resumed);
        assert!((56..=58).contains(&missed), "{missed}");
        assert!(schedule.due() + Duration::from_secs(1) >= resumed);
    }
}
