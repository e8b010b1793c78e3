//! Next hops of members, and what the host knows of itself, from the kernel by rtnetlink.
//!
//! The kernel's own answers are the truth: a member's way is what a route look-up says (policy
//! rules included), its MAC address is what the neighbour table holds, and a neighbour that is
//! missing or getting old is resolved by the kernel, on our request. Nothing here decides about
//! routes or speaks ARP or neighbour discovery.
//!
//! One task owns all of it ([`Neighbours::start`]). It listens to the kernel's announcements,
//! answers bursts of them together, and publishes a [`Snapshot`] whenever a value changed.
//! `table` and `routes` decide, `solicit` and `todo` say when to ask, `decode` reads messages (all pure);
//! `netlink` holds the sockets, `actor` drives them.
//!
//! Beside single members there are the ways to whole networks that replies take (`routes`): of tables local and
//! main as far as one look at them is certain to say what the kernel would.
//!
//! A look-up is made as for a packet of the host itself, without source, mark or input interface:
//! policy rules that match those of a client are not seen. Of several equal paths it is the one
//! that the kernel picks for the member's address.

mod actor;
mod decode;
mod netlink;
mod routes;
mod solicit;
mod table;
mod todo;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot, watch};

pub use netlink::Error;
pub use table::{
    Family, InterfaceAddress, InterfaceRoute, Link, Mac, NextHop, PerFamily, Prefix, RouteWay, Snapshot,
    Update, Why,
};

/// Handle of the task that watches routes, neighbours, links and addresses of this network
/// namespace. The task ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Neighbours {
    commands: mpsc::Sender<Track>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    work: Arc<Work>,
}

impl Neighbours {
    /// Opens the sockets in the network namespace of the calling thread, reads all there is, and
    /// starts the task on the current runtime. The first snapshot is complete, without members.
    pub async fn start() -> Result<Self, Error> {
        let (commands, orders) = mpsc::channel(16);
        let work = Arc::new(Work::default());
        let (actor, snapshots) = actor::Actor::open(orders, Arc::clone(&work)).await?;
        tokio::spawn(actor.run());
        Ok(Self { commands, snapshots, work })
    }

    /// Replaces the set of members whose next hops are kept, and returns once each has an answer.
    /// That answer may be [`Why::NoNeighbour`] for a moment: the kernel has been asked to resolve.
    pub async fn track(&self, members: BTreeSet<IpAddr>) -> Result<Arc<Snapshot>, Error> {
        let (reply, answer) = oneshot::channel();
        let order = Track { members, reply };
        self.commands.send(order).await.map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)
    }

    /// What is known now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    /// Wakes its reader for each changed snapshot; [`Snapshot::changes_since`] says what changed.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// What was asked of the kernel so far.
    #[must_use]
    pub fn work(&self) -> WorkDone {
        WorkDone {
            route_lookups: self.work.route_lookups.load(Ordering::Relaxed),
            full_reads: self.work.full_reads.load(Ordering::Relaxed),
            overflows: self.work.overflows.load(Ordering::Relaxed),
            solicitations: self.work.solicitations.load(Ordering::Relaxed),
        }
    }
}

/// Counts since the start, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkDone {
    /// Route look-ups of single members.
    pub route_lookups: u64,
    /// Complete reads of links, addresses, neighbours and routes.
    pub full_reads: u64,
    /// Times that the kernel dropped announcements because they came too fast; each is followed
    /// by a full read.
    pub overflows: u64,
    /// Neighbours that the kernel was asked to resolve or to check.
    pub solicitations: u64,
}

#[derive(Debug, Default)]
struct Work {
    route_lookups: AtomicU64,
    full_reads: AtomicU64,
    overflows: AtomicU64,
    solicitations: AtomicU64,
}

/// The one order that the task takes.
#[derive(Debug)]
struct Track {
    members: BTreeSet<IpAddr>,
    reply: oneshot::Sender<Arc<Snapshot>>,
}
