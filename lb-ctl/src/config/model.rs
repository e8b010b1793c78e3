//! The validated configuration. Only `validate` can build a [`Config`], and nothing can change one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use lb_common::abi::Forwarding;

use super::access::Access;
pub use super::ports::{PortRange, Ports};
use super::words::Word as _;

/// A configuration in which every reference resolves and every statement can be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub(super) interfaces: Vec<Interface>,
    pub(super) frontends: Vec<Frontend>,
    pub(super) pools: Vec<Pool>,
    pub(super) probes: Vec<Probe>,
    pub(super) rules: Vec<Rule>,
    pub(super) nat_rules: Vec<NatRule>,
}

impl Rule {
    /// The ports at the members.
    #[must_use]
    pub fn backend_ports(&self) -> Ports {
        self.ports.at(self.backend_port)
    }
}

impl Config {
    /// Interfaces to attach to; empty: every interface that leads to a frontend or a backend.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    #[must_use]
    pub fn frontends(&self) -> &[Frontend] {
        &self.frontends
    }

    #[must_use]
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    #[must_use]
    pub fn probes(&self) -> &[Probe] {
        &self.probes
    }

    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    #[must_use]
    pub fn nat_rules(&self) -> &[NatRule] {
        &self.nat_rules
    }

    /// The pool that a NAT rule names, by itself or by a member.
    #[must_use]
    pub fn pool_of_nat(&self, rule: &NatRule) -> &Pool {
        match rule.to {
            NatTarget::Member { pool, .. } | NatTarget::Pool(pool) => &self.pools[pool],
        }
    }

    /// The members that a NAT rule is to, in the file's order.
    #[must_use]
    pub fn members_of_nat(&self, rule: &NatRule) -> &[Backend] {
        match rule.to {
            NatTarget::Member { pool, backend } => &self.pools[pool].backends[backend..=backend],
            NatTarget::Pool(pool) => &self.pools[pool].backends,
        }
    }

    /// The frontend that a rule names.
    #[must_use]
    pub fn frontend_of(&self, rule: &Rule) -> &Frontend {
        &self.frontends[rule.frontend]
    }

    /// The pool that a rule names.
    #[must_use]
    pub fn pool_of(&self, rule: &Rule) -> &Pool {
        &self.pools[rule.pool]
    }

    /// The probe that a rule names, if it names one.
    #[must_use]
    pub fn probe_of(&self, rule: &Rule) -> Option<&Probe> {
        rule.probe.map(|probe| &self.probes[probe])
    }
}

/// An interface that the XDP program attaches to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub mode: XdpMode,
}

/// How the program attaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum XdpMode {
    /// Native where the driver can, else generic.
    #[default]
    Auto,
    Native,
    Generic,
}

/// An address that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontend {
    pub name: String,
    pub address: IpAddr,
    pub announce: Announce,
}

/// Who tells hosts on the frontend's own link where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Announce {
    /// We, on each link whose network has the address.
    #[default]
    Auto,
    /// Nobody: it is routed to this host.
    None,
}

/// Backends that serve the same thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    pub name: String,
    /// Fixes the size of the ring; never less than the number of backends.
    pub max_members: u32,
    /// How long connections are carried to their old member after a change.
    pub transition: Duration,
    pub forwarding: Forwarding,
    /// Addresses of ours that clients' packets leave from; empty: the host's own on the way to a member.
    pub sources: Vec<IpAddr>,
    pub backends: Vec<Backend>,
}

impl Pool {
    /// The way to its members, as in the file.
    #[must_use]
    pub fn forwarding_word(&self) -> &'static str {
        self.forwarding.word()
    }
}

/// A member of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    pub name: String,
    pub address: IpAddr,
    /// Share of the ring relative to the other members; 0 takes no new connections.
    pub weight: u16,
    pub admin_state: AdminState,
}

/// Whether the operator overrides the probe (S-ADM-1..3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Hash)]
pub enum AdminState {
    /// The probe decides.
    #[default]
    None,
    /// New connections whatever the probe says.
    Up,
    /// No new connections whatever the probe says.
    Down,
}

