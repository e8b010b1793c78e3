//! Where an inbound packet goes: views, health, and the exceptions to both.
//!
//! The table of `docs/selection.md` in code. The rule above all of it: a SYN goes only where the
//! packet after it will look.

use crate::abi::sieve::Cell;
use crate::abi::{AddressFlags, FlowWord, HEALTH_BITS, Root, Rule, View};
use crate::family::Family;
use crate::hash::{self, Tuple};
use crate::parse::{self, Headers, Segment, TcpFlags, UDP};
use crate::reason::{Event, Reason};
use crate::tables::{Rings, Shared, Tables, Tier};
use crate::track::{Flow, Side, after, near, proves};
use crate::units::{MemberId, Target};
use crate::window::Window;

/// Draws from the ring before the health set itself is searched: with half of the members down,
/// one flow in 65,536 needs the search.
const DRAWS: u32 = 16;

/// A packet's target, and whether it opens a connection there.
pub struct Choice {
    /// Where it goes.
    pub target: Target,
    /// Whether it is a connection's first packet.
    pub opens: bool,
}

/// What both views of a rule give for one packet.
#[derive(Clone, Copy)]
struct Slots {
    current: Target,
    /// Equal to `current` unless the rule is in transition and this flow is part of it.
    old: Target,
    /// Hash that chose in the current view.
    hash: u64,
}

impl Slots {
    /// This member at the port of the current view.
    #[inline(always)]
    fn at_current(&self, member: MemberId) -> Target {
        Target { member, ..self.current }
    }
}

/// Chooses the member for a packet to a frontend, whose port is so many `behind` the first of the rule. A flow that has
/// an entry of its own is given none, unless `again`: then its entry has been looked for already.
///
/// What functions that are not inlined see are copies, `&{ flow }`: a value whose address is given
/// away lives in memory from its first field on, on every packet's way. With copies it lives in
/// registers until one of the rare ways is taken, which makes the common one a quarter cheaper.
#[inline(always)]
pub fn target<A: Family, F: Window, T: Tables<A>>(
    frame: &F,
    h: &Headers<A>,
    (rule, behind): (&Rule, u16),
    root: &Root,
    tables: &T,
    now: u64,
    again: bool,
) -> Result<Choice, Reason> {
    let tuple = h.from_peer();
    let peer = hash::peer(&root.hash_key, tuple.peer, tuple.peer_port, tuple.protocol);
    let slots = slots((rule, behind), &tuple, peer, root, tables)?;
    if h.is_udp() {
        not_from_a_frontend(h, tables)?;
        let target = datagram(rule, &slots, tables)?;
        return Ok(Choice { target, opens: false });
    }
    let flow = Flow::new(&tuple, peer, rule.life, root, now);
    let marked = flow.marked(tables);
    let settled = slots.current == slots.old && !marked;
    let opens = h.flags.opens();
    if settled && (!opens || accepts(&rule.current, slots.current.member, tables)) {
        return Ok(Choice { target: slots.current, opens });
    }
    if !again && marked && is_tracked(&{ flow }, tables) {
        return Ok(Choice { target: Target::default(), opens: false });
    }
    let target = if opens {
        let fresh = accepting(rule, &slots, tables);
        open(rule, &{ slots }, &{ flow }, fresh, tables).resolve()?
    } else {
        established(&{ slots }, &{ flow }, &parse::segment(frame, h)?, tables)
    };
    Ok(Choice { target, opens })
}

/// Whether a flow has an entry of its own, which marks its bucket as exceptions do.
#[inline(never)]
fn is_tracked<A: Family, T: Tables<A>>(flow: &Flow<'_, A>, tables: &T) -> bool {
    [Tier::Tracked, Tier::Opening].into_iter().any(|tier| tables.tracked(tier, &flow.key).is_some())
}

/// A later fragment goes where its first one went, whatever has changed since.
#[inline(always)]
pub fn after_first<A: Family>(h: &Headers<A>) -> Choice {
    Choice { target: Target { member: h.fragment.member, port: h.destination_port }, opens: false }
}

