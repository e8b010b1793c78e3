//! The seam to the maps.

use core::ops::Deref;

use crate::abi::sieve::Cell;
use crate::abi::{
    AddressFlags, Announced, AnnouncedKey, FlowEntry, FlowKey, FragmentKey, FragmentWord, IcmpState, Member,
    NatSource, Owner, Range, RangeKey, Reverse, ReverseKey, Root, RouteTable, Rule, RuleKey, TrackEntry,
};
use crate::choose::Draw;
use crate::family::Family;
use crate::outcome::NextHop;
use crate::reason::Event;
use crate::track::Side;
use crate::units::{Addr, MemberId};

/// A table had no room for an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// What the host's routes say of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// The frame can be sent on right here.
    Hop(NextHop),
    /// There is a way, but only the kernel can take it: the neighbour has to be asked for, the route
    /// is a tunnel, or the packet is longer than the link that it came by takes, because receive
    /// offloads have merged it from several.
    Kernel,
    /// The packet is too big for the next link, which takes as many bytes as this.
    TooBig(u16),
    /// There is none.
    Unreachable,
}

/// A packet that asks for its route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteQuery<A = Addr> {
    /// Source after the rewrite.
    pub source: A,
    /// Destination after the rewrite.
    pub destination: A,
    /// Length of the IP packet.
    pub length: u16,
    /// IP protocol number.
    pub protocol: u8,
}

/// What tells who accepts.
pub trait Rings {
    /// The member in a slot, [`MemberId::NONE`] where there is none.
    fn slot(&self, index: u32) -> MemberId;
    /// A word of a health set.
    fn health(&self, index: u32) -> u64;
}

/// Where the entries of a tracked flow are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Until both ends have spoken; the least recently used are forgotten.
    Opening,
    /// Afterwards.
    Tracked,
}

/// Every look-up and every write that a packet of any family may cause.
pub trait Shared: Rings {
    /// An exception, alive as long as this is held.
    type Entry: Deref<Target = FlowEntry>;

    /// What holds for all packets; its version is 0 before user space has ever written it.
    fn root(&self) -> Option<&Root>;
    /// The first word of a health set of `words` words that is not 0, from word `start` on and
    /// around: its index in the set, and itself.
    fn healthy(&self, base: u32, words: u32, start: u32) -> Option<(u32, u64)>;
    /// Rounds of a walk until one ends it, so many at most.
    fn draw(&self, rounds: u32, draw: &mut Draw);
    /// The mark in a bucket, 0 for none.
    fn mark(&self, bucket: u32) -> u16;
    /// Marks a bucket.
    fn set_mark(&self, bucket: u32, mark: u16);
    /// The range of a group's ports that a port is in.
    fn reverse_range(&self, key: &RangeKey<u32>) -> Option<Range>;
    /// What answers by ICMP remember, on this processor.
    fn icmp(&self) -> IcmpState;
    /// Changes it.
    fn set_icmp(&self, state: IcmpState);
    /// Counts something that happened beside a packet's way.
    fn count(&self, event: Event);
}

/// Those that a packet of one family may cause.
pub trait Tables<A: Family = Addr>: Shared {
    /// An entry of a tracked flow, alive as long as this is held.
    type Track: Deref<Target = TrackEntry<A>>;

    /// First glance at an address.
    fn sieve(&self, address: A) -> Cell;
    /// The rule of a frontend port.
    fn rule(&self, key: &RuleKey<A>) -> Option<&Rule>;
    /// The range of a frontend's ports that a port is in.
    fn range(&self, key: &RangeKey<A>) -> Option<Range>;
    /// What an address is to us.
    fn address(&self, address: A) -> AddressFlags;
    /// The hardware address that an address is answered for with, if it is on this link.
    fn announced(&self, key: &AnnouncedKey<A>) -> Option<Announced>;
    /// Whether the longest prefix of an access list that has the source in it lets it in.
    fn allowed(&self, list: u32, source: A) -> bool;
    /// A member by its label.
    fn member(&self, id: MemberId) -> Option<&Member<A>>;
    /// Whose address it is.
    fn owner(&self, address: A) -> Option<&Owner>;
    /// The frontend of a member's service.
    fn reverse(&self, key: &ReverseKey) -> Option<&Reverse<A>>;
    /// A proven exception.
    fn confirmed(&self, key: &FlowKey<A>) -> Option<Self::Entry>;
    /// An exception that awaits its proof.
    fn pending(&self, key: &FlowKey<A>) -> Option<Self::Entry>;
    /// Stores a proven exception.
    fn confirm(&self, key: &FlowKey<A>, entry: &FlowEntry) -> Result<(), Full>;
    /// Stores an exception that awaits its proof.
    fn suspend(&self, key: &FlowKey<A>, entry: &FlowEntry) -> Result<(), Full>;
    /// What the first fragment of a datagram was that comes from this side.
    fn fragment(&self, from: Side, key: &FragmentKey<A>) -> Option<FragmentWord>;
    /// Remembers it.
    fn remember(&self, from: Side, key: &FragmentKey<A>, first: FragmentWord) -> Result<(), Full>;
    /// One direction of a tracked flow.
    fn tracked(&self, tier: Tier, key: &FlowKey<A>) -> Option<Self::Track>;
    /// Stores one direction; with `new` only if the tier has none of this key.
    fn track(&self, tier: Tier, key: &FlowKey<A>, entry: &TrackEntry<A>, new: bool) -> Result<(), Full>;
    /// Takes one direction back.
    fn untrack(&self, tier: Tier, key: &FlowKey<A>);
    /// An address of ours that clients' packets may leave from.
    fn source(&self, index: u32) -> Option<&NatSource<A>>;
    /// The compiled routes of a generation.
    fn routes(&self, generation: u32) -> Option<&RouteTable<A>>;
    /// The kernel's own answer.
    fn kernel_route(&self, query: &RouteQuery<A>) -> Route;
}
