//! Checksums by full recomputation.

use crate::family::ETH_LEN;
use crate::parse::{TCP, UDP};

const ICMP: u8 = 1;
const ICMP6: u8 = 58;

/// The Internet checksum (RFC 1071) of some bytes, in host order, on top of a sum.
#[must_use]
pub fn checksum(bytes: &[u8], sum: u32) -> u16 {
    let mut sum = sum;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// Which checksums of a frame a receiver would accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sums {
    /// Of the IPv4 header; IPv6 has none.
    pub ip: bool,
    /// Of TCP, UDP or ICMP; a datagram without one is accepted (RFC 768).
    pub transport: bool,
}

/// The IP packet that some bytes begin with, without what is behind its end; `None` unless it is whole.
#[must_use]
pub fn packet(bytes: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| Some(usize::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
    let length = match bytes.first()? >> 4 {
        4 => word(2)?,
        6 => 40 + word(4)?,
        _ => return None,
    };
    bytes.get(..length)
}

/// Looks at an Ethernet frame with IP; `None` unless it holds whole headers of TCP, UDP or ICMP. IPv6
/// extension headers are followed as far as they have the common form (RFC 6564).
#[must_use]
pub fn sums(frame: &[u8]) -> Option<Sums> {
    sums_of(packet(frame.get(ETH_LEN..)?)?)
}

/// The sums of the packet that an ICMP error in a frame quotes, if it quotes all of it. What the frame
/// has behind the error's end is no quote.
#[must_use]
pub fn quoted_sums(frame: &[u8]) -> Option<Sums> {
    let error = packet(frame.get(ETH_LEN..)?)?;
    let headers = match error.first()? >> 4 {
        4 => 28,
        _ => 48,
    };
    sums_of(packet(error.get(headers..)?)?)
}

fn sums_of(packet: &[u8]) -> Option<Sums> {
    match packet.first()? >> 4 {
        4 => sums_of_ipv4(packet),
        _ => sums_of_ipv6(packet),
    }
}

fn sums_of_ipv4(packet: &[u8]) -> Option<Sums> {
    let header = usize::from(packet[0] & 15) * 4;
    if header < 20 {
        return None;
    }
    let accepted = transport_sum(packet.get(header..)?, &packet[12..20], packet[9])?;
    Some(Sums { ip: checksum(&packet[..header], 0) == 0, transport: accepted })
}

fn sums_of_ipv6(packet: &[u8]) -> Option<Sums> {
    let (mut protocol, mut at) = (packet[6], 40);
    while matches!(protocol, 0 | 43 | 60) {
        let header = packet.get(at..at + 2)?;
        (protocol, at) = (header[0], at + 8 * (usize::from(header[1]) + 1));
    }
    let accepted = transport_sum(packet.get(at..)?, &packet[8..40], protocol)?;
    Some(Sums { ip: true, transport: accepted })
}

/// Whether a receiver accepts the checksum of a segment or datagram.
fn transport_sum(transport: &[u8], addresses: &[u8], protocol: u8) -> Option<bool> {
    let least = match protocol {
        TCP => 20,
        UDP | ICMP | ICMP6 => 8,
        _ => return None,
    };
    if transport.len() < least {
        return None;
    }
    let without = protocol == UDP && transport[6..8] == [0, 0];
    let pseudo = match protocol {
        ICMP => 0,
        _ => pseudo_header(addresses, protocol, transport.len()),
    };
    Some(without || checksum(transport, pseudo) == 0)
}

/// The part of a transport checksum that is not in the segment (RFC 9293, section 3.1).
pub(super) fn pseudo_header(addresses: &[u8], protocol: u8, length: usize) -> u32 {
    let words = addresses.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    words.sum::<u32>() + u32::from(protocol) + u32::try_from(length).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::frame;

    #[test]
    fn a_changed_bit_is_noticed_in_header_and_segment() {
        let good = frame::tcp("198.51.100.2:40000", "203.0.113.10:80").payload(b"abc").bytes();
        assert_eq!(sums(&good), Some(Sums { ip: true, transport: true }));
        for (at, expected) in [
            (22, Sums { ip: false, transport: true }),
            (26, Sums { ip: false, transport: false }),
            (34, Sums { ip: true, transport: false }),
            (good.len() - 1, Sums { ip: true, transport: false }),
        ] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(sums(&bad), Some(expected), "byte {at}");
        }
    }

    #[test]
    fn an_error_and_what_it_quotes_have_sums_of_their_own() {
        for (router, client, frontend) in [
            ("192.0.2.1:0", "198.51.100.2:40000", "203.0.113.10:80"),
            ("[2001:db8::1]:0", "[2001:db8::2]:40000", "[2001:db8:f::10]:80"),
        ] {
            let quote = frame::tcp(frontend, client);
            let good = frame::icmp(router, frontend, 3, 4).quoting(&quote, usize::MAX).bytes();
            assert_eq!(sums(&good), Some(Sums { ip: true, transport: true }));
            assert_eq!(quoted_sums(&good), Some(Sums { ip: true, transport: true }));
            let mut bad = good.clone();
            *bad.last_mut().expect("is not empty") ^= 1;
            assert_eq!(sums(&bad), Some(Sums { ip: true, transport: false }));
            assert_eq!(quoted_sums(&bad), Some(Sums { ip: true, transport: false }));
        }
    }

    #[test]
    fn what_a_frame_has_behind_an_errors_end_is_no_quote() {
        let quote = frame::tcp("203.0.113.10:80", "198.51.100.2:40000");
        let error = frame::icmp("192.0.2.1:0", "203.0.113.10:0", 3, 4).quoting(&quote, usize::MAX);
        assert!(quoted_sums(&error.clone().padded_to(100).bytes()).is_some());
        assert_eq!(quoted_sums(&error.ip_length(20 + 8 + 20 + 19).bytes()), None);
    }

    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7], 0), !0xddf2);
    }
}
