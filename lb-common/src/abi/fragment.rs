//! What later fragments lack: the ports of their first.

use crate::units::{Addr, Addr6, MemberId, Port, Tick};

/// A datagram or segment that was cut (RFC 791, section 2.3; RFC 8200, section 4.5). 16 bytes, 40 for IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(C)]
pub struct FragmentKey<A = Addr> {
    /// Source.
    pub source: A,
    /// Destination.
    pub destination: A,
    /// Identification, wire order.
    pub id: u32,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

const _: () = assert!(size_of::<FragmentKey>() == 16);
const _: () = assert!(size_of::<FragmentKey<Addr6>>() == 40);

/// What the first fragment said and became, in one word, so that nobody reads half of it: member (bits
/// 0..16), source port (16..32), destination port (32..48), tick (48..64).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct FragmentWord(pub u64);

impl FragmentWord {
    /// Between these ports, to this member; to none, if it came from one.
    #[inline(always)]
    #[must_use]
    pub const fn new(source_port: Port, destination_port: Port, member: MemberId, now: Tick) -> Self {
        let ports = (source_port.word() as u64) << 16 | (destination_port.word() as u64) << 32;
        Self(member.0 as u64 | ports | (now.get() as u64) << 48)
    }

    /// Where the first one went.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a field of the word")]
    pub const fn member(self) -> MemberId {
        MemberId(self.0 as u16)
    }

    /// Its source port.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a field of the word")]
    pub const fn source_port(self) -> Port {
        Port::from_word((self.0 >> 16) as u16)
    }

    /// Its destination port.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "a field of the word")]
    pub const fn destination_port(self) -> Port {
        Port::from_word((self.0 >> 32) as u16)
    }

    /// Ticks from the first fragment to `now`, modulo some four hours. A moment ahead of `now`, as another
    /// CPU may just have written it, is no age at all.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "as many bits as the word keeps")]
    pub const fn age(self, now: Tick) -> u16 {
        let age = (now.get() as u16).wrapping_sub((self.0 >> 48) as u16);
        if age > u16::MAX / 2 { 0 } else { age }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_keeps_its_fields_apart() {
        let word = FragmentWord::new(Port::new(40_000), Port::new(53), MemberId(0xabcd), Tick::new(0x3_fffe));
        assert_eq!(word.member(), MemberId(0xabcd));
        assert_eq!(word.source_port(), Port::new(40_000));
        assert_eq!(word.destination_port(), Port::new(53));
        let ages = [0x3_fffe, 0x4_0001, 0x3_fffd].map(|now| word.age(Tick::new(now)));
        assert_eq!(ages, [0, 3, 0]);
    }
}
