//! Packets from members' service ports, back to clients.

use lb_common::abi::Mode;
use lb_common::hash;
use lb_common::reason::Reason;
use lb_common::testkit::{Frame, frame};
use lb_common::units::Port;

use super::selection::{drawn, hash_of};
use super::{ACK, RST, SYN, answer, named, query, syn_ack};
use crate::cases::case::{Case, case};
use crate::cases::expect::{to_client, to_client_by_kernel, to_member, untouched};
use crate::cases::world::{ADMIN, DNS, World, member_socket};

const RING: [u16; 2] = [1, 2];
/// A client on the balancer's link whose hardware address nobody knows.
const UNKNOWN_NEIGHBOUR: &str = "198.51.100.77:40000";
const UNREACHABLE: &str = "192.0.2.200:40000";
const FAR: &str = "192.0.2.9:40000";

pub(super) fn rows() -> Vec<Case> {
    let lab = World::lab;
    // Its slot names member 1, and the draw for a stand-in does so, too.
    let draws = |port| {
        let hash = hash_of(DNS, Mode::FiveTuple, port);
        [hash, hash::again(hash)].map(|hash| drawn(&RING, hash))
    };
    let port = (40_000..=u16::MAX).find(|port| draws(*port) == [1, 1]).unwrap();
    let client = format!("198.51.100.2:{port}");
    vec![
        case("a reply gets the frontend's address and port", lab())
            .member(1, answer(1), to_client())
            .holds(0, 0),
        case("a reply of any member of the pool does", lab()).member(3, answer(3), to_client()),
        case("a reply of a member that has failed does", lab().accepting(&[])).member(
            2,
            answer(2),
            to_client(),
        ),
        case("SYN-ACK, RST and FIN are replies like others", lab())
            .member(1, syn_ack(1, 4999), to_client())
            .member(1, answer(1).flags(RST | ACK), to_client())
            .member(1, answer(1).flags(super::FIN | ACK), to_client())
            .holds(0, 0),
        case("a reply goes by the host's routes", lab()).member(1, answer(1).to(FAR), to_client()),
        case("a datagram's answer is a reply", lab()).member(1, named(1), to_client().of(DNS)),
        case("a datagram without a checksum stays without one", lab())
            .member(1, named(1).without_checksum(), to_client().of(DNS))
            .client(query().without_checksum(), to_member(1).of(DNS)),
        case("a datagram whose checksum comes to zero says so in all ones", lab())
            .member(1, sums_to_zero(named(1), |f| f.from(DNS.frontend)), to_client().of(DNS))
            .client(sums_to_zero(query(), |f| f.to(&member_socket(1, DNS.port))), to_member(1).of(DNS)),
        case("UDP from a service port to a peer whose datagrams go elsewhere is no reply", lab()).member(
            2,
            named(2),
            untouched(Reason::UdpNotReply),
        ),
        case("UDP from the member that stands in for the failed one is a reply", lab().accepting(&[2]))
            .member(2, named(2), to_client().of(DNS)),
        case(
            "UDP from the stand-in is a reply still when the slot's member is back",
            lab().ring(DNS, &RING).accepting(&[2]),
        )
        .client(query().from(&client), to_member(2).of(DNS))
        .then(|world| world.accepting(&[1, 2]))
        .member(2, named(2).to(&client), to_client().of(DNS)),
        case("UDP from the failed member is a reply still", lab().accepting(&[2])).member(
            1,
            named(1),
            to_client().of(DNS),
        ),
        case("UDP from the member of the old view is a reply", lab().transition_from(DNS, &[3])).member(
            3,
            named(3),
            to_client().of(DNS),
        ),
        case("UDP from a service port whose rule is gone is no reply", lab().with(|map| map.rules.clear()))
            .member(1, named(1), untouched(Reason::UdpNotReply)),
        case(
            "a datagram is no reply from a port that the rule sends nothing to yet",
            lab().with_rule(DNS, |rule| {
                rule.current.port = Port::new(5354);
            }),
        )
        .member(1, named(1), untouched(Reason::UdpNotReply)),
        case("a reply at the end of its life is left to the kernel, which tells the member", lab())
            .member(1, answer(1).ttl(1), untouched(Reason::ReplyTtlExpired))
            .member(1, answer(1).ttl(0), untouched(Reason::ReplyTtlExpired))
            .member(1, answer(1).ttl(2), to_client()),
        case("a reply whose neighbour is not known is rewritten and left to the kernel", lab()).member(
            1,
            answer(1).to(UNKNOWN_NEIGHBOUR),
            to_client_by_kernel(),
        ),
        case("the kernel counts the hop of what is left to it", lab()).member(
            1,
            answer(1).to(UNKNOWN_NEIGHBOUR).ttl(2),
            to_client_by_kernel(),
        ),
        case("a reply longer than came by the link is several that were merged, which only the kernel can part", lab()).member(
            1,
            answer(1).payload(&[7; 1461]),
            to_client_by_kernel(),
        ),
        case("a reply that just fits is sent on", lab())
            .member(1, answer(1).payload(&[7; 1460]), to_client())
            .in_ipv4(),
        case("a reply to nowhere is dropped", lab()).member(
            1,
            answer(1).to(UNREACHABLE),
            untouched(Reason::NoRoute),
        ),
        case("a reply from the host's own frontend is sent on", lab()).member(
            1,
            admin(1),
            to_client().of(ADMIN),
        ),
        case("... but not left to the kernel, which takes it for forged", lab()).member(
            1,
            admin(1).to(UNKNOWN_NEIGHBOUR),
            untouched(Reason::MartianReply),
        ),
        case("an answer to a probe is the host's", lab())
            .member(1, answer(1).to("10.0.1.1:50000"), untouched(Reason::ToHost))
            .member(1, answer(1).to("10.0.1.1:50000").flags(SYN | ACK), untouched(Reason::ToHost))
            .member(1, named(1).to("10.0.1.1:50000"), untouched(Reason::ToHost))
            .holds(0, 0),
        case("an answer to a probe from an address that is also a frontend is the host's", lab()).member(
            1,
            answer(1).to("198.51.100.1:50000"),
            untouched(Reason::OwnFrontend),
        ),
        case("what a member sends from another port is not ours", lab()).member(
            1,
            answer(1).from(&member_socket(1, 22)),
            untouched(Reason::OfMember),
        ),
        case("TCP from the port of a UDP service is not ours", lab()).member(
            1,
            answer(1).from(&member_socket(1, DNS.port)),
            untouched(Reason::OfMember),
        ),
        case("options and other protocols of members pass", lab())
            .member(1, answer(1).options(&[1; 4]), untouched(Reason::NotOurs))
            .member(1, frame::other(&member_socket(1, 0), "198.51.100.2:0", 1), untouched(Reason::NotOurs))
            .in_ipv4(),
        case("a reply that leaves by the interface that it came in by is transmitted", lab())
            .client(answer(1), to_client()),
    ]
}

fn admin(label: u16) -> Frame {
    answer(label).from(&member_socket(label, ADMIN.port))
}

/// Chooses the first two bytes of the payload so that the checksum, once rewritten, comes to zero.
fn sums_to_zero(input: Frame, rewrite: impl Fn(Frame) -> Frame) -> Frame {
    const UDP_CHECKSUM: usize = 14 + 20 + 6;
    let rest = rewrite(input.clone().payload(&[0, 0])).bytes();
    let chosen = input.payload(&rest[UDP_CHECKSUM..UDP_CHECKSUM + 2]);
    assert_eq!(rewrite(chosen.clone()).bytes()[UDP_CHECKSUM..][..2], [0xff, 0xff]);
    chosen
}
