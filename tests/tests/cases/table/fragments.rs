//! Fragments of TCP and UDP. A row's fragment is IPv4's, and stands for one with a fragment header.

use lb_common::abi::Rule;
use lb_common::reason::{Event, Reason};
use lb_common::testkit::{Frame, frame};

use super::{SYN, data, named, query, syn};
use crate::cases::case::{Case, case};
use crate::cases::exception::flow;
use crate::cases::expect::{
    Expect, to_client, to_client_by_kernel, to_member, to_member_by_kernel, untouched,
};
use crate::cases::wide::{GAME, VOICE};
use crate::cases::world::{ADMIN, CLIENT, DNS, WEB, World, member_socket};

const MORE: u16 = 0x2000;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
/// As long as a first fragment is remembered.
const LIFE: u32 = 20;

pub(super) fn rows() -> Vec<Case> {
    let lab = World::lab;
    let tracking = || lab().with_rule(DNS, |rule| rule.flags = Rule::TRACKED);
    let (first, second, last) = (first(query()), later(&query(), MORE | 3), later(&query(), 6));
    let dns = |expect: Expect| expect.of(DNS);
    let unknown = || untouched(Reason::FragmentUnknown);
    let reply = self::first(named(1));
    let segment = || data().payload(&[7; 24]);
    vec![
        case("S-FRAG-1, S-HA-8: the fragments of a datagram go where its first one goes", lab())
            .client(first.clone(), dns(to_member(1)))
            .client(second.clone(), dns(to_member(1)))
            .client(last.clone(), dns(to_member(1)))
            .client(second.clone(), dns(to_member(1)))
            .holds(0, 0),
        case("those of a reply come from the frontend as its first one does", lab())
            .member(1, reply.clone(), dns(to_client()))
            .member(1, later(&named(1), MORE | 3), dns(to_client()))
            .member(1, later(&named(1), 6), dns(to_client()))
            .holds(0, 0),
        case("a datagram without a checksum may be cut", lab())
            .client(first.clone().without_checksum(), dns(to_member(1)))
            .client(last.clone(), dns(to_member(1))),
        case("a fragment before its first is nobody's", lab())
            .client(last.clone(), unknown())
            .client(first.clone(), dns(to_member(1)))
            .client(last.clone(), dns(to_member(1))),
        case("... and one from a member the kernel's", lab())
            .member(1, later(&named(1), 6), untouched(Reason::NotOurs))
            .member(1, later(&named(1), 6).to("10.0.1.1:0"), untouched(Reason::ToHost)),
        case("a fragment long after its first is nobody's", lab())
            .client(first.clone(), dns(to_member(1)))
            .wait(LIFE)
            .client(second.clone(), dns(to_member(1)))
            .wait(1)
            .client(last.clone(), unknown()),
        case("fragments are told by source, destination, identification and protocol", lab())
            .client(first.clone(), dns(to_member(1)))
            .client(last.clone().from("198.51.100.3:0"), unknown())
            .client(last.clone().to("198.51.100.1:0"), untouched(Reason::OwnFrontend))
            .client(last.clone().identification(0x4321), unknown())
            .client(later(&data(), 6), unknown()),
        case("a datagram is not torn by a member that fails in its middle", lab().ring(DNS, &[1]))
            .client(first.clone(), dns(to_member(1)))
            .then(|world| world.accepting(&[2, 3]))
            .client(last.clone(), dns(to_member(1))),
        case("nor by a change of the ring", lab())
            .client(first.clone(), dns(to_member(1)))
            .then(|world| world.ring(DNS, &[2]))
            .client(last.clone(), dns(to_member(1))),
        case("a tracked flow has no fragments", tracking())
            .client(first.clone(), untouched(Reason::Fragment))
            .client(last.clone(), unknown())
            .client(query(), dns(to_member(1)))
            .tracks(0, 2),
        case("a first fragment that leads nowhere leaves nothing", lab().access(2, &[("192.0.2.0", 24)]))
            .client(self::first(query()).to("203.0.113.10:54"), untouched(Reason::NoRule))
            .client(last.clone(), unknown())
            .client(self::first(segment()), untouched(Reason::AccessDenied))
            .client(later(&segment(), 6), unknown()),
        case("later fragments are judged by the access list as well", lab())
            .client(self::first(segment()), to_member(1))
            .then(|world| world.access(2, &[("192.0.2.0", 24)]))
            .client(later(&segment(), 6), untouched(Reason::AccessDenied)),
        case("a later fragment at the end of its life is dropped", lab())
            .client(first.clone(), dns(to_member(1)))
            .client(last.clone().ttl(1), untouched(Reason::TtlExpired)),
        case("segments may be cut behind their header", lab())
            .client(self::first(segment()), to_member(1))
            .client(later(&segment(), MORE | 3), to_member(1))
            .client(later(&segment(), 6), to_member(1)),
        case("... but no fragment may write over it (RFC 1858, RFC 3128)", lab())
            .client(self::first(segment()), to_member(1))
            .client(later(&segment(), 1), untouched(Reason::Fragment))
            .client(later(&segment(), 2), untouched(Reason::Fragment)),
        case("a first fragment with less than a header is dropped", lab())
            .client(tiny(&segment(), TCP, 16), untouched(Reason::Fragment))
            .client(tiny(&segment(), TCP, 0), untouched(Reason::Fragment))
            .client(tiny(&query(), UDP, 0), untouched(Reason::Fragment)),
        case("a first fragment that lies about a length is dropped", lab())
            .client(self::first(query()).udp_length(7), untouched(Reason::Fragment))
            .client(self::first(segment()).tcp_words(4), untouched(Reason::Fragment)),
        case("a fragment of neither TCP nor UDP is dropped", lab())
            .client(tiny(&query(), ICMP, 16), untouched(Reason::Fragment))
            .client(frame::other(CLIENT, WEB.frontend, 47).fragment(3), untouched(Reason::Fragment)),
        case("the fragments of an exception follow it", lab().confirmed(flow(CLIENT, 2)))
            .client(self::first(segment()), to_member(2))
            .client(later(&segment(), 6), to_member(2)),
        case("a connection may be opened in fragments", lab())
            .client(self::first(syn().payload(&[7; 24])), crate::cases::expect::opens(1))
            .client(later(&syn(), 6), to_member(1)),
        case("a fragmented datagram to a frontend's other service is the host's if that is its own", lab())
            .client(self::first(query()).to("198.51.100.1:53"), untouched(Reason::OwnFrontend))
            .client(later(&query(), 6).to("198.51.100.1:0"), untouched(Reason::OwnFrontend))
            .client(self::first(segment()).to(ADMIN.frontend), to_member(1).of(ADMIN))
            .client(later(&segment(), 6).to("198.51.100.1:0"), to_member(1).of(ADMIN)),
        case("a fragmented datagram past the frontend is left alone, and so is its answer", lab())
            .client(
                self::first(query()).to(&member_socket(1, DNS.port)),
                untouched(Reason::Direct).and(Event::Suspended),
            )
            .client(last.clone().to(&member_socket(1, 0)), untouched(Reason::NotOurs))
            .member(1, reply.clone(), untouched(Reason::Direct))
            .member(1, later(&named(1), 6), untouched(Reason::NotOurs)),
        case("a fragmented datagram that is no reply passes, all of it", lab())
            .member(2, self::first(named(2)), untouched(Reason::UdpNotReply))
            .member(2, later(&named(2), 6), untouched(Reason::NotOurs)),
        case("fragments to and from a range are of its port", World::lab().wide())
            .client(self::first(query()).to(VOICE.frontend), to_member(1).of(VOICE))
            .client(last.clone(), to_member(1).of(VOICE))
            .member(1, self::first(named(1)).from(&member_socket(1, VOICE.port)), to_client().of(VOICE))
            .member(1, later(&named(1), 6), to_client().of(VOICE))
            .client(self::first(segment()).to(GAME.frontend), to_member(1).of(GAME))
            .client(later(&segment(), 6), to_member(1).of(GAME)),
        case("a fragment longer than came by the link is left to the kernel", lab())
            .client(first.clone().payload(&[1; 1473]), dns(to_member_by_kernel(1)))
            .client(last.clone().payload(&[1; 1496]), dns(to_member_by_kernel(1)))
            .member(1, reply.clone().payload(&[1; 1473]), dns(to_client_by_kernel())),
        case("the reserved bit is nobody's business in fragments either", lab())
            .client(first.clone().fragment(0x8000 | MORE), dns(to_member(1)))
            .in_ipv4(),
        case("IP options to a frontend are dropped in fragments, too", lab())
            .client(first.clone().options(&[1; 4]), untouched(Reason::IpOptions))
            .in_ipv4(),
        case("a fragment that says to be longer than it is is dropped", lab())
            .client(first.clone().ip_length(1400), untouched(Reason::BadLength))
            .client(last.clone().ip_length(1400), untouched(Reason::BadLength))
            .in_ipv4(),
        case("SYN and FIN flags in later fragments are data", lab())
            .client(self::first(segment()), to_member(1))
            .client(later(&segment(), 6).payload(&[SYN; 40]), to_member(1)),
    ]
}

/// The beginning of a longer packet.
fn first(frame: Frame) -> Frame {
    frame.udp_length(4000).fragment(MORE)
}

/// Another part of it.
fn later(frame: &Frame, fragment: u16) -> Frame {
    let [source, destination] = frame.sockets();
    let protocol = if frame.is_udp() { UDP } else { TCP };
    frame::other(&source.to_string(), &destination.to_string(), protocol).payload(&[9; 24]).fragment(fragment)
}

/// A first fragment of so many bytes.
fn tiny(frame: &Frame, protocol: u8, length: usize) -> Frame {
    let [source, destination] = frame.sockets();
    frame::other(&source.to_string(), &destination.to_string(), protocol)
        .payload(&vec![0; length])
        .fragment(MORE)
}
