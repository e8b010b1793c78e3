//! Who asks for a frontend on a link that it lies on.

use lb_common::reason::Reason;
use lb_common::testkit::frame::{self, Frame};

use crate::cases::case::{Case, case};
use crate::cases::expect::{answered_by, untouched};
use crate::cases::world::{SENDER, US, World};

const EVERYBODY: [u8; 6] = [0xff; 6];
const NOBODY: [u8; 6] = [0; 6];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 9];
const CLIENT: [u8; 4] = [198, 51, 100, 2];
const WEB: [u8; 4] = [203, 0, 113, 10];
const REQUEST: u8 = 1;
const REPLY: u8 = 2;

pub(super) fn rows() -> Vec<Case> {
    arp().into_iter().map(Case::in_ipv4).chain(neighbours().into_iter().map(Case::in_ipv6)).collect()
}

fn arp() -> Vec<Case> {
    let lab = || World::lab().announced();
    let passes = || untouched(Reason::NotIp);
    let told = || answered_by(Reason::ArpReply, reply(CLIENT));
    vec![
        case("who asks for a frontend by ARP is told our hardware address", lab())
            .client(request(), told())
            .client(request().patched(18, &[7; 6]), told()),
        case("... and in a frame of the usual size, padding is carried along", lab())
            .client(request().padded_to(60), answered_by(Reason::ArpReply, reply(CLIENT).padded_to(60))),
        case("a host that asks whether its neighbour is still there is answered", lab())
            .client(request().link(SENDER, US), told()),
        case("... unless it asks another host", lab()).client(request().link(SENDER, OTHER), passes()),
        case("a host that looks whether the address is free learns that it is not", lab())
            .client(question([0; 4]), answered_by(Reason::ArpReply, reply([0; 4]))),
        case("the answer goes to the hardware address that the question names", lab()).client(
            frame::arp(REQUEST, (OTHER, CLIENT), (NOBODY, WEB)).link(SENDER, EVERYBODY),
            answered_by(Reason::ArpReply, frame::arp(REPLY, (US, WEB), (OTHER, CLIENT)).link(US, OTHER)),
        ),
        case("what others say of a frontend passes: answers and announcements", lab())
            .client(frame::arp(REPLY, (OTHER, WEB), (US, CLIENT)).link(OTHER, US), passes())
            .client(frame::arp(REQUEST, (OTHER, WEB), (NOBODY, WEB)).link(OTHER, EVERYBODY), passes())
            .client(frame::arp(REPLY, (OTHER, WEB), (OTHER, WEB)).link(OTHER, EVERYBODY), passes()),
        case("who asks for another address is not ours to answer", lab())
            .client(frame::arp(REQUEST, (SENDER, CLIENT), (NOBODY, [203, 0, 113, 11])), passes()),
        case("a frontend is answered for on its own link only", lab()).member(1, request(), passes()),
        case("... and not where it is not announced", World::lab()).client(request(), passes()),
        case("a question that asks for an answer to a group or to nobody gets none", lab())
            .client(frame::arp(REQUEST, (EVERYBODY, CLIENT), (NOBODY, WEB)), passes())
            .client(frame::arp(REQUEST, ([1, 0, 0x5e, 0, 0, 1], CLIENT), (NOBODY, WEB)), passes())
            .client(frame::arp(REQUEST, (NOBODY, CLIENT), (NOBODY, WEB)), passes()),
        case("ARP of another form than IPv4 over Ethernet passes, and so do other operations", lab())
            .client(request().patched(0, &[0, 6]), passes())
            .client(request().patched(2, &[0x86, 0xdd]), passes())
            .client(request().patched(4, &[8]), passes())
            .client(request().patched(5, &[16]), passes())
            .client(request().patched(6, &[0, 3]), passes())
            .client(request().patched(6, &[1, 1]), passes()),
        case("ARP that is cut short passes", lab())
            .client(request().cut_to(41), passes())
            .client(request().cut_to(34), passes())
            .client(request().cut_to(14), untouched(Reason::Truncated)),
        case("ARP with a VLAN tag passes", lab()).client(request().vlan(5), passes()),
    ]
}

