//! Frames that are not what the fast path expects.

use lb_common::abi::{AddressFlags, sieve};
use lb_common::reason::Reason;
use lb_common::testkit::frame;
use lb_common::units::{Addr, Addr6, Port};
use lb_ctl::state::{RuleKey, Stored as _};

use super::{data, named, query, syn};
use crate::cases::case::{Case, case};
use crate::cases::expect::{opens, to_member, to_member_by_kernel, untouched};
use crate::cases::world::{ADMIN, CLIENT, DNS, Family, World, address, member_socket};

const FRONTEND: &str = "203.0.113.10:80";
const OWN: &str = "198.51.100.1:443";
const ICMP: u8 = 1;

pub(super) fn rows() -> Vec<Case> {
    let lab = World::lab;
    let icmp = |to| frame::other(CLIENT, to, ICMP).payload(&[8, 0, 0xf7, 0xff, 0, 0, 0, 0]);
    vec![
        case("a datagram that claims to come from a frontend starts no endless answering", lab())
            .client(query().from("203.0.113.10:53"), untouched(Reason::FromFrontend)),
        case("before any configuration everything passes", World::blank())
            .client(syn(), untouched(Reason::NotConfigured)),
        case("what is neither to a frontend nor a member's is not ours", lab())
            .client(syn().to("192.0.2.1:80"), untouched(Reason::NotOurs))
            .client(icmp("192.0.2.1:0"), untouched(Reason::NotOurs)),
        case("what the link carries to everybody or to a group passes: no router forwards it", lab())
            .client(syn().link([2, 0, 0, 0, 0, 9], [0xff; 6]), untouched(Reason::LinkGroup))
            .client(query().link([2, 0, 0, 0, 0, 9], [1, 0, 0x5e, 0, 0, 0xfb]), untouched(Reason::LinkGroup))
            .member(1, named(1).link([2, 0, 0, 0, 1, 9], [0xff; 6]), untouched(Reason::LinkGroup)),
        case("ARP passes", lab()).client(syn().ethertype(0x0806), untouched(Reason::NotIp)),
        case("a frame with a VLAN tag passes", lab()).client(syn().vlan(5), untouched(Reason::NotIp)),
        case("a frame shorter than its headers passes", lab())
            .client(syn().cut_to(14), untouched(Reason::Truncated))
            .client(syn().cut_to(33), untouched(Reason::Truncated)),
        case("a packet cut behind its IPv4 header is dropped at a frontend", lab())
            .client(syn().cut_to(34), untouched(Reason::BadLength))
            .client(syn().cut_to(53), untouched(Reason::BadLength))
            .client(query().cut_to(41), untouched(Reason::BadLength)),
        case("a frame is as long as its IP header says: padding is carried along", lab())
            .client(syn().padded_to(60), opens(1))
            .client(query().payload(b"x").padded_to(60), to_member(1).of(DNS)),
        case("an IP length beyond the frame is dropped", lab())
            .client(data().ip_length(57), untouched(Reason::BadLength)),
        case("an IP length below a header is dropped", lab())
            .client(syn().ip_length(19), untouched(Reason::BadLength))
            .client(syn().ip_length(39), untouched(Reason::BadLength))
            .client(query().ip_length(27), untouched(Reason::BadLength)),
        case("a TCP header longer than the packet or shorter than itself is dropped", lab())
            .client(syn().tcp_words(6), untouched(Reason::BadLength))
            .client(syn().tcp_words(4), untouched(Reason::BadLength)),
        case("a UDP length that lies is dropped", lab())
            .client(query().udp_length(7), untouched(Reason::BadLength))
            .client(query().udp_length(24), untouched(Reason::BadLength)),
        case("IP options to a frontend are dropped", lab())
            .client(syn().options(&[1; 4]), untouched(Reason::IpOptions))
            .in_ipv4(),
        case("the reserved bit beside the fragment flags is nobody's business", lab())
            .client(data().fragment(0xc000), to_member(1))
            .in_ipv4(),
        case("S-RULE-9, S-PROTO-1: GRE, ESP, AH and SCTP to a frontend are dropped", lab())
            .client(frame::other(CLIENT, FRONTEND, 47), untouched(Reason::Protocol))
            .client(frame::other(CLIENT, FRONTEND, 50), untouched(Reason::Protocol))
            .client(frame::other(CLIENT, FRONTEND, 51), untouched(Reason::Protocol))
            .client(frame::other(CLIENT, FRONTEND, 132), untouched(Reason::Protocol)),
        case("S-FE-7: one port on two frontends, and for both protocols, is three rules", three_rules())
            .client(syn(), opens(1))
            .client(syn().to("198.51.100.1:80"), opens(1).of(ADMIN))
            .client(query().to(FRONTEND), to_member(1).of(DNS)),
        case("a port of a frontend without a rule is dropped", lab())
            .client(syn().to("203.0.113.10:81"), untouched(Reason::NoRule))
            .client(query().to("203.0.113.10:80"), untouched(Reason::NoRule)),
        case(
            "a frontend that is the host's own passes what no rule wants: ssh, ping, fragments, options",
            lab(),
        )
        .client(syn().to("198.51.100.1:22"), untouched(Reason::OwnFrontend))
        .client(icmp(OWN), untouched(Reason::OwnFrontend))
        .client(syn().to("198.51.100.1:22").fragment(0x2000), untouched(Reason::OwnFrontend))
        .client(syn().to(OWN).options(&[1; 4]), untouched(Reason::OwnFrontend))
        .client(syn().to(OWN).cut_to(40), untouched(Reason::OwnFrontend))
        .in_ipv4(),
        case("a rule of the host's own frontend works", lab()).client(syn().to(OWN), opens(1).of(ADMIN)),
        case("an address that only looks like a frontend to the sieve is not ours", lab())
            .client(syn().to(&alike(FRONTEND)), untouched(Reason::NotOurs))
            .client(icmp(&alike(FRONTEND)), untouched(Reason::NotOurs)),
        case("an address that only looks like a member to the sieve is not ours", lab())
            .client(syn().to(&alike("10.0.1.11:8080")), untouched(Reason::OfMember))
            .client(data().from(&alike("10.0.1.11:8080")).to("192.0.2.1:1"), untouched(Reason::OfMember)),
        case("a client that only looks like the host to the sieve gets its replies", lab()).member(
            1,
            super::answer(1).to(&alike("10.0.1.1:40000")),
            crate::cases::expect::to_client(),
        ),
        case("a frontend that looks like a member to the sieve is a frontend", overlapping())
            .client(syn(), opens(1)),
        case("a packet as long as the link allows is sent on", lab())
            .client(data().payload(&[1; 1460]), to_member(1))
            .in_ipv4(),
        case(
            "a longer one than came by the link is several that were merged, which only the kernel can part",
            lab(),
        )
        .client(data().payload(&[1; 1461]), to_member_by_kernel(1)),
        case("an odd payload has a checksum too", lab())
            .client(data().payload(b"odd"), to_member(1))
            .client(query().payload(b""), to_member(1).of(DNS)),
        case("rules of another epoch are not in force", lab().with(|map| map.root.epoch = 4))
            .client(syn(), untouched(Reason::NoRule)),
    ]
}

