//! The rewrite: decided first as a value, then written at once.

use crate::csum::Delta;
use crate::family::Family;
use crate::outcome::NextHop;
use crate::parse::{Headers, Part};
use crate::units::{Addr, Port};
use crate::window::Window;
use crate::words::{put_half, put_word};

/// Where the checksum of TCP stands in its header.
pub(crate) const TCP_CHECKSUM: usize = 16;
/// Where the checksum of UDP stands in its header.
pub(crate) const UDP_CHECKSUM: usize = 6;

/// What changes in an IP header.
#[derive(Debug, Clone, Copy)]
pub struct NewIp<A: Family = Addr> {
    /// Source.
    pub source: A,
    /// Destination.
    pub destination: A,
    /// Hops left.
    pub ttl: u8,
    /// The header's checksum, wire order, where it has one.
    pub checksum: u16,
}

/// Everything that changes in a frame.
#[derive(Debug, Clone, Copy)]
pub struct Rewrite<A: Family = Addr> {
    ip: NewIp<A>,
    transport_at: usize,
    source_port: Port,
    destination_port: Port,
    l4_checksum: u16,
    udp: bool,
    part: Part,
}

/// To a member: destination and port become the member's (S-DIST-19, S-DIST-20). `hop` says that
/// we send the packet on and count the hop; where the kernel does, it counts it.
#[inline(always)]
#[must_use]
pub fn to_member<A: Family>(h: &Headers<A>, address: A, port: Port, hop: bool) -> Rewrite<A> {
    plan(h, (h.ip.source, h.source_port), (address, port), hop)
}

/// To the client: source and port become the frontend's. For `hop` see [`to_member`].
#[inline(always)]
#[must_use]
pub fn to_client<A: Family>(h: &Headers<A>, address: A, port: Port, hop: bool) -> Rewrite<A> {
    plan(h, (address, port), (h.ip.destination, h.destination_port), hop)
}

/// To another destination from another source. For `hop` see [`to_member`].
#[inline(always)]
pub(crate) fn plan<A: Family>(
    h: &Headers<A>,
    (source, source_port): (A, Port),
    (destination, destination_port): (A, Port),
    hop: bool,
) -> Rewrite<A> {
    let addresses = h.ip.destination.delta(destination, h.ip.source.delta(source, Delta::default()));
    let ttl = h.ip.ttl.wrapping_sub(u8::from(hop));
    let transport = addresses
        .half(h.source_port.word(), source_port.word())
        .half(h.destination_port.word(), destination_port.word());
    let udp = h.is_udp();
    Rewrite {
        ip: NewIp { source, destination, ttl, checksum: A::header_checksum(&h.ip, addresses, ttl) },
        source_port,
        destination_port,
        transport_at: A::transport_at(&h.ip),
        l4_checksum: transport_checksum(h.checksum, transport, udp),
        udp,
        part: h.fragment.part,
    }
}

/// The checksum of a segment or datagram after changes.
#[inline(always)]
pub(crate) fn transport_checksum(old: u16, changes: Delta, udp: bool) -> u16 {
    match (udp, old, changes.apply(old)) {
        (true, 0, _) => 0,
        // RFC 768: a sum of 0 is sent as all ones, 0 means that there is none.
        (true, _, 0) => 0xffff,
        (_, _, sum) => sum,
    }
}

impl<A: Family> Rewrite<A> {
    /// Writes the packet's new headers; `None`, and nothing written, if the frame is too short,
    /// which parsing has excluded.
    #[inline(always)]
    pub fn apply<F: Window>(&self, frame: &mut F) -> Option<()> {
        if self.part == Part::LATER {
            return A::write(frame, &self.ip);
        }
        let checksum = if self.udp { UDP_CHECKSUM } else { TCP_CHECKSUM };
        put_half::<0, 2>(frame.view_mut(self.transport_at + checksum)?, self.l4_checksum);
        let b: &mut [u8; 4] = frame.view_mut(self.transport_at)?;
        put_half::<0, 4>(b, self.source_port.word());
        put_half::<2, 4>(b, self.destination_port.word());
        A::write(frame, &self.ip)
    }
}

/// Writes the link-layer addresses.
#[inline(always)]
pub fn send_by<F: Window>(frame: &mut F, hop: &NextHop) -> Option<()> {
    let b: &mut [u8; 12] = frame.view_mut(0)?;
    put_word::<0, 12>(b, hop.link[0]);
    put_word::<4, 12>(b, hop.link[1]);
    put_word::<8, 12>(b, hop.link[2]);
    Some(())
}
