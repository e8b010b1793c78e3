//! What holds for any ICMP message and whatever it quotes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

mod cases;

use cases::case::Executor as _;
use cases::expect::Verdict;
use cases::native::Native;
use cases::world::{ADMIN, CLIENT_LINK, DNS, Family, MEMBERS, SERVICES, WEB, World, member_socket};
use lb_common::abi::AddressFlags;
use lb_common::family::ETH_LEN;
use lb_common::parse::{TCP, UDP};
use lb_common::reason::Reason;
use lb_common::testkit::{Frame, frame, packet, quoted_sums, sums};
use proptest::prelude::*;

const CLIENTS: [&str; 4] =
    ["198.51.100.2:40000", "198.51.100.77:40000", "192.0.2.200:40000", "198.51.100.66:40000"];
const KINDS: [(u8, u8); 6] = [(3, 1), (3, 3), (3, 4), (11, 0), (12, 0), (8, 0)];

/// Rewritten, or turned round in place.
const CARRIED: [Reason; 5] = [
    Reason::ErrorToMember,
    Reason::ErrorToClient,
    Reason::ToMemberByKernel,
    Reason::ReplyByKernel,
    Reason::EchoReply,
];

fn any_world() -> impl Strategy<Value = World> {
    let label = prop::sample::select(MEMBERS.to_vec());
    let ring = prop::collection::vec(label.clone(), 1..4);
    let accepting = prop::collection::vec(label, 0..4);
    let flags = prop::sample::select(vec![AddressFlags::SERVES, AddressFlags::DOWN, AddressFlags::default()]);
    (ring, accepting, flags, any::<bool>()).prop_map(|(ring, accepting, flags, unresolved)| {
        let world = World::lab().ring(WEB, &ring).ring(DNS, &ring).accepting(&accepting);
        let world = world.health_of(WEB.frontend, flags);
        if unresolved { world.unresolved(1) } else { world }
    })
}

fn any_socket() -> impl Strategy<Value = String> {
    let members = MEMBERS.iter().flat_map(|label| [WEB, DNS, ADMIN].map(|to| member_socket(*label, to.port)));
    let frontends = SERVICES.iter().map(|service| service.frontend.to_owned());
    let all = CLIENTS.iter().map(ToString::to_string).chain(frontends).chain(members).collect::<Vec<_>>();
    prop::sample::select(all)
}

fn any_packet() -> impl Strategy<Value = Frame> {
    let protocol = prop_oneof![5 => Just(TCP), 5 => Just(UDP), 1 => any::<u8>()];
    let payload = prop::collection::vec(any::<u8>(), 0..60);
    let fragment = prop_oneof![9 => Just(0x4000_u16), 1 => any::<u16>()];
    (any_socket(), any_socket(), protocol, payload, fragment, any::<bool>()).prop_map(
        |(source, destination, protocol, payload, fragment, checksum)| {
            let frame = match protocol {
                TCP => frame::tcp(&source, &destination),
                UDP if checksum => frame::udp(&source, &destination),
                UDP => frame::udp(&source, &destination).without_checksum(),
                other => frame::other(&source, &destination, other),
            };
            frame.payload(&payload).fragment(fragment)
        },
    )
}

/// A message that is mostly right: of either end of the packet that it quotes, or of somebody else.
fn any_message() -> impl Strategy<Value = Frame> {
    let behind = prop_oneof![3 => Just(usize::MAX), 3 => Just(8_usize), 3 => 0..80_usize];
    let shape = (
        prop_oneof![9 => Just(64_u8), 1 => 0..3_u8],
        prop::collection::vec(any::<u8>(), 0..4),
        prop_oneof![5 => Just(0_usize), 1 => Just(100)],
        prop_oneof![9 => Just(usize::MAX), 1 => 14..120_usize],
    );
    let kind = prop::sample::select(KINDS.to_vec());
    (any_packet(), any_socket(), 0..4_u8, kind, any::<u32>(), behind, shape).prop_map(
        |(packet, other, ends, (kind, code), rest, behind, (ttl, payload, padding, cut))| {
            let [from, to] = packet.sockets().map(|socket| socket.to_string());
            let source = if ends & 1 == 0 { to } else { other.clone() };
            let destination = if ends & 2 == 0 || kind != 8 { from } else { other };
            let message = frame::icmp(&source, &destination, kind, code).rest(rest).ttl(ttl);
            message.quoting(&packet, behind).payload(&payload).padded_to(padding).cut_to(cut)
        },
    )
}

fn any_changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    prop_oneof![
        4 => Just(Vec::new()),
        1 => prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ]
}

/// What must hold of a message from this link.
fn has_one_end_and_its_sums(world: &World, input: &[u8], link: u32) -> Result<(), TestCaseError> {
    let seen = Native::new(world).run(input, link);
    let reason = *seen.reasons.keys().next().unwrap();
    if CARRIED.contains(&reason) {
        prop_assert_eq!(seen.frame.len(), input.len());
        prop_assert_eq!(sums(&seen.frame), sums(input), "{}", seen);
        prop_assert_eq!(quoted_sums(&seen.frame), quoted_sums(input), "{}", seen);
        let end = ETH_LEN + packet(&input[ETH_LEN..]).unwrap().len();
        prop_assert_eq!(&seen.frame[end..], &input[end..], "{}", seen);
    } else if reason == Reason::EchoUnreachable {
        prop_assert_eq!(seen.verdict, Verdict::Redirect);
        let good = sums(&seen.frame).unwrap();
        prop_assert!(good.ip && good.transport, "{}", seen);
    } else {
        prop_assert_eq!(&seen.frame, input);
        prop_assert!(matches!(seen.verdict, Verdict::Pass | Verdict::Drop));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_message_has_one_end_and_what_goes_on_has_the_sums_that_it_came_with(
        world in any_world(),
        message in any_message(),
        changes in any_changes(),
        link in 0..4_u32,
        v6 in any::<bool>(),
    ) {
        let family = if v6 { Family::V6 } else { Family::V4 };
        let mut input = if v6 { message.in_ipv6() } else { message }.bytes();
        for (at, value) in changes {
            let at = at.index(input.len());
            input[at] = value;
        }
        has_one_end_and_its_sums(&world.of(family), &input, CLIENT_LINK + link)?;
    }
}

/// Found by the above: the packet ends before the quoted checksum, and the frame goes on with one.
#[test]
fn the_rest_of_a_quoted_segment_behind_the_packets_end_is_left_alone() {
    let [frontend, client] = [ADMIN.frontend, CLIENTS[0]];
    let message = frame::icmp(client, frontend, 3, 1).quoting(&frame::tcp(frontend, client), usize::MAX);
    // Eight bytes of the segment: the length of an IPv4 packet, and what follows the IPv6 header.
    for (family, message, length_at) in
        [(Family::V4, message.clone(), 17), (Family::V6, message.in_ipv6(), 19)]
    {
        let mut input = message.bytes();
        input[length_at] = 56;
        let world = World::lab().of(family);
        let reasons = Native::new(&world).run(&input, CLIENT_LINK).reasons;
        assert!(reasons.contains_key(&Reason::ErrorToMember), "{reasons:?}");
        has_one_end_and_its_sums(&world, &input, CLIENT_LINK).unwrap();
    }
}
