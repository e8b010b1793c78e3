//! The maps.
//!
//! Sizes here are the defaults; `lbctl serve` can change those of the flow tables, rules and
//! slots before it loads the program.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray},
};
use lb_common::{
    abi::{
        self, AccessKey, AddressFlags, Announced, AnnouncedKey, Counter, FRAGMENTS, FlowEntry, FlowKey,
        FragmentKey, FragmentWord, IcmpState, MARK_BITS, MARKS_PER_WORD, MEMBERS, Member, NAT_SOURCES,
        NatSource, Owner, RANGES, REVERSES, ROUTE_TABLES, Range, RangeKey, Reverse, Root, RouteTable, Rule,
        RuleKey, RuleStats, SLOTS_PER_WORD, TrackEntry, sieve,
    },
    reason::{Event, Reason},
    units::{Addr, Addr6},
};

#[map(name = "lb_root")]
pub(crate) static ROOT: Array<Root> = Array::with_max_entries(1, 0);
#[map(name = "lb_sieve")]
pub(crate) static SIEVE: Array<[u64; sieve::WORDS]> = Array::with_max_entries(1, 0);
// The keys of rules and reverse entries are whole words: one that is written in pieces keeps the
// hash function waiting, which reads it in other pieces.
#[map(name = "lb_rules")]
pub(crate) static RULES: HashMap<u64, Rule> = HashMap::with_max_entries(32_768, 0);
#[map(name = "lb_addresses")]
pub(crate) static ADDRESSES: HashMap<Addr, AddressFlags> = HashMap::with_max_entries(16_384, 0);
#[map(name = "lb_access")]
pub(crate) static ACCESS: LpmTrie<AccessKey, u32> = LpmTrie::with_max_entries(262_144, BPF_F_NO_PREALLOC);
#[map(name = "lb_slots")]
pub(crate) static SLOTS: Array<[u16; SLOTS_PER_WORD as usize]> = Array::with_max_entries(1 << 20, 0);
#[map(name = "lb_health")]
pub(crate) static HEALTH: Array<u64> = Array::with_max_entries(1 << 16, 0);
#[map(name = "lb_members")]
pub(crate) static MEMBER: Array<Member> = Array::with_max_entries(MEMBERS, 0);
#[map(name = "lb_owners")]
pub(crate) static OWNERS: HashMap<Addr, Owner> = HashMap::with_max_entries(MEMBERS, 0);
#[map(name = "lb_reverse")]
pub(crate) static REVERSE: HashMap<u64, Reverse> = HashMap::with_max_entries(REVERSES, 0);
#[map(name = "lb_routes")]
pub(crate) static ROUTES: Array<RouteTable> = Array::with_max_entries(ROUTE_TABLES as u32, 0);
#[map(name = "lb_marks")]
pub(crate) static MARKS: Array<[u16; MARKS_PER_WORD as usize]> =
    Array::with_max_entries((1 << MARK_BITS) / MARKS_PER_WORD, 0);
#[map(name = "lb_pending")]
pub(crate) static PENDING: LruHashMap<FlowKey, FlowEntry> = LruHashMap::with_max_entries(131_072, 0);
#[map(name = "lb_confirmed")]
pub(crate) static CONFIRMED: HashMap<FlowKey, FlowEntry> = HashMap::with_max_entries(262_144, 0);
#[map(name = "lb_rules6")]
pub(crate) static RULES6: HashMap<RuleKey<Addr6>, Rule> = HashMap::with_max_entries(32_768, 0);
#[map(name = "lb_addresses6")]
pub(crate) static ADDRESSES6: HashMap<Addr6, AddressFlags> = HashMap::with_max_entries(16_384, 0);
#[map(name = "lb_access6")]
pub(crate) static ACCESS6: LpmTrie<AccessKey<Addr6>, u32> =
    LpmTrie::with_max_entries(262_144, BPF_F_NO_PREALLOC);
