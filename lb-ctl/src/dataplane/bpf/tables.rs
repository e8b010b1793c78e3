//! The maps as user space holds them: one write for each [`Change`], and everything read back.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use aya::Pod;
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues};
use aya::util::nr_cpus;
use lb_common::abi::{
    self, Announced, Counter, FlowWord, ROUTE_TABLES, Root, RouteTable, RuleStats, SLOTS_PER_WORD, map, sieve,
};
use lb_common::tables::Tier;
use lb_common::units::{Addr, Addr6, MemberId};

use super::family::FamilyTables;
use super::plain::{Plain, Wire};
use super::ranges::Ranges;
use super::{error, sys};
use crate::dataplane::{Change, Counters, Error, FlowTable, named};
use crate::state::{AnnouncedKey, FlowKey, MapState, Stored as _, Translation};

/// Labels in one element of the slot map.
type SlotWord = [u16; SLOTS_PER_WORD as usize];

pub(super) type Hash<K, V> = HashMap<MapData, Wire<K>, Wire<V>>;

/// Every map but the marks, which user space neither reads nor writes.
pub(super) struct Tables {
    root: Array<MapData, Wire<Root>>,
    sieve: Array<MapData, [u64; sieve::WORDS]>,
    slots: OwnedFd,
    health: Array<MapData, u64>,
    routes: Array<MapData, Wire<RouteTable>>,
    v4: FamilyTables<Addr>,
    v6: FamilyTables<Addr6>,
    reverse_ranges: Ranges<u32>,
    reasons: PerCpuArray<MapData, Wire<Counter>>,
    events: PerCpuArray<MapData, u64>,
    rule_stats: PerCpuArray<MapData, Wire<RuleStats>>,
    member_stats: PerCpuArray<MapData, u64>,
}

impl Tables {
    /// Opens the pinned maps; each must have the sizes of its types.
    pub(super) fn open(maps: &Path) -> Result<Self, Error> {
        let slots: (OwnedFd, Array<MapData, SlotWord>) = open_twice(maps, map::SLOTS)?;
        Ok(Self {
            root: open(maps, map::ROOT)?,
            sieve: open(maps, map::SIEVE)?,
            slots: slots.0,
            health: open(maps, map::HEALTH)?,
            routes: open(maps, map::ROUTES)?,
            v4: FamilyTables::open(maps)?,
            v6: FamilyTables::open(maps)?,
            reverse_ranges: Ranges::open(maps, map::REVERSE_RANGES)?,
            reasons: open(maps, map::REASONS)?,
            events: open(maps, map::EVENTS)?,
            rule_stats: open(maps, map::RULE_STATS)?,
            member_stats: open(maps, map::MEMBER_STATS)?,
        })
    }

    /// The IPv6 frontends that pinned maps answer for; none if they are not of our version.
    pub(super) fn announced6(maps: &Path) -> Vec<AnnouncedKey> {
        let pinned = open::<Hash<abi::AnnouncedKey<Addr6>, Announced>>(maps, map::ANNOUNCED6);
        let entries = pinned.and_then(|pinned| entries(map::ANNOUNCED6, &pinned)).unwrap_or_default();
        entries.into_keys().map(|key| key.of(key.address.ip())).collect()
    }

    pub(super) fn write(&mut self, change: &Change) -> Result<(), Error> {
        let (map, done) = match change {
            Change::Root(root) => (map::ROOT, self.root.set(0, Wire(*root), 0)),
            Change::Sieve(words) => (map::SIEVE, self.sieve.set(0, words.as_ref(), 0)),
            Change::Ring(base, slots) => (map::SLOTS, self.write_ring(*base, slots)),
            Change::Health(index, word) => (map::HEALTH, self.health.set(*index, word, 0)),
            Change::Routes(place, table) => (map::ROUTES, self.write_routes(*place, table)),
            Change::NewStats(number) => (map::RULE_STATS, self.new_rule_stats(*number)),
            Change::Member(id, None) => {
                (map::MEMBERS, self.new_member_stats(*id).and_then(|()| self.of_a_family(change)))
            }
            Change::ReverseRange(ports, range) => {
                (map::REVERSE_RANGES, self.reverse_ranges.put(ports, *range))
            }
            Change::Range(..) => (map::RANGES, self.of_a_family(change)),
            Change::Rule(..) => (map::RULES, self.of_a_family(change)),
            Change::Address(..) => (map::ADDRESSES, self.of_a_family(change)),
            Change::Announced(..) => (map::ANNOUNCED, self.of_a_family(change)),
            Change::Access(..) => (map::ACCESS, self.of_a_family(change)),
            Change::Member(..) => (map::MEMBERS, self.of_a_family(change)),
            Change::Owner(..) => (map::OWNERS, self.of_a_family(change)),
            Change::Reverse(..) => (map::REVERSE, self.of_a_family(change)),
            Change::Source(..) => (map::SOURCES, self.of_a_family(change)),
        };
        done.map_err(|cause| error::map(map, format_args!("cannot write the {change}"), &cause))
    }

