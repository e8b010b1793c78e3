//! The loaded program under `BPF_PROG_TEST_RUN`.
//!
//! Each case begins with its world in the maps, and nothing else. The thread must be in the lab's balancer, so
//! that the routes are those that [`super::native`] knows.

mod wide;

use std::collections::{BTreeMap, BTreeSet};

use aya::maps::{Array, HashMap, LpmTrie, MapData, PerCpuArray, lpm_trie};
use aya::programs::{ProgramInfo, TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, Pod};
use lb_common::abi::{
    AccessKey, Counter, FlowKey, IcmpState, MARKS_PER_WORD, Member, NatSource, RuleStats, SLOTS_PER_WORD, map,
};
use lb_common::reason::{Event, Reason};
use lb_common::units::{Addr, Addr6, MemberId};
use lb_ctl::state::{FamilyState, MapState, Stored};

use super::case::{Executor, FlowTables};
use super::expect::{Seen, Verdict};
use super::world::{MEMBERS, SERVICES, World};

const PROGRAM: &str = "lb_ingress";
/// Places of source addresses that worlds have.
const SOURCES: u32 = 8;
const BPF_MAP_TYPE_HASH: u32 = 1;
const BPF_MAP_TYPE_LRU_HASH: u32 = 9;

/// A type of `lb_common::abi` as a map holds it.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Wire<T>(pub(super) T);

// SAFETY: used with the types of `lb_common::abi` and with integers only; both are `repr(C)` or
// `repr(transparent)`, without padding, and any bytes are a value of them.
unsafe impl<T: Copy + 'static> Pod for Wire<T> {}

/// The maps of a family.
#[derive(Clone, Copy)]
struct Names {
    rules: &'static str,
    ranges: &'static str,
    addresses: &'static str,
    announced: &'static str,
    access: &'static str,
    members: &'static str,
    owners: &'static str,
    reverse: &'static str,
    sources: &'static str,
}

const V4: Names = Names {
    rules: map::RULES,
    ranges: map::RANGES,
    addresses: map::ADDRESSES,
    announced: map::ANNOUNCED,
    access: map::ACCESS,
    members: map::MEMBERS,
    owners: map::OWNERS,
    reverse: map::REVERSE,
    sources: map::SOURCES,
};
const V6: Names = Names {
    rules: map::RULES6,
    ranges: map::RANGES6,
    addresses: map::ADDRESSES6,
    announced: map::ANNOUNCED6,
    access: map::ACCESS6,
    members: map::MEMBERS6,
    owners: map::OWNERS6,
    reverse: map::REVERSE6,
    sources: map::SOURCES6,
};

