//! Batches of frames, and what must become of them.

use anyhow::{Result, ensure};
use clap::ValueEnum;
use lb_common::{
    family::ETH_LEN,
    parse::{TCP, TcpFlags, UDP},
    reason::Reason,
    testkit::checksum,
    units::{Addr, Port},
};

use lb_ctl::state::Stored as _;

use crate::{
    harness::SMALL_ENTRIES,
    scene::{self, FIB, FRONTEND_PORT, LISTED, MEMBER_PORT, MOVING, PLAIN, Scene},
};

/// Bytes of a frame, as a number of two kinds.
pub(crate) const FRAME: usize = FRAME_BYTES as usize;
pub(crate) const FRAME_BYTES: u8 = 64;
/// Of them, from the IP header on, and from the transport header on.
const IP_BYTES: u8 = 50;
/// Where the transport header begins.
const L4: usize = ETH_LEN + 20;
const L4_BYTES: u8 = 30;
const _: () = assert!(ETH_LEN + IP_BYTES as usize == FRAME && L4 + L4_BYTES as usize == FRAME);
/// Where a frame carries the key of the small hash.
const SMALL_KEY: usize = 56;
/// A batch is never shorter, so that one flow still comes with many keys of the small hash, and the
/// wrapper's own work is much the same for few flows and many.
const SHORTEST: u32 = 16 << 10;
const TTL: u8 = 64;

/// A packet's way through the program. The first five names are an interface: comparisons read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Path {
    /// A segment of an open connection, client to member.
    EstablishedIn,
    /// Member to client, by the compiled default route.
    Reply,
    /// A connection's first segment.
    Syn,
    /// A datagram, client to member.
    UdpIn,
    /// Neither to nor from anybody that the configuration names.
    NotOurs,
    /// As `Reply`, where the compiled routes leave the client's network to the kernel.
    ReplyFib,
    /// As `EstablishedIn`, where the rule has an access list of 1,024 prefixes.
    EstablishedListed,
    /// As `EstablishedIn`, while the rule is in transition: 1 % of the flows are exceptions.
    EstablishedMoving,
    /// As `EstablishedIn`, to a port that only a range has.
    RangeIn,
    /// As `Reply`, from such a port.
    RangeReply,
}

impl Path {
    /// Those that were asked for, else all.
    pub(crate) fn chosen(asked: &[Self]) -> Vec<Self> {
        let all = Self::value_variants().iter().copied();
        all.filter(|path| asked.is_empty() || asked.contains(path)).collect()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EstablishedIn => "established_in",
            Self::Reply => "reply",
            Self::ReplyFib => "reply_fib",
            Self::Syn => "syn",
            Self::UdpIn => "udp_in",
            Self::NotOurs => "not_ours",
            Self::EstablishedListed => "established_listed",
            Self::EstablishedMoving => "established_moving",
            Self::RangeIn => "range_in",
            Self::RangeReply => "range_reply",
        }
    }

    /// How its packets end. Of addresses in random order some look like a member's at first sight.
    pub(crate) fn reasons(self) -> &'static [Reason] {
        match self {
            Self::Reply | Self::ReplyFib | Self::RangeReply => &[Reason::ReplyToClient],
            Self::NotOurs => &[Reason::NotOurs, Reason::OfMember],
            Self::EstablishedIn
            | Self::Syn
            | Self::UdpIn
            | Self::EstablishedListed
            | Self::EstablishedMoving
            | Self::RangeIn => &[Reason::ToMember],
        }
    }

    fn is_reply(self) -> bool {
        matches!(self, Self::Reply | Self::ReplyFib | Self::RangeReply)
    }

    fn protocol(self) -> u8 {
        if self == Self::UdpIn { UDP } else { TCP }
    }

    /// Addresses and ports of one flow: source, destination.
    fn ends(self, flow: u32, random: &mut fastrand::Rng) -> [(Addr, Port); 2] {
        let network = if self == Self::ReplyFib { FIB } else { CLIENTS };
        let client = (client(network, flow), Port::new(random.u16(1024..)));
        let service = |number| (scene::frontend(number), Port::new(FRONTEND_PORT));
        match self {
            Self::EstablishedIn | Self::Syn | Self::UdpIn => [client, service(PLAIN)],
            Self::EstablishedListed => [client, service(LISTED)],
            Self::EstablishedMoving => [client, service(MOVING)],
            Self::RangeIn => [client, (scene::frontend(PLAIN), scene::in_range(random))],
            Self::RangeReply => {
                let member = scene::member(random.u16(..scene::members()));
                [(member, scene::in_range(random)), client]
            }
            Self::Reply | Self::ReplyFib => {
                [(scene::member(random.u16(..scene::members())), Port::new(MEMBER_PORT)), client]
            }
            Self::NotOurs => {
                let [_, b, c, d] = random.u32(..).to_be_bytes();
                [client, (Addr::from_wire([100, 64 | b & 63, c, d]), Port::new(443))]
            }
        }
    }
}

/// 198.18.0.0/15.
const CLIENTS: [u8; 4] = [198, 18, 0, 0];

/// Hosts of a /15 in an order that does not run through it.
fn client(network: [u8; 4], flow: u32) -> Addr {
    let host = flow.wrapping_mul(0x9e37_79b1) >> 15;
    Addr::from_wire((u32::from_be_bytes(network) | host).to_be_bytes())
}

