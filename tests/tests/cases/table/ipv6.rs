//! What IPv6 has of its own; every other row is run in both families.

use lb_common::abi::AddressFlags;
use lb_common::reason::Reason;
use lb_common::testkit::{Frame, frame};

use super::{ack, answer, data, query, syn};
use crate::cases::case::{Case, case};
use crate::cases::expect::{opens, to_client, to_member, untouched};
use crate::cases::world::{CLIENT, DNS, WEB, World, member_socket};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const ICMP: u8 = 58;
const DESTINATION: u8 = 60;
/// What follows the first two bytes of an extension header of eight bytes: one option that pads.
const PADDING: [u8; 6] = [1, 4, 0, 0, 0, 0];
/// The same of a routing header without and with segments left.
const ARRIVED: [u8; 6] = [4, 0, 0, 0, 0, 0];
const ON_ITS_WAY: [u8; 6] = [4, 1, 0, 0, 0, 0];
/// The same of a fragment header: the first of several, the only one, and another.
const FIRST: [u8; 6] = [0, 1, 0, 0, 0, 7];
const ATOMIC: [u8; 6] = [0, 0, 0, 0, 0, 7];
const LATER: [u8; 6] = [0, 0x30, 0, 0, 0, 7];
const OWN: &str = "198.51.100.1:443";

pub(super) fn rows() -> Vec<Case> {
    let lab = World::lab;
    let serving = || lab().health_of(WEB.frontend, AddressFlags::SERVES);
    let ping = || frame::icmp(CLIENT, WEB.frontend, 8, 0);
    let rows = vec![
        case("extension headers are passed over on the way to the transport header", lab())
            .client(syn().extension(HOP_BY_HOP, &PADDING), opens(1))
            .client(data().extension(DESTINATION, &PADDING), to_member(1))
            .client(data().extension(DESTINATION, &[0; 1022]), to_member(1))
            .client(query().extension(ROUTING, &ARRIVED), to_member(1).of(DNS))
            .member(1, answer(1).extension(DESTINATION, &PADDING), to_client()),
        case("a packet with segments left has not arrived: its checksum is another destination's", lab())
            .client(query().extension(ROUTING, &ON_ITS_WAY), untouched(Reason::Protocol)),
        case("who no router forwards for is no client", lab())
            .client(data().from("[fe80::2]:40000"), untouched(Reason::LinkSource))
            .client(data().from("[febf::2]:40000"), untouched(Reason::LinkSource))
            .client(query().from("[ff02::1]:40000"), untouched(Reason::LinkSource))
            .client(data().from("[::]:40000"), untouched(Reason::LinkSource))
            .client(data().from("[::1]:40000"), untouched(Reason::LinkSource)),
        case("four extension headers are followed", lab()).client(nested(data(), 4), to_member(1)),
        case("a fifth is one too many", lab()).client(nested(data(), 5), untouched(Reason::IpOptions)),
        case("a fragment header behind others is found, whatever its place", lab())
            .client(data().extension(FRAGMENT, &FIRST), to_member(1))
            .client(data().extension(HOP_BY_HOP, &PADDING).extension(FRAGMENT, &FIRST), to_member(1))
            .client(nested(data(), 4).extension(FRAGMENT, &FIRST), to_member(1)),
        case("a packet with a fragment header and nothing cut off is whole (RFC 6946)", lab())
            .client(data().extension(FRAGMENT, &ATOMIC), to_member(1))
            .client(data().extension(FRAGMENT, &LATER), untouched(Reason::FragmentUnknown)),
        case("extension headers behind a fragment header are not followed", lab()).client(
            data().extension(FRAGMENT, &FIRST).extension(DESTINATION, &PADDING),
            untouched(Reason::Fragment),
        ),
        case("an extension header that ends behind the packet is a bad length", lab())
            .client(
                data().payload(b"").extension(DESTINATION, &[0; 30]).ip_length(40),
                untouched(Reason::BadLength),
            )
            .client(data().extension(HOP_BY_HOP, &PADDING).cut_to(50), untouched(Reason::BadLength)),
        case("another protocol behind extension headers is another protocol", lab())
            .client(
                frame::other(CLIENT, WEB.frontend, 50).extension(DESTINATION, &PADDING),
                untouched(Reason::Protocol),
            )
            .client(frame::other(CLIENT, WEB.frontend, 59), untouched(Reason::Protocol)),
        case("neighbour discovery passes, whosever address it asks for", lab())
            .client(discovery(135, 255), untouched(Reason::NeighbourDiscovery))
            .client(discovery(136, 255), untouched(Reason::NeighbourDiscovery))
            .client(discovery(137, 255), untouched(Reason::NeighbourDiscovery)),
        case("what claims to be neighbour discovery and has come over a router is dropped", lab())
            .client(discovery(135, 254), untouched(Reason::Protocol)),
        case("other ICMPv6 to a frontend is dropped", lab())
            .client(discovery(130, 255), untouched(Reason::Protocol))
            .client(frame::other(CLIENT, WEB.frontend, ICMP).ttl(255), untouched(Reason::BadLength)),
        case("an echo request behind extension headers is another protocol", lab()).client(
            frame::icmp(CLIENT, WEB.frontend, 8, 0).extension(DESTINATION, &PADDING),
            untouched(Reason::Protocol),
        ),
        case("who is no single host gets no answer in IPv6", serving())
            .client(ping().from("[ff02::1]:0"), untouched(Reason::SourceNoHost))
            .client(ping().from("[::]:0"), untouched(Reason::SourceNoHost))
            .client(ping().from("[::1]:0"), untouched(Reason::SourceNoHost)),
        case("a frontend that is the host's own passes fragments and ICMPv6", lab())
            .client(data().to(OWN).extension(FRAGMENT, &PADDING), untouched(Reason::OwnFrontend))
            .client(frame::other(CLIENT, OWN, ICMP), untouched(Reason::OwnFrontend)),
        case("a packet to and from a member with a fragment header is not ours", lab())
            .member(1, answer(1).extension(FRAGMENT, &PADDING), untouched(Reason::NotOurs))
            .client(
                ack(1).to(&member_socket(1, WEB.port)).extension(FRAGMENT, &PADDING),
                untouched(Reason::NotOurs),
            ),
        case("an IPv6 packet as long as the link allows is sent on", lab())
            .client(data().payload(&[1; 1440]), to_member(1))
            .member(1, answer(1).payload(&[7; 1440]), to_client()),
        case("a frame that ends in the IPv6 header passes", lab())
            .client(data().cut_to(20), untouched(Reason::Truncated)),
    ];
    rows.into_iter().map(Case::in_ipv6).collect()
}

fn nested(frame: Frame, headers: usize) -> Frame {
    (0..headers).fold(frame, |frame, _| frame.extension(DESTINATION, &PADDING))
}

/// Neighbour discovery of this type with so many hops left.
fn discovery(kind: u8, hops: u8) -> Frame {
    frame::other(CLIENT, WEB.frontend, ICMP).payload(&[kind, 0, 0, 0, 0, 0, 0, 0]).ttl(hops)
}
