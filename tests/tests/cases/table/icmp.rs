//! ICMP of our own: echo to frontends, and what is too big.

use lb_common::abi::AddressFlags;
use lb_common::icmp::LIMIT;
use lb_common::parse::TCP;
use lb_common::reason::{Event, Reason};
use lb_common::testkit::{Frame, frame};

use super::{answer, data, query, syn};
use crate::cases::case::{Case, case};
use crate::cases::expect::{answered, to_client_by_kernel, to_member, to_member_by_kernel, untouched};
use crate::cases::world::{CLIENT, DNS, Family, NARROW, NARROW_MTU, WEB, World, member_socket};

const FRONTEND: &str = "203.0.113.10:0";
const OWN: &str = "198.51.100.1:0";
const UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
const ALL: usize = usize::MAX;

pub(super) fn rows() -> Vec<Case> {
    [echo(), too_big()].into_iter().flatten().collect()
}

/// As messages of our own are: of the network's control, and nobody's fragment.
fn ours(message: Frame) -> Frame {
    message.service(0xc0).identification(0)
}

fn echo() -> Vec<Case> {
    let serving = || World::lab().health_of(FRONTEND, AddressFlags::SERVES);
    let down = || World::lab().health_of(FRONTEND, AddressFlags::DOWN);
    let ping = || frame::icmp(CLIENT, FRONTEND, 8, 0).rest(0x1234_0001).payload(b"abcdefgh");
    let pong = || ping().from(FRONTEND).to(CLIENT).kind(0, 0).fragment(0x4000);
    let refusal = |about: &Frame| ours(frame::icmp(FRONTEND, CLIENT, 3, 1).quoting(about, ALL));
    let refused = |request: Frame| (request.clone(), answered(Reason::EchoUnreachable, refusal(&request)));
    let [whole, beyond, odd] = match Family::of_rows() {
        Family::V4 => [520, 521, 517],
        Family::V6 => [1184, 1185, 1181],
    }
    .map(|length| refused(ping().payload(&vec![7; length])));
    let [plain, empty, little] =
        [&b"abcdefgh"[..], b"", b"odd"].map(|payload| refused(ping().payload(payload)));
    vec![
        case("S-ICMP-1: an echo request to a frontend with a member that is up is answered", serving())
            .client(ping(), answered(Reason::EchoReply, pong())),
        case(
            "S-ICMP-2: an echo request of any length is answered, and the last hop is far enough",
            serving(),
        )
        .client(ping().payload(b""), answered(Reason::EchoReply, pong().payload(b"")))
        .client(ping().payload(b"odd"), answered(Reason::EchoReply, pong().payload(b"odd")))
        .client(ping().payload(&[7; 1472]), answered(Reason::EchoReply, pong().payload(&[7; 1472])))
        .client(ping().ttl(1), answered(Reason::EchoReply, pong())),
        // But for the sum, the ICMP answer is nothing but zeros.
        case("an echo request without anything in it is answered with a sum that is accepted", serving())
            .client(
                ping().rest(0).payload(&[0; 56]),
                answered(Reason::EchoReply, pong().rest(0).payload(&[0; 56])),
            ),
        case("an echo request that Ethernet has padded is answered with its padding", serving())
            .client(ping().padded_to(60), answered(Reason::EchoReply, pong().padded_to(60))),
        case("the answer goes to where the request came from, by whatever link", serving()).member(
            1,
            ping().from(&member_socket(1, 0)),
            answered(Reason::EchoReply, pong().to(&member_socket(1, 0))),
        ),
        case("S-ICMP-1: with all members down the host is unreachable", down())
            .client(plain.0, plain.1)
            .client(empty.0, empty.1)
            .client(little.0.padded_to(60), little.1),
        case("a refusal quotes as much as the longest error holds", down())
            .client(odd.0, odd.1)
            .client(whole.0, whole.1)
            .client(beyond.0, beyond.1),
        case("S-ICMP-1: a frontend without rule or member is silent", World::lab())
            .client(ping(), untouched(Reason::EchoSilent)),
        case("the kernel answers for a frontend that is the host's own", serving())
            .client(ping().to(OWN), untouched(Reason::OwnFrontend)),
        case("only so many answers are given in a tick", serving().answered(LIMIT - 1))
            .client(ping(), answered(Reason::EchoReply, pong()))
            .client(ping(), untouched(Reason::IcmpLimited)),
        case("who is no single host gets no answer", serving())
            .client(ping().from("224.0.0.1:0"), untouched(Reason::SourceNoHost))
            .client(ping().from("127.0.0.1:0"), untouched(Reason::SourceNoHost))
            .client(ping().from("255.255.255.255:0"), untouched(Reason::SourceNoHost))
            .client(ping().from("0.0.0.0:0"), untouched(Reason::SourceNoHost))
            .in_ipv4(),
        case("other questions by ICMP to a frontend are dropped", serving())
            .client(ping().kind(13, 0), untouched(Reason::Protocol))
            .client(pong().from(CLIENT).to(FRONTEND), untouched(Reason::Protocol))
            .client(ping().kind(5, 1), untouched(Reason::Protocol)),
        case("a message without a whole header is dropped", serving())
            .client(ping().payload(b"").ip_length(27), untouched(Reason::BadLength)),
        case("S-FRAG-1: a fragment of an echo request is dropped", serving())
            .client(ping().fragment(0x2000), untouched(Reason::Fragment))
            .in_ipv4(),
        case("before any configuration ICMP passes", World::blank())
            .client(ping(), untouched(Reason::NotConfigured)),
        case("an echo request through us is not ours", serving())
            .client(ping().to("192.0.2.9:0"), untouched(Reason::NotOurs))
            .client(ping().to(&member_socket(1, 0)), untouched(Reason::NotOurs)),
    ]
}

