//! Keyed hashes of a tuple.
//!
//! One chain gives both numbers that a packet needs: the hash of the client's side chooses the
//! mark, so that inbound, reply, direct and own packets of one peer share it, and with the local
//! side mixed in it chooses the slot. Two rounds of multiply and fold, each a bijection of 64
//! bits; the key is secret, so that a client cannot aim at one member. It is no MAC, and need not
//! be: what an attacker gains by guessing is a choice of member.

use crate::abi::Mode;
use crate::family::Family;
use crate::units::{Addr, Port};

/// One side of a flow, and the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuple<A = Addr> {
    /// The peer: the client, or whoever a member talks to.
    pub peer: A,
    /// Its port.
    pub peer_port: Port,
    /// The frontend.
    pub local: A,
    /// Its port.
    pub local_port: Port,
    /// IP protocol number.
    pub protocol: u8,
}

/// Hash of the peer's side: chooses the mark.
#[inline(always)]
#[must_use]
pub fn peer<A: Family>(key: &[u64; 2], address: A, port: Port, protocol: u8) -> u64 {
    address.absorb(key[0], u32::from(port.word()) << 16 | u32::from(protocol))
}

/// Hash of the whole flow, from that of its peer's side: chooses the slot under [`Mode::FiveTuple`].
#[inline(always)]
#[must_use]
pub fn flow<A: Family>(key: &[u64; 2], peer: u64, local: A, port: Port) -> u64 {
    local.absorb(peer ^ key[1], u32::from(port.word()))
}

/// Hash of what `mode` (a [`Mode`]) lets count (S-DIST-1..3); `five` is the hash of the whole flow.
#[inline(always)]
#[must_use]
pub fn distribution<A: Family>(key: &[u64; 2], mode: u8, tuple: &Tuple<A>, five: u64) -> u64 {
    if mode == Mode::FiveTuple as u8 {
        return five;
    }
    let protocol = if mode == Mode::SourceIpProtocol as u8 { tuple.protocol } else { 0 };
    let peer = peer(key, tuple.peer, Port::default(), protocol);
    flow(key, peer, tuple.local, Port::default())
}

/// Another, independent choice from the same hash.
#[inline(always)]
#[must_use]
pub fn again(hash: u64) -> u64 {
    mix(hash.wrapping_add(0x9e37_79b9_7f4a_7c15))
}

/// The upper half of a hash scaled to `0..size`: no division, and no bias worth the name.
#[inline(always)]
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "the product of 32-bit numbers, shifted by 32")]
pub fn scale(hash: u64, size: u32) -> u32 {
    (((hash >> 32) * u64::from(size)) >> 32) as u32
}

/// Each input bit moves each output bit: rrmxmx's multiplier twice, with folds of half the width
/// (P. Evensen, "Better, stronger mixer", 2018).
#[inline(always)]
pub(crate) fn mix(mut x: u64) -> u64 {
    const MULTIPLIER: u64 = 0x9fb2_1c65_1e98_df25;
    x ^= x >> 32;
    x = x.wrapping_mul(MULTIPLIER);
    x ^= x >> 28;
    x = x.wrapping_mul(MULTIPLIER);
    x ^ x >> 28
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];

    fn tuple(peer: u32, port: u16, protocol: u8) -> Tuple {
        Tuple {
            peer: Addr::from_wire(peer.to_be_bytes()),
            peer_port: Port::new(port),
            local: Addr::from_wire([203, 0, 113, 10]),
            local_port: Port::new(80),
            protocol,
        }
    }

    fn hash(mode: Mode, t: &Tuple) -> u64 {
        let peer = peer(&KEY, t.peer, t.peer_port, t.protocol);
        distribution(&KEY, mode as u8, t, flow(&KEY, peer, t.local, t.local_port))
    }

    /// S-DIST-2.
    #[test]
    fn source_ip_ignores_ports_and_protocol_s_dist_2() {
        let one = hash(Mode::SourceIp, &tuple(1, 1000, 6));
        assert_eq!(one, hash(Mode::SourceIp, &tuple(1, 2000, 17)));
        assert_ne!(one, hash(Mode::SourceIp, &tuple(2, 1000, 6)));
    }

    /// S-DIST-3.
    #[test]
    fn source_ip_protocol_tells_protocols_apart_s_dist_3() {
        let one = hash(Mode::SourceIpProtocol, &tuple(1, 1000, 6));
        assert_eq!(one, hash(Mode::SourceIpProtocol, &tuple(1, 2000, 6)));
        assert_ne!(one, hash(Mode::SourceIpProtocol, &tuple(1, 1000, 17)));
    }

    /// S-DIST-9.
    #[test]
    fn flows_spread_evenly_s_dist_9() {
        let mut counts = [0u32; 16];
        for port in 0..64_000u16 {
            counts[scale(hash(Mode::FiveTuple, &tuple(0xc633_6402, port, 6)), 16) as usize] += 1;
        }
        let (mean, deviation) = (4_000.0_f64, (64_000.0_f64 * (1.0 / 16.0) * (15.0 / 16.0)).sqrt());
        for count in counts {
            assert!((f64::from(count) - mean).abs() < 5.0 * deviation, "{counts:?}");
        }
    }

    #[test]
    fn one_bit_in_changes_half_the_bits_out() {
        let mut changed = 0;
        for bit in 0..32 {
            let base = hash(Mode::FiveTuple, &tuple(0xc633_6402, 40_000, 6));
            changed += (base ^ hash(Mode::FiveTuple, &tuple(0xc633_6402 ^ 1 << bit, 40_000, 6))).count_ones();
        }
        assert!((28 * 32..36 * 32).contains(&changed), "{} bits of 64 on average", changed / 32);
    }
}
