//! The seam to the maps.

use core::ops::Deref;

use crate::abi::sieve::Cell;
use crate::abi::{AddressFlags, FlowEntry, FlowKey, Member, Owner, Reverse, ReverseKey, Root, Rule, RuleKey};
use crate::outcome::NextHop;
use crate::reason::Event;
use crate::units::{Addr, MemberId};

/// A table had no room for an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// What the kernel's routes say of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// The frame can be sent on right here.
    Hop(NextHop),
    /// There is a way, but only the kernel can take it: the neighbour has to be asked for, the
    /// packet is too big for the next link, or the route is a tunnel.
    Kernel,
    /// There is none.
    Unreachable,
}

/// A packet that asks for its route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteQuery {
    /// Source after the rewrite.
    pub source: Addr,
    /// Destination after the rewrite.
    pub destination: Addr,
    /// Length of the IP packet.
    pub length: u16,
    /// IP protocol number.
    pub protocol: u8,
}

/// Every look-up and every write that a packet may cause.
pub trait Tables {
    /// An exception, alive as long as this is held.
    type Entry: Deref<Target = FlowEntry>;

    /// What holds for all packets; its version is 0 before user space has ever written it.
    fn root(&self) -> Option<&Root>;
    /// First glance at an address.
    fn sieve(&self, address: Addr) -> Cell;
    /// The rule of a frontend port.
    fn rule(&self, key: &RuleKey) -> Option<&Rule>;
    /// What an address is to us.
    fn address(&self, address: Addr) -> AddressFlags;
    /// Whether an access list names the source.
    fn allowed(&self, list: u32, source: Addr) -> bool;
    /// The member in a slot, [`MemberId::NONE`] where there is none.
    fn slot(&self, index: u32) -> MemberId;
    /// A word of a health set.
    fn health(&self, index: u32) -> u64;
    /// The first word of a health set of `words` words that is not 0, from word `start` on and
    /// around: its index in the set, and itself.
    fn healthy(&self, base: u32, words: u32, start: u32) -> Option<(u32, u64)>;
    /// A member by its label.
    fn member(&self, id: MemberId) -> Option<&Member>;
    /// Whose address it is.
    fn owner(&self, address: Addr) -> Option<&Owner>;
    /// The frontend of a member's service.
    fn reverse(&self, key: &ReverseKey) -> Option<&Reverse>;
    /// The mark in a bucket, 0 for none.
    fn mark(&self, bucket: u32) -> u16;
    /// Marks a bucket.
    fn set_mark(&self, bucket: u32, mark: u16);
    /// A proven exception.
    fn confirmed(&self, key: &FlowKey) -> Option<Self::Entry>;
    /// An exception that awaits its proof.
    fn pending(&self, key: &FlowKey) -> Option<Self::Entry>;
    /// Stores a proven exception.
    fn confirm(&self, key: &FlowKey, entry: &FlowEntry) -> Result<(), Full>;
    /// Stores an exception that awaits its proof.
    fn suspend(&self, key: &FlowKey, entry: &FlowEntry) -> Result<(), Full>;
    /// The kernel's route.
    fn route(&self, query: &RouteQuery) -> Route;
    /// Counts something that happened beside a packet's way.
    fn count(&self, event: Event);
}
