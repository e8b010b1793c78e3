//! Next hops in real network namespaces: `cargo test -p lb-ctl --features privileged`, as root.
//!
//! The balancer has `lan0` (10.77.0.1/24, `fd77::1/64`) to a member (10.77.0.11, `fd77::11`) and `wan0`
//! (192.0.2.2/24, `2001:db8::2/64`) to a gateway (192.0.2.1, `2001:db8::1`).
//! What the kernel does alike in both families is tried in IPv4 alone, the rest of IPv6 in `ipv6.rs`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends at the first surprise")]

mod ipv6;
mod lab;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_ctl::neighbours::{Mac, Neighbours, NextHop, Snapshot, Why};

use lab::{Lab, ifindex, ip, set_sysctl};

const MEMBER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 11));
const ABSENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 99));
const ROUTED: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 88, 0, 5));
const OUR_LAN_MAC: Mac = [2, 0x77, 0, 0, 0, 1];
const MEMBER_MAC: Mac = [2, 0x77, 0, 0, 0, 0x11];
const NEW_MEMBER_MAC: Mac = [2, 0x77, 0, 0, 0, 0x12];
const GATEWAY_MAC: Mac = [2, 0x77, 0, 0, 0, 0x21];
const MEMBER_ADDRESS: &str = "02:77:00:00:00:11";
const NEW_ADDRESS: &str = "02:77:00:00:00:12";
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_member_on_the_link_is_resolved_by_asking_the_kernel() {
    Lab::new().run(async |_, neighbours| {
        let found = resolved(neighbours, MEMBER, 3 * SECOND).await;
        let expected = NextHop {
            ifindex: ifindex(neighbours, "lan0"),
            source_mac: OUR_LAN_MAC,
            destination_mac: MEMBER_MAC,
            mtu: 1500,
        };
        assert_eq!(found, expected);
    });
}

#[test]
fn a_new_mac_address_of_a_member_is_noticed_within_a_second() {
    Lab::new().run(async |lab, neighbours| {
        resolved(neighbours, MEMBER, 3 * SECOND).await;
        set_sysctl(&lab.member, "ipv4/conf/eth0/arp_notify", "1");
        ip(&lab.member, &format!("link set eth0 address {NEW_ADDRESS}"));
        let changed = |hop: &NextHop| hop.destination_mac == NEW_MEMBER_MAC;
        until_hop(neighbours, MEMBER, SECOND, changed).await;
    });
}

/// Nothing but our XDP program sends to the member, and it does not announce itself: only the
/// regular check (every 30 s) finds out. Then 1 s of waiting, 3 s of unicast probes, one broadcast.
#[test]
fn a_mac_address_that_changes_in_silence_is_noticed_by_the_regular_check() {
    Lab::new().run(async |lab, neighbours| {
        set_sysctl(&lab.balancer, "ipv4/neigh/lan0/delay_first_probe_time", "1");
        resolved(neighbours, MEMBER, 3 * SECOND).await;
        // An entry that was used a moment ago would be checked by the kernel without us.
        let stale = format!("neigh change {MEMBER} lladdr {MEMBER_ADDRESS} dev lan0 nud stale");
        ip(&lab.balancer, &stale);
        ip(&lab.member, &format!("link set eth0 address {NEW_ADDRESS}"));
        let changed = |hop: &NextHop| hop.destination_mac == NEW_MEMBER_MAC;
        until_hop(neighbours, MEMBER, 45 * SECOND, changed).await;
    });
}

#[test]
fn a_member_that_does_not_answer_is_asked_again_until_it_does() {
    Lab::new().run(async |lab, neighbours| {
        let snapshot = track(neighbours, &[ABSENT]).await;
        let ifindex = ifindex(neighbours, "lan0");
        let why = Why::NoNeighbour { ifindex, address: ABSENT };
        assert_eq!(snapshot.next_hops[&ABSENT], Err(why));
        tokio::time::sleep(4 * SECOND).await;
        assert_eq!(neighbours.snapshot().next_hops[&ABSENT], Err(why));
        ip(&lab.member, &format!("addr add {ABSENT}/24 dev eth0"));
        until_hop(neighbours, ABSENT, 10 * SECOND, |_| true).await;
    });
}

