//! Flows that all have entries.

use lb_common::abi::{Forwarding, NatSource, Rule, TRACKED_REPLIES};
use lb_common::reason::{Event, Reason};
use lb_common::testkit::{Frame, frame};
use lb_common::units::MemberId;

use super::{ACK, FIN, RST, SYN, ack, answer, data, named, query, syn, syn_ack};
use crate::cases::case::{Case, case};
use crate::cases::expect::{opens, to_client, to_member, untouched};
use crate::cases::world::{ADMIN, CLIENT, DNS, LIFE, NEIGHBOUR, Service, WEB, World, address, member_socket};

/// Our address on the link of member 1, and its one port for clients that the member must not see.
const US: &str = "10.0.1.1:20000";

/// A rule that tracks.
fn tracking(world: World, service: Service) -> World {
    world.with_rule(service, |rule| rule.flags = Rule::TRACKED).with(|map| {
        let reverses = map.reverse.iter_mut().filter(|(key, _)| key.port.get() == service.port);
        reverses.for_each(|(_, reverse)| reverse.flags = TRACKED_REPLIES);
    })
}

/// Members whose clients of these bits leave from [`US`].
fn hiding(world: World, bits: [u8; 4]) -> World {
    world.with(|map| {
        let source = NatSource { address: address(US), first: 20_000, ports: 1, run: 1, reserved: 0 };
        map.sources.insert(1, source);
        for member in map.members.values_mut() {
            (member.apart, member.sources) = (bits.into(), 1);
        }
    })
}

/// Member 1 and its neighbour have a link in common.
fn on_link() -> World {
    hiding(World::lab(), [0xff, 0xff, 0xff, 0])
}

/// Members see nobody but us.
fn full_nat() -> World {
    let world = hiding(World::lab(), [0; 4]);
    world.with(|map| map.members.values_mut().for_each(|it| it.forwarding = Forwarding::FullNat as u8))
}

/// What a member sends to us in place of the client.
fn to_us(frame: Frame) -> Frame {
    frame.to(US)
}

/// The web frontend of another rule on the same port of the same members.
fn sharing() -> World {
    let world = tracking(tracking(World::lab(), WEB), ADMIN);
    world
        .with_rule(ADMIN, |rule| rule.current.port = lb_common::units::Port::new(WEB.port))
        .with(|map| map.reverse.retain(|key, _| key.port.get() != ADMIN.port))
}

pub(super) fn rows() -> Vec<Case> {
    [tracked(), hidden(), shared()].into_iter().flatten().collect()
}

