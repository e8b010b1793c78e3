//! Raw frames: built by hand, sent one by one or in floods, captured and checked. Shares no code with the data plane on purpose.

mod capture;
mod flood;
mod generator;
mod packet;
mod socket;

use std::net::SocketAddrV4;

use anyhow::Result;

pub use capture::{Capture, Captured};
pub use flood::{Flood, Flooding, Pattern, Sent};
pub use generator::{FRAME, Generator, Passing};
pub use packet::{ACK, FIN, Link, PSH, Packet, Payload, RST, SYN};

use crate::lab::{HOST_LINK, Lab, NetNs};

/// Sends single frames from a namespace.
pub struct Sender {
    socket: socket::PacketSocket,
    link: Link,
}

impl Sender {
    /// From the client towards the balancer.
    pub fn from_client(lab: &Lab) -> Result<Self> {
        Self::new(lab.client(), HOST_LINK, Link { from: lab.client_mac(), to: lab.gateway_mac() })
    }

    pub fn new(netns: &NetNs, interface: &str, link: Link) -> Result<Self> {
        Ok(Self { socket: socket::PacketSocket::sending(netns, interface)?, link })
    }

    pub fn send(&self, packet: &Packet) -> Result<()> {
        self.send_raw(&packet.to_frame(self.link))
    }

    /// Whatever it is, from the Ethernet header on.
    pub fn send_raw(&self, frame: &[u8]) -> Result<()> {
        Ok(self.socket.send(frame)?)
    }
}

/// A TCP segment without payload.
#[must_use]
pub fn segment(source: SocketAddrV4, destination: SocketAddrV4, flags: u8, seq: u32, ack: u32) -> Packet {
    Packet { source, destination, ttl: 64, payload: Payload::Tcp { flags, seq, ack, data: Vec::new() } }
}

/// A UDP datagram.
#[must_use]
pub fn datagram(source: SocketAddrV4, destination: SocketAddrV4, data: &[u8]) -> Packet {
    Packet { source, destination, ttl: 64, payload: Payload::Udp { data: data.to_vec() } }
}
