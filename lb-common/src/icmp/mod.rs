//! ICMP and ICMPv6: echo to frontends, errors on their way through, and errors of our own.
//!
//! Programs of their own run this, where [`crate::pipeline::ingress`] has found nothing to forward.

mod answer;
mod error;
mod neighbour;
mod quote;
mod v4;
mod v6;

use crate::abi::{AddressFlags, Root};
use crate::choose;
use crate::classify::{self, Wide};
use crate::csum::Delta;
use crate::egress;
use crate::family::{ETH_LEN, Family};
use crate::fragment;
use crate::hash::{self, Tuple};
use crate::outcome::Outcome;
use crate::parse::Ip;
use crate::reason::Reason;
use crate::tables::Tables;
use crate::track::Flow;
use crate::units::Target;
use crate::window::Window;
use crate::words::half;

use self::answer::Answer;
pub use self::answer::LIMIT;
use self::error::Ends;
pub use self::neighbour::advertise;
pub use self::quote::QuotedIp;

/// Bytes of an ICMP header.
const LENGTH: u16 = 8;

/// Type and code of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind(pub u8, pub u8);

/// In what ICMP (RFC 792) and ICMPv6 (RFC 4443) differ.
pub trait Icmp: Family {
    /// Protocol number.
    const NUMBER: u8;
    /// Offset in a frame of the field that has it.
    const NUMBER_AT: usize;
    /// Offset in a frame of the header, behind an IP header without options or extensions.
    const AT: usize;
    /// Type of an echo request.
    const ECHO: u8;
    /// Type of its answer.
    const ECHO_REPLY: u8;
    /// No way to the host.
    const HOST_UNREACHABLE: Kind;
    /// The packet is longer than the next link takes.
    const TOO_BIG: Kind;
    /// Longest error that quotes as much as there is room for.
    const LONGEST: u16;

    /// Whether the frame asks for a neighbour: in IPv4 another protocol does.
    fn is_solicitation<F: Window>(frame: &F) -> bool;

    /// Whether a message of this type quotes the packet that it is about.
    fn is_error(kind: u8) -> bool;

    /// Reads the quoted IP header; `None` if it is not whole, or none that we would have forwarded.
    fn quoted<F: Window>(frame: &F) -> Option<QuotedIp<Self>>;

    /// Writes addresses and checksum of the quoted IP header.
    fn requote<F: Window>(frame: &mut F, source: Self, destination: Self, checksum: u16) -> Option<()>;

    /// Those changes of a quote, and its header's checksum if it has one.
    fn quoted_change(changes: Delta, old: u16, new: u16) -> Delta;

    /// Writes the IP header of a message of our own; `length` is that of the packet.
    fn head<F: Window>(frame: &mut F, source: Self, destination: Self, length: u16) -> Option<()>;

    /// What the pseudo-header adds to the checksum of a message of so many bytes.
    fn pseudo(source: Self, destination: Self, length: u16) -> Delta;

    /// What the pseudo-header makes of a change of the IP header's addresses.
    fn pseudo_change(addresses: Delta) -> Delta;

    /// Whether the address is that of a single host, which alone may be told (RFC 1122, section
    /// 3.2.2; RFC 4443, section 2.4).
    fn is_host(self) -> bool;
}

/// Whether the frame carries ICMP of this family.
#[inline(always)]
pub fn is_icmp<A: Icmp, F: Window>(frame: &F) -> bool {
    frame.view::<1>(A::NUMBER_AT).is_some_and(|number| number[0] == A::NUMBER)
}

/// Whether it carries an ICMP error.
#[inline(always)]
pub fn is_error<A: Icmp, F: Window>(frame: &F) -> bool {
    is_icmp::<A, F>(frame) && frame.view::<1>(A::AT).is_some_and(|kind| A::is_error(kind[0]))
}

/// A message's header.
#[derive(Debug, Clone, Copy)]
struct Header {
    kind: Kind,
    /// Wire order.
    checksum: u16,
}

/// What becomes of an ICMP message.
#[inline(always)]
pub fn pass<A: Icmp, F: Window, T: Tables<A>>(frame: &mut F, tables: &T, jiffies: u64) -> Outcome {
    match decide::<A, F, T>(frame, tables, jiffies) {
        Ok(outcome) => outcome,
        Err(reason) => reason.into(),
    }
}

