//! What others get to see of the table.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Family, InterfaceAddress, InterfaceRoute, Link, Mac, NextHop, PerFamily, Prefix, Why};

/// Next hops of the tracked members and facts of this host, as of one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub next_hops: BTreeMap<IpAddr, Result<NextHop, Why>>,
    /// By interface index.
    pub links: BTreeMap<u32, Link>,
    pub addresses: BTreeSet<InterfaceAddress>,
    /// Connected and default routes of all tables.
    pub interface_routes: BTreeSet<InterfaceRoute>,
    /// The ways to other networks that are certain, longest prefix first; at most
    /// [`lb_common::abi::ROUTES`] of a family.
    pub routes: PerFamily<Vec<RouteWay>>,
}

/// How to reach a prefix, but for what a longer one says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteWay {
    pub prefix: Prefix,
    /// `None` if the kernel has to be asked for each packet.
    pub hop: Option<NextHop>,
}

/// A member whose answer changed, appeared or, with `None`, is no longer tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update {
    pub address: IpAddr,
    pub next_hop: Option<Result<NextHop, Why>>,
}

impl Snapshot {
    /// The members whose answers differ from those of an earlier snapshot.
    #[must_use]
    pub fn changes_since(&self, earlier: &Snapshot) -> Vec<Update> {
        let members: BTreeSet<_> = self.next_hops.keys().chain(earlier.next_hops.keys()).collect();
        let changed =
            members.into_iter().filter(|&member| self.next_hops.get(member) != earlier.next_hops.get(member));
        changed.map(|&address| Update { address, next_hop: self.next_hops.get(&address).copied() }).collect()
    }

    /// True if the host itself has this address on an interface. Addresses that only a `local`
    /// route gives to the host are not among them.
    #[must_use]
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.address == address)
    }

    /// The networks whose hosts are reached without a gateway, each with its interface. A default
    /// route is none of them, even one without gateway.
    pub fn on_link(&self) -> impl Iterator<Item = InterfaceRoute> + '_ {
        let routes = self.interface_routes.iter().copied();
        routes.filter(|route| route.prefix.length > 0)
    }

    /// The hardware address of an Ethernet interface that is up and has a carrier.
    #[must_use]
    pub fn works(&self, ifindex: u32) -> Option<Mac> {
        let link = self.links.get(&ifindex)?;
        link.mac.filter(|_| link.ethernet && link.up && link.carrier)
    }

    /// The Ethernet interfaces that lead to frontends and tracked members: where XDP attaches
    /// unless the file names `interfaces`.
    ///
    /// - A member: the interface of its route, also while its neighbour is unknown or the link is
    ///   down.
    /// - A frontend, whose packets come from its clients: each interface whose connected network
    ///   holds the frontend's address, each interface that has the address itself, and each
    ///   interface of a default route of any table.
    ///
    /// Clients that are reached by a static route through yet another interface are not seen; such
    /// an interface has to be named.
    #[must_use]
    pub fn interfaces_toward(
        &self,
        frontends: &BTreeSet<IpAddr>,
        members: &BTreeSet<IpAddr>,
    ) -> BTreeSet<u32> {
        let to_members = members.iter().filter_map(|member| match self.next_hops.get(member)? {
            Ok(next_hop) => Some(next_hop.ifindex),
            Err(why) => why.ifindex(),
        });
        let networks = self.interface_routes.iter();
        let to_networks = networks.filter(|route| holds_any(route.prefix, frontends));
        let owners = self.addresses.iter();
        let owners = owners.filter(|own| frontends.contains(&own.address));
        to_members
            .chain(to_networks.map(|route| route.ifindex))
            .chain(owners.map(|own| own.ifindex))
            .filter(|ifindex| self.links.get(ifindex).is_some_and(|link| link.ethernet))
            .collect()
    }

    /// Why a member has no next hop, in words, with the names of interfaces.
    #[must_use]
    pub fn describe(&self, why: Why) -> String {
        match why {
            Why::NoRoute => "no route".to_owned(),
            Why::LinkDown { ifindex } => format!("{} is down", self.name(ifindex)),
            Why::NoNeighbour { ifindex, address } => {
                let asked = match Family::of(address) {
                    Family::V4 => "ARP",
                    Family::V6 => "neighbour discovery",
                };
                format!("{address} does not answer {asked} on {}", self.name(ifindex))
            }
            Why::LocalAddress => "an address of this host".to_owned(),
            Why::NotUnicast => "a broadcast or multicast address".to_owned(),
            Why::NotEthernet { ifindex } => {
                format!("{} is not an Ethernet interface", self.name(ifindex))
            }
            Why::KernelOnly { ifindex } => format!(
                "the route through {} encapsulates or has a gateway without IP address",
                self.name(ifindex)
            ),
        }
    }

    fn name(&self, ifindex: u32) -> String {
        match self.links.get(&ifindex) {
            Some(link) => link.name.clone(),
            None => format!("interface {ifindex}"),
        }
    }
}

fn holds_any(prefix: Prefix, addresses: &BTreeSet<IpAddr>) -> bool {
    addresses.iter().any(|&address| prefix.contains(address))
}
