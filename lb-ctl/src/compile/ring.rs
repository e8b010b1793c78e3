//! Maglev rings: which member a slot of a pool belongs to.
//!
//! A ring is a function of the key, the members' addresses and their weights. The order of the
//! members, their history and their ids play no part, so that every node with the same file and
//! key builds the same ring. What this file computes is therefore part of the protocol between
//! nodes: a change moves connections, and the golden tests below say so.
//!
//! The population is that of "Maglev: A Fast and Reliable Software Network Load Balancer"
//! (NSDI 2016), section 3.4, with turns by weight.

use std::net::{IpAddr, Ipv6Addr};

use siphasher::sip128::SipHasher24;

/// Sizes that a ring can have. All are prime, so that every skip visits every slot.
const SIZES: [u32; 7] = [4_099, 8_209, 16_411, 32_771, 65_537, 100_003, 131_071];

/// The largest ring: 131,071 slots of two bytes are 256 KiB, which stay in a core's cache.
const LARGEST: u32 = 131_071;

/// Slots per member that keep a member's share within 1 % of what its weight says.
const SLOTS_PER_MEMBER: u32 = 100;

/// What a slot holds that belongs to no member.
pub const NO_MEMBER: u16 = 0;

/// Makes the rings of one cluster unpredictable to outsiders; the same on all its nodes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RingKey(pub [u8; 16]);

/// A member as the ring sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Decides the member's place; distinct within a ring.
    pub address: IpAddr,
    /// Share relative to the other members; 0 has no slot.
    pub weight: u16,
    /// The label written into the member's slots; never [`NO_MEMBER`].
    pub id: u16,
}

/// Builds a ring of `slots` ids. Without a member of positive weight every slot is [`NO_MEMBER`].
///
/// A member whose share is less than half a slot may have none.
///
/// # Panics
/// If `slots` is not prime: the walk of a member would miss slots and never end.
#[must_use]
pub fn build(key: RingKey, members: &[Member], slots: u32) -> Vec<u16> {
    assert!(is_prime(slots), "a ring of {slots} slots: not prime");
    let mut walks = walks_by_address(key, members, slots);
    let mut ring = vec![NO_MEMBER; slots as usize];
    let heaviest = walks.iter().map(|walk| walk.weight).max().unwrap_or(0);
    let mut free = if walks.is_empty() { 0 } else { slots };
    while free > 0 {
        for walk in &mut walks {
            if free > 0 && walk.has_turn(heaviest) {
                walk.take_next_free(&mut ring);
                free -= 1;
            }
        }
    }
    ring
}

/// Slots of the ring of a pool that is to hold `max_members`: at least 100 for each, as long as
/// that fits the largest ring.
#[must_use]
pub fn size_for(max_members: u32) -> u32 {
    let wanted = max_members.saturating_mul(SLOTS_PER_MEMBER);
    SIZES.into_iter().find(|&size| size >= wanted).unwrap_or(LARGEST)
}

/// A member's way through its permutation of the slots.
struct Walk {
    id: u16,
    weight: u32,
    /// Turns saved up, in units of one turn of the heaviest member.
    credit: u32,
    next: u32,
    skip: u32,
    slots: u32,
}

fn walks_by_address(key: RingKey, members: &[Member], slots: u32) -> Vec<Walk> {
    let mut turns: Vec<&Member> = members.iter().filter(|member| member.weight > 0).collect();
    turns.sort_by_key(|member| hashed_address(member.address));
    let heaviest = turns.iter().map(|member| member.weight).max().unwrap_or(0);
    turns.iter().map(|member| Walk::new(key, member, heaviest, slots)).collect()
}

impl Walk {
    fn new(key: RingKey, member: &Member, heaviest: u16, slots: u32) -> Self {
        let hash = SipHasher24::new_with_key(&key.0).hash(&hashed_address(member.address).octets());
        Self {
            id: member.id,
            weight: u32::from(member.weight),
            // Half a turn in advance rounds a member's slots to the nearest number, not down.
            credit: u32::from(heaviest) / 2,
            next: below(hash.h1, slots),
            skip: 1 + below(hash.h2, slots - 1),
            slots,
        }
    }

    fn has_turn(&mut self, heaviest: u32) -> bool {
        self.credit += self.weight;
        let turn = self.credit >= heaviest;
        if turn {
            self.credit -= heaviest;
        }
        turn
    }

    fn take_next_free(&mut self, ring: &mut [u16]) {
        while ring[self.next as usize] != NO_MEMBER {
            self.step();
        }
        ring[self.next as usize] = self.id;
        self.step();
    }

    fn step(&mut self) {
        self.next += self.skip;
        if self.next >= self.slots {
            self.next -= self.slots;
        }
    }
}

/// One form for both families: an IPv4 address hashes as its IPv4-mapped IPv6 address.
fn hashed_address(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// Maps a hash to `0..limit`.
#[expect(clippy::cast_possible_truncation, reason = "the remainder is less than a u32")]
fn below(hash: u64, limit: u32) -> u32 {
    (hash % u64::from(limit)) as u32
}

fn is_prime(number: u32) -> bool {
    number >= 2 && (2..=number.isqrt()).all(|divisor| !number.is_multiple_of(divisor))
}

#[cfg(test)]
mod tests;
