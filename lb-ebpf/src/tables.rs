//! What the pipeline looks up, in the maps and by the helpers that answer in place of one.

use core::{ffi::c_void, mem};

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST},
    helpers::generated::{bpf_jiffies64, bpf_loop, bpf_redirect},
    maps::lpm_trie::Key,
    programs::XdpContext,
};
use lb_common::{
    abi::{
        AccessKey, AddressFlags, Announced, AnnouncedKey, Counter, FlowEntry, FlowKey, FragmentKey,
        FragmentWord, IcmpState, MARKS_PER_WORD, Member, NatSource, Owner, ROUTE_TABLES, Range, RangeKey,
        Reverse, ReverseKey, Root, RouteTable, Rule, RuleKey, RuleStats, SLOTS_PER_WORD, TrackEntry, access,
        sieve,
    },
    choose::Draw,
    pipeline::Stage,
    reason::Event,
    tables::{Full, Rings, Route, RouteQuery, Shared, Tables, Tier},
    track::Side,
    units::{Addr, Addr6, MemberId},
};

use crate::fib;
use crate::maps::{
    ACCESS, ACCESS6, ADDRESSES, ADDRESSES6, ANNOUNCED, ANNOUNCED6, BACK, CONFIRMED, CONFIRMED6, EVENTS,
    FIRST, FIRST6, FRONT, FRONT6, HEALTH, ICMP, MARKS, MEMBER, MEMBER_STATS, MEMBER6, OPENING, OPENING6,
    OWNERS, OWNERS6, PENDING, PENDING6, REASONS, REPLY_FIRST, REPLY_FIRST6, REVERSE, REVERSE6, ROOT, ROUTES,
    RULE_STATS, RULES, RULES6, SIEVE, SLOTS, SOURCES, SOURCES6, STAGES, TRACKED, TRACKED6,
};

/// The maps, and the context that a route look-up asks for.
pub(crate) struct KernelTables<'c> {
    ctx: &'c XdpContext,
}

impl<'c> KernelTables<'c> {
    #[inline(always)]
    pub(crate) fn new(ctx: &'c XdpContext) -> Self {
        Self { ctx }
    }
}

/// The maps that ask for no context: who hands on a reference to one that has it keeps it in memory, on every
/// packet's way.
struct Maps;

impl Rings for Maps {
    #[inline(always)]
    fn slot(&self, index: u32) -> MemberId {
        let Some(word) = SLOTS.get(index / SLOTS_PER_WORD) else { return MemberId::NONE };
        MemberId(word[(index % SLOTS_PER_WORD) as usize])
    }

    #[inline(always)]
    fn health(&self, index: u32) -> u64 {
        HEALTH.get(index).copied().unwrap_or(0)
    }
}

impl Rings for KernelTables<'_> {
    #[inline(always)]
    fn slot(&self, index: u32) -> MemberId {
        Maps.slot(index)
    }

    #[inline(always)]
    fn health(&self, index: u32) -> u64 {
        Maps.health(index)
    }
}

