//! IPv6 (RFC 8200).

use super::{ETH_LEN, Family, GROUP, Piece, Transport};
use crate::csum::Delta;
use crate::hash::mix;
use crate::nat::NewIp;
use crate::parse::{Ip, TCP, UDP};
use crate::pipeline::{Stage, Stages};
use crate::reason::Reason;
use crate::units::Addr6;
use crate::window::Window;
use crate::words::{half, long, put_long, word};

/// Bytes of the header.
const LENGTH: u16 = 40;
/// What follows the header.
const BEHIND: usize = ETH_LEN + LENGTH as usize;
/// Extension headers that are followed to the transport header.
const EXTENSIONS: u32 = 4;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const ICMP: u8 = 58;
const DESTINATION_OPTIONS: u8 = 60;

/// Whether the Ethernet header announces IPv6.
#[inline(always)]
pub fn is_ipv6<F: Window>(frame: &F) -> bool {
    frame.view::<2>(ETH_LEN - 2).is_some_and(|ethertype| half::<0, 2>(ethertype) == Addr6::ETHERTYPE.to_be())
}

/// What only an IPv6 header says, and where the transport header is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rest {
    /// 6, in what is to be forwarded.
    version: u8,
    transport_at: u16,
}

impl Family for Addr6 {
    type Rest = Rest;

    const ETHERTYPE: u16 = 0x86dd;

    const STAGES: Stages = Stages {
        icmp: Stage::Icmp6,
        too_big: Stage::TooBig6,
        tracked: Stage::Tracked6,
        again: Stage::Again6,
        enter: Stage::Enter6,
        wide: Stage::Wide6,
    };

    #[inline(always)]
    fn read<F: Window>(frame: &F) -> Result<Ip<Self>, Reason> {
        if !is_ipv6(frame) {
            return Err(Reason::NotIp);
        }
        let b: &[u8; BEHIND] = frame.view(0).ok_or(Reason::Truncated)?;
        if b[0] & GROUP != 0 {
            return Err(Reason::LinkGroup);
        }
        Ok(Ip {
            length: u16::from_be(half::<18, BEHIND>(b)).saturating_add(LENGTH),
            ttl: b[21],
            protocol: b[20],
            source: Self::from_words([long::<22, BEHIND>(b), long::<30, BEHIND>(b)]),
            destination: Self::from_words([long::<38, BEHIND>(b), long::<46, BEHIND>(b)]),
            rest: Rest { version: b[14] >> 4, transport_at: 0 },
        })
    }

    #[inline(always)]
    fn transport<F: Window>(frame: &F, ip: &Ip<Self>) -> Result<Transport, Reason> {
        if ip.rest.version != 6 || frame.len() < ETH_LEN + ip.length as usize {
            return Err(Reason::BadLength);
        }
        let (at, protocol) = match ip.protocol {
            ICMP if is_neighbour_discovery(frame, ip) => return Err(Reason::NeighbourDiscovery),
            TCP | UDP | ICMP => (BEHIND, ip.protocol),
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | FRAGMENT => {
                extensions(frame, ip.protocol).resolve()?
            }
            _ => return Err(Reason::Protocol),
        };
        behind(ip, at, protocol)
    }

    /// Behind a fragment header TCP or UDP have to follow at once.
    #[inline(always)]
    fn piece<F: Window>(frame: &F, ip: &Ip<Self>) -> Result<(Transport, Piece), Reason> {
        if ip.rest.version != 6 || frame.len() < ETH_LEN + ip.length as usize {
            return Err(Reason::BadLength);
        }
        let found = extensions(frame, ip.protocol);
        let Some(at) = found.fragment() else {
            let (at, protocol) = found.resolve()?;
            return Ok((behind(ip, at, protocol)?, Piece::default()));
        };
        let b: &[u8; 8] = frame.view(at & 0x3fff).ok_or(Reason::BadLength)?;
        let place = u16::from_be(half::<2, 8>(b));
        let piece = Piece { id: word::<4, 8>(b), offset: place >> 3, more: place & 1 != 0 };
        Ok((behind(ip, at + 8, b[0])?, piece))
    }

    #[inline(always)]
    fn transport_at(ip: &Ip<Self>) -> usize {
        // Four headers of 2,048 bytes at most; the verifier forgets that where a header lies in memory.
        (ip.rest.transport_at & 0x3fff) as usize
    }

    #[inline(always)]
    fn found(ip: &Ip<Self>, transport: &Transport) -> Ip<Self> {
        #[allow(clippy::cast_possible_truncation, reason = "four headers of 2,048 bytes at most")]
        let rest = Rest { transport_at: transport.at as u16, ..ip.rest };
        Ip { protocol: transport.protocol, rest, ..*ip }
    }

    #[inline(always)]
    fn stays_whole(_: &Ip<Self>) -> bool {
        true
    }

    #[inline(always)]
    fn write<F: Window>(frame: &mut F, new: &NewIp<Self>) -> Option<()> {
        // From the hops left to the addresses.
        let b: &mut [u8; 33] = frame.view_mut(ETH_LEN + 7)?;
        b[0] = new.ttl;
        let ([s0, s1], [d0, d1]) = (new.source.words(), new.destination.words());
        put_long::<1, 33>(b, s0);
        put_long::<9, 33>(b, s1);
        put_long::<17, 33>(b, d0);
        put_long::<25, 33>(b, d1);
        Some(())
    }

