//! The pipeline as plain Rust.

use std::collections::BTreeMap;

use lb_common::abi::{
    Counter, FlowEntry, FlowWord, FragmentWord, IcmpState, Range, RangeKey, RuleStats, TrackEntry,
};
use lb_common::outcome::{Account, Direction, NextHop};
use lb_common::pipeline;
use lb_common::reason::{Action, Event};
use lb_common::tables::{Route, Shared as _};
use lb_common::testkit::frame::twin;
use lb_common::testkit::{Bytes, FamilyMemory, Flows, Memory, WhenFull};
use lb_common::units::{MemberId, Tick};
use lb_ctl::state::{FamilyState, FlowKey, MapState, PortPrefix, Stored};

use super::case::{Executor, FlowTables, Track};
use super::expect::{Seen, Verdict};
use super::world::{
    CLIENT_LINK, MEMBERS, MTU, NARROW, NARROW_MTU, NEIGHBOUR, World, address, member, member_socket,
};

/// Some moment: the worlds' clocks stand still.
const JIFFIES: u64 = 0x1_2345_6789;

pub(crate) struct Native {
    pub(crate) tables: Memory,
}

impl Native {
    pub(crate) fn new(world: &World) -> Self {
        let mut tables = Memory::default();
        tables.v4 = family(world);
        tables.v6 = family(world);
        tables.set_icmp(IcmpState { answers: world.answers, ..IcmpState::default() });
        for (bucket, mark) in world.marks() {
            tables.set_mark(bucket, mark);
        }
        let mut native = Self { tables };
        native.write(&world.map);
        native
    }
}

/// The flow tables and routes of one family.
fn family<A: Stored>(world: &World) -> FamilyMemory<A> {
    let mut tables = FamilyMemory {
        confirmed: Flows::new(world.confirmed_room as usize, WhenFull::Refuse),
        pending: match world.pending_room {
            Some(room) => Flows::new(room as usize, WhenFull::Refuse),
            None => Flows::new(1024, WhenFull::EvictOldest),
        },
        link_mtu: MTU,
        default_route: client_hop(),
        ..FamilyMemory::default()
    };
    let mut route = |socket: &str, route| {
        let address = address(socket);
        tables.routes.extend(
            [address, twin(address)].map(|address| Some((A::of(address)?, route))).into_iter().flatten(),
        );
    };
    for label in MEMBERS {
        route(&member_socket(label, 0), Route::Hop(next_hop(label)));
    }
    route("198.51.100.77:0", Route::Kernel);
    route("10.0.3.99:0", Route::Kernel);
    route(NEIGHBOUR, Route::Hop(next_hop(1)));
    route("192.0.2.200:0", Route::Unreachable);
    for (_, host) in NARROW {
        let address = address(host);
        let addresses = [address, twin(address)].into_iter().filter_map(A::of);
        tables.narrow.extend(addresses.map(|address| (address, NARROW_MTU)));
    }
    fill(&tables.confirmed, &world.confirmed);
    fill(&tables.pending, &world.pending);
    tables
}

fn client_hop() -> Route {
    Route::Hop(NextHop::new(CLIENT_LINK, [2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]))
}

fn next_hop(label: u16) -> NextHop {
    let member = member(label);
    NextHop::new(member.ifindex, member.destination, member.source)
}

fn fill<A: Stored>(table: &Flows<A>, flows: &BTreeMap<FlowKey, (FlowWord, u32)>) {
    for (key, (word, seq)) in flows {
        if let (Some(peer), Some(local)) = (A::of(key.peer), A::of(key.local)) {
            table.insert(key.between(peer, local), FlowEntry::new(*word, *seq)).unwrap();
        }
    }
}

fn write<A: Stored>(tables: &mut FamilyMemory<A>, map: &MapState) {
    let FamilyState { rules, ranges, addresses, announced, access, members, owners, reverse, sources } =
        map.of_family();
    (tables.rules, tables.addresses, tables.access) = (rules, addresses, access);
    tables.ranges = prefixes(&ranges);
    tables.announced = announced;
    (tables.members, tables.owners, tables.reverse, tables.sources) = (members, owners, reverse, sources);
}

fn prefixes<O: Copy>(ranges: &BTreeMap<PortPrefix<O>, Range>) -> Vec<(RangeKey<O>, u8, Range)> {
    ranges.iter().map(|(PortPrefix { key, length }, range)| (*key, *length, *range)).collect()
}

/// As if so many ticks had gone by.
pub(super) fn aged(word: FragmentWord, ticks: u32) -> FragmentWord {
    let age = u32::from(word.age(Tick::new(0)));
    let then = Tick::new(age.wrapping_add(ticks).wrapping_neg());
    FragmentWord::new(word.source_port(), word.destination_port(), word.member(), then)
}

