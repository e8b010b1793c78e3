//! Ethernet frames with IPv4 or IPv6, built by hand with checksums computed in full.
//!
//! A frame is described, then turned into bytes; what a test expects is the same description
//! with another destination. Sockets are written as `"198.51.100.2:40000"` or
//! `"[2001:db8::2]:40000"`.

mod wire;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::parse::{TCP, TcpFlags, UDP};

/// A frame before it is bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    destination_mac: [u8; 6],
    source_mac: [u8; 6],
    vlan: Option<u16>,
    ethertype: Option<u16>,
    source: SocketAddr,
    destination: SocketAddr,
    ttl: u8,
    service: u8,
    identification: u16,
    fragment: u16,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    protocol: u8,
    transport: Transport,
    payload: Vec<u8>,
    /// A packet, and how many bytes behind its IP header are quoted.
    quote: Option<(Box<Self>, usize)>,
    ip_length: Option<u16>,
    padded_to: usize,
    cut_to: usize,
    damaged: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Transport {
    Tcp {
        flags: u8,
        seq: u32,
        ack: u32,
        words: u8,
    },
    Udp {
        checksum: bool,
        length: Option<u16>,
    },
    Icmp {
        kind: u8,
        code: u8,
        rest: u32,
    },
    Other,
    /// The frame's own, without IP.
    Bare,
}

/// A segment with ACK, as in the middle of a connection.
#[must_use]
pub fn tcp(source: &str, destination: &str) -> Frame {
    let transport = Transport::Tcp { flags: TcpFlags::ACK, seq: 1, ack: 1, words: 5 };
    frame(source, destination, TCP, transport)
}

/// A datagram with a checksum.
#[must_use]
pub fn udp(source: &str, destination: &str) -> Frame {
    frame(source, destination, UDP, Transport::Udp { checksum: true, length: None })
}

/// A message of ICMP or ICMPv6 with this type and code; the ports of the sockets do not count.
#[must_use]
pub fn icmp(source: &str, destination: &str, kind: u8, code: u8) -> Frame {
    let number = if socket(source).is_ipv4() { ICMP } else { ICMP6 };
    frame(source, destination, number, Transport::Icmp { kind, code, rest: 0 })
}

/// A packet of another protocol; its payload is all there is behind the IPv4 header.
#[must_use]
pub fn other(source: &str, destination: &str, protocol: u8) -> Frame {
    frame(source, destination, protocol, Transport::Other)
}

/// ARP for IPv4 over Ethernet: an operation, and hardware and IP address of sender and target.
#[must_use]
pub fn arp(operation: u8, sender: ([u8; 6], [u8; 4]), target: ([u8; 6], [u8; 4])) -> Frame {
    let mut message = vec![0, 1, 8, 0, 6, 4, 0, operation];
    for (hardware, address) in [sender, target] {
        message.extend(hardware);
        message.extend(address);
    }
    frame("0.0.0.0:0", "0.0.0.0:0", 0, Transport::Bare).ethertype(0x0806).payload(&message)
}

fn frame(source: &str, destination: &str, protocol: u8, transport: Transport) -> Frame {
    Frame {
        destination_mac: [2, 0, 0, 0, 0, 1],
        source_mac: [2, 0, 0, 0, 0, 2],
        vlan: None,
        ethertype: None,
        source: socket(source),
        destination: socket(destination),
        ttl: 64,
        service: 0,
        identification: 0x1234,
        fragment: 0x4000,
        options: Vec::new(),
        extensions: Vec::new(),
        protocol,
        transport,
        payload: Vec::new(),
        quote: None,
        ip_length: None,
        padded_to: 0,
        cut_to: usize::MAX,
        damaged: None,
    }
}

/// The IPv6 address that stands for an IPv4 address in tests: `fd00::10.0.1.11` for 10.0.1.11.
#[must_use]
pub fn twin(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(address.to_bits())).into(),
        IpAddr::V6(_) => address,
    }
}

