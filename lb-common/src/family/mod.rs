//! In what IPv4 and IPv6 differ; everything else is written once, for both.

mod v4;
mod v6;

pub use v6::is_ipv6;

use core::fmt::Debug;
use core::hash::Hash;

use crate::csum::Delta;
use crate::nat::NewIp;
use crate::parse::Ip;
use crate::pipeline::Stages;
use crate::reason::Reason;
use crate::window::Window;

/// Bytes of an Ethernet header.
pub const ETH_LEN: usize = 14;

/// Bit of a hardware address's first byte: to everybody on the link or to a group (IEEE 802, 8.2).
pub(crate) const GROUP: u8 = 0x01;

/// Where a transport header begins, and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transport {
    /// Offset in the frame.
    pub at: usize,
    /// Bytes from there to the packet's end.
    pub length: u16,
    /// IP protocol number.
    pub protocol: u8,
}

/// Which bytes of a packet a frame has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Piece {
    /// Identification, wire order; 0 of what may be no fragment.
    pub id: u32,
    /// Units of eight bytes before its first.
    pub offset: u16,
    /// Whether others follow.
    pub more: bool,
}

impl Piece {
    /// Whether it is all of the packet.
    #[inline(always)]
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.offset == 0 && !self.more
    }
}

/// An address of one family, and with it the form of that family's headers.
pub trait Family: Copy + Eq + Ord + Hash + Default + Debug + 'static {
    /// What only this family's header says.
    type Rest: Copy + Debug + Default;

    /// In the Ethernet header.
    const ETHERTYPE: u16;

    /// The programs that go on for this family.
    const STAGES: Stages;

    /// Reads the header behind an Ethernet header.
    fn read<F: Window>(frame: &F) -> Result<Ip<Self>, Reason>;

    /// Finds the transport header; the error is the packet's fate if it is to a frontend.
    fn transport<F: Window>(frame: &F, ip: &Ip<Self>) -> Result<Transport, Reason>;

    /// The same of what may be a fragment: where the transport header begins, or what follows it.
    fn piece<F: Window>(frame: &F, ip: &Ip<Self>) -> Result<(Transport, Piece), Reason>;

    /// Where the transport header begins, once [`Family::transport`] has found it.
    fn transport_at(ip: &Ip<Self>) -> usize;

    /// The header as it stands once the transport header has been found.
    #[must_use]
    fn found(ip: &Ip<Self>, transport: &Transport) -> Ip<Self>;

    /// Whether no router may split the packet.
    fn stays_whole(ip: &Ip<Self>) -> bool;

    /// Writes addresses, hops left and the header's checksum if it has one; `None`, and nothing
    /// written, if the frame is too short.
    fn write<F: Window>(frame: &mut F, new: &NewIp<Self>) -> Option<()>;

    /// The header's checksum with other addresses (their difference) and hops left; 0 where there
    /// is none.
    fn header_checksum(ip: &Ip<Self>, addresses: Delta, ttl: u8) -> u16;

    /// Mixes the address and 32 further bits into the state of a hash.
    #[must_use]
    fn absorb(self, state: u64, tail: u32) -> u64;

    /// Whether no router forwards what comes from this address. IPv4 leaves that to hosts.
    fn stays_on_link(self) -> bool;

    /// The address in a word, for the first glance (see [`crate::abi::sieve`]).
    #[must_use]
    fn fold(self) -> u32;

    /// Whether the bits of `mask` are as in `network`, whose others are 0.
    #[must_use]
    fn is_within(self, network: Self, mask: Self) -> bool;

    /// Whether `bits` of both addresses are equal.
    #[must_use]
    fn shares(self, other: Self, bits: Self) -> bool;

    /// The difference that this address makes to a checksum when it becomes `new`.
    #[must_use]
    fn delta(self, new: Self, delta: Delta) -> Delta;
}
