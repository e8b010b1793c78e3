//! Fragments of TCP and UDP: the first one has the ports, the others are told by what it was.
//!
//! Only a first fragment that is forwarded is remembered, so that what leads nowhere leaves nothing. A later
//! one that comes before its first, or after its time, is none of ours: the program has no place to hold
//! frames back.

use crate::abi::{AddressFlags, FragmentKey, FragmentWord, Root};
use crate::family::{Family, Piece, Transport};
use crate::parse::{self, Fragment, Headers, Ip, Part, TCP, TcpFlags, UDP};
use crate::reason::Reason;
use crate::tables::Tables;
use crate::track::Side;
use crate::units::MemberId;
use crate::window::Window;

/// Ticks, about five seconds, for which a first fragment is remembered. All fragments of a datagram leave
/// their sender at once; what else delays them are queues. A receiver waits for 15 to 60 s (RFC 791, section
/// 3.2; RFC 8200, section 4.5), but the longer we do, the more identifications come round again (RFC 4963).
pub const LIFE: u16 = 20;

/// Units of eight bytes that a TCP header takes, of which the first fragment has all: a fragment that begins
/// before would write over it (RFC 1858, RFC 3128).
const TCP_UNITS: u16 = 3;

/// Reads the transport header, be it that of an earlier packet: the error is the packet's fate if it is to a
/// frontend.
#[inline(always)]
pub fn headers<A: Family, F: Window, T: Tables<A>>(
    frame: &F,
    ip: &Ip<A>,
    root: &Root,
    tables: &T,
    now: u64,
) -> Result<Headers<A>, Reason> {
    let (transport, piece) = A::piece(frame, ip)?;
    let (transport, piece) = blurred(&transport, &piece, root.zero());
    let ip = A::found(ip, &transport);
    let of_tcp = ip.protocol == TCP;
    let mut headers = if piece.offset != 0 {
        if !of_tcp && ip.protocol != UDP || of_tcp && piece.offset < TCP_UNITS {
            return Err(Reason::Fragment);
        }
        let first = known(&{ ip }, piece.id, tables);
        if first == FragmentWord::default() || first.age(root.clock(now).now) > LIFE {
            return Err(Reason::FragmentUnknown);
        }
        Headers {
            ip,
            source_port: first.source_port(),
            destination_port: first.destination_port(),
            flags: TcpFlags::default(),
            checksum: 0,
            fragment: Fragment { part: Part::LATER, id: piece.id, member: first.member() },
        }
    } else {
        let part = if piece.more { Part::FIRST } else { Part::WHOLE };
        let fragment = Fragment { part, id: piece.id, member: MemberId::NONE };
        let read = parse::header(frame, &ip, &transport, fragment);
        read.map_err(|reason| if piece.more { Reason::Fragment } else { reason })?
    };
    blur(&mut headers, root.zero());
    Ok(headers)
}

/// The same, and nothing that the verifier knows of it: see [`Root::zero`].
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "zero")]
fn blurred(transport: &Transport, piece: &Piece, zero: u32) -> (Transport, Piece) {
    let transport = Transport {
        at: (transport.at | zero as usize) & 0x3fff,
        length: transport.length | zero as u16,
        protocol: transport.protocol | zero as u8,
    };
    let more = (u32::from(piece.more) | zero) & 1 != 0;
    (transport, Piece { id: piece.id | zero, offset: piece.offset | zero as u16, more })
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "zero")]
fn blur<A: Family>(headers: &mut Headers<A>, zero: u32) {
    headers.ip.protocol |= zero as u8;
    headers.flags.0 |= zero as u8;
    headers.checksum |= zero as u16;
    headers.fragment.part.0 |= zero;
}

/// Remembers a first fragment that goes on, to `member` if it came from a client.
#[inline(always)]
pub fn remember<A: Family, T: Tables<A>>(
    headers: &Headers<A>,
    member: MemberId,
    root: &Root,
    tables: &T,
    now: u64,
) {
    if headers.fragment.part == Part::FIRST {
        let (source, destination) = (headers.source_port, headers.destination_port);
        let word = FragmentWord::new(source, destination, member, root.clock(now).now);
        store(&{ headers.ip }, headers.fragment.id, word, tables);
    }
}

/// What is known of the first fragment; all zeros is nothing: a plain word, see `choose::Answer`.
#[inline(never)]
fn known<A: Family, T: Tables<A>>(ip: &Ip<A>, id: u32, tables: &T) -> FragmentWord {
    tables.fragment(side(ip, tables), &key(ip, id)).unwrap_or_default()
}

#[inline(never)]
fn store<A: Family, T: Tables<A>>(ip: &Ip<A>, id: u32, first: FragmentWord, tables: &T) {
    // Without room its later fragments are unknown, and counted as such.
    let _ = tables.remember(side(ip, tables), &key(ip, id), first);
}

/// Who sends the packet. Each side has a table of its own, so that a flood of clients' fragments does not
/// tear answers.
#[inline(always)]
fn side<A: Family, T: Tables<A>>(ip: &Ip<A>, tables: &T) -> Side {
    if tables.address(ip.destination).has(AddressFlags::FRONTEND) { Side::Peer } else { Side::Member }
}

#[inline(always)]
fn key<A: Family>(ip: &Ip<A>, id: u32) -> FragmentKey<A> {
    FragmentKey {
        source: ip.source,
        destination: ip.destination,
        id,
        protocol: ip.protocol,
        reserved: [0; 3],
    }
}