pub(crate) struct Kernel {
    ebpf: Ebpf,
    /// Sums of all counters before the next packet.
    counted: Counted,
    /// The marks at the end of the last case, if it came to its end: a scan takes long.
    marked: Option<BTreeMap<u32, u16>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Counted {
    reasons: Vec<Counter>,
    events: Vec<u64>,
    rules: BTreeMap<u32, RuleStats>,
    opened: BTreeMap<u16, u64>,
}

/// What the verifier says of each program.
pub(crate) fn infos() -> Vec<(String, ProgramInfo)> {
    let mut ebpf = load(&World::lab());
    let loaded = ebpf.programs_mut().filter_map(|(name, program)| {
        let program: &mut Xdp = program.try_into().unwrap();
        Some((name.to_owned(), program.info().ok()?))
    });
    loaded.collect()
}

fn load(world: &World) -> Ebpf {
    let mut loader = EbpfLoader::new();
    loader
        .map_max_entries(map::CONFIRMED, world.confirmed_room)
        .map_max_entries(map::PENDING, world.pending_room.unwrap_or(1024))
        .map_max_entries(map::CONFIRMED6, world.confirmed_room)
        .map_max_entries(map::PENDING6, world.pending_room.unwrap_or(1024));
    let mut ebpf = loader.load(&object(world.pending_room.is_some())).unwrap();
    let program: &mut Xdp = ebpf.program_mut(PROGRAM).unwrap().try_into().unwrap();
    program.load().unwrap();
    lb_ctl::dataplane::bpf::load_stages(&mut ebpf).unwrap();
    ebpf
}

fn object(pending_refuses: bool) -> Vec<u8> {
    let mut bytes = lb_ctl::dataplane::bpf::object().unwrap().to_vec();
    if pending_refuses {
        // A least-recently-used table never refuses on purpose; a plain one does, when it is full.
        for key_size in [size_of::<FlowKey<Addr>>(), size_of::<FlowKey<Addr6>>()] {
            let key_size = u32::try_from(key_size).unwrap();
            let definition = |kind: u32| [kind, key_size, 16, 131_072, 0].map(u32::to_ne_bytes).concat();
            let lru = definition(BPF_MAP_TYPE_LRU_HASH);
            let places: Vec<_> =
                (0..bytes.len() - lru.len()).filter(|at| bytes[*at..].starts_with(&lru)).collect();
            let [place] = places[..] else { panic!("definitions of a pending table: {places:?}") };
            bytes[place..place + lru.len()].copy_from_slice(&definition(BPF_MAP_TYPE_HASH));
        }
    }
    bytes
}

/// One program for all worlds whose tables have the same room: loading takes longest.
#[derive(Default)]
pub(crate) struct Kernels(BTreeMap<(u32, Option<u32>), Kernel>);

impl Kernels {
    /// A program whose maps are as this world says.
    pub(crate) fn at(&mut self, world: &World) -> &mut Kernel {
        let room = (world.confirmed_room, world.pending_room);
        let new = || Kernel { ebpf: load(world), counted: Counted::default(), marked: None };
        let kernel = self.0.entry(room).or_insert_with(new);
        kernel.begin(world);
        kernel
    }
}

impl Kernel {
    fn begin(&mut self, world: &World) {
        self.write(&world.map);
        let stale = self.marked.take().unwrap_or_else(|| self.marks());
        for bucket in stale.into_keys() {
            self.set_mark(bucket, 0);
        }
        for (bucket, mark) in world.marks() {
            self.set_mark(bucket, mark);
        }
        self.begin_flows(world);
        self.forget_fragments();
        let icmp = IcmpState { answers: world.answers, ..IcmpState::default() };
        let mut states: PerCpuArray<_, Wire<IcmpState>> =
            self.ebpf.map_mut(map::ICMP).unwrap().try_into().unwrap();
        let every = states.get(&0, 0).unwrap().iter().map(|_| Wire(icmp)).collect::<Vec<_>>();
        states.set(0, every.try_into().unwrap(), 0).unwrap();
        self.counted = self.count();
    }

    fn set_mark(&mut self, bucket: u32, mark: u16) {
        let mut marks = self.array::<[u16; 4]>(map::MARKS);
        put(&mut marks, bucket / MARKS_PER_WORD, |word| word.0[(bucket % MARKS_PER_WORD) as usize] = mark);
    }

    fn marks(&mut self) -> BTreeMap<u32, u16> {
        let words = self.array::<[u16; 4]>(map::MARKS);
        let marks =
            (0..).zip(words.iter()).flat_map(|(index, word)| (index * MARKS_PER_WORD..).zip(word.unwrap().0));
        marks.filter(|(_, mark)| *mark != 0).collect()
    }

    fn array<T: Copy + 'static>(&mut self, name: &str) -> Array<&mut MapData, Wire<T>> {
        self.ebpf.map_mut(name).unwrap().try_into().unwrap()
    }

    pub(super) fn hash<K: Copy + 'static, V: Copy + 'static>(
        &mut self,
        name: &str,
    ) -> HashMap<&mut MapData, Wire<K>, Wire<V>> {
        self.ebpf.map_mut(name).unwrap().try_into().unwrap()
    }