const FRAGMENT: u8 = 44;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;

/// Type and code of ICMPv6 (RFC 4443) for those of ICMP, where they mean about the same.
fn icmp6_of(kind: u8, code: u8) -> (u8, u8) {
    match (kind, code) {
        (0, _) => (129, 0),
        (3, 1) => (1, 3),
        (3, 3) => (1, 4),
        (3, 4) => (2, 0),
        (3, 13) => (1, 1),
        (5, _) => (137, 0),
        (8, _) => (128, 0),
        (11, code) => (3, code),
        (12, code) => (4, code),
        (13, _) => (139, 0),
        // Neighbour discovery has none, and stays what it is.
        (133..=137, code) => (kind, code),
        _ => panic!("ICMP type {kind} code {code} has no twin here"),
    }
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|_| panic!("{text} is no socket such as 10.0.1.11:8080 or [fd00::1]:80"))
}

impl Frame {
    /// Source and destination.
    #[must_use]
    pub fn sockets(&self) -> [SocketAddr; 2] {
        [self.source, self.destination]
    }

    /// Whether it is a datagram.
    #[must_use]
    pub fn is_udp(&self) -> bool {
        self.protocol == UDP
    }

    /// Another source.
    #[must_use]
    pub fn from(mut self, source: &str) -> Self {
        self.source = socket(source);
        self
    }

    /// Another destination.
    #[must_use]
    pub fn to(mut self, destination: &str) -> Self {
        self.destination = socket(destination);
        self
    }

    /// The same packet between the IPv6 twins of its addresses (see [`twin`]), unless it is one already; of a
    /// fragment, with a fragment header.
    #[must_use]
    pub fn in_ipv6(mut self) -> Self {
        const LONGER: usize = 20;
        if self.source.is_ipv6() && self.destination.is_ipv6() {
            return self;
        }
        let twin_of = |socket: SocketAddr| SocketAddr::new(twin(socket.ip()), socket.port());
        (self.source, self.destination) = (twin_of(self.source), twin_of(self.destination));
        self.ip_length = self.ip_length.map(|length| length.saturating_sub(20));
        if self.padded_to > 0 {
            self.padded_to += LONGER;
        }
        if self.fragment & 0x3fff != 0 {
            let (offset, more) = (self.fragment << 3, self.fragment >> 13 & 1);
            let id = u32::from(self.identification).to_be_bytes();
            self.extensions.push((FRAGMENT, [&(offset | more).to_be_bytes()[..], &id].concat()));
        }
        self.cut_to = self.cut_to.saturating_add(LONGER);
        self.quote = self.quote.map(|(packet, behind)| (Box::new(packet.in_ipv6()), behind));
        if let Transport::Icmp { kind, code, .. } = &mut self.transport {
            self.protocol = ICMP6;
            (*kind, *code) = icmp6_of(*kind, *code);
        }
        self
    }

    /// From `source` to `destination` on the link.
    #[must_use]
    pub fn link(mut self, source: [u8; 6], destination: [u8; 6]) -> Self {
        (self.source_mac, self.destination_mac) = (source, destination);
        self
    }

    /// Hops left, 64 by default.
    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// One hop less.
    #[must_use]
    pub fn one_hop_on(mut self) -> Self {
        self.ttl -= 1;
        self
    }

    /// Type of service of IPv4.
    #[must_use]
    pub fn service(mut self, service: u8) -> Self {
        self.service = service;
        self
    }

    /// Identification of IPv4.
    #[must_use]
    pub fn identification(mut self, identification: u16) -> Self {
        self.identification = identification;
        self
    }

    /// TCP flags, ACK by default.
    #[must_use]
    pub fn flags(mut self, new: u8) -> Self {
        if let Transport::Tcp { flags, .. } = &mut self.transport {
            *flags = new;
        }
        self
    }

