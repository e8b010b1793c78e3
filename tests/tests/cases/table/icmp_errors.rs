//! ICMP errors on their way through, both ways.

use lb_common::abi::FlowWord;
use lb_common::parse::{TCP, UDP};
use lb_common::reason::Reason;
use lb_common::testkit::{Frame, frame};

use super::{answer, data, named, query};
use crate::cases::case::{Case, case};
use crate::cases::exception::{flow, past_us};
use crate::cases::expect::{error_to_client, error_to_member, untouched};
use crate::cases::world::{ADMIN, CLIENT, DNS, HANDSHAKE_LIFE, LIFE, Service, WEB, World, member_socket};

const FRONTEND: &str = "203.0.113.10:0";
const OWN: &str = "198.51.100.1:0";
const ROUTER: &str = "192.0.2.1:0";
const UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
const PORT: u8 = 3;
/// The least that is quoted behind an IP header.
const LEAST: usize = 8;
const ALL: usize = usize::MAX;

pub(super) fn rows() -> Vec<Case> {
    [to_members(), to_clients()].into_iter().flatten().collect()
}

/// What the client got from this service.
fn sent(service: Service) -> Frame {
    match service.protocol {
        TCP => answer(1).from(service.frontend),
        _ => named(1).from(service.frontend),
    }
}

/// A router tells a frontend what it could not do with a packet from there.
fn told(quote: &Frame, bytes: usize) -> Frame {
    let to = FRONTEND;
    frame::icmp(ROUTER, to, UNREACHABLE, FRAGMENTATION_NEEDED).rest(1400).quoting(quote, bytes)
}

/// The same as the member must hear it, whose packet it was.
fn heard(label: u16, service: Service, quote: &Frame, bytes: usize) -> Frame {
    let socket = member_socket(label, service.port);
    let quote = quote.clone().from(&socket);
    frame::icmp(ROUTER, &socket, UNREACHABLE, FRAGMENTATION_NEEDED).rest(1400).quoting(&quote, bytes)
}