    /// Makes a hash map hold exactly this.
    pub(super) fn write_hash<K: Copy + Ord + 'static, V: Copy + 'static>(
        &mut self,
        name: &str,
        new: &BTreeMap<K, V>,
    ) {
        let mut hash = self.hash::<K, V>(name);
        let stale: Vec<_> = hash.keys().map(Result::unwrap).filter(|key| !new.contains_key(&key.0)).collect();
        for key in stale {
            hash.remove(&key).unwrap();
        }
        for (key, value) in new {
            hash.insert(Wire(*key), Wire(*value), 0).unwrap();
        }
    }

    fn write_family<A: Stored>(&mut self, state: &MapState, names: Names) {
        let FamilyState { rules, ranges, addresses, announced, access, members, owners, reverse, sources } =
            state.of_family::<A>();
        self.write_hash(names.rules, &rules);
        self.write_ranges(names.ranges, &ranges);
        self.write_hash(names.addresses, &addresses);
        self.write_hash(names.announced, &announced);
        self.write_hash(names.owners, &owners);
        self.write_hash(names.reverse, &reverse);
        let labels: BTreeSet<_> =
            MEMBERS.into_iter().map(MemberId).chain(state.members.keys().copied()).collect();
        for label in labels {
            let member: Member<A> = members.get(&label).copied().unwrap_or_default();
            self.array(names.members).set(label.0.into(), Wire(member), 0).unwrap();
        }
        for index in 0..SOURCES {
            let source: NatSource<A> = sources.get(&index).copied().unwrap_or_default();
            self.array(names.sources).set(index, Wire(source), 0).unwrap();
        }
        let mut trie: LpmTrie<_, Wire<AccessKey<A>>, u32> =
            self.ebpf.map_mut(names.access).unwrap().try_into().unwrap();
        let prefixes: Vec<_> = trie.iter().map(|entry| entry.unwrap().0).collect();
        for prefix in prefixes {
            trie.remove(&prefix).unwrap();
        }
        for (list, address, length, verdict) in access {
            let key = AccessKey { list: list.to_be_bytes(), address };
            trie.insert(&lpm_trie::Key::new(32 + u32::from(length), Wire(key)), verdict, 0).unwrap();
        }
    }

    fn count(&mut self) -> Counted {
        let reasons = self.per_cpu::<Counter>(map::REASONS);
        let events = self.per_cpu::<u64>(map::EVENTS);
        let rule_stats = self.per_cpu::<RuleStats>(map::RULE_STATS);
        let opened = self.per_cpu::<u64>(map::MEMBER_STATS);
        let labels = 0..136_u16;
        let stats = (0..8).chain(SERVICES.map(|service| service.stats));
        Counted {
            reasons: (0..).take(Reason::ALL.len()).map(|n| sum(&reasons, n).fold(zero(), plus)).collect(),
            events: (0..).take(Event::ALL.len()).map(|n| sum(&events, n).sum()).collect(),
            rules: stats.map(|n| (n, sum(&rule_stats, n).fold(RuleStats::default(), plus_stats))).collect(),
            opened: labels.map(|n| (n, sum(&opened, n.into()).sum())).collect(),
        }
    }

    fn per_cpu<T: Copy + 'static>(&self, name: &str) -> PerCpuArray<&MapData, Wire<T>> {
        self.ebpf.map(name).unwrap().try_into().unwrap()
    }
}

fn sum<T: Copy + 'static>(
    array: &PerCpuArray<&MapData, Wire<T>>,
    index: u32,
) -> impl Iterator<Item = T> + use<T> {
    let values: Vec<T> = array.get(&index, 0).unwrap().iter().map(|value| value.0).collect();
    values.into_iter()
}

fn zero() -> Counter {
    Counter::default()
}

fn plus(a: Counter, b: Counter) -> Counter {
    Counter { packets: a.packets + b.packets, bytes: a.bytes + b.bytes }
}

fn minus(a: Counter, b: Counter) -> Counter {
    Counter { packets: a.packets - b.packets, bytes: a.bytes - b.bytes }
}

fn plus_stats(a: RuleStats, b: RuleStats) -> RuleStats {
    RuleStats {
        inbound: plus(a.inbound, b.inbound),
        replies: plus(a.replies, b.replies),
        opened: a.opened + b.opened,
    }
}

