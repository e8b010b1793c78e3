//! Types that may cross the boundary to the kernel as the bytes that they are.

use lb_common::abi::{
    AccessKey, AddressFlags, Announced, AnnouncedKey, Counter, FlowEntry, FlowKey, Member, NatSource, Owner,
    Range, RangeKey, Reverse, ReverseKey, Root, RouteTable, Rule, RuleKey, RuleStats, TrackEntry,
};
use lb_common::units::{Addr, Addr6};

/// A value of a map, or a key.
///
/// # Safety
///
/// No byte of the type is padding, and any bytes are a value of it.
pub(super) unsafe trait Plain: Default + Clone {}

/// aya's mark for such types, which are not ours to put it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Wire<T>(pub(super) T);

// SAFETY: `Wire` is transparent, and `Plain` promises what `Pod` asks for.
unsafe impl<T: Plain + Copy + 'static> aya::Pod for Wire<T> {}

macro_rules! plain {
    ($($type:ty),+ $(,)?) => {
        // SAFETY: integers, arrays of them, and structs of `lb_common::abi` and `units` that are
        // `repr(C)` or transparent over integers (atomic ones in `FlowEntry`); beside each struct
        // stands an assertion that its size is the sum of its fields.
        $(unsafe impl Plain for $type {})+
    };
}

plain!(
    u32,
    u64,
    [u16; 4],
    AddressFlags,
    Announced,
    Counter,
    FlowEntry,
    Owner,
    ReverseKey,
    Root,
    Rule,
    RuleStats
);
plain!(Range, RangeKey<u32>, RangeKey<Addr>, RangeKey<Addr6>);
plain!(RouteTable<Addr>);
plain!(NatSource<Addr>, NatSource<Addr6>, TrackEntry<Addr>, TrackEntry<Addr6>);
plain!(Addr, AccessKey<Addr>, AnnouncedKey<Addr>, FlowKey<Addr>, Member<Addr>, Reverse<Addr>, RuleKey<Addr>);
plain!(
    Addr6,
    AccessKey<Addr6>,
    AnnouncedKey<Addr6>,
    FlowKey<Addr6>,
    Member<Addr6>,
    Reverse<Addr6>,
    RuleKey<Addr6>
);
