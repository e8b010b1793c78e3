//! Packets from members' service ports, and past us to them.

use crate::abi::{FlowWord, Owner, Reverse, Root};
use crate::choose;
use crate::classify::{self, Look};
use crate::family::Family;
use crate::hash::{self, Tuple};
use crate::parse::{self, Headers, Segment, TcpFlags};
use crate::reason::Reason;
use crate::tables::Tables;
use crate::track::{Flow, NEAR, Side, near};
use crate::units::{Port, Target};
use crate::window::Window;

/// The flow of a member's packet as its peer would address the member itself.
#[inline(always)]
fn past_us<A: Family>(h: &Headers<A>) -> Tuple<A> {
    Tuple {
        peer: h.ip.destination,
        peer_port: h.destination_port,
        local: h.ip.source,
        local_port: h.source_port,
        protocol: h.ip.protocol,
    }
}

/// Decides whether a packet from a service port is a reply to be rewritten, to come from `port` of the
/// frontend: `Err` says why it passes untouched.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "inlined: all that is known of the packet")]
pub fn rewrites<A: Family, F: Window, T: Tables<A>, L: Look>(
    frame: &F,
    h: &Headers<A>,
    owner: &Owner,
    (reverse, port): (&Reverse<A>, Port),
    root: &Root,
    tables: &T,
    now: u64,
    look: L,
) -> Result<(), Reason> {
    let past = past_us(h);
    let peer = hash::peer(&root.hash_key, past.peer, past.peer_port, past.protocol);
    let direct = Flow::new(&past, peer, reverse.life, root, now);
    let balanced = Tuple { local: reverse.address, local_port: port, ..past };
    let marked = direct.marked(tables);
    if h.is_udp() {
        return datagram(&{ direct }, marked, &balanced, peer, owner, root, tables, look);
    }
    if h.flags.opens() {
        // The member opens a connection of its own; its next sequence number is the proof to come.
        let word = direct.untouched(FlowWord::SEQ_KNOWN);
        // A refusal is counted; the next packet of a connection nobody remembers is a reply.
        let _ = direct.suspend(word, parse::segment(frame, h)?.seq.wrapping_add(1), tables);
        return Err(Reason::OwnConnection);
    }
    if !marked {
        return Ok(());
    }
    let (direct, segment) = (&{ direct }, &parse::segment(frame, h)?);
    if untouched(direct, segment, tables) {
        return Err(Reason::Direct);
    }
    follow(direct, reverse, segment, Target { member: owner.member, port }, tables);
    Ok(())
}

#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "inlined, as its caller")]
fn datagram<A: Family, T: Tables<A>, L: Look>(
    direct: &Flow<'_, A>,
    marked: bool,
    balanced: &Tuple<A>,
    peer: u64,
    owner: &Owner,
    root: &Root,
    tables: &T,
    look: L,
) -> Result<(), Reason> {
    if marked && let Some(entry) = direct.pending(tables) {
        direct.touch(&entry, None, Side::Member, tables);
        return Err(Reason::Direct);
    }
    let answers = Target { member: owner.member, port: direct.key.local_port };
    let rule = classify::rule(balanced.local, balanced.local_port, balanced.protocol, root, tables, look);
    let reached = rule.is_some_and(|rule| choose::could_reach(balanced, peer, answers, rule, root, tables));
    if reached { Ok(()) } else { Err(Reason::UdpNotReply) }
}

/// Whether a member's packet belongs to a connection that never went through a frontend.
#[inline(never)]
fn untouched<A: Family, T: Tables<A>>(direct: &Flow<'_, A>, segment: &Segment, tables: &T) -> bool {
    if let Some(entry) = direct.confirmed(tables) {
        if !segment.flags.accepts() {
            direct.touch(&entry, Some(segment), Side::Member, tables);
            return true;
        }
        // The member takes a new connection between these ports: the one before is over.
        direct.end(&entry);
    }
    let Some(entry) = direct.pending(tables) else { return false };
    let word = entry.word();
    if !word.has(FlowWord::SEQ_KNOWN) {
        // A SYN to the member itself awaits its answer: a SYN-ACK or RST that acknowledges it, and
        // perhaps data that came with it (RFC 7413). Anything else is of a balanced connection
        // between the same ports, which a forged SYN must not steal.
        let answers = segment.ack.wrapping_sub(entry.member_seq()) < NEAR
            && (segment.flags.accepts() || segment.flags.has(TcpFlags::RST));
        if answers && segment.flags.accepts() {
            entry.set_member_seq(segment.seq.wrapping_add(1));
            entry.replace(word, word.with(FlowWord::SEQ_KNOWN));
        }
        return answers;
    }
    let near = near(segment.seq, entry.member_seq());
    if near && !segment.flags.has(TcpFlags::SYN | TcpFlags::RST) {
        direct.promote(&entry, segment, Side::Member, tables);
    }
    near
}

