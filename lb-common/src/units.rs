//! Numbers that must not be mixed up.

/// An IPv4 address as it stands on the wire: the four bytes, loaded in the machine's own order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Addr(u32);

impl Addr {
    /// From the bytes of a header in one word, as `words` reads them.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u32) -> Self {
        Self(word)
    }

    /// From the bytes of a header.
    #[inline(always)]
    #[must_use]
    pub const fn from_wire(bytes: [u8; 4]) -> Self {
        Self(u32::from_ne_bytes(bytes))
    }

    /// The bytes of a header.
    #[inline(always)]
    #[must_use]
    pub const fn wire(self) -> [u8; 4] {
        self.0.to_ne_bytes()
    }

    /// The four bytes in one word, in wire order: for hashes and checksums.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u32 {
        self.0
    }
}

/// An IPv6 address as it stands on the wire: two words, each loaded in the machine's own order.
/// Aligned to four bytes, so that keys with it have no holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(C, packed(4))]
pub struct Addr6([u64; 2]);

impl Addr6 {
    /// From the bytes of a header in words, as `words` reads them.
    #[inline(always)]
    #[must_use]
    pub const fn from_words(words: [u64; 2]) -> Self {
        Self(words)
    }

    /// From the bytes of a header.
    #[must_use]
    pub fn from_wire(bytes: [u8; 16]) -> Self {
        let (words, _) = bytes.as_chunks();
        Self(core::array::from_fn(|at| u64::from_ne_bytes(words[at])))
    }

    /// The bytes of a header.
    #[must_use]
    pub fn wire(self) -> [u8; 16] {
        let words = self.0;
        core::array::from_fn(|at| words[at / 8].to_ne_bytes()[at % 8])
    }

    /// The words, each in wire order: for hashes and checksums.
    #[inline(always)]
    #[must_use]
    pub const fn words(self) -> [u64; 2] {
        self.0
    }
}

/// A TCP or UDP port as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Port(u16);

impl Port {
    /// From the bytes of a header in one word, as `words` reads them.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u16) -> Self {
        Self(word)
    }

    /// From the bytes of a header.
    #[inline(always)]
    #[must_use]
    pub const fn from_wire(bytes: [u8; 2]) -> Self {
        Self(u16::from_ne_bytes(bytes))
    }

    /// From a number such as 80.
    #[inline(always)]
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number.to_be())
    }

    /// The number, such as 80.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u16 {
        u16::from_be(self.0)
    }

    /// The port that is so many behind this one.
    #[inline(always)]
    #[must_use]
    pub const fn plus(self, by: u16) -> Self {
        Self::new(self.get().wrapping_add(by))
    }

    /// How many ports this one is behind the first of its range.
    #[inline(always)]
    #[must_use]
    pub const fn behind(self, first: Self) -> u16 {
        self.get().wrapping_sub(first.get())
    }

    /// The bytes of a header.
    #[inline(always)]
    #[must_use]
    pub const fn wire(self) -> [u8; 2] {
        self.0.to_ne_bytes()
    }

    /// The two bytes in one word, in wire order: for hashes and checksums.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u16 {
        self.0
    }
}

/// A member's label in rings and entries: one address and way of forwarding on this node.
/// 0 means none. Given out by user space and not reused while a slot or an entry can name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct MemberId(pub u16);

impl MemberId {
    /// No member: an empty slot, or an entry of a flow that passes untouched.
    pub const NONE: Self = Self(0);

    /// The member's place in a health set that leaves out no word: word and bit.
    #[inline(always)]
    #[must_use]
    pub const fn health_place(self) -> (u16, u16) {
        (self.0 / 64, self.0 % 64)
    }
}

/// Where an inbound packet goes: a member and a port there. 32 bits: member, then port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Target {
    /// The member.
    pub member: MemberId,
    /// The port at the member.
    pub port: Port,
}

impl Target {
    /// Member (bits 0..16) and port (16..32).
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u32 {
        self.member.0 as u32 | (self.port.word() as u32) << 16
    }

    /// From [`Target::word`].
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "fields of the word")]
    pub const fn from_word(word: u32) -> Self {
        Self { member: MemberId(word as u16), port: Port::from_word((word >> 16) as u16) }
    }
}

/// A moment in steps of about a quarter of a second (see [`crate::abi::Root::tick_shift`]),
/// modulo 2^26: 194 days, of which differences up to half are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct Tick(u32);

impl Tick {
    /// Bits that a tick takes in an entry.
    pub const BITS: u32 = 26;
    const MASK: u32 = (1 << Self::BITS) - 1;

    /// Cuts a counter of ticks to the width of a tick.
    #[inline(always)]
    #[must_use]
    pub const fn new(ticks: u32) -> Self {
        Self(ticks & Self::MASK)
    }

    /// The bits.
    #[inline(always)]
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Ticks from `self` to `now`. A moment ahead of `now`, as another CPU may just have written
    /// it, is no age at all.
    #[inline(always)]
    #[must_use]
    pub const fn age(self, now: Self) -> u32 {
        let age = now.0.wrapping_sub(self.0) & Self::MASK;
        if age > Self::MASK / 2 { 0 } else { age }
    }

    /// The moment in steps of about a second for the marks: never 0, which means "no mark".
    #[inline(always)]
    #[must_use]
    pub const fn coarse(self) -> u16 {
        let coarse = (self.0 >> 2 & 0xffff) as u16;
        if coarse == 0 { 1 } else { coarse }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_addresses_keep_wire_order() {
        assert_eq!(Port::new(80).wire(), [0, 80]);
        assert_eq!(Port::from_wire([0x1f, 0x90]).get(), 8080);
        assert_eq!(Addr::from_wire([10, 0, 1, 11]).wire(), [10, 0, 1, 11]);
    }

    #[test]
    fn age_crosses_the_wrap_and_ignores_the_future() {
        assert_eq!(Tick::new(u32::MAX).age(Tick::new(2)), 3);
        assert_eq!(Tick::new(5).age(Tick::new(3)), 0);
        assert_eq!(Tick::new(5).age(Tick::new(5)), 0);
    }

    #[test]
    fn a_coarse_tick_is_never_the_empty_mark() {
        assert_eq!(Tick::new(0).coarse(), 1);
        assert_eq!(Tick::new(1 << 18).coarse(), 1);
        assert_eq!(Tick::new(4).coarse(), 1);
        assert_eq!(Tick::new(8).coarse(), 2);
    }
}
