//! From the host's routes to the few prefixes whose way is certain. No input or output.
//!
//! The answer to any address must be the kernel's own. Whatever is not plain (connected networks, whose
//! hosts each have a hardware address, several paths, tunnels, routes that are equally good) is left to it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lb_common::abi::ROUTES;

use super::table::Prefix;

/// A route of one of the two tables that the kernel's own rules ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TableRoute {
    pub(super) prefix: Prefix,
    pub(super) table: TableKind,
    /// Of routes to one prefix the lowest is taken.
    pub(super) metric: u32,
    /// `None` where only the kernel can tell.
    pub(super) way: Option<Gateway>,
}

/// Which table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TableKind {
    /// Addresses of this host, and broadcast addresses.
    Local,
    Main,
}

/// A plain way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gateway {
    pub(super) ifindex: u32,
    pub(super) address: IpAddr,
    /// The route's own limit.
    pub(super) mtu: Option<u32>,
}

/// The way to a prefix, unless a longer one holds the address; `None` leaves it to the kernel.
pub(super) type Way = (Prefix, Option<Gateway>);

/// Prefixes, longest first, that say the same as these routes of one family; none if there would be too many.
pub(super) fn compile(routes: &[TableRoute]) -> Vec<Way> {
    let mut by_prefix = BTreeMap::<(u8, IpAddr), Vec<&TableRoute>>::new();
    for route in routes {
        by_prefix.entry((route.prefix.length, route.prefix.address)).or_default().push(route);
    }
    let mut kept: Vec<Way> = Vec::new();
    for (&(length, address), candidates) in &by_prefix {
        let prefix = Prefix { address, length };
        let way = way(candidates).filter(|_| !is_local(prefix, routes));
        // From the shortest on, so that the last that holds it is the longest.
        let around = kept.iter().rev().find(|(other, _)| other.contains(address));
        if around.and_then(|(_, way)| *way) == way {
            continue;
        }
        if kept.len() == ROUTES {
            return Vec::new();
        }
        kept.push((prefix, way));
    }
    kept.reverse();
    kept
}

/// The way of the best of the routes to one prefix, if there is one best.
fn way(candidates: &[&TableRoute]) -> Option<Gateway> {
    let lowest = candidates.iter().map(|route| route.metric).min()?;
    let mut best = candidates.iter().filter(|route| route.metric == lowest);
    best.next().filter(|_| best.next().is_none())?.way
}

/// Whether the table of local addresses has something to say about the whole prefix. Which of the two
/// tables the kernel asks first depends on whether it ever had a policy rule (`fib_unmerge`).
fn is_local(prefix: Prefix, routes: &[TableRoute]) -> bool {
    let mut local = routes.iter().filter(|route| route.table == TableKind::Local);
    local.any(|route| route.prefix.length <= prefix.length && route.prefix.contains(prefix.address))
}

#[cfg(test)]
mod tests;
