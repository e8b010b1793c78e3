//! The data plane as the controller sees it: one trait, three implementations.
//!
//! `bpf` is the real one, `fake` keeps everything in memory, `faulty` fails on purpose. Only
//! `reconcile` holds one: it is the single writer.

pub mod bpf;
pub mod fake;
pub mod faulty;
pub mod fresh;
mod named;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::config::model::XdpMode;
use crate::state::{
    AccessEntry, AnnouncedKey, FlowKey, MapState, Member, NatSource, PortPrefix, Reverse, RuleKey,
    Translation,
};
use lb_common::abi::{
    AddressFlags, Announced, Counter, FlowWord, Owner, Range, ReverseKey, Root, RouteTable, Rule, RuleStats,
    sieve,
};
use lb_common::tables::Tier;
use lb_common::units::MemberId;

/// One write. `None` deletes; deleting what is not there is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Makes the rules of an epoch effective, among others.
    Root(Root),
    Sieve(Box<[u64; sieve::WORDS]>),
    Rule(RuleKey, Option<Rule>),
    /// Some ports of a range.
    Range(PortPrefix<IpAddr>, Option<Range>),
    Address(IpAddr, Option<AddressFlags>),
    /// A frontend and how it is answered for on a link.
    Announced(AnnouncedKey, Option<Announced>),
    /// A prefix of an access list and its verdict.
    Access(AccessEntry, Option<u32>),
    /// A ring from its first slot on.
    Ring(u32, Arc<Vec<MemberId>>),
    /// A word of a health set.
    Health(u32, u64),
    /// A member; deleting one also begins its count of connections anew.
    Member(MemberId, Option<Member>),
    Owner(IpAddr, Option<Owner>),
    Reverse(ReverseKey, Option<Reverse>),
    /// Some ports of a range, at members.
    ReverseRange(PortPrefix<u32>, Option<Range>),
    /// An address of ours that clients' packets may leave from.
    Source(u32, Option<NatSource>),
    /// The table of routes that is not in force, since before the last [`Dataplane::quiesce`].
    Routes(usize, Box<RouteTable>),
    /// Begins the statistics of a number anew.
    NewStats(u32),
}

impl fmt::Display for Change {
    /// What is written, not the value: the subject of an error message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(root) => write!(f, "root, epoch {}", root.epoch),
            Self::Sieve(_) => write!(f, "sieve"),
            Self::Rule(key, _) => {
                let (port, protocol, epoch) = (key.port.get(), key.protocol, key.epoch);
                write!(f, "rule {} port {port}, protocol {protocol}, epoch {epoch}", key.address)
            }
            Self::Range(PortPrefix { key, length }, _) => {
                let (port, protocol, epoch) = (key.port.get(), key.protocol, key.epoch);
                write!(f, "range {} ports {port}/{length}, protocol {protocol}, epoch {epoch}", key.of)
            }
            Self::ReverseRange(PortPrefix { key, length }, _) => {
                write!(
                    f,
                    "range of group {}, ports {}/{length}, protocol {}",
                    key.of,
                    key.port.get(),
                    key.protocol
                )
            }
            Self::Address(address, _) => write!(f, "address {address}"),
            Self::Announced(key, _) => write!(f, "answer for {} on interface {}", key.address, key.ifindex),
            Self::Access(entry, _) => {
                write!(f, "prefix {}/{} of list {}", entry.address, entry.length, entry.list)
            }
            Self::Ring(base, slots) => write!(f, "ring of {} slots from {base} on", slots.len()),
            Self::Health(word, _) => write!(f, "health word {word}"),
            Self::Member(id, _) => write!(f, "member {}", id.0),
            Self::Owner(address, _) => write!(f, "owner of {address}"),
            Self::Routes(_, table) => write!(f, "table of {} routes", table.used),
            Self::NewStats(number) => write!(f, "statistics {number}"),
            Self::Source(index, _) => write!(f, "source address {index}"),
            Self::Reverse(key, _) => {
                write!(
                    f,
                    "reverse of group {}, port {}, protocol {}",
                    key.group,
                    key.port.get(),
                    key.protocol
                )
            }
        }
    }
}

/// Why a data plane could not do as it was told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A write or read of a map failed.
    #[error("map {map}: {what}: {cause}")]
    Map { map: &'static str, what: String, cause: String },
    /// The data plane's clock could not be read.
    #[error("the data plane's clock: {0}")]
    Clock(String),
    /// Program or maps could not be loaded, found or attached.
    #[error("{what}: {cause}\n  {cure}")]
    Setup { what: String, cause: String, cure: String },
}

/// Which table of exceptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowTable {
    Pending,
    Confirmed,
}

