//! Members and addresses.

use crate::units::{Addr, Addr6};

/// A member and the way to it. 32 bytes, 44 for IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(C)]
pub struct Member<A = Addr> {
    /// The member's address.
    pub address: A,
    /// Interface that leads to it; 0 while the next hop is not known.
    pub ifindex: u32,
    /// Hardware address of the next hop.
    pub destination: [u8; 6],
    /// Hardware address of our interface.
    pub source: [u8; 6],
    /// 1 if the label is in use.
    pub present: u32,
    /// Longest IP packet that the interface sends.
    pub mtu: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Member>() == 32);
const _: () = assert!(size_of::<Member<Addr6>>() == 44);

impl<A> Member<A> {
    /// The same at another address, or at this one in another form.
    #[must_use]
    pub fn at<B>(self, address: B) -> Member<B> {
        let Self { ifindex, destination, source, present, mtu, reserved, .. } = self;
        Member { address, ifindex, destination, source, present, mtu, reserved }
    }
}

/// What an address is to us. 4 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct AddressFlags(pub u32);

impl AddressFlags {
    /// Clients connect to it.
    pub const FRONTEND: Self = Self(1);
    /// The host's own.
    pub const OWN: Self = Self(2);
    /// Some member of a rule of the frontend takes new connections, or it has NAT rules alone.
    pub const SERVES: Self = Self(4);
    /// No member of the frontend's rules takes new connections, and at least one because it fails its
    /// probe.
    pub const DOWN: Self = Self(8);

    /// Whether all flags of `other` are set.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With the flags of `other` as well.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without the flags of `other`.
    #[inline(always)]
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}
