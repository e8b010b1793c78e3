//! The rewrite: decided first as a value, then written at once.

use crate::csum::Delta;
use crate::outcome::NextHop;
use crate::parse::{ETH_LEN, Headers, L4};
use crate::units::{Addr, Port};
use crate::window::Window;
use crate::words::{put_half, put_word};

/// Where the addresses of an IPv4 header begin.
const SOURCE: usize = ETH_LEN + 12;
/// Where the checksum of TCP stands.
const TCP_CHECKSUM: usize = L4 + 16;
/// Where the checksum of UDP stands.
const UDP_CHECKSUM: usize = L4 + 6;

/// Everything that changes in a frame.
#[derive(Debug, Clone, Copy)]
pub struct Rewrite {
    source: Addr,
    destination: Addr,
    source_port: Port,
    destination_port: Port,
    ttl: u8,
    ip_checksum: u16,
    l4_checksum: u16,
    udp: bool,
}

/// To a member: destination and port become the member's (S-DIST-19, S-DIST-20). `hop` says that
/// we send the packet on and count the hop; where the kernel does, it counts it.
#[inline(always)]
#[must_use]
pub fn to_member(h: &Headers, address: Addr, port: Port, hop: bool) -> Rewrite {
    plan(h, (h.ip.source, h.source_port), (address, port), hop)
}

/// To the client: source and port become the frontend's. For `hop` see [`to_member`].
#[inline(always)]
#[must_use]
pub fn to_client(h: &Headers, address: Addr, port: Port, hop: bool) -> Rewrite {
    plan(h, (address, port), (h.ip.destination, h.destination_port), hop)
}

#[inline(always)]
fn plan(
    h: &Headers,
    (source, source_port): (Addr, Port),
    (destination, destination_port): (Addr, Port),
    hop: bool,
) -> Rewrite {
    let addresses = Delta::default()
        .word(h.ip.source.word(), source.word())
        .word(h.ip.destination.word(), destination.word());
    let ttl = h.ip.ttl.wrapping_sub(u8::from(hop));
    let ttl_word = |ttl| u16::from_ne_bytes([ttl, h.ip.protocol]);
    let transport = addresses
        .half(h.source_port.word(), source_port.word())
        .half(h.destination_port.word(), destination_port.word());
    let udp = h.is_udp();
    let l4_checksum = match (udp, h.checksum, transport.apply(h.checksum)) {
        (true, 0, _) => 0,
        // RFC 768: a sum of 0 is sent as all ones, 0 means that there is none.
        (true, _, 0) => 0xffff,
        (_, _, sum) => sum,
    };
    Rewrite {
        source,
        destination,
        source_port,
        destination_port,
        ttl,
        ip_checksum: addresses.half(ttl_word(h.ip.ttl), ttl_word(ttl)).apply(h.ip.checksum),
        l4_checksum,
        udp,
    }
}

impl Rewrite {
    /// Writes the packet's new headers; `None`, and nothing written, if the frame is too short,
    /// which parsing has excluded.
    #[inline(always)]
    pub fn apply<F: Window>(&self, frame: &mut F) -> Option<()> {
        let checksum = if self.udp { UDP_CHECKSUM } else { TCP_CHECKSUM };
        put_half::<0, 2>(frame.view_mut(checksum)?, self.l4_checksum);
        // From the addresses to the ports: 12 bytes that lie side by side.
        let b: &mut [u8; 12] = frame.view_mut(SOURCE)?;
        put_word::<0, 12>(b, self.source.word());
        put_word::<4, 12>(b, self.destination.word());
        put_half::<8, 12>(b, self.source_port.word());
        put_half::<10, 12>(b, self.destination_port.word());
        let b: &mut [u8; 4] = frame.view_mut(ETH_LEN + 8)?;
        b[0] = self.ttl;
        put_half::<2, 4>(b, self.ip_checksum);
        Some(())
    }
}

/// Writes the link-layer addresses.
#[inline(always)]
pub fn send_by<F: Window>(frame: &mut F, hop: &NextHop) -> Option<()> {
    let b: &mut [u8; 12] = frame.view_mut(0)?;
    b[0..6].copy_from_slice(&hop.destination);
    b[6..12].copy_from_slice(&hop.source);
    Some(())
}
