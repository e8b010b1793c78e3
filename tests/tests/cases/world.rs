//! The maps that a case begins with, in the words of a case.
//!
//! The clock stands still: `tick_shift` is 63, so that now is tick 0 in the kernel too, and every
//! entry says how old it is.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use lb_common::abi::{
    ABI_VERSION, AddressFlags, Announced, FlowWord, Forwarding, MARK_BITS, Owner, Root, RoutePrefix,
    RouteTable, Rule, View, access,
};
use lb_common::hash;
use lb_common::testkit::frame::twin;
use lb_common::units::{Addr, Addr6, MemberId, Port};
use lb_ctl::state::{AccessEntry, AnnouncedKey, FlowKey, MapState, Member, Stored as _, routes_place};

use super::exception::{Exception, flow};
pub(crate) use super::family::Family;
pub(crate) use super::service::{ADMIN, DNS, SERVICES, Service, WEB};

/// Lives in ticks.
pub(crate) const LIFE: u32 = 1000;
pub(crate) const HANDSHAKE_LIFE: u32 = 60;
pub(crate) const HALF_CLOSED_LIFE: u32 = 200;
pub(crate) const CLOSED_LIFE: u32 = 20;
/// In coarse ticks.
pub(crate) const MARK_LIFE: u16 = 250;

/// Index of the interface towards the client; member n has the n-th after it.
pub(crate) const CLIENT_LINK: u32 = 100;
/// Our hardware address on the client's link, and the client's.
pub(crate) const US: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const SENDER: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(crate) const MTU: u16 = 1500;
/// Hosts behind a link that takes less, on the side of the clients and on that of member 3.
pub(crate) const NARROW: [(u32, &str); 2] =
    [(CLIENT_LINK, "198.51.100.66:40000"), (CLIENT_LINK + 3, "10.0.3.66:8080")];
pub(crate) const NARROW_MTU: u16 = 1400;
/// A host on the link of member 1, which answers in its place.
pub(crate) const NEIGHBOUR: &str = "10.0.1.50:40000";

pub(crate) const CLIENT: &str = "198.51.100.2:40000";
pub(crate) const MEMBERS: [u16; 3] = [1, 2, 3];
pub(super) const GROUP: u32 = 7;
pub(super) const HEALTH_BASE: u32 = 5;

/// Everything that a case begins with.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) map: MapState,
    pub(crate) confirmed: BTreeMap<FlowKey, (FlowWord, u32)>,
    pub(crate) pending: BTreeMap<FlowKey, (FlowWord, u32)>,
    /// Peers that are marked: address, port, protocol.
    marks: BTreeMap<(IpAddr, Port, u8), u16>,
    /// Answers by ICMP that every processor has given in this tick.
    pub(crate) answers: u32,
    /// Flows that `confirmed` has room for.
    pub(crate) confirmed_room: u32,
    /// Flows that `pending` has room for and then refuses; it forgets the oldest otherwise.
    pub(crate) pending_room: Option<u32>,
}

impl World {
    /// Three members that accept; every slot names the first.
    pub(crate) fn lab() -> Self {
        let mut map = MapState {
            root: Root {
                hash_key: [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210],
                abi_version: ABI_VERSION,
                epoch: 3,
                tick_shift: 63,
                mark_life: MARK_LIFE.into(),
                handshake_life: HANDSHAKE_LIFE,
                closed_life: CLOSED_LIFE,
                half_closed_life: HALF_CLOSED_LIFE,
                routes: 0,
                reserved: [0; 4],
            },
            ..MapState::default()
        };
        for service in SERVICES {
            service.enter(&mut map);
        }
        let own = AddressFlags::OWN;
        map.addresses.insert(address("198.51.100.1:0"), own.with(AddressFlags::FRONTEND));
        map.addresses.insert(address("10.0.1.1:0"), own);
        for label in MEMBERS {
            map.members.insert(MemberId(label), member(label));
            let owner = Owner { group: GROUP, member: MemberId(label), flags: 0 };
            map.owners.insert(member(label).address, owner);
        }
        let world = Self {
            map,
            confirmed: BTreeMap::new(),
            pending: BTreeMap::new(),
            marks: BTreeMap::new(),
            answers: 0,
            confirmed_room: 64,
            pending_room: None,
        };
        world.accepting(&MEMBERS)
    }

