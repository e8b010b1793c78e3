//! Frames of ARP and neighbour discovery, to be sent and as they are heard. No input or output.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::csum::Delta;

use super::Mac;

/// What is said to a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// "Has anybody this address?"
    Probe,
    /// "This address is here."
    Announcement,
}

/// What somebody else has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) address: IpAddr,
    pub(super) hardware: Mac,
    pub(super) what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// He has the address.
    Has,
    /// He wants it, and asks whether it is free.
    Wants,
}

const ETHERNET: usize = 14;
const EVERYBODY: Mac = [0xff; 6];
const NOBODY: Mac = [0; 6];
/// A message of ARP: Ethernet, IPv4, and the lengths of their addresses.
const ARP: [u8; 6] = [0, 1, 0x08, 0, 6, 4];
const REQUEST: u8 = 1;
const ARP_TYPE: [u8; 2] = [0x08, 0x06];
const IPV6_TYPE: [u8; 2] = [0x86, 0xdd];
const ICMP6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_HARDWARE: u8 = 1;
const TARGET_HARDWARE: u8 = 2;
/// Of a packet that has not left its link (RFC 4861, section 7.1).
const HOPS: u8 = 255;
const OVERRIDE: u8 = 0x20;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The frame by which the interface with this hardware address says so.
pub(super) fn frame(says: Says, address: IpAddr, hardware: Mac) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp(says, address, hardware),
        IpAddr::V6(address) => neighbour(says, address, hardware),
    }
}

/// A request of nobody in particular, or of the address itself (RFC 5227, sections 2.1.1 and 2.3).
fn arp(says: Says, address: Ipv4Addr, hardware: Mac) -> Vec<u8> {
    let sender = match says {
        Says::Probe => Ipv4Addr::UNSPECIFIED,
        Says::Announcement => address,
    };
    let mut frame = [&EVERYBODY[..], &hardware, &ARP_TYPE, &ARP, &[0, REQUEST]].concat();
    frame.extend([&hardware[..], &sender.octets(), &NOBODY, &address.octets()].concat());
    frame
}

/// A solicitation without sender (RFC 4862, section 5.4.2), or an advertisement that nobody asked for
/// (RFC 4861, section 7.2.6).
fn neighbour(says: Says, address: Ipv6Addr, hardware: Mac) -> Vec<u8> {
    let (source, destination, kind, flags, option) = match says {
        Says::Probe => (Ipv6Addr::UNSPECIFIED, solicited_node(address), SOLICITATION, 0, Vec::new()),
        Says::Announcement => {
            let option = [&[TARGET_HARDWARE, 1], &hardware[..]].concat();
            (address, ALL_NODES, ADVERTISEMENT, OVERRIDE, option)
        }
    };
    let mut message = [&[kind, 0, 0, 0, flags, 0, 0, 0], &address.octets()[..], &option].concat();
    let sum = checksum(source, destination, &message);
    message[2..4].copy_from_slice(&sum.to_ne_bytes());
    let mut frame = [&group(destination)[..], &hardware, &IPV6_TYPE, &[0x60, 0, 0, 0, 0]].concat();
    frame.extend([u8::try_from(message.len()).unwrap_or(0), ICMP6, HOPS]);
    frame.extend([&source.octets()[..], &destination.octets(), &message].concat());
    frame
}

/// RFC 4291, section 2.7.1.
fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from_bits(0xff02 << 112 | 0x1_ff00_0000 | u128::from(u32::from_be_bytes([0, a, b, c])))
}

/// The hardware address of a group (RFC 2464, section 7).
fn group(address: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = address.octets();
    [0x33, 0x33, a, b, c, d]
}

/// In the machine's order; 0 over a message that has its own in it.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let pseudo = [&source.octets()[..], &destination.octets(), &length.to_be_bytes(), &[0, ICMP6]].concat();
    let halves = pseudo.chunks(2).chain(message.chunks(2));
    let halves = halves.map(|half| u16::from_ne_bytes([half[0], *half.get(1).unwrap_or(&0)]));
    halves.fold(Delta::default(), |sum, half| sum.half(0, half)).whole()
}

/// What a frame says about an address; `None` if it says nothing of the kind, or not as it should.
pub(super) fn read(frame: &[u8]) -> Option<Heard> {
    let (kind, packet) = frame.get(ETHERNET - 2..)?.split_first_chunk()?;
    match *kind {
        ARP_TYPE => read_arp(packet),
        IPV6_TYPE => read_neighbour(packet, *frame.get(6..)?.first_chunk()?),
        _ => None,
    }
}

/// Request or answer: its sender has the sender's address (RFC 5227, section 2.4).
fn read_arp(message: &[u8]) -> Option<Heard> {
    let message: &[u8; 28] = message.first_chunk()?;
    if !message.starts_with(&ARP) {
        return None;
    }
    let address = |at: usize| Some(Ipv4Addr::from(*message.get(at..)?.first_chunk::<4>()?));
    let (sender, target) = (address(14)?, address(24)?);
    let hardware = *message.get(8..)?.first_chunk()?;
    if !sender.is_unspecified() {
        return Some(Heard { address: sender.into(), hardware, what: What::Has });
    }
    (message[7] == REQUEST).then_some(Heard { address: target.into(), hardware, what: What::Wants })
}

