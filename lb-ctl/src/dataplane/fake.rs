//! A data plane in memory, with the limits and the forgetfulness of the real one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lb_common::abi::{Counter, FlowWord, RuleStats, SLOTS_PER_WORD, map, sieve};
use lb_common::reason::{Event, Reason};
use lb_common::tables::Tier;
use lb_common::units::MemberId;

use super::{Attachment, Change, Counters, Dataplane, Error, FlowTable, Limits, fresh, named};
use crate::config::model::XdpMode;
use crate::state::{AccessEntry, FlowKey, MapState, RuleKey, Translation, routes_place};

/// A handle to one such data plane: a test keeps a clone and looks behind the controller's back.
#[derive(Debug, Clone)]
pub struct Fake(Arc<Mutex<Memory>>);

/// What the maps would hold.
#[derive(Debug)]
struct Memory {
    limits: Limits,
    /// Rings and health sets apart, which are flat as in the kernel.
    state: MapState,
    sieve: Box<[u64; sieve::WORDS]>,
    slots: Vec<MemberId>,
    health: Vec<u64>,
    pending: BTreeMap<FlowKey, FlowWord>,
    confirmed: BTreeMap<FlowKey, FlowWord>,
    opening: Tracks,
    tracked: Tracks,
    counters: Counters,
    rule_stats: BTreeMap<u32, RuleStats>,
    opened: BTreeMap<MemberId, u64>,
    jiffies: u64,
    /// Calls of `quiesce`.
    quiesced: u64,
    /// Tables of routes that packets may be reading.
    routes_read: BTreeSet<usize>,
    attached: BTreeMap<u32, Attachment>,
    generic_only: BTreeSet<u32>,
}

type Tracks = BTreeMap<FlowKey, (FlowWord, Translation)>;

/// Of the fake's clock.
const HZ: u32 = 1000;

