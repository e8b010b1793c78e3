mod tables;

use std::net::{Ipv4Addr, Ipv6Addr};

use rtnetlink::packet_core::Emitable;
use rtnetlink::packet_route::link::Inet6DevConf;
use rtnetlink::packet_route::link::InetDevConf;
use rtnetlink::packet_route::route::RouteNextHop;

use super::*;

const MAC: Mac = [2, 0, 0, 0, 0, 9];
const MEMBER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 11);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const MEMBER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x11);
/// As routers announce themselves.
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

fn link_message(family: AddressFamily, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.interface_family = family;
    message.header.index = 3;
    message.header.link_layer_type = LinkLayerType::Ether;
    message.header.flags = LinkFlags::Up | LinkFlags::LowerUp;
    message.attributes = attributes;
    message
}

fn eth1() -> Vec<LinkAttribute> {
    vec![
        LinkAttribute::IfName("eth1".to_owned()),
        LinkAttribute::Mtu(1500),
        LinkAttribute::Address(MAC.to_vec()),
    ]
}

fn neighbour_message(state: NeighbourState, flags: NeighbourFlags) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = 3;
    message.header.state = state;
    message.header.flags = flags;
    message.attributes = vec![
        NeighbourAttribute::Destination(NeighbourAddress::Inet(MEMBER)),
        NeighbourAttribute::LinkLayerAddress(MAC.to_vec()),
    ];
    message
}

fn route_message(kind: RouteType, attributes: Vec<RouteAttribute>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.kind = kind;
    message.attributes = attributes;
    message
}

#[test]
fn a_link_is_told_with_its_name_mac_mtu_and_state() {
    let message = link_message(AddressFamily::Unspec, eth1());
    let link = Link {
        ifindex: 3,
        name: "eth1".to_owned(),
        kind: None,
        mac: Some(MAC),
        mtu: 1500,
        ethernet: true,
        up: true,
        carrier: true,
        forwards: PerFamily::default(),
    };
    let told = fact(&RouteNetlinkMessage::NewLink(message));
    assert_eq!(told, Some(Fact::Link(link)));
}

#[test]
fn a_link_tells_which_families_it_forwards() {
    let (mut inet, mut inet6) = (InetDevConf::default(), Inet6DevConf::default());
    for (v4, v6) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        (inet.forwarding, inet6.forwarding) = (v4, v6);
        let families = vec![
            AfSpecUnspec::Inet(vec![AfSpecInet::DevConf(inet)]),
            AfSpecUnspec::Inet6(vec![AfSpecInet6::DevConf(inet6)]),
        ];
        let attributes = [eth1(), vec![LinkAttribute::AfSpecUnspec(families)]].concat();
        let told = link(&link_message(AddressFamily::Unspec, attributes)).unwrap();
        assert_eq!(told.forwards, PerFamily { v4: v4 != 0, v6: v6 != 0 });
    }
}

#[test]
fn an_address_of_ipv6_is_told_without_local_address() {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.index = 3;
    message.header.prefix_len = 64;
    message.attributes = vec![AddressAttribute::Address(ROUTER.into())];
    let prefix = Prefix { address: ROUTER.into(), length: 64 };
    let address = InterfaceAddress { ifindex: 3, address: ROUTER.into(), prefix };
    let told = fact(&RouteNetlinkMessage::DelAddress(message));
    assert_eq!(told, Some(Fact::AddressGone(address)));
}

#[test]
fn a_port_that_leaves_its_bridge_is_no_link_that_is_gone() {
    let message = link_message(AddressFamily::Bridge, eth1());
    assert_eq!(fact(&RouteNetlinkMessage::DelLink(message)), None);
}

#[test]
fn a_wireless_event_with_a_name_alone_does_not_replace_the_link() {
    let name = vec![LinkAttribute::IfName("wlan0".to_owned())];
    let message = link_message(AddressFamily::Unspec, name);
    assert_eq!(fact(&RouteNetlinkMessage::NewLink(message)), None);
}

