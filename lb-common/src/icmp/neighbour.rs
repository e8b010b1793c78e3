//! Neighbour discovery (RFC 4861): who asks for a frontend on a link that it lies on is told our
//! hardware address.

use super::answer::sum;
use super::error::put_checksum;
use super::{Icmp, is_icmp};
use crate::abi::AnnouncedKey;
use crate::csum::Delta;
use crate::family::{ETH_LEN, Family, GROUP};
use crate::nat;
use crate::outcome::{NextHop, Outcome};
use crate::reason::Reason;
use crate::tables::Tables;
use crate::units::Addr6;
use crate::window::Window;
use crate::words::{half, long, put_half, put_long};

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Bytes of either, without options.
const LENGTH: u16 = 24;
/// Where the options begin.
const OPTIONS: usize = Addr6::AT + LENGTH as usize;
/// Options are counted in units of eight bytes (section 4.6).
const UNIT: u16 = 8;
/// Units of options that are read. A hardware address takes one, as does the number by which a host
/// knows its own question again (RFC 7527).
const UNITS: u16 = 8;
/// Option with the sender's hardware address.
const SOURCE_HARDWARE: u8 = 1;
/// Option with the target's.
const TARGET_HARDWARE: u8 = 2;
/// Nothing else says that a packet has not left its link (section 7.1.1).
const HOPS: u8 = 255;
/// The answer to somebody.
const SOLICITED: u8 = 0x40;
/// What was known before gives way.
const OVERRIDE: u8 = 0x20;
const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// RFC 2464, section 7.
const ALL_NODES_HARDWARE: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

/// Whether the frame carries a neighbour solicitation.
#[inline(always)]
pub(super) fn is_solicitation<F: Window>(frame: &F) -> bool {
    is_icmp::<Addr6, F>(frame) && frame.view(Addr6::AT).is_some_and(|kind| *kind == [SOLICITATION])
}

/// Answers a solicitation for a frontend that is announced on the frame's link. All else passes.
#[inline(always)]
pub fn advertise<F: Window, T: Tables<Addr6>>(frame: &mut F, tables: &T) -> Outcome {
    let group = frame.view::<6>(0).is_none_or(|whom| whom[0] & GROUP != 0);
    let Some((asked, ours)) = ours(frame, tables) else {
        return if group { Reason::LinkGroup } else { Reason::NeighbourDiscovery }.into();
    };
    match tell(frame, &asked, ours) {
        Some(()) => Reason::NeighbourAdvertised.into(),
        None => Reason::BadLength.into(),
    }
}

/// A valid solicitation for a frontend, and our hardware address.
#[inline(always)]
fn ours<F: Window, T: Tables<Addr6>>(frame: &F, tables: &T) -> Option<(Asked, [u8; 6])> {
    let asked = read(frame)?;
    let key = AnnouncedKey { ifindex: frame.ingress(), address: asked.target };
    let ours = tables.announced(&key)?.hardware;
    let b: &[u8; 6] = frame.view(0)?;
    (b[0] & GROUP != 0 || *b == ours).then_some((asked, ours))
}

/// A solicitation.
#[derive(Debug, Clone, Copy)]
struct Asked {
    hardware: [u8; 6],
    /// `None` if the sender has no address yet and looks whether the target is free.
    source: Option<Addr6>,
    target: Addr6,
}

/// `None` unless it is valid (section 7.1.1).
#[inline(always)]
fn read<F: Window>(frame: &F) -> Option<Asked> {
    if !is_solicitation(frame) {
        return None;
    }
    let b: &[u8; OPTIONS] = frame.view(0)?;
    let (length, hops) = (u16::from_be(half::<18, OPTIONS>(b)), b[21]);
    let units = length.checked_sub(LENGTH)? / UNIT;
    let source = Addr6::from_words([long::<22, OPTIONS>(b), long::<30, OPTIONS>(b)]);
    let destination = Addr6::from_words([long::<38, OPTIONS>(b), long::<46, OPTIONS>(b)]);
    let target = Addr6::from_words([long::<62, OPTIONS>(b), long::<70, OPTIONS>(b)]);
    let hardware: [u8; 6] = *frame.view(6)?;
    let whole = b[14] >> 4 == 6 && hops == HOPS && b[55] == 0 && length % UNIT == 0 && units <= UNITS;
    if !whole || hardware[0] & GROUP != 0 || source == target {
        return None;
    }
    let options = options(frame, units)?;
    let head = Delta::default().long(0, long::<54, OPTIONS>(b)).long(0, long::<62, OPTIONS>(b));
    let sum = head.long(0, long::<70, OPTIONS>(b)).and(options.sum);
    if sum.and(Addr6::pseudo(source, destination, length)).whole() != 0 {
        return None;
    }
    if source == Addr6::default() {
        return (is_solicited_node(destination) && !options.names_sender).then_some(Asked {
            hardware,
            source: None,
            target,
        });
    }
    source.is_host().then_some(Asked { hardware, source: Some(source), target })
}

#[derive(Debug, Clone, Copy)]
struct Options {
    sum: Delta,
    /// One of them has the sender's hardware address.
    names_sender: bool,
}

