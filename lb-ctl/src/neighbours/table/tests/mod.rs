//! A host to try things on.

mod next_hops;
mod routes;
mod snapshot;

use super::*;

const OUR_MAC: Mac = [2, 0, 0, 0, 0, 1];
const ITS_MAC: Mac = [2, 0, 0, 0, 0, 9];
const LAN: u32 = 2;
const WAN: u32 = 3;
const TUNNEL: u32 = 4;
const MEMBER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 11);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
const ROUTED: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);

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
        forwards: true,
    }
}

fn tunnel() -> Link {
    Link { mac: None, ethernet: false, ..link(TUNNEL, "tun0") }
}

fn key(address: Ipv4Addr) -> NeighbourKey {
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

fn through_gateway(mtu: Option<u32>) -> Route {
    Route::Unicast { ifindex: LAN, gateway: Some(GATEWAY), mtu }
}

fn prefix(a: u8, b: u8, c: u8, length: u8) -> Prefix {
    Prefix { address: Ipv4Addr::new(a, b, c, 0), length }
}

/// A LAN with address 10.0.1.2/24, a WAN with 192.0.2.2/24 and the default route, a tunnel.
fn host() -> Table {
    let mut table = Table::default();
    let own = [
        (LAN, Ipv4Addr::new(10, 0, 1, 2), prefix(10, 0, 1, 24)),
        (WAN, Ipv4Addr::new(192, 0, 2, 2), prefix(192, 0, 2, 24)),
    ];
    table.learn(Fact::Link(link(LAN, "lan0")));
    table.learn(Fact::Link(link(WAN, "wan0")));
    table.learn(Fact::Link(tunnel()));
    for (ifindex, address, prefix) in own {
        table.learn(Fact::Address(InterfaceAddress { ifindex, address, prefix }));
    }
    let routes = [(LAN, prefix(10, 0, 1, 24)), (WAN, prefix(192, 0, 2, 24)), (WAN, prefix(0, 0, 0, 0))];
    let routes = routes.map(|(ifindex, prefix)| InterfaceRoute { ifindex, prefix });
    table.set_interface_routes(routes.into());
    table
}

fn next_hop(mtu: u32) -> NextHop {
    NextHop { ifindex: LAN, source_mac: OUR_MAC, destination_mac: ITS_MAC, mtu }
}
