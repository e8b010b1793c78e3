//! From a description to the bytes of a frame.

use std::net::{IpAddr, SocketAddr};

use super::{Frame, Transport};
use crate::family::ETH_LEN;
use crate::testkit::sums::{checksum, pseudo_header};

impl Frame {
    /// The frame as it is on the wire.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let segment = self.segment();
        let mut bytes = [self.destination_mac, self.source_mac].concat();
        if let Some(id) = self.vlan {
            bytes.extend([0x8100, id].map(u16::to_be_bytes).concat());
        }
        let family = if self.source.is_ipv4() { 0x0800_u16 } else { 0x86dd };
        bytes.extend(self.ethertype.unwrap_or(family).to_be_bytes());
        match self.source {
            _ if self.transport == Transport::Bare => {}
            SocketAddr::V4(_) => bytes.extend(self.ipv4_header(segment.len())),
            SocketAddr::V6(_) => bytes.extend(self.ipv6_headers(segment.len())),
        }
        bytes.extend(segment);
        bytes.resize(bytes.len().max(self.padded_to), 0);
        bytes.truncate(self.cut_to);
        if let Some(at) = self.damaged {
            bytes[at] ^= 1;
        }
        bytes
    }

    fn ipv4_header(&self, payload: usize) -> Vec<u8> {
        let header = 20 + self.options.len();
        let length = self.ip_length.unwrap_or(word(header + payload));
        let mut bytes =
            vec![0x40 | u8::try_from(header / 4).expect("at most 40 bytes of options"), self.service];
        bytes.extend(length.to_be_bytes());
        bytes.extend(self.identification.to_be_bytes());
        bytes.extend(self.fragment.to_be_bytes());
        bytes.extend([self.ttl, self.protocol, 0, 0]);
        bytes.extend(self.addresses());
        bytes.extend(&self.options);
        let sum = checksum(&bytes, 0);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    fn ipv6_headers(&self, payload: usize) -> Vec<u8> {
        let numbers = self.extensions.iter().map(|(number, _)| *number).chain([self.protocol]);
        let mut behind: Vec<u8> = Vec::new();
        for ((_, rest), next) in self.extensions.iter().zip(numbers.clone().skip(1)) {
            behind.extend([next, u8::try_from((rest.len() + 2) / 8 - 1).expect("at most 2,048 bytes")]);
            behind.extend(rest);
        }
        let length = self.ip_length.unwrap_or(word(behind.len() + payload));
        let mut bytes = vec![0x60, 0, 0, 0];
        bytes.extend(length.to_be_bytes());
        bytes.extend([numbers.clone().next().expect("one at least"), self.ttl]);
        bytes.extend(self.addresses());
        bytes.extend(behind);
        bytes
    }

    fn addresses(&self) -> Vec<u8> {
        let octets = |address: IpAddr| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        [octets(self.source.ip()), octets(self.destination.ip())].concat()
    }

    fn segment(&self) -> Vec<u8> {
        let ports = [self.source.port().to_be_bytes(), self.destination.port().to_be_bytes()].concat();
        match self.transport {
            Transport::Tcp { flags, seq, ack, words } => {
                let mut bytes = ports;
                bytes.extend([seq, ack].map(u32::to_be_bytes).concat());
                bytes.extend([words << 4, flags, 0xfa, 0xf0, 0, 0, 0, 0]);
                bytes.extend(&self.payload);
                let sum = self.transport_checksum(&bytes);
                bytes[16..18].copy_from_slice(&sum.to_be_bytes());
                bytes
            }
            Transport::Udp { checksum, length } => {
                let mut bytes = ports;
                bytes.extend(length.unwrap_or(word(8 + self.payload.len())).to_be_bytes());
                bytes.extend([0, 0]);
                bytes.extend(&self.payload);
                let sum = match self.transport_checksum(&bytes) {
                    _ if !checksum => 0,
                    0 => 0xffff,
                    sum => sum,
                };
                bytes[6..8].copy_from_slice(&sum.to_be_bytes());
                bytes
            }
            Transport::Icmp { kind, code, rest } => {
                let mut bytes = vec![kind, code, 0, 0];
                bytes.extend(rest.to_be_bytes());
                bytes.extend(self.quoted());
                bytes.extend(&self.payload);
                let sum = match self.source {
                    SocketAddr::V4(_) => checksum(&bytes, 0),
                    SocketAddr::V6(_) => self.transport_checksum(&bytes),
                };
                bytes[2..4].copy_from_slice(&sum.to_be_bytes());
                bytes
            }
            Transport::Other | Transport::Bare => self.payload.clone(),
        }
    }

    fn quoted(&self) -> Vec<u8> {
        let Some((packet, behind)) = &self.quote else { return Vec::new() };
        let (header, longest) = if packet.source.is_ipv4() { (20, 548) } else { (40, 1232) };
        let bytes = Self { padded_to: 0, cut_to: usize::MAX, ..(**packet).clone() }.bytes();
        let quote = bytes[ETH_LEN..].iter().take(header + behind.min(&(longest - header)));
        quote.copied().collect()
    }

    fn transport_checksum(&self, segment: &[u8]) -> u16 {
        checksum(segment, pseudo_header(&self.addresses(), self.protocol, segment.len()))
    }
}

fn word(length: usize) -> u16 {
    u16::try_from(length).expect("a packet of at most 65,535 bytes")
}