    #[inline(always)]
    fn header_checksum(_: &Ip<Self>, _: Delta, _: u8) -> u16 {
        0
    }

    #[inline(always)]
    fn absorb(self, state: u64, tail: u32) -> u64 {
        let [prefix, interface] = self.words();
        mix(mix(mix(state ^ prefix) ^ interface) ^ u64::from(tail))
    }

    /// Link-local (RFC 4291, section 2.5.6), multicast, unspecified and loopback.
    #[inline(always)]
    fn stays_on_link(self) -> bool {
        let [prefix, interface] = self.words().map(u64::from_be);
        prefix >> 54 == 0xfe80 >> 6 || prefix >> 56 == 0xff || prefix == 0 && interface <= 1
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "the upper half")]
    fn fold(self) -> u32 {
        let [prefix, interface] = self.words();
        let folded = (prefix ^ interface.rotate_left(32)).wrapping_mul(0x9fb2_1c65_1e98_df25);
        (folded >> 32) as u32
    }

    #[inline(always)]
    fn is_within(self, network: Self, mask: Self) -> bool {
        let ([prefix, interface], [mask, mask_interface]) = (self.words(), mask.words());
        [prefix & mask, interface & mask_interface] == network.words()
    }

    #[inline(always)]
    fn shares(self, other: Self, bits: Self) -> bool {
        let ([prefix, interface], [other, other_interface]) = (self.words(), other.words());
        let [bits, interface_bits] = bits.words();
        (prefix ^ other) & bits | (interface ^ other_interface) & interface_bits == 0
    }

    #[inline(always)]
    fn delta(self, new: Self, delta: Delta) -> Delta {
        let ([prefix, interface], [new_prefix, new_interface]) = (self.words(), new.words());
        delta.long(prefix, new_prefix).long(interface, new_interface)
    }
}

/// What begins at an offset behind the header.
#[inline(always)]
fn behind(ip: &Ip<Addr6>, at: usize, protocol: u8) -> Result<Transport, Reason> {
    #[allow(clippy::cast_possible_truncation, reason = "four headers of 2,048 bytes at most")]
    let before = (at - ETH_LEN) as u16;
    let length = ip.length.checked_sub(before).ok_or(Reason::BadLength)?;
    Ok(Transport { at, length, protocol })
}

/// Solicitations, advertisements and redirects, which never left their link (RFC 4861, sections 4
/// and 7.1): the kernel's, whosever address they are sent to.
#[inline(always)]
fn is_neighbour_discovery<F: Window>(frame: &F, ip: &Ip<Addr6>) -> bool {
    const ROUTER_SOLICITATION: u8 = 133;
    const REDIRECT: u8 = 137;
    let kind = frame.view::<1>(BEHIND).map_or(0, |kind| kind[0]);
    ip.ttl == 255 && (ROUTER_SOLICITATION..=REDIRECT).contains(&kind)
}

/// Offset (bits 0..16) and protocol (16..24) of a transport header behind extension headers, or
/// the offset of a fragment header, or what is wrong (24..): plain words, see `choose::Answer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
struct Behind(u32);

impl Behind {
    const TOO_SHORT: Self = Self(1 << 24);
    const UNKNOWN: Self = Self(3 << 24);
    const TOO_MANY: Self = Self(4 << 24);

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "four headers of 2,048 bytes at most")]
    fn transport(at: usize, protocol: u8) -> Self {
        Self(at as u32 | u32::from(protocol) << 16)
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "four headers of 2,048 bytes at most")]
    fn fragment_at(at: usize) -> Self {
        Self(at as u32 | 2 << 24)
    }

    /// Where the fragment header is, if one was found.
    #[inline(always)]
    fn fragment(self) -> Option<usize> {
        (self.0 >> 24 == 2).then_some((self.0 & 0xffff) as usize)
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "fields of the word")]
    fn resolve(self) -> Result<(usize, u8), Reason> {
        match self {
            Self::TOO_SHORT => Err(Reason::BadLength),
            _ if self.fragment().is_some() => Err(Reason::Fragment),
            Self::UNKNOWN => Err(Reason::Protocol),
            Self::TOO_MANY => Err(Reason::IpOptions),
            Self(word) => Ok(((word & 0xffff) as usize, (word >> 16) as u8)),
        }
    }
}

/// Follows the chain of extension headers (section 4) to TCP, UDP or a fragment header.
#[inline(never)]
fn extensions<F: Window>(frame: &F, first: u8) -> Behind {
    let (mut header, mut at) = (first, BEHIND);
    for passed in 0..=EXTENSIONS {
        match header {
            TCP | UDP => return Behind::transport(at, header),
            FRAGMENT => return Behind::fragment_at(at),
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS if passed == EXTENSIONS => break,
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {}
            _ => return Behind::UNKNOWN,
        }
        let Some(&[next, words, _, left]) = frame.view::<4>(at & 0x3fff) else { return Behind::TOO_SHORT };
        // Not at its destination yet, which its checksum is made for (section 8.1).
        if header == ROUTING && left != 0 {
            return Behind::UNKNOWN;
        }
        at += (usize::from(words) + 1) * 8;
        header = next;
    }
    Behind::TOO_MANY
}
