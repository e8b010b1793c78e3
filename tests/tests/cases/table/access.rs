//! Who may use a rule, and the way to a member.

use lb_common::abi::access;
use lb_common::reason::Reason;

use super::{ACK, FIN, RST, SYN, data, query, syn};
use crate::cases::case::{Case, case};
use crate::cases::expect::{opens, to_member, to_member_by_kernel, untouched};
use crate::cases::world::{DNS, World, address};

const LIST: u32 = access::FIRST_LIST;

pub(super) fn rows() -> Vec<Case> {
    let lab = World::lab;
    vec![
        case("a closed rule lets nobody in (S-SEC-1)", lab().access(access::CLOSED, &[]))
            .client(syn(), untouched(Reason::AccessDenied))
            .client(data(), untouched(Reason::AccessDenied)),
        case("a list lets its prefixes in", lab().access(LIST, &[("198.51.100.0", 24), ("192.0.2.1", 32)]))
            .client(syn(), opens(1))
            .client(syn().from("192.0.2.1:1"), opens(1))
            .client(syn().from("192.0.2.2:1"), untouched(Reason::AccessDenied)),
        case("a list may name everybody", lab().access(LIST, &[("0.0.0.0", 0)])).client(syn(), opens(1)),
        case(
            "another rule's list does not count",
            lab().access(LIST, &[("0.0.0.0", 0)]).access(LIST + 1, &[]),
        )
        .client(syn(), untouched(Reason::AccessDenied)),
        case("S-SEC-10: a deny inside an allow", lab().access(LIST, &[("175.0.0.0", 8)]).denies(LIST, &ACL))
            .client(syn().from("175.1.0.9:1"), untouched(Reason::AccessDenied))
            .client(data().from("175.1.0.9:1"), untouched(Reason::AccessDenied))
            .client(syn().from("175.2.0.9:1"), opens(1))
            .client(syn().from("8.8.8.8:1"), untouched(Reason::AccessDenied)),
        case("an allow inside a deny inside an allow", nested())
            .client(syn().from("10.1.2.3:1"), opens(1))
            .client(syn().from("10.1.2.4:1"), untouched(Reason::AccessDenied))
            .client(syn().from("10.2.0.1:1"), opens(1))
            .client(syn().from("11.0.0.1:1"), untouched(Reason::AccessDenied)),
        case(
            "a deny of one address among everybody",
            lab().access(LIST, &[("0.0.0.0", 0)]).denies(LIST, &ONE),
        )
        .client(syn(), untouched(Reason::AccessDenied))
        .client(syn().from("198.51.100.3:1"), opens(1)),
        case("who loses access is cut off at once, in the middle of a connection", lab())
            .client(data(), to_member(1))
            .then(|world| world.access(LIST, &[("0.0.0.0", 0)]).denies(LIST, &ONE))
            .client(data(), untouched(Reason::AccessDenied)),
        case("S-SEC-6: for new flows alone, who loses access keeps what is open, and opens nothing", lab())
            .client(data(), to_member(1))
            .then(|world| world.access(LIST, &[("0.0.0.0", 0)]).denies(LIST, &ONE).for_new_flows())
            .client(data(), to_member(1))
            .client(data().flags(ACK | FIN), to_member(1))
            .client(syn(), untouched(Reason::AccessDenied))
            .client(syn().from("198.51.100.3:1"), opens(1)),
        case("... nor with a SYN in disguise", lab().access(access::CLOSED, &[]).for_new_flows())
            .client(syn().flags(SYN | FIN), untouched(Reason::AccessDenied))
            .client(syn().flags(SYN | ACK), untouched(Reason::AccessDenied))
            .client(syn().flags(SYN | RST), untouched(Reason::AccessDenied))
            .client(data(), to_member(1)),
        case(
            "datagrams have no flows, each is judged",
            lab().with_rule(DNS, |rule| rule.access = access::CLOSED | access::NEW_FLOWS),
        )
        .client(query(), untouched(Reason::AccessDenied)),
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

/// S-SEC-10, without the bits behind its prefix.
const ACL: [(&str, u8); 1] = [("175.1.0.0", 24)];
const ONE: [(&str, u8); 1] = [("198.51.100.2", 32)];

fn nested() -> World {
    World::lab().access(LIST, &[("10.0.0.0", 8), ("10.1.2.3", 32)]).denies(LIST, &[("10.1.0.0", 16)])
}

/// Every slot names member 3, whose next hop is not known, at another address than the lab's.
fn at(socket: &'static str) -> World {
    World::lab().ring(crate::cases::world::WEB, &[3]).unresolved(3).with(|map| {
        map.members.get_mut(&lb_common::units::MemberId(3)).unwrap().address = address(socket);
    })
}
