//! Messages of our own, and how many of them there may be.

use super::error::put_checksum;
use super::{Header, Icmp, Kind, LENGTH, end};
use crate::abi::{IcmpState, Root};
use crate::csum::Delta;
use crate::family::ETH_LEN;
use crate::nat::{self, NewIp};
use crate::outcome::NextHop;
use crate::parse::Ip;
use crate::reason::Reason;
use crate::tables::Tables;
use crate::window::Window;
use crate::words::{half, long, put_half, word};

/// Answers that a processor gives in a tick of about a quarter of a second: some 1,000 a second.
pub const LIMIT: u32 = 256;

/// Hops that an answer may go: the default of RFC 1700, which Linux has too.
const TTL: u8 = 64;

/// An error about the frame at hand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer<A> {
    /// The address that tells it.
    pub(super) from: A,
    pub(super) kind: Kind,
    /// Bytes that the next link takes, where that is what it tells.
    pub(super) mtu: u16,
}

/// Takes one of the answers that this processor has left, if the sender is one to be answered.
/// What is not used in a tick is not saved up.
#[inline(always)]
pub(super) fn permit<A: Icmp, T: Tables<A>>(
    ip: &Ip<A>,
    root: &Root,
    tables: &T,
    jiffies: u64,
) -> Result<(), Reason> {
    if !ip.source.is_host() {
        return Err(Reason::SourceNoHost);
    }
    let (tick, state) = (root.clock(jiffies).now.get(), tables.icmp());
    let answers = if state.tick == tick { state.answers } else { 0 };
    if answers >= LIMIT {
        return Err(Reason::IcmpLimited);
    }
    tables.set_icmp(IcmpState { tick, answers: answers + 1, ..state });
    Ok(())
}

/// Turns an echo request into its answer.
#[inline(always)]
pub(super) fn echo<A: Icmp, F: Window>(frame: &mut F, ip: &Ip<A>, header: &Header) -> Option<()> {
    let Kind(kind, code) = header.kind;
    let word = |kind| u16::from_ne_bytes([kind, code]);
    let checksum = match Delta::default().half(word(kind), word(A::ECHO_REPLY)).apply(header.checksum) {
        // Both are 0 in ones' complement; but of nothing but zeros, which an answer of ICMP can be, only
        // all ones is accepted.
        0 => 0xffff,
        checksum => checksum,
    };
    put_checksum::<A, F>(frame, checksum)?;
    *frame.view_mut(A::AT)? = [A::ECHO_REPLY];
    let checksum = A::header_checksum(ip, Delta::default(), TTL);
    A::write(frame, &NewIp { source: ip.destination, destination: ip.source, ttl: TTL, checksum })?;
    nat::send_by(frame, &NextHop::back(frame)?)
}

/// Puts an error before the packet, which has its first bytes quoted, and sends it back.
#[inline(always)]
pub(super) fn send<A: Icmp, F: Window>(frame: &mut F, ip: &Ip<A>, answer: &Answer<A>) -> Option<()> {
    let back = NextHop::back(frame)?;
    #[allow(clippy::cast_possible_truncation, reason = "54 at most")]
    let headers = (A::AT - ETH_LEN) as u16 + LENGTH;
    let length = headers + ip.length.min(A::LONGEST - headers);
    frame.cut(end(ip).min(ETH_LEN + (A::LONGEST - headers) as usize))?;
    frame.grow(headers as usize)?;
    put_half::<0, 2>(frame.view_mut(ETH_LEN - 2)?, A::ETHERTYPE.to_be());
    A::head(frame, answer.from, ip.source, length)?;
    let b: &mut [u8; LENGTH as usize] = frame.view_mut(A::AT)?;
    // The lower half of the last word is the next link's MTU in ICMP (RFC 1191), all of it in
    // ICMPv6; where neither is told, it is 0.
    *b = [answer.kind.0, answer.kind.1, 0, 0, 0, 0, 0, 0];
    put_half::<6, { LENGTH as usize }>(b, answer.mtu.to_be());
    let message = length - (headers - LENGTH);
    let checksum = sum(frame, A::AT, A::LONGEST).and(A::pseudo(answer.from, ip.source, message)).whole();
    put_checksum::<A, F>(frame, checksum)?;
    nat::send_by(frame, &back)
}

/// The sum of the frame from `at` on, of at most `most` bytes, the last ones of an odd frame with
/// zeros behind them.
#[inline(always)]
pub(super) fn sum<F: Window>(frame: &F, at: usize, most: u16) -> Delta {
    let (mut at, mut sum) = (at, Delta::default());
    for _ in 0..most / 8 {
        let Some(b) = frame.view::<8>(at) else { break };
        sum = sum.long(0, long::<0, 8>(b));
        at += 8;
    }
    if let Some(b) = frame.view::<4>(at) {
        sum = sum.word(0, word::<0, 4>(b));
        at += 4;
    }
    if let Some(b) = frame.view::<2>(at) {
        sum = sum.half(0, half::<0, 2>(b));
        at += 2;
    }
    if let Some(&[last]) = frame.view::<1>(at) {
        sum = sum.half(0, u16::from_ne_bytes([last, 0]));
    }
    sum
}