fn older_fragments<A: Stored>(tables: &FamilyMemory<A>, ticks: u32) {
    for side in &tables.fragments {
        side.borrow_mut().values_mut().for_each(|word| *word = aged(*word, ticks));
    }
}

fn older<A: Stored>(table: &Flows<A>, ticks: u32) {
    for (key, (word, seq)) in table.snapshot() {
        let word = word.at(Tick::new(word.tick().get().wrapping_sub(ticks)));
        table.insert(key, FlowEntry::new(word, seq)).unwrap();
    }
}

fn snapshot<A: Stored>(table: &Flows<A>) -> impl Iterator<Item = (FlowKey, (FlowWord, u32))> {
    let flows = table.snapshot().into_iter();
    flows.map(|(key, flow)| (key.between(key.peer.ip(), key.local.ip()), flow))
}

fn older_tracks<A: Stored>(tables: &FamilyMemory<A>, ticks: u32) {
    for (_, entry) in tables.opening.entries().into_iter().chain(tables.tracked.entries()) {
        let word = entry.flow.word();
        entry.flow.replace(word, word.at(Tick::new(word.tick().get().wrapping_sub(ticks))));
    }
}

fn tracks<A: Stored>(tier: &Flows<A, TrackEntry<A>>) -> impl Iterator<Item = (FlowKey, Track)> {
    tier.entries().into_iter().map(|(key, entry)| {
        let to = entry.to.between(entry.to.source.ip(), entry.to.destination.ip());
        (key.between(key.peer.ip(), key.local.ip()), (entry.flow.word(), entry.flow.member_seq(), to))
    })
}

impl Executor for Native {
    fn write(&mut self, map: &MapState) {
        let tables = &mut self.tables;
        tables.root = map.root;
        write(&mut tables.v4, map);
        write(&mut tables.v6, map);
        for (base, ring) in &map.rings {
            tables.slots.extend((*base..).zip(ring.iter().copied()));
        }
        tables.health = map.health.clone();
        tables.v4.compiled = map.routes;
        tables.sieve = map.sieve();
        tables.reverse_ranges = prefixes(&map.reverse_ranges);
    }

    fn run(&mut self, frame: &[u8], ingress: u32) -> Seen {
        let before: Vec<u64> = Event::ALL.iter().map(|event| self.tables.events(*event)).collect();
        let mut window = Bytes::new(frame.to_vec(), ingress);
        let outcome = pipeline::all(&mut window, &self.tables, JIFFIES);
        let counter = Counter { packets: 1, bytes: frame.len() as u64 };
        let events = Event::ALL.iter().zip(before);
        let events = events.map(|(event, before)| (*event, self.tables.events(*event) - before));
        let (rules, opened) = account(outcome.account, counter);
        Seen {
            verdict: match outcome.reason.action() {
                Action::Drop => Verdict::Drop,
                Action::Pass => Verdict::Pass,
                Action::Forward | Action::Answer => Verdict::Redirect,
            },
            reasons: BTreeMap::from([(outcome.reason, counter)]),
            events: events.filter(|(_, count)| *count > 0).collect(),
            rules,
            opened,
            frame: window.frame,
        }
    }

    fn wait(&mut self, ticks: u32) {
        older(&self.tables.v4.confirmed, ticks);
        older(&self.tables.v4.pending, ticks);
        older(&self.tables.v6.confirmed, ticks);
        older(&self.tables.v6.pending, ticks);
        older_fragments(&self.tables.v4, ticks);
        older_fragments(&self.tables.v6, ticks);
        older_tracks(&self.tables.v4, ticks);
        older_tracks(&self.tables.v6, ticks);
    }

    fn flows(&mut self) -> FlowTables {
        let (v4, v6) = (&self.tables.v4, &self.tables.v6);
        FlowTables {
            confirmed: snapshot(&v4.confirmed).chain(snapshot(&v6.confirmed)).collect(),
            pending: snapshot(&v4.pending).chain(snapshot(&v6.pending)).collect(),
            opening: tracks(&v4.opening).chain(tracks(&v6.opening)).collect(),
            tracked: tracks(&v4.tracked).chain(tracks(&v6.tracked)).collect(),
            marks: self.tables.marks(),
        }
    }
}

fn account(account: Option<Account>, counter: Counter) -> (BTreeMap<u32, RuleStats>, BTreeMap<u16, u64>) {
    let Some(Account { stats, direction }) = account else { return Default::default() };
    let (stats_of_rule, opened) = match direction {
        Direction::Inbound { opened } => {
            (RuleStats { inbound: counter, opened: u64::from(opened != 0), ..RuleStats::default() }, opened)
        }
        Direction::Reply => (RuleStats { replies: counter, ..RuleStats::default() }, 0),
    };
    let opened = [(opened, 1)].into_iter().filter(|(label, _)| MemberId(*label) != MemberId::NONE);
    (BTreeMap::from([(stats, stats_of_rule)]), opened.collect())
}
