//! What holds for any frame and any tables.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

mod cases;

use cases::case::Executor as _;
use cases::exception::flow;
use cases::expect::{Seen, Verdict};
use cases::native::Native;
use cases::wide::{GAME, VOICE};
use cases::world::{ADMIN, CLIENT_LINK, DNS, MEMBERS, SERVICES, Service, WEB, World, member_socket};
use lb_common::parse::{TCP, TcpFlags, UDP};
use lb_common::reason::Reason;
use lb_common::testkit::{Frame, frame, sums};
use proptest::prelude::*;

const CLIENTS: [&str; 6] = [
    "198.51.100.2:40000",
    "198.51.100.2:40001",
    "198.51.100.77:40000",
    "192.0.2.200:40000",
    "192.0.2.9:53",
    "10.0.2.11:8080",
];

/// Changed by a rewrite: hardware addresses, TTL, header checksum, addresses and ports; the
/// transport checksum comes on top.
const REWRITTEN: [std::ops::Range<usize>; 3] = [0..12, 22..23, 24..38];

fn any_world() -> impl Strategy<Value = World> {
    let label = prop::sample::select(MEMBERS.to_vec());
    let ring = || prop::collection::vec(label.clone(), 1..4);
    let exception = (0..CLIENTS.len(), label.clone(), 0..1500_u32, any::<u8>(), 0..4_u32);
    (
        (ring(), prop::option::of(ring()), ring(), prop::option::of(ring())),
        prop::collection::vec(label.clone(), 0..4),
        prop::collection::vec(exception.clone(), 0..3),
        prop::collection::vec(exception, 0..3),
        (prop::bool::ANY, prop::bool::ANY, 0..3_u32),
    )
        .prop_map(|((web, old_web, dns, old_dns), accepting, confirmed, pending, more)| {
            let mut world = World::lab().wide().ring(WEB, &web).ring(DNS, &dns).accepting(&accepting);
            if let Some(old) = old_web {
                world = world.transition_from(WEB, &old);
            }
            if let Some(old) = old_dns {
                world = world.transition_from(DNS, &old);
            }
            let entry = |(client, label, age, flags, seq): (usize, u16, u32, u8, u32)| {
                flow(CLIENTS[client], label).member_seq(seq).flags(u64::from(flags) << 58).aged(age)
            };
            world = confirmed.into_iter().map(entry).fold(world, World::confirmed);
            world = pending.into_iter().map(entry).fold(world, World::pending);
            let (unresolved, removed, access) = more;
            if unresolved {
                world = world.unresolved(1);
            }
            if removed {
                world = world.removed(3);
            }
            world.access(access, &[("198.51.100.0", 24)])
        })
}

/// All that have rules, two of them a port in a range.
fn services() -> impl Iterator<Item = Service> {
    SERVICES.into_iter().chain([GAME, VOICE])
}

/// A frame that is mostly right, between addresses that mean something.
fn any_frame() -> impl Strategy<Value = Frame> {
    let mut sockets: Vec<String> = CLIENTS.iter().map(ToString::to_string).collect();
    sockets.extend(services().map(|service| service.frontend.to_owned()));
    for label in MEMBERS {
        sockets.extend([WEB, DNS, ADMIN, GAME, VOICE].map(|service| member_socket(label, service.port)));
    }
    sockets.push("10.0.1.1:40000".to_owned());
    let socket = prop::sample::select(sockets);
    let protocol = prop_oneof![6 => Just(TCP), 3 => Just(UDP), 1 => Just(1_u8)];
    let header = (socket.clone(), socket, protocol, any::<u8>(), 0..4_u32, 0..4_u32);
    let shape = (
        prop_oneof![4 => Just(64_u8), 1 => 0..4_u8],
        prop::collection::vec(any::<u8>(), 0..40),
        prop_oneof![9 => Just(0x4000_u16), 1 => any::<u16>()],
        prop_oneof![9 => Just(0_usize), 1 => 1..10_usize],
        prop_oneof![5 => Just(0_usize), 1 => Just(60)],
        prop_oneof![9 => Just(usize::MAX), 1 => 14..80_usize],
        any::<bool>(),
    );
    (header, shape).prop_map(|((source, destination, protocol, flags, seq, ack), shape)| {
        let (ttl, payload, fragment, options, padding, cut, checksum) = shape;
        let frame = match protocol {
            TCP => frame::tcp(&source, &destination).flags(flags).seq(seq).ack(ack),
            UDP if checksum => frame::udp(&source, &destination),
            UDP => frame::udp(&source, &destination).without_checksum(),
            other => frame::other(&source, &destination, other),
        };
        frame
            .ttl(ttl)
            .payload(&payload)
            .fragment(fragment)
            .options(&vec![1; options * 4])
            .padded_to(padding)
            .cut_to(cut)
    })
}

