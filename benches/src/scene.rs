//! The configuration that packets meet: 64 services, one of them measured, 128 members.

use std::{net::Ipv4Addr, sync::Arc};

use anyhow::{Context as _, Result};
use lb_common::{
    abi::{
        ABI_VERSION, AddressFlags, Forwarding, HEALTH_BITS, Owner, RANGE, Range, RangeKey, ReverseKey, Root,
        RoutePrefix, RouteTable, Rule, View, access,
    },
    parse::{TCP, UDP},
    units::{Addr, MemberId, Port},
};
use lb_ctl::{
    compile::{
        cut,
        ring::{self, RingKey},
    },
    state::{AccessEntry, MapState, Member, Reverse, RuleKey, Stored as _},
};
use lb_tests::lab::{BALANCER, CLIENT, CLIENT_LINK, Lab};
use nix::net::if_::if_nametoindex;
use rtnetlink::packet_route::neighbour::NeighbourState;

/// One is measured at a time; the others fill the tables.
const SERVICES: u8 = 64;
/// A whole /25 of them.
const MEMBERS: u16 = 128;
const RING: u32 = 65_537;
const KEY: [u64; 2] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344];
/// Prefixes in the access list.
const PREFIXES: u16 = 1_024;

/// A network of clients whose routes the kernel is asked for: 100.64.0.0/10.
pub(crate) const FIB: [u8; 4] = [100, 64, 0, 0];

pub(crate) const FRONTEND_PORT: u16 = 80;
pub(crate) const MEMBER_PORT: u16 = 8080;
const RANGE_PORTS: std::ops::Range<u16> = 10_000..20_000;

/// Services that differ from the plain ones, by their number.
pub(crate) const PLAIN: u8 = 0;
pub(crate) const LISTED: u8 = 1;
pub(crate) const MOVING: u8 = 2;

pub(crate) struct Scene {
    pub(crate) state: MapState,
    pub(crate) client_side: u32,
    pub(crate) member_side: u32,
    /// Hardware address of the client's gateway side.
    pub(crate) client_mac: [u8; 6],
}

impl Scene {
    /// Inside the balancer's namespace.
    pub(crate) fn new(lab: &Lab) -> Result<Self> {
        let client_side = index_of(CLIENT_LINK)?;
        let member_side = index_of(lab.backends()[0].name())?;
        permanent_neighbour(client_side, CLIENT, lab.client_mac())?;
        let mut state = state(member_side);
        let gateway = RoutePrefix {
            ifindex: client_side,
            mtu: 1500,
            destination: lab.client_mac(),
            source: lab.gateway_mac(),
            ..RoutePrefix::default()
        };
        state.routes = [routes(gateway); 2];
        Ok(Self { state, client_side, member_side, client_mac: lab.client_mac() })
    }
}

pub(crate) fn frontend(service: u8) -> Addr {
    Addr::from_wire([203, 0, 113, 1 + service])
}

pub(crate) fn member(number: u16) -> Addr {
    let [high, low] = number.to_be_bytes();
    Addr::from_wire([10, 0, 1 + high, 11 + low])
}

pub(crate) fn members() -> u16 {
    MEMBERS
}

fn state(member_side: u32) -> MapState {
    let mut state = MapState {
        // Ticks of 256 ms at 1000 Hz; lives in ticks and, of marks, in seconds.
        root: Root {
            hash_key: KEY,
            abi_version: ABI_VERSION,
            epoch: 1,
            tick_shift: 8,
            mark_life: 9_000,
            handshake_life: 240,
            closed_life: 40,
            half_closed_life: 1_200,
            routes: 0,
            reserved: [0; 4],
        },
        ..MapState::default()
    };
    add_members(&mut state, member_side);
    add_services(&mut state);
    state.addresses.insert(BALANCER.into(), AddressFlags::OWN);
    state
}

/// As `lbctl` compiles them for this lab: its own networks are left to the kernel, the rest goes by the gateway.
/// [`FIB`] is left to it as well, to be measured.
fn routes(gateway: RoutePrefix) -> RouteTable {
    let left = |network, mask: u32| RoutePrefix {
        network: Addr::from_wire(network),
        mask: Addr::from_wire(mask.to_be_bytes()),
        ..RoutePrefix::default()
    };
    let mut routes = RouteTable { used: 5, ..RouteTable::default() };
    routes.prefixes[..5].copy_from_slice(&[
        left([198, 51, 100, 0], 0xffff_ff00),
        left([10, 0, 1, 0], 0xffff_ff00),
        left(FIB, 0xffc0_0000),
        left([127, 0, 0, 0], 0xff00_0000),
        gateway,
    ]);
    for (place, prefix) in (0..).zip(&mut routes.prefixes) {
        prefix.place = place;
    }
    routes
}

