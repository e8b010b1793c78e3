//! The packet that an error is about, as far as the error quotes it.

use super::{Icmp, LENGTH, end};
use crate::hash::Tuple;
use crate::nat::{TCP_CHECKSUM, UDP_CHECKSUM};
use crate::parse::{Ip, TCP, UDP};
use crate::units::{Addr, Port};
use crate::window::Window;
use crate::words::{half, word};

/// A quoted IP header.
#[derive(Debug, Clone, Copy)]
pub struct QuotedIp<A = Addr> {
    /// Source.
    pub source: A,
    /// Destination.
    pub destination: A,
    /// Protocol number of what follows.
    pub protocol: u8,
    /// The header's checksum, wire order; 0 where it has none.
    pub checksum: u16,
    /// Bytes of the header.
    pub length: u16,
}

/// A quoted packet of TCP or UDP.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quote<A> {
    pub(super) source: A,
    pub(super) destination: A,
    pub(super) source_port: Port,
    pub(super) destination_port: Port,
    pub(super) protocol: u8,
    /// Sequence number of a segment; nothing of a datagram.
    pub(super) seq: u32,
    /// Of the IP header.
    pub(super) checksum: u16,
    /// Offset in the frame of the transport header.
    pub(super) transport_at: usize,
    /// Offset in the frame of the transport header's checksum, if that is quoted.
    pub(super) transport_checksum_at: Option<usize>,
}

impl<A: Icmp> Quote<A> {
    #[inline(always)]
    pub(super) fn is_udp(&self) -> bool {
        self.protocol == UDP
    }

    /// The flow with the packet's sender as the peer.
    #[inline(always)]
    pub(super) fn sender_as_peer(&self) -> Tuple<A> {
        Tuple {
            peer: self.source,
            peer_port: self.source_port,
            local: self.destination,
            local_port: self.destination_port,
            protocol: self.protocol,
        }
    }

    /// The flow with the packet's receiver as the peer.
    #[inline(always)]
    pub(super) fn receiver_as_peer(&self) -> Tuple<A> {
        Tuple {
            peer: self.destination,
            peer_port: self.destination_port,
            local: self.source,
            local_port: self.source_port,
            protocol: self.protocol,
        }
    }
}

/// Reads the quote of an error: an IP header and eight bytes behind it (RFC 792), at least.
#[inline(always)]
pub(super) fn read<A: Icmp, F: Window>(frame: &F, ip: &Ip<A>) -> Option<Quote<A>> {
    const PORTS: usize = 8;
    let quoted = A::quoted(frame)?;
    let at = A::AT + LENGTH as usize + quoted.length as usize;
    if end(ip) < at + PORTS {
        return None;
    }
    let b: &[u8; PORTS] = frame.view(at)?;
    let checksum_at = match quoted.protocol {
        TCP => at + TCP_CHECKSUM,
        UDP => at + UDP_CHECKSUM,
        _ => return None,
    };
    Some(Quote {
        source: quoted.source,
        destination: quoted.destination,
        source_port: Port::from_word(half::<0, PORTS>(b)),
        destination_port: Port::from_word(half::<2, PORTS>(b)),
        protocol: quoted.protocol,
        seq: u32::from_be(word::<4, PORTS>(b)),
        checksum: quoted.checksum,
        transport_at: at,
        transport_checksum_at: (checksum_at + 2 <= end(ip)).then_some(checksum_at),
    })
}
