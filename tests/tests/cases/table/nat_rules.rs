//! Ports of NAT rules: rings of one slot.

use lb_common::abi::View;
use lb_common::reason::{Event, Reason};

use super::{SYN, answer, data, named, query, syn};
use crate::cases::case::{Case, case};
use crate::cases::expect::{opens, to_client, to_member, untouched};
use crate::cases::world::{DNS, Service, WEB, World};

/// The port of a member whose bit is always set.
fn to_one() -> World {
    World::lab().ring(WEB, &[2]).ring(DNS, &[2]).accepting(&[2])
}

/// Its member has left: nobody accepts, and the old view alone names it.
fn held(service: Service) -> World {
    World::lab().transition_from(service, &[1]).with_rule(service, |rule| {
        rule.current = View { ring_base: 0, ring_size: 0, health_words: 0, ..rule.current };
        rule.old.health_words = 0;
    })
}

pub(super) fn rows() -> Vec<Case> {
    let other = "198.51.100.2:40001";
    vec![
        case("S-DIST-18, S-NAT-1: every flow to a ring of one slot has its one member", to_one())
            .client(syn(), opens(2))
            .client(data(), to_member(2))
            .client(syn().from(other), opens(2))
            .client(query(), to_member(2).of(DNS))
            .holds(0, 0),
        case("a port is held: the connections of its member go on, and are remembered", held(WEB))
            .client(data(), to_member(1).and(Event::Suspended))
            .member(1, answer(1), to_client().and(Event::Confirmed))
            .client(data(), to_member(1))
            .holds(1, 1),
        case("a port is held: nobody gets in, whether it is known or not", held(WEB))
            .client(syn().from(other), untouched(Reason::NoHealthyMember))
            .client(data(), to_member(1).and(Event::Suspended))
            .client(syn(), untouched(Reason::NoHealthyMember))
            .client(syn().flags(SYN).from(other), untouched(Reason::NoHealthyMember))
            .holds(0, 1),
        case("a port is held: its replies are rewritten, new datagrams are dropped", held(DNS))
            .client(query(), untouched(Reason::NoHealthyMember).of(DNS))
            .member(1, named(1), to_client().of(DNS))
            .holds(0, 0),
    ]
}