/// Rules that track.
fn tracked() -> Vec<Case> {
    let web = || tracking(World::lab(), WEB);
    let dns = || tracking(World::lab(), DNS);
    vec![
        case("a tracked connection has two entries, and is proven by its acknowledgement", web())
            .client(syn(), opens(1))
            .member(1, syn_ack(1, 5000), to_client())
            .client(ack(5001), to_member(1).and(Event::Tracked))
            .client(data(), to_member(1))
            .member(1, answer(1), to_client())
            .tracks(2, 2)
            .holds(0, 0),
        case("a tracked connection is not proven by any other number, and goes its way unproven", web())
            .client(syn(), opens(1))
            .member(1, syn_ack(1, 5000), to_client())
            .client(ack(5002), to_member(1))
            .tracks(0, 2),
        case("S-DIST-13: a tracked connection stays with its member when its slot moves", web())
            .client(syn(), opens(1))
            .then(|world| world.ring(WEB, &[2]))
            .member(1, syn_ack(1, 5000), to_client())
            .client(ack(5001), to_member(1).and(Event::Tracked))
            .client(syn().from("198.51.100.2:40001"), opens(2))
            .client(data(), to_member(1)),
        case("S-DIST-16: tracked datagrams stay with their member, whatever its health", dns())
            .client(query(), to_member(1).of(DNS))
            .then(|world| world.ring(DNS, &[2]).accepting(&[2]))
            .client(query(), to_member(1).of(DNS))
            .client(query().from("198.51.100.2:40001"), to_member(2).of(DNS))
            .tracks(0, 4),
        case("tracked datagrams are a conversation once the member has answered", dns())
            .client(query(), to_member(1).of(DNS))
            .member(1, named(1), to_client().of(DNS).and(Event::Tracked))
            .client(query(), to_member(1).of(DNS))
            .member(1, named(1), to_client().of(DNS))
            .tracks(2, 2),
        case("a conversation that was silent for longer than its life begins anew", dns())
            .client(query(), to_member(1).of(DNS))
            .member(1, named(1), to_client().of(DNS).and(Event::Tracked))
            .wait(LIFE + 1)
            .then(|world| world.ring(DNS, &[2]))
            .client(query(), to_member(2).of(DNS)),
        case("one end of a conversation keeps it alive for the other", dns())
            .client(query(), to_member(1).of(DNS))
            .member(1, named(1), to_client().of(DNS).and(Event::Tracked))
            .wait(LIFE)
            .member(1, named(1), to_client().of(DNS))
            .wait(LIFE)
            .then(|world| world.ring(DNS, &[2]))
            .client(query(), to_member(1).of(DNS)),
        case(
            "a connection that is older than the tracking gets its entries, and its replies need none",
            web(),
        )
        .member(1, answer(1), to_client())
        .client(data(), to_member(1))
        .member(1, answer(1), to_client().and(Event::Tracked))
        .tracks(2, 2),
        case("a tracked connection that was reset makes room for another between the same ports", web())
            .client(syn(), opens(1))
            .member(1, syn_ack(1, 5000), to_client())
            .client(ack(5001), to_member(1).and(Event::Tracked))
            .client(ack(5001).flags(RST), to_member(1))
            .then(|world| world.ring(WEB, &[2]).accepting(&[2]))
            .client(syn(), opens(2).and(Event::Reused))
            .member(2, syn_ack(2, 9000), to_client())
            .client(ack(9001), to_member(2).and(Event::Tracked))
            .client(data(), to_member(2)),
        case("a forged SYN does not take a tracked connection over", web())
            .client(syn(), opens(1))
            .member(1, syn_ack(1, 5000), to_client())
            .client(ack(5001), to_member(1).and(Event::Tracked))
            .then(|world| world.ring(WEB, &[2]).accepting(&[2]))
            .client(syn(), opens(2).and(Event::Reused))
            .client(data(), to_member(1))
            .member(1, answer(1), to_client()),
        case("a tracked connection that both ends have closed lives on for a moment", web())
            .client(syn(), opens(1))
            .member(1, syn_ack(1, 5000), to_client())
            .client(ack(5001).flags(FIN | ACK), to_member(1).and(Event::Tracked))
            .member(1, answer(1).flags(FIN | ACK), to_client())
            .wait(crate::cases::world::CLOSED_LIFE)
            .client(ack(77_016), to_member(1))
            .wait(crate::cases::world::CLOSED_LIFE + 1)
            .then(|world| world.ring(WEB, &[2]))
            .client(data(), to_member(2)),
        case("a rule that tracks no more asks the entries that it has left", web())
            .client(syn(), opens(1))
            .member(1, syn_ack(1, 5000), to_client())
            .client(ack(5001), to_member(1).and(Event::Tracked))
            .then(|world| world.ring(WEB, &[2]).with_rule(WEB, |rule| rule.flags = 0))
            .client(data(), to_member(1))
            .client(data().from("198.51.100.2:40001"), to_member(2)),
        case("what a member sends from another port is of no flow", web()).client(syn(), opens(1)).member(
            1,
            frame::tcp(&member_socket(1, 300), CLIENT).flags(SYN),
            untouched(Reason::OfMember),
        ),
        case("a tracked flow whose member has no label any more is dropped", web())
            .client(syn(), opens(1))
            .then(|world| world.removed(1))
            .client(data(), untouched(Reason::MemberUnknown)),
    ]
}

