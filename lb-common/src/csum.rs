//! Incremental Internet checksums (RFC 1071, RFC 1624 equation 3).
//!
//! The sums are taken over words in the machine's order: a ones' complement sum does not care
//! (RFC 1071, 2(B)).

/// The difference that changed fields make, not yet folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delta(u64);

impl Delta {
    /// Also a change of an aligned 32-bit word.
    #[inline(always)]
    #[must_use]
    pub const fn word(self, old: u32, new: u32) -> Self {
        Self(self.0 + !old as u64 + new as u64)
    }

    /// Also a change of an aligned 64-bit word.
    #[inline(always)]
    #[must_use]
    pub const fn long(self, old: u64, new: u64) -> Self {
        Self(self.0 + halves(!old) + halves(new))
    }

    /// Also a change of an aligned 16-bit word.
    #[inline(always)]
    #[must_use]
    pub const fn half(self, old: u16, new: u16) -> Self {
        Self(self.0 + !old as u64 + new as u64)
    }

    /// Both changes together.
    #[inline(always)]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The checksum of what has changed from nothing: of all bytes that were added.
    #[inline(always)]
    #[must_use]
    pub const fn whole(self) -> u16 {
        self.apply(!0)
    }

    /// The checksum after the changes, from the one before.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "folded to 16 bits")]
    pub const fn apply(self, checksum: u16) -> u16 {
        let sum = self.0 + !checksum as u64;
        let sum = (sum & 0xffff_ffff) + (sum >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        !(sum as u16)
    }
}

/// Both halves of a long word.
#[inline(always)]
const fn halves(long: u64) -> u64 {
    (long & 0xffff_ffff) + (long >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::checksum;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn incremental_equals_full(
            mut bytes in prop::array::uniform20(any::<u8>()), word: u32, half: u16, long: u64,
        ) {
            let before = u16::from_ne_bytes(checksum(&bytes, 0).to_be_bytes());
            let old_word = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            let old_half = u16::from_ne_bytes([bytes[10], bytes[11]]);
            bytes[4..8].copy_from_slice(&word.to_ne_bytes());
            bytes[10..12].copy_from_slice(&half.to_ne_bytes());
            let old_long = u64::from_ne_bytes(bytes[12..20].try_into().unwrap_or_default());
            bytes[12..20].copy_from_slice(&long.to_ne_bytes());
            let delta = Delta::default().word(old_word, word).half(old_half, half).long(old_long, long);
            let after = delta.apply(before);
            let full = u16::from_ne_bytes(checksum(&bytes, 0).to_be_bytes());
            // 0 and -0 are one number; equation 3 never turns a sum of something into 0.
            prop_assert_eq!(after % 0xffff, full % 0xffff);
        }
    }

    #[test]
    fn rfc_1624_example() {
        // Section 4: checksum 0xdd2f, a field goes from 0x5555 to 0x3285; the result is 0x0000.
        assert_eq!(Delta::default().half(0x5555, 0x3285).apply(0xdd2f), 0x0000);
    }
}