    /// TCP sequence number.
    #[must_use]
    pub fn seq(mut self, new: u32) -> Self {
        if let Transport::Tcp { seq, .. } = &mut self.transport {
            *seq = new;
        }
        self
    }

    /// TCP acknowledgement number.
    #[must_use]
    pub fn ack(mut self, new: u32) -> Self {
        if let Transport::Tcp { ack, .. } = &mut self.transport {
            *ack = new;
        }
        self
    }

    /// TCP header length as the header says, in words of 32 bits.
    #[must_use]
    pub fn tcp_words(mut self, new: u8) -> Self {
        if let Transport::Tcp { words, .. } = &mut self.transport {
            *words = new;
        }
        self
    }

    /// UDP without a checksum.
    #[must_use]
    pub fn without_checksum(mut self) -> Self {
        if let Transport::Udp { checksum, .. } = &mut self.transport {
            *checksum = false;
        }
        self
    }

    /// UDP length as the header says.
    #[must_use]
    pub fn udp_length(mut self, new: u16) -> Self {
        if let Transport::Udp { length, .. } = &mut self.transport {
            *length = Some(new);
        }
        self
    }

    /// Type and code of an ICMP message.
    #[must_use]
    pub fn kind(mut self, new: u8, new_code: u8) -> Self {
        if let Transport::Icmp { kind, code, .. } = &mut self.transport {
            (*kind, *code) = (new, new_code);
        }
        self
    }

    /// The last word of an ICMP header: identifier and sequence number, or MTU.
    #[must_use]
    pub fn rest(mut self, new: u32) -> Self {
        if let Transport::Icmp { rest, .. } = &mut self.transport {
            *rest = new;
        }
        self
    }

    /// Another packet follows the ICMP header: its IP header without options, and so many bytes behind
    /// that, as far as there are so many and the longest error has room for them (RFC 1812, section
    /// 4.3.2.3; RFC 4443, section 2.4).
    #[must_use]
    pub fn quoting(mut self, packet: &Self, behind: usize) -> Self {
        self.quote = Some((Box::new(packet.clone()), behind));
        self
    }

    /// What follows the transport header.
    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// The payload with other bytes from an offset on.
    #[must_use]
    pub fn patched(mut self, at: usize, bytes: &[u8]) -> Self {
        self.payload[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// IP options, a multiple of four bytes.
    #[must_use]
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    /// An IPv6 extension header behind those before: its number, and what follows its first two
    /// bytes up to a multiple of eight.
    #[must_use]
    pub fn extension(mut self, number: u8, rest: &[u8]) -> Self {
        self.extensions.push((number, rest.to_vec()));
        self
    }

    /// The flags and offset of a fragment; 0x4000, "don't fragment", by default.
    #[must_use]
    pub fn fragment(mut self, fragment: u16) -> Self {
        self.fragment = fragment;
        self
    }

    /// Another length in the IP header than the right one; in IPv6 that of what follows it.
    #[must_use]
    pub fn ip_length(mut self, length: u16) -> Self {
        self.ip_length = Some(length);
        self
    }

    /// With an 802.1Q tag.
    #[must_use]
    pub fn vlan(mut self, id: u16) -> Self {
        self.vlan = Some(id);
        self
    }

    /// Another `EtherType` than that of the addresses.
    #[must_use]
    pub fn ethertype(mut self, ethertype: u16) -> Self {
        self.ethertype = Some(ethertype);
        self
    }

    /// With zeros up to this length, as Ethernet pads to 60 bytes.
    #[must_use]
    pub fn padded_to(mut self, length: usize) -> Self {
        self.padded_to = length;
        self
    }

    /// A bit of this byte is wrong, after all checksums were right.
    #[must_use]
    pub fn damaged(mut self, at: usize) -> Self {
        self.damaged = Some(at);
        self
    }

    /// Only the first bytes.
    #[must_use]
    pub fn cut_to(mut self, length: usize) -> Self {
        self.cut_to = length;
        self
    }
}