impl Shared for KernelTables<'_> {
    type Entry = &'static FlowEntry;

    #[inline(always)]
    fn root(&self) -> Option<&Root> {
        ROOT.get(0)
    }

    /// By `bpf_loop` (Linux 5.17): unrolled by the verifier, up to 1,024 rounds in each of three
    /// places would be more than the million instructions that it looks at.
    #[inline(always)]
    fn healthy(&self, base: u32, words: u32, start: u32) -> Option<(u32, u64)> {
        let mut search = Search { base, words, at: start, word: 0 };
        // SAFETY: `search` outlives the call, and `step` takes exactly this type.
        unsafe { bpf_loop(words, step as *mut c_void, (&raw mut search).cast(), 0) };
        if search.word == 0 { None } else { Some((search.at, search.word)) }
    }

    /// By `bpf_loop` as well: the verifier follows one round, not each of them after each way that leads
    /// here.
    #[inline(always)]
    fn draw(&self, rounds: u32, draw: &mut Draw) {
        // SAFETY: `draw` outlives the call, and `round` takes exactly this type.
        unsafe { bpf_loop(rounds, round as *mut c_void, (&raw mut *draw).cast(), 0) };
    }

    #[inline(always)]
    fn mark(&self, bucket: u32) -> u16 {
        MARKS.get(bucket / MARKS_PER_WORD).map_or(0, |word| word[(bucket % MARKS_PER_WORD) as usize])
    }

    #[inline(always)]
    fn set_mark(&self, bucket: u32, mark: u16) {
        if let Some(word) = MARKS.get_ptr_mut(bucket / MARKS_PER_WORD) {
            // SAFETY: the pointer is to a live element of an array map, which is never freed while
            // the program runs; one aligned half-word, so that neighbours are not lost.
            unsafe { (*word)[(bucket % MARKS_PER_WORD) as usize] = mark };
        }
    }

    #[inline(always)]
    fn reverse_range(&self, key: &RangeKey<u32>) -> Option<Range> {
        BACK.get(whole(*key)).copied()
    }

    #[inline(always)]
    fn icmp(&self) -> IcmpState {
        ICMP.get(0).copied().unwrap_or_default()
    }

    #[inline(always)]
    fn set_icmp(&self, state: IcmpState) {
        if let Some(place) = ICMP.get_ptr_mut(0) {
            // SAFETY: this CPU's own element; the program is not preempted by itself.
            unsafe { *place = state };
        }
    }

    #[inline(always)]
    fn count(&self, event: Event) {
        if let Some(count) = EVENTS.get_ptr_mut(event as u32) {
            // SAFETY: this CPU's own element; the program is not preempted by itself.
            unsafe { *count += 1 };
        }
    }
}

/// A key all of whose bits count.
#[inline(always)]
fn whole<K>(key: K) -> Key<K> {
    Key::new(8 * mem::size_of::<K>() as u32, key)
}

