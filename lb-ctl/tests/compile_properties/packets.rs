//! Sample packets through the native pipeline, over maps in the middle of a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lb_common::abi::{AddressFlags, Range, RangeKey, access};
use lb_common::outcome::NextHop;
use lb_common::parse::TcpFlags;
use lb_common::pipeline;
use lb_common::reason::{Action, Reason};
use lb_common::tables::Route;
use lb_common::testkit::frame::{tcp, udp};
use lb_common::testkit::{Bytes, Flows, Frame, Memory, WhenFull};
use lb_ctl::compile::{Ranges, Service};
use lb_ctl::dataplane::Change;
use lb_ctl::plan;
use lb_ctl::state::{FamilyState, MapState, PortPrefix};

use super::files::{BACKEND_PORTS, FRONTENDS, MEMBERS, PORTS};

/// Maps that change write by write, as the kernel's do.
pub(crate) struct Walk {
    maps: MapState,
    memory: Memory,
}

impl Walk {
    pub(crate) fn from(maps: &MapState) -> Self {
        let mut memory = Memory::default();
        memory.sieve = maps.sieve();
        memory.v4.default_route = Route::Hop(NextHop::new(9, [0; 6], [0; 6]));
        for (base, ring) in &maps.rings {
            memory.slots.extend((*base..).zip(ring.iter().copied()));
        }
        let mut walk = Self { maps: maps.clone(), memory };
        walk.copy();
        walk
    }

    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Sieve(words) => self.memory.sieve.clone_from(words),
            Change::Ring(base, ring) => self.memory.slots.extend((*base..).zip(ring.iter().copied())),
            Change::NewStats(_) => {}
            Change::Root(_)
            | Change::Rule(..)
            | Change::Address(..)
            | Change::Announced(..)
            | Change::Access(..)
            | Change::Health(..)
            | Change::Member(..)
            | Change::Owner(..)
            | Change::Reverse(..)
            | Change::Range(..)
            | Change::ReverseRange(..)
            | Change::Source(..)
            | Change::Routes(..) => {
                plan::apply(&mut self.maps, change);
                self.copy();
            }
        }
    }

    fn copy(&mut self) {
        let FamilyState { rules, ranges, addresses, announced, access, members, owners, reverse, sources } =
            self.maps.of_family();
        let v4 = &mut self.memory.v4;
        (v4.rules, v4.addresses, v4.announced, v4.access) = (rules, addresses, announced, access);
        (v4.members, v4.owners, v4.reverse, v4.sources) = (members, owners, reverse, sources);
        v4.compiled = self.maps.routes;
        v4.ranges = prefixes(&ranges);
        self.memory.reverse_ranges = prefixes(&self.maps.reverse_ranges);
        self.memory.root = self.maps.root;
        self.memory.health.clone_from(&self.maps.health);
    }

    /// Frontends that are answered for although no rule is in force.
    pub(crate) fn empty_promises(&self) -> Vec<IpAddr> {
        let rules: BTreeSet<_> = self.maps.rules_in_force().map(|(key, _)| key.address).collect();
        let answered = self.maps.announced.keys().map(|key| key.address);
        answered.filter(|address| !rules.contains(address)).collect()
    }

    /// What becomes of a packet that no exception is known of.
    fn outcome(&mut self, frame: &Frame) -> Outcome {
        self.memory.v4.confirmed = Flows::new(8, WhenFull::Refuse);
        self.memory.v4.pending = Flows::new(8, WhenFull::EvictOldest);
        let mut bytes = Bytes::new(frame.bytes(), 1);
        let outcome = pipeline::all(&mut bytes, &self.memory, 1_000_000);
        (outcome.reason, bytes.frame)
    }
}

fn prefixes<O: Copy>(ranges: &BTreeMap<PortPrefix<O>, Range>) -> Vec<(RangeKey<O>, u8, Range)> {
    ranges.iter().map(|(PortPrefix { key, length }, range)| (*key, *length, *range)).collect()
}

/// Why, and the frame afterwards.
type Outcome = (Reason, Vec<u8>);

/// Packets to every frontend port, from every member's port, and past us to members.
pub(crate) struct Packets {
    frames: Vec<(String, Frame)>,
    /// Frontends that one side only has.
    in_between: BTreeSet<IpAddr>,
    /// Services that the new side lacks.
    leaving: BTreeSet<Service>,
    /// Services that both sides have.
    staying: BTreeSet<Service>,
    /// Those of the old side.
    ranges: Ranges,
}

impl Packets {
    pub(crate) fn of(old: &MapState, new: &MapState) -> Self {
        let mut frames = Vec::new();
        for frontend in FRONTENDS {
            for port in PORTS {
                let to = format!("203.0.113.{frontend}:{port}");
                for client in
                    ["198.51.101.7:40000", "198.51.102.7:40001", "192.0.2.1:40002", "192.0.2.2:40003"]
                {
                    frames.push((format!("SYN {client} > {to}"), tcp(client, &to).flags(TcpFlags::SYN)));
                    frames.push((format!("ACK {client} > {to}"), tcp(client, &to)));
                    frames.push((format!("UDP {client} > {to}"), udp(client, &to)));
                }
            }
        }
        for member in MEMBERS {
            for port in BACKEND_PORTS {
                let from = format!("10.0.1.{member}:{port}");
                let client = "192.0.2.1:40002";
                frames.push((format!("ACK {from} > {client}"), tcp(&from, client)));
                frames.push((
                    format!("SYN-ACK {from} > {client}"),
                    tcp(&from, client).flags(TcpFlags::SYN | TcpFlags::ACK),
                ));
                frames.push((format!("UDP {from} > {client}"), udp(&from, client)));
                frames.push((format!("ACK {client} > {from}"), tcp(client, &from)));
            }
        }
        let frontends = |maps: &MapState| -> BTreeSet<IpAddr> {
            let flagged = maps.addresses.iter().filter(|(_, flags)| flags.has(AddressFlags::FRONTEND));
            flagged.map(|(address, _)| *address).collect()
        };
        let services = |maps: &MapState| super::services(maps);
        Self {
            frames,
            in_between: frontends(old).symmetric_difference(&frontends(new)).copied().collect(),
            leaving: services(old).difference(&services(new)).copied().collect(),
            staying: services(old).intersection(&services(new)).copied().collect(),
            ranges: Ranges::of(old),
        }
    }

