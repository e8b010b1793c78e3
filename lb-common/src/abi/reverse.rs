//! From a member's reply back to the frontend. Members + rules entries, never members x rules.

use crate::units::{Addr, Addr6, MemberId, Port};

/// What a member's address stands for, found by the address. 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(C)]
pub struct Owner {
    /// The group of pools that have this address.
    pub group: u32,
    /// The member's label.
    pub member: MemberId,
    /// Bits: [`Owner::RANGES`].
    pub flags: u16,
}

const _: () = assert!(size_of::<Owner>() == 8);

impl Owner {
    /// The group answers for ranges of ports, too.
    pub const RANGES: u16 = 1;
}

/// Room for [`Reverse`] in each family.
pub const REVERSES: u32 = 65_536;

/// A service of a group of pools. 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(C)]
pub struct ReverseKey {
    /// [`Owner::group`].
    pub group: u32,
    /// Port at the member.
    pub port: Port,
    /// IP protocol number; with [`crate::abi::RANGE`], the port is the first of a range.
    pub protocol: u8,
    /// Zero.
    pub reserved: u8,
}

const _: () = assert!(size_of::<ReverseKey>() == 8);

impl ReverseKey {
    /// All its bytes in one word, in the order of memory.
    #[inline(always)]
    #[must_use]
    pub const fn word(&self) -> u64 {
        let head = self.group as u64;
        let port = self.port.word() as u64;
        if cfg!(target_endian = "little") {
            head | port << 32 | (self.protocol as u64) << 48 | (self.reserved as u64) << 56
        } else {
            head << 32 | port << 16 | (self.protocol as u64) << 8 | self.reserved as u64
        }
    }
}

/// Of [`Reverse::flags`]: flows of the rule have entries, which come first.
pub const TRACKED_REPLIES: u16 = 1;

/// The frontend that the service is reached by. 20 bytes, 32 for IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(C)]
pub struct Reverse<A = Addr> {
    /// Frontend address.
    pub address: A,
    /// Frontend port.
    pub port: Port,
    /// The last frontend port of a range, else the same.
    pub last: Port,
    /// Bits: [`TRACKED_REPLIES`].
    pub flags: u16,
    /// Zero.
    pub reserved: u16,
    /// Index of the rule's statistics.
    pub stats: u32,
    /// Life of an exception since its last packet, in ticks.
    pub life: u32,
}

const _: () = assert!(size_of::<Reverse>() == 20);
const _: () = assert!(size_of::<Reverse<Addr6>>() == 32);

impl<A> Reverse<A> {
    /// The same at another address, or at this one in another form.
    #[must_use]
    pub fn at<B>(self, address: B) -> Reverse<B> {
        let Self { port, last, flags, stats, life, reserved, .. } = self;
        Reverse { address, port, last, flags, reserved, stats, life }
    }
}
