//! ICMP (RFC 792).

use super::{Icmp, Kind, LENGTH, QuotedIp};
use crate::csum::Delta;
use crate::units::Addr;
use crate::window::Window;
use crate::words::{half, put_half, put_word, word};

/// Bytes of an IP header without options.
const HEADER: usize = 20;
/// Where the IP header begins.
const IP: usize = Addr::AT - HEADER;
/// Where the quoted one does.
const QUOTE: usize = Addr::AT + LENGTH as usize;
/// The place of a fragment in its packet.
const OFFSET: u16 = 0x1fff;

impl Icmp for Addr {
    const NUMBER: u8 = 1;
    const NUMBER_AT: usize = 23;
    const AT: usize = 34;
    const ECHO: u8 = 8;
    const ECHO_REPLY: u8 = 0;
    const HOST_UNREACHABLE: Kind = Kind(3, 1);
    const TOO_BIG: Kind = Kind(3, 4);
    /// RFC 1812, section 4.3.2.3.
    const LONGEST: u16 = 576;

    #[inline(always)]
    fn is_solicitation<F: Window>(_: &F) -> bool {
        false
    }

    /// Unreachable, time exceeded, parameter problem. Source quench is history (RFC 6633).
    #[inline(always)]
    fn is_error(kind: u8) -> bool {
        matches!(kind, 3 | 11 | 12)
    }

    #[inline(always)]
    fn quoted<F: Window>(frame: &F) -> Option<QuotedIp> {
        let b: &[u8; HEADER] = frame.view(QUOTE)?;
        if b[0] != 0x45 || u16::from_be(half::<6, HEADER>(b)) & OFFSET != 0 {
            return None;
        }
        Some(QuotedIp {
            source: Self::from_word(word::<12, HEADER>(b)),
            destination: Self::from_word(word::<16, HEADER>(b)),
            protocol: b[9],
            checksum: half::<10, HEADER>(b),
            length: 20,
        })
    }

    #[inline(always)]
    fn requote<F: Window>(frame: &mut F, source: Self, destination: Self, checksum: u16) -> Option<()> {
        let b: &mut [u8; 10] = frame.view_mut(QUOTE + 10)?;
        put_half::<0, 10>(b, checksum);
        put_word::<2, 10>(b, source.word());
        put_word::<6, 10>(b, destination.word());
        Some(())
    }

    #[inline(always)]
    fn quoted_change(changes: Delta, old: u16, new: u16) -> Delta {
        changes.half(old, new)
    }

    #[inline(always)]
    fn head<F: Window>(frame: &mut F, source: Self, destination: Self, length: u16) -> Option<()> {
        let b: &mut [u8; HEADER] = frame.view_mut(IP)?;
        // Precedence "internetwork control" (RFC 1812, section 4.3.2.5), not to be split.
        let (first, rest) = (0x45c0_0000_u32 | u32::from(length), 0x0000_4000_u32);
        let third = 0x4001_0000_u32;
        let words = [first, rest, third].map(u32::to_be);
        put_word::<0, HEADER>(b, words[0]);
        put_word::<4, HEADER>(b, words[1]);
        put_word::<8, HEADER>(b, words[2]);
        put_word::<12, HEADER>(b, source.word());
        put_word::<16, HEADER>(b, destination.word());
        let sum = words.iter().fold(Delta::default(), |sum, word| sum.word(0, *word));
        put_half::<10, HEADER>(b, sum.word(0, source.word()).word(0, destination.word()).whole());
        Some(())
    }

    #[inline(always)]
    fn pseudo(_: Self, _: Self, _: u16) -> Delta {
        Delta::default()
    }

    #[inline(always)]
    fn pseudo_change(_: Delta) -> Delta {
        Delta::default()
    }

    /// Not "this network", loopback, multicast, reserved or broadcast (RFC 6890).
    #[inline(always)]
    fn is_host(self) -> bool {
        let [first, ..] = self.wire();
        !matches!(first, 0 | 127 | 224..)
    }
}