/// Notes what a reply says of the exception that its flow may be: of this member, and a port of the frontend.
#[inline(never)]
fn follow<A: Family, T: Tables<A>>(
    direct: &Flow<'_, A>,
    reverse: &Reverse<A>,
    segment: &Segment,
    Target { member, port }: Target,
    tables: &T,
) {
    let flow = direct.to(reverse.address, port);
    if segment.flags.accepts()
        && let Some(entry) = flow.pending(tables)
        && entry.word().target().member == member
    {
        entry.set_member_seq(segment.seq.wrapping_add(1));
        let word = entry.word();
        entry.replace(word, word.with(FlowWord::SEQ_KNOWN));
    }
    if let Some(entry) = flow.confirmed(tables) {
        if entry.word().target().member == member {
            flow.touch(&entry, Some(segment), Side::Member, tables);
        }
    } else if let Some(entry) = flow.pending(tables)
        && entry.word().has(FlowWord::USABLE)
        && entry.word().target().member == member
        && !segment.flags.has(TcpFlags::RST | TcpFlags::SYN)
    {
        flow.promote(&entry, segment, Side::Member, tables);
    }
}

/// Notes a packet that goes past us to a member's service port, so that the answer is left alone.
#[inline(always)]
pub fn direct<A: Family, F: Window, T: Tables<A>>(
    frame: &F,
    h: &Headers<A>,
    reverse: &Reverse<A>,
    root: &Root,
    tables: &T,
    now: u64,
) -> Result<(), Reason> {
    let tuple = h.from_peer();
    let peer = hash::peer(&root.hash_key, tuple.peer, tuple.peer_port, tuple.protocol);
    let flow = Flow::new(&tuple, peer, reverse.life, root, now);
    if h.is_udp() {
        direct_datagram(&{ flow }, tables);
    } else {
        direct_segment(&{ flow }, &parse::segment(frame, h)?, tables);
    }
    Ok(())
}

#[inline(never)]
fn direct_datagram<A: Family, T: Tables<A>>(flow: &Flow<'_, A>, tables: &T) {
    match flow.pending(tables) {
        Some(entry) => flow.touch(&entry, None, Side::Peer, tables),
        // Never proven, so it lives as long as an opening does: the peer's next datagrams from
        // this port may well be to the frontend.
        None => remember(flow, 0, 0, tables),
    }
}

#[inline(never)]
fn direct_segment<A: Family, T: Tables<A>>(flow: &Flow<'_, A>, segment: &Segment, tables: &T) {
    if segment.flags.opens() {
        remember(flow, 0, segment.seq.wrapping_add(1), tables);
    } else if let Some(entry) = flow.confirmed(tables) {
        flow.touch(&entry, Some(segment), Side::Peer, tables);
    } else if let Some(entry) = flow.pending(tables) {
        // Whatever the peer says proves nothing: it may have been told so by its own packet before.
        flow.touch(&entry, None, Side::Peer, tables);
    } else if segment.flags.has(TcpFlags::ACK) {
        // In the middle of a connection: what the peer acknowledges is what the member sends next.
        remember(flow, FlowWord::SEQ_KNOWN, segment.ack, tables);
    }
}

#[inline(always)]
fn remember<A: Family, T: Tables<A>>(flow: &Flow<'_, A>, flags: u64, member_seq: u32, tables: &T) {
    // A refusal is counted; the packet passes either way.
    let _ = flow.suspend(flow.untouched(flags), member_seq, tables);
}