    /// Before any configuration.
    pub(crate) fn blank() -> Self {
        Self { map: MapState::default(), ..Self::lab() }
    }

    /// Anything else.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut MapState)) -> Self {
        change(&mut self.map);
        self
    }

    pub(crate) fn with_rule(self, service: Service, change: impl FnOnce(&mut Rule)) -> Self {
        self.with(|map| change(map.rules.get_mut(&service.key(map.root.epoch)).unwrap()))
    }

    /// Only these members take new connections.
    pub(crate) fn accepting(self, labels: &[u16]) -> Self {
        let bits = labels.iter().fold(0, |bits, label| bits | 1 << label);
        self.with(|map| _ = map.health.insert(HEALTH_BASE, bits))
    }

    /// The slots of a service's ring.
    pub(crate) fn ring(self, service: Service, labels: &[u16]) -> Self {
        self.with(|map| put_ring(map, service.ring_base, labels))
            .with_rule(service, |rule| rule.current.ring_size = labels.len().try_into().unwrap())
    }

    /// An old view beside the current one.
    pub(crate) fn transition_from(self, service: Service, labels: &[u16]) -> Self {
        let base = service.ring_base + 100;
        self.with(|map| put_ring(map, base, labels)).with_rule(service, |rule| {
            let ring_size = labels.len().try_into().unwrap();
            rule.old = View { ring_base: base, ring_size, ..rule.current };
        })
    }

    pub(crate) fn settled(self, service: Service) -> Self {
        self.with_rule(service, |rule| rule.old = View::default())
    }

    /// The label names nobody any more, and its health bit is clear.
    pub(crate) fn removed(self, label: u16) -> Self {
        self.with(|map| _ = map.members.remove(&MemberId(label)))
    }

    /// Its next hop is not known, and neither is a neighbour to the kernel.
    pub(crate) fn unresolved(self, label: u16) -> Self {
        self.with(|map| {
            let member = map.members.get_mut(&MemberId(label)).unwrap();
            member.ifindex = 0;
        })
    }

    /// The compiled routes, longest prefix first: network and length, and the member behind whose link the
    /// gateway is, or nothing where the kernel has to be asked.
    pub(crate) fn routes(self, ways: &[(&str, u8, Option<u16>)]) -> Self {
        let mut table = RouteTable { used: ways.len().try_into().unwrap(), ..RouteTable::default() };
        for ((place, prefix), &(network, length, gateway)) in (0..).zip(&mut table.prefixes).zip(ways) {
            *prefix = RoutePrefix { place, ..route(network, length, gateway) };
        }
        self.with(|map| {
            // The other table is never looked at.
            let elsewhere = RouteTable { used: 1, ..RouteTable::default() };
            map.root.routes += 1;
            map.routes = [elsewhere; 2];
            map.routes[routes_place(map.root.routes)] = table;
            map.routes[routes_place(map.root.routes + 1)].prefixes[0] = route("0.0.0.0", 0, Some(3));
        })
    }

    /// The web rule has this list, which allows these prefixes.
    pub(crate) fn access(self, list: u32, prefixes: &[(&str, u8)]) -> Self {
        self.with_rule(WEB, |rule| rule.access = list).verdicts(list, prefixes, access::ALLOW)
    }

    /// The list denies these.
    pub(crate) fn denies(self, list: u32, prefixes: &[(&str, u8)]) -> Self {
        self.verdicts(list, prefixes, access::DENY)
    }

    fn verdicts(self, list: u32, prefixes: &[(&str, u8)], verdict: u32) -> Self {
        self.with(|map| {
            for (network, length) in prefixes {
                let address = address(&format!("{network}:0"));
                map.access.insert(AccessEntry { list, address, length: *length }, verdict);
            }
        })
    }

    /// The web rule's list judges new flows alone.
    pub(crate) fn for_new_flows(self) -> Self {
        self.with_rule(WEB, |rule| rule.access |= access::NEW_FLOWS)
    }

    /// The web frontend is answered for on the client's link.
    pub(crate) fn announced(self) -> Self {
        let key = AnnouncedKey { ifindex: CLIENT_LINK, address: address(WEB.frontend) };
        self.with(|map| _ = map.announced.insert(key, Announced::at(US)))
    }

    /// What a frontend's address says of its members.
    pub(crate) fn health_of(self, frontend: &str, flags: AddressFlags) -> Self {
        let address = address(frontend);
        self.with(|map| {
            let known = map.addresses.get_mut(&address).unwrap();
            *known = known.with(flags);
        })
    }

    /// The member moved to another address, whose stored next hop takes as many bytes.
    pub(crate) fn moved(self, label: u16, to: &str, mtu: u16) -> Self {
        let address = address(to);
        self.with(|map| {
            let member = map.members.get_mut(&MemberId(label)).unwrap();
            (member.address, member.mtu) = (address, mtu.into());
        })
    }

    pub(crate) fn answered(mut self, answers: u32) -> Self {
        self.answers = answers;
        self
    }

    /// A proven exception of a web client, and its mark.
    pub(crate) fn confirmed(mut self, exception: Exception) -> Self {
        self.mark(exception.key, 0);
        self.confirmed.insert(exception.key, (exception.word, exception.member_seq));
        self
    }

    /// An unproven one.
    pub(crate) fn pending(mut self, exception: Exception) -> Self {
        self.mark(exception.key, 0);
        self.pending.insert(exception.key, (exception.word, exception.member_seq));
        self
    }

    /// All marks so far are this old, in coarse ticks.
    pub(crate) fn marked_since(mut self, age: u16) -> Self {
        self.marks.values_mut().for_each(|mark| *mark = 1_u16.wrapping_sub(age));
        self
    }

    /// All marks so far were written by a processor whose clock is this much ahead.
    pub(crate) fn marked_ahead(mut self, by: u16) -> Self {
        self.marks.values_mut().for_each(|mark| *mark = 1 + by);
        self
    }

    /// A mark of another peer in this client's bucket.
    pub(crate) fn marked(mut self, client: &str) -> Self {
        self.mark(flow(client, 0).key, 0);
        self
    }

    fn mark(&mut self, key: FlowKey, age: u16) {
        self.marks.insert((key.peer, key.peer_port, key.protocol), 1_u16.wrapping_sub(age));
    }

    /// The marks as they lie in their buckets.
    pub(crate) fn marks(&self) -> BTreeMap<u32, u16> {
        let key = &self.map.root.hash_key;
        let bucket = |(peer, port, protocol): (IpAddr, Port, u8)| {
            let hash = match (Addr::of(peer), Addr6::of(peer)) {
                (Some(peer), _) => hash::peer(key, peer, port, protocol),
                (None, peer) => hash::peer(key, peer.unwrap(), port, protocol),
            };
            (hash >> (64 - MARK_BITS)) as u32
        };
        self.marks.iter().map(|(peer, mark)| (bucket(*peer), *mark)).collect()
    }

    /// The same world, as packets of a family see it.
    pub(crate) fn of(&self, family: Family) -> Self {
        match family {
            Family::V4 => self.clone(),
            Family::V6 => self.in_ipv6(),
        }
    }

    fn in_ipv6(&self) -> Self {
        let flows = |flows: &BTreeMap<FlowKey, (FlowWord, u32)>| {
            let flow = |(key, flow): (&FlowKey, &_)| (key.between(twin(key.peer), twin(key.local)), *flow);
            flows.iter().map(flow).collect()
        };
        let map = &self.map;
        let entry = |entry: &AccessEntry| {
            let length = if entry.length == 0 { 0 } else { 96 + entry.length };
            let address = if length == 0 { IpAddr::from([0; 16]) } else { twin(entry.address) };
            AccessEntry { address, length, ..*entry }
        };
        Self {
            map: MapState {
                rules: map.rules.iter().map(|(key, rule)| (key.at(twin(key.address)), *rule)).collect(),
                ranges: map.ranges.iter().map(|(at, range)| (at.of(twin(at.key.of)), *range)).collect(),
                addresses: map.addresses.iter().map(|(address, flags)| (twin(*address), *flags)).collect(),
                announced: map.announced.iter().map(|(key, at)| (key.of(twin(key.address)), *at)).collect(),
                access: map.access.iter().map(|(at, verdict)| (entry(at), *verdict)).collect(),
                members: map
                    .members
                    .iter()
                    .map(|(id, it)| (*id, it.at(twin(it.address), twin_bits(it.apart))))
                    .collect(),
                owners: map.owners.iter().map(|(address, owner)| (twin(*address), *owner)).collect(),
                reverse: map.reverse.iter().map(|(key, it)| (*key, it.at(twin(it.address)))).collect(),
                sources: map.sources.iter().map(|(at, it)| (*at, it.at(twin(it.address)))).collect(),
                ..map.clone()
            },
            confirmed: flows(&self.confirmed),
            pending: flows(&self.pending),
            marks: self
                .marks
                .iter()
                .map(|((at, port, protocol), m)| ((twin(*at), *port, *protocol), *m))
                .collect(),
            ..self.clone()
        }
    }

    pub(crate) fn confirmed_room(mut self, room: u32) -> Self {
        self.confirmed_room = room;
        self
    }

    pub(crate) fn pending_refuses_beyond(mut self, room: u32) -> Self {
        self.pending_room = Some(room);
        self
    }
}