#[inline(always)]
fn slots<A: Family, T: Shared>(
    (rule, behind): (&Rule, u16),
    tuple: &Tuple<A>,
    peer: u64,
    root: &Root,
    tables: &T,
) -> Result<Slots, Reason> {
    let five = hash::flow(&root.hash_key, peer, tuple.local, tuple.local_port);
    let hash = hash::distribution(&root.hash_key, rule.current.mode, tuple, five);
    let current = in_slot(&rule.current, behind, hash, tables);
    if rule.old.present == 0 {
        return if current.member == MemberId::NONE {
            Err(Reason::EmptyPool)
        } else {
            Ok(Slots { current, old: current, hash })
        };
    }
    let hash_of_old = hash::distribution(&root.hash_key, rule.old.mode, tuple, five);
    let old = in_slot(&rule.old, behind, hash_of_old, tables);
    // An empty ring has no opinion.
    match (current.member, old.member) {
        (MemberId::NONE, MemberId::NONE) => Err(Reason::EmptyPool),
        (_, MemberId::NONE) => Ok(Slots { current, old: current, hash }),
        _ => Ok(Slots { current, old, hash }),
    }
}

#[inline(always)]
fn in_slot<T: Shared>(view: &View, behind: u16, hash: u64, tables: &T) -> Target {
    Target { member: slot(view, hash, tables), port: view.port.plus(behind) }
}

#[inline(always)]
fn slot<T: Rings>(view: &View, hash: u64, tables: &T) -> MemberId {
    if view.ring_size == 0 {
        return MemberId::NONE;
    }
    tables.slot(view.ring_base.wrapping_add(hash::scale(hash, view.ring_size)))
}

/// Whether a member takes new connections.
#[inline(always)]
pub fn accepts<T: Rings>(view: &View, member: MemberId, tables: &T) -> bool {
    let (word, bit) = member.health_place();
    let Some(word) = word.checked_sub(view.health_skip) else { return false };
    if member == MemberId::NONE || word >= view.health_words {
        return false;
    }
    tables.health(view.health_base.wrapping_add(u32::from(word))) >> bit & 1 == 1
}

/// No client has a frontend's address; who claims it wants members to answer each other for ever.
/// TCP ends such a thing by itself.
#[inline(always)]
fn not_from_a_frontend<A: Family, T: Tables<A>>(h: &Headers<A>, tables: &T) -> Result<(), Reason> {
    let forged = tables.sieve(h.ip.source).has(Cell::FRONTEND)
        && tables.address(h.ip.source).has(AddressFlags::FRONTEND);
    if forged { Err(Reason::FromFrontend) } else { Ok(()) }
}

/// UDP without tracking: first accepting of slot target and fallback (S-DIST-15).
#[inline(always)]
fn datagram<T: Shared>(rule: &Rule, slots: &Slots, tables: &T) -> Result<Target, Reason> {
    if accepts(&rule.current, slots.current.member, tables) {
        return Ok(slots.current);
    }
    fallback_target(rule, slots, tables)
}

/// What `open` answers: a target, or in the same word why there is none.
///
/// Functions that are not inlined answer with plain words. LLVM leaves half of an `Option` or
/// `Result` unset in registers, and the verifier (Linux 6.18) refuses what the caller does with
/// that half: "R2 !`read_ok`", "pointer arithmetic with <<= operator prohibited".
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
struct Answer(u32);

impl Answer {
    // As targets, these have no member.
    const NO_HEALTHY_MEMBER: Self = Self(1 << 16);
    const ENTRY_REFUSED: Self = Self(2 << 16);

    #[inline(always)]
    fn to(target: Target) -> Self {
        Self(target.word())
    }

    #[inline(always)]
    fn resolve(self) -> Result<Target, Reason> {
        match self {
            Self::NO_HEALTHY_MEMBER => Err(Reason::NoHealthyMember),
            Self::ENTRY_REFUSED => Err(Reason::EntryRefused),
            Self(word) => Ok(Target::from_word(word)),
        }
    }
}

/// Where a new connection goes that nothing is known of.
#[inline(always)]
fn accepting<T: Shared>(rule: &Rule, slots: &Slots, tables: &T) -> Target {
    if accepts(&rule.current, slots.current.member, tables) {
        return slots.current;
    }
    slots.at_current(fallback(&rule.current, slots.hash, slots.current.member, tables))
}

