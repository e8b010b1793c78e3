//! From links, addresses, routes and neighbours to next hops. No input or output.

mod family;
mod prefix;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::routes::{self, Gateway, TableRoute, Way};

pub use family::{Family, PerFamily};
pub use prefix::Prefix;
pub use snapshot::{RouteWay, Snapshot, Update};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// Everything that a frame to a member needs.
///
/// Whether the neighbour was confirmed a second or a minute ago is not part of it: that changes
/// all the time and changes nothing for a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextHop {
    pub ifindex: u32,
    pub source_mac: Mac,
    pub destination_mac: Mac,
    /// Largest IP packet in bytes: the route's own limit if it is smaller, else the link's.
    pub mtu: u32,
}

/// Why a member has no next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The kernel has no route, or one that says unreachable, prohibit or blackhole.
    NoRoute,
    /// The interface that leads there is down or has no carrier.
    LinkDown { ifindex: u32 },
    /// Nobody has answered for this address, the gateway's or the member's own.
    NoNeighbour { ifindex: u32, address: IpAddr },
    /// An address of this host.
    LocalAddress,
    /// A broadcast or multicast address.
    NotUnicast,
    /// The interface does not carry Ethernet frames (loopback, tunnels).
    NotEthernet { ifindex: u32 },
    /// The route encapsulates, or its gateway is no IP address: only the kernel goes there.
    KernelOnly { ifindex: u32 },
}

impl Why {
    /// The interface that the member would be reached by, where one is known.
    #[must_use]
    pub fn ifindex(self) -> Option<u32> {
        match self {
            Why::LinkDown { ifindex }
            | Why::NoNeighbour { ifindex, .. }
            | Why::NotEthernet { ifindex }
            | Why::KernelOnly { ifindex } => Some(ifindex),
            Why::NoRoute | Why::LocalAddress | Why::NotUnicast => None,
        }
    }
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "flags of the kernel, each by itself")]
pub struct Link {
    pub ifindex: u32,
    pub name: String,
    /// `veth`, `bond`, `vlan`, ...; hardware usually has none.
    pub kind: Option<String>,
    pub mac: Option<Mac>,
    pub mtu: u32,
    /// Carries Ethernet frames (`ARPHRD_ETHER`).
    pub ethernet: bool,
    /// Set up by its administrator.
    pub up: bool,
    /// The layer below works (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// The kernel routes what comes in here (`net.ipv4.conf.NAME.forwarding`, `net.ipv6...`).
    pub forwards: PerFamily<bool>,
}

/// An address of this host, link-local ones included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfaceAddress {
    pub ifindex: u32,
    pub address: IpAddr,
    /// The network that came with the address, even where its route is gone (link down).
    pub prefix: Prefix,
}

/// A route without gateway ("connected"), or a default route (length 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfaceRoute {
    pub ifindex: u32,
    pub prefix: Prefix,
}

/// What a route look-up said of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Unicast { ifindex: u32, gateway: Option<IpAddr>, mtu: Option<u32> },
    KernelOnly { ifindex: u32 },
    Local,
    NotUnicast,
    Unreachable,
}

/// A neighbour is known by the interface and its address there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NeighbourKey {
    pub(super) ifindex: u32,
    pub(super) address: IpAddr,
}

/// An entry of the kernel's neighbour table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Neighbour {
    /// Set while the kernel itself would send there.
    pub(super) mac: Option<Mac>,
    /// Nobody else keeps it: not permanent, not learned by a control plane, not managed.
    pub(super) ours_to_refresh: bool,
}

/// One thing that the kernel told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    Link(Link),
    LinkGone(u32),
    /// An interface begins to forward or ceases to.
    Forwarding(u32, Family, bool),
    Address(InterfaceAddress),
    AddressGone(InterfaceAddress),
    Neighbour(NeighbourKey, Neighbour),
    NeighbourGone(NeighbourKey),
}

/// What the neighbour of a member needs from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// It has no usable entry.
    Resolve,
    /// It has one, which grows old.
    Refresh,
}

/// All that the kernel told.
#[derive(Debug, Default)]
pub(super) struct Table {
    links: BTreeMap<u32, Link>,
    addresses: BTreeSet<InterfaceAddress>,
    neighbours: BTreeMap<NeighbourKey, Neighbour>,
    routes: BTreeMap<IpAddr, Route>,
    interface_routes: BTreeSet<InterfaceRoute>,
    ways: PerFamily<Option<Vec<Way>>>,
}

impl Table {
    /// True if that is news.
    pub(super) fn learn(&mut self, fact: Fact) -> bool {
        match fact {
            Fact::Link(link) => {
                let news = self.links.get(&link.ifindex) != Some(&link);
                self.links.insert(link.ifindex, link);
                news
            }
            Fact::LinkGone(ifindex) => self.links.remove(&ifindex).is_some(),
            Fact::Forwarding(ifindex, family, forwards) => {
                let known = self.links.get_mut(&ifindex).map(|link| link.forwards.of_mut(family));
                known.is_some_and(|known| std::mem::replace(known, forwards) != forwards)
            }
            Fact::Address(address) => self.addresses.insert(address),
            Fact::AddressGone(address) => self.addresses.remove(&address),
            Fact::Neighbour(key, entry) => self.neighbours.insert(key, entry) != Some(entry),
            Fact::NeighbourGone(key) => self.neighbours.remove(&key).is_some(),
        }
    }

    pub(super) fn set_routes(&mut self, routes: BTreeMap<IpAddr, Route>) {
        self.routes = routes;
    }

