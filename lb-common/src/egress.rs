//! How a rewritten packet leaves.

use crate::abi::{AddressFlags, IcmpState, Member};
use crate::family::Family;
use crate::outcome::NextHop;
use crate::parse::{Ip, TCP, UDP};
use crate::reason::Reason;
use crate::routes;
use crate::tables::{Route, RouteQuery, Tables};

/// The stored next hop of a member, else that of the routes; `Ok(None)` leaves the packet to the kernel.
#[inline(always)]
pub fn to_member<A: Family, T: Tables<A>>(
    ip: &Ip<A>,
    member: &Member<A>,
    tables: &T,
) -> Result<Option<NextHop>, Reason> {
    if member.ifindex != 0 && u32::from(ip.length) <= member.mtu {
        return Ok(Some(NextHop::new(member.ifindex, member.destination, member.source)));
    }
    by_routes(ip, ip.source, member.address, tables)
}

/// The next hop towards a client, for a packet whose source becomes `source`.
#[inline(always)]
pub fn to_client<A: Family, T: Tables<A>>(
    ip: &Ip<A>,
    source: A,
    tables: &T,
) -> Result<Option<NextHop>, Reason> {
    let hop = by_routes(ip, source, ip.destination, tables)?;
    if hop.is_none() && tables.address(source).has(AddressFlags::OWN) {
        return Err(Reason::MartianReply);
    }
    Ok(hop)
}

#[inline(always)]
fn by_routes<A: Family, T: Tables<A>>(
    ip: &Ip<A>,
    source: A,
    destination: A,
    tables: &T,
) -> Result<Option<NextHop>, Reason> {
    let query = RouteQuery { source, destination, length: ip.length, protocol: ip.protocol };
    match routes::route(&query, tables) {
        Route::Hop(hop) => Ok(Some(hop)),
        Route::TooBig(mtu) if to_be_told(ip) => {
            tables.set_icmp(IcmpState { mtu: mtu.into(), ..tables.icmp() });
            Err(Reason::TooBig)
        }
        Route::Kernel | Route::TooBig(_) => Ok(None),
        Route::Unreachable => Err(Reason::NoRoute),
    }
}

/// Whether the sender has to hear that the packet is too big. Of an ICMP error nobody is told
/// (RFC 1122, section 3.2.2).
#[inline(always)]
fn to_be_told<A: Family>(ip: &Ip<A>) -> bool {
    matches!(ip.protocol, TCP | UDP) && A::stays_whole(ip)
}