/// One of the keys that the small hash has.
pub(crate) fn small_key(number: u64) -> u64 {
    (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Frames of one path, in random order, each flow at least once.
pub(crate) struct Batch {
    pub(crate) path: Path,
    pub(crate) frames: Vec<[u8; FRAME]>,
    pub(crate) ingress: u32,
}

impl Batch {
    pub(crate) fn new(path: Path, flows: u32, scene: &Scene) -> Self {
        // The same frames in every run.
        let mut random = fastrand::Rng::with_seed(u64::from(flows));
        let flows: Vec<_> = (0..flows).map(|flow| path.ends(flow, &mut random)).collect();
        let mut frames: Vec<_> = flows
            .iter()
            .cycle()
            .take(flows.len().max(SHORTEST as usize))
            .map(|ends| frame(path, *ends, small_key(random.u64(..SMALL_ENTRIES))))
            .collect();
        random.shuffle(&mut frames);
        let ingress = if path.is_reply() { scene.member_side } else { scene.client_side };
        Self { path, frames, ingress }
    }

    /// Checks what has become of a frame, byte by byte.
    pub(crate) fn check(
        &self,
        before: &[u8; FRAME],
        verdict: u32,
        after: &[u8; FRAME],
        scene: &Scene,
    ) -> Result<()> {
        const PASS: u32 = 2;
        const REDIRECT: u32 = 4;
        if self.path == Path::NotOurs {
            ensure!(
                verdict == PASS && before == after,
                "a packet that is not ours was touched: verdict {verdict}"
            );
            return Ok(());
        }
        ensure!(verdict == REDIRECT, "verdict {verdict}, not XDP_REDIRECT");
        let mut expected = *before;
        expected[ETH_LEN + 8] = TTL - 1;
        if self.path.is_reply() {
            expected[0..6].copy_from_slice(&scene.client_mac);
            expected[6..12].copy_from_slice(&after[6..12]);
            expected[26..30].copy_from_slice(&scene::frontend(PLAIN).wire());
            if self.path != Path::RangeReply {
                expected[34..36].copy_from_slice(&Port::new(FRONTEND_PORT).wire());
            }
        } else {
            let address = Addr::from_wire([after[30], after[31], after[32], after[33]]);
            let member = scene.state.members.values().find(|member| member.address == address.ip());
            let Some(member) = member else {
                anyhow::bail!("sent to {:?}, who is no member", address.wire())
            };
            expected[0..6].copy_from_slice(&member.destination);
            expected[6..12].copy_from_slice(&member.source);
            expected[30..34].copy_from_slice(&address.wire());
            if self.path != Path::RangeIn {
                expected[36..38].copy_from_slice(&Port::new(MEMBER_PORT).wire());
            }
        }
        put_checksums(&mut expected);
        ensure!(*after == expected, "wrong bytes:\n  {after:02x?}, not\n  {expected:02x?}");
        Ok(())
    }
}

fn frame(path: Path, [source, destination]: [(Addr, Port); 2], small_key: u64) -> [u8; FRAME] {
    let mut b = [0; FRAME];
    b[0..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    b[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
    b[12..14].copy_from_slice(&[0x08, 0x00]);
    b[14] = 0x45;
    b[17] = IP_BYTES;
    b[22] = TTL;
    b[23] = path.protocol();
    b[26..30].copy_from_slice(&source.0.wire());
    b[30..34].copy_from_slice(&destination.0.wire());
    b[34..36].copy_from_slice(&source.1.wire());
    b[36..38].copy_from_slice(&destination.1.wire());
    if path.protocol() == UDP {
        b[39] = L4_BYTES;
    } else {
        b[46] = 5 << 4;
        b[47] = if path == Path::Syn { TcpFlags::SYN } else { TcpFlags::ACK };
    }
    b[SMALL_KEY..].copy_from_slice(&small_key.to_ne_bytes());
    put_checksums(&mut b);
    b
}

/// Full sums over what is there.
fn put_checksums(b: &mut [u8; FRAME]) {
    let protocol = b[23];
    let at = L4 + if protocol == UDP { 6 } else { 16 };
    b[24..26].fill(0);
    b[at..at + 2].fill(0);
    let ip = checksum(&b[ETH_LEN..L4], 0);
    b[24..26].copy_from_slice(&ip.to_be_bytes());
    // The addresses lie before the transport header; the rest of the pseudo-header is a number.
    let rest = u32::from(protocol) + u32::from(L4_BYTES);
    let sum = checksum(&b[ETH_LEN + 12..], rest);
    b[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sum over what carries its own checksum is 0.
    fn sums(b: &[u8; FRAME]) -> [u16; 2] {
        let rest = u32::from(b[23]) + u32::from(L4_BYTES);
        [checksum(&b[ETH_LEN..L4], 0), checksum(&b[ETH_LEN + 12..], rest)]
    }

    #[test]
    fn frames_carry_right_checksums() {
        let mut random = fastrand::Rng::with_seed(1);
        for path in Path::chosen(&[]) {
            let frame = frame(path, path.ends(7, &mut random), small_key(3));
            assert_eq!(sums(&frame), [0, 0], "{}", path.name());
        }
    }

    #[test]
    fn flows_have_addresses_of_the_prefix_that_the_access_list_allows() {
        for flow in [0, 1, 511_999, u32::MAX] {
            assert!(matches!(client(CLIENTS, flow).wire(), [198, 18 | 19, ..]));
        }
    }
}