/// A SYN whose slot does not settle the matter; `fresh` is what [`accepting`] says.
#[inline(never)]
fn open<A: Family, T: Tables<A>>(
    rule: &Rule,
    slots: &Slots,
    flow: &Flow<'_, A>,
    fresh: Target,
    tables: &T,
) -> Answer {
    let takes = |target: Target| {
        let by = |view: &View, slot: Target| target.port == slot.port && accepts(view, target.member, tables);
        by(&rule.current, slots.current) || rule.old.present != 0 && by(&rule.old, slots.old)
    };
    let confirmed = flow.confirmed(tables);
    if let Some(entry) = &confirmed {
        let word = entry.word();
        if takes(word.target()) {
            // So that the next packet finds it, too.
            flow.touch(entry, None, Side::Peer, tables);
            return Answer::to(word.target());
        }
        // The port is used again. The entry stays, in case the SYN is forged.
        entry.replace(word, word.with(FlowWord::REUSED));
        tables.count(Event::Reused);
    }
    let pending = flow.pending(tables);
    if let Some(entry) = &pending {
        let target = entry.word().target();
        if takes(target) {
            flow.touch(entry, None, Side::Peer, tables);
            return Answer::to(target);
        }
    }
    let unknown = confirmed.is_none() && pending.is_none();
    let slot_accepts = fresh == slots.current && fresh.member != MemberId::NONE;
    let agree = slots.current == slots.old;
    if unknown && agree && slot_accepts {
        return Answer::to(slots.current);
    }
    if unknown && !agree && !slot_accepts && accepts(&rule.old, slots.old.member, tables) {
        return Answer::to(slots.old);
    }
    if fresh.member == MemberId::NONE {
        return Answer::NO_HEALTHY_MEMBER;
    }
    if flow.suspend(flow.word(fresh, 0), 0, tables).is_ok() {
        if !slot_accepts {
            tables.count(Event::Fallback);
        }
        return Answer::to(fresh);
    }
    // Nothing remembers this flow: its next packet will look at the old view.
    if unknown && takes(slots.old) { Answer::to(slots.old) } else { Answer::ENTRY_REFUSED }
}

/// A later packet of a connection that may be an exception.
#[inline(never)]
fn established<A: Family, T: Tables<A>>(
    slots: &Slots,
    flow: &Flow<'_, A>,
    segment: &Segment,
    tables: &T,
) -> Target {
    if let Some(entry) = flow.confirmed(tables) {
        let word = entry.word();
        if word.has(FlowWord::REUSED)
            && let Some(pending) = flow.pending(tables)
            && proves(segment, &pending)
        {
            let target = pending.word().target();
            entry.replace(word, flow.word(target, 0));
            return target;
        }
        flow.touch(&entry, Some(segment), Side::Peer, tables);
        return word.target();
    }
    if let Some(entry) = flow.pending(tables) {
        let target = entry.word().target();
        if proves(segment, &entry) {
            flow.promote(&entry, segment, Side::Peer, tables);
            return target;
        }
        if entry.word().has(FlowWord::USABLE) {
            flow.touch(&entry, Some(segment), Side::Peer, tables);
            return target;
        }
    }
    if slots.current != slots.old && !segment.flags.has(TcpFlags::RST) {
        // Older than the change. A refusal is counted, and prolongs the transition.
        let word = after(flow.word(slots.old, FlowWord::USABLE), segment, Side::Peer);
        let _ = flow.suspend(word, 0, tables);
    }
    slots.old
}

/// Where the next packet of an established flow would go. Looks at exceptions, and records, touches
/// and promotes none: what asks has proven nothing. `seq` is of a segment that the member has sent.
#[inline(always)]
pub fn bystander<A: Family, T: Tables<A>>(
    tuple: &Tuple<A>,
    seq: u32,
    (rule, behind): (&Rule, u16),
    root: &Root,
    tables: &T,
    now: u64,
) -> Result<Target, Reason> {
    let peer = hash::peer(&root.hash_key, tuple.peer, tuple.peer_port, tuple.protocol);
    let slots = slots((rule, behind), tuple, peer, root, tables)?;
    if tuple.protocol == UDP {
        return datagram(rule, &slots, tables);
    }
    let flow = Flow::new(tuple, peer, rule.life, root, now);
    if !flow.marked(tables) {
        return Ok(slots.old);
    }
    let found = flow.confirmed(tables).or_else(|| {
        flow.pending(tables).filter(|entry| {
            let word = entry.word();
            word.has(FlowWord::USABLE) || word.has(FlowWord::SEQ_KNOWN) && near(seq, entry.member_seq())
        })
    });
    Ok(found.map_or(slots.old, |entry| entry.word().target()))
}