fn route(network: &str, length: u8, gateway: Option<u16>) -> RoutePrefix {
    let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
    let prefix = RoutePrefix {
        network: Addr::of(address(&format!("{network}:0"))).unwrap(),
        mask: Addr::from_wire(mask.to_be_bytes()),
        ..RoutePrefix::default()
    };
    let Some(label) = gateway else { return prefix };
    let Member { ifindex, mtu, destination, source, .. } = member(label);
    RoutePrefix { ifindex, mtu, destination, source, ..prefix }
}

pub(super) fn put_ring(map: &mut MapState, base: u32, labels: &[u16]) {
    map.rings.insert(base, Arc::new(labels.iter().copied().map(MemberId).collect()));
}

/// As the lab has them.
pub(crate) fn member(label: u16) -> Member {
    let n = u8::try_from(label).unwrap();
    Member {
        address: [10, 0, n, 11].into(),
        apart: [0xff; 4].into(),
        ifindex: CLIENT_LINK + u32::from(label),
        destination: [2, 0, 0, 0, n, 2],
        source: [2, 0, 0, 0, n, 1],
        mtu: MTU.into(),
        present: 1,
        forwarding: Forwarding::Nat as u8,
        sources: 0,
    }
}

/// [`Member::apart`] of the twin: the bits of the IPv4 address, and those before it where any count.
fn twin_bits(bits: IpAddr) -> IpAddr {
    let IpAddr::V4(v4) = bits else { return bits };
    let before = if v4.is_unspecified() { 0 } else { !0 << 32 };
    Ipv6Addr::from_bits(before | u128::from(v4.to_bits())).into()
}

pub(crate) fn member_socket(label: u16, port: u16) -> String {
    SocketAddr::new(member(label).address, port).to_string()
}

pub(crate) fn address(text: &str) -> IpAddr {
    socket(text).ip()
}

pub(crate) fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}
