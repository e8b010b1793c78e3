//! The table, a file for each theme.
#![allow(clippy::too_many_lines, reason = "a table is as long as it has rows")]

mod access;
mod affinity;
mod announced;
mod direct;
mod exceptions;
mod fragments;
mod icmp;
mod icmp_errors;
mod ipv6;
mod life;
mod nat_rules;
mod ranges;
mod replies;
mod routes;
mod selection;
mod shapes;
mod tracked;
mod transition;

use lb_common::parse::TcpFlags;
use lb_common::testkit::{Frame, frame};

use super::case::Case;
use super::world::{CLIENT, DNS, Family, WEB, member_socket};

pub(crate) const SYN: u8 = TcpFlags::SYN;
pub(crate) const ACK: u8 = TcpFlags::ACK;
pub(crate) const FIN: u8 = TcpFlags::FIN;
pub(crate) const RST: u8 = TcpFlags::RST;

/// The rows that a family is run in.
pub(crate) fn of(family: Family) -> Vec<Case> {
    family.build(all).into_iter().filter(|row| row.families().contains(&family)).collect()
}

/// All rows.
pub(crate) fn all() -> Vec<Case> {
    [
        selection::rows(),
        affinity::rows(),
        transition::rows(),
        exceptions::rows(),
        life::rows(),
        replies::rows(),
        routes::rows(),
        direct::rows(),
        shapes::rows(),
        ipv6::rows(),
        access::rows(),
        icmp::rows(),
        icmp_errors::rows(),
        nat_rules::rows(),
        ranges::rows(),
        fragments::rows(),
        tracked::rows(),
        announced::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The client opens a web connection.
fn syn() -> Frame {
    frame::tcp(CLIENT, WEB.frontend).flags(SYN).seq(1000).ack(0)
}

/// The client acknowledges what the web server has sent before this number.
fn ack(number: u32) -> Frame {
    frame::tcp(CLIENT, WEB.frontend).seq(1001).ack(number)
}

/// The client sends data in the middle of a connection.
fn data() -> Frame {
    ack(77_000).payload(b"GET / HTTP/1.1\r\n")
}

/// The web server of this member answers a SYN; the proof of it is an acknowledgement of `seq + 1`.
fn syn_ack(label: u16, seq: u32) -> Frame {
    answer(label).flags(SYN | ACK).seq(seq).ack(1001)
}

/// The web server of this member sends data.
fn answer(label: u16) -> Frame {
    frame::tcp(&member_socket(label, WEB.port), CLIENT).seq(77_000).ack(1001).payload(b"HTTP/1.1 200 OK\r\n")
}

/// The client asks for a name.
fn query() -> Frame {
    frame::udp(CLIENT, DNS.frontend).payload(b"www.example.org")
}

/// The name server of this member answers.
fn named(label: u16) -> Frame {
    frame::udp(&member_socket(label, DNS.port), CLIENT).payload(b"192.0.2.7")
}
