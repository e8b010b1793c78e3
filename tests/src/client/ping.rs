//! An echo request, and what comes back.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, recv, sendto,
            setsockopt, socket, sockopt,
        },
        time::TimeVal,
    },
};

use crate::lab::NetNs;

/// Bytes of a message's header.
const HEADER: usize = 8;
/// Identifier of all our requests: only one is under way in a namespace.
const IDENTIFIER: u16 = 0x1bd5;

/// Who has answered, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// With the bytes that were sent.
    Reply,
    /// With other bytes.
    Garbled,
    /// By an error of this type and code.
    Error(u8, u8),
}

/// Sends an echo request with so many bytes behind its header; `None` if nothing comes back in time.
pub fn ping(netns: &NetNs, to: IpAddr, bytes: usize, patience: Duration) -> Result<Option<Answer>> {
    netns.run(|| exchange(to, bytes, patience)).with_context(|| format!("ping {to}"))
}

fn exchange(to: IpAddr, bytes: usize, patience: Duration) -> Result<Option<Answer>> {
    let (family, protocol) = match to {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    let socket = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(0, 20_000))?;
    let request = request(to, bytes);
    let address = SockaddrStorage::from(SocketAddr::new(to, 0));
    sendto(socket.as_raw_fd(), &request, &address, MsgFlags::empty())?;
    let deadline = Instant::now() + patience;
    let mut buffer = vec![0; 65_536];
    while Instant::now() < deadline {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => {
                if let Some(answer) = message(to, &buffer[..length]).and_then(|it| answer(to, it, &request)) {
                    return Ok(Some(answer));
                }
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

fn request(to: IpAddr, bytes: usize) -> Vec<u8> {
    let kind = if to.is_ipv4() { 8 } else { 128 };
    let mut request = vec![kind, 0, 0, 0];
    request.extend(IDENTIFIER.to_be_bytes());
    request.extend([0, 1]);
    request.extend((0..bytes).map(|at| u8::try_from(at % 251).unwrap_or(0)));
    if to.is_ipv4() {
        // For ICMPv6 the kernel computes it (RFC 3542, section 3.1).
        let sum = checksum(&request);
        request[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    request
}

/// The ICMP message of what a raw socket gives, which has an IP header before it in IPv4 only.
fn message(to: IpAddr, packet: &[u8]) -> Option<&[u8]> {
    let header = if to.is_ipv4() { usize::from(packet.first()? & 15) * 4 } else { 0 };
    packet.get(header..).filter(|message| message.len() >= HEADER)
}

fn answer(to: IpAddr, message: &[u8], request: &[u8]) -> Option<Answer> {
    let (reply, ip, errors) = if to.is_ipv4() { (0, 20, 3..=12) } else { (129, 40, 1..=4) };
    let of_ours = |message: &[u8]| message.get(4..6) == Some(&IDENTIFIER.to_be_bytes());
    if message[0] == reply && of_ours(message) {
        return Some(if message[4..] == request[4..] { Answer::Reply } else { Answer::Garbled });
    }
    let quoted = message.get(HEADER + ip..).filter(|quoted| quoted.first() == Some(&request[0]));
    (errors.contains(&message[0]) && quoted.is_some_and(of_ours))
        .then_some(Answer::Error(message[0], message[1]))
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| low.into()));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}
