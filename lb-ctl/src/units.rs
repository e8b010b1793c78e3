//! Durations in the data plane's ticks, whose length follows from the kernel's HZ.

use std::time::Duration;

use lb_common::units::Tick;

/// Jiffies in a tick, as a power of two: the one that comes closest to a quarter of a second
/// (see [`lb_common::abi::Root::tick_shift`]).
#[must_use]
pub fn tick_shift(hz: u32) -> u32 {
    // 362 ms is a quarter of a second (256 ms) times the square root of two.
    (hz.saturating_mul(362) / 1000).max(1).ilog2()
}

/// Ticks that last at least this long; never more than ages can tell apart.
#[must_use]
pub fn ticks(duration: Duration, hz: u32) -> u32 {
    let jiffies = (duration.as_nanos() * u128::from(hz)).div_ceil(1_000_000_000);
    let ticks = jiffies.div_ceil(1 << tick_shift(hz));
    u32::try_from(ticks).unwrap_or(u32::MAX).min((1 << (Tick::BITS - 1)) - 1)
}

/// The tick of a moment in jiffies.
#[must_use]
pub fn tick(jiffies: u64, hz: u32) -> Tick {
    #[allow(clippy::cast_possible_truncation, reason = "ticks are modular")]
    Tick::new((jiffies >> tick_shift(hz)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_about_a_quarter_of_a_second_at_every_usual_hz() {
        assert_eq!([100, 250, 300, 1000].map(tick_shift), [5, 6, 6, 8]);
    }

    #[test]
    fn ticks_last_at_least_as_long_as_asked() {
        assert_eq!(ticks(Duration::ZERO, 1000), 0);
        assert_eq!(ticks(Duration::from_millis(1), 1000), 1);
        assert_eq!(ticks(Duration::from_millis(256), 1000), 1);
        assert_eq!(ticks(Duration::from_millis(257), 1000), 2);
        assert_eq!(ticks(Duration::from_mins(135), 250), 31_641);
        assert_eq!(ticks(Duration::from_secs(32), 100), 100);
    }

    #[test]
    fn ticks_stay_below_the_wrap_of_ages() {
        assert_eq!(ticks(Duration::MAX, 1000), (1 << 25) - 1);
    }

    #[test]
    fn a_moment_is_cut_to_the_width_of_a_tick() {
        assert_eq!(tick(0x1_0000_0100, 1000), Tick::new(0x0100_0001));
    }
}
