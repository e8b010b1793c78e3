//! From what a packet becomes to its next hop.

use crate::abi::{AddressFlags, Translation};
use crate::egress;
use crate::icmp::Icmp;
use crate::nat;
use crate::outcome::{Account, Direction, Outcome};
use crate::parse::{Headers, Ip};
use crate::pipeline::Exit;
use crate::reason::Reason;
use crate::tables::Tables;
use crate::units::MemberId;
use crate::window::Window;

/// Rewrites a packet and sends it to a member, or, if that is [`MemberId::NONE`], to the client.
#[inline(always)]
pub(super) fn send<A: Icmp, F: Window, T: Tables<A>>(
    frame: &mut F,
    headers: &Headers<A>,
    to: &Translation<A>,
    member: MemberId,
    tables: &T,
) -> Result<Outcome, Exit> {
    let (by_us, by_kernel, direction) = if member == MemberId::NONE {
        (Reason::ReplyToClient, Reason::ReplyByKernel, Direction::Reply)
    } else {
        let opened = if headers.flags.opens() { member.0 } else { 0 };
        (Reason::ToMember, Reason::ToMemberByKernel, Direction::Inbound { opened })
    };
    let egress = rewrite(frame, headers, to, member, tables).resolve()?;
    let reason = if egress == 0 { by_kernel } else { by_us };
    Ok(Outcome { reason, account: Some(Account { stats: to.stats, direction }), egress })
}

/// An interface, 0 where the kernel sends, or why the packet is not sent: a plain word, see `choose::Answer`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
struct Sent(u64);

impl Sent {
    /// What [`forward`] may say, but for a bad length.
    const WHY: [Reason; 5] = [
        Reason::ReplyTtlExpired,
        Reason::NoRoute,
        Reason::TooBig,
        Reason::MartianReply,
        Reason::MemberUnknown,
    ];

    #[inline(always)]
    const fn not(why: Reason) -> Self {
        Self((why as u64 + 1) << 32)
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "an index")]
    fn resolve(self) -> Result<u32, Reason> {
        if self.0 >> 32 == 0 {
            return Ok(self.0 as u32);
        }
        let mut why = Self::WHY.into_iter();
        Err(why.find(|why| self == Self::not(*why)).unwrap_or(Reason::BadLength))
    }
}

/// Not inlined, for the stack.
#[inline(never)]
fn rewrite<A: Icmp, F: Window, T: Tables<A>>(
    frame: &mut F,
    headers: &Headers<A>,
    to: &Translation<A>,
    member: MemberId,
    tables: &T,
) -> Sent {
    match forward(frame, headers, to, member, tables) {
        Ok(egress) => Sent(egress.into()),
        Err(why) => Sent::not(why),
    }
}

#[inline(always)]
fn forward<A: Icmp, F: Window, T: Tables<A>>(
    frame: &mut F,
    headers: &Headers<A>,
    to: &Translation<A>,
    member: MemberId,
    tables: &T,
) -> Result<u32, Reason> {
    let ip = Ip { source: to.source, destination: to.destination, ..headers.ip };
    let hop = if member == MemberId::NONE {
        if ip.ttl <= 1 {
            return Err(Reason::ReplyTtlExpired);
        }
        egress::to_client(&ip, to.source, tables)?
    } else {
        let there = tables.member(member).filter(|member| member.present != 0);
        egress::to_member(&ip, there.ok_or(Reason::MemberUnknown)?, tables)?
    };
    // The kernel takes no packet whose source is its own.
    if hop.is_none() && tables.address(to.source).has(AddressFlags::OWN) {
        return Err(Reason::MartianReply);
    }
    let (source, destination) = ((to.source, to.source_port), (to.destination, to.destination_port));
    nat::plan(headers, source, destination, hop.is_some()).apply(frame).ok_or(Reason::BadLength)?;
    let Some(hop) = hop else { return Ok(0) };
    nat::send_by(frame, &hop).ok_or(Reason::BadLength)?;
    Ok(hop.ifindex)
}
