//! Rules and the views they name.

use crate::units::{Addr, Addr6, MemberId, Port, Target};

/// Finds a rule. 8 bytes, 20 for IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(C)]
pub struct RuleKey<A = Addr> {
    /// Frontend address.
    pub address: A,
    /// Frontend port; 0 stands for all.
    pub port: Port,
    /// IP protocol number, 6 or 17; with [`crate::abi::RANGE`], the port is the first of a range.
    pub protocol: u8,
    /// The generation of rules, see [`crate::abi::Root::epoch`].
    pub epoch: u8,
}

const _: () = assert!(size_of::<RuleKey>() == 8);
const _: () = assert!(size_of::<RuleKey<Addr6>>() == 20);

impl<A> RuleKey<A> {
    /// The same at another address, or at this one in another form.
    #[must_use]
    pub fn at<B>(self, address: B) -> RuleKey<B> {
        let Self { port, protocol, epoch, .. } = self;
        RuleKey { address, port, protocol, epoch }
    }
}

impl RuleKey {
    /// All its bytes in one word, in the order of memory.
    #[inline(always)]
    #[must_use]
    pub const fn word(&self) -> u64 {
        let head = self.address.word() as u64;
        let port = self.port.word() as u64;
        if cfg!(target_endian = "little") {
            head | port << 32 | (self.protocol as u64) << 48 | (self.epoch as u64) << 56
        } else {
            head << 32 | port << 16 | (self.protocol as u64) << 8 | self.epoch as u64
        }
    }
}

/// What of the tuple chooses the slot (S-DIST-1..3), as a number for [`View::mode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Addresses, ports and protocol.
    FiveTuple = 0,
    /// Both addresses.
    SourceIp = 1,
    /// Both addresses and the protocol.
    SourceIpProtocol = 2,
}

/// All that decides where a packet goes. 20 bytes; a view whose `ring_size` is 0 has no member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(C)]
pub struct View {
    /// First slot of the ring in the slot map.
    pub ring_base: u32,
    /// Slots of the ring, a prime.
    pub ring_size: u32,
    /// First word of the health set in the health map.
    pub health_base: u32,
    /// Words before the set's first: the set begins with the bit of member `64 * health_skip`.
    pub health_skip: u16,
    /// Words in the health set.
    pub health_words: u16,
    /// Port at the member; of a range or of all ports, that for the first of them.
    pub port: Port,
    /// A [`Mode`].
    pub mode: u8,
    /// 1 if this view is there, else the rule has none (no transition).
    pub present: u8,
}

const _: () = assert!(size_of::<View>() == 20);

impl View {
    /// This member at the view's port.
    #[inline(always)]
    #[must_use]
    pub fn target(&self, member: MemberId) -> Target {
        Target { member, port: self.port }
    }
}

/// Traffic to one frontend port, to a range of them, or to all. 56 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(C)]
pub struct Rule {
    /// Where new connections go.
    pub current: View,
    /// Where connections older than the change go; not present outside a transition.
    pub old: View,
    /// Life of an exception since its last packet, in ticks.
    pub life: u32,
    /// Index of the rule's statistics.
    pub stats: u32,
    /// A list in the access map, or another of [`access`], perhaps with [`access::NEW_FLOWS`].
    pub access: u32,
    /// Bits: [`Rule::TRACKED`].
    pub flags: u32,
}

const _: () = assert!(size_of::<Rule>() == 56);

impl Rule {
    /// Each of its flows has an entry.
    pub const TRACKED: u32 = 1;

    /// Whom the rule asks about a source: [`Rule::access`] without its flag.
    #[inline(always)]
    #[must_use]
    pub const fn list(&self) -> u32 {
        self.access & !access::NEW_FLOWS
    }
}

/// Values of [`Rule::access`] that are no list, and of the access map.
pub mod access {
    /// Everybody; no look-up is made.
    pub const OPEN: u32 = 0;
    /// Nobody.
    pub const CLOSED: u32 = 1;
    /// The first number of a list.
    pub const FIRST_LIST: u32 = 2;
    /// Beside a list: TCP segments without SYN are not judged (S-SEC-6).
    pub const NEW_FLOWS: u32 = 1 << 31;
    /// What the access map says of a prefix that is let in.
    pub const ALLOW: u32 = 1;
    /// What it says of one that is kept out, inside another that is let in.
    pub const DENY: u32 = 0;
}

/// Data of a longest-prefix look-up: the list's number counts as the first 32 bits. 8 bytes,
/// 20 for IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(C)]
pub struct AccessKey<A = Addr> {
    /// [`Rule::access`] in big-endian order, as a trie compares from the first byte on.
    pub list: [u8; 4],
    /// Source address.
    pub address: A,
}

const _: () = assert!(size_of::<AccessKey>() == 8);
const _: () = assert!(size_of::<AccessKey<Addr6>>() == 20);
