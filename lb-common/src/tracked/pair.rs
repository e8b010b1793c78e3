//! The two entries of a flow, and what packets do to them.

use super::Sight;
use crate::abi::{FlowEntry, FlowKey, FlowWord, Rule, TrackEntry, Translation};
use crate::choose;
use crate::family::Family;
use crate::parse::{Headers, Segment, TcpFlags, UDP};
use crate::reason::Event;
use crate::tables::{Tables, Tier};
use crate::track::{Flow, Side, after, life, proves};
use crate::units::MemberId;

/// The label of a flow's member, and whether the packet proves the flow: plain words, see `choose::Answer`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Found(u32);

impl Found {
    const NOTHING: Self = Self(0);
    const PROVEN: u32 = 1 << 16;

    #[inline(always)]
    fn flow<A>(entry: &TrackEntry<A>, proven: bool) -> Self {
        Self(u32::from(entry.flow.word().target().member.0) | if proven { Self::PROVEN } else { 0 })
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "a field of the word")]
    pub(super) fn member(self) -> Option<MemberId> {
        (self != Self::NOTHING).then_some(MemberId(self.0 as u16))
    }

    #[inline(always)]
    pub(super) fn is_proven(self) -> bool {
        self.0 & Self::PROVEN != 0
    }
}

/// Looks for a flow from a client, and notes the packet; in `to` what it becomes.
#[inline(never)]
pub(super) fn forward<A: Family, T: Tables<A>>(
    headers: &Headers<A>,
    rule: &Rule,
    sight: &Sight<'_>,
    to: &mut Translation<A>,
    tables: &T,
) -> Found {
    let (flow, segment) = (&sight.forward(headers, rule), &sight.segment);
    let opens = segment.flags.opens();
    if let Some(entry) = alive(flow, Tier::Tracked, tables) {
        let word = entry.flow.word();
        let replaced = if opens {
            let replaced = !takes(rule, word, tables);
            if replaced {
                // The port is used again. The entry stays, in case the SYN is forged.
                entry.flow.replace(word, word.with(FlowWord::REUSED));
                tables.count(Event::Reused);
            }
            replaced
        } else {
            word.has(FlowWord::REUSED) && opening_proves(flow, segment, tables)
        };
        if !replaced {
            note(flow, Tier::Tracked, &entry, segment, Side::Peer, tables);
            *to = entry.to;
            return Found::flow(&entry, false);
        }
    }
    let Some(entry) = alive(flow, Tier::Opening, tables) else { return Found::NOTHING };
    // A SYN that comes again may have lost its way back meanwhile.
    if opens
        && !(takes(rule, entry.flow.word(), tables) && partner(flow, Tier::Opening, &entry, tables).is_some())
    {
        return Found::NOTHING;
    }
    note(flow, Tier::Opening, &entry, segment, Side::Peer, tables);
    *to = entry.to;
    Found::flow(&entry, proves(segment, &entry.flow))
}

/// Looks for a flow from a member, and notes the packet; in `to` what it becomes.
#[inline(never)]
pub(super) fn backward<A: Family, T: Tables<A>>(
    headers: &Headers<A>,
    sight: &Sight<'_>,
    to: &mut Translation<A>,
    tables: &T,
) -> Found {
    let (flow, segment) = (&sight.backward(headers), &sight.segment);
    if let Some(entry) = alive(flow, Tier::Tracked, tables) {
        note(flow, Tier::Tracked, &entry, segment, Side::Member, tables);
        *to = entry.to;
        return Found::flow(&entry, false);
    }
    let Some(entry) = alive(flow, Tier::Opening, tables) else { return Found::NOTHING };
    note(flow, Tier::Opening, &entry, segment, Side::Member, tables);
    if segment.flags.accepts()
        && let Some(forward) = partner(flow, Tier::Opening, &entry, tables)
    {
        forward.flow.set_member_seq(segment.seq.wrapping_add(1));
        let word = forward.flow.word();
        forward.flow.replace(word, word.with(FlowWord::SEQ_KNOWN));
    }
    *to = entry.to;
    // Both ends of a conversation that began without a SYN have spoken.
    let proven = entry.flow.word().has(FlowWord::USABLE) && !segment.flags.has(TcpFlags::RST | TcpFlags::SYN);
    Found::flow(&entry, proven)
}

/// Moves both directions of a packet's flow to `tracked`; they stay in `opening` until they have aged. Where
/// there is no room, they serve on as long as they are not evicted.
#[inline(never)]
pub(super) fn promote<A: Family, T: Tables<A>>(headers: &Headers<A>, sight: &Sight<'_>, tables: &T) {
    let flow = sight.backward(headers);
    let Some(entry) = tables.tracked(Tier::Opening, &flow.key) else { return };
    let key = other(&entry.to, &flow);
    let Some(partner) = tables.tracked(Tier::Opening, &key) else { return };
    if tables.track(Tier::Tracked, &key, &proven(&partner), false).is_ok() {
        if tables.track(Tier::Tracked, &flow.key, &proven(&entry), false).is_ok() {
            tables.count(Event::Tracked);
            end(&flow, &entry);
            end(&flow, &partner);
            return;
        }
        tables.untrack(Tier::Tracked, &key);
    }
    tables.count(Event::TrackRefused);
    for entry in [&*entry, &*partner] {
        let word = entry.flow.word();
        entry.flow.replace(word, word.with(FlowWord::USABLE));
    }
}

