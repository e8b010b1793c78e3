//! A packet's way, on one page.

use crate::abi::{IcmpState, Owner, Reverse, Root, Rule, TRACKED_REPLIES, access};
use crate::classify::{self, Again, Exact, Look, Way, Wide};
use crate::family::{self, Family};
use crate::icmp::{self, Icmp};
use crate::nat::{self, Rewrite};
use crate::outcome::{Account, Direction, NextHop, Outcome};
use crate::parse::{Headers, Part, TcpFlags};
use crate::reason::Reason;
use crate::tables::Tables;
use crate::units::{Addr, Addr6, MemberId};
use crate::window::Window;
use crate::{arp, choose, egress, fragment, reply, tracked};

macro_rules! stages {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// A program that goes on where another one ends, so that this one need not pay for it.
        ///
        /// The first forwards plain IPv4 and nothing else.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Stage {
            $($(#[$doc])* $name = $number,)*
        }

        impl Stage {
            /// All stages, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

stages! {
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
    /// [`tracked::ingress`] for IPv4.
    Tracked = 5,
    /// [`tracked::ingress`] for IPv6.
    Tracked6 = 6,
    /// [`again`] for IPv4.
    Again = 7,
    /// [`again`] for IPv6.
    Again6 = 8,
    /// [`tracked::enter`] for IPv4.
    Enter = 9,
    /// [`tracked::enter`] for IPv6.
    Enter6 = 10,
    /// [`arp::answer`].
    Arp = 11,
    /// [`icmp::advertise`].
    Neighbour = 12,
    /// [`wide`] for IPv4.
    Wide = 13,
    /// [`wide`] for IPv6.
    Wide6 = 14,
}

/// The stages of a family.
#[derive(Debug, Clone, Copy)]
pub struct Stages {
    /// ICMP.
    pub icmp: Stage,
    /// Telling who has sent what is too big.
    pub too_big: Stage,
    /// Flows that all have entries.
    pub tracked: Stage,
    /// Those that have none yet.
    pub again: Stage,
    /// Making them.
    pub enter: Stage,
    /// Ranges of ports, and fragments.
    pub wide: Stage,
}

/// How a program may end without an [`Outcome`].
#[derive(Debug, Clone, Copy)]
pub enum Exit {
    /// For this reason.
    Reason(Reason),
    /// Another one has to go on.
    Stage(Stage),
}

impl From<Reason> for Exit {
    #[inline(always)]
    fn from(reason: Reason) -> Self {
        Self::Reason(reason)
    }
}

/// What a program has come to, and the stage that goes on instead, if that is there.
pub struct End {
    /// The packet's end.
    pub outcome: Outcome,
    /// What goes on with the frame, which is as it was.
    pub next: Option<Stage>,
}

impl End {
    /// From what has been decided about a frame.
    #[inline(always)]
    pub(crate) fn of<A: Icmp, F: Window>(decided: Result<Outcome, Exit>, frame: &F) -> Self {
        match decided {
            Ok(outcome) => Self { outcome, next: None },
            Err(Exit::Reason(reason)) => {
                Self { outcome: reason.into(), next: Stage::after::<A, F>(reason, frame) }
            }
            Err(Exit::Stage(stage)) => Self { outcome: Reason::MemberUnknown.into(), next: Some(stage) },
        }
    }
}

impl End {
    /// From what a last program has decided: only who has sent what is too big has still to be told.
    #[inline(always)]
    pub(crate) fn of_last<A: Family>(decided: Result<Outcome, Exit>) -> Self {
        let exit = match decided {
            Ok(outcome) => return outcome.into(),
            Err(exit) => exit,
        };
        match exit {
            Exit::Reason(reason) => {
                Self { outcome: reason.into(), next: (reason == Reason::TooBig).then_some(A::STAGES.too_big) }
            }
            Exit::Stage(stage) => Self { outcome: Reason::MemberUnknown.into(), next: Some(stage) },
        }
    }
}

impl From<Outcome> for End {
    #[inline(always)]
    fn from(outcome: Outcome) -> Self {
        Self { outcome, next: None }
    }
}

impl Stage {
    /// The stage for a frame that a program would end with `reason`.
    #[inline(always)]
    fn after<A: Icmp, F: Window>(reason: Reason, frame: &F) -> Option<Self> {
        let (stage, right) = if reason == Reason::NotIp {
            if arp::is_arp(frame) { (Self::Arp, true) } else { (Self::Ipv6, family::is_ipv6(frame)) }
        } else if reason == Reason::LinkGroup || reason == Reason::NeighbourDiscovery {
            (Self::Neighbour, A::is_solicitation(frame))
        } else if reason == Reason::NotOurs {
            (A::STAGES.icmp, icmp::is_error::<A, F>(frame))
        } else if reason == Reason::OfMember || reason == Reason::ToHost {
            (A::STAGES.tracked, true)
        } else if reason == Reason::Protocol || reason == Reason::OwnFrontend {
            (A::STAGES.icmp, icmp::is_icmp::<A, F>(frame))
        } else {
            (A::STAGES.too_big, reason == Reason::TooBig)
        };
        right.then_some(stage)
    }

    /// The stage as plain Rust.
    fn run<F: Window, T: Tables<Addr> + Tables<Addr6>>(self, frame: &mut F, tables: &T, jiffies: u64) -> End {
        match self {
            Self::Ipv6 => ingress::<Addr6, F, T>(frame, tables, jiffies),
            Self::Icmp => icmp::pass::<Addr, F, T>(frame, tables, jiffies).into(),
            Self::Icmp6 => icmp::pass::<Addr6, F, T>(frame, tables, jiffies).into(),
            Self::TooBig => icmp::too_big::<Addr, F, T>(frame, tables, jiffies).into(),
            Self::TooBig6 => icmp::too_big::<Addr6, F, T>(frame, tables, jiffies).into(),
            Self::Tracked => tracked::ingress::<Addr, F, T>(frame, tables, jiffies),
            Self::Tracked6 => tracked::ingress::<Addr6, F, T>(frame, tables, jiffies),
            Self::Again => again::<Addr, F, T>(frame, tables, jiffies),
            Self::Again6 => again::<Addr6, F, T>(frame, tables, jiffies),
            Self::Enter => tracked::enter::<Addr, F, T>(frame, tables, jiffies),
            Self::Enter6 => tracked::enter::<Addr6, F, T>(frame, tables, jiffies),
            Self::Arp => arp::answer(frame, tables).into(),
            Self::Neighbour => icmp::advertise(frame, tables).into(),
            Self::Wide => wide::<Addr, F, T>(frame, tables, jiffies),
            Self::Wide6 => wide::<Addr6, F, T>(frame, tables, jiffies),
        }
    }
}

/// All programs one after the other, as the kernel runs them.
pub fn all<F: Window, T: Tables<Addr> + Tables<Addr6>>(frame: &mut F, tables: &T, jiffies: u64) -> Outcome {
    let mut end = ingress::<Addr, F, T>(frame, tables, jiffies);
    while let Some(stage) = end.next {
        end = stage.run(frame, tables, jiffies);
    }
    end.outcome
}

/// Decides what becomes of a frame that has just come in, and rewrites it if it is to go on.
/// `jiffies` is the kernel's own count (`bpf_jiffies64`).
#[inline(always)]
pub fn ingress<A: Icmp, F: Window, T: Tables<A>>(frame: &mut F, tables: &T, jiffies: u64) -> End {
    let decided = decide(frame, tables, jiffies, Exact);
    End::of::<A, F>(decided.map_err(further::<A>), frame)
}

/// What goes on where a plain program ends.
#[inline(always)]
fn further<A: Family>(exit: Exit) -> Exit {
    match exit {
        Exit::Reason(classify::FURTHER) => Exit::Stage(A::STAGES.wide),
        Exit::Reason(_) | Exit::Stage(_) => exit,
    }
}

/// The same for what [`ingress`] leaves to others: ports that only a range or a rule of all ports has, and
/// fragments.
#[inline(always)]
pub fn wide<A: Icmp, F: Window, T: Tables<A>>(frame: &mut F, tables: &T, jiffies: u64) -> End {
    let decided = decide(frame, tables, jiffies, Wide);
    End::of::<A, F>(decided, frame)
}

/// The same for a packet of a flow that has no entry although it should: chooses its member, for whom
/// [`tracked::enter`] makes them.
#[inline(always)]
pub fn again<A: Icmp, F: Window, T: Tables<A>>(frame: &mut F, tables: &T, jiffies: u64) -> End {
    End::of_last::<A>(decide(frame, tables, jiffies, Again))
}

#[inline(always)]
fn decide<A: Family, F: Window, T: Tables<A>, L: Look>(
    frame: &mut F,
    tables: &T,
    jiffies: u64,
    look: L,
) -> Result<Outcome, Exit> {
    let ip = A::read(frame)?;
    let root = tables.root().filter(|root| root.abi_version != 0).ok_or(Reason::NotConfigured)?;
    let way = if L::WIDE {
        classify::whole(frame, &ip, root, tables, jiffies)
    } else {
        classify::way(frame, &ip, root, tables)
    };
    match way? {
        Way::Inbound(headers, rule, behind) => {
            inbound::<A, F, T, L>(frame, &headers, (rule, behind), root, tables, jiffies)
        }
        Way::Reply(_, _, reverse, _) if !L::AGAIN && reverse.flags & TRACKED_REPLIES != 0 => {
            Err(Exit::Stage(A::STAGES.tracked))
        }
        Way::Reply(headers, owner, reverse, behind) => {
            Ok(outbound(frame, &headers, owner, (reverse, behind), root, tables, jiffies, look)?)
        }
        Way::Direct(headers, reverse) => {
            reply::direct(frame, &headers, reverse, root, tables, jiffies)?;
            Err(Reason::Direct.into())
        }
    }
}

/// Client to member.
#[inline(always)]
fn inbound<A: Family, F: Window, T: Tables<A>, L: Look>(
    frame: &mut F,
    headers: &Headers<A>,
    (rule, behind): (&Rule, u16),
    root: &Root,
    tables: &T,
    jiffies: u64,
) -> Result<Outcome, Exit> {
    admit(headers, rule, tables)?;
    let tracks = rule.flags & Rule::TRACKED != 0;
    if !L::AGAIN && tracks {
        return Err(Exit::Stage(A::STAGES.tracked));
    }
    let choice = if headers.fragment.part == Part::LATER {
        choose::after_first(headers)
    } else {
        choose::target(frame, headers, (rule, behind), root, tables, jiffies, L::AGAIN)?
    };
    let unknown = if L::AGAIN { Exit::Reason(Reason::MemberUnknown) } else { Exit::Stage(A::STAGES.tracked) };
    let member = tables.member(choice.target.member).filter(|member| member.present != 0).ok_or(unknown)?;
    let hides_client = headers.ip.source.shares(member.address, member.apart);
    if L::AGAIN && (tracks || hides_client) {
        tables.set_icmp(IcmpState { target: choice.target.word(), ..tables.icmp() });
        return Err(Exit::Stage(A::STAGES.enter));
    }
    if hides_client {
        return Err(Exit::Stage(A::STAGES.tracked));
    }
    let hop = egress::to_member(&headers.ip, member, tables)?;
    fragment::remember(headers, choice.target.member, root, tables, jiffies);
    let rewrite = nat::to_member(headers, member.address, choice.target.port, hop.is_some());
    let opened = if choice.opens { choice.target.member.0 } else { 0 };
    let account = Account { stats: rule.stats, direction: Direction::Inbound { opened } };
    Ok(forward(frame, &rewrite, hop, [Reason::ToMember, Reason::ToMemberByKernel], account)?)
}

/// Whether a packet to a frontend port may go on to a member at all.
#[inline(always)]
pub(crate) fn admit<A: Family, T: Tables<A>>(
    headers: &Headers<A>,
    rule: &Rule,
    tables: &T,
) -> Result<(), Reason> {
    if rule.access != access::OPEN && !may_enter(headers, rule, tables) {
        return Err(Reason::AccessDenied);
    }
    if headers.ip.source.stays_on_link() {
        return Err(Reason::LinkSource);
    }
    if headers.ip.ttl <= 1 {
        return Err(Reason::TtlExpired);
    }
    Ok(())
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
#[allow(clippy::too_many_arguments, reason = "inlined: all that is known of the packet")]
fn outbound<A: Family, F: Window, T: Tables<A>, L: Look>(
    frame: &mut F,
    headers: &Headers<A>,
    owner: &Owner,
    (reverse, behind): (&Reverse<A>, u16),
    root: &Root,
    tables: &T,
    jiffies: u64,
    look: L,
) -> Result<Outcome, Reason> {
    let port = reverse.port.plus(behind);
    if headers.fragment.part != Part::LATER {
        reply::rewrites(frame, headers, owner, (reverse, port), root, tables, jiffies, look)?;
    }
    if headers.ip.ttl <= 1 {
        return Err(Reason::ReplyTtlExpired);
    }
    let hop = egress::to_client(&headers.ip, reverse.address, tables)?;
    fragment::remember(headers, MemberId::NONE, root, tables, jiffies);
    let rewrite = nat::to_client(headers, reverse.address, port, hop.is_some());
    let account = Account { stats: reverse.stats, direction: Direction::Reply };
    forward(frame, &rewrite, hop, [Reason::ReplyToClient, Reason::ReplyByKernel], account)
}

/// Writes the packet's new headers, and sends it by the next hop if there is one, which is the
/// first of the reasons; the kernel does else.
#[inline(always)]
pub(crate) fn forward<A: Family, F: Window>(
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