/// The other two services at the port of the web.
fn three_rules() -> World {
    World::lab().with(|map| {
        for (service, frontend) in [(ADMIN, "198.51.100.1:0"), (DNS, FRONTEND)] {
            let own = service.key(map.root.epoch);
            let rule = map.rules[&own];
            map.rules.insert(RuleKey { address: address(frontend), port: Port::new(80), ..own }, rule);
        }
    })
}

/// Another address in the same cell of the sieve, with the same port.
fn alike(socket: &str) -> String {
    let place = |socket: &str| match Family::of_rows() {
        Family::V4 => sieve::place(Addr::of(Family::V4.address(socket)).unwrap()),
        Family::V6 => sieve::place(Addr6::of(Family::V6.address(socket)).unwrap()),
    };
    let cell = place(socket);
    let port = socket.rsplit_once(':').unwrap().1;
    let others = (0..=u16::MAX).map(|low| {
        let [high, low] = low.to_be_bytes();
        format!("192.0.{high}.{low}:{port}")
    });
    let mut others = others.filter(|other| !other.starts_with("192.0.2.200:"));
    others.find(|other| place(other) == cell).unwrap()
}

/// An address of the host's in the cell of the frontend, and a member there.
fn overlapping() -> World {
    World::lab().with(|map| {
        let neighbour = address(&alike(FRONTEND));
        map.addresses.insert(neighbour, AddressFlags::OWN);
        let owner = map.owners[&address(&member_socket(1, 0))];
        map.owners.insert(neighbour, owner);
    })
}
