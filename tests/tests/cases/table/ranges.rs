//! Rules of more than one port: one port comes before a range, and a range before all.

use std::sync::Arc;

use lb_common::abi::{Rule, TRACKED_REPLIES, View};
use lb_common::reason::{Event, Reason};
use lb_common::testkit::{Frame, frame};
use lb_common::units::{MemberId, Port};

use super::{ACK, SYN};
use crate::cases::case::{Case, case};
use crate::cases::expect::{error_to_client, error_to_member, opens, to_client, to_member, untouched};
use crate::cases::wide::{ANY, GAME, GAME_FIRST, GAME_LAST, VOICE, range_key};
use crate::cases::world::{CLIENT, Service, WEB, World, member_socket};

pub(super) fn rows() -> Vec<Case> {
    let wide = || World::lab().wide();
    let direct = |frame: Frame| frame.to(&member_socket(1, GAME.port));
    vec![
        case(
            "S-RULE-11: each port of a range goes to the port of the member that is as far behind the first",
            wide(),
        )
        .client(syn(GAME_FIRST), opens(1).of(GAME_FIRST))
        .client(syn(GAME), opens(1).of(GAME))
        .client(data(GAME_LAST), to_member(1).of(GAME_LAST))
        .client(query(VOICE), to_member(1).of(VOICE))
        .holds(0, 0),
        case("ports beside a range are no rule's", wide())
            .client(syn(GAME).to("203.0.113.10:7999"), untouched(Reason::NoRule))
            .client(syn(GAME).to("203.0.113.10:8064"), untouched(Reason::NoRule))
            .client(query(VOICE).to("203.0.113.10:7008"), untouched(Reason::NoRule)),
        case("a range is of its protocol", wide())
            .client(query(VOICE).to(GAME.frontend), untouched(Reason::NoRule))
            .client(syn(VOICE), untouched(Reason::NoRule)),
        case(
            "ranges of another epoch are not in force",
            wide().with(|map| {
                let ranges = std::mem::take(&mut map.ranges);
                map.ranges = ranges
                    .into_iter()
                    .map(|(mut ports, range)| {
                        ports.key.epoch += 1;
                        (ports, range)
                    })
                    .collect();
            }),
        )
        .client(syn(GAME), untouched(Reason::NoRule)),
        case("a reply from a range gets the frontend's port that is as far behind the first", wide())
            .member(1, answer(1, GAME_FIRST), to_client().of(GAME_FIRST))
            .member(2, answer(2, GAME), to_client().of(GAME))
            .member(3, answer(3, GAME_LAST), to_client().of(GAME_LAST))
            .member(1, named(1, VOICE), to_client().of(VOICE))
            .holds(0, 0),
        case("S-DIST-13: a flow to a range that tracks stays with its member", tracking(wide()))
            .client(syn(GAME_LAST), opens(1).of(GAME_LAST))
            .client(syn(GAME), opens(1).of(GAME))
            .then(|world| {
                world.with(|map| _ = map.rings.insert(GAME.ring_base, Arc::new([MemberId(2)].into())))
            })
            .client(data(GAME_LAST), to_member(1).of(GAME_LAST))
            .client(data(GAME), to_member(1).of(GAME))
            .member(1, answer(1, GAME_LAST), to_client().of(GAME_LAST))
            .tracks(0, 4),
        case("what a member sends from beside its range is of none", wide())
            .member(1, answer(1, GAME).from(&member_socket(1, 8999)), untouched(Reason::OfMember))
            .member(1, answer(1, GAME).from(&member_socket(1, 9064)), untouched(Reason::OfMember))
            .member(1, named(1, VOICE).from(&member_socket(1, 7008)), untouched(Reason::OfMember)),
        case("UDP from a range to a peer whose datagrams go elsewhere is no reply", wide()).member(
            2,
            named(2, VOICE),
            untouched(Reason::UdpNotReply),
        ),
        case("a port of its own comes before a range", exact_in_range(wide()))
            .client(syn(GAME), opens(1).of(WEB))
            .client(syn(GAME_LAST), opens(1).of(GAME_LAST)),
        case("a range comes before all ports", wide().all_ports())
            .client(syn(GAME), opens(1).of(GAME))
            .client(syn(ANY), opens(1).of(ANY))
            .client(query(VOICE).to(ANY.frontend), untouched(Reason::NoRule)),
        case("S-HA-1: with all ports each stays what it is", World::lab().all_ports())
            .client(syn(WEB), opens(1))
            .client(syn(ANY), opens(1).of(ANY))
            .client(data(GAME), to_member(1).of(ANY).at_port(8050)),
        case("a connection to a range is remembered by its own port", wide().accepting(&[2]))
            .client(syn(GAME), opens(2).of(GAME).and(Event::Suspended).and(Event::Fallback))
            .member(2, answer(2, GAME).flags(SYN | ACK).seq(4999).ack(1001), to_client().of(GAME))
            .client(data(GAME).ack(5000), to_member(2).of(GAME).and(Event::Confirmed))
            .then(|world| world.accepting(&[1, 2]))
            .client(data(GAME).ack(5000), to_member(2).of(GAME))
            .client(syn(GAME_LAST), opens(1).of(GAME_LAST))
            .holds(1, 1),
        case(
            "a connection to a range that is older than a change stays, at its own port",
            moved_range(wide()),
        )
        .client(data(GAME), to_member(3).of(GAME).at_port(6050).and(Event::Suspended))
        .client(data(GAME), to_member(3).of(GAME).at_port(6050))
        .client(syn(GAME_LAST), opens(1).of(GAME_LAST).and(Event::Suspended))
        .holds(0, 2),
        case("who talks to a range of a member past the frontend is left alone", wide())
            .client(direct(syn(GAME)), untouched(Reason::Direct).and(Event::Suspended))
            .member(1, answer(1, GAME).flags(SYN | ACK).seq(4999).ack(1001), untouched(Reason::Direct))
            .member(1, answer(1, GAME).seq(5000), untouched(Reason::Direct).and(Event::Confirmed)),
        case("a member that opens a connection from a port of its range is left alone", wide()).member(
            1,
            answer(1, GAME).flags(SYN),
            untouched(Reason::OwnConnection).and(Event::Suspended),
        ),
        case("an error about a reply from a range finds its member", wide()).client(
            frame::icmp("198.51.100.2:0", GAME.frontend, 3, 4)
                .quoting(&data(GAME).from(GAME.frontend).to(CLIENT), 8),
            error_to_member(
                1,
                frame::icmp("198.51.100.2:0", &member_socket(1, 0), 3, 4)
                    .quoting(&data(GAME).from(&member_socket(1, GAME.port)).to(CLIENT), 8),
            ),
        ),
        case("an error about a datagram to a range is the frontend's to the client", wide()).member(
            1,
            frame::icmp(&member_socket(1, 0), "198.51.100.2:0", 3, 3)
                .quoting(&query(VOICE).to(&member_socket(1, VOICE.port)), 8),
            error_to_client(frame::icmp(VOICE.frontend, "198.51.100.2:0", 3, 3).quoting(&query(VOICE), 8)),
        ),
    ]
}

