//! Exceptions: who is believed, who is remembered, and for how long.
//!
//! Both tables are asked only where a packet's mark is young. `confirmed` comes first; `pending`
//! is believed once its proof has been seen. An entry that is past its life is as good as absent,
//! whether or not user space has come by to delete it.

use crate::abi::{FlowEntry, FlowKey, FlowWord, MARK_BITS, Root};
use crate::family::Family;
use crate::hash::Tuple;
use crate::parse::{Segment, TcpFlags};
use crate::reason::Event;
use crate::tables::{Full, Shared, Tables};
use crate::units::{Addr, Port, Target, Tick};

/// How far a member's sequence number may be from what its peer acknowledged last, for the two
/// to belong to one connection: a guess succeeds once in 32,768.
pub const NEAR: u32 = 1 << 16;

/// Which end of a connection a packet comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client, or the peer of a member.
    Peer,
    /// The member.
    Member,
}

/// A flow and the moment at which a packet of it is looked at.
#[derive(Clone, Copy)]
pub struct Flow<'r, A = Addr> {
    /// Key of both tables.
    pub key: FlowKey<A>,
    bucket: u32,
    life: u32,
    root: &'r Root,
    now: Tick,
    coarse: u16,
}

impl<'r, A: Family> Flow<'r, A> {
    /// A flow whose peer hashes to `peer` and whose rule keeps exceptions for `life` ticks.
    #[inline(always)]
    #[must_use]
    pub fn new(tuple: &Tuple<A>, peer: u64, life: u32, root: &'r Root, now: u64) -> Self {
        let clock = root.clock(now);
        Self {
            key: key(tuple),
            bucket: (peer >> (64 - MARK_BITS)) as u32,
            life,
            root,
            now: clock.now,
            coarse: clock.coarse,
        }
    }

    /// Whether the peer may have an exception at all. A mark ahead of our clock is young: another
    /// CPU has just written it.
    #[inline(always)]
    pub fn marked<T: Shared>(&self, tables: &T) -> bool {
        // 65535 is followed by 1 twice: `Tick::coarse` never gives 0.
        const AHEAD: u16 = 2;
        let mark = tables.mark(self.bucket);
        let age = self.coarse.wrapping_sub(mark).wrapping_add(AHEAD);
        mark != 0 && u32::from(age) <= self.root.mark_life + u32::from(AHEAD)
    }

    /// The same moment and peer, another local side.
    #[inline(always)]
    #[must_use]
    pub fn to(&self, local: A, local_port: Port) -> Self {
        Self { key: FlowKey { local, local_port, ..self.key }, ..*self }
    }

    /// The proven exception of this flow.
    #[inline(always)]
    pub fn confirmed<T: Tables<A>>(&self, tables: &T) -> Option<T::Entry> {
        let entry = tables.confirmed(&self.key)?;
        let word = entry.word();
        (word.tick().age(self.now) <= life(word, self.life, self.root)).then_some(entry)
    }

    /// The exception of this flow that awaits its proof.
    #[inline(always)]
    pub fn pending<T: Tables<A>>(&self, tables: &T) -> Option<T::Entry> {
        let entry = tables.pending(&self.key)?;
        let word = entry.word();
        let life = life(word, self.life, self.root);
        let life = if word.has(FlowWord::USABLE) { life } else { life.min(self.root.handshake_life) };
        (word.tick().age(self.now) <= life).then_some(entry)
    }

    /// Remembers the flow until its proof: the entry first, then the mark that leads to it.
    #[inline(always)]
    pub fn suspend<T: Tables<A>>(&self, word: FlowWord, member_seq: u32, tables: &T) -> Result<(), Full> {
        let stored = tables.suspend(&self.key, &FlowEntry::new(word.at(self.now), member_seq));
        tables.count(if stored.is_ok() { Event::Suspended } else { Event::SuspendRefused });
        stored?;
        self.mark(tables);
        Ok(())
    }

    /// Moves a proven flow to `confirmed`. Where that is full, the pending entry serves on as
    /// long as it is not evicted. It is not deleted, so that nobody can meet a gap, but counts as
    /// closed from now on: it must not outlive the proven one.
    #[inline(always)]
    pub fn promote<T: Tables<A>>(&self, pending: &FlowEntry, packet: &Segment, side: Side, tables: &T) {
        let word = pending.word();
        let told = after(word, packet, side).at(self.now);
        let proven = told.without(FlowWord::USABLE | FlowWord::SEQ_KNOWN);
        if tables.confirm(&self.key, &FlowEntry::new(proven, 0)).is_ok() {
            tables.count(Event::Confirmed);
            pending.replace(word, word.with(FlowWord::FIN_CLIENT | FlowWord::FIN_MEMBER).at(self.now));
        } else {
            tables.count(Event::ConfirmRefused);
            pending.replace(word, told.with(FlowWord::USABLE));
        }
        self.mark(tables);
    }

