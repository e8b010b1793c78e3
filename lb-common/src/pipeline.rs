//! A packet's way, on one page.

use crate::abi::{AddressFlags, Member, Owner, Reverse, Root, Rule, access};
use crate::classify::{self, Way};
use crate::family::{self, Family};
use crate::nat::{self, Rewrite};
use crate::outcome::{Account, Direction, NextHop, Outcome};
use crate::parse::{Headers, TcpFlags};
use crate::reason::Reason;
use crate::tables::{Route, RouteQuery, Tables};
use crate::units::{Addr, Addr6};
use crate::window::Window;
use crate::{choose, reply, routes};

/// A program that goes on where the first one, which forwards plain IPv4 and nothing else, ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Stage {
    /// [`ingress`] for IPv6.
    Ipv6 = 0,
}

impl Stage {
    /// All stages, by number.
    pub const ALL: &'static [Self] = &[Self::Ipv6];

    /// The stage for a frame that the first program would end with `reason`.
    #[inline(always)]
    #[must_use]
    pub fn after<F: Window>(reason: Reason, frame: &F) -> Option<Self> {
        (reason == Reason::NotIp && family::is_ipv6(frame)).then_some(Self::Ipv6)
    }
}

/// All stages, as the kernel runs them.
pub fn all<F: Window, T: Tables<Addr> + Tables<Addr6>>(frame: &mut F, tables: &T, jiffies: u64) -> Outcome {
    let outcome = ingress::<Addr, F, T>(frame, tables, jiffies);
    match Stage::after(outcome.reason, frame) {
        None => outcome,
        Some(Stage::Ipv6) => ingress::<Addr6, F, T>(frame, tables, jiffies),
    }
}

/// Decides what becomes of a frame that has just come in, and rewrites it if it is to go on.
/// `jiffies` is the kernel's own count (`bpf_jiffies64`).
#[inline(always)]
pub fn ingress<A: Family, F: Window, T: Tables<A>>(frame: &mut F, tables: &T, jiffies: u64) -> Outcome {
    match decide::<A, F, T>(frame, tables, jiffies) {
        Ok(outcome) => outcome,
        Err(reason) => reason.into(),
    }
}

#[inline(always)]
fn decide<A: Family, F: Window, T: Tables<A>>(
    frame: &mut F,
    tables: &T,
    jiffies: u64,
) -> Result<Outcome, Reason> {
    let ip = A::read(frame)?;
    let root = tables.root().filter(|root| root.abi_version != 0).ok_or(Reason::NotConfigured)?;
    match classify::way(frame, &ip, root, tables)? {
        Way::Inbound(headers, rule) => inbound(frame, &headers, rule, root, tables, jiffies),
        Way::Reply(headers, owner, reverse) => {
            outbound(frame, &headers, owner, reverse, root, tables, jiffies)
        }
        Way::Direct(headers, reverse) => {
            reply::direct(frame, &headers, reverse, root, tables, jiffies)?;
            Err(Reason::Direct)
        }
    }
}

/// Client to member.
#[inline(always)]
fn inbound<A: Family, F: Window, T: Tables<A>>(
    frame: &mut F,
    headers: &Headers<A>,
    rule: &Rule,
    root: &Root,
    tables: &T,
    jiffies: u64,
) -> Result<Outcome, Reason> {
    if rule.access != access::OPEN && !may_enter(headers, rule, tables) {
        return Err(Reason::AccessDenied);
    }
    if headers.ip.ttl <= 1 {
        return Err(Reason::TtlExpired);
    }
    let choice = choose::target(frame, headers, rule, root, tables, jiffies)?;
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

/// What the rule's list says of the source. A rule that judges new flows alone lets in whatever
/// opens none; UDP has no flows to tell apart.
#[inline(always)]
fn may_enter<A: Family, T: Tables<A>>(headers: &Headers<A>, rule: &Rule, tables: &T) -> bool {
    let opens_none = !headers.is_udp() && !headers.flags.has(TcpFlags::SYN);
    rule.access & access::NEW_FLOWS != 0 && opens_none || tables.allowed(rule.list(), headers.ip.source)
}

/// Member to client.
#[inline(always)]
fn outbound<A: Family, F: Window, T: Tables<A>>(
    frame: &mut F,
    headers: &Headers<A>,
    owner: &Owner,
    reverse: &Reverse<A>,
    root: &Root,
    tables: &T,
    jiffies: u64,
) -> Result<Outcome, Reason> {
    reply::rewrites(frame, headers, owner, reverse, root, tables, jiffies)?;
    if headers.ip.ttl <= 1 {
        return Err(Reason::ReplyTtlExpired);
    }
    let query = RouteQuery {
        source: reverse.address,
        destination: headers.ip.destination,
        length: headers.ip.length,
        protocol: headers.ip.protocol,
    };
    let hop = match routes::route(&query, tables) {
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
fn to_member<A: Family, T: Tables<A>>(
    headers: &Headers<A>,
    member: &Member<A>,
    tables: &T,
) -> Result<Option<NextHop>, Reason> {
    if member.ifindex != 0 && u32::from(headers.ip.length) <= member.mtu {
        return Ok(Some(NextHop::new(member.ifindex, member.destination, member.source)));
    }
    let query = RouteQuery {
        source: headers.ip.source,
        destination: member.address,
        length: headers.ip.length,
        protocol: headers.ip.protocol,
    };
    match routes::route(&query, tables) {
        Route::Hop(hop) => Ok(Some(hop)),
        Route::Kernel => Ok(None),
        Route::Unreachable => Err(Reason::NoRoute),
    }
}

/// Writes the packet's new headers, and sends it by the next hop if there is one, which is the
/// first of the reasons; the kernel does else.
#[inline(always)]
fn forward<A: Family, F: Window>(
    frame: &mut F,
    rewrite: &Rewrite<A>,
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
