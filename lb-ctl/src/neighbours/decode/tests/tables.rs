//! Routes of the tables that matter, policy rules, forwarding.

use rtnetlink::packet_route::route::{RouteCacheInfo, RouteFlags, RouteLwEnCapType, RoutePreference};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};

use super::*;
use crate::neighbours::routes::{Gateway, TableKind, TableRoute};

fn default_route(attributes: Vec<RouteAttribute>) -> RouteMessage {
    let mut message = route_message(RouteType::Unicast, attributes);
    message.header.table = libc::RT_TABLE_MAIN;
    message
}

fn plain() -> Vec<RouteAttribute> {
    vec![
        RouteAttribute::Table(254),
        RouteAttribute::Oif(3),
        RouteAttribute::Gateway(RouteAddress::Inet(GATEWAY)),
        RouteAttribute::PrefSource(RouteAddress::Inet(MEMBER)),
        RouteAttribute::Priority(100),
    ]
}

/// `struct rta_cacheinfo`; 0 is never.
fn expires_in(ticks: u32) -> RouteAttribute {
    let words = [0, 0, ticks, 0, 0, 0, 0, 0].map(u32::to_ne_bytes);
    RouteAttribute::CacheInfo(RouteCacheInfo::parse(words.as_flattened()).unwrap())
}

fn decoded(message: &RouteMessage) -> Option<TableRoute> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    let route = table_route(message);
    assert_eq!(table_route_family(&bytes).is_some(), route.is_some());
    route
}

#[test]
fn a_plain_default_route_has_a_gateway_and_a_metric() {
    let expected = TableRoute {
        prefix: Prefix { address: Ipv4Addr::UNSPECIFIED.into(), length: 0 },
        table: TableKind::Main,
        metric: 100,
        way: Some(Gateway { ifindex: 3, address: GATEWAY.into(), mtu: None }),
    };
    assert_eq!(decoded(&default_route(plain())), Some(expected));
    let mut limited = default_route(plain());
    limited.attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(1400)]));
    let way = decoded(&limited).unwrap().way.unwrap();
    assert_eq!(way.mtu, Some(1400));
}

#[test]
fn whatever_else_is_said_of_a_route_leaves_it_to_the_kernel() {
    let with = |attribute| default_route([plain(), vec![attribute]].concat());
    let flagged = |flag| {
        let mut message = default_route(plain());
        message.header.flags = flag;
        message
    };
    let mut for_a_service = default_route(plain());
    for_a_service.header.tos = 16;
    let mut local = default_route(plain());
    local.header.kind = RouteType::Local;
    let mut for_some_sources = default_route(plain());
    for_some_sources.header.source_prefix_length = 48;
    let without_gateway = default_route(vec![RouteAttribute::Oif(3)]);
    let routes = [
        with(RouteAttribute::EncapType(RouteLwEnCapType::Mpls)),
        with(RouteAttribute::NhId(7)),
        with(RouteAttribute::MultiPath(vec![RouteNextHop::default(); 2])),
        default_route(vec![RouteAttribute::Oif(3), RouteAttribute::Via(RouteVia::Packet(MAC.to_vec()))]),
        flagged(RouteFlags::Dead),
        flagged(RouteFlags::Linkdown),
        for_a_service,
        for_some_sources,
        with(expires_in(1800)),
        local,
        without_gateway,
    ];
    for message in routes {
        assert_eq!(decoded(&message).unwrap().way, None, "{message:?}");
    }
    let plain_ones = [
        flagged(RouteFlags::Onlink),
        with(expires_in(0)),
        with(RouteAttribute::Preference(RoutePreference::High)),
    ];
    for message in plain_ones {
        assert!(decoded(&message).unwrap().way.is_some(), "{message:?}");
    }
}

#[test]
fn a_route_for_some_sources_is_before_all_others() {
    let mut message = default_route(plain());
    assert_eq!(decoded(&message).unwrap().metric, 100);
    message.header.source_prefix_length = 48;
    assert_eq!(decoded(&message).unwrap().metric, 0);
}

