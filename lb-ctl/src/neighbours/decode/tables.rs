//! Routes and rules as [`crate::neighbours::routes`] takes them.

use rtnetlink::packet_route::route::{RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteType};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};

use super::{family, gateway, metric_mtu, prefix};
use crate::neighbours::routes::{Gateway, TableKind, TableRoute};
use crate::neighbours::table::Family;

/// `FRA_SUPPRESS_PREFIXLEN` of a rule that suppresses nothing: -1.
const NONE_SUPPRESSED: u32 = u32::MAX;

/// Of a route message that starts with these bytes, if [`table_route`] could say something about it.
pub(in crate::neighbours) fn table_route_family(rtmsg: &[u8]) -> Option<Family> {
    let header = RouteHeader::parse(rtmsg).ok()?;
    table(&header).and(family(header.address_family))
}

fn table(header: &RouteHeader) -> Option<TableKind> {
    // Paths that the kernel has learned, rather than been told.
    if header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    match header.table {
        libc::RT_TABLE_MAIN => Some(TableKind::Main),
        libc::RT_TABLE_LOCAL => Some(TableKind::Local),
        _ => None,
    }
}

/// A route of the tables that matter.
pub(in crate::neighbours) fn table_route(message: &RouteMessage) -> Option<TableRoute> {
    let header = &message.header;
    let metric = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Priority(metric) => Some(*metric),
        _ => None,
    });
    Some(TableRoute {
        prefix: prefix(message)?,
        table: table(header)?,
        // A route for some sources comes before those for all, whatever its metric.
        metric: if header.source_prefix_length == 0 { metric.unwrap_or(0) } else { 0 },
        way: plain_way(message),
    })
}

/// The way of a route through one gateway, about which nothing else is said that could matter.
fn plain_way(message: &RouteMessage) -> Option<Gateway> {
    let header = &message.header;
    let unusable = RouteFlags::Dead | RouteFlags::Linkdown | RouteFlags::Unresolved;
    let conditional = header.tos != 0 || header.source_prefix_length != 0;
    if header.kind != RouteType::Unicast || conditional || header.flags.intersects(unusable) {
        return None;
    }
    let (mut ifindex, mut address, mut mtu) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => ifindex = Some(*index),
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => address = gateway(attribute),
            RouteAttribute::Metrics(metrics) => mtu = metrics.iter().find_map(metric_mtu),
            RouteAttribute::Table(_)
            | RouteAttribute::Destination(_)
            | RouteAttribute::Priority(_)
            | RouteAttribute::PrefSource(_)
            | RouteAttribute::Preference(_) => {}
            // One that a router has announced ends by itself.
            RouteAttribute::CacheInfo(info) if info.expires == 0 => {}
            _ => return None,
        }
    }
    Some(Gateway { ifindex: ifindex?, address: address?, mtu })
}

/// Whether these are the rules that the kernel begins with: table local, then main, then, for IPv4, default.
pub(in crate::neighbours) fn are_default_rules(family: Family, rules: &[RuleMessage]) -> bool {
    const IPV4: [(u32, u8); 3] =
        [(0, libc::RT_TABLE_LOCAL), (32_766, libc::RT_TABLE_MAIN), (32_767, libc::RT_TABLE_DEFAULT)];
    let default = match family {
        Family::V4 => &IPV4[..],
        Family::V6 => &IPV4[..2],
    };
    let plain: Option<Vec<_>> = rules.iter().map(plain_rule).collect();
    plain.is_some_and(|mut rules| {
        rules.sort_unstable();
        rules == default
    })
}

/// Priority and table of a rule for all packets.
fn plain_rule(rule: &RuleMessage) -> Option<(u32, u8)> {
    let header = &rule.header;
    let selects = (header.src_len, header.dst_len, header.tos) != (0, 0, 0);
    if selects || header.action != RuleAction::ToTable || !(header.flags - RuleFlags::Permanent).is_empty() {
        return None;
    }
    let mut priority = 0;
    for attribute in &rule.attributes {
        match attribute {
            RuleAttribute::Priority(value) => priority = *value,
            RuleAttribute::Table(_)
            | RuleAttribute::Protocol(_)
            | RuleAttribute::SuppressPrefixLen(NONE_SUPPRESSED) => {}
            _ => return None,
        }
    }
    Some((priority, header.table))
}
