//! An error on its way through: outer header, quote and checksums are rewritten (RFC 5508, section 4).

use super::quote::Quote;
use super::{Header, Icmp};
use crate::csum::Delta;
use crate::nat::{self, NewIp};
use crate::outcome::{NextHop, Outcome};
use crate::parse::Ip;
use crate::reason::Reason;
use crate::units::Port;
use crate::window::Window;
use crate::words::{half, put_half};

/// Where an error comes from and goes to, and what it then says that its quote did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends<A> {
    pub(super) source: A,
    pub(super) destination: A,
    pub(super) quoted_source: (A, Port),
    pub(super) quoted_destination: (A, Port),
}

/// Rewrites an error, and sends it by the next hop if there is one, which is the first of the
/// reasons; the kernel does else.
#[inline(always)]
pub(super) fn forward<A: Icmp, F: Window>(
    frame: &mut F,
    ip: &Ip<A>,
    header: &Header,
    quote: &Quote<A>,
    ends: &Ends<A>,
    hop: Option<NextHop>,
    [by_us, by_kernel]: [Reason; 2],
) -> Result<Outcome, Reason> {
    let changes = requote(frame, quote, ends).ok_or(Reason::BadLength)?;
    let addresses = ip.source.delta(ends.source, ip.destination.delta(ends.destination, Delta::default()));
    put_checksum::<A, F>(frame, changes.and(A::pseudo_change(addresses)).apply(header.checksum))
        .ok_or(Reason::BadLength)?;
    let ttl = ip.ttl - u8::from(hop.is_some());
    let checksum = A::header_checksum(ip, addresses, ttl);
    let new = NewIp { source: ends.source, destination: ends.destination, ttl, checksum };
    A::write(frame, &new).ok_or(Reason::BadLength)?;
    let Some(hop) = hop else { return Ok(by_kernel.into()) };
    nat::send_by(frame, &hop).ok_or(Reason::BadLength)?;
    Ok(Outcome { reason: by_us, account: None, egress: hop.ifindex })
}

/// Rewrites what the error quotes; how its checksum changes by that.
#[inline(always)]
fn requote<A: Icmp, F: Window>(frame: &mut F, quote: &Quote<A>, ends: &Ends<A>) -> Option<Delta> {
    let ((source, source_port), (destination, destination_port)) =
        (ends.quoted_source, ends.quoted_destination);
    let addresses = quote.destination.delta(destination, quote.source.delta(source, Delta::default()));
    let ports = Delta::default()
        .half(quote.source_port.word(), source_port.word())
        .half(quote.destination_port.word(), destination_port.word());
    let mut changes = addresses.and(ports);
    if let Some(at) = quote.transport_checksum_at {
        let b: &mut [u8; 2] = frame.view_mut(at)?;
        let old = half::<0, 2>(b);
        let new = nat::transport_checksum(old, addresses.and(ports), quote.is_udp());
        put_half::<0, 2>(b, new);
        changes = changes.half(old, new);
    }
    let b: &mut [u8; 4] = frame.view_mut(quote.transport_at)?;
    put_half::<0, 4>(b, source_port.word());
    put_half::<2, 4>(b, destination_port.word());
    let checksum = addresses.apply(quote.checksum);
    A::requote(frame, source, destination, checksum)?;
    Some(A::quoted_change(changes, quote.checksum, checksum))
}

/// Writes the checksum of a message.
#[inline(always)]
pub(super) fn put_checksum<A: Icmp, F: Window>(frame: &mut F, checksum: u16) -> Option<()> {
    put_half::<0, 2>(frame.view_mut(A::AT + 2)?, checksum);
    Some(())
}
