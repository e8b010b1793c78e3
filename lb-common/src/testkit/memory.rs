//! The maps in memory.

use std::cell::{Cell as StdCell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::abi::{
    AddressFlags, Announced, AnnouncedKey, FRAGMENTS, FlowEntry, FlowKey, FlowWord, FragmentKey,
    FragmentWord, IcmpState, Member, NatSource, Owner, ROUTE_TABLES, Range, RangeKey, Reverse, ReverseKey,
    Root, RouteTable, Rule, RuleKey, TrackEntry, access, sieve,
};
use crate::choose::Draw;
use crate::family::Family;
use crate::reason::Event;
use crate::tables::{Full, Rings, Route, RouteQuery, Shared, Tables, Tier};
use crate::track::Side;
use crate::units::{Addr, Addr6, MemberId, Port};

/// All tables of the pipeline. What user space writes is public; what packets write is read by
/// methods.
#[derive(Debug)]
pub struct Memory {
    /// All zeros until a test sets it, as in the kernel.
    pub root: Root,
    /// See [`Tables::sieve`].
    pub sieve: Box<[u64; sieve::WORDS]>,
    /// Rings, slot by slot.
    pub slots: BTreeMap<u32, MemberId>,
    /// Words of health sets.
    pub health: BTreeMap<u32, u64>,
    /// First port of each prefix, its length, and the range that it is a part of.
    pub reverse_ranges: Vec<Prefix<u32>>,
    /// Tables of IPv4.
    pub v4: FamilyMemory<Addr>,
    /// Tables of IPv6.
    pub v6: FamilyMemory<Addr6>,
    marks: RefCell<BTreeMap<u32, u16>>,
    events: [StdCell<u64>; Event::ALL.len()],
    icmp: StdCell<IcmpState>,
}

/// A key of a range, bits of the port that count, and the range.
type Prefix<O> = (RangeKey<O>, u8, Range);

/// The tables of one family.
#[derive(Debug)]
pub struct FamilyMemory<A> {
    /// See [`Tables::rule`].
    pub rules: BTreeMap<RuleKey<A>, Rule>,
    /// See [`Tables::range`].
    pub ranges: Vec<Prefix<A>>,
    /// First fragments of clients and of members, see [`Tables::fragment`].
    pub fragments: [RefCell<BTreeMap<FragmentKey<A>, FragmentWord>>; 2],
    /// See [`Tables::address`].
    pub addresses: BTreeMap<A, AddressFlags>,
    /// See [`Tables::announced`].
    pub announced: BTreeMap<AnnouncedKey<A>, Announced>,
    /// List, network address and length of each prefix, and its verdict.
    pub access: Vec<(u32, A, u8, u32)>,
    /// See [`Tables::member`].
    pub members: BTreeMap<MemberId, Member<A>>,
    /// See [`Tables::owner`].
    pub owners: BTreeMap<A, Owner>,
    /// See [`Tables::reverse`].
    pub reverse: BTreeMap<ReverseKey, Reverse<A>>,
    /// See [`Tables::routes`].
    pub compiled: [RouteTable<A>; ROUTE_TABLES],
    /// The kernel's routes by destination.
    pub routes: BTreeMap<A, Route>,
    /// What the kernel says of any other destination.
    pub default_route: Route,
    /// Longest packet that a link takes, on either side.
    pub link_mtu: u16,
    /// Routes to these take shorter ones.
    pub narrow: BTreeMap<A, u16>,
    /// Proven exceptions.
    pub confirmed: Flows<A>,
    /// Exceptions that await their proof.
    pub pending: Flows<A>,
    /// See [`Tables::source`].
    pub sources: BTreeMap<u32, NatSource<A>>,
    /// Tracked flows that begin.
    pub opening: Flows<A, TrackEntry<A>>,
    /// Tracked flows that are proven.
    pub tracked: Flows<A, TrackEntry<A>>,
}

impl<A: Family> Default for FamilyMemory<A> {
    fn default() -> Self {
        Self {
            rules: BTreeMap::new(),
            ranges: Vec::new(),
            fragments: Default::default(),
            addresses: BTreeMap::new(),
            announced: BTreeMap::new(),
            access: Vec::new(),
            members: BTreeMap::new(),
            owners: BTreeMap::new(),
            reverse: BTreeMap::new(),
            compiled: [RouteTable::default(); ROUTE_TABLES],
            routes: BTreeMap::new(),
            default_route: Route::Unreachable,
            link_mtu: u16::MAX,
            narrow: BTreeMap::new(),
            confirmed: Flows::new(1024, WhenFull::Refuse),
            pending: Flows::new(1024, WhenFull::EvictOldest),
            sources: BTreeMap::new(),
            opening: Flows::new(1024, WhenFull::EvictOldest),
            tracked: Flows::new(1024, WhenFull::Refuse),
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            root: Root::default(),
            sieve: Box::new([0; sieve::WORDS]),
            slots: BTreeMap::new(),
            health: BTreeMap::new(),
            reverse_ranges: Vec::new(),
            v4: FamilyMemory::default(),
            v6: FamilyMemory::default(),
            marks: RefCell::default(),
            events: Default::default(),
            icmp: StdCell::default(),
        }
    }
}

impl Memory {
    /// Marks that are set, by bucket.
    #[must_use]
    pub fn marks(&self) -> BTreeMap<u32, u16> {
        self.marks.borrow().clone()
    }

    /// How often an event was counted.
    #[must_use]
    pub fn events(&self, event: Event) -> u64 {
        self.events[event as usize].get()
    }

    /// Computes the sieve anew from addresses and owners.
    pub fn refresh_sieve(&mut self) {
        self.sieve.fill(0);
        self.v4.sift(&mut self.sieve);
        self.v6.sift(&mut self.sieve);
    }
}

impl<A: Family> FamilyMemory<A> {
    fn sift(&self, sieve: &mut [u64; sieve::WORDS]) {
        for (address, flags) in &self.addresses {
            for (flag, bit) in
                [(AddressFlags::FRONTEND, sieve::Cell::FRONTEND), (AddressFlags::OWN, sieve::Cell::OWN)]
            {
                if flags.has(flag) {
                    sieve::add(sieve, *address, bit);
                }
            }
        }
        for member in self.members.values() {
            sieve::add(sieve, member.address, sieve::Cell::MEMBER);
        }
    }
}

/// An address whose family has tables in memory.
pub trait Stored: Family {
    /// The tables of its family.
    fn tables(memory: &Memory) -> &FamilyMemory<Self>;
    /// The first `length` bits of the address.
    fn prefix(self, length: u8) -> u128;
}

impl Stored for Addr {
    fn tables(memory: &Memory) -> &FamilyMemory<Self> {
        &memory.v4
    }

    fn prefix(self, length: u8) -> u128 {
        u128::from(u32::from_be_bytes(self.wire()).checked_shr(32 - u32::from(length)).unwrap_or(0))
    }
}

impl Stored for Addr6 {
    fn tables(memory: &Memory) -> &FamilyMemory<Self> {
        &memory.v6
    }

    fn prefix(self, length: u8) -> u128 {
        u128::from_be_bytes(self.wire()).checked_shr(128 - u32::from(length)).unwrap_or(0)
    }
}

impl Rings for Memory {
    fn slot(&self, index: u32) -> MemberId {
        self.slots.get(&index).copied().unwrap_or(MemberId::NONE)
    }

    fn health(&self, index: u32) -> u64 {
        self.health.get(&index).copied().unwrap_or(0)
    }
}

impl Shared for Memory {
    type Entry = Rc<FlowEntry>;

    fn root(&self) -> Option<&Root> {
        Some(&self.root)
    }

    fn healthy(&self, base: u32, words: u32, start: u32) -> Option<(u32, u64)> {
        let indices = (0..words).map(|step| (start + step) % words);
        indices.map(|index| (index, self.health(base.wrapping_add(index)))).find(|(_, word)| *word != 0)
    }

    fn draw(&self, rounds: u32, draw: &mut Draw) {
        let _ = (0..rounds).any(|_| draw.round(self));
    }

    fn mark(&self, bucket: u32) -> u16 {
        self.marks.borrow().get(&bucket).copied().unwrap_or(0)
    }

    fn set_mark(&self, bucket: u32, mark: u16) {
        self.marks.borrow_mut().insert(bucket, mark);
    }

    fn reverse_range(&self, key: &RangeKey<u32>) -> Option<Range> {
        longest(&self.reverse_ranges, key)
    }

    fn icmp(&self) -> IcmpState {
        self.icmp.get()
    }

    fn set_icmp(&self, state: IcmpState) {
        self.icmp.set(state);
    }

    fn count(&self, event: Event) {
        let count = &self.events[event as usize];
        count.set(count.get() + 1);
    }
}

/// The range of the longest prefix that has the port in it.
fn longest<O: Copy + PartialEq>(ranges: &[Prefix<O>], key: &RangeKey<O>) -> Option<Range> {
    let cut = |port: Port, length: &u8| port.get().checked_shr(16 - u32::from(*length)).unwrap_or(0);
    let covers = |(prefix, length, _): &&Prefix<O>| {
        RangeKey { port: key.port, ..*prefix } == *key && cut(prefix.port, length) == cut(key.port, length)
    };
    ranges.iter().filter(covers).max_by_key(|(_, length, _)| *length).map(|(.., range)| *range)
}

fn of_tier<A: Stored>(memory: &Memory, tier: Tier) -> &Flows<A, TrackEntry<A>> {
    match tier {
        Tier::Opening => &A::tables(memory).opening,
        Tier::Tracked => &A::tables(memory).tracked,
    }
}

impl<A: Stored> Tables<A> for Memory {
    type Track = Rc<TrackEntry<A>>;

    fn sieve(&self, address: A) -> sieve::Cell {
        let (word, shift) = sieve::place(address);
        sieve::cell(self.sieve[word], shift)
    }

    fn rule(&self, key: &RuleKey<A>) -> Option<&Rule> {
        A::tables(self).rules.get(key)
    }

    fn range(&self, key: &RangeKey<A>) -> Option<Range> {
        longest(&A::tables(self).ranges, key)
    }

    fn address(&self, address: A) -> AddressFlags {
        A::tables(self).addresses.get(&address).copied().unwrap_or_default()
    }

    fn announced(&self, key: &AnnouncedKey<A>) -> Option<Announced> {
        A::tables(self).announced.get(key).copied()
    }

    fn allowed(&self, list: u32, source: A) -> bool {
        let covers = |(of, network, length, _): &&(u32, A, u8, u32)| {
            *of == list && network.prefix(*length) == source.prefix(*length)
        };
        let longest = A::tables(self).access.iter().filter(covers).max_by_key(|(_, _, length, _)| *length);
        longest.is_some_and(|(.., verdict)| *verdict == access::ALLOW)
    }

    fn member(&self, id: MemberId) -> Option<&Member<A>> {
        A::tables(self).members.get(&id)
    }

    fn owner(&self, address: A) -> Option<&Owner> {
        A::tables(self).owners.get(&address)
    }

    fn reverse(&self, key: &ReverseKey) -> Option<&Reverse<A>> {
        A::tables(self).reverse.get(key)
    }

    fn confirmed(&self, key: &FlowKey<A>) -> Option<Rc<FlowEntry>> {
        A::tables(self).confirmed.get(key)
    }

    fn pending(&self, key: &FlowKey<A>) -> Option<Rc<FlowEntry>> {
        A::tables(self).pending.get(key)
    }

    fn confirm(&self, key: &FlowKey<A>, entry: &FlowEntry) -> Result<(), Full> {
        A::tables(self).confirmed.insert(*key, entry.clone())
    }

    fn suspend(&self, key: &FlowKey<A>, entry: &FlowEntry) -> Result<(), Full> {
        A::tables(self).pending.insert(*key, entry.clone())
    }

    fn fragment(&self, from: Side, key: &FragmentKey<A>) -> Option<FragmentWord> {
        A::tables(self).fragments[from as usize].borrow().get(key).copied()
    }

    fn remember(&self, from: Side, key: &FragmentKey<A>, first: FragmentWord) -> Result<(), Full> {
        let mut fragments = A::tables(self).fragments[from as usize].borrow_mut();
        if fragments.len() >= FRAGMENTS as usize && !fragments.contains_key(key) {
            return Err(Full);
        }
        fragments.insert(*key, first);
        Ok(())
    }

    fn tracked(&self, tier: Tier, key: &FlowKey<A>) -> Option<Rc<TrackEntry<A>>> {
        of_tier(self, tier).get(key)
    }

    fn track(&self, tier: Tier, key: &FlowKey<A>, entry: &TrackEntry<A>, new: bool) -> Result<(), Full> {
        let tier = of_tier(self, tier);
        if new && tier.get(key).is_some() { Err(Full) } else { tier.insert(*key, entry.clone()) }
    }

    fn untrack(&self, tier: Tier, key: &FlowKey<A>) {
        of_tier(self, tier).remove(key);
    }

    fn source(&self, index: u32) -> Option<&NatSource<A>> {
        A::tables(self).sources.get(&index)
    }

    fn routes(&self, generation: u32) -> Option<&RouteTable<A>> {
        A::tables(self).compiled.get(generation as usize % ROUTE_TABLES)
    }

    fn kernel_route(&self, query: &RouteQuery<A>) -> Route {
        let tables = A::tables(self);
        let mtu = tables.narrow.get(&query.destination).copied().unwrap_or(tables.link_mtu);
        match tables.routes.get(&query.destination).copied().unwrap_or(tables.default_route) {
            Route::Hop(_) if query.length > tables.link_mtu => Route::Kernel,
            Route::Hop(_) if query.length > mtu => Route::TooBig(mtu),
            route @ (Route::Hop(_) | Route::Kernel | Route::TooBig(_) | Route::Unreachable) => route,
        }
    }
}

/// What a table of flows does with one flow too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// A plain hash: it refuses.
    Refuse,
    /// As good as least recently used, for flows that are looked up at each packet.
    EvictOldest,
}

