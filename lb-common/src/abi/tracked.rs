//! Flows that all have entries: one for each direction.

use crate::abi::FlowEntry;
use crate::units::{Addr, Addr6, Port};

/// Room for [`NatSource`] in each family; the first one is none.
pub const NAT_SOURCES: u32 = 4096;

/// An address of ours that clients' packets leave from, so that the answer comes to us. 12 bytes, 24
/// for IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(C)]
pub struct NatSource<A = Addr> {
    /// The address.
    pub address: A,
    /// Its first port for this use, in host order.
    pub first: u16,
    /// How many ports from there on; 0 if there is no such source.
    pub ports: u16,
    /// How many sources from this one on serve the same members.
    pub run: u16,
    /// Zero.
    pub reserved: u16,
}

const _: () = assert!(size_of::<NatSource>() == 12);
const _: () = assert!(size_of::<NatSource<Addr6>>() == 24);

impl<A> NatSource<A> {
    /// The same at this address in another form.
    #[must_use]
    pub fn at<B>(self, address: B) -> NatSource<B> {
        let Self { first, ports, run, reserved, .. } = self;
        NatSource { address, first, ports, run, reserved }
    }
}

/// What packets of one direction become. 24 bytes, 48 for IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(C)]
pub struct Translation<A = Addr> {
    /// New source: the client or an address of ours towards a member, the frontend towards a client.
    pub source: A,
    /// New destination: the member, or the client.
    pub destination: A,
    /// New source port.
    pub source_port: Port,
    /// New destination port.
    pub destination_port: Port,
    /// Index of the rule's statistics.
    pub stats: u32,
    /// Life since the flow's last packet, in ticks.
    pub life: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Translation>() == 24);
const _: () = assert!(size_of::<Translation<Addr6>>() == 48);

impl<A> Translation<A> {
    /// The same with addresses in another form.
    #[must_use]
    pub fn between<B>(self, source: B, destination: B) -> Translation<B> {
        let Self { source_port, destination_port, stats, life, reserved, .. } = self;
        Translation { source, destination, source_port, destination_port, stats, life, reserved }
    }
}

/// One direction of a tracked flow. 40 bytes, 64 for IPv6.
///
/// Found by the packet's own addresses and ports ([`crate::abi::FlowKey`] with the sender as the peer). Both
/// directions name the same target, and what one of them says of the connection's end the other says, too; the
/// moment of the last packet and the member's sequence number are of their own direction.
#[derive(Debug, Clone, Default)]
#[repr(C)]
pub struct TrackEntry<A = Addr> {
    /// Target, last packet, flags; towards the member also the sequence number to prove.
    pub flow: FlowEntry,
    /// What the packet becomes. Never changes.
    pub to: Translation<A>,
}

const _: () = assert!(size_of::<TrackEntry>() == 40);
const _: () = assert!(size_of::<TrackEntry<Addr6>>() == 64);
