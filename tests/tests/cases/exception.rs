//! Entries of the flow tables, in the words of a case.

use lb_common::abi::FlowWord;
use lb_common::units::{MemberId, Port, Target, Tick};
use lb_ctl::state::FlowKey;

use super::world::{Service, WEB, address, socket};

/// An entry of a flow table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exception {
    pub(super) key: FlowKey,
    pub(super) word: FlowWord,
    pub(super) member_seq: u32,
}

/// A web client's flow that goes to this member.
pub(crate) fn flow(client: &str, label: u16) -> Exception {
    let target = Target { member: MemberId(label), port: Port::new(WEB.port) };
    Exception { key: key(client, WEB), word: FlowWord::new(target, Tick::new(0), 0), member_seq: 0 }
}

/// A flow between a peer and a member's service that passes untouched.
pub(crate) fn past_us(peer: &str, member: &str, protocol: u8) -> Exception {
    let (local, peer_socket) = (socket(member), socket(peer));
    let key = FlowKey {
        peer: address(peer),
        local: address(member),
        peer_port: Port::new(peer_socket.port()),
        local_port: Port::new(local.port()),
        protocol,
        reserved: [0; 3],
    };
    Exception { key, word: FlowWord::untouched(Tick::new(0), 0), member_seq: 0 }
}

impl Exception {
    /// Ticks since its last packet.
    pub(crate) fn aged(mut self, ticks: u32) -> Self {
        self.word = self.word.at(Tick::new(0_u32.wrapping_sub(ticks)));
        self
    }

    /// At another port of the member than the service's.
    pub(crate) fn port(mut self, port: u16) -> Self {
        let target = Target { port: Port::new(port), ..self.word.target() };
        self.word = FlowWord::new(target, self.word.tick(), self.word.flags());
        self
    }

    pub(crate) fn flags(mut self, flags: u64) -> Self {
        self.word = self.word.with(flags);
        self
    }

    /// The member's SYN-ACK has been seen; its next sequence number is this.
    pub(crate) fn member_seq(mut self, seq: u32) -> Self {
        self.member_seq = seq;
        self.flags(FlowWord::SEQ_KNOWN)
    }
}

fn key(client: &str, service: Service) -> FlowKey {
    let (peer, local) = (socket(client), socket(service.frontend));
    FlowKey {
        peer: address(client),
        local: address(service.frontend),
        peer_port: Port::new(peer.port()),
        local_port: Port::new(local.port()),
        protocol: service.protocol,
        reserved: [0; 3],
    }
}
