//! Flows that do not go where their slot says, and what proves them.

use lb_common::abi::FlowWord;
use lb_common::reason::{Event, Reason};

use super::{ACK, RST, SYN, ack, answer, data, syn, syn_ack};
use crate::cases::case::{Case, case};
use crate::cases::exception::flow;
use crate::cases::expect::{opens, to_client, to_member, untouched};
use crate::cases::world::{CLIENT, WEB, World};

/// Member 1, which has every slot, is down; only member 2 accepts.
fn failed() -> World {
    World::lab().accepting(&[2])
}

pub(super) fn rows() -> Vec<Case> {
    vec![
        case(
            "a connection that was opened beside its slot stays there when its slot's member is back",
            failed(),
        )
        .client(syn(), opens(2).and(Event::Fallback).and(Event::Suspended))
        .member(2, syn_ack(2, 4999), to_client())
        .client(ack(5000), to_member(2).and(Event::Confirmed))
        .then(|world| world.accepting(&[1, 2, 3]))
        .client(data(), to_member(2))
        .member(2, answer(2), to_client())
        .holds(1, 1),
        case("SYNs alone confirm nothing, however often they come", failed())
            .client(syn(), opens(2).and(Event::Fallback).and(Event::Suspended))
            .client(syn(), opens(2))
            .client(syn(), opens(2))
            .holds(0, 1),
        case("an acknowledgement without a SYN-ACK proves nothing", World::lab().pending(flow(CLIENT, 2)))
            .client(ack(0), to_member(1))
            .holds(0, 1),
        case(
            "a wrong acknowledgement proves nothing",
            World::lab().pending(flow(CLIENT, 2).member_seq(5000)),
        )
        .client(ack(5001), to_member(1))
        .client(ack(4999), to_member(1))
        .holds(0, 1),
        case(
            "a SYN with a fitting acknowledgement proves nothing",
            World::lab().pending(flow(CLIENT, 2).member_seq(5000)),
        )
        .client(ack(5000).flags(SYN | ACK), to_member(1))
        .holds(0, 1),
        case("a RST proves nothing", World::lab().pending(flow(CLIENT, 2).member_seq(5000)))
            .client(ack(5000).flags(RST | ACK), to_member(1))
            .holds(0, 1),
        case(
            "data with a fitting acknowledgement prove as well as an empty segment",
            World::lab().pending(flow(CLIENT, 2).member_seq(5000)),
        )
        .client(ack(5000).payload(b"x"), to_member(2).and(Event::Confirmed))
        .holds(1, 1),
        case(
            "a SYN-ACK of another member than the entry's is not its proof",
            World::lab().pending(flow(CLIENT, 2)),
        )
        .member(3, syn_ack(3, 4999), to_client())
        .client(ack(5000), to_member(1))
        .holds(0, 1),
        case("a later SYN-ACK counts", World::lab().pending(flow(CLIENT, 2)))
            .member(2, syn_ack(2, 4999), to_client())
            .member(2, syn_ack(2, 7999), to_client())
            .client(ack(5000), to_member(1))
            .client(ack(8000), to_member(2).and(Event::Confirmed)),
        case("a connection that was opened twice is proven once", failed())
            .client(syn(), opens(2).and(Event::Fallback).and(Event::Suspended))
            .member(2, syn_ack(2, 4999), to_client())
            .client(syn(), opens(2))
            .client(ack(5000), to_member(2).and(Event::Confirmed))
            .client(ack(5000), to_member(2))
            .holds(1, 1),
        case(
            "a SYN of a confirmed flow goes to its member when that accepts",
            World::lab().confirmed(flow(CLIENT, 2)),
        )
        .client(syn(), opens(2))
        .holds(1, 0),
        case(
            "a SYN of a confirmed flow at a port of no view goes to its slot",
            World::lab().confirmed(flow(CLIENT, 2).port(9090)),
        )
        .client(syn(), opens(1).and(Event::Reused).and(Event::Suspended))
        .member(1, syn_ack(1, 4999), to_client())
        .client(ack(5000), to_member(1))
        .client(data(), to_member(1)),
        case(
            "a SYN of a pending flow goes to its member when that accepts",
            World::lab().pending(flow(CLIENT, 2)),
        )
        .client(syn(), opens(2))
        .holds(0, 1),
        case(
            "a SYN of a pending flow whose member does not accept goes to its slot, and is remembered",
            World::lab().accepting(&[1]).pending(flow(CLIENT, 2)),
        )
        .client(syn(), opens(1).and(Event::Suspended))
        .holds(0, 1),
        case(
            "a confirmed flow goes to its member although that has failed",
            World::lab().accepting(&[1]).confirmed(flow(CLIENT, 2)),
        )
        .client(data(), to_member(2)),
        case(
            "a forged SYN of a confirmed flow whose member has failed does not take the flow away",
            reused(),
        )
        .client(syn(), opens(1).and(Event::Reused).and(Event::Suspended))
        .client(data(), to_member(2))
        .member(2, answer(2), to_client())
        .client(data(), to_member(2))
        .holds(1, 1),
        case("a port used again replaces a confirmed flow whose member has failed", reused())
            .client(syn(), opens(1).and(Event::Reused).and(Event::Suspended))
            .member(1, syn_ack(1, 4999), to_client())
            .client(ack(5000), to_member(1))
            .client(data(), to_member(1))
            .holds(1, 1),
        case(
            "a port used again that cannot be remembered is dropped: its next packet would go elsewhere",
            reused().pending(flow("198.51.100.9:9", 1)).pending_refuses_beyond(1),
        )
        .client(syn(), untouched(Reason::EntryRefused).and(Event::Reused).and(Event::SuspendRefused))
        .holds(1, 1),
        case("a SYN twice of a port used again goes the same way", reused())
            .client(syn(), opens(1).and(Event::Reused).and(Event::Suspended))
            .client(syn(), opens(1).and(Event::Reused))
            .holds(1, 1),
        case(
            "where `confirmed` is full, the proven entry serves in `pending`",
            full().pending(flow(CLIENT, 2).member_seq(5000)),
        )
        .client(ack(5000), to_member(2).and(Event::ConfirmRefused))
        .wait(900)
        .client(data(), to_member(2))
        .holds(1, 1),
        case("... and each reply tries again", full().pending(flow(CLIENT, 2).flags(FlowWord::USABLE)))
            .member(2, answer(2), to_client().and(Event::ConfirmRefused))
            .client(data(), to_member(2)),
        case(
            "a settled transition leaves exceptions alone",
            World::lab().transition_from(WEB, &[3]).confirmed(flow(CLIENT, 2)),
        )
        .client(data(), to_member(2))
        .then(|world| world.settled(WEB))
        .client(data(), to_member(2)),
    ]
}

/// Member 2 has a connection of the client's, and no longer accepts.
fn reused() -> World {
    World::lab().accepting(&[1, 3]).confirmed(flow(CLIENT, 2))
}

fn full() -> World {
    World::lab().confirmed(flow("198.51.100.9:9", 3)).confirmed_room(1)
}
