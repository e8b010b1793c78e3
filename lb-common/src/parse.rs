//! Bytes to headers, once.
//!
//! Lengths come from the IP header, never from the frame: Ethernet pads short packets.

use crate::family::{ETH_LEN, Family, Transport};
use crate::hash::Tuple;
use crate::reason::Reason;
use crate::units::{Addr, MemberId, Port};
use crate::window::Window;
use crate::words::{half, word};

/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;

const TCP_LEN: u16 = 20;
const UDP_LEN: u16 = 8;

/// An IP header; lengths and shape are not judged yet.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ip<A: Family = Addr> {
    /// Length of the packet, header included.
    pub length: u16,
    /// Hops left.
    pub ttl: u8,
    /// Protocol number of what follows; of the transport header once that has been found.
    pub protocol: u8,
    /// Source.
    pub source: A,
    /// Destination.
    pub destination: A,
    /// What only this family has.
    pub rest: A::Rest,
}

/// TCP flags (RFC 9293, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Ends a connection.
    pub const RST: u8 = 0x04;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 0x10;

    /// Whether any of the flags is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, flags: u8) -> bool {
        self.0 & flags != 0
    }

    /// SYN without ACK, RST, FIN: the first packet of a connection.
    #[inline(always)]
    #[must_use]
    pub const fn opens(self) -> bool {
        self.0 & (Self::SYN | Self::ACK | Self::RST | Self::FIN) == Self::SYN
    }

    /// SYN with ACK: a listener's answer.
    #[inline(always)]
    #[must_use]
    pub const fn accepts(self) -> bool {
        self.0 & (Self::SYN | Self::ACK | Self::RST | Self::FIN) == Self::SYN | Self::ACK
    }
}

/// What only the rare ways ask of a TCP header (RFC 9293, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Segment {
    /// Flags.
    pub flags: TcpFlags,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Bytes behind the header.
    pub payload: u16,
}

/// Which part of a packet lies before us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct Part(pub u32);

impl Part {
    /// All of it.
    pub const WHOLE: Self = Self(0);
    /// Its first fragment, transport header included.
    pub const FIRST: Self = Self(1);
    /// Another one, without transport header.
    pub const LATER: Self = Self(2);
}

/// What a fragment says, or its first one has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fragment {
    /// Which part it is.
    pub part: Part,
    /// Identification, wire order.
    pub id: u32,
    /// Where the first one went, of a later one from a client.
    pub member: MemberId,
}

/// All that the pipeline knows of a packet.
#[derive(Debug, Clone, Copy, Default)]
pub struct Headers<A: Family = Addr> {
    /// The IP header.
    pub ip: Ip<A>,
    /// Source port.
    pub source_port: Port,
    /// Destination port.
    pub destination_port: Port,
    /// Flags of TCP; none on UDP.
    pub flags: TcpFlags,
    /// Transport checksum, wire order; 0 on UDP means none (RFC 768).
    pub checksum: u16,
    /// Whether it is a fragment.
    pub fragment: Fragment,
}

impl<A: Family> Headers<A> {
    /// Whether it is a datagram and no segment.
    #[inline(always)]
    #[must_use]
    pub fn is_udp(&self) -> bool {
        self.ip.protocol == UDP
    }

    /// The flow with the packet's sender as the peer.
    #[inline(always)]
    #[must_use]
    pub fn from_peer(&self) -> Tuple<A> {
        Tuple {
            peer: self.ip.source,
            peer_port: self.source_port,
            local: self.ip.destination,
            local_port: self.destination_port,
            protocol: self.ip.protocol,
        }
    }
}

/// Reads the transport header; the error is the packet's fate if it is to a frontend.
#[inline(always)]
pub fn transport<A: Family, F: Window>(frame: &F, ip: &Ip<A>) -> Result<Headers<A>, Reason> {
    let transport = A::transport(frame, ip)?;
    header(frame, &A::found(ip, &transport), &transport, Fragment::default())
}

/// The same where it has been found, in a whole packet or its first fragment.
#[inline(always)]
pub(crate) fn header<A: Family, F: Window>(
    frame: &F,
    ip: &Ip<A>,
    transport: &Transport,
    fragment: Fragment,
) -> Result<Headers<A>, Reason> {
    match transport.protocol {
        TCP => tcp(frame, ip, transport.length, fragment),
        UDP => udp(frame, ip, transport.length, fragment),
        _ => Err(Reason::Protocol),
    }
}

#[inline(always)]
fn tcp<A: Family, F: Window>(
    frame: &F,
    ip: &Ip<A>,
    length: u16,
    fragment: Fragment,
) -> Result<Headers<A>, Reason> {
    if length < TCP_LEN {
        return Err(Reason::BadLength);
    }
    let b: &[u8; TCP_LEN as usize] = frame.view(A::transport_at(ip)).ok_or(Reason::BadLength)?;
    let header = u16::from(b[12] >> 4) * 4;
    if header < TCP_LEN || header > length {
        return Err(Reason::BadLength);
    }
    Ok(Headers {
        ip: *ip,
        source_port: Port::from_word(half::<0, _>(b)),
        destination_port: Port::from_word(half::<2, _>(b)),
        flags: TcpFlags(b[13]),
        checksum: half::<16, _>(b),
        fragment,
    })
}

/// Reads the rest of a TCP header. Most packets go their way without it.
#[inline(always)]
pub fn segment<A: Family, F: Window>(frame: &F, headers: &Headers<A>) -> Result<Segment, Reason> {
    let at = A::transport_at(&headers.ip);
    let b: &[u8; TCP_LEN as usize] = frame.view(at).ok_or(Reason::BadLength)?;
    #[allow(clippy::cast_possible_truncation, reason = "an offset within the packet")]
    let before = (at - ETH_LEN) as u16 + u16::from(b[12] >> 4) * 4;
    Ok(Segment {
        flags: headers.flags,
        seq: u32::from_be(word::<4, _>(b)),
        ack: u32::from_be(word::<8, _>(b)),
        payload: headers.ip.length.saturating_sub(before),
    })
}

#[inline(always)]
fn udp<A: Family, F: Window>(
    frame: &F,
    ip: &Ip<A>,
    length: u16,
    fragment: Fragment,
) -> Result<Headers<A>, Reason> {
    let b: &[u8; UDP_LEN as usize] = frame.view(A::transport_at(ip)).ok_or(Reason::BadLength)?;
    let said = u16::from_be(half::<4, _>(b));
    // What a first fragment says is the length of all of them together.
    let there = if fragment.part == Part::FIRST { length.min(said) } else { said };
    if there < UDP_LEN || there > length {
        return Err(Reason::BadLength);
    }
    Ok(Headers {
        ip: *ip,
        source_port: Port::from_word(half::<0, _>(b)),
        destination_port: Port::from_word(half::<2, _>(b)),
        flags: TcpFlags::default(),
        checksum: half::<6, _>(b),
        fragment,
    })
}