#[test]
fn of_a_point_to_point_link_the_local_address_is_ours_and_the_prefix_the_peers() {
    let (local, peer) = (Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(10, 9, 0, 2));
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.index = 3;
    message.header.prefix_len = 32;
    message.attributes = vec![AddressAttribute::Address(peer.into()), AddressAttribute::Local(local.into())];
    let address = InterfaceAddress {
        ifindex: 3,
        address: local.into(),
        prefix: Prefix { address: peer.into(), length: 32 },
    };
    let told = fact(&RouteNetlinkMessage::NewAddress(message));
    assert_eq!(told, Some(Fact::Address(address)));
}

#[test]
fn a_neighbour_has_a_mac_address_in_those_states_in_which_the_kernel_sends_to_it() {
    let states = [
        (NeighbourState::Reachable, true),
        (NeighbourState::Stale, true),
        (NeighbourState::Delay, true),
        (NeighbourState::Probe, true),
        (NeighbourState::Permanent, true),
        (NeighbourState::Noarp, true),
        (NeighbourState::None, false),
        (NeighbourState::Incomplete, false),
        (NeighbourState::Failed, false),
    ];
    for (state, usable) in states {
        let entry = neighbour(&neighbour_message(state, NeighbourFlags::empty()));
        assert_eq!(entry.mac, usable.then_some(MAC), "{state}");
    }
}

#[test]
fn entries_that_somebody_else_keeps_are_not_ours_to_refresh() {
    let none = NeighbourFlags::empty();
    let stale = neighbour_message(NeighbourState::Stale, none);
    let permanent = neighbour_message(NeighbourState::Permanent, none);
    let learned = neighbour_message(NeighbourState::Stale, NeighbourFlags::ExtLearned);
    let mut managed = stale.clone();
    let flags = NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed);
    managed.attributes.push(flags);
    assert!(neighbour(&stale).ours_to_refresh);
    for other in [permanent, learned, managed] {
        assert!(!neighbour(&other).ours_to_refresh, "{other:?}");
    }
}

#[test]
fn a_neighbour_of_ipv6_is_known_by_its_address() {
    let mut message = neighbour_message(NeighbourState::Reachable, NeighbourFlags::Router);
    message.header.family = AddressFamily::Inet6;
    message.attributes[0] = NeighbourAttribute::Destination(MEMBER6.into());
    let key = NeighbourKey { ifindex: 3, address: MEMBER6.into() };
    let told = fact(&RouteNetlinkMessage::NewNeighbour(message));
    assert_eq!(told, Some(Fact::Neighbour(key, Neighbour { mac: Some(MAC), ours_to_refresh: true })));
}

#[test]
fn an_entry_of_a_bridge_is_no_neighbour() {
    let mut message = neighbour_message(NeighbourState::Permanent, NeighbourFlags::empty());
    message.header.family = AddressFamily::Bridge;
    message.attributes.remove(0);
    assert_eq!(fact(&RouteNetlinkMessage::NewNeighbour(message)), None);
}

#[test]
fn a_proxy_entry_is_no_neighbour() {
    let message = neighbour_message(NeighbourState::None, NeighbourFlags::Proxy);
    assert_eq!(fact(&RouteNetlinkMessage::NewNeighbour(message)), None);
}

#[test]
fn a_looked_up_route_names_interface_gateway_and_its_own_mtu() {
    let attributes = vec![
        RouteAttribute::Oif(3),
        RouteAttribute::Gateway(RouteAddress::Inet(GATEWAY)),
        RouteAttribute::Metrics(vec![RouteMetric::Mtu(1400)]),
    ];
    let expected = Route::Unicast { ifindex: 3, gateway: Some(GATEWAY.into()), mtu: Some(1400) };
    assert_eq!(route(&route_message(RouteType::Unicast, attributes)), expected);
}

#[test]
fn a_gateway_is_named_by_either_family() {
    let through_router = Route::Unicast { ifindex: 3, gateway: Some(ROUTER.into()), mtu: None };
    for attribute in [RouteAttribute::Gateway(ROUTER.into()), RouteAttribute::Via(RouteVia::Inet6(ROUTER))] {
        let message = route_message(RouteType::Unicast, vec![RouteAttribute::Oif(3), attribute]);
        assert_eq!(route(&message), through_router);
    }
    let hardware = RouteAttribute::Via(RouteVia::Packet(MAC.to_vec()));
    let message = route_message(RouteType::Unicast, vec![RouteAttribute::Oif(3), hardware]);
    assert_eq!(route(&message), Route::KernelOnly { ifindex: 3 });
}

