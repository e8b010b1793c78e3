//! Frontends that are answered for on a link they lie on.

use crate::units::{Addr, Addr6};

/// An address on a link. 8 bytes, 20 for IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(C)]
pub struct AnnouncedKey<A = Addr> {
    /// Interface to the link.
    pub ifindex: u32,
    /// The frontend.
    pub address: A,
}

const _: () = assert!(size_of::<AnnouncedKey>() == 8);
const _: () = assert!(size_of::<AnnouncedKey<Addr6>>() == 20);

/// What who asks for it is told. 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(C)]
pub struct Announced {
    /// Hardware address of the interface.
    pub hardware: [u8; 6],
    /// Zero.
    pub reserved: u16,
}

const _: () = assert!(size_of::<Announced>() == 8);

impl<A> AnnouncedKey<A> {
    /// The same for another address, or for this one in another form.
    #[must_use]
    pub fn of<B>(self, address: B) -> AnnouncedKey<B> {
        AnnouncedKey { ifindex: self.ifindex, address }
    }
}

impl Announced {
    /// At this hardware address.
    #[must_use]
    pub const fn at(hardware: [u8; 6]) -> Self {
        Self { hardware, reserved: 0 }
    }
}
