//! Who may use a rule, and the way to a member.

use lb_common::abi::access;
use lb_common::reason::Reason;

use super::{data, syn};
use crate::cases::case::{Case, case};
use crate::cases::expect::{opens, to_member, to_member_by_kernel, untouched};
use crate::cases::world::{World, address};

const LIST: u32 = access::FIRST_LIST;

pub(super) fn rows() -> Vec<Case> {
    let lab = World::lab;
    vec![
        case("a closed rule lets nobody in", lab().access(access::CLOSED, &[]))
            .client(syn(), untouched(Reason::AccessDenied))
            .client(data(), untouched(Reason::AccessDenied)),
        case("a list lets its prefixes in", lab().access(LIST, &[("198.51.100.0", 24), ("192.0.2.1", 32)]))
            .client(syn(), opens(1))
            .client(syn().from("192.0.2.1:1"), opens(1))
            .client(syn().from("192.0.2.2:1"), untouched(Reason::AccessDenied)),
        case("a list may name everybody", lab().access(LIST, &[("0.0.0.0", 0)])).client(syn(), opens(1)),
        case(
            "another rule's list does not count",
            lab().access(LIST + 1, &[]).with(|map| {
                let everybody =
                    lb_ctl::state::AccessEntry { list: LIST, address: address("0.0.0.0:0"), length: 0 };
                map.access.insert(everybody);
            }),
        )
        .client(syn(), untouched(Reason::AccessDenied)),
        case("who is not let in leaves no trace", lab().access(access::CLOSED, &[]).accepting(&[2]))
            .client(syn(), untouched(Reason::AccessDenied))
            .holds(0, 0),
        case("replies are nobody's to deny", lab().access(access::CLOSED, &[])).member(
            1,
            super::answer(1),
            crate::cases::expect::to_client(),
        ),
        case("a packet at the end of its life is dropped at a frontend", lab().accepting(&[2]))
            .client(syn().ttl(1), untouched(Reason::TtlExpired))
            .client(syn().ttl(0), untouched(Reason::TtlExpired))
            .holds(0, 0),
        case("a packet with one hop left after us is sent on", lab()).client(data().ttl(2), to_member(1)),
        case("a member without a stored next hop is found by the kernel's routes", lab().unresolved(1))
            .client(data(), to_member(1)),
        case(
            "a member whose neighbour is not known gets the rewritten packet by the kernel",
            at("10.0.3.99:0"),
        )
        .client(syn(), crate::cases::expect::opens_by_kernel(3).at("10.0.3.99:8080"))
        .client(data(), to_member_by_kernel(3).at("10.0.3.99:8080"))
        .client(data().ttl(2), to_member_by_kernel(3).at("10.0.3.99:8080")),
        case("a member without a route gets nothing", at("192.0.2.200:0"))
            .client(syn(), untouched(Reason::NoRoute)),
        case("a member on the link of its client gets the frame back out of there", lab()).member(
            1,
            data(),
            to_member(1),
        ),
    ]
}

/// Every slot names member 3, whose next hop is not known, at another address than the lab's.
fn at(socket: &'static str) -> World {
    World::lab().ring(crate::cases::world::WEB, &[3]).unresolved(3).with(|map| {
        map.members.get_mut(&lb_common::units::MemberId(3)).unwrap().address = address(socket);
    })
}