    /// Notes a packet of the flow: its tick, and what it says of the connection's end.
    #[inline(always)]
    pub fn touch<T: Shared>(&self, entry: &FlowEntry, packet: Option<&Segment>, side: Side, tables: &T) {
        let word = entry.word();
        let told = packet.map_or(word, |segment| after(word, segment, side));
        entry.replace(word, told.at(self.now));
        self.mark(tables);
    }

    /// Makes an entry as good as absent.
    #[inline(always)]
    pub fn end(&self, entry: &FlowEntry) {
        let word = entry.word();
        let past = Tick::new(self.now.get().wrapping_sub(self.root.closed_life + 1));
        entry.replace(word, word.with(FlowWord::RST).at(past));
    }

    /// A word for this flow at this moment.
    #[inline(always)]
    #[must_use]
    pub fn word(&self, target: Target, flags: u64) -> FlowWord {
        FlowWord::new(target, self.now, flags)
    }

    /// A word for this flow at this moment, of packets that pass untouched.
    #[inline(always)]
    #[must_use]
    pub fn untouched(&self, flags: u64) -> FlowWord {
        FlowWord::untouched(self.now, flags)
    }

    /// The moment.
    #[inline(always)]
    pub(crate) fn now(&self) -> Tick {
        self.now
    }

    /// What holds for all packets.
    #[inline(always)]
    pub(crate) fn root(&self) -> &'r Root {
        self.root
    }

    /// Marks the bucket of the flow's peer.
    #[inline(always)]
    pub(crate) fn mark<T: Shared>(&self, tables: &T) {
        if tables.mark(self.bucket) != self.coarse {
            tables.set_mark(self.bucket, self.coarse);
        }
    }
}

/// Whether the peer acknowledges exactly what the member sent to open the connection: nobody who
/// has not seen the member's SYN-ACK can, but by one guess in 2^32.
#[inline(always)]
pub fn proves(segment: &Segment, entry: &FlowEntry) -> bool {
    entry.word().has(FlowWord::SEQ_KNOWN)
        && segment.flags.0 & (TcpFlags::ACK | TcpFlags::SYN | TcpFlags::RST) == TcpFlags::ACK
        && segment.ack == entry.member_seq()
}

/// Whether two sequence numbers may be of one connection.
#[inline(always)]
#[must_use]
pub fn near(seq: u32, known: u32) -> bool {
    seq.wrapping_sub(known).wrapping_add(NEAR) < 2 * NEAR
}

#[inline(always)]
fn key<A: Family>(tuple: &Tuple<A>) -> FlowKey<A> {
    FlowKey {
        peer: tuple.peer,
        local: tuple.local,
        peer_port: tuple.peer_port,
        local_port: tuple.local_port,
        protocol: tuple.protocol,
        reserved: [0; 3],
    }
}

/// How long an entry lives since its last packet, in ticks.
#[inline(always)]
#[must_use]
pub fn life(word: FlowWord, rule: u32, root: &Root) -> u32 {
    const BOTH: u64 = FlowWord::FIN_CLIENT | FlowWord::FIN_MEMBER;
    if word.has(FlowWord::RST) || word.flags() & BOTH == BOTH {
        rule.min(root.closed_life)
    } else if word.has(BOTH) {
        rule.min(root.half_closed_life)
    } else {
        rule
    }
}

/// What a TCP packet says of the connection's end. A RST or FIN may be forged: any later packet
/// without RST, and any later data, take it back. A SYN-ACK begins the connection anew.
#[inline(always)]
#[must_use]
pub fn after(word: FlowWord, segment: &Segment, side: Side) -> FlowWord {
    if segment.flags.has(TcpFlags::RST) {
        return word.with(FlowWord::RST);
    }
    if segment.flags.accepts() {
        return word.without(FlowWord::RST | FlowWord::FIN_CLIENT | FlowWord::FIN_MEMBER);
    }
    let fin = match side {
        Side::Peer => FlowWord::FIN_CLIENT,
        Side::Member => FlowWord::FIN_MEMBER,
    };
    let word = word.without(FlowWord::RST);
    if segment.flags.has(TcpFlags::FIN) {
        word.with(fin)
    } else if segment.payload > 0 {
        word.without(fin)
    } else {
        word
    }
}