/// A frame of a client that is neither member nor frontend, to a port that has a rule.
fn wanted() -> impl Strategy<Value = Frame> {
    let client = prop::sample::select(CLIENTS[..5].to_vec());
    let service = prop::sample::select(services().collect::<Vec<_>>());
    let payload = prop::collection::vec(any::<u8>(), 0..100);
    (client, service, any::<u8>(), any::<u32>(), payload).prop_map(
        |(client, service, flags, ack, payload)| {
            let frame = match service.protocol {
                TCP => frame::tcp(client, service.frontend).flags(flags).ack(ack),
                _ => frame::udp(client, service.frontend),
            };
            frame.payload(&payload)
        },
    )
}

/// Frames with a few bytes changed after their checksums were computed.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ];
    let mutated = (any_frame(), changes).prop_map(|(frame, changes)| {
        let mut bytes = frame.bytes();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes
    });
    prop_oneof![9 => mutated, 1 => prop::collection::vec(any::<u8>(), 0..80)]
}

fn reason(seen: &Seen) -> Reason {
    *seen.reasons.keys().next().unwrap()
}

fn is_rewritten(reason: Reason) -> bool {
    use Reason::{ReplyByKernel, ReplyToClient, ToMember, ToMemberByKernel};
    [ToMember, ToMemberByKernel, ReplyToClient, ReplyByKernel].contains(&reason)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, max_global_rejects: 40_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_frame_has_one_end_and_only_what_must_change_changes(
        world in any_world(),
        frames in prop::collection::vec((any_bytes(), 0..4_u32), 1..6),
    ) {
        let mut native = Native::new(&world);
        for (input, link) in frames {
            let seen = native.run(&input, CLIENT_LINK + link);
            prop_assert_eq!(seen.frame.len(), input.len());
            if !is_rewritten(reason(&seen)) {
                prop_assert_eq!(&seen.frame, &input);
                prop_assert!(seen.rules.is_empty() && seen.opened.is_empty());
                prop_assert!(matches!(seen.verdict, Verdict::Pass | Verdict::Drop));
                continue;
            }
            prop_assert_eq!(sums(&seen.frame), sums(&input), "{}", seen);
            let checksum = if input[23] == UDP { 40..42 } else { 50..52 };
            for (at, (before, after)) in input.iter().zip(&seen.frame).enumerate() {
                let may = REWRITTEN.iter().chain([&checksum]).any(|range| range.contains(&at));
                prop_assert!(may || before == after, "byte {} of {}", at, seen);
            }
        }
    }

    #[test]
    fn the_reply_to_what_was_forwarded_comes_from_where_that_was_sent(
        world in any_world(),
        frame in wanted(),
    ) {
        let input = frame.bytes();
        let mut native = Native::new(&world);
        let forwarded = native.run(&input, CLIENT_LINK);
        prop_assume!([Reason::ToMember, Reason::ToMemberByKernel].contains(&reason(&forwarded)));
        let reply = native.run(&turned(&forwarded.frame), CLIENT_LINK + 1);
        let end = reason(&reply);
        if end == Reason::NoRoute {
            prop_assert_eq!(&input[26..30], &[192, 0, 2, 200]);
        } else if end == Reason::MartianReply {
            prop_assert_eq!(&input[30..34], &[198, 51, 100, 1]);
        } else {
            prop_assert!(is_rewritten(end), "{reply} for the reply to {forwarded}");
            prop_assert_eq!(&reply.frame[26..30], &input[30..34]);
            prop_assert_eq!(&reply.frame[30..34], &input[26..30]);
            prop_assert_eq!(&reply.frame[34..36], &input[36..38]);
            prop_assert_eq!(&reply.frame[36..38], &input[34..36]);
            prop_assert_eq!(sums(&reply.frame).unwrap().transport, sums(&input).unwrap().transport);
        }
    }
}

/// The frame with both ends exchanged, which leaves the transport checksum right, many hops to go,
/// and no TCP flag but ACK, which does not.
fn turned(frame: &[u8]) -> Vec<u8> {
    let mut reply = frame.to_vec();
    reply[26..30].copy_from_slice(&frame[30..34]);
    reply[30..34].copy_from_slice(&frame[26..30]);
    reply[34..36].copy_from_slice(&frame[36..38]);
    reply[36..38].copy_from_slice(&frame[34..36]);
    reply[22] = 64;
    if frame[23] == TCP {
        reply[47] = TcpFlags::ACK;
        // RFC 1624: the flags are the lower half of a word whose change moves the checksum.
        let change = u32::from(frame[47]) + u32::from(!u16::from(TcpFlags::ACK));
        let sum = u32::from(u16::from_be_bytes([frame[50], frame[51]])) + change;
        let folded = (sum & 0xffff) + (sum >> 16);
        let folded = (folded & 0xffff) + (folded >> 16);
        reply[50..52].copy_from_slice(&u16::try_from(folded).unwrap().to_be_bytes());
    }
    reply
}