    /// Each family takes what is its own; what only says that something goes concerns both.
    fn of_a_family(&mut self, change: &Change) -> Result<(), MapError> {
        self.v4.write(change)?;
        self.v6.write(change)
    }

    fn write_routes(&mut self, place: usize, table: &RouteTable) -> Result<(), MapError> {
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        self.routes.set(place, Wire(*table), 0)
    }

    fn read_routes(&self) -> Result<[RouteTable; ROUTE_TABLES], MapError> {
        let mut routes = [RouteTable::default(); ROUTE_TABLES];
        for (place, table) in (0..).zip(&mut routes) {
            *table = self.routes.get(&place, 0)?.0;
        }
        Ok(routes)
    }

    fn new_rule_stats(&mut self, number: u32) -> Result<(), MapError> {
        let zeros = vec![Wire(RuleStats::default()); nr_cpus().map_err(|(_, error)| error)?];
        self.rule_stats.set(number, PerCpuValues::try_from(zeros)?, 0)
    }

    fn new_member_stats(&mut self, member: MemberId) -> Result<(), MapError> {
        let zeros = vec![0; nr_cpus().map_err(|(_, error)| error)?];
        self.member_stats.set(u32::from(member.0), PerCpuValues::try_from(zeros)?, 0)
    }

    fn write_ring(&self, base: u32, slots: &[MemberId]) -> Result<(), MapError> {
        if !base.is_multiple_of(SLOTS_PER_WORD) {
            return Err(
                std::io::Error::other(format!("it must begin at a multiple of {SLOTS_PER_WORD}")).into()
            );
        }
        let words: Vec<SlotWord> = slots.chunks(SLOTS_PER_WORD as usize).map(slot_word).collect();
        Ok(sys::write_array(self.slots.as_fd(), base / SLOTS_PER_WORD, &words)?)
    }

    pub(super) fn read(&self) -> Result<MapState, Error> {
        let mut state = MapState { root: self.root()?, ..MapState::default() };
        self.v4.read(&mut state)?;
        self.v6.read(&mut state)?;
        state.reverse_ranges.extend(self.reverse_ranges.read()?);
        let named = named::by(state.rules.values());
        Ok(MapState {
            rings: named
                .rings
                .into_iter()
                .map(|(base, size)| Ok((base, Arc::new(self.read_ring(base, size)?))))
                .collect::<Result<_, Error>>()?,
            health: named
                .health
                .into_iter()
                .map(|index| Ok((index, self.health.get(&index, 0)?)))
                .collect::<Result<_, MapError>>()
                .map_err(cannot_read(map::HEALTH, "sets"))?,
            routes: self.read_routes().map_err(cannot_read(map::ROUTES, "tables"))?,
            ..state
        })
    }

    pub(super) fn root(&self) -> Result<Root, Error> {
        self.root.get(&0, 0).map(|root| root.0).map_err(cannot_read(map::ROOT, "root"))
    }

    fn read_ring(&self, base: u32, size: u32) -> Result<Vec<MemberId>, Error> {
        let words = size.div_ceil(SLOTS_PER_WORD) as usize;
        let words: Vec<SlotWord> = sys::read_array(self.slots.as_fd(), base / SLOTS_PER_WORD, words)
            .map_err(|cause| {
                error::map(map::SLOTS, format_args!("cannot read the ring at {base}"), &cause)
            })?;
        Ok(words.into_iter().flatten().take(size as usize).map(MemberId).collect())
    }

    pub(super) fn flows(
        &self,
        table: FlowTable,
        visit: &mut dyn FnMut(&FlowKey, FlowWord),
    ) -> Result<(), Error> {
        self.v4.flows(table, visit)?;
        self.v6.flows(table, visit)
    }

    pub(super) fn forget(&mut self, table: FlowTable, key: &FlowKey, seen: FlowWord) -> Result<(), Error> {
        self.v4.forget(table, key, seen)?;
        self.v6.forget(table, key, seen)
    }

