//! Places in a flat map: first fit, aligned, without moving what is there.

use std::collections::BTreeMap;

/// Regions taken, by their first element.
#[derive(Debug, Default)]
pub(crate) struct Regions {
    taken: BTreeMap<u32, u32>,
    align: u32,
    room: u32,
}

impl Regions {
    /// No region taken out of `room` elements; each begins at a multiple of `align`.
    pub(crate) fn new(room: u32, align: u32) -> Self {
        Self { taken: BTreeMap::new(), align, room }
    }

    /// Notes a region that is in use. The same region may be noted more than once.
    pub(crate) fn keep(&mut self, base: u32, size: u32) {
        let length = self.taken.entry(base).or_default();
        *length = (*length).max(size);
    }

    /// Takes the first gap of `size` elements; nothing needs no place.
    pub(crate) fn take(&mut self, size: u32) -> Option<u32> {
        if size == 0 {
            return Some(0);
        }
        let mut free = 0;
        for (&base, &length) in &self.taken {
            if free + size <= base {
                break;
            }
            free = free.max((base + length).next_multiple_of(self.align));
        }
        if free.checked_add(size)? > self.room {
            return None;
        }
        self.taken.insert(free, size);
        Some(free)
    }

    /// Elements in use.
    pub(crate) fn used(&self) -> u64 {
        self.taken.values().map(|&length| u64::from(length)).sum()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_gap_is_used_again() {
        let mut regions = Regions::new(100, 4);
        regions.keep(0, 10);
        regions.keep(40, 10);
        assert_eq!(regions.take(28), Some(12));
        assert_eq!(regions.take(28), Some(52));
        assert_eq!(regions.take(28), None);
        assert_eq!(regions.take(20), Some(80));
    }

    #[test]
    fn nothing_takes_no_place_from_others() {
        let mut regions = Regions::new(100, 4);
        regions.keep(0, 10);
        assert_eq!(regions.take(0), Some(0));
        assert_eq!((regions.take(10), regions.used()), (Some(12), 20));
    }

    proptest! {
        #[test]
        fn regions_never_overlap(sizes in prop::collection::vec(0u32..50, 1..40)) {
            let mut regions = Regions::new(10_000, 4);
            let mut seen = Vec::<(u32, u32)>::new();
            for size in sizes {
                let base = regions.take(size).unwrap();
                prop_assert_eq!(base % 4, 0);
                prop_assert!(seen.iter().all(|(other, length)| base + size <= *other || other + length <= base));
                seen.push((base, size));
            }
        }
    }
}