fn add_members(state: &mut MapState, member_side: u32) {
    for number in 0..MEMBERS {
        let id = MemberId(number + 1);
        let [high, low] = number.to_be_bytes();
        let way = Member {
            address: member(number).ip(),
            apart: [0xff; 4].into(),
            ifindex: member_side,
            destination: [2, 0, 0, 1, high, low],
            source: [2, 0, 0, 0, 1, 1],
            mtu: 1500,
            present: 1,
            forwarding: Forwarding::Nat as u8,
            sources: 0,
        };
        state.members.insert(id, way);
        state.owners.insert(way.address, Owner { group: 1, member: id, flags: 0 });
    }
    // Every member accepts; labels begin at 1.
    for label in 1..=u32::from(MEMBERS) {
        *state.health.entry(label / HEALTH_BITS).or_default() |= 1 << (label % HEALTH_BITS);
    }
    state.rings.insert(0, Arc::new(ring(MEMBERS)));
    // Before the change: without the last member, so that 1 % of the flows are exceptions.
    state.rings.insert(RING.next_multiple_of(4), Arc::new(ring(MEMBERS - 1)));
}

fn ring(members: u16) -> Vec<MemberId> {
    let members: Vec<_> = (0..members)
        .map(|number| {
            let address = member(number).ip();
            ring::Member { address, weight: 1, id: number + 1 }
        })
        .collect();
    ring::build(RingKey([7; 16]), &members, RING).into_iter().map(MemberId).collect()
}

fn add_services(state: &mut MapState) {
    let view = View {
        ring_base: 0,
        ring_size: RING,
        health_base: 0,
        health_skip: 0,
        health_words: MEMBERS / 64 + 1,
        port: Port::new(MEMBER_PORT),
        mode: 0,
        present: 1,
    };
    let old = View { ring_base: RING.next_multiple_of(4), ..view };
    for service in 0..SERVICES {
        let rule = Rule {
            current: view,
            old: if service == MOVING { old } else { View::default() },
            life: 32_400,
            stats: u32::from(service),
            access: if service == LISTED { access::FIRST_LIST } else { access::OPEN },
            flags: 0,
        };
        for protocol in [TCP, UDP] {
            if protocol == TCP || service == PLAIN {
                let (address, port) = (frontend(service).ip(), Port::new(FRONTEND_PORT));
                state.rules.insert(RuleKey { address, port, protocol, epoch: 1 }, rule);
            }
        }
        state.addresses.insert(frontend(service).ip(), AddressFlags::FRONTEND);
    }
    let reverse = Reverse {
        address: frontend(PLAIN).ip(),
        port: Port::new(FRONTEND_PORT),
        last: Port::new(FRONTEND_PORT),
        flags: 0,
        reserved: 0,
        stats: u32::from(PLAIN),
        life: 32_400,
    };
    for protocol in [TCP, UDP] {
        let key = ReverseKey { group: 1, port: Port::new(MEMBER_PORT), protocol, reserved: 0 };
        state.reverse.insert(key, reverse);
    }
    add_ranges(state);
    add_access(state);
}

/// A range of each service, which its members have as well: 10000-19999.
fn add_ranges(state: &mut MapState) {
    let range = Range { first: Port::new(RANGE_PORTS.start), last: Port::new(RANGE_PORTS.end - 1) };
    for service in 0..SERVICES {
        let address = frontend(service).ip();
        let exact = RuleKey { address, port: Port::new(FRONTEND_PORT), protocol: TCP, epoch: 1 };
        let mut rule = state.rules[&exact];
        rule.current.port = range.first;
        state.rules.insert(RuleKey { port: range.first, protocol: TCP | RANGE, ..exact }, rule);
        let first = RangeKey { of: address, protocol: TCP, epoch: 1, port: range.first };
        state.ranges.extend(cut(first, range.last));
        state.addresses.insert(address, AddressFlags::FRONTEND.with(AddressFlags::WIDE));
    }
    let exact = ReverseKey { group: 1, port: Port::new(MEMBER_PORT), protocol: TCP, reserved: 0 };
    let reverse = Reverse { port: range.first, last: range.last, ..state.reverse[&exact] };
    state.reverse.insert(ReverseKey { port: range.first, protocol: TCP | RANGE, ..exact }, reverse);
    let first = RangeKey { of: 1, protocol: TCP, epoch: 0, port: range.first };
    state.reverse_ranges.extend(cut(first, range.last));
    state.owners.values_mut().for_each(|owner| owner.flags = Owner::RANGES);
}

/// A port of the ranges.
pub(crate) fn in_range(random: &mut fastrand::Rng) -> Port {
    Port::new(random.u16(RANGE_PORTS))
}

/// A list of many prefixes, among them all that the clients come from: 198.18.0.0/15 in /25s.
fn add_access(state: &mut MapState) {
    for number in 0..PREFIXES {
        let [high, low] = (number << 6).to_be_bytes();
        let address = Addr::from_wire([198, 18 + (number >> 9) as u8, high << 1 | low >> 7, low << 1]);
        let entry = AccessEntry { list: access::FIRST_LIST, address: address.ip(), length: 25 };
        state.access.insert(entry, access::ALLOW);
    }
}

fn index_of(name: &str) -> Result<u32> {
    if_nametoindex(name).with_context(|| format!("find the interface {name}"))
}

/// So that the kernel's answer to a route look-up does not depend on time.
fn permanent_neighbour(ifindex: u32, address: Ipv4Addr, mac: [u8; 6]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        handle
            .neighbours()
            .add(ifindex, address.into())
            .link_layer_address(&mac)
            .state(NeighbourState::Permanent)
            .replace()
            .execute()
            .await
            .with_context(|| format!("set the neighbour {address}"))
    })
}
