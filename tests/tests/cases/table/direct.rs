//! Connections with members' service ports that no frontend is part of.

use lb_common::abi::FlowWord;
use lb_common::parse::{TCP, UDP};
use lb_common::reason::{Event, Reason};
use lb_common::testkit::{Frame, frame};

use super::{ACK, FIN, RST, SYN, ack, answer, named, syn, syn_ack};
use crate::cases::case::{Case, case};
use crate::cases::exception::{flow, past_us};
use crate::cases::expect::{Expect, opens, to_client, to_member, untouched};
use crate::cases::world::{CLIENT, DNS, HANDSHAKE_LIFE, LIFE, World, member_socket};

const MEMBER: &str = "10.0.1.11:8080";
const PEER: &str = CLIENT;

fn direct() -> Expect {
    untouched(Reason::Direct)
}

/// The client's packet, past the frontend.
fn past(frame: Frame) -> Frame {
    frame.to(MEMBER)
}

/// The member opens a connection from its service port.
fn own_syn() -> Frame {
    answer(1).payload(b"").flags(SYN).seq(8999).ack(0)
}

pub(super) fn rows() -> Vec<Case> {
    let lab = World::lab;
    let datagram = || frame::udp(PEER, &member_socket(1, DNS.port)).payload(b"direct");
    vec![
        case("a connection to the member itself passes from its first packet on", lab())
            .client(past(syn()), direct().and(Event::Suspended))
            .member(1, syn_ack(1, 4999), direct())
            .client(past(ack(5000)), direct())
            .member(1, answer(1).seq(5000), direct().and(Event::Confirmed))
            .wait(LIFE)
            .member(1, answer(1), direct())
            .holds(1, 1),
        case("a refused one too", lab())
            .client(past(syn()), direct().and(Event::Suspended))
            .member(1, answer(1).flags(RST | ACK).payload(b""), direct())
            .holds(0, 1),
        case(
            "no acknowledgement past us proves anything",
            lab().pending(past_us(PEER, MEMBER, TCP).member_seq(5000)),
        )
        .client(past(ack(5000)), direct())
        .client(past(ack(5001)), direct())
        .holds(0, 1),
        case("one that is older than our maps is known by its acknowledgement", lab())
            .client(past(ack(77_000)), direct().and(Event::Suspended))
            .member(1, answer(1), direct().and(Event::Confirmed))
            .member(1, answer(1), direct())
            .holds(1, 1),
        case("an acknowledgement that belongs to no answer proves nothing", lab())
            .client(past(ack(500_000)), direct().and(Event::Suspended))
            .member(1, answer(1), to_client())
            .holds(0, 1),
        case("a RST with a fitting number passes and proves nothing", lab())
            .client(past(ack(77_000)), direct().and(Event::Suspended))
            .member(1, answer(1).flags(RST), direct())
            .holds(0, 1),
        case("a forged SYN past us does not take replies from a balanced connection", lab())
            .client(past(syn()), direct().and(Event::Suspended))
            .member(1, answer(1), to_client())
            .client(past(ack(1)), direct())
            .member(1, answer(1), to_client())
            .holds(0, 1),
        case("a forged SYN past us does not unprove an exception", lab().confirmed(flow(CLIENT, 1)))
            .client(past(syn()), direct().and(Event::Suspended))
            .member(1, answer(1), to_client()),
        case("a forged SYN past us does not take the SYN-ACK from a balanced connection", lab())
            .client(past(syn()).seq(7_000_000), direct().and(Event::Suspended))
            .client(syn(), opens(1))
            .member(1, syn_ack(1, 4999), to_client())
            .client(ack(5000), to_member(1)),
        case("... nor its RST", lab())
            .client(past(syn()).seq(7_000_000), direct().and(Event::Suspended))
            .member(1, answer(1).flags(RST | ACK), to_client()),
        case("an answer past us may acknowledge data that came with the SYN", lab())
            .client(past(syn()).payload(b"cookie"), direct().and(Event::Suspended))
            .member(1, syn_ack(1, 4999).ack(1007), direct())
            .client(past(ack(5000)), direct())
            .member(1, answer(1).seq(5000), direct().and(Event::Confirmed)),
        case("a forged acknowledgement past us, sent twice, neither confirms nor takes replies", lab())
            .client(past(ack(1)), direct().and(Event::Suspended))
            .client(past(ack(1)), direct())
            .member(1, answer(1), to_client())
            .holds(0, 1),
        case(
            "a port used for the frontend after a direct connection has ended is balanced",
            lab().confirmed(past_us(PEER, MEMBER, TCP).flags(FlowWord::FIN_CLIENT | FlowWord::FIN_MEMBER)),
        )
        .client(syn(), opens(1))
        .member(1, syn_ack(1, 4999), to_client())
        .client(ack(5000), to_member(1))
        .member(1, answer(1), to_client()),
        case(
            "a port used again past us is direct again",
            lab().confirmed(past_us(PEER, MEMBER, TCP).flags(FlowWord::FIN_CLIENT | FlowWord::FIN_MEMBER)),
        )
        .client(past(syn()), direct().and(Event::Suspended))
        .member(1, syn_ack(1, 4999), direct())
        .client(past(ack(5000)), direct())
        .member(1, answer(1).seq(5000), direct().and(Event::Confirmed))
        .wait(LIFE)
        .member(1, answer(1), direct())
        .holds(1, 1),
        case("a SYN past us twice is answered once", lab())
            .client(past(syn()), direct().and(Event::Suspended))
            .client(past(syn()), direct().and(Event::Suspended))
            .member(1, syn_ack(1, 4999), direct())
            .holds(0, 1),
        case("a packet without SYN or ACK past us is not remembered", lab())
            .client(past(ack(1).flags(FIN)), direct())
            .holds(0, 0),
        case("datagrams to the member itself pass, and so do answers", lab())
            .client(datagram(), direct().and(Event::Suspended))
            .client(datagram(), direct())
            .member(1, named(1), direct())
            .holds(0, 1),
        case("answers without further questions go on passing", lab())
            .client(datagram(), direct().and(Event::Suspended))
            .wait(HANDSHAKE_LIFE)
            .member(1, named(1), direct())
            .wait(HANDSHAKE_LIFE)
            .member(1, named(1), direct()),
        case("an unanswered question past the frontend is soon forgotten", lab())
            .client(datagram(), direct().and(Event::Suspended))
            .wait(HANDSHAKE_LIFE + 1)
            .member(1, named(1), to_client().of(DNS)),
        case(
            "an old question is forgotten",
            lab().pending(past_us(PEER, "10.0.1.11:5353", UDP).aged(LIFE + 1)),
        )
        .member(1, named(1), to_client().of(DNS)),
        case("a connection that the member opens from its service port passes", lab())
            .member(1, own_syn(), untouched(Reason::OwnConnection).and(Event::Suspended))
            .client(past(syn().flags(SYN | ACK).seq(300).ack(9000)), direct())
            .member(1, answer(1).seq(9000), direct().and(Event::Confirmed))
            .client(past(ack(9001)), direct())
            .holds(1, 1),
        case("... where the peer's packets take another way, too", lab())
            .member(1, own_syn(), untouched(Reason::OwnConnection).and(Event::Suspended))
            .member(1, answer(1).seq(9000), direct().and(Event::Confirmed))
            .holds(1, 1),
        case("a forged SYN of the member's and a forged SYN-ACK of the peer's take no replies", lab())
            .client(own_syn(), untouched(Reason::OwnConnection).and(Event::Suspended))
            .client(past(syn().flags(SYN | ACK).seq(300).ack(9000)), direct())
            .member(1, answer(1).seq(77_000_000), to_client())
            .holds(0, 1),
        case(
            "a connection of the member's own that cannot be remembered passes all the same",
            lab().pending(flow("198.51.100.9:9", 1)).pending_refuses_beyond(1),
        )
        .member(1, own_syn(), untouched(Reason::OwnConnection).and(Event::SuspendRefused)),
        case("one member may talk to another's service", lab()).member(
            2,
            syn().from(&member_socket(2, 40_000)).to(MEMBER),
            direct().and(Event::Suspended),
        ),
        case("what goes to another port of a member is not ours", lab())
            .client(syn().to("10.0.1.11:22"), untouched(Reason::OfMember))
            .holds(0, 0),
        case("options to a member are not ours", lab())
            .client(past(ack(1)).options(&[1; 8]), untouched(Reason::NotOurs))
            .in_ipv4(),
        case(
            "the client's FIN and the member's shorten a direct connection's life",
            lab().confirmed(past_us(PEER, MEMBER, TCP)),
        )
        .client(past(ack(1).flags(FIN | ACK)), direct())
        .member(1, answer(1).payload(b"").flags(FIN | ACK), direct())
        .wait(crate::cases::world::CLOSED_LIFE + 1)
        .member(1, answer(1), to_client()),
    ]
}