/// The web's rule at a port of the range.
fn exact_in_range(world: World) -> World {
    world.with(|map| {
        let rule = map.rules[&WEB.key(map.root.epoch)];
        map.rules.insert(GAME.key(map.root.epoch), rule);
    })
}

/// The range has gone to member 3, from port 6000 on, until now.
fn moved_range(world: World) -> World {
    world.with(|map| {
        map.rings.insert(7000, Arc::new(vec![MemberId(3)]));
        let rule = map.rules.get_mut(&range_key(GAME, 8000, map.root.epoch)).unwrap();
        rule.old = View { ring_base: 7000, port: Port::new(6000), ..rule.current };
    })
}

fn syn(service: Service) -> Frame {
    frame::tcp(CLIENT, service.frontend).flags(SYN).seq(1000).ack(0)
}

fn data(service: Service) -> Frame {
    frame::tcp(CLIENT, service.frontend).seq(1001).ack(77_000).payload(b"move 3")
}

fn answer(label: u16, service: Service) -> Frame {
    frame::tcp(&member_socket(label, service.port), CLIENT).seq(77_000).ack(1001).payload(b"moved")
}

fn query(service: Service) -> Frame {
    frame::udp(CLIENT, service.frontend).payload(b"hello")
}

fn named(label: u16, service: Service) -> Frame {
    frame::udp(&member_socket(label, service.port), CLIENT).payload(b"hello")
}

/// The range of TCP with entries for its flows.
fn tracking(world: World) -> World {
    world.with(|map| {
        map.rules.get_mut(&range_key(GAME, 8000, map.root.epoch)).unwrap().flags = Rule::TRACKED;
        let replies = map.reverse.values_mut().filter(|reverse| reverse.stats == GAME.stats);
        replies.for_each(|reverse| reverse.flags = TRACKED_REPLIES);
    })
}
