//! The one element that every packet reads first.

use crate::units::Tick;

/// What holds for all packets. 64 bytes.
///
/// `epoch` is the switch that makes an apply effective: it names the rules that are in force
/// ([`crate::abi::RuleKey::epoch`]), and is written last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Root {
    /// Key of the tuple hashes and rings; equal on all nodes that share clients.
    pub hash_key: [u64; 2],
    /// [`crate::abi::ABI_VERSION`] of the writer.
    pub abi_version: u32,
    /// 0..=255: the rules in force.
    pub epoch: u32,
    /// A tick is this many jiffies, as a power of two: 256 ms at 1000 and 250 Hz, 213 at 300, 320 at 100.
    pub tick_shift: u32,
    /// Age in steps of [`Tick::coarse`] beyond which a mark means nothing: the longest life of all.
    pub mark_life: u32,
    /// Life of an unproven opening, in ticks.
    pub handshake_life: u32,
    /// Life of an entry after RST or FIN of both sides, in ticks.
    pub closed_life: u32,
    /// Life of an entry after FIN of one side, in ticks.
    pub half_closed_life: u32,
    /// Generation of the compiled routes: its lowest bit names the [`crate::abi::RouteTable`] in force.
    pub routes: u32,
    /// Zero.
    pub reserved: [u32; 4],
}

const _: () = assert!(size_of::<Root>() == 64);

/// The moment at which a packet is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    pub(crate) now: Tick,
    pub(crate) coarse: u16,
}

impl Root {
    /// Zero, as a number that the verifier does not know. Mixed into what it knows, it ends that
    /// knowledge: where many ways meet, the verifier follows each one that it can tell from the others to
    /// the end of the program.
    #[inline(always)]
    #[must_use]
    pub const fn zero(&self) -> u32 {
        self.reserved[0]
    }

    #[inline(always)]
    pub(crate) fn clock(&self, jiffies: u64) -> Clock {
        #[allow(clippy::cast_possible_truncation, reason = "ticks are modular")]
        let now = Tick::new((jiffies >> (self.tick_shift & 63)) as u32);
        Clock { now, coarse: now.coarse() }
    }
}
