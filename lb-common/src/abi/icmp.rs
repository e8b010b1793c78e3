//! What answers by ICMP remember from one packet to the next.

/// One processor's own. 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct IcmpState {
    /// The tick in which `answers` were given.
    pub tick: u32,
    /// Answers given in that tick.
    pub answers: u32,
    /// Longest packet of the link that was too small for the packet at hand: from the program that
    /// found out to the one that answers.
    pub mtu: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<IcmpState>() == 16);