/// The look-ups of one family, in its own maps.
macro_rules! tables_of {
    ($address:ty, $rules:ident by $rule_key:expr, $addresses:ident, $announced:ident, $access:ident, $members:ident,
     $owners:ident, $reverse:ident, $routes:expr, $pending:ident, $confirmed:ident, $sources:ident,
     $opening:ident, $tracked:ident, $front:ident, $first:ident, $reply_first:ident) => {
        impl Tables<$address> for KernelTables<'_> {
            type Track = &'static TrackEntry<$address>;

            #[inline(always)]
            fn sieve(&self, address: $address) -> sieve::Cell {
                let (word, shift) = sieve::place(address);
                SIEVE
                    .get(0)
                    .and_then(|words| words.get(word))
                    .map_or(sieve::Cell::default(), |word| sieve::cell(*word, shift))
            }

            #[inline(always)]
            fn rule(&self, key: &RuleKey<$address>) -> Option<&Rule> {
                // SAFETY: user space never changes a rule that a packet can find, it writes those of
                // the next epoch. The kernel may give a deleted element to another key at once; user
                // space deletes only what no packet can have found (`Dataplane::quiesce`). The memory
                // itself is the map's, and whatever a late reader found there would be a `Rule`.
                unsafe { $rules.get($rule_key(key)) }
            }

            #[inline(always)]
            fn range(&self, key: &RangeKey<$address>) -> Option<Range> {
                $front.get(whole(*key)).copied()
            }

            #[inline(always)]
            fn address(&self, address: $address) -> AddressFlags {
                // SAFETY: one aligned word, read at once.
                unsafe { $addresses.get(address) }.copied().unwrap_or_default()
            }

            #[inline(always)]
            fn announced(&self, key: &AnnouncedKey<$address>) -> Option<Announced> {
                // SAFETY: the memory is the map's, and whatever a late reader finds there is an
                // `Announced`. The kernel hands a replaced element to the next replacement on that CPU at
                // once: who is held up for that long is told a hardware address of another link of ours,
                // and asks again.
                unsafe { $announced.get(key) }.copied()
            }

            #[inline(always)]
            fn allowed(&self, list: u32, source: $address) -> bool {
                let key = whole(AccessKey { list: list.to_be_bytes(), address: source });
                $access.get(key).is_some_and(|verdict| *verdict == access::ALLOW)
            }

            #[inline(always)]
            fn member(&self, id: MemberId) -> Option<&Member<$address>> {
                $members.get(u32::from(id.0))
            }

            #[inline(always)]
            fn owner(&self, address: $address) -> Option<&Owner> {
                // SAFETY: the memory is the map's, and whatever a late reader finds there is an `Owner`.
                // The kernel hands a replaced element to the next replacement on that CPU at once: a
                // packet that is held up for two of them may be taken for another member's.
                unsafe { $owners.get(address) }
            }

            #[inline(always)]
            fn reverse(&self, key: &ReverseKey) -> Option<&Reverse<$address>> {
                // SAFETY: as for owners. Address and port of an entry never change while a reply can need
                // it, its life may: a reply that is held up for two such changes may come from another
                // frontend, whose client ignores it.
                unsafe { $reverse.get(key.word()) }
            }

            #[inline(always)]
            fn confirmed(&self, key: &FlowKey<$address>) -> Option<&'static FlowEntry> {
                // SAFETY: an entry consists of atomics, and its memory outlives this run (RCU, preallocated).
                unsafe {
                    $confirmed.get(key).map(|entry| mem::transmute::<&FlowEntry, &'static FlowEntry>(entry))
                }
            }

            #[inline(always)]
            fn pending(&self, key: &FlowKey<$address>) -> Option<&'static FlowEntry> {
                // SAFETY: an entry consists of atomics, and its memory outlives this run (RCU, preallocated).
                unsafe {
                    $pending.get(key).map(|entry| mem::transmute::<&FlowEntry, &'static FlowEntry>(entry))
                }
            }

            #[inline(always)]
            fn confirm(&self, key: &FlowKey<$address>, entry: &FlowEntry) -> Result<(), Full> {
                $confirmed.insert(key, entry, 0).map_err(|_| Full)
            }

            #[inline(always)]
            fn suspend(&self, key: &FlowKey<$address>, entry: &FlowEntry) -> Result<(), Full> {
                $pending.insert(key, entry, 0).map_err(|_| Full)
            }

            #[inline(always)]
            fn fragment(&self, from: Side, key: &FragmentKey<$address>) -> Option<FragmentWord> {
                // SAFETY: one aligned word, read at once. The kernel may give the element to another datagram
                // before: then a stray fragment goes where it belongs to nothing.
                let first = unsafe {
                    match from {
                        Side::Peer => $first.get(key),
                        Side::Member => $reply_first.get(key),
                    }
                };
                first.copied()
            }

            #[inline(always)]
            fn remember(
                &self,
                from: Side,
                key: &FragmentKey<$address>,
                first: FragmentWord,
            ) -> Result<(), Full> {
                let stored = match from {
                    Side::Peer => $first.insert(key, first, 0),
                    Side::Member => $reply_first.insert(key, first, 0),
                };
                stored.map_err(|_| Full)
            }

            #[inline(always)]
            fn tracked(&self, tier: Tier, key: &FlowKey<$address>) -> Option<Self::Track> {
                // SAFETY: as for exceptions; the translation is written once, before the entry can be found.
                unsafe {
                    let entry = match tier {
                        Tier::Opening => $opening.get(key),
                        Tier::Tracked => $tracked.get(key),
                    };
                    entry.map(|entry| mem::transmute::<&TrackEntry<$address>, Self::Track>(entry))
                }
            }

            #[inline(always)]
            fn track(
                &self,
                tier: Tier,
                key: &FlowKey<$address>,
                entry: &TrackEntry<$address>,
                new: bool,
            ) -> Result<(), Full> {
                let flags = if new { BPF_NOEXIST.into() } else { BPF_ANY.into() };
                match tier {
                    Tier::Opening => $opening.insert(key, entry, flags),
                    Tier::Tracked => $tracked.insert(key, entry, flags),
                }
                .map_err(|_| Full)
            }

            #[inline(always)]
            fn untrack(&self, tier: Tier, key: &FlowKey<$address>) {
                // What is not there any more need not be taken back.
                let _ = match tier {
                    Tier::Opening => $opening.remove(key),
                    Tier::Tracked => $tracked.remove(key),
                };
            }

            #[inline(always)]
            fn source(&self, index: u32) -> Option<&NatSource<$address>> {
                $sources.get(index)
            }

            #[inline(always)]
            fn routes(&self, generation: u32) -> Option<&RouteTable<$address>> {
                $routes(generation % ROUTE_TABLES as u32)
            }

            #[inline(never)]
            fn kernel_route(&self, query: &RouteQuery<$address>) -> Route {
                fib::ask(self.ctx, query)
            }
        }
    };
}