#[map(name = "lb_members6")]
pub(crate) static MEMBER6: Array<Member<Addr6>> = Array::with_max_entries(MEMBERS, 0);
#[map(name = "lb_owners6")]
pub(crate) static OWNERS6: HashMap<Addr6, Owner> = HashMap::with_max_entries(MEMBERS, 0);
#[map(name = "lb_reverse6")]
pub(crate) static REVERSE6: HashMap<u64, Reverse<Addr6>> = HashMap::with_max_entries(REVERSES, 0);
#[map(name = "lb_pending6")]
pub(crate) static PENDING6: LruHashMap<FlowKey<Addr6>, FlowEntry> = LruHashMap::with_max_entries(131_072, 0);
#[map(name = "lb_confirmed6")]
pub(crate) static CONFIRMED6: HashMap<FlowKey<Addr6>, FlowEntry> = HashMap::with_max_entries(262_144, 0);
#[map(name = "lb_sources")]
pub(crate) static SOURCES: Array<NatSource> = Array::with_max_entries(NAT_SOURCES, 0);
#[map(name = "lb_sources6")]
pub(crate) static SOURCES6: Array<NatSource<Addr6>> = Array::with_max_entries(NAT_SOURCES, 0);
#[map(name = "lb_opening")]
pub(crate) static OPENING: LruHashMap<FlowKey, TrackEntry> = LruHashMap::with_max_entries(65_536, 0);
#[map(name = "lb_opening6")]
pub(crate) static OPENING6: LruHashMap<FlowKey<Addr6>, TrackEntry<Addr6>> =
    LruHashMap::with_max_entries(65_536, 0);
#[map(name = "lb_flows")]
pub(crate) static TRACKED: HashMap<FlowKey, TrackEntry> = HashMap::with_max_entries(131_072, 0);
#[map(name = "lb_flows6")]
pub(crate) static TRACKED6: HashMap<FlowKey<Addr6>, TrackEntry<Addr6>> =
    HashMap::with_max_entries(131_072, 0);
#[map(name = "lb_announced")]
pub(crate) static ANNOUNCED: HashMap<AnnouncedKey, Announced> = HashMap::with_max_entries(16_384, 0);
#[map(name = "lb_announced6")]
pub(crate) static ANNOUNCED6: HashMap<AnnouncedKey<Addr6>, Announced> = HashMap::with_max_entries(16_384, 0);
#[map(name = "lb_stages")]
pub(crate) static STAGES: ProgramArray = ProgramArray::with_max_entries(abi::STAGES, 0);
#[map(name = "lb_icmp_state")]
pub(crate) static ICMP: PerCpuArray<IcmpState> = PerCpuArray::with_max_entries(1, 0);
#[map(name = "lb_reasons")]
pub(crate) static REASONS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(Reason::ALL.len() as u32, 0);
#[map(name = "lb_events")]
pub(crate) static EVENTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Event::ALL.len() as u32, 0);
#[map(name = "lb_rule_stats")]
pub(crate) static RULE_STATS: PerCpuArray<RuleStats> = PerCpuArray::with_max_entries(16_384, 0);
#[map(name = "lb_member_stats")]
pub(crate) static MEMBER_STATS: PerCpuArray<u64> = PerCpuArray::with_max_entries(MEMBERS, 0);
#[map(name = "lb_ranges")]
pub(crate) static FRONT: LpmTrie<RangeKey, Range> = LpmTrie::with_max_entries(RANGES, BPF_F_NO_PREALLOC);
#[map(name = "lb_ranges6")]
pub(crate) static FRONT6: LpmTrie<RangeKey<Addr6>, Range> =
    LpmTrie::with_max_entries(RANGES, BPF_F_NO_PREALLOC);
#[map(name = "lb_reverse_rng")]
pub(crate) static BACK: LpmTrie<RangeKey<u32>, Range> = LpmTrie::with_max_entries(RANGES, BPF_F_NO_PREALLOC);
#[map(name = "lb_fragments")]
pub(crate) static FIRST: LruHashMap<FragmentKey, FragmentWord> = LruHashMap::with_max_entries(FRAGMENTS, 0);
#[map(name = "lb_fragments6")]
pub(crate) static FIRST6: LruHashMap<FragmentKey<Addr6>, FragmentWord> =
    LruHashMap::with_max_entries(FRAGMENTS, 0);
#[map(name = "lb_reply_frags")]
pub(crate) static REPLY_FIRST: LruHashMap<FragmentKey, FragmentWord> =
    LruHashMap::with_max_entries(FRAGMENTS, 0);
#[map(name = "lb_reply_frags6")]
pub(crate) static REPLY_FIRST6: LruHashMap<FragmentKey<Addr6>, FragmentWord> =
    LruHashMap::with_max_entries(FRAGMENTS, 0);
