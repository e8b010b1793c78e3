//! Both families of a dual-stack lab.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{FRONTEND, twin};

/// Which family of the lab's addresses is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
        }
    }

    /// A host's address.
    #[must_use]
    pub fn of(self, address: Ipv4Addr) -> IpAddr {
        match self {
            Self::V4 => address.into(),
            Self::V6 => twin(address).into(),
        }
    }

    #[must_use]
    pub fn frontend(self, port: u16) -> SocketAddr {
        (self.of(FRONTEND), port).into()
    }

    /// The prefix of all clients.
    #[must_use]
    pub fn everybody(self) -> &'static str {
        match self {
            Self::V4 => "0.0.0.0/0",
            Self::V6 => "::/0",
        }
    }
}
