//! Members and addresses.

use crate::units::{Addr, Addr6};

/// How packets get to a member, as a number for [`Member::forwarding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Forwarding {
    /// Destination and port become the member's; its replies pass us.
    #[default]
    Nat = 0,
    /// The source becomes ours, too, so that replies come to us by themselves.
    FullNat = 1,
    /// The packet as it came, in a frame to the member, which answers the client itself.
    DsrL2 = 2,
    /// The packet as it came, in another to the member, which answers the client itself.
    DsrIpip = 3,
}

/// A member and the way to it. 32 bytes, 56 for IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(C)]
pub struct Member<A = Addr> {
    /// The member's address.
    pub address: A,
    /// The bits by which a client that is plainly forwarded differs from the member in one at least: those of
    /// the network that both would be in, all if there is none, and none if nobody is plainly forwarded.
    pub apart: A,
    /// Interface that leads to it; 0 while the next hop is not known.
    pub ifindex: u32,
    /// Hardware address of the next hop.
    pub destination: [u8; 6],
    /// Hardware address of our interface.
    pub source: [u8; 6],
    /// Longest IP packet that the interface sends.
    pub mtu: u32,
    /// 1 if the label is in use.
    pub present: u8,
    /// A [`Forwarding`].
    pub forwarding: u8,
    /// The first of the [`crate::abi::NatSource`]s for clients that are not plainly forwarded; 0 if there is none.
    pub sources: u16,
}

const _: () = assert!(size_of::<Member>() == 32);
const _: () = assert!(size_of::<Member<Addr6>>() == 56);

impl<A> Member<A> {
    /// The same with addresses in another form.
    #[must_use]
    pub fn at<B>(self, address: B, apart: B) -> Member<B> {
        let Self { ifindex, destination, source, mtu, present, forwarding, sources, .. } = self;
        Member { address, apart, ifindex, destination, source, mtu, present, forwarding, sources }
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
    /// A rule of the frontend is of a range of ports, or of all.
    pub const WIDE: Self = Self(16);

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
