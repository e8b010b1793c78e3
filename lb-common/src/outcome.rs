//! What the pipeline tells its caller.

use crate::reason::Reason;

/// The link-layer way to the next host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NextHop {
    /// Interface to send by.
    pub ifindex: u32,
    /// Hardware address of the next host.
    pub destination: [u8; 6],
    /// Hardware address of our interface.
    pub source: [u8; 6],
}

/// Which of a rule's counters a packet belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To a member, which is named if the packet opens a connection.
    Inbound {
        /// Label of the member that gets a new connection, 0 for a packet of an old one.
        opened: u16,
    },
    /// To a client.
    Reply,
}

/// Whose traffic a packet was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Index of the rule's statistics.
    pub stats: u32,
    /// Which of them.
    pub direction: Direction,
}

/// A packet's end: its reason, whose it was, and by which interface it leaves if it is forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The one reason.
    pub reason: Reason,
    /// The rule that it was forwarded for.
    pub account: Option<Account>,
    /// Interface to send by; 0 unless the reason's action is to forward.
    pub egress: u32,
}

impl From<Reason> for Outcome {
    #[inline(always)]
    fn from(reason: Reason) -> Self {
        Self { reason, account: None, egress: 0 }
    }
}