/// Has an entry in `opening` count as closed from now on: it must not outlive the proven one.
#[inline(always)]
fn end<A: Family>(flow: &Flow<'_, A>, entry: &TrackEntry<A>) {
    let word = entry.flow.word();
    let closed = word.without(FlowWord::USABLE).with(FlowWord::FIN_CLIENT | FlowWord::FIN_MEMBER);
    entry.flow.replace(word, closed.at(flow.now()));
}

/// An entry as it is in `tracked`.
#[inline(always)]
fn proven<A: Family>(entry: &TrackEntry<A>) -> TrackEntry<A> {
    const OPENING: u64 = FlowWord::USABLE | FlowWord::SEQ_KNOWN | FlowWord::REUSED;
    TrackEntry { flow: FlowEntry::new(entry.flow.word().without(OPENING), 0), to: entry.to }
}

/// The entry of the other direction.
#[inline(always)]
fn partner<A: Family, T: Tables<A>>(
    flow: &Flow<'_, A>,
    tier: Tier,
    entry: &TrackEntry<A>,
    tables: &T,
) -> Option<T::Track> {
    tables.tracked(tier, &other(&entry.to, flow))
}

/// Whether a packet acknowledges what the member has answered to a SYN that met another connection.
#[inline(always)]
fn opening_proves<A: Family, T: Tables<A>>(flow: &Flow<'_, A>, segment: &Segment, tables: &T) -> bool {
    alive(flow, Tier::Opening, tables).is_some_and(|entry| proves(segment, &entry.flow))
}

/// Whether the entry's member takes new connections of the rule.
#[inline(always)]
fn takes<A: Family, T: Tables<A>>(rule: &Rule, word: FlowWord, tables: &T) -> bool {
    let by = |view: &crate::abi::View| choose::accepts(view, word.target().member, tables);
    by(&rule.current) || rule.old.present != 0 && by(&rule.old)
}

/// The key of the packets that come back to those of `to`.
#[inline(always)]
pub(super) fn other<A: Family>(to: &Translation<A>, flow: &Flow<'_, A>) -> FlowKey<A> {
    FlowKey {
        peer: to.destination,
        local: to.source,
        peer_port: to.destination_port,
        local_port: to.source_port,
        ..flow.key
    }
}

/// The entry of this direction, if the flow has not been silent for longer than its life.
#[inline(always)]
fn alive<A: Family, T: Tables<A>>(flow: &Flow<'_, A>, tier: Tier, tables: &T) -> Option<T::Track> {
    let entry = tables.tracked(tier, &flow.key)?;
    if is_young(flow, tier, &entry) {
        return Some(entry);
    }
    // The other direction may have spoken since.
    let partner = partner(flow, tier, &entry, tables)?;
    is_young(flow, tier, &partner).then_some(entry)
}

#[inline(always)]
fn is_young<A: Family>(flow: &Flow<'_, A>, tier: Tier, entry: &TrackEntry<A>) -> bool {
    let word = entry.flow.word();
    word.tick().age(flow.now()) <= lives(tier, word, &entry.to, flow.root())
}

/// How long a direction lives since its last packet, in ticks.
#[inline(always)]
#[must_use]
pub fn lives<A>(tier: Tier, word: FlowWord, to: &Translation<A>, root: &crate::abi::Root) -> u32 {
    let life = life(word, to.life, root);
    if tier == Tier::Opening && !word.has(FlowWord::USABLE) { life.min(root.handshake_life) } else { life }
}

/// Notes a packet: its moment, and, in both directions, what it says of the connection's end.
#[inline(always)]
fn note<A: Family, T: Tables<A>>(
    flow: &Flow<'_, A>,
    tier: Tier,
    entry: &TrackEntry<A>,
    segment: &Segment,
    side: Side,
    tables: &T,
) {
    let word = entry.flow.word();
    let told =
        if flow.key.protocol == UDP || segment.flags.opens() { word } else { after(word, segment, side) };
    entry.flow.replace(word, told.at(flow.now()));
    if told != word
        && let Some(partner) = partner(flow, tier, entry, tables)
    {
        const END: u64 = FlowWord::RST | FlowWord::FIN_CLIENT | FlowWord::FIN_MEMBER;
        let word = partner.flow.word();
        partner.flow.replace(word, word.without(END).with(told.flags() & END));
    }
    if side == Side::Peer {
        flow.mark(tables);
    }
}
