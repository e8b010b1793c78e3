//! ARP (RFC 826): who asks for a frontend on a link that it lies on is told our hardware address.
//!
//! A program of its own runs this, where [`crate::pipeline::ingress`] has found no IPv4.

use crate::abi::AnnouncedKey;
use crate::family::{ETH_LEN, GROUP};
use crate::nat;
use crate::outcome::{NextHop, Outcome};
use crate::reason::Reason;
use crate::tables::Tables;
use crate::units::Addr;
use crate::window::Window;
use crate::words::half;

const ETHERTYPE: u16 = 0x0806;
/// Where the message begins.
const AT: usize = ETH_LEN;
/// Bytes of a frame up to its end.
const END: usize = AT + 28;
/// Of hardware and protocol: Ethernet, IPv4, and as many bytes as their addresses have.
const FORM: [u8; 6] = [0, 1, 0x08, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// Whether the Ethernet header announces ARP.
#[inline(always)]
pub fn is_arp<F: Window>(frame: &F) -> bool {
    frame.view::<2>(AT - 2).is_some_and(|ethertype| half::<0, 2>(ethertype) == ETHERTYPE.to_be())
}

/// Answers a request for a frontend that is announced on the frame's link. All else passes: what
/// others say of a frontend is user space's to notice.
#[inline(always)]
pub fn answer<F: Window, T: Tables<Addr>>(frame: &mut F, tables: &T) -> Outcome {
    match tell(frame, tables) {
        Some(()) => Reason::ArpReply.into(),
        None => Reason::NotIp.into(),
    }
}

#[inline(always)]
fn tell<F: Window, T: Tables<Addr>>(frame: &mut F, tables: &T) -> Option<()> {
    let asked = read(frame)?;
    let key = AnnouncedKey { ifindex: frame.ingress(), address: asked.target };
    let ours = tables.announced(&key)?.hardware;
    if asked.whom[0] & GROUP == 0 && asked.whom != ours {
        return None;
    }
    let b: &mut [u8; END - AT] = frame.view_mut(AT)?;
    b[6..8].copy_from_slice(&REPLY);
    b[8..14].copy_from_slice(&ours);
    b[14..18].copy_from_slice(&asked.target.wire());
    b[18..24].copy_from_slice(&asked.sender_hardware);
    b[24..28].copy_from_slice(&asked.sender.wire());
    nat::send_by(frame, &NextHop::new(key.ifindex, asked.sender_hardware, ours))
}

/// A request.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// The hardware address that it was sent to.
    whom: [u8; 6],
    sender_hardware: [u8; 6],
    /// Unspecified in a probe, by which a host finds out whether the address is free: that it is not
    /// has to be said (RFC 5227, section 2.1.1).
    sender: Addr,
    target: Addr,
}

/// `None` for anything but a question of one host. Who has the target itself asks nothing: that is an
/// announcement (RFC 5227, section 1.1).
#[inline(always)]
fn read<F: Window>(frame: &F) -> Option<Asked> {
    let b: &[u8; END] = frame.view(0)?;
    let asked = Asked {
        whom: array(b, 0),
        sender_hardware: array(b, AT + 8),
        sender: Addr::from_wire(array(b, AT + 14)),
        target: Addr::from_wire(array(b, AT + 24)),
    };
    let request = array(b, AT) == FORM && array(b, AT + 6) == REQUEST;
    let host = asked.sender_hardware[0] & GROUP == 0 && asked.sender_hardware != [0; 6];
    (request && host && asked.sender != asked.target).then_some(asked)
}

#[inline(always)]
fn array<const N: usize>(b: &[u8; END], at: usize) -> [u8; N] {
    core::array::from_fn(|index| b[at + index])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::abi::Announced;
    use crate::testkit::{Bytes, Memory, frame};

    const US: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 2];
    const FRONTEND: [u8; 4] = [203, 0, 113, 10];
    const LINK: u32 = 7;

    proptest! {
        /// Whatever is wrong with a question: it is left alone, or one host is told the truth.
        #[test]
        fn a_damaged_question_is_answered_rightly_or_left_alone(
            damage in prop::collection::vec((0..42_usize, any::<u8>()), 0..4), length in 36..60_usize,
        ) {
            let mut tables = Memory::default();
            let key = AnnouncedKey { ifindex: LINK, address: Addr::from_wire(FRONTEND) };
            tables.v4.announced.insert(key, Announced::at(US));
            let question = frame::arp(1, (CLIENT, [198, 51, 100, 2]), ([0; 6], FRONTEND));
            let mut bytes = question.link(CLIENT, [0xff; 6]).padded_to(60).cut_to(length).bytes();
            for (at, byte) in damage {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            let before = Bytes::new(bytes, LINK);
            let mut after = before.clone();
            if answer(&mut after, &tables).reason == Reason::NotIp {
                prop_assert_eq!(after, before);
                return Ok(());
            }
            let asker: [u8; 10] = before.frame[22..32].try_into().unwrap_or_default();
            let answer = frame::arp(2, (US, FRONTEND), ([0; 6], [0; 4])).patched(18, &asker).bytes();
            prop_assert_eq!(&after.frame[..12], [&asker[..6], &US].concat());
            prop_assert_eq!(&after.frame[14..42], &answer[14..]);
            prop_assert_eq!(&after.frame[42..], &before.frame[42..]);
            prop_assert_eq!(asker[0] & GROUP, 0);
        }
    }
}
