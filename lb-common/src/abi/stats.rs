//! Counters, one set a CPU; readers add them up.

/// Packets and bytes. 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Counter {
    /// Frames.
    pub packets: u64,
    /// Bytes of the frames from the Ethernet header on.
    pub bytes: u64,
}

const _: () = assert!(size_of::<Counter>() == 16);

/// What one rule has forwarded. 40 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct RuleStats {
    /// Towards members.
    pub inbound: Counter,
    /// Back to clients.
    pub replies: Counter,
    /// SYNs forwarded to members.
    pub opened: u64,
}

const _: () = assert!(size_of::<RuleStats>() == 40);
