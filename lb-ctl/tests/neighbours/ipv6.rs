//! What IPv6 does in its own way: neighbour discovery, link-local gateways, routes without scope.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use lb_ctl::neighbours::{Neighbours, NextHop, RouteWay, Snapshot, Why};

use super::{
    GATEWAY_MAC, Lab, MEMBER as MEMBER4, MEMBER_MAC, NEW_ADDRESS, NEW_MEMBER_MAC, OUR_LAN_MAC, SECOND,
    ifindex, ip, resolved, set_sysctl, track, until, until_hop,
};

const MEMBER: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x11));
const ABSENT: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x99));
const ROUTED: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd88, 0, 0, 0, 0, 0, 0, 5));
const PATIENCE: Duration = Duration::from_secs(3);

#[test]
fn a_member_on_the_link_is_resolved_by_asking_the_kernel() {
    Lab::new().run(async |_, neighbours| {
        let found = resolved(neighbours, MEMBER, PATIENCE).await;
        let expected = NextHop {
            ifindex: ifindex(neighbours, "lan0"),
            source_mac: OUR_LAN_MAC,
            destination_mac: MEMBER_MAC,
            mtu: 1500,
        };
        assert_eq!(found, expected);
        track(neighbours, &[MEMBER, MEMBER4]).await;
        assert_eq!(until_hop(neighbours, MEMBER4, PATIENCE, |_| true).await, expected);
        assert_eq!(neighbours.snapshot().next_hops[&MEMBER], Ok(expected));
    });
}

#[test]
fn a_new_mac_address_of_a_member_is_noticed_within_a_second() {
    Lab::new().run(async |lab, neighbours| {
        resolved(neighbours, MEMBER, PATIENCE).await;
        set_sysctl(&lab.member, "ipv6/conf/eth0/ndisc_notify", "1");
        ip(&lab.member, &format!("link set eth0 address {NEW_ADDRESS}"));
        let changed = |hop: &NextHop| hop.destination_mac == NEW_MEMBER_MAC;
        until_hop(neighbours, MEMBER, SECOND, changed).await;
    });
}

#[test]
fn a_member_that_does_not_answer_is_asked_again_until_it_does() {
    Lab::new().run(async |lab, neighbours| {
        let snapshot = track(neighbours, &[ABSENT]).await;
        let why = Why::NoNeighbour { ifindex: ifindex(neighbours, "lan0"), address: ABSENT };
        assert_eq!(snapshot.next_hops[&ABSENT], Err(why));
        assert_eq!(snapshot.describe(why), "fd77::99 does not answer neighbour discovery on lan0");
        tokio::time::sleep(4 * SECOND).await;
        assert_eq!(neighbours.snapshot().next_hops[&ABSENT], Err(why));
        ip(&lab.member, &format!("addr add {ABSENT}/64 dev eth0"));
        until_hop(neighbours, ABSENT, 10 * SECOND, |_| true).await;
    });
}

#[test]
fn a_flushed_neighbour_is_found_again() {
    Lab::new().run(async |lab, neighbours| {
        resolved(neighbours, MEMBER, PATIENCE).await;
        ip(&lab.balancer, "-6 neigh flush all");
        until_hop(neighbours, MEMBER, PATIENCE, |_| true).await;
    });
}

#[test]
fn a_route_that_moves_to_a_link_local_gateway_is_followed() {
    Lab::new().run(async |lab, neighbours| {
        ip(&lab.balancer, "route add fd88::/32 via fd77::11");
        let found = resolved(neighbours, ROUTED, PATIENCE).await;
        assert_eq!(found.destination_mac, MEMBER_MAC);
        ip(lab.gateway(), "addr add fe80::1/64 dev eth0");
        ip(&lab.balancer, "route add fd88::/64 via fe80::1 dev wan0 mtu 1400");
        let wan0 = ifindex(neighbours, "wan0");
        let moved = until_hop(neighbours, ROUTED, 2 * SECOND, |hop| hop.ifindex == wan0).await;
        assert_eq!((moved.destination_mac, moved.mtu), (GATEWAY_MAC, 1400));
        ip(&lab.balancer, "route del fd88::/64");
        ip(&lab.balancer, "route replace unreachable fd88::/32");
        let lost = |snapshot: &Snapshot| snapshot.next_hops[&ROUTED] == Err(Why::NoRoute);
        until(neighbours, 2 * SECOND, lost).await;
    });
}

