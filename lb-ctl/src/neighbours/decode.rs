//! From rtnetlink messages to facts. No input or output.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "rtnetlink's enumerations are open and long, and few of their values concern us"
)]

mod forwarding;
mod tables;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use rtnetlink::packet_core::NlasIterator;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteScope, RouteType, RouteVia,
};
use rtnetlink::packet_route::{AddressFamily, route::RouteHeader};

pub(super) use forwarding::{RTM_DELNETCONF, RTM_NEWNETCONF, forwarding};
pub(super) use tables::{are_default_rules, table_route, table_route_family};

use super::table::{
    Fact, Family, InterfaceAddress, InterfaceRoute, Link, Mac, Neighbour, NeighbourKey, PerFamily, Prefix,
    Route,
};

/// What a message tells about links, addresses or neighbours; `None` if it is about
/// something else.
pub(super) fn fact(message: &RouteNetlinkMessage) -> Option<Fact> {
    match message {
        RouteNetlinkMessage::NewLink(message) => link(message).map(Fact::Link),
        RouteNetlinkMessage::DelLink(message) => {
            is_whole_link(message).then_some(Fact::LinkGone(message.header.index))
        }
        RouteNetlinkMessage::NewAddress(message) => interface_address(message).map(Fact::Address),
        RouteNetlinkMessage::DelAddress(message) => interface_address(message).map(Fact::AddressGone),
        RouteNetlinkMessage::NewNeighbour(message) => {
            neighbour_key(message).map(|key| Fact::Neighbour(key, neighbour(message)))
        }
        RouteNetlinkMessage::DelNeighbour(message) => neighbour_key(message).map(Fact::NeighbourGone),
        _ => None,
    }
}

/// The answer to a route look-up.
pub(super) fn route(message: &RouteMessage) -> Route {
    match message.header.kind {
        RouteType::Unicast => unicast(message),
        RouteType::Local => Route::Local,
        RouteType::Broadcast | RouteType::Multicast | RouteType::Anycast => Route::NotUnicast,
        // Unreachable and its like; usually the kernel says so with an error.
        _ => Route::Unreachable,
    }
}

/// The interfaces of a connected or default route, and of no other.
pub(super) fn interface_routes(message: &RouteMessage) -> Vec<InterfaceRoute> {
    let header = &message.header;
    let Some(prefix) = prefix(message).filter(|_| header.kind == RouteType::Unicast) else {
        return Vec::new();
    };
    let wanted = |attributes: &[RouteAttribute]| {
        prefix.length == 0 || !attributes.iter().any(|attribute| gateway(attribute).is_some())
    };
    let attributes = message.attributes.iter();
    let interfaces = attributes.flat_map(|attribute| match attribute {
        RouteAttribute::Oif(ifindex) if wanted(&message.attributes) => vec![*ifindex],
        RouteAttribute::MultiPath(hops) => {
            let hops = hops.iter().filter(|hop| wanted(&hop.attributes));
            hops.map(|hop| hop.interface_index).collect()
        }
        _ => Vec::new(),
    });
    interfaces.map(|ifindex| InterfaceRoute { ifindex, prefix }).collect()
}

/// True if [`interface_routes`] could say something about a route message that starts with these
/// bytes (`struct rtmsg`). Spares the decoding of a hundred thousand others.
pub(super) fn may_be_interface_route(rtmsg: &[u8]) -> bool {
    let Ok(header) = RouteHeader::parse(rtmsg) else { return false };
    match family(header.address_family) {
        _ if header.destination_prefix_length == 0 => true,
        Some(Family::V4) => header.scope == RouteScope::Link,
        // IPv6 routes have no scope.
        Some(Family::V6) => !names_gateway(rtmsg),
        None => false,
    }
}

fn names_gateway(rtmsg: &[u8]) -> bool {
    /// Of `struct rtmsg`.
    const HEADER: usize = 12;
    let mut attributes = NlasIterator::new(rtmsg.get(HEADER..).unwrap_or_default());
    attributes.any(|attribute| attribute.is_ok_and(|attribute| attribute.kind() == libc::RTA_GATEWAY))
}

fn unicast(message: &RouteMessage) -> Route {
    let mut ifindex = 0;
    let (mut via, mut mtu, mut kernel_only) = (None, None, false);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => ifindex = *index,
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => {
                via = gateway(attribute);
                kernel_only |= via.is_none();
            }
            // `ip route ... encap`
            RouteAttribute::EncapType(_) => kernel_only = true,
            RouteAttribute::Metrics(metrics) => mtu = metrics.iter().find_map(metric_mtu),
            _ => {}
        }
    }
    if kernel_only {
        return Route::KernelOnly { ifindex };
    }
    Route::Unicast { ifindex, gateway: via, mtu }
}