/// A table of flows.
#[derive(Debug)]
pub struct Flows<A = Addr, E = FlowEntry> {
    capacity: usize,
    when_full: WhenFull,
    entries: RefCell<BTreeMap<FlowKey<A>, Rc<E>>>,
    order: RefCell<VecDeque<FlowKey<A>>>,
}

impl<A: Copy + Ord, E> Flows<A, E> {
    /// An empty table.
    #[must_use]
    pub fn new(capacity: usize, when_full: WhenFull) -> Self {
        Self { capacity, when_full, entries: RefCell::default(), order: RefCell::default() }
    }

    /// The flow's entry, alive even when it has been replaced since.
    #[must_use]
    pub fn get(&self, key: &FlowKey<A>) -> Option<Rc<E>> {
        self.entries.borrow().get(key).cloned()
    }

    /// Stores or replaces an entry.
    pub fn insert(&self, key: FlowKey<A>, entry: E) -> Result<(), Full> {
        let mut entries = self.entries.borrow_mut();
        let mut order = self.order.borrow_mut();
        if let Some(place) = entries.get_mut(&key) {
            *place = Rc::new(entry);
            return Ok(());
        }
        if entries.len() >= self.capacity {
            match self.when_full {
                WhenFull::Refuse => return Err(Full),
                WhenFull::EvictOldest => entries.remove(&order.pop_front().ok_or(Full)?),
            };
        }
        entries.insert(key, Rc::new(entry));
        order.push_back(key);
        Ok(())
    }

    /// Takes an entry out.
    pub fn remove(&self, key: &FlowKey<A>) {
        self.entries.borrow_mut().remove(key);
        self.order.borrow_mut().retain(|other| other != key);
    }

    /// Every entry.
    #[must_use]
    pub fn entries(&self) -> Vec<(FlowKey<A>, Rc<E>)> {
        self.entries.borrow().iter().map(|(key, entry)| (*key, Rc::clone(entry))).collect()
    }
}

impl<A: Copy + Ord> Flows<A> {
    /// Every flow with its word and sequence number.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<FlowKey<A>, (FlowWord, u32)> {
        let entries = self.entries.borrow();
        entries.iter().map(|(key, entry)| (*key, (entry.word(), entry.member_seq()))).collect()
    }
}