/// A health check.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Probe {
    pub name: String,
    pub check: Check,
    pub port: u16,
    pub interval: Duration,
    pub timeout: Duration,
    /// Consecutive results that change a state (S-PRB-21, S-PRB-22).
    pub threshold: u32,
    pub no_healthy_backends: NoHealthyBackends,
}

/// What a probe does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Check {
    /// Connect, then an orderly close (S-PRB-9).
    Tcp,
    /// `GET path`; only status 200 is healthy (S-PRB-10, S-PRB-15).
    Http { path: String },
}

/// What happens to new connections when every member is down (S-PRB-28).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Hash)]
pub enum NoHealthyBackends {
    /// They are dropped in silence.
    #[default]
    Drop,
    /// They are spread over all members.
    AllUp,
}

/// Traffic to frontend ports goes to one pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub name: String,
    /// Index into [`Config::frontends`].
    pub frontend: usize,
    pub protocols: Protocols,
    pub ports: Ports,
    /// Index into [`Config::pools`].
    pub pool: usize,
    /// Port at the members: of a range, that for its first port; 0 with all ports, each of which stays.
    pub backend_port: u16,
    /// Index into [`Config::probes`].
    pub probe: Option<usize>,
    /// The probe's, unless the rule overrides it.
    pub no_healthy_backends: NoHealthyBackends,
    pub distribution: Distribution,
    pub idle_timeout: Duration,
    pub tracking: Tracking,
    /// Members send from the service port unasked, too; of UDP alone, TCP tells by itself.
    pub backend_initiates: bool,
    pub access: Access,
}

/// Whether a rule keeps an entry for each flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tracking {
    /// Where it has to.
    #[default]
    Auto,
    Always,
}

/// Each port goes to one member, whatever its health and admin state (S-NAT-8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatRule {
    pub name: String,
    /// Index into [`Config::frontends`].
    pub frontend: usize,
    pub protocols: Protocols,
    /// One port if it is to one member, else at least one for each member of the pool.
    pub ports: PortRange,
    pub to: NatTarget,
    pub backend_port: u16,
    pub idle_timeout: Duration,
    pub access: Access,
}

/// What a NAT rule is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NatTarget {
    /// One member (S-NAT-1): indices into [`Config::pools`] and [`Pool::backends`].
    Member { pool: usize, backend: usize },
    /// Each member of a pool has a port (S-NAT-2): index into [`Config::pools`].
    Pool(usize),
}

/// The transport protocols of a rule (S-HA-1, S-NAT-9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocols {
    Tcp,
    Udp,
    All,
}

impl Protocols {
    #[must_use]
    pub fn each(self) -> &'static [Protocol] {
        match self {
            Self::Tcp => &[Protocol::Tcp],
            Self::Udp => &[Protocol::Udp],
            Self::All => &[Protocol::Tcp, Protocol::Udp],
        }
    }
}

/// A transport protocol that rules speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// What of a packet chooses its member (S-DIST-1..3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Hash)]
pub enum Distribution {
    #[default]
    FiveTuple,
    SourceIp,
    SourceIpProtocol,
}

/// A prefix without host bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    pub address: IpAddr,
    /// 0..=32, or 0..=128.
    pub length: u8,
}

impl Prefix {
    /// The prefix that holds one address alone.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        Self { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Ones for the bits of the prefix.
    #[must_use]
    pub fn mask(self) -> IpAddr {
        let ones = match self.address {
            IpAddr::V4(_) => Ipv4Addr::BROADCAST.into(),
            IpAddr::V6(_) => Ipv6Addr::from_bits(u128::MAX).into(),
        };
        Self { address: ones, ..self }.network()
    }

    /// The address without the bits behind the prefix.
    #[must_use]
    pub fn network(self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0);
                Ipv4Addr::from_bits(address.to_bits() & mask).into()
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
                Ipv6Addr::from_bits(address.to_bits() & mask).into()
            }
        }
    }

    /// Whether every address of `other` is one of ours.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.length <= other.length && self.network() == Self { length: self.length, ..other }.network()
    }
}