fn request() -> Frame {
    question(CLIENT)
}

fn question(sender: [u8; 4]) -> Frame {
    frame::arp(REQUEST, (SENDER, sender), (NOBODY, WEB)).link(SENDER, EVERYBODY)
}

fn reply(to: [u8; 4]) -> Frame {
    frame::arp(REPLY, (US, WEB), (SENDER, to)).link(US, SENDER)
}

const CLIENT6: &str = "[fd00::c633:6402]:0";
const WEB6: &str = "[fd00::cb00:710a]:0";
const WEB6_BYTES: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xcb, 0, 0x71, 0x0a];
/// Of the frontend: its solicited-node group.
const ITS_GROUP: &str = "[ff02::1:ff00:710a]:0";
const ITS_GROUP_HARDWARE: [u8; 6] = [0x33, 0x33, 0xff, 0, 0x71, 0x0a];
const UNSPECIFIED: &str = "[::]:0";
/// "My hardware address is ..."
const MINE: [u8; 8] = [1, 1, 2, 0, 0, 0, 0, 2];
/// "Whoever hears this of me, it is my own" (RFC 7527).
const NONCE: [u8; 8] = [14, 1, 1, 2, 3, 4, 5, 6];
const SOLICITED: u32 = 0x6000_0000;
const TO_ALL: u32 = 0x2000_0000;