#[inline(always)]
fn decide<A: Icmp, F: Window, T: Tables<A>>(
    frame: &mut F,
    tables: &T,
    jiffies: u64,
) -> Result<Outcome, Reason> {
    let ip = A::read(frame)?;
    let root = tables.root().filter(|root| root.abi_version != 0).ok_or(Reason::NotConfigured)?;
    let address = tables.address(ip.destination);
    if !address.has(AddressFlags::FRONTEND) {
        if address.has(AddressFlags::OWN) {
            return Err(Reason::NotOurs);
        }
        return outward(frame, &ip, root, tables, jiffies);
    }
    let own = address.has(AddressFlags::OWN);
    let header = header(frame, &ip).map_err(|reason| if own { Reason::OwnFrontend } else { reason })?;
    if A::is_error(header.kind.0) {
        let sent = inward(frame, &ip, &header, root, tables, jiffies);
        let unknown = own && matches!(sent, Err(Reason::ErrorUnknown));
        return if unknown { Err(Reason::OwnFrontend) } else { sent };
    }
    if own {
        // The kernel answers for its own addresses.
        return Err(Reason::OwnFrontend);
    }
    if header.kind.0 != A::ECHO {
        return Err(Reason::Protocol);
    }
    echo(frame, &ip, &header, address, root, tables, jiffies)
}

/// Answers an echo request according to health (S-ICMP-1): the answer of any length (S-ICMP-2 has
/// a limit of 64 bytes), as it is as long as the question.
#[inline(always)]
fn echo<A: Icmp, F: Window, T: Tables<A>>(
    frame: &mut F,
    ip: &Ip<A>,
    header: &Header,
    address: AddressFlags,
    root: &Root,
    tables: &T,
    jiffies: u64,
) -> Result<Outcome, Reason> {
    let reason = if address.has(AddressFlags::SERVES) {
        Reason::EchoReply
    } else if address.has(AddressFlags::DOWN) {
        Reason::EchoUnreachable
    } else {
        return Err(Reason::EchoSilent);
    };
    answer::permit(ip, root, tables, jiffies)?;
    let done = if reason == Reason::EchoReply {
        answer::echo(frame, ip, header)
    } else {
        answer::send(frame, ip, &Answer { from: ip.destination, kind: A::HOST_UNREACHABLE, mtu: 0 })
    };
    done.ok_or(Reason::BadLength)?;
    Ok(reason.into())
}

/// Tells the sender of a packet, which has not been rewritten yet, that it is too big for its way.
#[inline(always)]
pub fn too_big<A: Icmp, F: Window, T: Tables<A>>(frame: &mut F, tables: &T, jiffies: u64) -> Outcome {
    match tell_too_big::<A, F, T>(frame, tables, jiffies) {
        Ok(()) => Reason::TooBig.into(),
        Err(reason) => reason.into(),
    }
}

#[inline(always)]
fn tell_too_big<A: Icmp, F: Window, T: Tables<A>>(
    frame: &mut F,
    tables: &T,
    jiffies: u64,
) -> Result<(), Reason> {
    let root = tables.root().ok_or(Reason::NotConfigured)?;
    let headers = fragment::headers(frame, &A::read(frame)?, root, tables, jiffies)?;
    let ip = headers.ip;
    let from = if tables.address(ip.destination).has(AddressFlags::FRONTEND) {
        ip.destination
    } else {
        let owner = tables.owner(ip.source);
        let service =
            owner.and_then(|owner| classify::service(owner, headers.source_port, ip.protocol, tables, Wide));
        // Of a tracked flow otherwise, whose frontend is nobody's business here.
        service.map_or(ip.destination, |(reverse, _)| reverse.address)
    };
    answer::permit(&ip, root, tables, jiffies)?;
    #[allow(clippy::cast_possible_truncation, reason = "was 16 bits")]
    let mtu = tables.icmp().mtu as u16;
    answer::send(frame, &ip, &Answer { from, kind: A::TOO_BIG, mtu }).ok_or(Reason::BadLength)
}

