//! Ranges of ports, found in constant time: a range is cut into prefixes of the port's bits, 30 at most.

use crate::units::{Addr, Addr6, Port};

/// Room for prefixes in each of the maps of ranges; an apply writes those of the next epoch beside those in
/// force.
pub const RANGES: u32 = 131_072;

/// Beside the protocol number of a [`crate::abi::RuleKey`] or [`crate::abi::ReverseKey`]: the entry is of a
/// range, and its port is the range's first.
pub const RANGE: u8 = 0x80;

/// Data of a longest-prefix look-up: all before the port counts always. 8 bytes, 20 for IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(C)]
pub struct RangeKey<O = Addr> {
    /// Whose port: a frontend's address, or a group ([`crate::abi::Owner::group`]).
    pub of: O,
    /// IP protocol number, 6 or 17.
    pub protocol: u8,
    /// The generation of rules; 0 of a group, which never changes what it stands for.
    pub epoch: u8,
    /// A port of the range. Wire order, as a trie compares from the first bit on.
    pub port: Port,
}

const _: () = assert!(size_of::<RangeKey>() == 8);
const _: () = assert!(size_of::<RangeKey<u32>>() == 8);
const _: () = assert!(size_of::<RangeKey<Addr6>>() == 20);

impl<O> RangeKey<O> {
    /// Bits before the port.
    #[allow(clippy::cast_possible_truncation, reason = "144 at most")]
    pub const BEFORE_PORT: u32 = 8 * (size_of::<Self>() - size_of::<Port>()) as u32;

    /// The same of another owner, or of this one in another form.
    #[must_use]
    pub fn at<P>(self, of: P) -> RangeKey<P> {
        let Self { protocol, epoch, port, .. } = self;
        RangeKey { of, protocol, epoch, port }
    }
}

/// What a prefix is a part of. 4 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(C)]
pub struct Range {
    /// Its first port, by which the rule or the way back is found.
    pub first: Port,
    /// Its last port.
    pub last: Port,
}

const _: () = assert!(size_of::<Range>() == 4);
