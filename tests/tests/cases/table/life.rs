//! How long exceptions and marks live.

use lb_common::abi::FlowWord;
use lb_common::reason::Event;

use super::{ACK, FIN, RST, ack, answer, data, syn, syn_ack};
use crate::cases::case::{Case, case};
use crate::cases::exception::{Exception, flow};
use crate::cases::expect::{opens, to_client, to_member};
use crate::cases::world::{CLIENT, CLOSED_LIFE, HALF_CLOSED_LIFE, HANDSHAKE_LIFE, LIFE, MARK_LIFE, World};

const CLOSED: u64 = FlowWord::FIN_CLIENT | FlowWord::FIN_MEMBER;

/// Every slot names member 1; the exception names member 2.
fn with(exception: Exception) -> World {
    World::lab().confirmed(exception)
}

fn old(ticks: u32) -> Exception {
    flow(CLIENT, 2).aged(ticks)
}

pub(super) fn rows() -> Vec<Case> {
    let fresh = || with(flow(CLIENT, 2));
    let (client_fin, member_fin) =
        (data().payload(b"").flags(FIN | ACK), answer(2).payload(b"").flags(FIN | ACK));
    vec![
        case("an exception lives its rule's time", with(old(LIFE))).client(data(), to_member(2)),
        case("... and is as good as absent after it", with(old(LIFE + 1))).client(data(), to_member(1)),
        case("each packet of the client begins it anew", with(old(900)))
            .client(ack(1), to_member(2))
            .wait(900)
            .client(ack(1), to_member(2)),
        case("each reply begins it anew", with(old(900)))
            .member(2, answer(2), to_client())
            .wait(900)
            .client(ack(1), to_member(2)),
        case("an entry ahead of our clock is young", with(old(0_u32.wrapping_sub(2))))
            .client(data(), to_member(2)),
        case(
            "after the client's FIN it lives for minutes",
            with(old(HALF_CLOSED_LIFE).flags(FlowWord::FIN_CLIENT)),
        )
        .client(ack(1), to_member(2)),
        case("... and no longer", with(old(HALF_CLOSED_LIFE + 1).flags(FlowWord::FIN_CLIENT)))
            .client(ack(1), to_member(1)),
        case("after the member's FIN too", with(old(HALF_CLOSED_LIFE + 1).flags(FlowWord::FIN_MEMBER)))
            .client(ack(1), to_member(1)),
        case("after both FINs it lives for seconds", with(old(CLOSED_LIFE).flags(CLOSED)))
            .client(ack(1), to_member(2)),
        case("... and no longer", with(old(CLOSED_LIFE + 1).flags(CLOSED))).client(ack(1), to_member(1)),
        case("after a RST it lives for seconds", with(old(CLOSED_LIFE + 1).flags(FlowWord::RST)))
            .client(ack(1), to_member(1)),
        case("both FINs are noted as they pass", fresh())
            .client(client_fin.clone(), to_member(2))
            .member(2, member_fin.clone(), to_client())
            .client(ack(1), to_member(2))
            .wait(CLOSED_LIFE + 1)
            .client(ack(1), to_member(1)),
        case("a half-closed download goes on", fresh())
            .client(client_fin.clone(), to_member(2))
            .wait(HALF_CLOSED_LIFE)
            .member(2, answer(2), to_client())
            .wait(HALF_CLOSED_LIFE)
            .client(ack(1), to_member(2)),
        case("a RST is noted as it passes", fresh())
            .client(data().flags(RST), to_member(2))
            .wait(CLOSED_LIFE + 1)
            .client(data(), to_member(1)),
        case("a packet after a RST takes it back", fresh())
            .client(data().flags(RST), to_member(2))
            .client(ack(1), to_member(2))
            .wait(LIFE)
            .client(data(), to_member(2)),
        case("a RST of the member is taken back by its next reply", fresh())
            .member(2, answer(2).flags(RST), to_client())
            .member(2, answer(2), to_client())
            .wait(LIFE)
            .client(data(), to_member(2)),
        case("data after a forged FIN take it back", fresh())
            .client(client_fin, to_member(2))
            .client(data(), to_member(2))
            .wait(LIFE)
            .client(data(), to_member(2)),
        case("a connection over the same port lives as long as the first", with(old(0).flags(CLOSED)))
            .client(syn(), opens(2))
            .member(2, syn_ack(2, 4999), to_client())
            .client(ack(5000), to_member(2))
            .wait(LIFE)
            .client(data(), to_member(2)),
        case("a SYN that goes by an entry keeps it for the handshake", with(old(CLOSED_LIFE).flags(CLOSED)))
            .client(syn(), opens(2))
            .wait(CLOSED_LIFE)
            .member(2, syn_ack(2, 4999), to_client())
            .client(ack(5000), to_member(2)),
        case(
            "an unproven entry lives for a handshake",
            World::lab().pending(old(HANDSHAKE_LIFE).member_seq(5000)),
        )
        .client(ack(5000), to_member(2).and(Event::Confirmed)),
        case("... and no longer", World::lab().pending(old(HANDSHAKE_LIFE + 1).member_seq(5000)))
            .client(ack(5000), to_member(1)),
        case("a usable one lives its rule's time", World::lab().pending(old(LIFE).flags(FlowWord::USABLE)))
            .client(data(), to_member(2)),
        case("... and no longer", World::lab().pending(old(LIFE + 1).flags(FlowWord::USABLE)))
            .client(data(), to_member(1)),
        case("a mark is young for the longest life", fresh().marked_since(MARK_LIFE))
            .client(data(), to_member(2)),
        case("an older mark is as good as absent", fresh().marked_since(MARK_LIFE + 1))
            .client(data(), to_member(1)),
        case("a mark that another processor has just written is young", fresh().marked_ahead(1))
            .client(data(), to_member(2)),
        case("a use refreshes the mark", fresh().marked_since(MARK_LIFE))
            .client(data(), to_member(2))
            .client(data(), to_member(2)),
    ]
}
