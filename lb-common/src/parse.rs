//! Bytes to headers, once.
//!
//! Lengths come from the IP header, never from the frame: Ethernet pads short packets.

use crate::hash::Tuple;
use crate::reason::Reason;
use crate::units::{Addr, Port};
use crate::window::Window;
use crate::words::{half, word};

/// Bytes of an Ethernet header.
pub const ETH_LEN: usize = 14;
/// Bytes of an IPv4 header without options.
pub const IPV4_LEN: usize = 20;
/// Where the transport header begins, behind an IPv4 header without options.
pub const L4: usize = ETH_LEN + IPV4_LEN;
/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;

/// Bit of a hardware address's first byte: to everybody on the link or to a group (IEEE 802, 8.2).
const GROUP: u8 = 0x01;
const ETHERTYPE_IPV4: u16 = 0x0800;
const TCP_LEN: u16 = 20;
const UDP_LEN: u16 = 8;

/// An IPv4 header (RFC 791, section 3.1); lengths and fragments are not judged yet.
#[derive(Debug, Clone, Copy)]
pub struct Ip {
    /// Version and header length, the first byte.
    pub version_length: u8,
    /// Length of header and payload.
    pub total_length: u16,
    /// Flags and fragment offset.
    pub fragment: u16,
    /// Hops left.
    pub ttl: u8,
    /// Protocol number.
    pub protocol: u8,
    /// Header checksum, wire order.
    pub checksum: u16,
    /// Source.
    pub source: Addr,
    /// Destination.
    pub destination: Addr,
}

/// Reads an IPv4 header behind an Ethernet header.
#[inline(always)]
pub fn ipv4<F: Window>(frame: &F) -> Result<Ip, Reason> {
    let b: &[u8; L4] = frame.view(0).ok_or(Reason::Truncated)?;
    if u16::from_be(half::<12, L4>(b)) != ETHERTYPE_IPV4 {
        return Err(Reason::NotIpv4);
    }
    if b[0] & GROUP != 0 {
        return Err(Reason::LinkGroup);
    }
    Ok(Ip {
        version_length: b[14],
        total_length: u16::from_be(half::<16, L4>(b)),
        fragment: u16::from_be(half::<20, L4>(b)),
        ttl: b[22],
        protocol: b[23],
        checksum: half::<24, L4>(b),
        source: Addr::from_word(word::<26, L4>(b)),
        destination: Addr::from_word(word::<30, L4>(b)),
    })
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

/// A TCP header (RFC 9293, section 3.1), as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Segment {
    /// Flags.
    pub flags: TcpFlags,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Bytes behind the header. Not whether there are any: in the spare values of a `bool` the compiler
    /// hides what a `Result` says, and cuts the rest of the headers into bytes.
    pub payload: u16,
}

/// All that the pipeline knows of a packet.
#[derive(Debug, Clone, Copy)]
pub struct Headers {
    /// The IPv4 header.
    pub ip: Ip,
    /// Source port.
    pub source_port: Port,
    /// Destination port.
    pub destination_port: Port,
    /// The rest of a TCP header; zeros on UDP. Not an enum: the kernel refuses the type information
    /// (BTF) that LLVM writes for one with data, and with it `bpf_loop`.
    pub segment: Segment,
    /// Transport checksum, wire order; 0 on UDP means none (RFC 768).
    pub checksum: u16,
}

impl Headers {
    /// Whether it is a datagram and no segment.
    #[inline(always)]
    #[must_use]
    pub fn is_udp(&self) -> bool {
        self.ip.protocol == UDP
    }

    /// The flow with the packet's sender as the peer.
    #[inline(always)]
    #[must_use]
    pub fn from_peer(&self) -> Tuple {
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
pub fn transport<F: Window>(frame: &F, ip: &Ip) -> Result<Headers, Reason> {
    if ip.version_length != 0x45 {
        return Err(Reason::IpOptions);
    }
    if ip.fragment & 0x3fff != 0 {
        return Err(Reason::Fragment);
    }
    let length = ip.total_length.checked_sub(20).ok_or(Reason::BadLength)?;
    if frame.len() < ETH_LEN + ip.total_length as usize {
        return Err(Reason::BadLength);
    }
    match ip.protocol {
        TCP => tcp(frame, ip, length),
        UDP => udp(frame, ip, length),
        _ => Err(Reason::Protocol),
    }
}

#[inline(always)]
fn tcp<F: Window>(frame: &F, ip: &Ip, length: u16) -> Result<Headers, Reason> {
    if length < TCP_LEN {
        return Err(Reason::BadLength);
    }
    let b: &[u8; TCP_LEN as usize] = frame.view(L4).ok_or(Reason::BadLength)?;
    let header = u16::from(b[12] >> 4) * 4;
    if header < TCP_LEN || header > length {
        return Err(Reason::BadLength);
    }
    Ok(Headers {
        ip: *ip,
        source_port: Port::from_word(half::<0, _>(b)),
        destination_port: Port::from_word(half::<2, _>(b)),
        segment: Segment {
            flags: TcpFlags(b[13]),
            seq: u32::from_be(word::<4, _>(b)),
            ack: u32::from_be(word::<8, _>(b)),
            payload: length - header,
        },
        checksum: half::<16, _>(b),
    })
}

#[inline(always)]
fn udp<F: Window>(frame: &F, ip: &Ip, length: u16) -> Result<Headers, Reason> {
    let b: &[u8; UDP_LEN as usize] = frame.view(L4).ok_or(Reason::BadLength)?;
    let said = u16::from_be(half::<4, _>(b));
    if said < UDP_LEN || said > length {
        return Err(Reason::BadLength);
    }
    Ok(Headers {
        ip: *ip,
        source_port: Port::from_word(half::<0, _>(b)),
        destination_port: Port::from_word(half::<2, _>(b)),
        segment: Segment::default(),
        checksum: half::<6, _>(b),
    })
}
