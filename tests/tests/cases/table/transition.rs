//! Rules that name two views.

use lb_common::abi::View;
use lb_common::reason::{Event, Reason};

use super::{ACK, RST, SYN, answer, data, query, syn, syn_ack};
use crate::cases::case::{Case, case};
use crate::cases::exception::flow;
use crate::cases::expect::{opens, to_client, to_member, untouched};
use crate::cases::world::{DNS, WEB, World};

/// From member 1 to member 2.
fn moving() -> World {
    World::lab().ring(WEB, &[2]).transition_from(WEB, &[1])
}

pub(super) fn rows() -> Vec<Case> {
    let other = "198.51.100.2:40001";
    vec![
        case("where both views agree there is nothing to do", World::lab().transition_from(WEB, &[1]))
            .client(syn(), opens(1))
            .client(data(), to_member(1))
            .holds(0, 0),
        case("a connection older than the change stays where it is, and is remembered once", moving())
            .client(data(), to_member(1).and(Event::Suspended))
            .client(data(), to_member(1))
            .holds(0, 1),
        case("an old connection is proven by a reply of its member, and outlives the transition", moving())
            .client(data(), to_member(1).and(Event::Suspended))
            .member(1, answer(1), to_client().and(Event::Confirmed))
            .then(|world| world.settled(WEB))
            .wait(900)
            .client(data(), to_member(1))
            .holds(1, 1),
        case("a RST from its member proves no connection", moving())
            .client(data(), to_member(1).and(Event::Suspended))
            .member(1, answer(1).flags(RST | ACK), to_client())
            .holds(0, 1),
        case("a reply of another member proves no connection", moving())
            .client(data(), to_member(1).and(Event::Suspended))
            .member(3, answer(3), to_client())
            .holds(0, 1),
        case("a RST in the slot of a transition leaves no trace", moving())
            .client(data().flags(RST), to_member(1))
            .holds(0, 0),
        case("SYN with ACK goes to the old member, whose RST proves nothing", moving())
            .client(syn().flags(SYN | ACK), to_member(1).and(Event::Suspended))
            .member(1, answer(1).flags(RST), to_client())
            .holds(0, 1),
        case("a new connection goes to the new member, and is remembered", moving())
            .client(syn(), opens(2).and(Event::Suspended))
            .client(syn(), opens(2))
            .holds(0, 1),
        case("a new connection in a transition is proven by its first acknowledgement", moving())
            .client(syn(), opens(2).and(Event::Suspended))
            .member(2, syn_ack(2, 76_999), to_client())
            .client(data(), to_member(2).and(Event::Confirmed))
            .then(|world| world.ring(WEB, &[3]))
            .client(data(), to_member(2))
            .holds(1, 1),
        case("a new connection goes to the old member while only that accepts", moving().accepting(&[1, 3]))
            .client(syn(), opens(1))
            .holds(0, 0),
        case("a new connection goes elsewhere when neither member accepts", moving().accepting(&[3]))
            .client(syn(), opens(3).and(Event::Fallback).and(Event::Suspended))
            .holds(0, 1),
        case(
            "a new connection that cannot be remembered goes where its next packet will look",
            full(moving()),
        )
        .client(syn(), opens(1).and(Event::SuspendRefused))
        .holds(0, 1),
        case("... and is dropped when that member does not accept", full(moving().accepting(&[2])))
            .client(syn(), untouched(Reason::EntryRefused).and(Event::SuspendRefused))
            .holds(0, 1),
        case("the same outside a transition, with its member down", full(World::lab().accepting(&[2])))
            .client(syn(), untouched(Reason::EntryRefused).and(Event::SuspendRefused))
            .holds(0, 1),
        case(
            "an old connection that cannot be remembered goes to the old member all the same",
            full(moving()),
        )
        .client(data(), to_member(1).and(Event::SuspendRefused))
        .holds(0, 1),
        case("a forged SYN does not move an old connection whose member accepts", moving())
            .client(data(), to_member(1).and(Event::Suspended))
            .client(syn(), opens(1))
            .client(data(), to_member(1)),
        case("a forged SYN does not move an old connection that is proven", moving().accepting(&[2, 3]))
            .client(data(), to_member(1).and(Event::Suspended))
            .member(1, answer(1), to_client().and(Event::Confirmed))
            .client(syn(), opens(2).and(Event::Reused).and(Event::Suspended))
            .client(data(), to_member(1))
            .holds(1, 1),
        case("a forged SYN before it does not move an old connection", moving())
            .client(syn(), opens(2).and(Event::Suspended))
            .client(data(), to_member(1).and(Event::Suspended))
            .holds(0, 1),
        case("another backend port is another view", port_change())
            .client(data(), to_member(1).at_port(9090).and(Event::Suspended))
            .client(syn().from(other), opens(1).and(Event::Suspended)),
        case("a pool that was empty has no say", moving().with_rule(WEB, |rule| rule.old.ring_size = 0))
            .client(syn(), opens(2))
            .client(data(), to_member(2))
            .holds(0, 0),
        case("a pool that is now empty keeps its connections", emptied())
            .client(data(), to_member(1).and(Event::Suspended))
            .client(syn().from(other), opens(1)),
        case("a pool that is now empty, of members that are down, opens nothing", emptied().accepting(&[]))
            .client(syn(), untouched(Reason::NoHealthyMember)),
        case("two empty pools drop everything", emptied().with_rule(WEB, |rule| rule.old.ring_size = 0))
            .client(data(), untouched(Reason::EmptyPool)),
        case("a datagram follows the current view", World::lab().ring(DNS, &[2]).transition_from(DNS, &[1]))
            .client(query(), to_member(2).of(DNS))
            .holds(0, 0),
        case(
            "an old view that is gone has no say",
            moving().with_rule(WEB, |rule| rule.old = View::default()),
        )
        .client(data(), to_member(2))
        .holds(0, 0),
        case("an old connection's FIN is noted from its first packet on", moving())
            .client(data().flags(ACK | super::FIN).payload(b""), to_member(1).and(Event::Suspended))
            .member(1, answer(1).flags(ACK | super::FIN).payload(b""), to_client().and(Event::Confirmed))
            .then(|world| world.settled(WEB))
            .wait(20)
            .client(data().payload(b""), to_member(1))
            .wait(21)
            .client(data().payload(b""), to_member(2)),
    ]
}

fn full(world: World) -> World {
    world.pending(flow("198.51.100.9:9", 1)).pending_refuses_beyond(1)
}

fn port_change() -> World {
    World::lab().transition_from(WEB, &[1]).with_rule(WEB, |rule| {
        rule.old.port = lb_common::units::Port::new(9090);
    })
}

fn emptied() -> World {
    moving().with_rule(WEB, |rule| rule.current.ring_size = 0)
}
