//! IPv4 (RFC 791).

use super::{ETH_LEN, Family, GROUP, Piece, Transport};
use crate::csum::Delta;
use crate::hash::mix;
use crate::nat::NewIp;
use crate::parse::Ip;
use crate::pipeline::{Stage, Stages};
use crate::reason::Reason;
use crate::units::Addr;
use crate::window::Window;
use crate::words::{half, put_half, put_word, word};

/// Bytes of a header without options.
const LENGTH: usize = 20;
/// Where the transport header begins, behind a header without options.
const L4: usize = ETH_LEN + LENGTH;
/// Version 4, five words of header.
const NO_OPTIONS: u8 = 0x45;
/// Don't fragment.
const WHOLE: u16 = 0x4000;
/// More fragments.
const MORE: u16 = 0x2000;
/// In units of eight bytes.
const OFFSET: u16 = 0x1fff;

/// What only an IPv4 header says (section 3.1); nothing of it is judged yet.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rest {
    version_length: u8,
    fragment: u16,
    /// Wire order.
    checksum: u16,
}

impl Family for Addr {
    type Rest = Rest;

    const ETHERTYPE: u16 = 0x0800;

    const STAGES: Stages = Stages {
        icmp: Stage::Icmp,
        too_big: Stage::TooBig,
        tracked: Stage::Tracked,
        again: Stage::Again,
        enter: Stage::Enter,
        wide: Stage::Wide,
    };

    #[inline(always)]
    fn read<F: Window>(frame: &F) -> Result<Ip<Self>, Reason> {
        let b: &[u8; L4] = frame.view(0).ok_or(Reason::Truncated)?;
        if u16::from_be(half::<12, L4>(b)) != Self::ETHERTYPE {
            return Err(Reason::NotIp);
        }
        if b[0] & GROUP != 0 {
            return Err(Reason::LinkGroup);
        }
        Ok(Ip {
            length: u16::from_be(half::<16, L4>(b)),
            ttl: b[22],
            protocol: b[23],
            source: Self::from_word(word::<26, L4>(b)),
            destination: Self::from_word(word::<30, L4>(b)),
            rest: Rest {
                version_length: b[14],
                fragment: u16::from_be(half::<20, L4>(b)),
                checksum: half::<24, L4>(b),
            },
        })
    }

    #[inline(always)]
    fn transport<F: Window>(frame: &F, ip: &Ip<Self>) -> Result<Transport, Reason> {
        if ip.rest.version_length != NO_OPTIONS {
            return Err(Reason::IpOptions);
        }
        if ip.rest.fragment & (MORE | OFFSET) != 0 {
            return Err(Reason::Fragment);
        }
        behind(frame, ip)
    }

    #[inline(always)]
    fn piece<F: Window>(frame: &F, ip: &Ip<Self>) -> Result<(Transport, Piece), Reason> {
        if ip.rest.version_length != NO_OPTIONS {
            return Err(Reason::IpOptions);
        }
        let id: &[u8; 2] = frame.view(ETH_LEN + 4).ok_or(Reason::BadLength)?;
        let piece = Piece {
            id: half::<0, 2>(id).into(),
            offset: ip.rest.fragment & OFFSET,
            more: ip.rest.fragment & MORE != 0,
        };
        Ok((behind(frame, ip)?, piece))
    }

    #[inline(always)]
    fn transport_at(_: &Ip<Self>) -> usize {
        L4
    }

    #[inline(always)]
    fn found(ip: &Ip<Self>, _: &Transport) -> Ip<Self> {
        *ip
    }

    #[inline(always)]
    fn stays_whole(ip: &Ip<Self>) -> bool {
        ip.rest.fragment & WHOLE != 0
    }

    #[inline(always)]
    fn write<F: Window>(frame: &mut F, new: &NewIp<Self>) -> Option<()> {
        // From the hops left to the addresses, around the protocol.
        let b: &mut [u8; 12] = frame.view_mut(ETH_LEN + 8)?;
        b[0] = new.ttl;
        put_half::<2, 12>(b, new.checksum);
        put_word::<4, 12>(b, new.source.word());
        put_word::<8, 12>(b, new.destination.word());
        Some(())
    }

    #[inline(always)]
    fn header_checksum(ip: &Ip<Self>, addresses: Delta, ttl: u8) -> u16 {
        let word = |ttl| u16::from_ne_bytes([ttl, ip.protocol]);
        addresses.half(word(ip.ttl), word(ttl)).apply(ip.rest.checksum)
    }

    #[inline(always)]
    fn absorb(self, state: u64, tail: u32) -> u64 {
        mix(state ^ (u64::from(self.word()) << 32 | u64::from(tail)))
    }

    #[inline(always)]
    fn stays_on_link(self) -> bool {
        false
    }

    #[inline(always)]
    fn fold(self) -> u32 {
        self.word()
    }

    #[inline(always)]
    fn is_within(self, network: Self, mask: Self) -> bool {
        self.word() & mask.word() == network.word()
    }

    #[inline(always)]
    fn shares(self, other: Self, bits: Self) -> bool {
        (self.word() ^ other.word()) & bits.word() == 0
    }

    #[inline(always)]
    fn delta(self, new: Self, delta: Delta) -> Delta {
        delta.word(self.word(), new.word())
    }
}

/// What follows a header without options.
#[inline(always)]
fn behind<F: Window>(frame: &F, ip: &Ip<Addr>) -> Result<Transport, Reason> {
    let length = ip.length.checked_sub(20).ok_or(Reason::BadLength)?;
    if frame.len() < ETH_LEN + ip.length as usize {
        return Err(Reason::BadLength);
    }
    Ok(Transport { at: L4, length, protocol: ip.protocol })
}
