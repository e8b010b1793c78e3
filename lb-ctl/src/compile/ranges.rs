//! Ranges of ports as prefixes, so that one look-up finds them however wide they are.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lb_common::abi::{RANGE, RANGES, Range, RangeKey, ReverseKey};
use lb_common::units::Port;

use super::{Refusal, Service};
use crate::config::model::{Config, Ports};
use crate::state::{MapState, PortPrefix, Reverse};

/// The last port of each range, by its service.
pub(super) type Lasts = BTreeMap<Service, Port>;

/// Those of the file.
pub(super) fn lasts(config: &Config) -> Lasts {
    let ranges = config.rules().iter().filter_map(|rule| match rule.ports {
        Ports::Range(range) => {
            Some(Service::of_rule(config, rule).map(move |it| (it, Port::new(range.last))))
        }
        Ports::One(_) | Ports::All => None,
    });
    ranges.flatten().collect()
}

/// Those in force.
pub(super) fn in_force(maps: &MapState) -> Lasts {
    let epoch = maps.root.epoch;
    let ours = maps.ranges.iter().filter(|(ports, _)| u32::from(ports.key.epoch) == epoch);
    ours.map(|(ports, range)| (service(ports, *range), range.last)).collect()
}

/// What a prefix leads to.
fn service(ports: &PortPrefix<IpAddr>, range: Range) -> Service {
    Service { address: ports.key.of, port: range.first, protocol: ports.key.protocol | RANGE }
}

/// Those of the frontends, as the rules of an epoch are found by them.
pub(super) fn of_frontends(lasts: &Lasts, epoch: u8) -> BTreeMap<PortPrefix<IpAddr>, Range> {
    let ports = |(service, &last): (&Service, &Port)| {
        let (of, protocol) = (service.address, service.protocol & !RANGE);
        cut(RangeKey { of, protocol, epoch, port: service.port }, last)
    };
    lasts.iter().flat_map(ports).collect()
}

/// Those of the groups, which have a way back for each.
pub(super) fn of_groups(reverse: &BTreeMap<ReverseKey, Reverse>) -> BTreeMap<PortPrefix<u32>, Range> {
    let of_ranges = reverse.iter().filter(|(key, _)| key.protocol & RANGE != 0);
    let ports = |(key, reverse): (&ReverseKey, &Reverse)| {
        let (of, protocol) = (key.group, key.protocol & !RANGE);
        let last = key.port.plus(reverse.last.behind(reverse.port));
        cut(RangeKey { of, protocol, epoch: 0, port: key.port }, last)
    };
    of_ranges.flat_map(ports).collect()
}

/// A range from the port of `first` to the last, as a map of ranges has it.
pub fn cut<O: Copy>(first: RangeKey<O>, last: Port) -> impl Iterator<Item = (PortPrefix<O>, Range)> {
    let range = Range { first: first.port, last };
    let part = move |(port, length)| (PortPrefix { key: RangeKey { port, ..first }, length }, range);
    prefixes(range).into_iter().map(part)
}

/// The prefixes that a range consists of, first port and length: two for each bit of a port, less two, at most.
fn prefixes(range: Range) -> Vec<(Port, u8)> {
    let (mut first, end) = (u32::from(range.first.get()), u32::from(range.last.get()) + 1);
    let mut prefixes = Vec::new();
    while first < end {
        // As many as begin here with zeros behind, and are not too many.
        let mut bits = first.trailing_zeros().min(u16::BITS);
        while first + (1 << bits) > end {
            bits -= 1;
        }
        #[allow(clippy::cast_possible_truncation, reason = "below 2^16, and 16 at most")]
        prefixes.push((Port::new(first as u16), (u16::BITS - bits) as u8));
        first += 1 << bits;
    }
    prefixes
}

/// Whether old and new ranges have room beside each other.
pub(super) fn room<O: Ord>(
    old: &BTreeMap<PortPrefix<O>, Range>,
    new: &BTreeMap<PortPrefix<O>, Range>,
    ours: impl Fn(&O) -> bool,
) -> Result<(), Refusal> {
    let kept = old.keys().filter(|ports| !new.contains_key(ports));
    let needed = new.keys().chain(kept).filter(|ports| ours(&ports.key.of)).count();
    let room = RANGES as usize;
    if needed > room { Err(Refusal::NoRoomForRanges { needed, room }) } else { Ok(()) }
}

/// The ranges of a `MapState` by their ports: which service a port is of.
#[derive(Debug, Default)]
pub struct Ranges(BTreeMap<(IpAddr, u8, u16), u16>);

impl Ranges {
    /// Those in force.
    #[must_use]
    pub fn of(maps: &MapState) -> Self {
        let key = |service: Service| (service.address, service.protocol, service.port.get());
        Self(in_force(maps).into_iter().map(|(service, last)| (key(service), last.get())).collect())
    }

    /// The service of the range that has this port.
    #[must_use]
    pub fn serving(&self, Service { address, port, protocol }: Service) -> Option<Service> {
        let protocol = protocol | RANGE;
        let below = self.0.range((address, protocol, 0)..=(address, protocol, port.get()));
        let (&(_, _, first), &last) = below.last()?;
        (last >= port.get()).then_some(Service { address, port: Port::new(first), protocol })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u16, last: u16) -> Range {
        Range { first: Port::new(first), last: Port::new(last) }
    }

    #[test]
    fn prefixes_are_the_range_and_nothing_else() {
        for step in 0..2_000_u16 {
            let (one, other) = (step.wrapping_mul(7_919), step.wrapping_mul(24_593));
            let (first, last) = (one.min(other), one.max(other));
            let mut next = u32::from(first);
            let prefixes = prefixes(range(first, last));
            assert!(prefixes.len() <= 30, "{first}-{last} are {} prefixes", prefixes.len());
            for (port, length) in prefixes {
                assert_eq!(u32::from(port.get()), next);
                assert_eq!(next % (1 << (16 - length)), 0);
                next += 1 << (16 - length);
            }
            assert_eq!(next, u32::from(last) + 1);
        }
    }

    #[test]
    fn the_widest_and_the_worst_range() {
        assert_eq!(prefixes(range(0, u16::MAX)), [(Port::new(0), 0)]);
        assert_eq!(prefixes(range(1, u16::MAX - 1)).len(), 30);
        assert_eq!(prefixes(range(80, 80)), [(Port::new(80), 16)]);
    }
}
