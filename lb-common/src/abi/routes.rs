//! The host's routes as far as they are certain, compiled by user space: prefixes, longest first.
//!
//! [`crate::routes`] scans them. Most hosts have a default gateway and a handful of links.

use crate::units::{Addr, Addr6};

/// Prefixes in a table. A host that needs more asks the kernel for every route.
pub const ROUTES: usize = 16;

/// Tables in the map: one is in force, the other one can be written.
pub const ROUTE_TABLES: usize = 2;

/// A prefix and the way to it. 32 bytes, 56 for IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct RoutePrefix<A = Addr> {
    /// Network address; bits beyond the mask are 0.
    pub network: A,
    /// Ones for the bits that count, in wire order as the address.
    pub mask: A,
    /// Interface that leads there; 0 where only the kernel can tell.
    pub ifindex: u32,
    /// Longest IP packet that goes this way.
    pub mtu: u32,
    /// Hardware address of the gateway.
    pub destination: [u8; 6],
    /// Hardware address of our interface.
    pub source: [u8; 6],
    /// Its place in the table. Who has found it goes there by this number: the verifier, which would follow each
    /// place that it knows to the end of the program, does not know what a map holds.
    pub place: u32,
}

/// Prefixes, longest first. What none of them holds is for the kernel to tell. 520 bytes, 904 for IPv6.
///
/// Of the two in the map [`crate::abi::Root::routes`] names the one in force. User space writes the
/// other one, once no packet can still read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct RouteTable<A = Addr> {
    /// How many prefixes there are.
    pub used: u32,
    /// Zero.
    pub reserved: u32,
    /// The first `used` of them count.
    pub prefixes: [RoutePrefix<A>; ROUTES],
}

const _: () = assert!(size_of::<RoutePrefix>() == 32);
const _: () = assert!(size_of::<RoutePrefix<Addr6>>() == 56);
const _: () = assert!(size_of::<RouteTable>() == 8 + ROUTES * 32);
const _: () = assert!(size_of::<RouteTable<Addr6>>() == 8 + ROUTES * 56);