#[test]
fn route_types_other_than_unicast_give_no_way() {
    let answers = [
        (RouteType::Local, Route::Local),
        (RouteType::Broadcast, Route::NotUnicast),
        (RouteType::Multicast, Route::NotUnicast),
        (RouteType::Unreachable, Route::Unreachable),
        (RouteType::BlackHole, Route::Unreachable),
    ];
    for (kind, expected) in answers {
        assert_eq!(route(&route_message(kind, Vec::new())), expected, "{kind:?}");
    }
}

#[test]
fn a_default_route_with_two_paths_leads_through_both_interfaces() {
    let hops = [3, 4].map(|index| {
        let mut hop = RouteNextHop::default();
        hop.interface_index = index;
        hop
    });
    let paths = vec![RouteAttribute::MultiPath(hops.to_vec())];
    let told = interface_routes(&route_message(RouteType::Unicast, paths));
    let prefix = Prefix { address: Ipv4Addr::UNSPECIFIED.into(), length: 0 };
    let expected = [3, 4].map(|ifindex| InterfaceRoute { ifindex, prefix });
    assert_eq!(told, expected);
}

#[test]
fn a_route_through_a_gateway_is_not_worth_decoding() {
    let mut message = route_message(RouteType::Unicast, Vec::new());
    message.header.destination_prefix_length = 24;
    let mut connected = message.clone();
    connected.header.scope = RouteScope::Link;
    // IPv6 routes have no scope.
    let connected6 = route6(120, vec![RouteAttribute::Oif(3)]);
    let routed6 = route6(120, vec![RouteAttribute::Oif(3), RouteAttribute::Gateway(ROUTER.into())]);
    let default6 = route6(0, vec![RouteAttribute::Gateway(ROUTER.into()), RouteAttribute::Oif(3)]);
    let rows = [(message, false), (connected, true), (connected6, true), (routed6, false), (default6, true)];
    for (message, expected) in rows {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        assert_eq!(may_be_interface_route(&bytes), expected, "{message:?}");
    }
    assert!(!may_be_interface_route(&[2, 0]), "truncated");
}

fn route6(length: u8, attributes: Vec<RouteAttribute>) -> RouteMessage {
    let mut message = route_message(RouteType::Unicast, attributes);
    message.header.address_family = AddressFamily::Inet6;
    message.header.destination_prefix_length = length;
    message
}

#[test]
fn connected_routes_of_ipv6_are_those_without_gateway() {
    let network: Ipv6Addr = "2001:db8::".parse().unwrap();
    let to_network = |attributes| {
        interface_routes(&route6(
            64,
            [vec![RouteAttribute::Destination(network.into())], attributes].concat(),
        ))
    };
    let path = |index, attributes| {
        let mut hop = RouteNextHop::default();
        hop.interface_index = index;
        hop.attributes = attributes;
        hop
    };
    let through_router = || RouteAttribute::Gateway(ROUTER.into());
    let paths = vec![path(3, vec![through_router()]), path(4, Vec::new())];
    let expected =
        |ifindex| vec![InterfaceRoute { ifindex, prefix: Prefix { address: network.into(), length: 64 } }];
    assert_eq!(to_network(vec![RouteAttribute::Oif(3)]), expected(3));
    assert_eq!(to_network(vec![RouteAttribute::Oif(3), through_router()]), []);
    assert_eq!(to_network(vec![RouteAttribute::MultiPath(paths)]), expected(4));
    let everywhere = interface_routes(&route6(0, vec![RouteAttribute::Oif(3), through_router()]));
    let prefix = Prefix { address: Ipv6Addr::UNSPECIFIED.into(), length: 0 };
    assert_eq!(everywhere, [InterfaceRoute { ifindex: 3, prefix }]);
}