fn neighbours() -> Vec<Case> {
    let lab = || World::lab().announced();
    let passes = || untouched(Reason::LinkGroup);
    let kernels = || untouched(Reason::NeighbourDiscovery);
    let told = || answered_by(Reason::NeighbourAdvertised, advertisement(CLIENT6, SOLICITED));
    let told_all = || {
        let all = advertisement("[ff02::1]:0", TO_ALL).link(US, [0x33, 0x33, 0, 0, 0, 1]);
        answered_by(Reason::NeighbourAdvertised, all)
    };
    vec![
        case("who solicits a frontend is told our hardware address", lab())
            .client(solicitation(&MINE), told())
            .client(solicitation(&[]), told())
            .client(solicitation(&[MINE, NONCE].concat()), told()),
        case("... whoever it thinks that it is, on the link", lab()).client(
            solicitation(&MINE).from("[fe80::2]:0"),
            answered_by(Reason::NeighbourAdvertised, advertisement("[fe80::2]:0", SOLICITED)),
        ),
        case("a host that asks whether its IPv6 neighbour is still there is answered", lab())
            .client(solicitation(&[]).to(WEB6).link(SENDER, US), told())
            .client(solicitation(&MINE).to(WEB6).link(SENDER, US), told()),
        case("... unless it asks another host by IPv6", lab())
            .client(solicitation(&MINE).to(WEB6).link(SENDER, OTHER), kernels()),
        case("a host that looks whether the IPv6 address is free learns that it is not", lab())
            .client(solicitation(&[]).from(UNSPECIFIED), told_all())
            .client(solicitation(&NONCE).from(UNSPECIFIED), told_all()),
        case("... if it asks as RFC 4861 says: the group, and no hardware address", lab())
            .client(solicitation(&MINE).from(UNSPECIFIED), passes())
            .client(solicitation(&[]).from(UNSPECIFIED).to("[ff02::1]:0"), passes())
            .client(solicitation(&[]).from(UNSPECIFIED).to(WEB6).link(SENDER, US), kernels()),
        case("padding behind a solicitation is no part of it", lab())
            .client(solicitation(&MINE).padded_to(100), told())
            .client(solicitation(&[]).padded_to(86), told()),
        case("what others say of an IPv6 frontend passes", lab())
            .client(advertisement("[ff02::1]:0", TO_ALL).link(OTHER, [0x33, 0x33, 0, 0, 0, 1]), passes())
            .client(advertisement(WEB6, SOLICITED).link(OTHER, US), kernels())
            .client(solicitation(&MINE).from(WEB6), passes()),
        case("who solicits another address is not ours to answer", lab())
            .client(solicitation(&MINE).patched(15, &[11]), passes()),
        case("an IPv6 frontend is answered for on its own link only", lab()).member(
            1,
            solicitation(&MINE),
            passes(),
        ),
        case("... and not where the IPv6 one is not announced", World::lab())
            .client(solicitation(&MINE), passes())
            .client(solicitation(&MINE).to(WEB6).link(SENDER, US), kernels()),
        case("a solicitation that a router has forwarded is none", lab())
            .client(solicitation(&MINE).ttl(254), passes()),
        case("a solicitation with a wrong checksum passes", lab())
            .client(solicitation(&MINE).damaged(85), passes())
            .client(solicitation(&MINE).damaged(60), passes())
            .client(solicitation(&[]).damaged(58), passes()),
        case("a solicitation with a code passes", lab()).client(solicitation(&MINE).kind(135, 1), passes()),
        case("a solicitation from a group, or from loopback, passes", lab())
            .client(solicitation(&MINE).from("[ff02::1]:0"), passes())
            .client(solicitation(&MINE).from("[::1]:0"), passes())
            .client(solicitation(&MINE).link([3, 0, 0, 0, 0, 2], ITS_GROUP_HARDWARE), passes()),
        case("an option without a length, or longer than the packet, makes a solicitation invalid", lab())
            .client(solicitation(&[1, 0, 2, 0, 0, 0, 0, 2]), passes())
            .client(solicitation(&[1, 2, 2, 0, 0, 0, 0, 2]), passes())
            .client(solicitation(&[MINE, [14, 0, 0, 0, 0, 0, 0, 0]].concat()), passes())
            .client(solicitation(&[MINE, [14, 255, 0, 0, 0, 0, 0, 0]].concat()), passes()),
        case("options that we do not know are passed over", lab())
            .client(solicitation(&[[200, 2, 1, 0, 0, 0, 0, 0], [0; 8], MINE].concat()), told())
            .client(solicitation(&[14, 8].iter().chain(&[9; 62]).copied().collect::<Vec<_>>()), told()),
        case("... as far as they are no more than 64 bytes", lab())
            .client(solicitation(&[14, 9].iter().chain(&[9; 70]).copied().collect::<Vec<_>>()), passes()),
        case("a solicitation whose length lies passes", lab())
            .client(solicitation(&MINE).ip_length(40), passes())
            .client(solicitation(&MINE).ip_length(24), passes())
            .client(solicitation(&MINE).ip_length(23), passes())
            .client(solicitation(&MINE).ip_length(0xffff), passes())
            .client(solicitation(&MINE).cut_to(85), passes())
            .client(solicitation(&MINE).cut_to(77), passes())
            .client(solicitation(&MINE).cut_to(55), passes()),
        case("a solicitation behind an extension header passes", lab())
            .client(solicitation(&MINE).extension(0, &[1, 4, 0, 0, 0, 0]), passes()),
    ]
}

fn solicitation(options: &[u8]) -> Frame {
    frame::icmp(CLIENT6, ITS_GROUP, 135, 0)
        .ttl(255)
        .payload(&[&WEB6_BYTES[..], options].concat())
        .link(SENDER, ITS_GROUP_HARDWARE)
}

fn advertisement(to: &str, flags: u32) -> Frame {
    let ours = [2, 1, 2, 0, 0, 0, 0, 1];
    let frame = frame::icmp(WEB6, to, 136, 0).ttl(255).rest(flags);
    frame.payload(&[&WEB6_BYTES[..], &ours].concat()).link(US, SENDER)
}
