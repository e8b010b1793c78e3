//! From what people want to what the maps must hold: a pure function, without clock, input or
//! output.
//!
//! It starts from what the maps hold already (`observed`), because labels, regions and views that
//! packets may still meet must not change their meaning: a member keeps its label, a rule whose
//! view changes keeps the old one until the transition is over, and what connections may still
//! need (`carried`) stays.

mod access;
mod addresses;
mod announced;
mod backends;
mod health;
mod nat;
mod ranges;
mod regions;
mod replies;
pub mod ring;
mod rings;
mod routes;
mod services;
mod sets;
pub(crate) mod sources;
pub mod tracking;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use crate::config::model::{Config, PortRange, Ports, Prefix, Protocol, Rule};
use crate::dataplane::Limits;
use crate::health::ProbeKey;
use crate::state::{AnnouncedKey, MapState, RuleKey};
use lb_common::abi::{Announced, Forwarding, RANGE, Root, RouteTable};
use lb_common::units::{MemberId, Port, Target};

pub use addresses::judged;
pub use announced::to_be_announced;
pub(crate) use backends::known as known_labels;
pub use health::{Accepting, accepting};
pub use nat::{NatMapping, NatRules, nat_mapping};
pub use ranges::{Ranges, cut};
pub use services::health_words;

/// Frontend ports: what names a rule towards clients, whatever the file calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service {
    pub address: IpAddr,
    /// Of a range, the first; 0 stands for all.
    pub port: Port,
    /// IP protocol number; with [`RANGE`], of a range.
    pub protocol: u8,
}

impl Service {
    /// The service of a rule in the maps.
    #[must_use]
    pub fn of(key: &RuleKey) -> Self {
        Self { address: key.address, port: key.port, protocol: key.protocol }
    }

    /// The services of a rule in the file, one for each of its protocols.
    pub fn of_rule(config: &Config, rule: &Rule) -> impl Iterator<Item = Self> + use<> {
        let (address, port) = (config.frontend_of(rule).address, Port::new(rule.ports.first()));
        let range = if matches!(rule.ports, Ports::Range(_)) { RANGE } else { 0 };
        let protocols = rule.protocols.each().iter();
        protocols.map(move |&protocol| Self { address, port, protocol: number(protocol) | range })
    }
}

/// What the host knows of the network around it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// Addresses of the host itself.
    pub own: BTreeSet<IpAddr>,
    /// Next hops of members. Absent while not known.
    pub next_hops: BTreeMap<IpAddr, Hop>,
    /// What members see of it.
    pub near: BTreeMap<IpAddr, Near>,
    /// Addresses that nobody else on their link has, and by which hardware address we are found there.
    pub free: BTreeMap<AnnouncedKey, Announced>,
    /// Its IPv4 routes, as far as they are certain.
    pub routes: RouteTable,
}

/// The host on the link that leads to a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Near {
    /// Its addresses there, in the member's network if it has any.
    pub own: Vec<IpAddr>,
    /// The network that both are in.
    pub network: Option<Prefix>,
}

/// The way to a member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hop {
    /// Interface that leads to it.
    pub ifindex: u32,
    /// Hardware address of the next host.
    pub destination: [u8; 6],
    /// Hardware address of our interface.
    pub source: [u8; 6],
    /// Longest IP packet that the interface sends.
    pub mtu: u32,
}

/// All that the maps follow from.
pub struct Input<'a> {
    pub config: &'a Config,
    /// Probes that have found their member healthy.
    pub healthy: &'a HashMap<ProbeKey, bool>,
    pub host: &'a Host,
    /// What the maps hold now.
    pub observed: &'a MapState,
    /// Where live exceptions go, by the service that they came for.
    pub carried: &'a BTreeSet<(Service, Target)>,
    /// Services whose transition is over.
    pub settled: &'a BTreeSet<Service>,
    /// Jiffies in a second.
    pub hz: u32,
    pub limits: Limits,
}

/// Why a valid configuration cannot be put into the maps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{what} do not fit: {needed} are needed, {room} fit\n  start lbctl serve with a larger {option}")]
    NoRoom { what: &'static str, needed: u64, room: u64, option: &'static str },
    #[error(
        "{} still serves connections that came through {old}, and would now answer for {new}\n  \
         wait until they have ended (lbctl status shows how many), or use another backendPort",
        SocketAddr::new(*member, *port)
    )]
    StillCarried { member: IpAddr, port: u16, old: String, new: String },
    #[error(
        "ways back of members do not fit: {needed} are needed, old and new ones beside each other, {room} fit\n  \
         each member of a NAT range needs one for every rule to it: have fewer such members, or rules to them"
    )]
    NoWayBack { needed: usize, room: usize },
    #[error(
        "ranges of ports do not fit: {needed} prefixes are needed, old and new ones beside each other, {room} fit\n  \
         a range from a multiple of a power of two on that has as many ports is one prefix; others are up to 30"
    )]
    NoRoomForRanges { needed: usize, room: usize },
    #[error("{}", nat::full(rule, *ports, *members, *held))]
    RangeFull { rule: String, ports: PortRange, members: usize, held: usize },
}

/// Computes the maps. Deterministic: the same input gives the same output.
pub fn compile(input: &Input<'_>) -> Result<MapState, Refusal> {
    let labels = backends::labels(input)?;
    let mut state = MapState::default();
    let sources = sources::Sources::place(input, &labels, &mut state)?;
    state.members = backends::members(input, &labels, &sources);
    let lists = access::lists(input)?;
    state.access = access::entries(&lists);
    let nat = nat::ports(input, &labels)?;
    services::write(input, &labels, &nat, &lists, &mut state)?;
    replies::write(input, &labels, &nat, &mut state)?;
    state.addresses = addresses::all(input);
    state.announced = announced::all(input);
    state.root = root(input, &state);
    routes::write(input, &mut state);
    Ok(state)
}

/// Member labels by address and way of forwarding.
pub(crate) type Labels = BTreeMap<(IpAddr, Forwarding), MemberId>;

/// The root: the epoch of the rules, and never a shorter life of marks.
fn root(input: &Input<'_>, state: &MapState) -> Root {
    let observed = input.observed.root;
    let longest = state.rules.values().map(|rule| rule.life).max().unwrap_or(0);
    Root {
        epoch: state.root.epoch,
        // Marks count in steps of four ticks; one more, because both ends are cut off.
        mark_life: observed.mark_life.max(longest / 4 + 1),
        ..observed
    }
}

/// The IP protocol number.
#[must_use]
pub fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => lb_common::parse::TCP,
        Protocol::Udp => lb_common::parse::UDP,
    }
}