#[test]
fn an_entry_that_was_made_permanent_a_moment_ago_stays_permanent() {
    Lab::new().run(async |lab, neighbours| {
        let entry = format!("neigh replace {MEMBER} lladdr {NEW_ADDRESS} dev lan0 nud permanent");
        ip(&lab.balancer, &entry);
        let found = resolved(neighbours, MEMBER, SECOND).await;
        assert_eq!(found.destination_mac, NEW_MEMBER_MAC);
        let shown = ip(&lab.balancer, &format!("neigh show {MEMBER}"));
        assert!(shown.contains("PERMANENT"), "{shown}");
    });
}

#[test]
fn a_route_that_moves_to_another_gateway_is_followed() {
    Lab::new().run(async |lab, neighbours| {
        ip(&lab.balancer, "route add 10.88.0.0/16 via 10.77.0.11");
        let found = resolved(neighbours, ROUTED, 3 * SECOND).await;
        assert_eq!(found.destination_mac, MEMBER_MAC);
        ip(&lab.balancer, "route add 10.88.0.0/24 via 192.0.2.1 mtu 1400");
        let wan0 = ifindex(neighbours, "wan0");
        let moved = until_hop(neighbours, ROUTED, 2 * SECOND, |hop| hop.ifindex == wan0).await;
        assert_eq!((moved.destination_mac, moved.mtu), (GATEWAY_MAC, 1400));
    });
}

#[test]
fn a_policy_rule_is_respected() {
    Lab::new().run(async |lab, neighbours| {
        ip(&lab.balancer, "route add 10.88.0.0/16 via 10.77.0.11");
        ip(&lab.balancer, "route add default via 192.0.2.1 table 100");
        resolved(neighbours, ROUTED, 3 * SECOND).await;
        ip(&lab.balancer, &format!("rule add to {ROUTED} lookup 100"));
        let wan0 = ifindex(neighbours, "wan0");
        until_hop(neighbours, ROUTED, 2 * SECOND, |hop| hop.ifindex == wan0).await;
    });
}

#[test]
fn a_link_that_goes_down_takes_its_members_along_and_brings_them_back() {
    Lab::new().run(async |lab, neighbours| {
        resolved(neighbours, MEMBER, 3 * SECOND).await;
        let ifindex = ifindex(neighbours, "lan0");
        let down = |snapshot: &Snapshot| snapshot.next_hops[&MEMBER] == Err(Why::LinkDown { ifindex });
        for (namespace, device) in [(&lab.member, "eth0"), (&lab.balancer, "lan0")] {
            ip(namespace, &format!("link set {device} down"));
            until(neighbours, SECOND, down).await;
            ip(namespace, &format!("link set {device} up"));
            until_hop(neighbours, MEMBER, 5 * SECOND, |_| true).await;
        }
    });
}

#[test]
fn the_hosts_own_addresses_and_networks_are_followed() {
    Lab::new().run(async |lab, neighbours| {
        let [own, network] = [10, 0].map(|last| IpAddr::from([203, 0, 113, last]));
        let known = |snapshot: &Snapshot| {
            let mut networks = snapshot.on_link();
            snapshot.is_own(own) && networks.any(|route| route.prefix.address == network)
        };
        assert!(!known(&neighbours.snapshot()));
        track(neighbours, &[own]).await;
        ip(&lab.balancer, &format!("addr add {own}/24 dev wan0"));
        let snapshot = until(neighbours, SECOND, known).await;
        let local = |snapshot: &Snapshot| snapshot.next_hops[&own] == Err(Why::LocalAddress);
        until(neighbours, SECOND, local).await;
        let wan0 = ifindex(neighbours, "wan0");
        let toward = snapshot.interfaces_toward(&[own].into(), &BTreeSet::new());
        assert_eq!(toward, [wan0].into());
        ip(&lab.balancer, &format!("addr del {own}/24 dev wan0"));
        until(neighbours, SECOND, |snapshot| !known(snapshot)).await;
    });
}

