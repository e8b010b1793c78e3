//! What programs remember from one packet to the next, or tell the program that goes on.

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
    /// Member (bits 0..16) and port (16..32, wire order) that were chosen for a flow: from the program that has
    /// chosen to the one that makes the entries.
    pub target: u32,
}

const _: () = assert!(size_of::<IcmpState>() == 16);
