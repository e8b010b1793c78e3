//! Why a packet left the program as it did.

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Rewritten, and sent on by us.
    Forward,
    /// Answered by us, to whoever has sent it, on the link that it came by.
    Answer,
    /// Given to the kernel: untouched, unless the reason says that it was rewritten.
    Pass,
    /// Gone.
    Drop,
}

macro_rules! reasons {
    ($($number:literal $name:ident $action:ident $text:literal)*) => {
        /// The one way out that each packet takes, and the one counter that moves for it.
        ///
        /// Numbers are an interface: they are never reused. `docs/drop-reasons.md` explains each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Reason {
            $(#[doc = $text] $name = $number,)*
        }

        impl Reason {
            /// All reasons, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What becomes of the packet.
            #[inline(always)]
            #[must_use]
            pub const fn action(self) -> Action {
                match self { $(Self::$name => Action::$action,)* }
            }

            /// The name, as in the code.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// One sentence.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    0 ToMember Forward "Rewritten and sent to the member."
    1 ReplyToClient Forward "A member's reply, rewritten and sent to the client."
    2 ToMemberByKernel Pass "Rewritten; the kernel sends it to the member, whose neighbour it has to ask for."
    3 ReplyByKernel Pass "A member's reply, rewritten; the kernel sends it, because it must ask for the neighbour or split the packet."
    4 NotOurs Pass "Neither to a frontend nor from or to a member's service."
    5 NotIp Pass "Another protocol than IPv4 or IPv6 in the Ethernet frame."
    6 Truncated Pass "Shorter than an Ethernet and an IP header."
    7 OwnFrontend Pass "To a frontend that is the host's own address, and wanted by no rule."
    8 ToHost Pass "From a member to the host's own address, such as the answer to a probe."
    9 Direct Pass "To or from a member that the peer talks to directly, not through a frontend."
    10 OwnConnection Pass "Opens a connection of the member's own from a service port."
    11 UdpNotReply Pass "UDP from a service port to a peer whose datagrams could not have reached this member."
    12 ReplyTtlExpired Pass "A member's reply at the end of its life; the kernel tells the member."
    13 NotConfigured Pass "No configuration has been applied yet."
    14 NoRule Drop "To a frontend, but no rule has this protocol and port."
    15 Fragment Drop "A fragment to a frontend, of neither TCP nor UDP, or with a header that is cut or written over."
    16 IpOptions Drop "To a frontend, with IPv4 options, an IPv4 header of a bad length, or more than four IPv6 extension headers."
    17 Protocol Drop "To a frontend, neither TCP nor UDP."
    18 BadLength Drop "To a frontend, and a header says another length than there is."
    19 AccessDenied Drop "The rule's access list does not allow the source."
    20 TtlExpired Drop "To a frontend, at the end of its life."
    21 EmptyPool Drop "The rule's pool has no member."
    22 NoHealthyMember Drop "A new connection, and no member of the pool accepts any."
    23 EntryRefused Drop "A new connection whose exception could not be stored, and whose next packet would go to a member that does not accept."
    24 NoRoute Drop "The kernel has no route to the member or the client."
    25 MemberUnknown Drop "A slot or an entry names a label that no member has, or one that needs a program that is not there."
    26 MartianReply Drop "A packet that leaves from an address of the host's own, and whose next hop is not known: the kernel would refuse it."
    27 FromFrontend Drop "A datagram to a frontend that claims to come from a frontend: two members that answer whatever they get would never end."
    28 LinkGroup Pass "In a frame to everybody on the link or to a group."
    29 NeighbourDiscovery Pass "IPv6 neighbour discovery to a frontend; it never left its link, and is the kernel's."
    30 EchoReply Answer "An echo request to a frontend that takes new connections, answered."
    31 EchoUnreachable Answer "An echo request to a frontend whose members have all failed their probe; answered that the host is unreachable."
    32 EchoSilent Drop "An echo request to a frontend that has no rule, or no member that is meant to serve."
    33 TooBig Answer "Too big for the way on and not to be split; the sender has been told."
    34 ErrorToMember Forward "An ICMP error about a reply, rewritten and sent to the member that had sent it."
    35 ErrorToClient Forward "An ICMP error about a client's packet, rewritten and sent to the client."
    36 ErrorUnknown Drop "An ICMP error to a frontend, about a packet that no rule's member can have sent."
    37 IcmpLimited Drop "Would have been answered by ICMP, but too many have been in the last moment."
    38 SourceNoHost Drop "Would have been answered by ICMP, but its source is no address of a single host."
    39 LinkSource Drop "IPv6 to a frontend from an address that no router forwards for: link-local, multicast or none."
    40 OfMember Pass "From or to a member, as it seems, and neither of a service nor of a tracked flow."
    41 NoSourcePort Drop "A flow that has to leave from an address and port of ours, and none is free."
    42 ArpReply Answer "An ARP request for a frontend that lies on the link, answered."
    43 NeighbourAdvertised Answer "A neighbour solicitation for a frontend that lies on the link, answered."
    44 FragmentUnknown Drop "A fragment to a frontend whose first fragment has not been forwarded just before."
}

/// Things that are counted beside a packet's way and never change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Event {
    /// An exception was stored in `pending`.
    Suspended = 0,
    /// `pending` refused an exception.
    SuspendRefused = 1,
    /// An exception was proven and stored in `confirmed`.
    Confirmed = 2,
    /// `confirmed` refused a proven exception.
    ConfirmRefused = 3,
    /// A SYN met a confirmed exception whose member does not accept.
    Reused = 4,
    /// A new connection took the fallback of its slot.
    Fallback = 5,
    /// A tracked flow was proven and stored in `tracked`.
    Tracked = 6,
    /// `tracked` or `opening` refused a flow.
    TrackRefused = 7,
}

impl Event {
    /// All events, by number.
    pub const ALL: &'static [Self] = &[
        Self::Suspended,
        Self::SuspendRefused,
        Self::Confirmed,
        Self::ConfirmRefused,
        Self::Reused,
        Self::Fallback,
        Self::Tracked,
        Self::TrackRefused,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_indices() {
        assert!(Reason::ALL.iter().enumerate().all(|(index, reason)| *reason as usize == index));
        assert!(Event::ALL.iter().enumerate().all(|(index, event)| *event as usize == index));
    }
}