fn minus_stats(a: RuleStats, b: RuleStats) -> RuleStats {
    RuleStats {
        inbound: minus(a.inbound, b.inbound),
        replies: minus(a.replies, b.replies),
        opened: a.opened - b.opened,
    }
}

fn put<T: Copy + 'static>(
    array: &mut Array<&mut MapData, Wire<T>>,
    index: u32,
    change: impl FnOnce(&mut Wire<T>),
) {
    let mut value = array.get(&index, 0).unwrap();
    change(&mut value);
    array.set(index, value, 0).unwrap();
}

impl Executor for Kernel {
    fn write(&mut self, state: &MapState) {
        self.array(map::ROOT).set(0, Wire(state.root), 0).unwrap();
        self.array(map::SIEVE).set(0, Wire(*state.sieve()), 0).unwrap();
        self.write_family::<Addr>(state, V4);
        self.write_family::<Addr6>(state, V6);
        self.write_ranges(map::REVERSE_RANGES, &state.reverse_ranges);
        for (place, table) in (0..).zip(state.routes) {
            self.array(map::ROUTES).set(place, Wire(table), 0).unwrap();
        }
        for (index, word) in &state.health {
            self.array(map::HEALTH).set(*index, Wire(*word), 0).unwrap();
        }
        let mut slots = self.array::<[u16; 4]>(map::SLOTS);
        for (base, ring) in &state.rings {
            for (slot, member) in (*base..).zip(ring.iter()) {
                put(&mut slots, slot / SLOTS_PER_WORD, |word| {
                    word.0[(slot % SLOTS_PER_WORD) as usize] = member.0;
                });
            }
        }
    }

    fn run(&mut self, frame: &[u8], ingress: u32) -> Seen {
        let mut output = vec![0; frame.len() + 64];
        let context = xdp_md(frame.len(), ingress);
        let program: &mut Xdp = self.ebpf.program_mut(PROGRAM).unwrap().try_into().unwrap();
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.data_out = Some(&mut output);
        options.ctx_in = Some(&context);
        let result = program.test_run(options).unwrap();
        output.truncate(result.data_size_out as usize);
        let before = std::mem::take(&mut self.counted);
        self.counted = self.count();
        let after = &self.counted;
        let moved = |n: usize| minus(after.reasons[n], before.reasons[n]);
        let rules = after
            .rules
            .iter()
            .map(|(n, stats)| (*n, minus_stats(*stats, before.rules.get(n).copied().unwrap_or_default())));
        let opened = after.opened.iter().map(|(n, count)| (*n, count - before.opened[n]));
        let events = Event::ALL.iter().map(|e| (*e, after.events[*e as usize] - before.events[*e as usize]));
        Seen {
            verdict: match result.return_value {
                1 => Verdict::Drop,
                2 => Verdict::Pass,
                4 => Verdict::Redirect,
                other => panic!("XDP action {other}"),
            },
            reasons: (0..).zip(Reason::ALL).map(|(n, r)| (*r, moved(n))).filter(|m| m.1 != zero()).collect(),
            events: events.filter(|(_, count)| *count > 0).collect(),
            rules: rules.filter(|(_, stats)| *stats != RuleStats::default()).collect(),
            opened: opened.filter(|(_, count)| *count > 0).collect(),
            frame: output,
        }
    }

    fn wait(&mut self, ticks: u32) {
        self.age_flows(ticks);
        self.age_fragments(ticks);
    }

    fn flows(&mut self) -> FlowTables {
        let marks = self.marks();
        self.marked = Some(marks.clone());
        FlowTables { marks, ..self.read_flows() }
    }
}

/// `struct xdp_md` of linux/bpf.h: `data`, `data_end`, `data_meta`, `ingress_ifindex`,
/// `rx_queue_index`, `egress_ifindex`. As input, the first three are offsets.
fn xdp_md(length: usize, ingress: u32) -> Vec<u8> {
    [0, u32::try_from(length).unwrap(), 0, ingress, 0, 0].map(u32::to_ne_bytes).concat()
}
