//! Which member a packet goes to, without transition and without exception.

use lb_common::abi::Mode;
use lb_common::hash::{self, Tuple};
use lb_common::reason::{Event, Reason};
use lb_common::testkit::frame;
use lb_common::units::{Addr, Addr6, MemberId, Port};
use lb_ctl::state::Stored;

use super::{ACK, FIN, SYN, data, query, syn};
use crate::cases::case::{Case, case};
use crate::cases::expect::{Expect, opens, to_member, untouched};
use crate::cases::world::{DNS, Family, Service, WEB, World, member, socket};

pub(super) fn rows() -> Vec<Case> {
    let lab = World::lab;
    vec![
        case("a SYN goes to its slot's member when that accepts, and nothing is recorded", lab())
            .client(syn(), opens(1))
            .holds(0, 0),
        case("a SYN goes to its slot's member in a marked bucket too", lab().marked("198.51.100.2:40000"))
            .client(syn(), opens(1))
            .holds(0, 0),
        case("a later packet goes to its slot's member", lab()).client(data(), to_member(1)).holds(0, 0),
        case("a later packet goes to its slot's member although that has failed", lab().accepting(&[2, 3]))
            .client(data(), to_member(1))
            .holds(0, 0),
        case(
            "a later packet in a marked bucket without an exception goes to its slot's member",
            lab().accepting(&[2]).marked("198.51.100.2:40000"),
        )
        .client(data(), to_member(1))
        .holds(0, 0),
        case(
            "S-DIST-12: a SYN whose member has failed goes to the one that accepts, and is remembered",
            lab().accepting(&[2]),
        )
        .client(syn(), opens(2).and(Event::Fallback).and(Event::Suspended))
        .holds(0, 1),
        case("a SYN to a pool that is all down is dropped", lab().accepting(&[]))
            .client(syn(), untouched(Reason::NoHealthyMember))
            .holds(0, 0),
        case("an established connection to a pool that is all down goes on", lab().accepting(&[]))
            .client(data(), to_member(1)),
        case("under all-up the health set says that all accept, and SYNs are spread as ever", lab())
            .client(syn(), opens(1)),
        case("SYN with FIN opens nothing: it goes to the slot and leaves no trace", lab().accepting(&[2]))
            .client(syn().flags(SYN | FIN), to_member(1))
            .holds(0, 0),
        case("SYN with ACK from a client opens nothing", lab().accepting(&[2]))
            .client(syn().flags(SYN | ACK), to_member(1))
            .holds(0, 0),
        case("a rule whose ring is empty drops SYNs", empty()).client(syn(), untouched(Reason::EmptyPool)),
        case("a rule whose ring is empty drops later packets", empty())
            .client(data(), untouched(Reason::EmptyPool)),
        case("a slot that names a label without a member drops the packet", lab().removed(1))
            .client(data(), untouched(Reason::MemberUnknown)),
        case("a datagram goes to its slot's member", lab()).client(query(), to_member(1).of(DNS)).holds(0, 0),
        case("S-DIST-15: a datagram whose member has failed goes to one that accepts", lab().accepting(&[3]))
            .client(query(), to_member(3).of(DNS))
            .holds(0, 0),
        case("a datagram comes back with its member", lab().accepting(&[3]))
            .client(query(), to_member(3).of(DNS))
            .then(|world| world.accepting(&[1, 3]))
            .client(query(), to_member(1).of(DNS)),
        case("a datagram to a pool that is all down is dropped", lab().accepting(&[]))
            .client(query(), untouched(Reason::NoHealthyMember)),
        case(
            "a fallback keeps to the ring: a member without slots gets none",
            lab().ring(WEB, &RING).accepting(&[2, 3]),
        )
        .client(syn_in_slot(&RING, 1), opens(2).and(Event::Fallback).and(Event::Suspended)),
        case("a health set of several words is searched for the one that accepts", far().accepting(&[]))
            .client(syn(), opens(130).and(Event::Fallback).and(Event::Suspended)),
        case("a health set may begin at a later word", skipping()).client(syn(), opens(130)),
        case("a member below the first word of the health set does not accept", skipping().ring(WEB, &[1]))
            .client(syn(), opens(130).and(Event::Fallback).and(Event::Suspended)),
        mode(
            Mode::SourceIp,
            "S-DIST-2, S-DIST-11: with source affinity, another port of a client has the same member",
        ),
        mode(
            Mode::SourceIpProtocol,
            "S-DIST-3: with source and protocol affinity, another port has the same member",
        ),
    ]
}

pub(super) const RING: [u16; 2] = [1, 2];

fn empty() -> World {
    World::lab().with_rule(WEB, |rule| rule.current.ring_size = 0)
}

/// Member 130 besides, the only one of its word.
fn far() -> World {
    World::lab().with_rule(WEB, |rule| rule.current.health_words = 3).with(|map| {
        map.members.insert(MemberId(130), member(130));
        map.health.insert(7, 1 << (130 - 128));
    })
}

fn skipping() -> World {
    far().ring(WEB, &[130]).with_rule(WEB, |rule| {
        rule.current.health_skip = 2;
        rule.current.health_words = 1;
        rule.current.health_base = 7;
    })
}

/// A SYN of a client whose slot in this ring, of five-tuples, names this member.
pub(super) fn syn_in_slot(ring: &[u16], label: u16) -> frame::Frame {
    let port = (40_000..=u16::MAX).find(|port| in_slot(ring, Mode::FiveTuple, *port) == label).unwrap();
    syn().from(&format!("198.51.100.2:{port}"))
}

pub(super) fn in_slot(ring: &[u16], mode: Mode, port: u16) -> u16 {
    drawn(ring, hash_of(WEB, mode, port))
}

/// The member that a hash draws from a ring.
pub(super) fn drawn(ring: &[u16], hash: u64) -> u16 {
    ring[hash::scale(hash, ring.len().try_into().unwrap()) as usize]
}

/// What chooses the slot of a client's port.
pub(super) fn hash_of(service: Service, mode: Mode, port: u16) -> u64 {
    hash_from(&format!("198.51.100.2:{port}"), service, mode)
}

/// The same of any client.
pub(super) fn hash_from(client: &str, service: Service, mode: Mode) -> u64 {
    match Family::of_rows() {
        Family::V4 => hash_in::<Addr>(client, service, mode),
        Family::V6 => hash_in::<Addr6>(client, service, mode),
    }
}

fn hash_in<A: Stored>(client: &str, service: Service, mode: Mode) -> u64 {
    let tuple = Tuple {
        peer: A::of(Family::of_rows().address(client)).unwrap(),
        peer_port: Port::new(socket(client).port()),
        local: A::of(Family::of_rows().address(service.frontend)).unwrap(),
        local_port: service.key(0).port,
        protocol: service.protocol,
    };
    let key = World::lab().map.root.hash_key;
    let peer = hash::peer(&key, tuple.peer, tuple.peer_port, tuple.protocol);
    let five = hash::flow(&key, peer, tuple.local, tuple.local_port);
    hash::distribution(&key, mode as u8, &tuple, five)
}

/// SYNs from ports that five-tuples would spread.
fn mode(mode: Mode, sentence: &'static str) -> Case {
    let world = World::lab().ring(WEB, &RING).with_rule(WEB, |rule| rule.current.mode = mode as u8);
    let expected = || -> Expect { opens(in_slot(&RING, mode, 0)) };
    case(sentence, world)
        .client(syn_in_slot(&RING, 1), expected())
        .client(syn_in_slot(&RING, 2), expected())
        .holds(0, 0)
}
