//! The compiled routes: what they say, and what they leave to the kernel.
//!
//! The kernel's default route leads to the client's link; the gateways of the compiled ones are on members' links, so
//! that each packet shows who was asked.

use lb_common::reason::Reason;

use super::{answer, named, syn};
use crate::cases::case::{Case, case};
use crate::cases::expect::{opens, opens_by_kernel, to_client, to_client_by_kernel, untouched};
use crate::cases::world::{ADMIN, DNS, World, member_socket};

const FAR: &str = "192.0.2.9:40000";
const FARTHER: &str = "192.0.3.9:40000";
const UNREACHABLE: &str = "192.0.2.200:40000";
const UNKNOWN_NEIGHBOUR: &str = "198.51.100.77:40000";
const DEFAULT: (&str, u8, Option<u16>) = ("0.0.0.0", 0, Some(2));

/// They are of IPv4 alone, so far.
pub(super) fn rows() -> Vec<Case> {
    rows_of_ipv4().into_iter().map(Case::in_ipv4).collect()
}

fn rows_of_ipv4() -> Vec<Case> {
    let routes = |ways: &[_]| World::lab().routes(ways);
    let sixteen: Vec<_> = (0..15).map(|_| ("203.0.113.128", 25, None)).chain([DEFAULT]).collect();
    vec![
        case("without compiled routes a reply goes by the kernel's", routes(&[])).member(
            1,
            answer(1).to(FAR),
            to_client(),
        ),
        case("a reply goes by the compiled default route", routes(&[DEFAULT]))
            .member(1, answer(1).to(FAR), to_client().by(2))
            .member(1, answer(1).to("8.8.8.8:40000"), to_client().by(2))
            .member(1, named(1).to("198.51.100.2:40000"), to_client().by(2).of(DNS)),
        case("... and is transmitted where that is the interface that it came in by", routes(&[DEFAULT]))
            .member(2, answer(2).to(FAR), to_client().by(2)),
        case(
            "of several prefixes the first counts, which is the longest",
            routes(&[("192.0.2.9", 32, Some(3)), ("192.0.2.0", 24, Some(1)), DEFAULT]),
        )
        .member(1, answer(1).to(FAR), to_client().by(3))
        .member(2, answer(2).to("192.0.2.8:40000"), to_client().by(1))
        .member(1, answer(1).to(FARTHER), to_client().by(2)),
        case(
            "the kernel is asked about the networks that are left to it",
            routes(&[("192.0.2.0", 24, None), DEFAULT]),
        )
        .member(1, answer(1).to(FAR), to_client())
        .member(1, answer(1).to(UNREACHABLE), untouched(Reason::NoRoute))
        .member(1, answer(1).to(FARTHER), to_client().by(2)),
        case("... whose neighbours may be unknown", routes(&[("198.51.100.0", 24, None), DEFAULT]))
            .member(1, answer(1), to_client())
            .member(1, answer(1).to(UNKNOWN_NEIGHBOUR), to_client_by_kernel())
            .member(1, admin(1).to(UNKNOWN_NEIGHBOUR), untouched(Reason::MartianReply)),
        case("the kernel is asked about what no prefix holds", routes(&[("192.0.2.0", 24, Some(2))]))
            .member(1, answer(1).to(FAR), to_client().by(2))
            .member(1, answer(1).to(FARTHER), to_client()),
        case(
            "prefixes behind the last one in use do not count",
            routes(&[DEFAULT]).with(|map| {
                for table in &mut map.routes {
                    table.used = 0;
                }
            }),
        )
        .member(1, answer(1).to(FAR), to_client()),
        case("the sixteenth prefix counts", routes(&sixteen)).member(1, answer(1).to(FAR), to_client().by(2)),
        case(
            "a table that claims to be longer than it is ends with its last prefix",
            routes(&sixteen[..15]).with(|map| {
                for table in &mut map.routes {
                    table.used = u32::MAX;
                    table.prefixes[15].mask = table.prefixes[0].mask;
                    table.prefixes[15].network = table.prefixes[0].network;
                }
            }),
        )
        .member(1, answer(1).to(FAR), to_client()),
        case("a packet that just fits goes by a compiled route", routes(&[DEFAULT])).member(
            1,
            answer(1).to(FAR).payload(&[7; 1460]),
            to_client().by(2),
        ),
        case("one that is too big for it asks the kernel", routes(&[DEFAULT])).member(
            1,
            answer(1).to(FAR).payload(&[7; 1461]),
            to_client_by_kernel(),
        ),
        case(
            "... which may have room for it",
            routes(&[DEFAULT]).with(|map| {
                for table in &mut map.routes {
                    table.prefixes[0].mtu = 576;
                }
            }),
        )
        .member(1, answer(1).to(FAR).payload(&[7; 600]), to_client())
        .member(1, answer(1).to(FAR).payload(&[7; 500]), to_client().by(2)),
        case("new routes take the place of old ones with one write", routes(&[DEFAULT]))
            .member(1, answer(1).to(FAR), to_client().by(2))
            .then(|world| world.routes(&[("0.0.0.0", 0, Some(1))]))
            .member(2, answer(2).to(FAR), to_client().by(1))
            .then(|world| world.routes(&[]))
            .member(1, answer(1).to(FAR), to_client()),
        case(
            "a member whose own next hop is not known is reached by the compiled route",
            World::lab().unresolved(1).routes(&[DEFAULT]),
        )
        .client(syn(), opens(1).by(2)),
        case(
            "... or by the kernel, where they leave it to that",
            World::lab()
                .with(|map| {
                    let member = map.members.values_mut().next().unwrap();
                    member.ifindex = 0;
                    member.address = crate::cases::world::address("10.0.3.99:0");
                })
                .routes(&[("10.0.3.0", 24, None), DEFAULT]),
        )
        .client(syn(), opens_by_kernel(1).at("10.0.3.99:8080")),
    ]
}

fn admin(label: u16) -> lb_common::testkit::Frame {
    answer(label).from(&member_socket(label, ADMIN.port))
}
