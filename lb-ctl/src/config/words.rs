//! The words of the file for the values of the model, for reading and for writing.

use std::fmt;

use lb_common::abi::Forwarding;

use super::access::{AppliesTo, Entry, Verdict};
use super::model::{
    AdminState, Announce, Distribution, NoHealthyBackends, Protocol, Protocols, Tracking, XdpMode,
};

/// A type whose values are words in the file.
pub(super) trait Word: Copy + 'static {
    const ALL: &'static [Self];

    fn word(self) -> &'static str;
}

impl Word for XdpMode {
    const ALL: &'static [Self] = &[Self::Auto, Self::Native, Self::Generic];

    fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

impl Word for Forwarding {
    const ALL: &'static [Self] = &[Self::Nat, Self::FullNat];

    fn word(self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::FullNat => "full-nat",
            Self::DsrL2 => "dsr-l2",
            Self::DsrIpip => "dsr-ipip",
        }
    }
}

impl Word for Tracking {
    const ALL: &'static [Self] = &[Self::Auto, Self::Always];

    fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
        }
    }
}

impl Word for Announce {
    const ALL: &'static [Self] = &[Self::Auto, Self::None];

    fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::None => "none",
        }
    }
}

impl Word for AdminState {
    const ALL: &'static [Self] = &[Self::None, Self::Up, Self::Down];

    fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl Word for NoHealthyBackends {
    const ALL: &'static [Self] = &[Self::Drop, Self::AllUp];

    fn word(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::AllUp => "all-up",
        }
    }
}

impl Word for Protocol {
    const ALL: &'static [Self] = &[Self::Tcp, Self::Udp];

    fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl Word for Protocols {
    const ALL: &'static [Self] = &[Self::Tcp, Self::Udp, Self::All];

    fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::All => "all",
        }
    }
}

impl Word for Distribution {
    const ALL: &'static [Self] = &[Self::FiveTuple, Self::SourceIp, Self::SourceIpProtocol];

    fn word(self) -> &'static str {
        match self {
            Self::FiveTuple => "5-tuple",
            Self::SourceIp => "source-ip",
            Self::SourceIpProtocol => "source-ip-protocol",
        }
    }
}

impl Word for Verdict {
    const ALL: &'static [Self] = &[Self::Allow, Self::Deny];

    fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl Word for AppliesTo {
    const ALL: &'static [Self] = &[Self::AllPackets, Self::NewFlows];

    fn word(self) -> &'static str {
        match self {
            Self::AllPackets => "all-packets",
            Self::NewFlows => "new-flows",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for AppliesTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.verdict.word(), self.prefix.address, self.prefix.length)
    }
}