/// `None` if one has no length, or a longer one than there is room for.
#[inline(always)]
fn options<F: Window>(frame: &F, units: u16) -> Option<Options> {
    let mut options = Options { sum: Delta::default(), names_sender: false };
    let mut left = 0;
    for unit in 0..UNITS {
        if unit == units {
            break;
        }
        let b: &[u8; UNIT as usize] = frame.view(OPTIONS + (unit * UNIT) as usize)?;
        options.sum = options.sum.long(0, long::<0, { UNIT as usize }>(b));
        if left == 0 {
            options.names_sender |= b[0] == SOURCE_HARDWARE;
            left = b[1];
        }
        left = left.checked_sub(1)?;
    }
    (left == 0).then_some(options)
}

/// RFC 4291, section 2.7.1.
#[inline(always)]
fn is_solicited_node(address: Addr6) -> bool {
    let [prefix, interface] = address.words().map(u64::from_be);
    prefix == 0xff02 << 48 && interface >> 24 == 0x1ff
}

/// Turns the frame into the answer (section 7.2.4).
#[inline(always)]
fn tell<F: Window>(frame: &mut F, asked: &Asked, ours: [u8; 6]) -> Option<()> {
    const MESSAGE: u16 = LENGTH + UNIT;
    const END: usize = OPTIONS + UNIT as usize;
    // The shortest one has no room for our hardware address.
    frame.grow(UNIT as usize)?;
    frame.cut(END)?;
    let (to, hardware, flags) = match asked.source {
        Some(source) => (source, asked.hardware, SOLICITED | OVERRIDE),
        None => (Addr6::from_wire(ALL_NODES), ALL_NODES_HARDWARE, OVERRIDE),
    };
    put_half::<0, 2>(frame.view_mut(ETH_LEN - 2)?, Addr6::ETHERTYPE.to_be());
    Addr6::head(frame, asked.target, to, MESSAGE + 40)?;
    *frame.view_mut(21)? = [HOPS];
    let b: &mut [u8; MESSAGE as usize] = frame.view_mut(Addr6::AT)?;
    b[..8].copy_from_slice(&[ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0]);
    let [prefix, interface] = asked.target.words();
    put_long::<8, { MESSAGE as usize }>(b, prefix);
    put_long::<16, { MESSAGE as usize }>(b, interface);
    b[24..26].copy_from_slice(&[TARGET_HARDWARE, 1]);
    b[26..].copy_from_slice(&ours);
    let checksum = sum(frame, Addr6::AT, MESSAGE).and(Addr6::pseudo(asked.target, to, MESSAGE)).whole();
    put_checksum::<Addr6, F>(frame, checksum)?;
    nat::send_by(frame, &NextHop::new(frame.ingress(), hardware, ours))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::abi::Announced;
    use crate::testkit::{Bytes, Memory, Sums, checksum, frame, sums};

    const US: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const LINK: u32 = 7;
    const FRONTEND: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10];

    fn tables() -> Memory {
        let mut tables = Memory::default();
        let key = AnnouncedKey { ifindex: LINK, address: Addr6::from_wire(FRONTEND) };
        tables.v6.announced.insert(key, Announced::at(US));
        tables
    }

    proptest! {
        /// With any options, and then with anything wrong, checksum made right again or not.
        #[test]
        fn a_damaged_solicitation_is_answered_rightly_or_left_alone(
            options in prop::collection::vec(any::<u64>(), 0..10),
            probe: bool,
            damage in prop::collection::vec((14..100_usize, any::<u8>()), 0..3),
            mended: bool,
        ) {
            let source = if probe { "[::]:0" } else { "[2001:db8::2]:0" };
            let options: Vec<u8> = options.iter().flat_map(|option| option.to_be_bytes()).collect();
            let question = frame::icmp(source, "[ff02::1:ff00:10]:0", 135, 0).ttl(255);
            let question = question.payload(&[&FRONTEND[..], &options].concat());
            let mut bytes = question.link([2, 0, 0, 0, 0, 2], [0x33, 0x33, 0xff, 0, 0, 0x10]).bytes();
            for (at, byte) in damage {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            if mended {
                bytes[56..58].fill(0);
                let length = u32::try_from(bytes.len() - 54).unwrap_or(0);
                let pseudo = bytes[22..54].chunks(2).map(|half| u32::from(half[0]) << 8 | u32::from(half[1]));
                let sum = checksum(&bytes[54..], pseudo.sum::<u32>() + length + 58);
                bytes[56..58].copy_from_slice(&sum.to_be_bytes());
            }
            let before = Bytes::new(bytes, LINK);
            let mut after = before.clone();
            if advertise(&mut after, &tables()).reason != Reason::NeighbourAdvertised {
                prop_assert_eq!(after, before);
                return Ok(());
            }
            prop_assert_eq!(after.frame.len(), 86);
            prop_assert_eq!(sums(&after.frame), Some(Sums { ip: true, transport: true }));
            prop_assert_eq!(sums(&before.frame), Some(Sums { ip: true, transport: true }));
            prop_assert_eq!(&after.frame[6..12], US);
            prop_assert_eq!(&after.frame[22..38], FRONTEND);
            prop_assert_eq!(&after.frame[62..78], FRONTEND);
            prop_assert_eq!(&after.frame[78..], [&[2, 1][..], &US].concat());
        }
    }
}