#[test]
fn a_default_route_of_ipv6_has_a_router() {
    let mut message = default_route(vec![RouteAttribute::Oif(3), RouteAttribute::Gateway(ROUTER.into())]);
    message.header.address_family = AddressFamily::Inet6;
    let expected = TableRoute {
        prefix: Prefix { address: Ipv6Addr::UNSPECIFIED.into(), length: 0 },
        table: TableKind::Main,
        metric: 0,
        way: Some(Gateway { ifindex: 3, address: ROUTER.into(), mtu: None }),
    };
    assert_eq!(decoded(&message), Some(expected));
}

#[test]
fn other_tables_and_learned_paths_are_not_looked_at() {
    let mut other = default_route(plain());
    other.header.table = 100;
    let mut learned = default_route(plain());
    learned.header.flags = RouteFlags::Cloned;
    for message in [other, learned] {
        assert_eq!(decoded(&message), None, "{message:?}");
    }
    let mut local = default_route(vec![RouteAttribute::Oif(3)]);
    local.header.table = libc::RT_TABLE_LOCAL;
    assert_eq!(decoded(&local).unwrap().table, TableKind::Local);
}

fn rule(priority: u32, table: u8) -> RuleMessage {
    let mut rule = RuleMessage::default();
    rule.header.table = table;
    rule.header.action = RuleAction::ToTable;
    rule.attributes = vec![
        RuleAttribute::Table(table.into()),
        RuleAttribute::SuppressPrefixLen(u32::MAX),
        RuleAttribute::Priority(priority),
    ];
    rule
}

/// The kernel leaves a priority of 0 out.
fn rules() -> Vec<RuleMessage> {
    let mut local = rule(0, 255);
    local.attributes.pop();
    vec![local, rule(32_766, 254), rule(32_767, 253)]
}

#[test]
fn the_kernels_own_rules_are_known() {
    assert!(are_default_rules(Family::V4, &rules()));
    assert!(are_default_rules(Family::V6, &rules()[..2]));
    assert!(!are_default_rules(Family::V6, &rules()), "IPv6 has no table default");
}

#[test]
fn any_other_rules_are_somebodys_policy() {
    let changed = |change: fn(&mut Vec<RuleMessage>)| {
        let mut rules = rules();
        change(&mut rules);
        rules
    };
    let policies = [
        Vec::new(),
        changed(|rules| drop(rules.pop())),
        changed(|rules| rules.push(rule(100, 100))),
        changed(|rules| rules[1] = rule(32_766, 100)),
        changed(|rules| rules[1] = rule(5, 254)),
        changed(|rules| rules[1].header.src_len = 8),
        changed(|rules| rules[1].header.dst_len = 8),
        changed(|rules| rules[1].header.tos = 4),
        changed(|rules| rules[1].header.action = RuleAction::Blackhole),
        changed(|rules| rules[1].header.flags = RuleFlags::Invert),
        changed(|rules| rules[1].attributes.push(RuleAttribute::FwMark(1))),
        changed(|rules| rules[1].attributes.push(RuleAttribute::Iifname("eth0".to_owned()))),
        changed(|rules| rules[1].attributes[1] = RuleAttribute::SuppressPrefixLen(0)),
    ];
    for rules in policies {
        assert!(!are_default_rules(Family::V4, &rules), "{rules:?}");
    }
}

/// `struct netconfmsg` and attributes, as the kernel announces a change of one interface.
fn netconf(family: u8, attributes: &[(u16, i32)]) -> Vec<u8> {
    let mut bytes = vec![family, 0, 0, 0];
    for (kind, value) in attributes {
        bytes.extend(8_u16.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value.to_ne_bytes());
    }
    bytes
}

#[test]
fn forwarding_is_announced_by_interface() {
    let inet = 2;
    let told = |family, forwards| Some(Fact::Forwarding(3, family, forwards));
    assert_eq!(forwarding(&netconf(inet, &[(1, 3), (2, 1)])), told(Family::V4, true));
    assert_eq!(forwarding(&netconf(inet, &[(1, 3), (2, 0), (3, 1)])), told(Family::V4, false));
    assert_eq!(forwarding(&netconf(10, &[(1, 3), (2, 1)])), told(Family::V6, true));
    assert_eq!(forwarding(&netconf(inet, &[(1, -1), (2, 1)])), None, "all interfaces together");
    assert_eq!(forwarding(&netconf(inet, &[(1, 3), (3, 1)])), None, "another setting");
    assert_eq!(forwarding(&netconf(28, &[(1, 3), (2, 1)])), None, "MPLS");
    assert_eq!(forwarding(&[]), None);
}
