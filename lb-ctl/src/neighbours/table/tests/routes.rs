//! Ways to other networks.

use super::*;
use crate::neighbours::routes::TableKind;

fn default_route(ifindex: u32, address: Ipv4Addr, mtu: Option<u32>) -> TableRoute {
    TableRoute {
        prefix: prefix(0, 0, 0, 0),
        table: TableKind::Main,
        metric: 0,
        way: Some(Gateway { ifindex, address, mtu }),
    }
}

/// The host with a default way through its gateway.
fn routed() -> Table {
    let mut table = host();
    table.set_table_routes(Some(&[default_route(LAN, GATEWAY, None)]));
    table
}

fn default_way(hop: Option<NextHop>) -> Vec<RouteWay> {
    vec![RouteWay { prefix: prefix(0, 0, 0, 0), hop }]
}

#[test]
fn a_gateway_is_asked_for_like_a_member() {
    let mut table = routed();
    assert_eq!(table.snapshot().routes, default_way(None));
    assert_eq!(table.needs(), [(key(GATEWAY), Need::Resolve)].into());
    table.learn(Fact::Neighbour(key(GATEWAY), answering()));
    assert_eq!(table.snapshot().routes, default_way(Some(next_hop(1500))));
    assert_eq!(table.needs(), [(key(GATEWAY), Need::Refresh)].into());
    table.learn(Fact::Neighbour(key(GATEWAY), silent()));
    assert_eq!(table.snapshot().routes, default_way(None));
}

#[test]
fn the_smaller_limit_counts() {
    let mut table = routed();
    table.learn(Fact::Neighbour(key(GATEWAY), answering()));
    table.set_table_routes(Some(&[default_route(LAN, GATEWAY, Some(1400))]));
    assert_eq!(table.snapshot().routes, default_way(Some(next_hop(1400))));
}

#[test]
fn over_a_link_that_is_down_the_kernel_is_asked() {
    let mut table = routed();
    table.learn(Fact::Neighbour(key(GATEWAY), answering()));
    table.learn(Fact::Link(Link { carrier: false, ..link(LAN, "lan0") }));
    assert_eq!(table.snapshot().routes, default_way(None));
    assert_eq!(table.needs(), BTreeMap::new());
}

#[test]
fn where_routes_depend_on_more_than_the_destination_nothing_is_said() {
    let known = || {
        let mut table = routed();
        table.learn(Fact::Neighbour(key(GATEWAY), answering()));
        table
    };
    let mut policy = known();
    policy.set_table_routes(None);
    let mut vrf = known();
    vrf.learn(Fact::Link(Link { kind: Some("vrf".to_owned()), ethernet: false, ..link(9, "red") }));
    let mut deaf = known();
    assert!(deaf.learn(Fact::Forwarding(WAN, false)));
    assert!(!deaf.learn(Fact::Forwarding(WAN, false)), "no news");
    for table in [&policy, &vrf, &deaf] {
        assert_eq!(table.snapshot().routes, []);
        assert_eq!(table.needs(), BTreeMap::new());
    }
    // An interface that is not up receives nothing that it could refuse to forward.
    deaf.learn(Fact::Link(Link { up: false, forwards: false, ..link(WAN, "wan0") }));
    assert_eq!(deaf.snapshot().routes, default_way(Some(next_hop(1500))));
    assert!(!policy.follows_routes() && vrf.follows_routes());
}
