//! Frontends on the links that they lie on: is the address free there, and does everybody know that it
//! is here now?
//!
//! Who asks is answered by the data plane. Before it may, others are asked whether they have the address
//! (RFC 5227, section 2.1; RFC 4862, section 5.4); once it does, everybody is told (RFC 5227, section 2.3;
//! RFC 4861, section 7.2.6). What others say of a frontend is heard, told to people, and not fought over:
//! ADR 6 says why.
//!
//! `claims` come from the reconciler, [`Standings`] go to it, and one task is between ([`Announcer`]).
//! `machine` decides on paper; `wire` reads and writes frames; `socket` and `groups` touch the kernel.

mod actor;
mod groups;
mod machine;
mod socket;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use tokio::sync::watch;

use crate::state::AnnouncedKey;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// What the reconciler wants to be answered for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// Grows with each change.
    pub number: u64,
    pub wanted: BTreeMap<AnnouncedKey, Claim>,
    /// Hardware addresses of this host: who uses them is not somebody else.
    pub ours: BTreeSet<Mac>,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Of our interface.
    pub hardware: Mac,
    /// The data plane answers for it.
    pub held: bool,
}

/// What came out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standings {
    /// [`Claims::number`] that this is about.
    pub number: u64,
    pub of: BTreeMap<AnnouncedKey, Standing>,
}

/// How a claim stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Others are being asked.
    Asking,
    /// It is ours.
    Ours,
    /// It was ours before somebody else said that he has it.
    Contested(Mac),
    /// Somebody else has it.
    Taken(Mac),
}

impl Standing {
    /// Whether who asks is to be answered.
    #[must_use]
    pub fn is_ours(self) -> bool {
        match self {
            Self::Ours | Self::Contested(_) => true,
            Self::Asking | Self::Taken(_) => false,
        }
    }

    /// Who else has the address.
    #[must_use]
    pub fn other(self) -> Option<Mac> {
        match self {
            Self::Contested(other) | Self::Taken(other) => Some(other),
            Self::Asking | Self::Ours => None,
        }
    }
}

/// Handle of the task. The task ends when it is dropped.
#[derive(Debug)]
pub struct Announcer {
    claims: watch::Sender<Claims>,
    standings: watch::Receiver<Arc<Standings>>,
}

impl Announcer {
    /// Opens the sockets in the network namespace of the calling thread, and starts the task on the
    /// current runtime.
    pub fn start() -> Result<Self, Error> {
        let (claims, wanted) = watch::channel(Claims::default());
        let (actor, standings) = actor::Actor::open(wanted)?;
        tokio::spawn(actor.run());
        Ok(Self { claims, standings })
    }

    /// A handle whose other ends a test has.
    #[cfg(test)]
    pub(crate) fn of_a_test() -> (Self, watch::Receiver<Claims>, watch::Sender<Arc<Standings>>) {
        let (claims, wanted) = watch::channel(Claims::default());
        let (sender, standings) = watch::channel(Arc::default());
        (Self { claims, standings }, wanted, sender)
    }

    /// Replaces the claims; never waits.
    pub fn claim(&self, claims: Claims) {
        self.claims.send_replace(claims);
    }

    /// Wakes its reader for each change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Standings>> {
        self.standings.clone()
    }
}

/// Leaves the groups of frontends that the data plane answered for.
pub async fn leave(keys: &[AnnouncedKey]) -> Result<(), Error> {
    let failed = |source| Error { doing: "leave the groups of IPv6 frontends", source };
    let groups = groups::Groups::open().map_err(failed)?;
    for key in keys {
        groups.leave(*key).await.map_err(|error| failed(io::Error::other(error)))?;
    }
    Ok(())
}

/// Why nobody can be asked or told.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}: {source}")]
pub struct Error {
    doing: &'static str,
    source: io::Error,
}
