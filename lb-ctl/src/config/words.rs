//! The words of the file for the values of the model, for reading and for writing.

use super::model::{AdminState, Distribution, NoHealthyBackends, Protocol, XdpMode};

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
