//! What the pipeline tells its caller.

use crate::reason::Reason;
use crate::window::Window;

/// The link-layer way to the next host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NextHop {
    /// Interface to send by.
    pub ifindex: u32,
    /// Both hardware addresses as an Ethernet header has them. Words, because what lives in bytes
    /// lives on the stack.
    pub(crate) link: [u32; 3],
}

impl NextHop {
    /// By an interface to the next host's hardware address, from our own.
    #[inline(always)]
    #[must_use]
    pub const fn new(ifindex: u32, destination: [u8; 6], source: [u8; 6]) -> Self {
        let ([to @ .., to4, to5], [from0, from1, from @ ..]) = (destination, source);
        let link =
            [u32::from_ne_bytes(to), u32::from_ne_bytes([to4, to5, from0, from1]), u32::from_ne_bytes(from)];
        Self { ifindex, link }
    }

    /// Back to the host on the link that the frame came from; `None` if the frame is too short.
    #[inline(always)]
    #[must_use]
    pub fn back<F: Window>(frame: &F) -> Option<Self> {
        let (destination, source) = (*frame.view(0)?, *frame.view(6)?);
        Some(Self::new(frame.ingress(), source, destination))
    }
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
