//! The way to an address: by the compiled routes, else by the kernel's.

use crate::abi::{RoutePrefix, RouteTable};
use crate::family::Family;
use crate::outcome::NextHop;
use crate::tables::{Route, RouteQuery, Tables};

/// What the host's routes say.
#[inline(always)]
pub fn route<A: Family, T: Tables<A>>(query: &RouteQuery<A>, tables: &T) -> Route {
    let table = tables.root().and_then(|root| tables.routes(root.routes));
    match table.and_then(|table| longest(table, query.destination)) {
        Some(way) if way.ifindex != 0 && u32::from(query.length) <= way.mtu => {
            Route::Hop(NextHop::new(way.ifindex, way.destination, way.source))
        }
        Some(_) | None => tables.kernel_route(query),
    }
}

/// The longest prefix that holds an address.
#[inline(always)]
fn longest<A: Family>(table: &RouteTable<A>, address: A) -> Option<&RoutePrefix<A>> {
    let prefixes = table.prefixes.iter();
    let mut in_use = (0..table.used).zip(prefixes).map(|(_, prefix)| prefix);
    let found = in_use.find(|prefix| address.is_within(prefix.network, prefix.mask))?;
    table.prefixes.get(found.place as usize)
}