/// An advertisement says so of its target, a solicitation of its source.
fn read_neighbour(packet: &[u8], link_source: Mac) -> Option<Heard> {
    let (header, behind) = packet.split_first_chunk::<40>()?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let message = behind.get(..length)?;
    let (head, options) = message.split_first_chunk::<24>()?;
    let ip = |at: usize| Some(Ipv6Addr::from(*header.get(at..)?.first_chunk::<16>()?));
    let (source, destination) = (ip(8)?, ip(24)?);
    let target = Ipv6Addr::from(*head[8..].first_chunk::<16>()?);
    let valid = header[0] >> 4 == 6 && header[6] == ICMP6 && header[7] == HOPS && head[1] == 0;
    if !valid || checksum(source, destination, message) != 0 {
        return None;
    }
    let hardware = |kind| option(kind, options).unwrap_or(link_source);
    match head[0] {
        ADVERTISEMENT => {
            Some(Heard { address: target.into(), hardware: hardware(TARGET_HARDWARE), what: What::Has })
        }
        SOLICITATION if source.is_unspecified() => {
            Some(Heard { address: target.into(), hardware: link_source, what: What::Wants })
        }
        SOLICITATION => {
            Some(Heard { address: source.into(), hardware: hardware(SOURCE_HARDWARE), what: What::Has })
        }
        _ => None,
    }
}

/// The hardware address in an option of this kind.
fn option(kind: u8, mut options: &[u8]) -> Option<Mac> {
    while let [found, units, ..] = *options {
        let (option, rest) = options.split_at_checked(usize::from(units) * 8)?;
        if found == kind {
            return option.get(2..)?.first_chunk().copied();
        }
        // One without a length would be the last.
        options = if units == 0 { &[] } else { rest };
    }
    None
}

#[cfg(test)]
mod tests {
    use lb_common::testkit::{Sums, frame as build, sums};
    use proptest::prelude::*;

    use super::*;

    const US: Mac = [2, 0, 0, 0, 0, 1];
    const V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
    const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0xab, 0xcdef);

    #[test]
    fn arp_is_as_in_rfc_5227() {
        let probe = build::arp(1, (US, [0; 4]), (NOBODY, V4.octets())).link(US, EVERYBODY);
        assert_eq!(frame(Says::Probe, V4.into(), US), probe.bytes());
        let announcement = build::arp(1, (US, V4.octets()), (NOBODY, V4.octets())).link(US, EVERYBODY);
        assert_eq!(frame(Says::Announcement, V4.into(), US), announcement.bytes());
    }

    #[test]
    fn neighbour_discovery_is_as_in_rfc_4861() {
        let probe = build::icmp("[::]:0", "[ff02::1:ffab:cdef]:0", 135, 0)
            .ttl(255)
            .payload(&V6.octets())
            .link(US, [0x33, 0x33, 0xff, 0xab, 0xcd, 0xef]);
        assert_eq!(frame(Says::Probe, V6.into(), US), probe.bytes());
        let announcement = build::icmp("[2001:db8::ab:cdef]:0", "[ff02::1]:0", 136, 0)
            .ttl(255)
            .rest(0x2000_0000)
            .payload(&[&V6.octets()[..], &[2, 1], &US].concat())
            .link(US, [0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(frame(Says::Announcement, V6.into(), US), announcement.bytes());
        assert_eq!(sums(&announcement.bytes()), Some(Sums { ip: true, transport: true }));
    }

    #[test]
    fn what_is_said_is_heard() {
        for address in [IpAddr::from(V4), V6.into()] {
            for (says, what) in [(Says::Probe, What::Wants), (Says::Announcement, What::Has)] {
                let heard = Heard { address, hardware: US, what };
                assert_eq!(read(&frame(says, address, US)), Some(heard));
            }
        }
    }

    #[test]
    fn whoever_uses_an_address_has_it() {
        const OTHER: Mac = [2, 0, 0, 0, 0, 9];
        let has = |address: IpAddr| Some(Heard { address, hardware: OTHER, what: What::Has });
        let client = [198, 51, 100, 2];
        for operation in [1, 2] {
            let asks = build::arp(operation, (OTHER, V4.octets()), (US, client)).link(OTHER, US);
            assert_eq!(read(&asks.bytes()), has(V4.into()));
        }
        // Its hardware address stands in an option, behind others, or in the link's header alone.
        let target: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let asks = |options: &[u8], link| {
            let message = [&target.octets()[..], options].concat();
            let frame = build::icmp("[2001:db8::ab:cdef]:0", "[ff02::1:ff00:7]:0", 135, 0);
            read(&frame.ttl(255).payload(&message).link(link, US).bytes())
        };
        assert_eq!(asks(&[], OTHER), has(V6.into()));
        assert_eq!(asks(&[14, 1, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 9], US), has(V6.into()));
        // An option without a length.
        assert_eq!(asks(&[14, 0, 0, 0, 0, 0, 0, 0], OTHER), has(V6.into()));
    }

    #[test]
    fn what_has_been_forwarded_or_damaged_says_nothing() {
        let good = frame(Says::Announcement, V6.into(), US);
        for (at, why) in [(21, "hops"), (20, "protocol"), (55, "code"), (60, "checksum"), (14, "version")] {
            let mut bad = good.clone();
            bad[at] ^= 0x11;
            assert_eq!(read(&bad), None, "{why}");
        }
        let mut other = frame(Says::Announcement, V4.into(), US);
        other[15] = 6;
        assert_eq!(read(&other), None, "another hardware");
        assert_eq!(read(&other[..41]), None, "cut");
    }

    proptest! {
        #[test]
        fn no_frame_is_a_trouble(mut frame in prop::collection::vec(any::<u8>(), 0..120), arp: bool) {
            if let Some(kind) = frame.get_mut(12..14) {
                kind.copy_from_slice(if arp { &ARP_TYPE } else { &IPV6_TYPE });
            }
            let _ = read(&frame);
        }
    }
}