    pub(crate) fn outcomes(&self, maps: &MapState) -> Vec<Outcome> {
        self.run(&mut Walk::from(maps))
    }

    pub(crate) fn run(&self, walk: &mut Walk) -> Vec<Outcome> {
        self.frames.iter().map(|(_, frame)| walk.outcome(frame)).collect()
    }

    /// Each packet fares as on the old side or as on the new one; but for packets to a frontend
    /// that is coming or going, which may be dropped, and UDP replies of a service that goes.
    pub(crate) fn check(&self, now: &[Outcome], old: &[Outcome], new: &[Outcome], when: &str) {
        for (((name, _), now), (old, new)) in self.frames.iter().zip(now).zip(old.iter().zip(new)) {
            let between_frontends = now.0 == Reason::NoRule && self.in_between.contains(&destination(&now.1));
            let leaves = now.0 == Reason::UdpNotReply
                && old.0 == Reason::ReplyToClient
                && self.leaving.contains(&self.sender(&old.1));
            let excused = between_frontends || leaves;
            assert!(
                same(now, old) || same(now, new) || excused,
                "{when}: {name}: {:?}, neither {:?} as before nor {:?} as after",
                described(now),
                described(old),
                described(new)
            );
            if old.0 == Reason::ReplyToClient && new.0 == Reason::ReplyToClient && old.1 == new.1 {
                assert!(!self.staying.contains(&self.sender(&old.1)) || now == old, "{when}: {name}");
            }
        }
    }
}

impl Packets {
    /// The service of the old side that a reply says that it comes from.
    fn sender(&self, frame: &[u8]) -> Service {
        let exact = sender(frame);
        let there = self.leaving.contains(&exact) || self.staying.contains(&exact);
        if there { exact } else { self.ranges.serving(exact).unwrap_or(exact) }
    }
}

/// The service that a reply says that it comes from, as one of a single port.
fn sender(frame: &[u8]) -> Service {
    let port = lb_common::units::Port::from_wire([frame[34], frame[35]]);
    Service { address: word(frame, 26), port, protocol: frame[23] }
}

/// The same fate; who passes untouched may do so for another reason.
fn same(one: &Outcome, other: &Outcome) -> bool {
    one == other || one.1 == other.1 && [one.0, other.0].iter().all(|reason| reason.action() == Action::Pass)
}

fn word(frame: &[u8], at: usize) -> IpAddr {
    [frame[at], frame[at + 1], frame[at + 2], frame[at + 3]].into()
}

fn destination(frame: &[u8]) -> IpAddr {
    word(frame, 30)
}

fn described((reason, frame): &Outcome) -> String {
    let socket = |address: usize, port: usize| {
        format!("{}:{}", word(frame, address), u16::from_be_bytes([frame[port], frame[port + 1]]))
    };
    format!("{} {} > {}", reason.name(), socket(26, 34), socket(30, 36))
}

/// What packets meet, but not where it lies: regions, groups, lists and numbers follow the order
/// of the file; labels do not.
pub(crate) fn regardless_of_places(maps: &MapState) -> String {
    let mut lines = BTreeSet::new();
    for (key, rule) in maps.rules_in_force() {
        let ring = (rule.current.ring_size != 0).then(|| &maps.rings[&rule.current.ring_base]);
        let accepting: Vec<_> =
            maps.members.keys().filter(|label| maps.accepts(&rule.current, **label)).collect();
        let access: Vec<_> = maps
            .access
            .iter()
            .filter(|(entry, _)| entry.list == rule.list())
            .map(|(entry, verdict)| (entry.address, entry.length, *verdict))
            .collect();
        let (port, mode, life) = (rule.current.port, rule.current.mode, rule.life);
        lines.insert(format!(
            "{key:?} {port:?} {mode} {life} {ring:?} {accepting:?} {:?} {access:?}",
            (rule.list().min(access::FIRST_LIST), rule.access & access::NEW_FLOWS)
        ));
    }
    for (address, owner) in &maps.owners {
        for (key, reverse) in maps.reverse.iter().filter(|(key, _)| key.group == owner.group) {
            let to = (reverse.address, reverse.port, reverse.life);
            lines.insert(format!("{address:?} {:?} {:?}/{} {to:?}", owner.member, key.port, key.protocol));
        }
    }
    lines.insert(format!("{:?} {:?} {:?}", maps.addresses, maps.members, maps.root));
    lines.into_iter().collect::<Vec<_>>().join("\n")
}

/// The sample says what it is thought to say.
#[test]
fn a_sample_is_read_where_it_is_written() {
    let frame = tcp("10.0.1.1:8080", "192.0.2.1:40002").bytes();
    assert_eq!(destination(&frame), IpAddr::from([192, 0, 2, 1]));
    assert_eq!((sender(&frame).address, sender(&frame).port.get()), ([10, 0, 1, 1].into(), 8080));
}
