//! A packet's way, on one page.

use crate::abi::{AddressFlags, Member, Owner, Reverse, Root, Rule};
use crate::classify::{self, Way};
use crate::nat::{self, Rewrite};
use crate::outcome::{Account, Direction, NextHop, Outcome};
use crate::parse::{self, Headers};
use crate::reason::Reason;
use crate::tables::{Route, RouteQuery, Tables};
use crate::window::Window;
use crate::{choose, reply};

/// Decides what becomes of a frame that has just come in, and rewrites it if it is to go on.
/// `jiffies` is the kernel's own count (`bpf_jiffies64`).
#[inline(always)]
pub fn ingress<F: Window, T: Tables>(frame: &mut F, tables: &T, jiffies: u64) -> Outcome {
    match decide(frame, tables, jiffies) {
        Ok(outcome) => outcome,
        Err(reason) => reason.into(),
    }
}

#[inline(always)]
fn decide<F: Window, T: Tables>(frame: &mut F, tables: &T, jiffies: u64) -> Result<Outcome, Reason> {
    let ip = parse::ipv4(frame)?;
    let root = tables.root().filter(|root| root.abi_version != 0).ok_or(Reason::NotConfigured)?;
    match classify::way(frame, &ip, root, tables)? {
        Way::Inbound(headers, rule) => inbound(frame, &headers, rule, root, tables, jiffies),
        Way::Reply(headers, owner, reverse) => {
            outbound(frame, &headers, owner, reverse, root, tables, jiffies)
        }
        Way::Direct(headers, reverse) => {
            reply::direct(&{ headers }, reverse, root, tables, jiffies);
            Err(Reason::Direct)
        }
    }
}

/// Client to member.
#[inline(always)]
fn inbound<F: Window, T: Tables>(
    frame: &mut F,
    headers: &Headers,
    rule: &Rule,
    root: &Root,
    tables: &T,
    jiffies: u64,
) -> Result<Outcome, Reason> {
    if rule.access != crate::abi::access::OPEN && !tables.allowed(rule.access, headers.ip.source) {
        return Err(Reason::AccessDenied);
    }
    if headers.ip.ttl <= 1 {
        return Err(Reason::TtlExpired);
    }
    let choice = choose::target(headers, rule, root, tables, jiffies)?;
    let member = tables
        .member(choice.target.member)
        .filter(|member| member.present != 0)
        .ok_or(Reason::MemberUnknown)?;
    let hop = to_member(headers, member, tables)?;
    let rewrite = nat::to_member(headers, member.address, choice.target.port, hop.is_some());
    let opened = if choice.opens { choice.target.member.0 } else { 0 };
    let account = Account { stats: rule.stats, direction: Direction::Inbound { opened } };
    forward(frame, &rewrite, hop, [Reason::ToMember, Reason::ToMemberByKernel], account)
}

/// Member to client.
#[inline(always)]
fn outbound<F: Window, T: Tables>(
    frame: &mut F,
    headers: &Headers,
    owner: &Owner,
    reverse: &Reverse,
    root: &Root,
    tables: &T,
    jiffies: u64,
) -> Result<Outcome, Reason> {
    reply::rewrites(headers, owner, reverse, root, tables, jiffies)?;
    if headers.ip.ttl <= 1 {
        return Err(Reason::ReplyTtlExpired);
    }
    let query = RouteQuery {
        source: reverse.address,
        destination: headers.ip.destination,
        length: headers.ip.total_length,
        protocol: headers.ip.protocol,
    };
    let hop = match tables.route(&query) {
        Route::Hop(hop) => Some(hop),
        Route::Kernel if tables.address(reverse.address).has(AddressFlags::OWN) => {
            return Err(Reason::MartianReply);
        }
        Route::Kernel => None,
        Route::Unreachable => return Err(Reason::NoRoute),
    };
    let rewrite = nat::to_client(headers, reverse.address, reverse.port, hop.is_some());
    let account = Account { stats: reverse.stats, direction: Direction::Reply };
    forward(frame, &rewrite, hop, [Reason::ReplyToClient, Reason::ReplyByKernel], account)
}

/// The stored next hop of a member, else the kernel's; `Ok(None)` leaves the packet to the kernel.
#[inline(always)]
fn to_member<T: Tables>(headers: &Headers, member: &Member, tables: &T) -> Result<Option<NextHop>, Reason> {
    if member.ifindex != 0 && u32::from(headers.ip.total_length) <= member.mtu {
        return Ok(Some(NextHop {
            ifindex: member.ifindex,
            destination: member.destination,
            source: member.source,
        }));
    }
    let query = RouteQuery {
        source: headers.ip.source,
        destination: member.address,
        length: headers.ip.total_length,
        protocol: headers.ip.protocol,
    };
    match tables.route(&query) {
        Route::Hop(hop) => Ok(Some(hop)),
        Route::Kernel => Ok(None),
        Route::Unreachable => Err(Reason::NoRoute),
    }
}

/// Writes the packet's new headers, and sends it by the next hop if there is one, which is the
/// first of the reasons; the kernel does else.
#[inline(always)]
fn forward<F: Window>(
    frame: &mut F,
    rewrite: &Rewrite,
    hop: Option<NextHop>,
    [by_us, by_kernel]: [Reason; 2],
    account: Account,
) -> Result<Outcome, Reason> {
    rewrite.apply(frame).ok_or(Reason::BadLength)?;
    let Some(hop) = hop else {
        return Ok(Outcome { reason: by_kernel, account: Some(account), egress: 0 });
    };
    nat::send_by(frame, &hop).ok_or(Reason::BadLength)?;
    Ok(Outcome { reason: by_us, account: Some(account), egress: hop.ifindex })
}