/// Clients that members must not see.
fn hidden() -> Vec<Case> {
    let neighbour = |frame: Frame| frame.from(NEIGHBOUR);
    vec![
        case(
            "S-HAIR-2, S-HAIR-3: a client on the member's link leaves from our address, and is answered",
            on_link(),
        )
        .member(1, neighbour(syn()), opens(1).with_other(US))
        .member(1, to_us(syn_ack(1, 5000)), to_client().with_other(NEIGHBOUR).by(1))
        .member(1, neighbour(ack(5001)), to_member(1).with_other(US).and(Event::Tracked))
        .member(1, to_us(answer(1)), to_client().with_other(NEIGHBOUR).by(1))
        .tracks(2, 2),
        case("others are forwarded plainly beside it", on_link()).client(syn(), opens(1)).tracks(0, 0),
        case("... and so is the same client to a member of another link", on_link().ring(WEB, &[2]))
            .member(1, neighbour(syn()), opens(2))
            .tracks(0, 0),
        case("S-HAIR-1: a member that the hash sends to itself reaches itself", on_link())
            .member(1, syn().from(&member_socket(1, 40_000)), opens(1).with_other(US))
            .member(1, to_us(syn_ack(1, 5000)), to_client().with_other("10.0.1.11:40000").by(1))
            .tracks(0, 2),
        case("... also where nobody else shares its link", hiding(World::lab(), [0xff; 4]))
            .member(1, syn().from(&member_socket(1, 40_000)), opens(1).with_other(US))
            .member(1, neighbour(syn()), opens(1))
            .tracks(0, 2),
        case("a hidden connection stays with its member when its slot moves to another link", on_link())
            .member(1, neighbour(syn()), opens(1).with_other(US))
            .then(|world| world.ring(WEB, &[2]))
            .member(1, neighbour(data()), to_member(1).with_other(US)),
        case("a port of ours serves one flow to a member's port at a time", on_link())
            .member(1, neighbour(syn()), opens(1).with_other(US))
            .member(
                1,
                syn().from("10.0.1.51:40000"),
                untouched(Reason::NoSourcePort).and(Event::TrackRefused),
            )
            .tracks(0, 2),
        case("a SYN that comes again goes the same way", on_link())
            .member(1, neighbour(syn()), opens(1).with_other(US))
            .member(1, neighbour(syn()), opens(1).with_other(US))
            .tracks(0, 2),
        case(
            "without an address of ours a hidden flow is refused",
            on_link().with(|map| map.sources.clear()),
        )
        .member(1, neighbour(syn()), untouched(Reason::NoSourcePort).and(Event::TrackRefused)),
        case("what else a member sends to us is the host's", on_link())
            .member(1, neighbour(syn()), opens(1).with_other(US))
            .member(1, answer(1).to("10.0.1.1:20001"), untouched(Reason::ToHost))
            .member(1, answer(2).to(US), untouched(Reason::ToHost)),
        case("full NAT: members see nobody but us, by TCP", full_nat())
            .client(syn(), opens(1).with_other(US))
            .member(1, to_us(syn_ack(1, 5000)), to_client().with_other(CLIENT))
            .client(ack(5001), to_member(1).with_other(US).and(Event::Tracked))
            .client(data(), to_member(1).with_other(US))
            .member(1, to_us(answer(1)), to_client().with_other(CLIENT)),
        case("... and by UDP", full_nat()).client(query(), to_member(1).with_other(US).of(DNS)).member(
            1,
            to_us(named(1)),
            to_client().with_other(CLIENT).of(DNS).and(Event::Tracked),
        ),
        case(
            "full NAT: nothing leaves from an address of the host's own by the kernel",
            full_nat()
                .unresolved(1)
                .with(|map| map.members.get_mut(&MemberId(1)).unwrap().address = address("10.0.3.99:0")),
        )
        .client(syn(), untouched(Reason::MartianReply)),
    ]
}

/// Two rules to one port of the same members.
fn shared() -> Vec<Case> {
    vec![
        case("two rules share a port of their members, and each reply is its own flow's", sharing())
            .client(syn(), opens(1))
            .client(syn().from("198.51.100.2:40001").to(ADMIN.frontend), opens(1).of(ADMIN).at_port(WEB.port))
            .member(1, syn_ack(1, 5000), to_client())
            .member(1, syn_ack(1, 6000).to("198.51.100.2:40001"), to_client().of(ADMIN))
            .tracks(0, 4),
        case("a client that reaches one port of a member through both leaves from our address", {
            hiding(sharing(), [0xff; 4])
        })
        .client(syn(), opens(1))
        .client(syn().to(ADMIN.frontend), opens(1).of(ADMIN).at_port(WEB.port).with_other(US))
        .member(1, to_us(syn_ack(1, 6000)), to_client().of(ADMIN).with_other(CLIENT))
        .member(1, syn_ack(1, 5000), to_client())
        .tracks(0, 4),
        case("... and is refused where there is none", sharing())
            .client(syn(), opens(1))
            .client(
                syn().to(ADMIN.frontend),
                untouched(Reason::NoSourcePort).of(ADMIN).and(Event::TrackRefused),
            )
            .tracks(0, 2),
    ]
}
