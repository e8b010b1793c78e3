//! Rules of more than one port.

use lb_common::abi::{AddressFlags, Owner, RANGE, Range, RangeKey, ReverseKey};
use lb_common::parse::{TCP, UDP};
use lb_common::units::Port;
use lb_ctl::compile::cut;
use lb_ctl::state::{MapState, Reverse, RuleKey};

use super::world::{Service, World};

/// A port of a range, which members have a thousand ports further on.
pub(crate) const GAME: Service =
    Service { frontend: "203.0.113.10:8050", protocol: TCP, port: 9050, stats: 4, ring_base: 4000 };
/// The first and the last one of it.
pub(crate) const GAME_FIRST: Service = Service { frontend: "203.0.113.10:8000", port: 9000, ..GAME };
pub(crate) const GAME_LAST: Service = Service { frontend: "203.0.113.10:8063", port: 9063, ..GAME };
/// A port of a range, which members have as well.
pub(crate) const VOICE: Service =
    Service { frontend: "203.0.113.10:7005", protocol: UDP, port: 7005, stats: 5, ring_base: 5000 };
/// A port that only a rule of all of them has.
pub(crate) const ANY: Service =
    Service { frontend: "203.0.113.10:8099", protocol: TCP, port: 8099, stats: 6, ring_base: 6000 };

impl World {
    /// With ranges of ports: 8000-8063 of TCP and 7000-7007 of UDP.
    pub(crate) fn wide(self) -> Self {
        self.with(|map| {
            enter(map, GAME, Range { first: Port::new(8000), last: Port::new(8063) });
            enter(map, VOICE, Range { first: Port::new(7000), last: Port::new(7007) });
        })
    }

    /// All ports of TCP, of flows that have no entries.
    pub(crate) fn all_ports(self) -> Self {
        self.with(|map| {
            ANY.enter(map);
            let key = ANY.key(map.root.epoch);
            let mut rule = map.rules.remove(&key).unwrap();
            rule.current.port = Port::default();
            map.rules.insert(RuleKey { port: Port::default(), ..key }, rule);
            map.reverse.retain(|_, reverse| reverse.stats != ANY.stats);
            widen(map, &key);
        })
    }
}

/// The key of a range's rule.
pub(crate) fn range_key(service: Service, first: u16, epoch: u32) -> RuleKey {
    RuleKey { port: Port::new(first), protocol: service.protocol | RANGE, ..service.key(epoch) }
}

/// Enters a range, of which the service is one port.
fn enter(map: &mut MapState, service: Service, range: Range) {
    service.enter(map);
    let key = service.key(map.root.epoch);
    let behind = key.port.behind(range.first);
    let before = |port: Port| port.plus(behind.wrapping_neg());
    let mut rule = map.rules.remove(&key).unwrap();
    rule.current.port = before(rule.current.port);
    map.rules.insert(range_key(service, range.first.get(), map.root.epoch), rule);
    let (way, reverse) = map.reverse.iter().find(|(_, reverse)| reverse.stats == service.stats).unwrap();
    let (way, reverse) = (*way, *reverse);
    map.reverse.remove(&way);
    let first = before(way.port);
    map.reverse.insert(
        ReverseKey { port: first, protocol: way.protocol | RANGE, ..way },
        Reverse { port: range.first, last: range.last, ..reverse },
    );
    let protocol = service.protocol;
    let of = RangeKey { of: key.address, protocol, epoch: key.epoch, port: range.first };
    map.ranges.extend(cut(of, range.last));
    let of = RangeKey { of: way.group, protocol, epoch: 0, port: first };
    map.reverse_ranges.extend(cut(of, first.plus(range.last.behind(range.first))));
    widen(map, &key);
}

fn widen(map: &mut MapState, key: &RuleKey) {
    let flags = map.addresses.get_mut(&key.address).unwrap();
    *flags = flags.with(AddressFlags::WIDE);
    map.owners.values_mut().for_each(|owner| owner.flags |= Owner::RANGES);
}
