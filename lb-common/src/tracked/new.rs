//! The first packet of a flow: its member, and, where the member must not see the client, an address
//! and a port of ours.

use super::Sight;
use super::pair::{lives, other};
use crate::abi::{FlowEntry, FlowKey, FlowWord, Rule, TrackEntry, Translation};
use crate::family::Family;
use crate::hash;
use crate::parse::Headers;
use crate::reason::Event;
use crate::tables::{Tables, Tier};
use crate::track::Flow;
use crate::units::{MemberId, Port, Target};

/// Ports that are tried. With half of them taken, one flow in 256 finds none, and its next SYN tries others.
const TRIES: u64 = 8;

/// Makes both entries of a flow for the member that was chosen, the way back first; in `to` what the packet becomes.
/// [`MemberId::NONE`] if there is no room for them. Not inlined, for the stack.
#[inline(never)]
pub(super) fn flow<A: Family, T: Tables<A>>(
    headers: &Headers<A>,
    rule: &Rule,
    sight: &Sight<'_>,
    to: &mut Translation<A>,
    tables: &T,
) -> MemberId {
    let target = Target::from_word(tables.icmp().target);
    let Some(member) = tables.member(target.member) else { return MemberId::NONE };
    let flow = &sight.forward(headers, rule);
    (to.source, to.source_port) = (flow.key.peer, flow.key.peer_port);
    (to.destination, to.destination_port) = (member.address, target.port);
    (to.stats, to.life) = (rule.stats, rule.life);
    // Nothing but a SYN has to be proven by its answer: the other end need only speak.
    let flags = if headers.flags.opens() { 0 } else { FlowWord::USABLE };
    // One at a time: there is not room on the stack for both.
    let mut entry = TrackEntry { flow: FlowEntry::new(flow.word(target, flags), 0), to: *to };
    let hides_client = flow.key.peer.shares(member.address, member.apart);
    let mut hash = u64::from(headers.checksum) ^ sight.jiffies;
    for round in 0..TRIES {
        let hides_client = hides_client || round > 0;
        hash = hash::again(hash);
        if hides_client && !take_source(member.sources, hash, to, tables) {
            break;
        }
        let key = other(to, flow);
        if is_taken(flow, &key, hides_client, tables) {
            continue;
        }
        (entry.to.source, entry.to.source_port) = (flow.key.local, flow.key.local_port);
        (entry.to.destination, entry.to.destination_port) = (flow.key.peer, flow.key.peer_port);
        if tables.track(Tier::Opening, &key, &entry, hides_client).is_err() {
            continue;
        }
        entry.to = *to;
        if tables.track(Tier::Opening, &flow.key, &entry, false).is_ok() {
            flow.mark(tables);
            return target.member;
        }
        tables.untrack(Tier::Opening, &key);
    }
    tables.count(Event::TrackRefused);
    MemberId::NONE
}

/// An address and port of ours by a hash; whether there is any.
#[inline(always)]
fn take_source<A: Family, T: Tables<A>>(first: u16, hash: u64, to: &mut Translation<A>, tables: &T) -> bool {
    let first = u32::from(first);
    let Some(run) = tables.source(first).map(|source| u32::from(source.run)) else { return false };
    let Some(source) = tables.source(first + hash::scale(hash, run)) else { return false };
    if source.ports == 0 {
        return false;
    }
    let step = hash::scale(hash::again(!hash), u32::from(source.ports));
    #[allow(clippy::cast_possible_truncation, reason = "less than `ports`")]
    let port = source.first.wrapping_add(step as u16);
    (to.source, to.source_port) = (source.address, Port::new(port));
    true
}

/// Whether the way back belongs to another flow. A port of ours is taken until user space has deleted what was the
/// last to use it, a minute after its end: members may keep a closed connection in mind for so long.
#[inline(always)]
fn is_taken<A: Family, T: Tables<A>>(
    flow: &Flow<'_, A>,
    key: &FlowKey<A>,
    hides_client: bool,
    tables: &T,
) -> bool {
    [Tier::Tracked, Tier::Opening].into_iter().any(|tier| {
        let Some(entry) = tables.tracked(tier, key) else { return false };
        let ours = other(&entry.to, flow) == flow.key;
        let word = entry.flow.word();
        hides_client || !ours && word.tick().age(flow.now()) <= lives(tier, word, &entry.to, flow.root())
    })
}
