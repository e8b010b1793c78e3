//! Flows that all have entries: those of rules that track, and those of clients whose address their
//! member must not see, because it would answer past us.
//!
//! Programs of their own run this, where [`crate::pipeline::ingress`] has found out that a flow is such a one.
//! [`ingress`] knows flows by their entries, one for each direction, which say what becomes of a packet (`pair`). What
//! has none goes where it would go without entries, which [`crate::pipeline::again`] finds out, and gets both in
//! [`enter`] (`new`).
//!
//! Functions that are not inlined build the flow's key anew from the headers: in IPv6 it is too large to
//! lie in each of their frames on the stack.

mod new;
mod pair;
mod send;

pub use self::pair::lives;

use crate::abi::sieve::Cell;
use crate::abi::{AddressFlags, Root, Rule, TRACKED_REPLIES, Translation};
use crate::classify::{self, Wide};
use crate::family::Family;
use crate::hash;
use crate::icmp::Icmp;
use crate::outcome::Outcome;
use crate::parse::{self, Headers, Ip, Segment};
use crate::pipeline::{self, End, Exit};
use crate::reason::Reason;
use crate::tables::Tables;
use crate::track::Flow;
use crate::units::MemberId;
use crate::window::Window;

/// Decides about a packet whose flow may have entries, and rewrites it if it has.
#[inline(always)]
pub fn ingress<A: Icmp, F: Window, T: Tables<A>>(frame: &mut F, tables: &T, jiffies: u64) -> End {
    End::of_last::<A>(known::<A, F, T>(frame, tables, jiffies))
}

/// Makes the entries of a packet's flow, whose member has been chosen ([`crate::abi::IcmpState::target`]).
#[inline(always)]
pub fn enter<A: Icmp, F: Window, T: Tables<A>>(frame: &mut F, tables: &T, jiffies: u64) -> End {
    End::of_last::<A>(chosen::<A, F, T>(frame, tables, jiffies))
}

/// A packet beside its headers.
struct Sight<'r> {
    root: &'r Root,
    jiffies: u64,
    /// What it says of its connection; UDP says nothing.
    segment: Segment,
}

impl<'r> Sight<'r> {
    #[inline(always)]
    fn of<A: Family, F: Window>(
        frame: &F,
        headers: &Headers<A>,
        root: &'r Root,
        jiffies: u64,
    ) -> Result<Self, Reason> {
        let segment = if headers.is_udp() { Segment::default() } else { parse::segment(frame, headers)? };
        Ok(Self { root, jiffies, segment })
    }

    /// The flow of a client's packet.
    #[inline(always)]
    fn forward<A: Family>(&self, headers: &Headers<A>, rule: &Rule) -> Flow<'r, A> {
        let tuple = headers.from_peer();
        let peer = hash::peer(&self.root.hash_key, tuple.peer, tuple.peer_port, tuple.protocol);
        Flow::new(&tuple, peer, rule.life, self.root, self.jiffies)
    }

    /// The flow of a member's packet, whose bucket is nobody's.
    #[inline(always)]
    fn backward<A: Family>(&self, headers: &Headers<A>) -> Flow<'r, A> {
        Flow::new(&headers.from_peer(), 0, 0, self.root, self.jiffies)
    }
}

#[inline(always)]
fn known<A: Icmp, F: Window, T: Tables<A>>(frame: &mut F, tables: &T, jiffies: u64) -> Result<Outcome, Exit> {
    let root = tables.root().filter(|root| root.abi_version != 0).ok_or(Reason::NotConfigured)?;
    let mut headers = Headers::default();
    if !read(frame, &mut headers) {
        return Err(of_nobody(&headers.ip, tables).into());
    }
    let sight = Sight::of(frame, &headers, root, jiffies)?;
    let mut to = Translation::default();
    let (found, towards) = if let Some(rule) = rule(&headers, root, tables) {
        pipeline::admit(&headers, rule, tables)?;
        let found = pair::forward(&headers, rule, &sight, &mut to, tables);
        (found, found.member().ok_or(Exit::Stage(A::STAGES.again))?)
    } else {
        let found = pair::backward(&headers, &sight, &mut to, tables);
        found.member().ok_or_else(|| unknown_reply(&headers, tables))?;
        (found, MemberId::NONE)
    };
    if found.is_proven() {
        pair::promote(&headers, &sight, tables);
    }
    send::send(frame, &headers, &to, towards, tables)
}

#[inline(always)]
fn chosen<A: Icmp, F: Window, T: Tables<A>>(
    frame: &mut F,
    tables: &T,
    jiffies: u64,
) -> Result<Outcome, Exit> {
    let root = tables.root().filter(|root| root.abi_version != 0).ok_or(Reason::NotConfigured)?;
    let mut headers = Headers::default();
    if !read(frame, &mut headers) {
        return Err(Reason::BadLength.into());
    }
    let rule = rule(&headers, root, tables).ok_or(Reason::NoRule)?;
    let mut to = Translation::default();
    let sight = Sight::of(frame, &headers, root, jiffies)?;
    let member = new::flow(&headers, rule, &sight, &mut to, tables);
    if member == MemberId::NONE {
        return Err(Reason::NoSourcePort.into());
    }
    send::send(frame, &headers, &to, member, tables)
}

/// Reads the headers, which the program before has found whole, but of fragments and of members' packets to the host.
/// Whether they are. Not inlined, for the stack.
#[inline(never)]
fn read<A: Icmp, F: Window>(frame: &F, headers: &mut Headers<A>) -> bool {
    // LLVM would have the caller load where the frame lies, cut to 32 bits, which no pointer survives.
    let frame = core::hint::black_box(frame);
    let Ok(ip) = A::read(frame) else { return false };
    headers.ip = ip;
    let Ok(found) = parse::transport(frame, &ip) else { return false };
    *headers = found;
    true
}

/// The rule, if the packet is to a frontend port. Not inlined, for the stack.
#[inline(never)]
fn rule<'t, A: Icmp, T: Tables<A>>(headers: &Headers<A>, root: &Root, tables: &'t T) -> Option<&'t Rule> {
    let ip = &headers.ip;
    if !tables.sieve(ip.destination).has(Cell::FRONTEND) {
        return None;
    }
    let port = headers.destination_port;
    Some(classify::rule(ip.destination, port, ip.protocol, root, tables, Wide)?.0)
}

/// Where a member's packet goes whose flow has no entry.
#[inline(always)]
fn unknown_reply<A: Icmp, T: Tables<A>>(headers: &Headers<A>, tables: &T) -> Exit {
    let ip = &headers.ip;
    let owner = tables.owner(ip.source);
    match owner.and_then(|owner| classify::service(owner, headers.source_port, ip.protocol, tables, Wide)) {
        Some((reverse, _)) if reverse.flags & TRACKED_REPLIES != 0 => Exit::Stage(A::STAGES.again),
        Some(_) | None => of_nobody(ip, tables).into(),
    }
}

/// The end of what is neither to a frontend port nor of a tracked flow, or of a shape that none has: nothing that is
/// to a frontend passes.
#[inline(always)]
fn of_nobody<A: Icmp, T: Tables<A>>(ip: &Ip<A>, tables: &T) -> Reason {
    let destination = tables.address(ip.destination);
    if destination.has(AddressFlags::OWN) {
        Reason::ToHost
    } else if destination.has(AddressFlags::FRONTEND) {
        Reason::Fragment
    } else {
        Reason::OfMember
    }
}