    pub(super) fn tracked(
        &self,
        tier: Tier,
        visit: &mut dyn FnMut(&FlowKey, FlowWord, &Translation),
    ) -> Result<(), Error> {
        self.v4.tracked(tier, visit)?;
        self.v6.tracked(tier, visit)
    }

    pub(super) fn untrack(&mut self, tier: Tier, key: &FlowKey, seen: FlowWord) -> Result<(), Error> {
        self.v4.untrack(tier, key, seen)?;
        self.v6.untrack(tier, key, seen)
    }

    pub(super) fn counters(&self) -> Result<Counters, Error> {
        let reasons = (0..self.reasons.len()).map(|reason| {
            let cpus = self.reasons.get(&reason, 0)?;
            Ok(cpus.iter().fold(Counter::default(), |sum, Wire(counter)| add(sum, *counter)))
        });
        let events = (0..self.events.len()).map(|event| Ok(self.events.get(&event, 0)?.iter().sum()));
        Ok(Counters {
            reasons: reasons.collect::<Result<_, _>>().map_err(cannot_read(map::REASONS, "counters"))?,
            events: events.collect::<Result<_, _>>().map_err(cannot_read(map::EVENTS, "counters"))?,
        })
    }

    pub(super) fn rule_stats(&self, stats: u32) -> Result<RuleStats, Error> {
        let cpus = self.rule_stats.get(&stats, 0).map_err(cannot_read(map::RULE_STATS, stats))?;
        Ok(cpus.iter().fold(RuleStats::default(), |sum, Wire(stats)| RuleStats {
            inbound: add(sum.inbound, stats.inbound),
            replies: add(sum.replies, stats.replies),
            opened: sum.opened + stats.opened,
        }))
    }

    pub(super) fn member_opened(&self, member: MemberId) -> Result<u64, Error> {
        let cpus = self.member_stats.get(&u32::from(member.0), 0);
        Ok(cpus.map_err(cannot_read(map::MEMBER_STATS, member.0))?.iter().sum())
    }
}

fn add(one: Counter, other: Counter) -> Counter {
    Counter { packets: one.packets + other.packets, bytes: one.bytes + other.bytes }
}

pub(super) fn open<M: TryFrom<Map, Error = MapError>>(maps: &Path, name: &'static str) -> Result<M, Error> {
    MapData::from_pin(maps.join(name))
        .and_then(Map::from_map_data)
        .and_then(M::try_from)
        .map_err(cannot_read(name, "pin"))
}

/// The typed map checks the sizes and does the single steps; the descriptor is for batches.
pub(super) fn open_twice<M: TryFrom<Map, Error = MapError>>(
    maps: &Path,
    name: &'static str,
) -> Result<(OwnedFd, M), Error> {
    let data = MapData::from_pin(maps.join(name)).map_err(cannot_read(name, "pin"))?;
    let descriptor = data.fd().as_fd().try_clone_to_owned();
    let descriptor = descriptor.map_err(|cause| error::map(name, "cannot open its pin", &cause))?;
    let map = Map::from_map_data(data).and_then(M::try_from).map_err(cannot_read(name, "pin"))?;
    Ok((descriptor, map))
}

pub(super) fn cannot_read(map: &'static str, what: impl Display) -> impl FnOnce(MapError) -> Error {
    move |cause| error::map(map, format_args!("cannot read {what}"), &cause)
}

pub(super) fn put<K, V>(map: &mut Hash<K, V>, key: K, value: Option<V>) -> Result<(), MapError>
where
    K: Plain + Copy + 'static,
    V: Plain + Copy + 'static,
{
    match value {
        Some(value) => map.insert(Wire(key), Wire(value), 0),
        None => absent_is_fine(map.remove(&Wire(key))),
    }
}

pub(super) fn absent_is_fine(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(()),
        Err(cause) if error::errno(&cause) == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

pub(super) fn entries<K, V>(name: &'static str, map: &Hash<K, V>) -> Result<BTreeMap<K, V>, Error>
where
    K: Plain + Copy + Ord + 'static,
    V: Plain + Copy + 'static,
    Wire<K>: Pod,
{
    map.iter()
        .map(|entry| entry.map(|(key, value)| (key.0, value.0)))
        .collect::<Result<_, _>>()
        .map_err(cannot_read(name, "entries"))
}

fn slot_word(labels: &[MemberId]) -> SlotWord {
    std::array::from_fn(|index| labels.get(index).map_or(0, |label| label.0))
}
