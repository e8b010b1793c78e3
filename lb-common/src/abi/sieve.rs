//! A first glance at an address: may it be a frontend, a member, the host's own?
//!
//! 32,768 cells of four bits behind a multiplicative hash, 16 KiB that stay in the first-level
//! cache. A cell may say yes wrongly, never no: user space sets bits before the tables that they
//! stand for are effective, and clears them after.

use crate::family::Family;

/// 64-bit words in the sieve.
pub const WORDS: usize = 2048;

/// Bits of a cell.
pub const CELL_BITS: u32 = 4;

/// What a cell may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct Cell(pub u8);

impl Cell {
    /// Some frontend address falls into the cell.
    pub const FRONTEND: Self = Self(1);
    /// Some member address does.
    pub const MEMBER: Self = Self(2);
    /// Some address of the host does.
    pub const OWN: Self = Self(4);

    /// Whether the bit of `other` is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Word and shift of an address's cell.
#[inline(always)]
#[must_use]
pub fn place<A: Family>(address: A) -> (usize, u32) {
    let hash = address.fold().wrapping_mul(0x9e37_79b1);
    ((hash >> 21) as usize, (hash >> 17 & 15) * CELL_BITS)
}

/// The cell of an address in its word.
#[inline(always)]
#[must_use]
pub const fn cell(word: u64, shift: u32) -> Cell {
    Cell((word >> shift & 15) as u8)
}

/// Sets a bit of an address's cell.
pub fn add<A: Family>(words: &mut [u64; WORDS], address: A, what: Cell) {
    let (word, shift) = place(address);
    words[word] |= u64::from(what.0) << shift;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Addr;

    #[test]
    fn places_fill_the_sieve_and_no_more() {
        let mut words = [0u64; WORDS];
        for last in 0..=u16::MAX {
            let [high, low] = last.to_be_bytes();
            add(&mut words, Addr::from_wire([10, 0, high, low]), Cell::MEMBER);
        }
        let set: u32 = words.iter().map(|word| word.count_ones()).sum();
        assert!(set > 20_000, "65,536 neighbours spread over {set} of 32,768 cells");
    }

    #[test]
    fn a_cell_says_what_was_added() {
        let mut words = [0u64; WORDS];
        let address = Addr::from_wire([203, 0, 113, 10]);
        add(&mut words, address, Cell::FRONTEND);
        add(&mut words, address, Cell::OWN);
        let (word, shift) = place(address);
        let cell = cell(words[word], shift);
        assert!(cell.has(Cell::FRONTEND) && cell.has(Cell::OWN) && !cell.has(Cell::MEMBER));
    }
}
