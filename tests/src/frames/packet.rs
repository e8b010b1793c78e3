//! IPv4 TCP and UDP as values, to bytes and back.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context as _, Result, ensure};

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;

const ETHERNET_LEN: usize = 14;
const IPV4_LEN: usize = 20;
const TCP_LEN: usize = 20;
const UDP_LEN: usize = 8;
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const TCP: u8 = 6;
const UDP: u8 = 17;
const DO_NOT_FRAGMENT: u8 = 0x40;
const WINDOW: u16 = 64_240;

/// Ethernet addresses of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub from: [u8; 6],
    pub to: [u8; 6],
}

/// What a frame says, without options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub source: SocketAddrV4,
    pub destination: SocketAddrV4,
    pub ttl: u8,
    pub payload: Payload,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    Tcp { flags: u8, seq: u32, ack: u32, data: Vec<u8> },
    Udp { data: Vec<u8> },
}

impl Packet {
    /// The frame, with all checksums.
    #[must_use]
    pub fn to_frame(&self, link: Link) -> Vec<u8> {
        let (protocol, mut transport, checksum_at) = match &self.payload {
            Payload::Tcp { flags, seq, ack, data } => (TCP, self.tcp(*flags, *seq, *ack, data), 16),
            Payload::Udp { data } => (UDP, self.udp(data), 6),
        };
        let checksum = checksum(&[&self.pseudo_header(protocol, transport.len()), &transport]);
        // In UDP, zero says that there is none (RFC 768).
        let checksum = if protocol == UDP && checksum == 0 { 0xffff } else { checksum };
        transport[checksum_at..checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());

        let mut frame = Vec::with_capacity(ETHERNET_LEN + IPV4_LEN + transport.len());
        frame.extend(link.to);
        frame.extend(link.from);
        frame.extend(ETHERTYPE_IPV4);
        frame.extend(self.ipv4(protocol, transport.len()));
        frame.extend(transport);
        frame
    }

    /// Reads a frame and verifies its checksums; an error says what is wrong or not understood.
    pub fn from_frame(frame: &[u8]) -> Result<Self> {
        let (packet, transport, protocol) = Self::read(frame)?;
        let no_checksum = protocol == UDP && transport[6..8] == [0, 0];
        let sum = checksum(&[&packet.pseudo_header(protocol, transport.len()), transport]);
        ensure!(no_checksum || sum == 0, "wrong checksum in {packet:?}");
        Ok(packet)
    }

    /// Reads a frame whose transport checksum the kernel has not yet filled in.
    pub fn from_frame_without_checksum(frame: &[u8]) -> Result<Self> {
        Ok(Self::read(frame)?.0)
    }

    fn read(frame: &[u8]) -> Result<(Self, &[u8], u8)> {
        let ip = frame.get(ETHERNET_LEN..).context("shorter than an Ethernet header")?;
        ensure!(frame[12..14] == ETHERTYPE_IPV4, "not IPv4");
        ensure!(ip.len() >= IPV4_LEN && ip[0] == 0x45, "not an IPv4 header without options");
        ensure!(checksum(&[&ip[..IPV4_LEN]]) == 0, "wrong IPv4 header checksum");
        let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        let transport = ip.get(IPV4_LEN..total).context("IPv4 length beyond the frame")?;
        let protocol = ip[9];
        let payload = match protocol {
            TCP => {
                ensure!(transport.len() >= TCP_LEN, "truncated TCP header");
                let data = transport
                    .get(usize::from(transport[12] >> 4) * 4..)
                    .context("TCP header beyond the packet")?;
                Payload::Tcp {
                    flags: transport[13],
                    seq: word(transport, 4),
                    ack: word(transport, 8),
                    data: data.to_vec(),
                }
            }
            UDP => {
                ensure!(transport.len() >= UDP_LEN, "truncated UDP header");
                Payload::Udp { data: transport[UDP_LEN..].to_vec() }
            }
            other => anyhow::bail!("IP protocol {other}"),
        };
        let address = |at| Ipv4Addr::from_bits(word(ip, at));
        let port = |at: usize| u16::from_be_bytes([transport[at], transport[at + 1]]);
        let source = SocketAddrV4::new(address(12), port(0));
        let destination = SocketAddrV4::new(address(16), port(2));
        Ok((Self { source, destination, ttl: ip[8], payload }, transport, protocol))
    }

