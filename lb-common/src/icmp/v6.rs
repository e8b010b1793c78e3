//! ICMPv6 (RFC 4443).

use super::{Icmp, Kind, LENGTH, QuotedIp, neighbour};
use crate::csum::Delta;
use crate::family::Family;
use crate::units::Addr6;
use crate::window::Window;
use crate::words::{long, put_half, put_long, put_word};

/// Bytes of an IP header.
const HEADER: usize = 40;
/// Where the IP header begins.
const IP: usize = Addr6::AT - HEADER;
/// Where the quoted one does.
const QUOTE: usize = Addr6::AT + LENGTH as usize;

impl Icmp for Addr6 {
    const NUMBER: u8 = 58;
    const NUMBER_AT: usize = 20;
    const AT: usize = 54;
    const ECHO: u8 = 128;
    const ECHO_REPLY: u8 = 129;
    const HOST_UNREACHABLE: Kind = Kind(1, 3);
    const TOO_BIG: Kind = Kind(2, 0);
    /// Section 2.4 (c).
    const LONGEST: u16 = 1280;

    #[inline(always)]
    fn is_solicitation<F: Window>(frame: &F) -> bool {
        neighbour::is_solicitation(frame)
    }

    /// Unreachable, packet too big, time exceeded, parameter problem.
    #[inline(always)]
    fn is_error(kind: u8) -> bool {
        matches!(kind, 1..=4)
    }

    /// Packets with extension headers are not told apart here.
    #[inline(always)]
    fn quoted<F: Window>(frame: &F) -> Option<QuotedIp<Self>> {
        let b: &[u8; HEADER] = frame.view(QUOTE)?;
        if b[0] >> 4 != 6 {
            return None;
        }
        Some(QuotedIp {
            source: Self::from_words([long::<8, HEADER>(b), long::<16, HEADER>(b)]),
            destination: Self::from_words([long::<24, HEADER>(b), long::<32, HEADER>(b)]),
            protocol: b[6],
            checksum: 0,
            length: 40,
        })
    }

    #[inline(always)]
    fn requote<F: Window>(frame: &mut F, source: Self, destination: Self, _: u16) -> Option<()> {
        put_addresses(frame.view_mut(QUOTE + 8)?, source, destination);
        Some(())
    }

    #[inline(always)]
    fn quoted_change(changes: Delta, _: u16, _: u16) -> Delta {
        changes
    }

    #[inline(always)]
    fn head<F: Window>(frame: &mut F, source: Self, destination: Self, length: u16) -> Option<()> {
        let b: &mut [u8; 8] = frame.view_mut(IP)?;
        put_word::<0, 8>(b, 0x6000_0000_u32.to_be());
        put_half::<4, 8>(b, (length - 40).to_be());
        [b[6], b[7]] = [Self::NUMBER, 64];
        put_addresses(frame.view_mut(IP + 8)?, source, destination);
        Some(())
    }

    #[inline(always)]
    fn pseudo(source: Self, destination: Self, length: u16) -> Delta {
        let none = Self::default();
        none.delta(source, none.delta(destination, Delta::default()))
            .half(0, length.to_be())
            .half(0, u16::from(Self::NUMBER).to_be())
    }

    #[inline(always)]
    fn pseudo_change(addresses: Delta) -> Delta {
        addresses
    }

    /// Not multicast, unspecified or loopback.
    #[inline(always)]
    fn is_host(self) -> bool {
        let [prefix, interface] = self.words().map(u64::from_be);
        prefix >> 56 != 0xff && (prefix != 0 || interface > 1)
    }
}

#[inline(always)]
fn put_addresses(b: &mut [u8; 32], source: Addr6, destination: Addr6) {
    let ([s0, s1], [d0, d1]) = (source.words(), destination.words());
    put_long::<0, 32>(b, s0);
    put_long::<8, 32>(b, s1);
    put_long::<16, 32>(b, d0);
    put_long::<24, 32>(b, d1);
}