#[test]
fn an_ipv4_route_through_an_ipv6_gateway_is_followed() {
    Lab::new().run(async |lab, neighbours| {
        ip(&lab.balancer, "route add 10.88.0.0/16 via inet6 2001:db8::1 dev wan0");
        let found = resolved(neighbours, super::ROUTED, PATIENCE).await;
        assert_eq!(found.destination_mac, GATEWAY_MAC);
    });
}

#[test]
fn the_hosts_own_addresses_are_followed_link_local_ones_included() {
    Lab::new().run(async |lab, neighbours| {
        let own: IpAddr = "2001:db8:1::10".parse().unwrap();
        let link_local: IpAddr = "fe80::77:ff:fe00:2".parse().unwrap();
        let snapshot = neighbours.snapshot();
        assert!(snapshot.is_own(link_local), "{:#?}", snapshot.addresses);
        let known = |snapshot: &Snapshot| {
            let mut networks = snapshot.on_link();
            snapshot.is_own(own) && networks.any(|route| route.prefix.contains(own))
        };
        assert!(!known(&snapshot));
        track(neighbours, &[own]).await;
        ip(&lab.balancer, &format!("addr add {own}/64 dev wan0"));
        until(neighbours, SECOND, known).await;
        let local = |snapshot: &Snapshot| snapshot.next_hops[&own] == Err(Why::LocalAddress);
        until(neighbours, SECOND, local).await;
        ip(&lab.balancer, &format!("addr del {own}/64 dev wan0"));
        until(neighbours, SECOND, |snapshot| !known(snapshot)).await;
    });
}

#[test]
fn interfaces_and_routes_of_a_host_that_has_ipv6_alone() {
    Lab::new().run(async |lab, neighbours| {
        for link in ["lan0", "wan0"] {
            ip(&lab.balancer, &format!("-4 addr flush dev {link}"));
        }
        let [lan0, wan0] = ["lan0", "wan0"].map(|name| ifindex(neighbours, name));
        let frontend = "2001:db8:ffff::10".parse().unwrap();
        track(neighbours, &[MEMBER]).await;
        let toward = |snapshot: &Snapshot| snapshot.interfaces_toward(&[frontend].into(), &[MEMBER].into());
        assert_eq!(toward(&neighbours.snapshot()), [lan0].into());
        ip(&lab.balancer, "-6 route add default via 2001:db8::1");
        let both = BTreeSet::from([lan0, wan0]);
        until(neighbours, SECOND, |snapshot| toward(snapshot) == both).await;
    });
}

#[test]
fn a_default_route_is_compiled_once_the_host_forwards_and_as_long_as_it_is_certain() {
    Lab::new().run(async |lab, neighbours| {
        ip(lab.gateway(), "addr add fe80::1/64 dev eth0");
        ip(&lab.balancer, "link set lo up");
        ip(&lab.balancer, "-6 route add default via fe80::1 dev wan0");
        let default = |snapshot: &Snapshot| {
            let hop = |way: &RouteWay| way.hop.map(|hop| hop.destination_mac);
            snapshot.routes.v6.last().and_then(hop)
        };
        assert_eq!(default(&neighbours.snapshot()), None);
        set_sysctl(&lab.balancer, "ipv6/conf/all/forwarding", "1");
        let known = |snapshot: &Snapshot| default(snapshot) == Some(GATEWAY_MAC);
        until(neighbours, PATIENCE, known).await;
        let unsure: [[&str; 2]; 4] = [
            ["-6 rule add from 2001:db8:5::/48 lookup 100", "-6 rule del from 2001:db8:5::/48 lookup 100"],
            [
                "-6 route add default from 2001:db8:5::/48 via fd77::11",
                "-6 route del default from 2001:db8:5::/48 via fd77::11",
            ],
            ["-6 route append default via fd77::11", "-6 route del default via fd77::11"],
            [
                "-6 route change default via fe80::1 dev wan0 expires 600",
                "-6 route replace default via fe80::1 dev wan0",
            ],
        ];
        for [begin, end] in unsure {
            ip(&lab.balancer, begin);
            until(neighbours, PATIENCE, |snapshot| default(snapshot).is_none()).await;
            ip(&lab.balancer, end);
            until(neighbours, PATIENCE, known).await;
        }
        assert_others_are_the_kernels(neighbours);
    });
}

/// Connected networks, groups and the host's own addresses.
fn assert_others_are_the_kernels(neighbours: &Neighbours) {
    let snapshot = neighbours.snapshot();
    for address in ["2001:db8::7", "fd77::11", "fe80::5", "ff02::1", "::1"] {
        let address = address.parse().unwrap();
        let way = snapshot.routes.v6.iter().find(|way| way.prefix.contains(address));
        assert_eq!(way.unwrap().hop, None, "{address}");
    }
}
