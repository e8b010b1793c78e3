//! A host to try things on, in either family.

mod next_hops;
mod routes;
mod snapshot;

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

const OUR_MAC: Mac = [2, 0, 0, 0, 0, 1];
const ITS_MAC: Mac = [2, 0, 0, 0, 0, 9];
const LAN: u32 = 2;
const WAN: u32 = 3;
const TUNNEL: u32 = 4;

/// The addresses of one family; those of IPv6 end as those of IPv4 (`fd00::10.0.1.11`).
#[derive(Clone, Copy)]
struct World(Family);

/// For each family.
fn worlds() -> [World; 2] {
    Family::BOTH.map(World)
}

impl World {
    fn at(self, a: u8, b: u8, c: u8, d: u8) -> IpAddr {
        let address = Ipv4Addr::new(a, b, c, d);
        match self.0 {
            Family::V4 => address.into(),
            Family::V6 => Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(address.to_bits())).into(),
        }
    }

    fn member(self) -> IpAddr {
        self.at(10, 0, 1, 11)
    }

    fn gateway(self) -> IpAddr {
        self.at(10, 0, 1, 1)
    }

    /// Behind the gateway.
    fn routed(self) -> IpAddr {
        self.at(10, 9, 9, 9)
    }

    fn through_gateway(self, mtu: Option<u32>) -> Route {
        Route::Unicast { ifindex: LAN, gateway: Some(self.gateway()), mtu }
    }

    /// A network of 256 addresses.
    fn network(self, a: u8, b: u8, c: u8) -> Prefix {
        Prefix { address: self.at(a, b, c, 0), length: if self.0 == Family::V4 { 24 } else { 120 } }
    }

    /// Where the default route leads.
    fn everything(self) -> Prefix {
        Prefix { address: self.0.unspecified(), length: 0 }
    }

    /// A LAN with address 10.0.1.2/24, a WAN with 192.0.2.2/24 and the default route, a tunnel.
    fn host(self) -> Table {
        let mut table = Table::default();
        let (lan, wan) = (self.network(10, 0, 1), self.network(192, 0, 2));
        table.learn(Fact::Link(link(LAN, "lan0")));
        table.learn(Fact::Link(link(WAN, "wan0")));
        table.learn(Fact::Link(tunnel()));
        for (ifindex, address, prefix) in
            [(LAN, self.at(10, 0, 1, 2), lan), (WAN, self.at(192, 0, 2, 2), wan)]
        {
            table.learn(Fact::Address(InterfaceAddress { ifindex, address, prefix }));
        }
        let routes = [(LAN, lan), (WAN, wan), (WAN, self.everything())];
        table.set_interface_routes(routes.map(|(ifindex, prefix)| InterfaceRoute { ifindex, prefix }).into());
        table
    }
}

fn link(ifindex: u32, name: &str) -> Link {
    Link {
        ifindex,
        name: name.to_owned(),
        kind: None,
        mac: Some(OUR_MAC),
        mtu: 1500,
        ethernet: true,
        up: true,
        carrier: true,
        forwards: PerFamily { v4: true, v6: true },
    }
}

fn tunnel() -> Link {
    Link { mac: None, ethernet: false, ..link(TUNNEL, "tun0") }
}

fn key(address: IpAddr) -> NeighbourKey {
    NeighbourKey { ifindex: LAN, address }
}

fn answering() -> Neighbour {
    Neighbour { mac: Some(ITS_MAC), ours_to_refresh: true }
}

fn silent() -> Neighbour {
    Neighbour { mac: None, ours_to_refresh: true }
}

fn on_link(ifindex: u32) -> Route {
    Route::Unicast { ifindex, gateway: None, mtu: None }
}

fn next_hop(mtu: u32) -> NextHop {
    NextHop { ifindex: LAN, source_mac: OUR_MAC, destination_mac: ITS_MAC, mtu }
}