fn to_members() -> Vec<Case> {
    let lab = World::lab;
    let web = |label, bytes| error_to_member(label, heard(label, WEB, &sent(WEB), bytes));
    let elsewhere = || sent(WEB).to("198.51.100.9:1");
    vec![
        case(
            "S-ICMP-5: an error about a reply reaches the member of the slot, whatever its health",
            lab().accepting(&[]),
        )
        .client(told(&sent(WEB), LEAST), web(1, LEAST))
        .holds(0, 0),
        case("S-ICMP-5: it says what the member has sent, however much it quotes", lab())
            .client(told(&sent(WEB), ALL), web(1, ALL))
            .client(told(&sent(WEB), 16), web(1, 16))
            .client(told(&sent(WEB), 18), web(1, 18))
            .client(told(&sent(WEB), 19), web(1, 19)),
        case("what a frame has behind the end of an error is not rewritten", lab()).client(
            told(&sent(WEB), LEAST).padded_to(100),
            error_to_member(1, heard(1, WEB, &sent(WEB), LEAST).padded_to(100)),
        ),
        case("S-ICMP-5: unreachable, time exceeded and parameter problem are told alike", lab())
            .client(
                told(&sent(WEB), LEAST).kind(11, 0).rest(0),
                error_to_member(1, heard(1, WEB, &sent(WEB), LEAST).kind(11, 0).rest(0)),
            )
            .client(
                told(&sent(WEB), LEAST).kind(12, 0).rest(0),
                error_to_member(1, heard(1, WEB, &sent(WEB), LEAST).kind(12, 0).rest(0)),
            )
            .client(
                told(&sent(WEB), LEAST).kind(3, 13).rest(0),
                error_to_member(1, heard(1, WEB, &sent(WEB), LEAST).kind(3, 13).rest(0)),
            ),
        case("S-ICMP-5: the client's own refusal of a datagram reaches the member", lab()).client(
            told(&sent(DNS), ALL).from(CLIENT).kind(UNREACHABLE, PORT).rest(0),
            error_to_member(1, heard(1, DNS, &sent(DNS), ALL).from(CLIENT).kind(UNREACHABLE, PORT).rest(0)),
        ),
        case("S-ICMP-5: an error about a datagram goes where the next one does", lab().accepting(&[2]))
            .client(told(&sent(DNS), ALL), error_to_member(2, heard(2, DNS, &sent(DNS), ALL))),
        case("an error about a datagram without a checksum leaves it so", lab()).client(
            told(&sent(DNS).without_checksum(), ALL),
            error_to_member(1, heard(1, DNS, &sent(DNS).without_checksum(), ALL)),
        ),
        case("an error about a datagram that nobody accepts ends", lab().accepting(&[]))
            .client(told(&sent(DNS), ALL), untouched(Reason::NoHealthyMember)),
        case(
            "S-ICMP-5: an error goes to a confirmed exception, and proves nothing",
            lab().confirmed(flow(CLIENT, 3).aged(LIFE)),
        )
        .client(told(&sent(WEB), LEAST), web(3, LEAST))
        .wait(1)
        .client(told(&sent(WEB), LEAST), web(1, LEAST))
        .holds(1, 0),
        case(
            "S-ICMP-5: ... to a pending one that needs no proof",
            lab().pending(flow(CLIENT, 3).flags(FlowWord::USABLE)),
        )
        .client(told(&sent(WEB), LEAST), web(3, LEAST))
        .holds(0, 1),
        case("... to one whose SYN-ACK is what it quotes", lab().pending(flow(CLIENT, 3).member_seq(77_001)))
            .client(told(&sent(WEB), LEAST), web(3, LEAST))
            .holds(0, 1),
        case(
            "... but not to one with other numbers, or one past its life",
            lab()
                .pending(flow(CLIENT, 3).member_seq(7_700_000))
                .pending(flow("198.51.100.9:1", 3).member_seq(77_001).aged(HANDSHAKE_LIFE + 1)),
        )
        .client(told(&sent(WEB), LEAST), web(1, LEAST))
        .client(told(&elsewhere(), LEAST), error_to_member(1, heard(1, WEB, &elsewhere(), LEAST))),
        case(
            "S-ICMP-5: in a transition an error goes where the connection has been",
            lab().transition_from(WEB, &[2]),
        )
        .client(told(&sent(WEB), LEAST), web(2, LEAST))
        .holds(0, 0),
        case("an error about what no rule has sent ends", lab())
            .client(told(&sent(WEB).from("203.0.113.10:81"), LEAST), untouched(Reason::ErrorUnknown))
            .client(told(&sent(WEB).from("203.0.113.9:80"), LEAST), untouched(Reason::ErrorUnknown))
            .client(
                told(&frame::other("203.0.113.10:0", CLIENT, 47).payload(&[0; 8]), LEAST),
                untouched(Reason::ErrorUnknown),
            ),
        case("an error that quotes too little ends", lab())
            .client(told(&sent(WEB), LEAST - 1), untouched(Reason::ErrorUnknown))
            .client(told(&sent(WEB), LEAST - 1).padded_to(100), untouched(Reason::ErrorUnknown))
            .client(told(&sent(WEB), 0), untouched(Reason::ErrorUnknown)),
        case("an error about a packet with options or a later fragment ends", lab())
            .client(told(&sent(WEB).options(&[1; 4]), LEAST + 4), untouched(Reason::ErrorUnknown))
            .client(told(&sent(WEB).fragment(1), LEAST), untouched(Reason::ErrorUnknown))
            .client(
                told(&sent(WEB).fragment(0x2000), LEAST),
                error_to_member(1, heard(1, WEB, &sent(WEB).fragment(0x2000), LEAST)),
            )
            .in_ipv4(),
        case("an error without any member to go to ends", lab().ring(WEB, &[]))
            .client(told(&sent(WEB), LEAST), untouched(Reason::EmptyPool)),
        case("an error to a label that names nobody ends", lab().removed(1))
            .client(told(&sent(WEB), LEAST), untouched(Reason::MemberUnknown)),
        case("an error at the end of its life ends", lab())
            .client(told(&sent(WEB), LEAST).ttl(1), untouched(Reason::TtlExpired)),
        case(
            "an error to a member whose neighbour is not known is left to the kernel",
            lab().unresolved(3).ring(WEB, &[3]).moved(3, "10.0.3.99:0", 1500),
        )
        .client(told(&sent(WEB), LEAST), {
            let socket = "10.0.3.99:8080";
            let quote = sent(WEB).from(socket);
            error_to_member(3, told(&quote, LEAST).to(socket)).by_kernel(Reason::ToMemberByKernel)
        }),
        case("S-ICMP-5: an error to the host's own frontend is the member's, or else the kernel's", lab())
            .client(
                told(&sent(ADMIN), LEAST).to(OWN),
                error_to_member(1, heard(1, ADMIN, &sent(ADMIN), LEAST)),
            )
            .client(
                told(&sent(ADMIN).from("198.51.100.1:22"), LEAST).to(OWN),
                untouched(Reason::OwnFrontend),
            ),
    ]
}

/// What member n got from the client by this service.
fn got(label: u16, service: Service) -> Frame {
    let packet = if service.protocol == UDP { query() } else { data() };
    packet.to(&member_socket(label, service.port))
}

/// The member, or whoever says so, refuses what it got.
fn refused(by: &str, quote: &Frame, bytes: usize) -> Frame {
    frame::icmp(by, CLIENT, UNREACHABLE, PORT).quoting(quote, bytes)
}