/// All counters, summed over CPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// By reason number.
    pub reasons: Vec<Counter>,
    /// By event number.
    pub events: Vec<u64>,
}

/// How the program is attached to an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attachment {
    Native,
    Generic,
}

/// Room in the maps; the limits that `compile` keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub slots: u32,
    pub health_words: u32,
    pub rules: u32,
    pub confirmed: u32,
    pub pending: u32,
    /// Prefixes of access lists.
    pub access: u32,
    /// Entries of tracked flows, two for each.
    pub tracked: u32,
}

impl Default for Limits {
    /// Those of the program's own map definitions.
    fn default() -> Self {
        Self {
            slots: 1 << 22,
            health_words: 1 << 16,
            rules: 16_384,
            confirmed: 262_144,
            pending: 131_072,
            access: 262_144,
            tracked: 131_072,
        }
    }
}

/// Reads and writes the maps that packets see.
pub trait Dataplane: Send {
    /// What the maps hold, apart from flows and counters: of rings and health sets what the
    /// views of some rule name, of any epoch.
    fn read(&self) -> Result<MapState, Error>;
    /// Carries out one change. A ring starts at a multiple of
    /// [`lb_common::abi::SLOTS_PER_WORD`], and what is left of its last word becomes zero.
    fn write(&mut self, change: &Change) -> Result<(), Error>;
    /// Returns once every packet that was in the program at the call has left it: nobody uses any
    /// more what was put out of force before.
    fn quiesce(&self);
    /// Walks a table of exceptions in batches.
    fn flows(&self, table: FlowTable, visit: &mut dyn FnMut(&FlowKey, FlowWord)) -> Result<(), Error>;
    /// Deletes an exception, unless it has changed since it said `seen`: a new connection between the
    /// same ports may have taken its place.
    fn forget(&mut self, table: FlowTable, key: &FlowKey, seen: FlowWord) -> Result<(), Error>;
    /// Walks the entries of tracked flows in batches.
    fn tracked(
        &self,
        tier: Tier,
        visit: &mut dyn FnMut(&FlowKey, FlowWord, &Translation),
    ) -> Result<(), Error>;
    /// Deletes such an entry, unless it has changed since it said `seen`.
    fn untrack(&mut self, tier: Tier, key: &FlowKey, seen: FlowWord) -> Result<(), Error>;
    /// Counters of reasons and events.
    fn counters(&self) -> Result<Counters, Error>;
    /// Counters of one rule by its statistics number.
    fn rule_stats(&self, stats: u32) -> Result<RuleStats, Error>;
    /// New connections of a member.
    fn member_opened(&self, member: MemberId) -> Result<u64, Error>;
    /// The data plane's clock, in jiffies, and how many of them make a second.
    fn clock(&self) -> Result<(u64, u32), Error>;
    /// Room in the maps.
    fn limits(&self) -> Limits;
    /// Attaches the program to an interface, or leaves it attached.
    fn attach(&mut self, ifindex: u32, mode: XdpMode) -> Result<Attachment, Error>;
    /// Takes the program off an interface.
    fn detach(&mut self, ifindex: u32) -> Result<(), Error>;
    /// Where the program is attached.
    fn attached(&self) -> Result<Vec<(u32, Attachment)>, Error>;
}

/// Attaches to all of these interfaces. Where one can only do it the generic way, those that leave
/// it to us do so, too: its driver drops what a native one redirects to it
/// (`ndo_xdp_xmit`, net/core/filter.c).
pub fn attach_all(dataplane: &mut dyn Dataplane, interfaces: &[(u32, XdpMode)]) -> Result<(), Error> {
    let mut native = Vec::new();
    let mut mixed = false;
    for &(ifindex, mode) in interfaces {
        match dataplane.attach(ifindex, mode)? {
            Attachment::Native if mode == XdpMode::Auto => native.push(ifindex),
            Attachment::Native => {}
            Attachment::Generic => mixed = true,
        }
    }
    for ifindex in native.into_iter().filter(|_| mixed) {
        dataplane.attach(ifindex, XdpMode::Generic)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn one_generic_interface_makes_all_generic_that_may_be() {
        let mut fake = fake::Fake::default();
        attach_all(&mut fake, &[(1, XdpMode::Auto), (2, XdpMode::Native)]).unwrap();
        assert_eq!(fake.attached().unwrap(), [(1, Attachment::Native), (2, Attachment::Native)]);
        fake.generic_only(3);
        attach_all(&mut fake, &[(1, XdpMode::Auto), (2, XdpMode::Native), (3, XdpMode::Auto)]).unwrap();
        let expected = [(1, Attachment::Generic), (2, Attachment::Native), (3, Attachment::Generic)];
        assert_eq!(fake.attached().unwrap(), expected);
    }
}
