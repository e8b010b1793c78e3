//! Which packets of one client have the same member, by distribution mode.

use std::iter;

use lb_common::abi::Mode;
use lb_common::hash;
use lb_common::reason::Event;

use super::selection::{RING, drawn, hash_from, hash_of, in_slot, syn_in_slot};
use super::{ACK, data, query, syn};
use crate::cases::case::{Case, case};
use crate::cases::expect::{opens, to_member};
use crate::cases::world::{ADMIN, DNS, MEMBERS, SERVICES, WEB, World};

pub(super) fn rows() -> Vec<Case> {
    let affine = in_slot(&RING, Mode::SourceIp, 0);
    let other = 3 - affine;
    let client = spread_client();
    let (own, stand_in) = stand_in();
    let (ring, [of_tcp, of_udp]) = ring_that_tells_protocols_apart();
    let without_own: Vec<u16> = MEMBERS.into_iter().filter(|member| *member != own).collect();
    vec![
        case("S-DIST-1, S-DIST-6: another port of a client may have another member", every(&RING))
            .client(syn_in_slot(&RING, 1), opens(1))
            .client(syn_in_slot(&RING, 2), opens(2)),
        case(
            "S-DIST-1: another frontend or protocol may have another member, for the same port",
            every(&RING),
        )
        .client(syn().from(&client), opens(1))
        .client(syn().from(&client).to(ADMIN.frontend), opens(2).of(ADMIN))
        .client(query().from(&client), to_member(2).of(DNS)),
        case(
            "S-DIST-5: with source affinity, a client's TCP and UDP to one frontend have one member",
            in_mode(every(&RING), Mode::SourceIp),
        )
        .client(syn(), opens(affine))
        .client(query(), to_member(affine).of(DNS)),
        case(
            "S-DIST-5: with source and protocol affinity, they may have two",
            in_mode(every(&ring), Mode::SourceIpProtocol),
        )
        .client(syn(), opens(of_tcp))
        .client(query(), to_member(of_udp).of(DNS)),
        case(
            "S-DIST-10, S-DIST-5: with source affinity, one member stands in for all that a client sends",
            in_mode(every(&MEMBERS), Mode::SourceIp).accepting(&without_own),
        )
        .client(syn_in_slot(&RING, 1), opens(stand_in).and(Event::Fallback).and(Event::Suspended))
        .client(syn_in_slot(&RING, 2), opens(stand_in).and(Event::Fallback).and(Event::Suspended))
        .client(query(), to_member(stand_in).of(DNS)),
        case("S-RULE-10: a change of distribution moves no open connection", every(&RING))
            .client(syn_in_slot(&RING, other), opens(other))
            .then(|world| in_mode(world.transition_from(WEB, &RING), Mode::SourceIp))
            .client(syn_in_slot(&RING, other).flags(ACK), to_member(other).and(Event::Suspended))
            .client(syn_in_slot(&RING, affine), opens(affine)),
        changed("... from source-ip to 5-tuple", Mode::SourceIp, Mode::FiveTuple),
        changed("... from source-ip to source-ip-protocol", Mode::SourceIp, Mode::SourceIpProtocol),
        changed("... from source-ip-protocol to 5-tuple", Mode::SourceIpProtocol, Mode::FiveTuple),
        case("S-DIST-15: a datagram follows a change of distribution at once", every(&RING))
            .client(query().from(&client), to_member(2).of(DNS))
            .then(|world| in_mode(world.transition_from(DNS, &RING), Mode::SourceIp))
            .client(query().from(&client), to_member(affine).of(DNS))
            .holds(0, 0),
    ]
}

/// The same ring for all services.
fn every(ring: &[u16]) -> World {
    SERVICES.into_iter().fold(World::lab(), |world, service| world.ring(service, ring))
}

fn in_mode(world: World, mode: Mode) -> World {
    SERVICES
        .into_iter()
        .fold(world, |world, service| world.with_rule(service, |rule| rule.current.mode = mode as u8))
}

/// What is open stays, what is new goes where the new mode says, and who has the same member by
/// both modes leaves no trace.
fn changed(sentence: &'static str, before: Mode, after: Mode) -> Case {
    let member = |client: &str, mode| drawn(&RING, hash_from(client, WEB, mode));
    let clients = |old, new| {
        let all = (2..255).map(|n| format!("198.51.100.{n}:40000"));
        all.filter(move |client| (member(client, before), member(client, after)) == (old, new))
    };
    let [open, opening] = [0, 1].map(|nth| clients(1, 2).nth(nth).unwrap());
    let steady = clients(1, 1).next().unwrap();
    let world = in_mode(every(&RING), after)
        .transition_from(WEB, &RING)
        .with_rule(WEB, |rule| rule.old.mode = before as u8);
    case(sentence, world)
        .client(data().from(&steady), to_member(1))
        .client(syn().from(&steady), opens(1))
        .client(data().from(&open), to_member(1).and(Event::Suspended))
        .client(data().from(&open), to_member(1))
        .client(syn().from(&opening), opens(2).and(Event::Suspended))
        .holds(0, 2)
}

/// A client whose connection to the web has member 1, and member 2 for everything else.
fn spread_client() -> String {
    let members =
        |port| [WEB, ADMIN, DNS].map(|service| drawn(&RING, hash_of(service, Mode::FiveTuple, port)));
    let port = (40_000..=u16::MAX).find(|port| members(*port) == [1, 2, 2]).unwrap();
    format!("198.51.100.2:{port}")
}

/// A ring in which the client's TCP and UDP have these members.
fn ring_that_tells_protocols_apart() -> (Vec<u16>, [u16; 2]) {
    let rings = (2..100).map(|slots| MEMBERS.into_iter().cycle().take(slots).collect::<Vec<_>>());
    let members =
        |ring: &[u16]| [WEB, DNS].map(|service| drawn(ring, hash_of(service, Mode::SourceIpProtocol, 0)));
    let mut with_members = rings.map(|ring| (members(&ring), ring));
    let (members, ring) = with_members.find(|([tcp, udp], _)| tcp != udp).unwrap();
    (ring, members)
}

/// The member of the client's address, and the first that is drawn in its stead.
fn stand_in() -> (u16, u16) {
    let hashes = iter::successors(Some(hash_of(WEB, Mode::SourceIp, 0)), |hash| Some(hash::again(*hash)));
    let mut draws = hashes.map(|hash| drawn(&MEMBERS, hash));
    let own = draws.next().unwrap();
    (own, draws.find(|member| *member != own).unwrap())
}