fn to_clients() -> Vec<Case> {
    let lab = World::lab;
    let member = member_socket(1, 0);
    let asked = |service: Service| got(1, service).to(service.frontend);
    let peer = || past_us(CLIENT, "10.0.1.11:8080", TCP);
    vec![
        case("S-ICMP-5: a member's error about a client's packet comes from the frontend", lab())
            .member(
                1,
                refused(&member, &got(1, WEB), LEAST),
                error_to_client(refused(FRONTEND, &asked(WEB), LEAST)),
            )
            .member(
                1,
                refused(&member, &got(1, WEB), ALL),
                error_to_client(refused(FRONTEND, &asked(WEB), ALL)),
            )
            .holds(0, 0),
        case("S-ICMP-5: a closed port of a member is told to whoever sent a datagram", lab()).member(
            1,
            refused(&member, &got(1, DNS), ALL),
            error_to_client(refused(FRONTEND, &asked(DNS), ALL)),
        ),
        case("S-ICMP-5: a router before the member is named as it is", lab()).member(
            1,
            refused(ROUTER, &got(1, WEB), LEAST).kind(UNREACHABLE, FRAGMENTATION_NEEDED).rest(1300),
            error_to_client(
                refused(ROUTER, &asked(WEB), LEAST).kind(UNREACHABLE, FRAGMENTATION_NEEDED).rest(1300),
            ),
        ),
        case(
            "S-ICMP-5: an error about a direct or own connection passes",
            lab().confirmed(peer()).pending(past_us("198.51.100.9:1", "10.0.1.11:8080", TCP).member_seq(1)),
        )
        .member(1, refused(&member, &got(1, WEB), LEAST), untouched(Reason::Direct))
        .member(
            1,
            refused(&member, &got(1, WEB).from("198.51.100.9:1"), LEAST).to("198.51.100.9:1"),
            untouched(Reason::Direct),
        )
        .holds(1, 1),
        case(
            "an error about a direct connection that is long over does not",
            lab().confirmed(peer().aged(LIFE + 1)),
        )
        .member(
            1,
            refused(&member, &got(1, WEB), LEAST),
            error_to_client(refused(FRONTEND, &asked(WEB), LEAST)),
        ),
        case("an error about a datagram that no frontend can have sent there passes", lab()).member(
            2,
            refused(&member_socket(2, 0), &got(2, DNS), ALL),
            untouched(Reason::UdpNotReply),
        ),
        case("... nor one of a rule that is gone", lab().with(|map| map.rules.clear())).member(
            1,
            refused(&member, &got(1, DNS), ALL),
            untouched(Reason::UdpNotReply),
        ),
        case("an error about a packet to no service of a member passes", lab())
            .member(1, refused(&member, &got(1, WEB).to("10.0.1.11:22"), ALL), untouched(Reason::NotOurs))
            .member(1, refused(&member, &got(1, WEB).to("192.0.2.7:8080"), ALL), untouched(Reason::NotOurs)),
        case("an error to somebody else than the packet's sender passes", lab()).member(
            1,
            refused(&member, &got(1, WEB).from("198.51.100.9:1"), ALL),
            untouched(Reason::NotOurs),
        ),
        case("an error about a probe passes: the host has asked", lab())
            .member(
                1,
                refused(&member, &got(1, WEB).from("10.0.1.1:5000"), ALL).to("10.0.1.1:0"),
                untouched(Reason::ToHost),
            )
            .member(
                1,
                refused(ROUTER, &got(1, WEB).from("10.0.1.1:5000"), ALL).to("10.0.1.1:0"),
                untouched(Reason::NotOurs),
            ),
        case("an error to a client that is cut short passes", lab())
            .member(1, refused(&member, &got(1, WEB), LEAST - 1), untouched(Reason::NotOurs))
            .member(1, refused(&member, &got(1, WEB), ALL).cut_to(60), untouched(Reason::NotOurs)),
        case("an error to a client at the end of its life passes", lab()).member(
            1,
            refused(&member, &got(1, WEB), LEAST).ttl(1),
            untouched(Reason::ReplyTtlExpired),
        ),
        case("an error to a client whose neighbour is not known is left to the kernel", lab()).member(
            1,
            refused(&member, &got(1, WEB).from("198.51.100.77:9"), LEAST).to("198.51.100.77:0"),
            error_to_client(
                refused(FRONTEND, &asked(WEB).from("198.51.100.77:9"), LEAST).to("198.51.100.77:0"),
            )
            .by_kernel(Reason::ReplyByKernel),
        ),
        case("an error to a client without a route ends", lab()).member(
            1,
            refused(&member, &got(1, WEB).from("192.0.2.200:9"), LEAST).to("192.0.2.200:0"),
            untouched(Reason::NoRoute),
        ),
        case("an error from the host's own frontend is not given to the kernel", lab()).member(
            1,
            refused(&member, &got(1, ADMIN).from("198.51.100.77:9"), LEAST).to("198.51.100.77:0"),
            untouched(Reason::MartianReply),
        ),
    ]
}