fn too_big() -> Vec<Case> {
    let [(_, client), (_, member)] = NARROW;
    let behind = || World::lab().ring(WEB, &[3]).moved(3, member, NARROW_MTU);
    let header = if Family::of_rows() == Family::V4 { 20 } else { 40 };
    let most = usize::from(NARROW_MTU) - header - 20;
    let long = || data().payload(&vec![9; most + 1]);
    let reply = || answer(1).to(client).payload(&vec![9; most + 1]);
    let tell = |to: &str, about: &Frame| {
        let error = frame::icmp(FRONTEND, to, UNREACHABLE, FRAGMENTATION_NEEDED);
        answered(Reason::TooBig, ours(error.rest(NARROW_MTU.into()).quoting(about, ALL)))
    };
    let question = || query().payload(&[9; 1400]);
    let opening = || syn().payload(&[9; 1400]);
    let cut = || data().payload(&vec![9; most]).fragment(0x2000);
    let rest = || frame::other(CLIENT, WEB.frontend, TCP).payload(&[9; 1400]).fragment(0x2003);
    vec![
        case("a packet that just fits its way to the member is sent on", behind())
            .client(data().payload(&vec![9; most]), to_member(3).at("10.0.3.66:8080")),
        case("a packet too big for its way to the member is answered with what fits", behind())
            .client(long(), tell(CLIENT, &long()))
            .holds(0, 0),
        case("... a datagram is, too", World::lab().ring(DNS, &[3]).moved(3, member, NARROW_MTU))
            .client(question(), tell(CLIENT, &question())),
        case(
            "... even where its connection begins, which is remembered",
            behind().transition_from(WEB, &[1]),
        )
        .client(opening(), tell(CLIENT, &opening()).and(Event::Suspended))
        .holds(0, 1),
        case("a reply too big for its way to the client is answered with what fits", World::lab()).member(
            1,
            reply(),
            tell(&member_socket(1, 0), &reply()),
        ),
        case("a packet or reply that may be split is left to the kernel, which splits it", behind())
            .client(long().fragment(0), to_member_by_kernel(3).at("10.0.3.66:8080"))
            .member(1, reply().fragment(0), to_client_by_kernel())
            .in_ipv4(),
        case("an IPv6 fragment too big for its way is answered with what fits", behind())
            .client(cut(), tell(CLIENT, &cut()))
            .client(data().fragment(0x2000), to_member(3).at("10.0.3.66:8080"))
            .client(rest(), tell(CLIENT, &rest()))
            .in_ipv6(),
        case("too many packets that are too big are dropped in silence", behind().answered(LIMIT))
            .client(long(), untouched(Reason::IcmpLimited)),
        case("who is no single host is not told what fits", behind())
            .client(long().from("240.0.0.1:9"), untouched(Reason::SourceNoHost))
            .in_ipv4(),
    ]
}
