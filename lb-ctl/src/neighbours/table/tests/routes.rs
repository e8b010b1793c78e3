//! Ways to other networks.

use super::*;
use crate::neighbours::routes::TableKind;

impl World {
    fn default_route(self, mtu: Option<u32>) -> TableRoute {
        TableRoute {
            prefix: self.everything(),
            table: TableKind::Main,
            metric: 0,
            way: Some(Gateway { ifindex: LAN, address: self.gateway(), mtu }),
        }
    }

    /// The host with a default way through its gateway.
    fn routed_host(self) -> Table {
        let mut table = self.host();
        table.set_table_routes(self.0, Some(&[self.default_route(None)]));
        table
    }

    /// Nothing is said of the other family.
    fn default_way(self, hop: Option<NextHop>) -> PerFamily<Vec<RouteWay>> {
        let mut ways = PerFamily::default();
        *ways.of_mut(self.0) = vec![RouteWay { prefix: self.everything(), hop }];
        ways
    }
}

#[test]
fn a_gateway_is_asked_for_like_a_member() {
    for world in worlds() {
        let (mut table, gateway) = (world.routed_host(), key(world.gateway()));
        assert_eq!(table.snapshot().routes, world.default_way(None));
        assert_eq!(table.needs(), [(gateway, Need::Resolve)].into());
        table.learn(Fact::Neighbour(gateway, answering()));
        assert_eq!(table.snapshot().routes, world.default_way(Some(next_hop(1500))));
        assert_eq!(table.needs(), [(gateway, Need::Refresh)].into());
        table.learn(Fact::Neighbour(gateway, silent()));
        assert_eq!(table.snapshot().routes, world.default_way(None));
    }
}

#[test]
fn the_smaller_limit_counts() {
    for world in worlds() {
        let mut table = world.routed_host();
        table.learn(Fact::Neighbour(key(world.gateway()), answering()));
        table.set_table_routes(world.0, Some(&[world.default_route(Some(1400))]));
        assert_eq!(table.snapshot().routes, world.default_way(Some(next_hop(1400))));
    }
}

#[test]
fn over_a_link_that_is_down_the_kernel_is_asked() {
    for world in worlds() {
        let mut table = world.routed_host();
        table.learn(Fact::Neighbour(key(world.gateway()), answering()));
        table.learn(Fact::Link(Link { carrier: false, ..link(LAN, "lan0") }));
        assert_eq!(table.snapshot().routes, world.default_way(None));
        assert_eq!(table.needs(), BTreeMap::new());
    }
}

#[test]
fn where_routes_depend_on_more_than_the_destination_nothing_is_said() {
    for world in worlds() {
        let known = || {
            let mut table = world.routed_host();
            table.learn(Fact::Neighbour(key(world.gateway()), answering()));
            table
        };
        let mut policy = known();
        policy.set_table_routes(world.0, None);
        let mut vrf = known();
        vrf.learn(Fact::Link(Link { kind: Some("vrf".to_owned()), ethernet: false, ..link(9, "red") }));
        let mut deaf = known();
        assert!(deaf.learn(Fact::Forwarding(WAN, world.0, false)));
        assert!(!deaf.learn(Fact::Forwarding(WAN, world.0, false)), "no news");
        for table in [&policy, &vrf, &deaf] {
            assert_eq!(table.snapshot().routes, PerFamily::default());
            assert_eq!(table.needs(), BTreeMap::new());
        }
        // An interface that is not up receives nothing that it could refuse to forward.
        let unused = Link { up: false, forwards: PerFamily::default(), ..link(WAN, "wan0") };
        deaf.learn(Fact::Link(unused));
        assert_eq!(deaf.snapshot().routes, world.default_way(Some(next_hop(1500))));
        assert!(!policy.follows_routes(world.0) && vrf.follows_routes(world.0));
    }
}

#[test]
fn a_family_that_is_not_forwarded_does_not_concern_the_other() {
    let [v4, v6] = worlds();
    let mut table = v4.routed_host();
    table.set_table_routes(v6.0, Some(&[v6.default_route(None)]));
    table.learn(Fact::Forwarding(WAN, Family::V6, false));
    assert_eq!(table.snapshot().routes, v4.default_way(None));
}