fn metric_mtu(metric: &RouteMetric) -> Option<u32> {
    match metric {
        RouteMetric::Mtu(mtu) if *mtu > 0 => Some(*mtu),
        _ => None,
    }
}

/// Of either family: an IPv4 route may lead through an IPv6 gateway (RFC 5549).
fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some((*address).into()),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
        _ => None,
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

/// Default routes come without a destination.
fn prefix(message: &RouteMessage) -> Option<Prefix> {
    let family = family(message.header.address_family)?;
    let mut attributes = message.attributes.iter();
    let destination = attributes.find_map(|attribute| match attribute {
        RouteAttribute::Destination(address) => ip(address),
        _ => None,
    });
    Some(Prefix {
        address: destination.unwrap_or(family.unspecified()),
        length: message.header.destination_prefix_length,
    })
}

fn family(family: AddressFamily) -> Option<Family> {
    match family {
        AddressFamily::Inet => Some(Family::V4),
        AddressFamily::Inet6 => Some(Family::V6),
        _ => None,
    }
}

/// Ports of a bridge are announced a second time with family `AF_BRIDGE`: a port that leaves its
/// bridge is no link that is gone.
fn is_whole_link(message: &LinkMessage) -> bool {
    message.header.interface_family == AddressFamily::Unspec
}

/// `None` for announcements that carry a part only (wireless events have neither MTU nor state).
fn link(message: &LinkMessage) -> Option<Link> {
    if !is_whole_link(message) {
        return None;
    }
    let (mut name, mut mtu, mut mac, mut kind, mut forwards) = (None, None, None, None, PerFamily::default());
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(value) => name = Some(value.clone()),
            LinkAttribute::Mtu(value) => mtu = Some(*value),
            LinkAttribute::Address(bytes) => mac = ethernet_address(bytes),
            LinkAttribute::AfSpecUnspec(families) => forwards = forwarding_of(families),
            LinkAttribute::LinkInfo(info) => kind = info.iter().find_map(link_kind),
            _ => {}
        }
    }
    let flags = message.header.flags;
    Some(Link {
        ifindex: message.header.index,
        name: name?,
        kind,
        mac,
        mtu: mtu?,
        ethernet: message.header.link_layer_type == LinkLayerType::Ether,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        forwards,
    })
}

fn forwarding_of(families: &[AfSpecUnspec]) -> PerFamily<bool> {
    let mut forwards = PerFamily::default();
    for family in families {
        match family {
            AfSpecUnspec::Inet(settings) => {
                forwards.v4 =
                    settings.iter().any(|it| matches!(it, AfSpecInet::DevConf(conf) if conf.forwarding != 0));
            }
            AfSpecUnspec::Inet6(settings) => {
                forwards.v6 = settings
                    .iter()
                    .any(|it| matches!(it, AfSpecInet6::DevConf(conf) if conf.forwarding != 0));
            }
            _ => {}
        }
    }
    forwards
}

fn link_kind(info: &LinkInfo) -> Option<String> {
    match info {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    }
}

fn interface_address(message: &AddressMessage) -> Option<InterfaceAddress> {
    let (mut local, mut peer) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => peer = Some(*address),
            _ => {}
        }
    }
    // The same two values, except on a point-to-point link: there the prefix is the peer's.
    let address = local.or(peer)?;
    Some(InterfaceAddress {
        ifindex: message.header.index,
        address,
        prefix: Prefix { address: peer.unwrap_or(address), length: message.header.prefix_len },
    })
}

fn neighbour_key(message: &NeighbourMessage) -> Option<NeighbourKey> {
    let proxy = message.header.flags.contains(NeighbourFlags::Proxy);
    if proxy {
        return None;
    }
    let mut attributes = message.attributes.iter();
    let address = attributes.find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })?;
    Some(NeighbourKey { ifindex: message.header.ifindex, address })
}

fn neighbour(message: &NeighbourMessage) -> Neighbour {
    let mut mac = None;
    let mut managed = false;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = ethernet_address(bytes),
            NeighbourAttribute::ExtFlags(flags) => {
                managed = flags.contains(NeighbourExtFlags::Managed);
            }
            _ => {}
        }
    }
    let state = message.header.state;
    let fixed = matches!(state, NeighbourState::Permanent | NeighbourState::Noarp);
    let learned = message.header.flags.contains(NeighbourFlags::ExtLearned);
    Neighbour { mac: mac.filter(|_| is_usable(state)), ours_to_refresh: !(fixed || learned || managed) }
}

/// The states in which the kernel itself sends to the address (`NUD_VALID`).
fn is_usable(state: NeighbourState) -> bool {
    matches!(
        state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
            | NeighbourState::Noarp
    )
}

fn ethernet_address(bytes: &[u8]) -> Option<Mac> {
    bytes.try_into().ok().filter(|mac| *mac != [0; 6])
}
