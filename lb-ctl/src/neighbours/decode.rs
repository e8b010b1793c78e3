//! From rtnetlink messages to facts. No input or output.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "rtnetlink's enumerations are open and long, and few of their values concern us"
)]

mod forwarding;
mod tables;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr};

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{
    AfSpecInet, AfSpecUnspec, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteScope, RouteType,
};
use rtnetlink::packet_route::{AddressFamily, route::RouteHeader};

pub(super) use forwarding::{RTM_DELNETCONF, RTM_NEWNETCONF, forwarding};
pub(super) use tables::{are_default_rules, may_be_table_route, table_route};

use super::table::{
    Fact, InterfaceAddress, InterfaceRoute, Link, Mac, Neighbour, NeighbourKey, Prefix, Route,
};

/// What a message tells about links, IPv4 addresses or IPv4 neighbours; `None` if it is about
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
    if header.kind != RouteType::Unicast || !is_connected_or_default(header) {
        return Vec::new();
    }
    let prefix = Prefix {
        address: destination(message).unwrap_or(Ipv4Addr::UNSPECIFIED),
        length: header.destination_prefix_length,
    };
    let attributes = message.attributes.iter();
    let interfaces = attributes.flat_map(|attribute| match attribute {
        RouteAttribute::Oif(ifindex) => vec![*ifindex],
        RouteAttribute::MultiPath(hops) => hops.iter().map(|hop| hop.interface_index).collect(),
        _ => Vec::new(),
    });
    interfaces.map(|ifindex| InterfaceRoute { ifindex, prefix }).collect()
}

/// True if [`interface_routes`] could say something about a route message that starts with these
/// bytes (`struct rtmsg`). Spares the decoding of a hundred thousand others.
pub(super) fn may_be_interface_route(rtmsg: &[u8]) -> bool {
    RouteHeader::parse(rtmsg).is_ok_and(|header| is_connected_or_default(&header))
}

fn is_connected_or_default(header: &RouteHeader) -> bool {
    header.destination_prefix_length == 0 || header.scope == RouteScope::Link
}

fn unicast(message: &RouteMessage) -> Route {
    let mut ifindex = 0;
    let (mut gateway, mut mtu, mut kernel_only) = (None, None, false);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => ifindex = *index,
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => gateway = Some(*address),
            // RFC 5549: an IPv6 gateway; or an encapsulation (`ip route ... encap`).
            RouteAttribute::Via(_) | RouteAttribute::EncapType(_) => kernel_only = true,
            RouteAttribute::Metrics(metrics) => mtu = metrics.iter().find_map(metric_mtu),
            _ => {}
        }
    }
    if kernel_only {
        return Route::KernelOnly { ifindex };
    }
    Route::Unicast { ifindex, gateway, mtu }
}

fn metric_mtu(metric: &RouteMetric) -> Option<u32> {
    match metric {
        RouteMetric::Mtu(mtu) if *mtu > 0 => Some(*mtu),
        _ => None,
    }
}

fn destination(message: &RouteMessage) -> Option<Ipv4Addr> {
    let mut attributes = message.attributes.iter();
    attributes.find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
        _ => None,
    })
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
    let (mut name, mut mtu, mut mac, mut kind, mut forwards) = (None, None, None, None, false);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(value) => name = Some(value.clone()),
            LinkAttribute::Mtu(value) => mtu = Some(*value),
            LinkAttribute::Address(bytes) => mac = ethernet_address(bytes),
            LinkAttribute::AfSpecUnspec(families) => forwards = families.iter().any(ipv4_forwards),
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

fn ipv4_forwards(family: &AfSpecUnspec) -> bool {
    let AfSpecUnspec::Inet(settings) = family else { return false };
    settings.iter().any(|settings| matches!(settings, AfSpecInet::DevConf(conf) if conf.forwarding != 0))
}

fn link_kind(info: &LinkInfo) -> Option<String> {
    match info {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    }
}

fn interface_address(message: &AddressMessage) -> Option<InterfaceAddress> {
    if message.header.family != AddressFamily::Inet {
        return None;
    }
    let (mut local, mut peer) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(IpAddr::V4(address)) => local = Some(*address),
            AddressAttribute::Address(IpAddr::V4(address)) => peer = Some(*address),
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
    if message.header.family != AddressFamily::Inet || proxy {
        return None;
    }
    let mut attributes = message.attributes.iter();
    let address = attributes.find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(*address),
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
