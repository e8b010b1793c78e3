//! The pipeline as plain Rust.

use std::collections::BTreeMap;

use lb_common::abi::{Counter, FlowEntry, FlowKey, FlowWord, RuleStats};
use lb_common::outcome::{Account, Direction, NextHop};
use lb_common::pipeline;
use lb_common::reason::{Action, Event};
use lb_common::tables::{Route, Shared as _};
use lb_common::testkit::{Bytes, Flows, Memory, WhenFull};
use lb_common::units::{MemberId, Tick};
use lb_ctl::state::MapState;

use super::case::{Executor, FlowTables};
use super::expect::{Seen, Verdict};
use super::world::{CLIENT_LINK, MEMBERS, MTU, World, address, member};

/// Some moment: the worlds' clocks stand still.
const JIFFIES: u64 = 0x1_2345_6789;

pub(crate) struct Native {
    pub(crate) tables: Memory,
}

impl Native {
    pub(crate) fn new(world: &World) -> Self {
        let pending = match world.pending_room {
            Some(room) => Flows::new(room as usize, WhenFull::Refuse),
            None => Flows::new(1024, WhenFull::EvictOldest),
        };
        let mut tables = Memory::default();
        tables.v4.confirmed = Flows::new(world.confirmed_room as usize, WhenFull::Refuse);
        tables.v4.pending = pending;
        tables.v4.route_mtu = MTU;
        tables.v4.default_route = client_hop();
        for label in MEMBERS {
            tables.v4.routes.insert(member(label).address, Route::Hop(next_hop(label)));
        }
        tables.v4.routes.insert(address("198.51.100.77:0"), Route::Kernel);
        tables.v4.routes.insert(address("10.0.3.99:0"), Route::Kernel);
        tables.v4.routes.insert(address("192.0.2.200:0"), Route::Unreachable);
        for (bucket, mark) in &world.marks {
            tables.set_mark(*bucket, *mark);
        }
        fill(&tables.v4.confirmed, &world.confirmed);
        fill(&tables.v4.pending, &world.pending);
        let mut native = Self { tables };
        native.write(&world.map);
        native
    }
}

fn client_hop() -> Route {
    Route::Hop(NextHop::new(CLIENT_LINK, [2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]))
}

fn next_hop(label: u16) -> NextHop {
    let member = member(label);
    NextHop::new(member.ifindex, member.destination, member.source)
}

fn fill(table: &Flows, flows: &BTreeMap<FlowKey, (FlowWord, u32)>) {
    for (key, (word, seq)) in flows {
        table.insert(*key, FlowEntry::new(*word, *seq)).unwrap();
    }
}

impl Executor for Native {
    fn write(&mut self, map: &MapState) {
        let tables = &mut self.tables;
        tables.root = map.root;
        tables.v4.rules = map.rules.clone();
        tables.v4.addresses = map.addresses.clone();
        tables.v4.access =
            map.access.iter().map(|(e, verdict)| (e.list, e.address, e.length, *verdict)).collect();
        for (base, ring) in &map.rings {
            tables.slots.extend((*base..).zip(ring.iter().copied()));
        }
        tables.health = map.health.clone();
        tables.v4.members = map.members.clone();
        tables.v4.owners = map.owners.clone();
        tables.v4.reverse = map.reverse.clone();
        tables.sieve = map.sieve();
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
                Action::Forward if outcome.egress == ingress => Verdict::Transmit,
                Action::Forward => Verdict::Redirect,
            },
            reasons: BTreeMap::from([(outcome.reason, counter)]),
            events: events.filter(|(_, count)| *count > 0).collect(),
            rules,
            opened,
            frame: window.frame,
        }
    }

    fn wait(&mut self, ticks: u32) {
        let flows = self.flows();
        let older = |(word, seq): (FlowWord, u32)| {
            FlowEntry::new(word.at(Tick::new(word.tick().get().wrapping_sub(ticks))), seq)
        };
        for (key, entry) in flows.confirmed {
            self.tables.v4.confirmed.insert(key, older(entry)).unwrap();
        }
        for (key, entry) in flows.pending {
            self.tables.v4.pending.insert(key, older(entry)).unwrap();
        }
    }

    fn flows(&mut self) -> FlowTables {
        FlowTables {
            confirmed: self.tables.v4.confirmed.snapshot(),
            pending: self.tables.v4.pending.snapshot(),
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