#[test]
fn frontends_are_reached_through_the_default_route_and_members_through_theirs() {
    Lab::new().run(async |lab, neighbours| {
        let [lan0, wan0] = ["lan0", "wan0"].map(|name| ifindex(neighbours, name));
        let frontend = IpAddr::from([203, 0, 113, 10]);
        track(neighbours, &[MEMBER]).await;
        let toward = |snapshot: &Snapshot| snapshot.interfaces_toward(&[frontend].into(), &[MEMBER].into());
        assert_eq!(toward(&neighbours.snapshot()), [lan0].into());
        ip(&lab.balancer, "route add default via 192.0.2.1");
        let both = BTreeSet::from([lan0, wan0]);
        until(neighbours, SECOND, |snapshot| toward(snapshot) == both).await;
    });
}

#[test]
fn a_storm_of_a_hundred_thousand_routes_costs_few_look_ups() {
    Lab::new().run(async |lab, neighbours| {
        let snapshot = track(neighbours, &[ROUTED]).await;
        assert_eq!(snapshot.next_hops[&ROUTED], Err(Why::NoRoute));
        let before = neighbours.work();
        let started = Instant::now();
        let batch = lab.route_batch(100_000);
        let (balancer, file) = (lab.balancer.clone(), batch.clone());
        let storm = tokio::task::spawn_blocking(move || {
            ip(&balancer, &format!("-batch {file}"));
        });
        storm.await.unwrap();
        let took = started.elapsed();
        let lookups = neighbours.work().route_lookups - before.route_lookups;
        // One member: one look-up for each tenth of a second, and some for full reads.
        let allowed = u64::try_from(took.as_millis() / 100).unwrap() + 10;
        assert!(lookups > 0 && lookups <= allowed, "{lookups} in {took:?}");
        println!("{lookups} look-ups in {took:?}");
        until_last_route(neighbours).await;
    });
}

#[test]
fn announcements_that_were_lost_are_made_good_by_reading_everything() {
    Lab::new().run(async |lab, neighbours| {
        let snapshot = track(neighbours, &[ROUTED]).await;
        assert_eq!(snapshot.next_hops[&ROUTED], Err(Why::NoRoute));
        let batch = lab.route_batch(100_000);
        // The task has the same thread and hears nothing meanwhile; the kernel's buffer overflows.
        ip(&lab.balancer, &format!("-batch {batch}"));
        until_last_route(neighbours).await;
        let work = neighbours.work();
        assert!(work.overflows > 0, "{work:?}");
        assert!(work.full_reads > 1, "{work:?}");
    });
}

/// The batch ends with a route to [`ROUTED`] through the gateway.
async fn until_last_route(neighbours: &Neighbours) {
    let through_gateway = |hop: &NextHop| hop.destination_mac == GATEWAY_MAC;
    until_hop(neighbours, ROUTED, 3 * SECOND, through_gateway).await;
}

async fn track(neighbours: &Neighbours, members: &[IpAddr]) -> Arc<Snapshot> {
    let members = members.iter().copied().collect();
    neighbours.track(members).await.unwrap()
}

async fn resolved(neighbours: &Neighbours, member: IpAddr, patience: Duration) -> NextHop {
    track(neighbours, &[member]).await;
    until_hop(neighbours, member, patience, |_| true).await
}

async fn until_hop(
    neighbours: &Neighbours,
    member: IpAddr,
    patience: Duration,
    wanted: impl Fn(&NextHop) -> bool,
) -> NextHop {
    let good = |snapshot: &Snapshot| snapshot.next_hops[&member].as_ref().is_ok_and(&wanted);
    let snapshot = until(neighbours, patience, good).await;
    snapshot.next_hops[&member].unwrap()
}

async fn until(
    neighbours: &Neighbours,
    patience: Duration,
    wanted: impl Fn(&Snapshot) -> bool,
) -> Arc<Snapshot> {
    let mut snapshots = neighbours.subscribe();
    let seen = snapshots.wait_for(|snapshot| wanted(snapshot));
    if let Ok(seen) = tokio::time::timeout(patience, seen).await {
        return Arc::clone(&seen.unwrap());
    }
    panic!("not within {patience:?}: {:#?}", neighbours.snapshot());
}
