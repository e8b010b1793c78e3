//! The shape of each map, and whether pinned maps have it.

use std::path::Path;

use aya::maps::{Array, Map, MapData, MapInfo};
use lb_common::abi::{
    ABI_VERSION, AccessKey, AddressFlags, Announced, AnnouncedKey, Counter, FRAGMENTS, FlowEntry, FlowKey,
    FragmentKey, FragmentWord, IcmpState, MARK_BITS, MARKS_PER_WORD, MEMBERS, Member, NAT_SOURCES, NatSource,
    Owner, RANGES, REVERSES, ROUTE_TABLES, Range, RangeKey, Reverse, ReverseKey, Root, RouteTable, Rule,
    RuleKey, RuleStats, SLOTS_PER_WORD, STAGES, TrackEntry, map, sieve,
};
use lb_common::reason::{Event, Reason};
use lb_common::units::{Addr, Addr6};

use super::error;
use super::plain::Wire;
use crate::dataplane::{Error, Limits};

/// Sizes of one map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) entries: u32,
    key: usize,
    value: usize,
    /// Whether [`Limits`] say how many entries there are.
    sizable: bool,
}

/// The maps of a data plane with this much room.
pub(super) fn shapes(limits: &Limits) -> Vec<Shape> {
    let fixed = |name, key, value, entries| Shape { name, entries, key, value, sizable: false };
    let sized = |name, key, value, entries| Shape { name, entries, key, value, sizable: true };
    let reasons = u32::try_from(Reason::ALL.len()).unwrap_or(u32::MAX);
    let events = u32::try_from(Event::ALL.len()).unwrap_or(u32::MAX);
    let route_tables = u32::try_from(ROUTE_TABLES).unwrap_or(u32::MAX);
    let (flow, entry) = (size_of::<FlowKey>(), size_of::<FlowEntry>());
    vec![
        fixed(map::ROOT, 4, size_of::<Root>(), 1),
        fixed(map::SIEVE, 4, size_of::<[u64; sieve::WORDS]>(), 1),
        // An apply writes the rules of the next epoch beside those in force.
        sized(map::RULES, size_of::<RuleKey>(), size_of::<Rule>(), limits.rules.saturating_mul(2)),
        fixed(map::ADDRESSES, size_of::<Addr>(), size_of::<AddressFlags>(), 16_384),
        sized(map::ACCESS, 4 + size_of::<AccessKey>(), 4, limits.access),
        sized(map::SLOTS, 4, 8, limits.slots / SLOTS_PER_WORD),
        sized(map::HEALTH, 4, 8, limits.health_words),
        fixed(map::MEMBERS, 4, size_of::<Member>(), MEMBERS),
        fixed(map::OWNERS, size_of::<Addr>(), size_of::<Owner>(), MEMBERS),
        fixed(map::REVERSE, size_of::<ReverseKey>(), size_of::<Reverse>(), REVERSES),
        fixed(map::ROUTES, 4, size_of::<RouteTable>(), route_tables),
        fixed(map::MARKS, 4, 8, (1 << MARK_BITS) / MARKS_PER_WORD),
        sized(map::PENDING, flow, entry, limits.pending),
        sized(map::CONFIRMED, flow, entry, limits.confirmed),
        sized(map::RULES6, size_of::<RuleKey<Addr6>>(), size_of::<Rule>(), limits.rules.saturating_mul(2)),
        fixed(map::ADDRESSES6, size_of::<Addr6>(), size_of::<AddressFlags>(), 16_384),
        sized(map::ACCESS6, 4 + size_of::<AccessKey<Addr6>>(), 4, limits.access),
        fixed(map::MEMBERS6, 4, size_of::<Member<Addr6>>(), MEMBERS),
        fixed(map::OWNERS6, size_of::<Addr6>(), size_of::<Owner>(), MEMBERS),
        fixed(map::REVERSE6, size_of::<ReverseKey>(), size_of::<Reverse<Addr6>>(), REVERSES),
        sized(map::PENDING6, size_of::<FlowKey<Addr6>>(), entry, limits.pending),
        sized(map::CONFIRMED6, size_of::<FlowKey<Addr6>>(), entry, limits.confirmed),
        fixed(map::SOURCES, 4, size_of::<NatSource>(), NAT_SOURCES),
        fixed(map::SOURCES6, 4, size_of::<NatSource<Addr6>>(), NAT_SOURCES),
        sized(map::OPENING, flow, size_of::<TrackEntry>(), limits.tracked / 2),
        sized(map::OPENING6, size_of::<FlowKey<Addr6>>(), size_of::<TrackEntry<Addr6>>(), limits.tracked / 2),
        sized(map::TRACKED, flow, size_of::<TrackEntry>(), limits.tracked),
        sized(map::TRACKED6, size_of::<FlowKey<Addr6>>(), size_of::<TrackEntry<Addr6>>(), limits.tracked),
        fixed(map::STAGES, 4, 4, STAGES),
        fixed(map::ICMP, 4, size_of::<IcmpState>(), 1),
        fixed(map::REASONS, 4, size_of::<Counter>(), reasons),
        fixed(map::EVENTS, 4, 8, events),
        sized(map::RULE_STATS, 4, size_of::<RuleStats>(), limits.rules),
        fixed(map::MEMBER_STATS, 4, 8, MEMBERS),
        fixed(map::ANNOUNCED, size_of::<AnnouncedKey>(), size_of::<Announced>(), 16_384),
        fixed(map::ANNOUNCED6, size_of::<AnnouncedKey<Addr6>>(), size_of::<Announced>(), 16_384),
        fixed(map::RANGES, 4 + size_of::<RangeKey>(), size_of::<Range>(), RANGES),
        fixed(map::RANGES6, 4 + size_of::<RangeKey<Addr6>>(), size_of::<Range>(), RANGES),
        fixed(map::REVERSE_RANGES, 4 + size_of::<RangeKey<u32>>(), size_of::<Range>(), RANGES),
        fixed(map::FRAGMENTS, size_of::<FragmentKey>(), size_of::<FragmentWord>(), FRAGMENTS),
        fixed(map::FRAGMENTS6, size_of::<FragmentKey<Addr6>>(), size_of::<FragmentWord>(), FRAGMENTS),
        fixed(map::REPLY_FRAGMENTS, size_of::<FragmentKey>(), size_of::<FragmentWord>(), FRAGMENTS),
        fixed(map::REPLY_FRAGMENTS6, size_of::<FragmentKey<Addr6>>(), size_of::<FragmentWord>(), FRAGMENTS),
    ]
}