#[inline(always)]
fn fallback_target<T: Shared>(rule: &Rule, slots: &Slots, tables: &T) -> Result<Target, Reason> {
    match fallback(&rule.current, slots.hash, slots.current.member, tables) {
        MemberId::NONE => Err(Reason::NoHealthyMember),
        member => Ok(slots.at_current(member)),
    }
}

/// A member that accepts, chosen by a second hash of the same tuple: a few draws from the ring,
/// which keep the weights, then the health set from a random bit on, which finds one if there is
/// any. The slot's own member is not drawn, so that the answer stays the same when it is back.
#[inline(always)]
fn fallback<T: Shared>(view: &View, hash: u64, own: MemberId, tables: &T) -> MemberId {
    let member = draw(view, hash, own, tables);
    if member == MemberId::NONE { search(view, hash, tables) } else { member }
}

#[inline(never)]
fn draw<T: Shared>(view: &View, hash: u64, own: MemberId, tables: &T) -> MemberId {
    let mut draw = Draw { view: *view, hash, own, member: MemberId::NONE };
    tables.draw(DRAWS, &mut draw);
    draw.member
}

/// A walk of the ring for a member that accepts.
pub struct Draw {
    view: View,
    hash: u64,
    own: MemberId,
    member: MemberId,
}

impl Draw {
    /// One step; true ends the walk.
    #[inline(always)]
    pub fn round<T: Rings>(&mut self, tables: &T) -> bool {
        self.hash = hash::again(self.hash);
        let member = slot(&self.view, self.hash, tables);
        let found = member != self.own && accepts(&self.view, member, tables);
        if found {
            self.member = member;
        }
        found
    }
}

/// The first accepting member from a random place on.
#[inline(never)]
fn search<T: Shared>(view: &View, hash: u64, tables: &T) -> MemberId {
    let hash = hash::again(!hash);
    let words = u32::from(view.health_words);
    let start = hash::scale(hash, words);
    let Some((index, word)) = tables.healthy(view.health_base, words, start) else { return MemberId::NONE };
    let bit = set_bit(word, hash::scale(hash::again(hash), HEALTH_BITS));
    let member = (u32::from(view.health_skip) + index) * HEALTH_BITS + bit;
    #[allow(clippy::cast_possible_truncation, reason = "labels are 16 bits")]
    MemberId(member as u16)
}

/// The first set bit of a word that is not 0, from bit `start` on and around.
#[inline(always)]
fn set_bit(word: u64, start: u32) -> u32 {
    let turned = word.rotate_right(start);
    let mut rest = turned;
    let mut bit = 0;
    let mut width = HEALTH_BITS / 2;
    while width > 0 {
        if rest & ((1 << width) - 1) == 0 {
            rest >>= width;
            bit += width;
        }
        width /= 2;
    }
    (bit + start) % HEALTH_BITS
}

/// Whether the flow's datagrams can have reached this member at this port: as their slot's, their
/// old or their fallback target.
#[inline(always)]
pub fn could_reach<A: Family, T: Shared>(
    tuple: &Tuple<A>,
    peer: u64,
    target: Target,
    (rule, behind): (&Rule, u16),
    root: &Root,
    tables: &T,
) -> bool {
    let Ok(slots) = slots((rule, behind), tuple, peer, root, tables) else { return false };
    let fallback = || fallback(&rule.current, slots.hash, slots.current.member, tables);
    slots.current == target || slots.old == target || slots.at_current(fallback()) == target
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_bit_finds_the_next_one_around() {
        for start in 0..64 {
            for bits in [1u64 << 63, 1, 0x8000_0000_0000_0001, 1 << 17, u64::MAX] {
                let expected = (0..64).map(|step| (start + step) % 64).find(|bit| bits >> bit & 1 == 1);
                assert_eq!(Some(set_bit(bits, start)), expected, "{bits:x} from {start}");
            }
        }
    }
}
