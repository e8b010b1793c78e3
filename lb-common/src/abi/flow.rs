//! Exceptions: flows that do not go where their slot says.

use crate::abi::cell::SharedWord;
use crate::units::{Addr, Addr6, MemberId, Port, Target, Tick};

/// A flow as its first packet names it towards us: the peer's side first. 16 bytes, 40
/// for IPv6.
///
/// `local` is a frontend for balanced flows and a member for direct and own ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(C)]
pub struct FlowKey<A = Addr> {
    /// The client, or whoever the member talks to.
    pub peer: A,
    /// The frontend, or the member.
    pub local: A,
    /// Port of the peer.
    pub peer_port: Port,
    /// Port of the frontend or the member.
    pub local_port: Port,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

const _: () = assert!(size_of::<FlowKey>() == 16);
const _: () = assert!(size_of::<FlowKey<Addr6>>() == 40);

impl<A> FlowKey<A> {
    /// The same between other addresses, or between these in another form.
    #[must_use]
    pub fn between<B>(self, peer: B, local: B) -> FlowKey<B> {
        let Self { peer_port, local_port, protocol, reserved, .. } = self;
        FlowKey { peer, local, peer_port, local_port, protocol, reserved }
    }
}

/// What an exception records. 16 bytes.
///
/// Both fields change in place under the feet of other CPUs, each in one access.
#[derive(Debug, Default)]
#[repr(C)]
pub struct FlowEntry {
    word: SharedWord,
    member_seq: SharedWord,
}

const _: () = assert!(size_of::<FlowEntry>() == 16);

impl FlowEntry {
    /// An entry that says `word`; `member_seq` counts if the word says so.
    #[inline(always)]
    #[must_use]
    pub const fn new(word: FlowWord, member_seq: u32) -> Self {
        Self { word: SharedWord::new(word.0), member_seq: SharedWord::new(member_seq as u64) }
    }

    /// Target, tick and flags as they stand.
    #[inline(always)]
    #[must_use]
    pub fn word(&self) -> FlowWord {
        FlowWord(self.word.load())
    }

    /// The sequence number that the member sends next, where [`FlowWord::SEQ_KNOWN`]; else, of a
    /// connection past us that awaits its answer, the least that the answer acknowledges.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "the upper half is 0")]
    pub fn member_seq(&self) -> u32 {
        self.member_seq.load() as u32
    }

    /// Sets the member's next sequence number; the word that says that it is known comes after.
    #[inline(always)]
    pub fn set_member_seq(&self, seq: u32) {
        self.member_seq.store(u64::from(seq));
    }

    /// Replaces `old` by `new` unless another CPU was quicker, whose word then stands: it saw a
    /// packet of the same flow at the same time.
    #[inline(always)]
    pub fn replace(&self, old: FlowWord, new: FlowWord) {
        if old != new {
            self.word.exchange_if(old.0, new.0);
        }
    }
}

impl Clone for FlowEntry {
    fn clone(&self) -> Self {
        Self::new(self.word(), self.member_seq())
    }
}

/// Target, tick and flags in one word: member (bits 0..16), port (16..32), tick (32..58),
/// flags (58..64).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct FlowWord(pub u64);

impl FlowWord {
    /// The client has sent FIN.
    pub const FIN_CLIENT: u64 = 1 << 58;
    /// The member has sent FIN.
    pub const FIN_MEMBER: u64 = 1 << 59;
    /// The last packet was a RST.
    pub const RST: u64 = 1 << 60;
    /// A SYN met this entry while its member did not accept: ask `pending` too.
    pub const REUSED: u64 = 1 << 61;
    /// A pending entry that needs no proof: its connection is older than the change, or proven
    /// when `confirmed` was full.
    pub const USABLE: u64 = 1 << 62;
    /// [`FlowEntry::member_seq`] counts.
    pub const SEQ_KNOWN: u64 = 1 << 63;

    const FLAGS: u64 = 0xfc00_0000_0000_0000;
    const TICK: u64 = 0x03ff_ffff_0000_0000;

    /// A word for a flow that goes to `target`.
    #[inline(always)]
    #[must_use]
    pub const fn new(target: Target, now: Tick, flags: u64) -> Self {
        let target = target.member.0 as u64 | (target.port.word() as u64) << 16;
        Self(target | (now.get() as u64) << 32 | flags)
    }

    /// A word for a flow that passes untouched.
    #[inline(always)]
    #[must_use]
    pub const fn untouched(now: Tick, flags: u64) -> Self {
        Self((now.get() as u64) << 32 | flags)
    }

    /// Where the flow goes.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "fields of the word")]
    pub const fn target(self) -> Target {
        let port = Port::from_wire(((self.0 >> 16) as u16).to_ne_bytes());
        Target { member: MemberId(self.0 as u16), port }
    }

    /// The flow's last packet.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "fields of the word")]
    pub const fn tick(self) -> Tick {
        Tick::new((self.0 >> 32) as u32)
    }

    /// Whether any of these flags is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, flags: u64) -> bool {
        self.0 & flags != 0
    }

    /// With these flags as well.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, flags: u64) -> Self {
        Self(self.0 | flags)
    }

    /// Without these flags.
    #[inline(always)]
    #[must_use]
    pub const fn without(self, flags: u64) -> Self {
        Self(self.0 & !flags)
    }

    /// With another last packet.
    #[inline(always)]
    #[must_use]
    pub const fn at(self, now: Tick) -> Self {
        Self(self.0 & !Self::TICK | (now.get() as u64) << 32)
    }

    /// The flags alone.
    #[inline(always)]
    #[must_use]
    pub const fn flags(self) -> u64 {
        self.0 & Self::FLAGS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_keeps_its_fields_apart() {
        let target = Target { member: MemberId(0xabcd), port: Port::new(8080) };
        let word = FlowWord::new(target, Tick::new(u32::MAX), FlowWord::USABLE);
        assert_eq!(word.target(), target);
        assert_eq!(word.tick(), Tick::new(u32::MAX));
        assert_eq!(word.flags(), FlowWord::USABLE);
        assert_eq!(word.at(Tick::new(3)).target(), target);
        assert_eq!(word.at(Tick::new(3)).tick(), Tick::new(3));
        assert_eq!(word.without(FlowWord::USABLE).with(FlowWord::RST).flags(), FlowWord::RST);
    }
}
