//! A packet's way, on one page.

use crate::abi::{Owner, Reverse, Root, Rule, access};
use crate::classify::{self, Way};
use crate::family::{self, Family};
use crate::icmp::{self, Icmp};
use crate::nat::{self, Rewrite};
use crate::outcome::{Account, Direction, NextHop, Outcome};
use crate::parse::{Headers, TcpFlags};
use crate::reason::Reason;
use crate::tables::Tables;
use crate::units::{Addr, Addr6};
use crate::window::Window;
use crate::{arp, choose, egress, reply};

/// A program that goes on where another one ends, so that this one need not pay for it.
///
/// The first forwards plain IPv4 and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Stage {
    /// [`ingress`] for IPv6.
    Ipv6 = 0,
    /// [`icmp::pass`] for IPv4.
    Icmp = 1,
    /// [`icmp::pass`] for IPv6.
    Icmp6 = 2,
    /// [`icmp::too_big`] for IPv4.
    TooBig = 3,
    /// [`icmp::too_big`] for IPv6.
    TooBig6 = 4,
    /// [`arp::answer`].
    Arp = 5,
    /// [`icmp::advertise`].
    Neighbour = 6,
}

impl Stage {
    /// All stages, by number.
    pub const ALL: &'static [Self] =
        &[Self::Ipv6, Self::Icmp, Self::Icmp6, Self::TooBig, Self::TooBig6, Self::Arp, Self::Neighbour];

    /// The stage for a frame that [`ingress`] would end with `reason`.
    #[inline(always)]
    #[must_use]
    pub fn after<A: Icmp, F: Window>(reason: Reason, frame: &F) -> Option<Self> {
        let (stage, right) = if reason == Reason::NotIp {
            if arp::is_arp(frame) { (Self::Arp, true) } else { (Self::Ipv6, family::is_ipv6(frame)) }
        } else if reason == Reason::LinkGroup || reason == Reason::NeighbourDiscovery {
            (Self::Neighbour, A::is_solicitation(frame))
        } else if reason == Reason::NotOurs {
            (A::STAGE, icmp::is_error::<A, F>(frame))
        } else if reason == Reason::Protocol || reason == Reason::OwnFrontend {
            (A::STAGE, icmp::is_icmp::<A, F>(frame))
        } else {
            (A::TOO_BIG_STAGE, reason == Reason::TooBig)
        };
        right.then_some(stage)
    }

    /// The stage as plain Rust.
    pub fn run<F: Window, T: Tables<Addr> + Tables<Addr6>>(
        self,
        frame: &mut F,
        tables: &T,
        jiffies: u64,
    ) -> Outcome {
        match self {
            Self::Ipv6 => first::<Addr6, F, T>(frame, tables, jiffies),
            Self::Icmp => icmp::pass::<Addr, F, T>(frame, tables, jiffies),
            Self::Icmp6 => icmp::pass::<Addr6, F, T>(frame, tables, jiffies),
            Self::TooBig => icmp::too_big::<Addr, F, T>(frame, tables, jiffies),
            Self::TooBig6 => icmp::too_big::<Addr6, F, T>(frame, tables, jiffies),
            Self::Arp => arp::answer(frame, tables),
            Self::Neighbour => icmp::advertise(frame, tables),
        }
    }
}

/// All stages, as the kernel runs them.
pub fn all<F: Window, T: Tables<Addr> + Tables<Addr6>>(frame: &mut F, tables: &T, jiffies: u64) -> Outcome {
    first::<Addr, F, T>(frame, tables, jiffies)
}

fn first<A: Icmp, F: Window, T: Tables<Addr> + Tables<Addr6> + Tables<A>>(
    frame: &mut F,
    tables: &T,
    jiffies: u64,
) -> Outcome {
    let outcome = ingress::<A, F, T>(frame, tables, jiffies);
    match Stage::after::<A, F>(outcome.reason, frame) {
        None => outcome,
        Some(stage) => stage.run(frame, tables, jiffies),
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
    if headers.ip.source.stays_on_link() {
        return Err(Reason::LinkSource);
    }
    if headers.ip.ttl <= 1 {
        return Err(Reason::TtlExpired);
    }
    let choice = choose::target(frame, headers, rule, root, tables, jiffies)?;
    let member = tables
        .member(choice.target.member)
        .filter(|member| member.present != 0)
        .ok_or(Reason::MemberUnknown)?;
    let hop = egress::to_member(&headers.ip, member, tables)?;
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
    let hop = egress::to_client(&headers.ip, reverse.address, tables)?;
    let rewrite = nat::to_client(headers, reverse.address, reverse.port, hop.is_some());
    let account = Account { stats: reverse.stats, direction: Direction::Reply };
    forward(frame, &rewrite, hop, [Reason::ReplyToClient, Reason::ReplyByKernel], account)
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