/// An error to a frontend, about a packet that a member has sent by it (S-ICMP-5).
#[inline(always)]
fn inward<A: Icmp, F: Window, T: Tables<A>>(
    frame: &mut F,
    ip: &Ip<A>,
    header: &Header,
    root: &Root,
    tables: &T,
    jiffies: u64,
) -> Result<Outcome, Reason> {
    let quote = quote::read(frame, ip).filter(|quote| quote.source == ip.destination);
    let quote = quote.ok_or(Reason::ErrorUnknown)?;
    let tuple = quote.receiver_as_peer();
    let rule = classify::rule(tuple.local, tuple.local_port, tuple.protocol, root, tables, Wide);
    let rule = rule.ok_or(Reason::ErrorUnknown)?;
    if ip.ttl <= 1 {
        return Err(Reason::TtlExpired);
    }
    let target = choose::bystander(&tuple, quote.seq, rule, root, tables, jiffies)?;
    let member = tables.member(target.member).filter(|member| member.present != 0);
    let member = member.ok_or(Reason::MemberUnknown)?;
    let hop = egress::to_member(ip, member, tables)?;
    let ends = Ends {
        source: ip.source,
        destination: member.address,
        quoted_source: (member.address, target.port),
        quoted_destination: (quote.destination, quote.destination_port),
    };
    error::forward(frame, ip, header, &quote, &ends, hop, [Reason::ErrorToMember, Reason::ToMemberByKernel])
}

/// An error to a client, of a member or a router before it, about a packet that we have sent there
/// (S-ICMP-5).
#[inline(always)]
fn outward<A: Icmp, F: Window, T: Tables<A>>(
    frame: &mut F,
    ip: &Ip<A>,
    root: &Root,
    tables: &T,
    jiffies: u64,
) -> Result<Outcome, Reason> {
    let header = header(frame, ip).map_err(|_| Reason::NotOurs)?;
    let quote = quote::read(frame, ip).filter(|quote| quote.source == ip.destination);
    let quote = quote.ok_or(Reason::NotOurs)?;
    let owner = tables.owner(quote.destination).ok_or(Reason::NotOurs)?;
    let service = classify::service(owner, quote.destination_port, quote.protocol, tables, Wide);
    let (reverse, behind) = service.ok_or(Reason::NotOurs)?;
    let port = reverse.port.plus(behind);
    let past = quote.sender_as_peer();
    let peer = hash::peer(&root.hash_key, past.peer, past.peer_port, past.protocol);
    let direct = Flow::new(&past, peer, reverse.life, root, jiffies);
    if direct.marked(tables) && (direct.confirmed(tables).is_some() || direct.pending(tables).is_some()) {
        return Err(Reason::Direct);
    }
    if quote.is_udp() {
        let balanced = Tuple { local: reverse.address, local_port: port, ..past };
        let rule = classify::rule(balanced.local, balanced.local_port, balanced.protocol, root, tables, Wide);
        let rule = rule.ok_or(Reason::UdpNotReply)?;
        let refuses = Target { member: owner.member, port: quote.destination_port };
        if !choose::could_reach(&balanced, peer, refuses, rule, root, tables) {
            return Err(Reason::UdpNotReply);
        }
    }
    if ip.ttl <= 1 {
        return Err(Reason::ReplyTtlExpired);
    }
    let source = if ip.source == quote.destination { reverse.address } else { ip.source };
    let hop = egress::to_client(ip, source, tables)?;
    let ends = Ends {
        source,
        destination: ip.destination,
        quoted_source: (quote.source, quote.source_port),
        quoted_destination: (reverse.address, port),
    };
    error::forward(frame, ip, &header, &quote, &ends, hop, [Reason::ErrorToClient, Reason::ReplyByKernel])
}

/// Reads the header of a message; the error is the packet's fate if it is to a frontend.
#[inline(always)]
fn header<A: Icmp, F: Window>(frame: &F, ip: &Ip<A>) -> Result<Header, Reason> {
    let transport = A::transport(frame, ip)?;
    if transport.protocol != A::NUMBER || transport.at != A::AT {
        return Err(Reason::Protocol);
    }
    if transport.length < LENGTH {
        return Err(Reason::BadLength);
    }
    let b: &[u8; LENGTH as usize] = frame.view(A::AT).ok_or(Reason::BadLength)?;
    Ok(Header { kind: Kind(b[0], b[1]), checksum: half::<2, _>(b) })
}

/// Offset behind a packet's last byte in its frame.
#[inline(always)]
fn end<A: Icmp>(ip: &Ip<A>) -> usize {
    ETH_LEN + ip.length as usize
}