impl Default for Fake {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Fake {
    /// Empty maps with this much room.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Mutex::new(Memory {
            limits,
            state: MapState { root: fresh::root([1, 2], HZ), ..MapState::default() },
            sieve: Box::new([0; sieve::WORDS]),
            slots: vec![MemberId::NONE; limits.slots as usize],
            health: vec![0; limits.health_words as usize],
            pending: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            opening: Tracks::new(),
            tracked: Tracks::new(),
            counters: Counters {
                reasons: vec![Counter::default(); Reason::ALL.len()],
                events: vec![0; Event::ALL.len()],
            },
            rule_stats: BTreeMap::new(),
            opened: BTreeMap::new(),
            jiffies: 0,
            quiesced: 0,
            routes_read: BTreeSet::from([0]),
            attached: BTreeMap::new(),
            generic_only: BTreeSet::new(),
        })))
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let jiffies = by.as_nanos() * u128::from(HZ) / 1_000_000_000;
        self.memory().jiffies += u64::try_from(jiffies).unwrap_or(u64::MAX);
    }

    /// Puts an exception there, as packets do.
    pub fn insert_flow(&self, table: FlowTable, key: FlowKey, word: FlowWord) {
        self.memory().flows(table).insert(key, word);
    }

    /// Puts one direction of a tracked flow there, as packets do.
    pub fn insert_track(&self, tier: Tier, key: FlowKey, word: FlowWord, to: Translation) {
        self.memory().tier(tier).insert(key, (word, to));
    }

    /// The keys of a tier.
    #[must_use]
    pub fn tracks(&self, tier: Tier) -> Vec<FlowKey> {
        self.memory().tier(tier).keys().copied().collect()
    }

    /// An exception, if there is one.
    #[must_use]
    pub fn flow(&self, table: FlowTable, key: &FlowKey) -> Option<FlowWord> {
        self.memory().flows(table).get(key).copied()
    }

    /// The sieve as it was written.
    #[must_use]
    pub fn sieve(&self) -> Box<[u64; sieve::WORDS]> {
        self.memory().sieve.clone()
    }

    /// Counts an event, as packets do.
    pub fn count(&self, event: Event, times: u64) {
        self.memory().counters.events[event as usize] += times;
    }

    /// Sets what a rule has forwarded.
    pub fn set_rule_stats(&self, stats: u32, value: RuleStats) {
        self.memory().rule_stats.insert(stats, value);
    }

    /// Sets how many connections a member was given.
    pub fn set_member_opened(&self, member: MemberId, opened: u64) {
        self.memory().opened.insert(member, opened);
    }

    /// How often packets were let out.
    #[must_use]
    pub fn quiesced(&self) -> u64 {
        self.memory().quiesced
    }

    /// Makes an interface one whose driver has no native XDP.
    pub fn generic_only(&self, ifindex: u32) {
        self.memory().generic_only.insert(ifindex);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn flows(&mut self, table: FlowTable) -> &mut BTreeMap<FlowKey, FlowWord> {
        match table {
            FlowTable::Pending => &mut self.pending,
            FlowTable::Confirmed => &mut self.confirmed,
        }
    }

    fn tier(&mut self, tier: Tier) -> &mut Tracks {
        match tier {
            Tier::Opening => &mut self.opening,
            Tier::Tracked => &mut self.tracked,
        }
    }

    fn read(&self) -> MapState {
        let named = named::by(self.state.rules.values());
        let ring = |(base, size): (u32, u32)| {
            let ring = &self.slots[base as usize..(base + size) as usize];
            (base, Arc::new(ring.to_vec()))
        };
        MapState {
            rings: named.rings.into_iter().map(ring).collect(),
            health: named.health.into_iter().map(|index| (index, self.health[index as usize])).collect(),
            ..self.state.clone()
        }
    }

    fn write(&mut self, change: &Change) -> Result<(), Error> {
        let state = &mut self.state;
        match change {
            Change::Root(root) => {
                state.root = *root;
                self.routes_read.insert(routes_place(root.routes));
            }
            Change::Sieve(words) => self.sieve.clone_from(words),
            Change::Rule(key, rule) => put(&mut state.rules, *key, *rule),
            Change::Range(ports, range) => put(&mut state.ranges, *ports, *range),
            Change::ReverseRange(ports, range) => put(&mut state.reverse_ranges, *ports, *range),
            Change::Address(address, flags) => put(&mut state.addresses, *address, *flags),
            Change::Announced(key, announced) => put(&mut state.announced, *key, *announced),
            Change::Access(entry, verdict) => put(&mut state.access, *entry, *verdict),
            Change::Ring(base, ring) => {
                return self.write_ring(*base, ring).ok_or_else(|| full(map::SLOTS, change));
            }
            Change::Health(index, word) => {
                let place = self.health.get_mut(*index as usize).ok_or_else(|| full(map::HEALTH, change))?;
                *place = *word;
            }
            Change::Member(id, member) => {
                let member = member.filter(|member| member.present != 0);
                if member.is_none() {
                    self.opened.remove(id);
                }
                put(&mut state.members, *id, member);
            }
            Change::Owner(address, owner) => put(&mut state.owners, *address, *owner),
            Change::Reverse(key, reverse) => put(&mut state.reverse, *key, *reverse),
            Change::Source(index, source) => put(&mut state.sources, *index, *source),
            Change::Routes(place, table) => {
                if self.routes_read.contains(place) {
                    return Err(trouble(map::ROUTES, change, "packets may be reading it"));
                }
                let routes = state.routes.get_mut(*place).ok_or_else(|| full(map::ROUTES, change))?;
                *routes = **table;
            }
            Change::NewStats(number) => drop(self.rule_stats.remove(number)),
        }
        // Each family has maps of its own.
        if let Change::Access(entry, _) = change {
            let ours = |other: &&AccessEntry| other.address.is_ipv4() == entry.address.is_ipv4();
            if self.state.access.keys().filter(ours).count() > self.limits.access as usize {
                self.state.access.remove(entry);
                return Err(full(map::ACCESS, change));
            }
        }
        // Two epochs lie beside each other.
        if let Change::Rule(key, _) = change {
            let ours = |other: &&RuleKey| other.address.is_ipv4() == key.address.is_ipv4();
            if self.state.rules.keys().filter(ours).count() > 2 * self.limits.rules as usize {
                self.state.rules.remove(key);
                return Err(full(map::RULES, change));
            }
        }
        Ok(())
    }

    fn write_ring(&mut self, base: u32, ring: &[MemberId]) -> Option<()> {
        if !base.is_multiple_of(SLOTS_PER_WORD) {
            return None;
        }
        let base = base as usize;
        let whole = ring.len().next_multiple_of(SLOTS_PER_WORD as usize);
        let region = self.slots.get_mut(base..base + whole)?;
        region.fill(MemberId::NONE);
        region[..ring.len()].copy_from_slice(ring);
        Some(())
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

fn full(map: &'static str, change: &Change) -> Error {
    trouble(map, change, "it has no room for that")
}

fn trouble(map: &'static str, change: &Change, cause: &str) -> Error {
    Error::Map { map, what: format!("cannot write the {change}"), cause: cause.to_owned() }
}

impl Dataplane for Fake {
    fn read(&self) -> Result<MapState, Error> {
        Ok(self.memory().read())
    }

    fn write(&mut self, change: &Change) -> Result<(), Error> {
        self.memory().write(change)
    }

    fn quiesce(&self) {
        let mut memory = self.memory();
        memory.quiesced += 1;
        memory.routes_read = BTreeSet::from([routes_place(memory.state.root.routes)]);
    }

    fn flows(&self, table: FlowTable, visit: &mut dyn FnMut(&FlowKey, FlowWord)) -> Result<(), Error> {
        // A copy, so that `visit` may use the fake.
        let flows = self.memory().flows(table).clone();
        for (key, word) in &flows {
            visit(key, *word);
        }
        Ok(())
    }

    fn forget(&mut self, table: FlowTable, key: &FlowKey, seen: FlowWord) -> Result<(), Error> {
        let mut memory = self.memory();
        let flows = memory.flows(table);
        if flows.get(key) == Some(&seen) {
            flows.remove(key);
        }
        Ok(())
    }

    fn tracked(
        &self,
        tier: Tier,
        visit: &mut dyn FnMut(&FlowKey, FlowWord, &Translation),
    ) -> Result<(), Error> {
        let tracks = self.memory().tier(tier).clone();
        for (key, (word, to)) in &tracks {
            visit(key, *word, to);
        }
        Ok(())
    }

    fn untrack(&mut self, tier: Tier, key: &FlowKey, seen: FlowWord) -> Result<(), Error> {
        let mut memory = self.memory();
        let tracks = memory.tier(tier);
        if tracks.get(key).is_some_and(|(word, _)| *word == seen) {
            tracks.remove(key);
        }
        Ok(())
    }

    fn counters(&self) -> Result<Counters, Error> {
        Ok(self.memory().counters.clone())
    }

    fn rule_stats(&self, stats: u32) -> Result<RuleStats, Error> {
        Ok(self.memory().rule_stats.get(&stats).copied().unwrap_or_default())
    }

    fn member_opened(&self, member: MemberId) -> Result<u64, Error> {
        Ok(self.memory().opened.get(&member).copied().unwrap_or_default())
    }

    fn clock(&self) -> Result<(u64, u32), Error> {
        Ok((self.memory().jiffies, HZ))
    }

    fn limits(&self) -> Limits {
        self.memory().limits
    }

    fn attach(&mut self, ifindex: u32, mode: XdpMode) -> Result<Attachment, Error> {
        let mut memory = self.memory();
        let attachment = match (mode, memory.attached.get(&ifindex)) {
            (XdpMode::Auto, Some(there)) => *there,
            (XdpMode::Auto, None) if memory.generic_only.contains(&ifindex) => Attachment::Generic,
            (XdpMode::Auto | XdpMode::Native, _) => Attachment::Native,
            (XdpMode::Generic, _) => Attachment::Generic,
        };
        memory.attached.insert(ifindex, attachment);
        Ok(attachment)
    }

    fn detach(&mut self, ifindex: u32) -> Result<(), Error> {
        self.memory().attached.remove(&ifindex);
        Ok(())
    }

    fn attached(&self) -> Result<Vec<(u32, Attachment)>, Error> {
        Ok(self.memory().attached.iter().map(|(ifindex, attachment)| (*ifindex, *attachment)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::abi::{Root, RouteTable, Rule, View};
    use lb_common::units::Port;

    fn key(epoch: u8) -> RuleKey {
        RuleKey { address: [203, 0, 113, 10].into(), port: Port::new(80), protocol: 6, epoch }
    }

    #[test]
    fn only_what_a_rule_names_is_read_back() {
        let mut fake = Fake::default();
        let ring = Arc::new(vec![MemberId(3); 5]);
        fake.write(&Change::Ring(8, ring.clone())).unwrap();
        fake.write(&Change::Health(2, 0b1000)).unwrap();
        assert_eq!(fake.read().unwrap().rings, BTreeMap::new());
        let view = View {
            ring_base: 8,
            ring_size: 5,
            health_base: 2,
            health_words: 1,
            present: 1,
            ..View::default()
        };
        let rule = Rule { current: view, ..Rule::default() };
        fake.write(&Change::Rule(key(0), Some(rule))).unwrap();
        let state = fake.read().unwrap();
        assert_eq!(state.rings, BTreeMap::from([(8, ring)]));
        assert_eq!(state.health, BTreeMap::from([(2, 0b1000)]));
    }

    #[test]
    fn there_is_no_more_room_than_the_limits_say() {
        let mut fake = Fake::new(Limits {
            slots: 8,
            health_words: 1,
            rules: 1,
            confirmed: 1,
            pending: 1,
            access: 1,
            tracked: 1,
        });
        let rule = |epoch| Change::Rule(key(epoch), Some(Rule::default()));
        fake.write(&rule(0)).unwrap();
        fake.write(&rule(1)).unwrap();
        let error = fake.write(&rule(2)).unwrap_err().to_string();
        assert!(error.starts_with("map lb_rules: cannot write the rule 203.0.113.10 port 80"), "{error}");
        assert!(error.ends_with("it has no room for that"), "{error}");
        assert_eq!(fake.read().unwrap().rules.len(), 2);
        fake.write(&Change::Ring(4, Arc::new(vec![MemberId(1); 5]))).unwrap_err();
        fake.write(&Change::Ring(2, Arc::new(vec![MemberId(1); 2]))).unwrap_err();
        fake.write(&Change::Health(1, 1)).unwrap_err();
        let prefix = |length| AccessEntry { list: 2, address: key(0).address, length };
        fake.write(&Change::Access(prefix(0), Some(1))).unwrap();
        fake.write(&Change::Access(prefix(0), Some(0))).unwrap();
        fake.write(&Change::Access(prefix(1), Some(1))).unwrap_err();
        assert_eq!(fake.read().unwrap().access, BTreeMap::from([(prefix(0), 0)]));
    }

    #[test]
    fn its_clock_goes_when_it_is_told_to() {
        let fake = Fake::default();
        fake.advance(Duration::from_millis(1500));
        assert_eq!(fake.clock().unwrap(), (1500, 1000));
    }

    #[test]
    fn a_table_of_routes_is_written_when_no_packet_reads_it() {
        let mut fake = Fake::default();
        let table = Box::new(RouteTable { used: 1, ..RouteTable::default() });
        let root = |routes| Change::Root(Root { routes, ..Root::default() });
        fake.write(&Change::Routes(0, table.clone())).unwrap_err();
        fake.write(&Change::Routes(1, table.clone())).unwrap();
        fake.write(&root(1)).unwrap();
        for place in 0..2 {
            let error = fake.write(&Change::Routes(place, table.clone())).unwrap_err().to_string();
            assert!(
                error.ends_with("cannot write the table of 1 routes: packets may be reading it"),
                "{error}"
            );
        }
        fake.quiesce();
        fake.write(&Change::Routes(0, table.clone())).unwrap();
        fake.write(&Change::Routes(1, table)).unwrap_err();
        assert_eq!(fake.quiesced(), 1);
    }
}