    fn tcp(&self, flags: u8, seq: u32, ack: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = self.ports();
        bytes.extend(seq.to_be_bytes());
        bytes.extend(ack.to_be_bytes());
        bytes.extend([5 << 4, flags]);
        bytes.extend(WINDOW.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(data);
        bytes
    }

    fn udp(&self, data: &[u8]) -> Vec<u8> {
        let mut bytes = self.ports();
        bytes.extend(length(UDP_LEN + data.len()));
        bytes.extend([0; 2]);
        bytes.extend(data);
        bytes
    }

    fn ports(&self) -> Vec<u8> {
        [self.source.port().to_be_bytes(), self.destination.port().to_be_bytes()].concat()
    }

    fn ipv4(&self, protocol: u8, payload: usize) -> [u8; IPV4_LEN] {
        let mut header = [0; IPV4_LEN];
        header[0] = 0x45;
        header[2..4].copy_from_slice(&length(IPV4_LEN + payload));
        header[6] = DO_NOT_FRAGMENT;
        header[8] = self.ttl;
        header[9] = protocol;
        header[12..16].copy_from_slice(&self.source.ip().octets());
        header[16..20].copy_from_slice(&self.destination.ip().octets());
        let sum = checksum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header
    }

    fn pseudo_header(&self, protocol: u8, payload: usize) -> [u8; 12] {
        let mut header = [0; 12];
        header[..4].copy_from_slice(&self.source.ip().octets());
        header[4..8].copy_from_slice(&self.destination.ip().octets());
        header[9] = protocol;
        header[10..].copy_from_slice(&length(payload));
        header
    }
}

/// A packet longer than a length field can say gets one that is too small, as a broken sender's would.
fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(0).to_be_bytes()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// RFC 1071 over parts of which all but the last have even length; zero when a right checksum is included.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u32 =
        words.map(|word| u32::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]
    use super::*;

    const LINK: Link = Link { from: [2, 0, 0, 0, 0, 2], to: [2, 0, 0, 0, 0, 1] };

    fn packet(payload: Payload) -> Packet {
        Packet {
            source: "198.51.100.2:40000".parse().unwrap(),
            destination: "203.0.113.10:80".parse().unwrap(),
            ttl: 64,
            payload,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for data in [vec![], vec![1], vec![1, 2, 3, 4]] {
            let tcp = packet(Payload::Tcp { flags: SYN | ACK, seq: 1, ack: u32::MAX, data: data.clone() });
            assert_eq!(Packet::from_frame(&tcp.to_frame(LINK)).unwrap(), tcp);
            let udp = packet(Payload::Udp { data });
            assert_eq!(Packet::from_frame(&udp.to_frame(LINK)).unwrap(), udp);
        }
    }

    #[test]
    fn every_changed_bit_of_the_ip_packet_is_noticed() {
        let tcp = packet(Payload::Tcp { flags: ACK, seq: 7, ack: 9, data: b"x".to_vec() });
        let frame = tcp.to_frame(LINK);
        for bit in ETHERNET_LEN * 8..frame.len() * 8 {
            let mut changed = frame.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(Packet::from_frame(&changed).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn the_checksum_of_rfc_1071() {
        // Section 3: the sum of 0001 f203 f4f5 f6f7 is ddf2.
        assert_eq!(checksum(&[&[0x00, 0x01, 0xf2, 0x03], &[0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
    }
}