tables_of!(
    Addr, RULES by RuleKey::word, ADDRESSES, ANNOUNCED, ACCESS, MEMBER, OWNERS, REVERSE, |table| ROUTES.get(table),
    PENDING, CONFIRMED, SOURCES, OPENING, TRACKED, FRONT, FIRST, REPLY_FIRST
);
tables_of!(
    Addr6, RULES6 by Clone::clone, ADDRESSES6, ANNOUNCED6, ACCESS6, MEMBER6, OWNERS6, REVERSE6, |_| None, PENDING6,
    CONFIRMED6, SOURCES6, OPENING6, TRACKED6, FRONT6, FIRST6, REPLY_FIRST6
);

/// A walk around a health set.
#[repr(C)]
struct Search {
    base: u32,
    words: u32,
    at: u32,
    word: u64,
}

/// One step of the walk; 1 ends it.
#[inline(never)]
extern "C" fn step(_round: u64, search: *mut Search) -> i64 {
    // SAFETY: `healthy` lends its own struct for the length of the loop.
    let search = unsafe { &mut *search };
    search.word = HEALTH.get(search.base.wrapping_add(search.at)).copied().unwrap_or(0);
    if search.word != 0 {
        return 1;
    }
    search.at += 1;
    if search.at >= search.words {
        search.at = 0;
    }
    0
}

/// One step of a walk of a ring; 1 ends it.
#[inline(never)]
extern "C" fn round(_round: u64, draw: *mut Draw) -> i64 {
    // SAFETY: `draw` lends what it was lent for the length of the loop.
    i64::from(unsafe { &mut *draw }.round(&Maps))
}

/// The kernel's clock, in jiffies since an arbitrary moment: inlined by the JIT.
#[inline(always)]
pub(crate) fn jiffies() -> u64 {
    // SAFETY: takes nothing, touches nothing.
    unsafe { bpf_jiffies64() }
}

/// Goes on in the program of a stage, and comes back only if that is not there.
#[inline(always)]
pub(crate) fn enter(stage: Stage, ctx: &XdpContext) {
    // SAFETY: user space puts only programs of this object there, which are of the same type.
    unsafe { STAGES.tail_call(ctx, stage as u32) }
}

/// Sends the frame by another interface.
#[inline(always)]
pub(crate) fn redirect(ifindex: u32) -> u32 {
    // SAFETY: takes numbers only.
    unsafe { bpf_redirect(ifindex, 0) as u32 }
}

/// Changes this CPU's counter of a reason.
#[inline(always)]
pub(crate) fn with_reason(index: u32, change: impl FnOnce(&mut Counter)) {
    if let Some(counter) = REASONS.get_ptr_mut(index) {
        // SAFETY: this CPU's own element; the program is not preempted by itself.
        change(unsafe { &mut *counter });
    }
}

/// Changes this CPU's statistics of a rule.
#[inline(always)]
pub(crate) fn with_rule_stats(index: u32, change: impl FnOnce(&mut RuleStats)) {
    if let Some(stats) = RULE_STATS.get_ptr_mut(index) {
        // SAFETY: this CPU's own element; the program is not preempted by itself.
        change(unsafe { &mut *stats });
    }
}

/// Changes this CPU's count of a member's new connections.
#[inline(always)]
pub(crate) fn with_member_stats(index: u32, change: impl FnOnce(&mut u64)) {
    if let Some(opened) = MEMBER_STATS.get_ptr_mut(index) {
        // SAFETY: this CPU's own element; the program is not preempted by itself.
        change(unsafe { &mut *opened });
    }
}