    pub(super) fn set_interface_routes(&mut self, routes: BTreeSet<InterfaceRoute>) {
        self.interface_routes = routes;
    }

    /// The routes of the tables that the kernel's own rules ask; `None` if there are other rules, or
    /// very many routes.
    pub(super) fn set_table_routes(&mut self, family: Family, routes: Option<&[TableRoute]>) {
        *self.ways.of_mut(family) = routes.map(routes::compile);
    }

    /// Whether a single route could change what [`Snapshot::routes`] says.
    pub(super) fn follows_routes(&self, family: Family) -> bool {
        self.ways.of(family).is_some()
    }

    /// The neighbours that the kernel should be asked about.
    pub(super) fn needs(&self) -> BTreeMap<NeighbourKey, Need> {
        let members = self.routes.iter().filter_map(|(&member, &route)| neighbour_of(member, route));
        let ways = Family::BOTH.into_iter().flat_map(|family| self.ways(family));
        let gateways = ways.filter_map(|(_, gateway)| gateway.map(Gateway::neighbour));
        let neighbours = members.chain(gateways).filter_map(|key| {
            self.usable_link(key.ifindex).ok()?;
            let need = match self.neighbours.get(&key) {
                Some(entry) if !entry.ours_to_refresh => return None,
                Some(entry) if entry.mac.is_some() => Need::Refresh,
                Some(_) | None => Need::Resolve,
            };
            Some((key, need))
        });
        neighbours.collect()
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let next_hops = self.routes.iter();
        Snapshot {
            next_hops: next_hops.map(|(&member, &route)| (member, self.next_hop(member, route))).collect(),
            links: self.links.clone(),
            addresses: self.addresses.clone(),
            interface_routes: self.interface_routes.clone(),
            routes: PerFamily::from_each(|family| {
                self.ways(family).iter().map(|&(prefix, gateway)| self.route_way(prefix, gateway)).collect()
            }),
        }
    }

    /// None where the kernel would ask for more than the destination, or not forward at all what an
    /// interface receives: then it has to be asked for each packet.
    fn ways(&self, family: Family) -> &[Way] {
        let vrf = self.links.values().any(|link| link.kind.as_deref() == Some("vrf"));
        let deaf = |link: &Link| link.ethernet && link.up && !link.forwards.of(family);
        let deaf = self.links.values().any(deaf);
        self.ways.of(family).as_deref().filter(|_| !vrf && !deaf).unwrap_or_default()
    }

    fn route_way(&self, prefix: Prefix, gateway: Option<Gateway>) -> RouteWay {
        RouteWay {
            prefix,
            hop: gateway.and_then(|gateway| self.next_hop(gateway.address, gateway.into()).ok()),
        }
    }

    fn next_hop(&self, member: IpAddr, route: Route) -> Result<NextHop, Why> {
        let (ifindex, route_mtu) = match route {
            Route::Unicast { ifindex, mtu, .. } => (ifindex, mtu),
            Route::KernelOnly { ifindex } => return Err(Why::KernelOnly { ifindex }),
            Route::Local => return Err(Why::LocalAddress),
            Route::NotUnicast => return Err(Why::NotUnicast),
            Route::Unreachable => return Err(self.why_unreachable(member)),
        };
        let (link, source_mac) = self.usable_link(ifindex)?;
        let destination_mac = self.mac_of(neighbour_of(member, route)).ok_or_else(|| {
            let address = neighbour_of(member, route).map_or(member, |key| key.address);
            Why::NoNeighbour { ifindex, address }
        })?;
        Ok(NextHop {
            ifindex,
            source_mac,
            destination_mac,
            mtu: route_mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu)),
        })
    }

    fn mac_of(&self, key: Option<NeighbourKey>) -> Option<Mac> {
        self.neighbours.get(&key?)?.mac
    }

    fn usable_link(&self, ifindex: u32) -> Result<(&Link, Mac), Why> {
        // A link that is not known yet is announced in a moment.
        let link = self.links.get(&ifindex).ok_or(Why::LinkDown { ifindex })?;
        match link.mac {
            Some(mac) if link.ethernet => {
                if link.up && link.carrier {
                    Ok((link, mac))
                } else {
                    Err(Why::LinkDown { ifindex })
                }
            }
            Some(_) | None => Err(Why::NotEthernet { ifindex }),
        }
    }

    /// The kernel removes the routes of an interface that is set down; its addresses stay, and
    /// tell what is really missing.
    fn why_unreachable(&self, member: IpAddr) -> Why {
        let down = self.addresses.iter().find(|address| {
            let link = self.links.get(&address.ifindex);
            address.prefix.contains(member) && link.is_some_and(|link| !link.up)
        });
        down.map_or(Why::NoRoute, |address| Why::LinkDown { ifindex: address.ifindex })
    }
}

/// Who has to answer for a member: the gateway, or itself where it is on-link.
fn neighbour_of(member: IpAddr, route: Route) -> Option<NeighbourKey> {
    match route {
        Route::Unicast { ifindex, gateway, .. } => {
            Some(NeighbourKey { ifindex, address: gateway.unwrap_or(member) })
        }
        Route::KernelOnly { .. } | Route::Local | Route::NotUnicast | Route::Unreachable => None,
    }
}

impl Gateway {
    fn neighbour(self) -> NeighbourKey {
        NeighbourKey { ifindex: self.ifindex, address: self.address }
    }
}

impl From<Gateway> for Route {
    fn from(Gateway { ifindex, address, mtu }: Gateway) -> Self {
        Self::Unicast { ifindex, gateway: Some(address), mtu }
    }
}