/// Reads the version that pinned maps say they have; refuses any but our own.
pub(super) fn check_version(maps: &Path) -> Result<(), Error> {
    let path = maps.join(map::ROOT);
    let root = MapData::from_pin(&path)
        .and_then(Map::from_map_data)
        .and_then(Array::<_, Wire<Root>>::try_from)
        .and_then(|root| root.get(&0, 0));
    match root {
        Ok(Wire(root)) if root.abi_version == ABI_VERSION => Ok(()),
        Ok(Wire(root)) => Err(other_version(maps, &format!("say ABI version {}", root.abi_version))),
        // From its first version on the root has had 64 bytes.
        Err(aya::maps::MapError::InvalidValueSize { expected, .. }) => {
            Err(other_version(maps, &format!("say no ABI version in their root of {expected} bytes")))
        }
        Err(cause) => {
            Err(error::setup(format!("cannot read the pinned map {}", path.display()), &cause, CURE))
        }
    }
}

/// The room in pinned maps of our version, and where it is not what was asked for.
pub(super) fn check_shapes(maps: &Path, asked: &Limits) -> Result<(Limits, Vec<String>), Error> {
    let (mut limits, mut notes) = (*asked, Vec::new());
    for shape in shapes(asked) {
        let path = maps.join(shape.name);
        let info = MapInfo::from_pin(&path).map_err(|cause| {
            error::setup(format!("cannot read the pinned map {}", path.display()), &cause, CURE)
        })?;
        let entries = info.max_entries();
        let (key, value) = (info.key_size() as usize, info.value_size() as usize);
        let same_size = entries == shape.entries;
        if (key, value) != (shape.key, shape.value) || !(same_size || shape.sizable) {
            let found = format!("hold {} with other sizes ({key}, {value}, {entries})", shape.name);
            return Err(other_version(maps, &found));
        }
        let before = limits;
        if !same_size {
            adopt(&mut limits, shape.name, entries);
        }
        // The second map of a limit, that of the other family, is no news.
        if limits != before {
            notes.push(format!(
                "{} keeps its pinned room for {entries} entries instead of {}; `lbctl detach` and a new \
                 `lbctl serve` change it, at the cost of open connections",
                shape.name, shape.entries
            ));
        }
    }
    Ok((limits, notes))
}

fn adopt(limits: &mut Limits, name: &str, entries: u32) {
    match name {
        map::RULES | map::RULES6 => limits.rules = entries / 2,
        // There is no use for more rules than statistics.
        map::RULE_STATS => limits.rules = limits.rules.min(entries),
        map::SLOTS => limits.slots = entries.saturating_mul(SLOTS_PER_WORD),
        map::HEALTH => limits.health_words = entries,
        map::PENDING | map::PENDING6 => limits.pending = entries,
        map::CONFIRMED | map::CONFIRMED6 => limits.confirmed = entries,
        map::ACCESS | map::ACCESS6 => limits.access = entries,
        // `opening` has half as many.
        map::TRACKED | map::TRACKED6 => limits.tracked = entries,
        _ => {}
    }
}

const CURE: &str =
    "run `lbctl detach`, then `lbctl serve`: open connections are lost; or start the lbctl that made them";

fn other_version(maps: &Path, found: &str) -> Error {
    Error::Setup {
        what: format!("the pinned maps in {} are of another version", maps.display()),
        cause: format!("they {found}, this lbctl has ABI version {ABI_VERSION}"),
        cure: CURE.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_map_has_one_shape() {
        let names: Vec<_> = shapes(&Limits::default()).iter().map(|shape| shape.name).collect();
        assert_eq!(names, map::ALL);
    }

    #[test]
    fn pinned_sizes_become_the_limits() {
        let mut limits = Limits::default();
        adopt(&mut limits, map::SLOTS, 1024);
        adopt(&mut limits, map::RULES, 20);
        adopt(&mut limits, map::RULE_STATS, 20);
        assert_eq!((limits.slots, limits.rules), (4096, 10));
    }
}
