//! What holds for any history: an established connection keeps its member.
//!
//! The model is what a client believes: since its handshake, one member. Tables do not overflow, and
//! times stay within an exception's life.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

mod cases;

use std::collections::BTreeSet;

use cases::case::Executor as _;
use cases::expect::Seen;
use cases::native::Native;
use cases::world::{CLIENT_LINK, MEMBERS, WEB, World, member_socket};
use lb_common::parse::TcpFlags;
use lb_common::reason::Reason;
use lb_common::testkit::{Frame, frame};
use proptest::prelude::*;

/// Something that happens to a rule with connections.
#[derive(Debug, Clone)]
enum Happening {
    Open(usize),
    Send(usize),
    Answer(usize),
    Close(usize),
    /// A SYN, or SYN with ACK, from somebody who knows the connection's addresses and ports.
    ForgedSyn(usize, u8),
    /// The same, past the frontend.
    ForgedPast(usize),
    Flip(u16),
    Change(Vec<u16>),
    /// The transition ends; no connection was idle through all of it.
    Settle,
    Wait(u32),
}

const CONNECTIONS: usize = 6;

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::{Answer, Change, Close, Flip, ForgedPast, ForgedSyn, Open, Send, Settle, Wait};
    let connection = 0..CONNECTIONS;
    let label = prop::sample::select(MEMBERS.to_vec());
    let flags = prop_oneof![Just(TcpFlags::SYN), Just(TcpFlags::SYN | TcpFlags::ACK)];
    prop_oneof![
        4 => connection.clone().prop_map(Open),
        5 => connection.clone().prop_map(Send),
        3 => connection.clone().prop_map(Answer),
        1 => connection.clone().prop_map(Close),
        2 => (connection.clone(), flags).prop_map(|(connection, flags)| ForgedSyn(connection, flags)),
        1 => connection.prop_map(ForgedPast),
        3 => label.clone().prop_map(Flip),
        2 => prop::collection::vec(label, 1..5).prop_map(Change),
        1 => Just(Settle),
        1 => (1..60_u32).prop_map(Wait),
    ]
}

/// A rule, and what its clients believe.
struct Model {
    native: Native,
    world: World,
    ring: Vec<u16>,
    accepting: BTreeSet<u16>,
    /// The member of each connection that is established.
    connections: [Option<u16>; CONNECTIONS],
    /// Sequence numbers of members; each SYN-ACK has another.
    seq: u32,
}

impl Model {
    fn new() -> Self {
        let world = World::lab();
        Self {
            native: Native::new(&world),
            world,
            ring: vec![1],
            accepting: MEMBERS.into(),
            connections: [None; CONNECTIONS],
            seq: 1_000_000,
        }
    }

    fn happens(&mut self, what: &Happening) {
        match what {
            Happening::Open(connection) => self.open(*connection),
            Happening::Send(connection) => self.send(*connection, b"question"),
            Happening::Answer(connection) => self.answer(*connection, TcpFlags::ACK),
            Happening::Close(connection) => self.close(*connection),
            Happening::ForgedSyn(connection, flags) => {
                self.client(&from(*connection).flags(*flags).seq(7).ack(8));
            }
            Happening::ForgedPast(connection) => {
                if let Some(label) = self.connections[*connection] {
                    let past = from(*connection).to(&member_socket(label, WEB.port));
                    let past = past.flags(TcpFlags::SYN).seq(3_000_000_000);
                    assert_eq!(reason(&self.client(&past)), Reason::Direct);
                }
            }
            Happening::Flip(label) => {
                if !self.accepting.remove(label) {
                    self.accepting.insert(*label);
                }
                let accepting: Vec<_> = self.accepting.iter().copied().collect();
                self.apply(|world| world.accepting(&accepting));
            }
            Happening::Change(ring) => self.change(ring),
            Happening::Settle => {
                for connection in 0..CONNECTIONS {
                    self.send(connection, b"still here");
                    self.answer(connection, TcpFlags::ACK);
                }
                self.apply(|world| world.settled(WEB));
            }
            Happening::Wait(ticks) => self.native.wait(*ticks),
        }
    }

    /// A later change during a transition replaces only the new view.
    fn change(&mut self, ring: &[u16]) {
        let old = std::mem::replace(&mut self.ring, ring.to_vec());
        let settled = self.world.map.rules[&WEB.key(self.world.map.root.epoch)].old.present == 0;
        self.apply(|world| {
            let world = world.ring(WEB, ring);
            if settled { world.transition_from(WEB, &old) } else { world }
        });
    }

    fn apply(&mut self, change: impl FnOnce(World) -> World) {
        self.world = change(self.world.clone());
        self.native.write(&self.world.map);
    }

    fn open(&mut self, connection: usize) {
        if self.connections[connection].is_some() {
            return;
        }
        let syn = self.client(&from(connection).flags(TcpFlags::SYN).seq(7));
        let Some(label) = target(&syn) else {
            assert_eq!(reason(&syn), Reason::NoHealthyMember);
            assert!(self.accepting.is_empty(), "dropped, but {:?} accept", self.accepting);
            return;
        };
        assert!(self.accepting.contains(&label), "a SYN to {label}, which does not accept");
        self.seq += 100_000;
        self.connections[connection] = Some(label);
        self.answer(connection, TcpFlags::SYN | TcpFlags::ACK);
        self.send(connection, b"");
    }

    fn send(&mut self, connection: usize, payload: &[u8]) {
        let Some(label) = self.connections[connection] else { return };
        let seen = self.client(&from(connection).seq(8).ack(self.seq + 1).payload(payload));
        assert_eq!(target(&seen), Some(label), "connection {connection}: {seen}");
    }

    fn answer(&mut self, connection: usize, flags: u8) {
        let Some(label) = self.connections[connection] else { return };
        let socket = member_socket(label, WEB.port);
        let frame = frame::tcp(&socket, &client(connection)).flags(flags).seq(self.seq).ack(8);
        let seen = self.native.run(&frame.bytes(), CLIENT_LINK + u32::from(label));
        assert_eq!(reason(&seen), Reason::ReplyToClient, "connection {connection}: {seen}");
    }

    fn close(&mut self, connection: usize) {
        let Some(label) = self.connections[connection] else { return };
        let fin = TcpFlags::FIN | TcpFlags::ACK;
        assert_eq!(target(&self.client(&from(connection).flags(fin).ack(self.seq))), Some(label));
        self.answer(connection, fin);
        self.send(connection, b"");
        self.connections[connection] = None;
    }

    fn client(&mut self, frame: &Frame) -> Seen {
        self.native.run(&frame.bytes(), CLIENT_LINK)
    }
}

fn client(connection: usize) -> String {
    format!("198.51.100.2:{}", 40_000 + connection)
}

fn from(connection: usize) -> Frame {
    frame::tcp(&client(connection), WEB.frontend)
}

fn reason(seen: &Seen) -> Reason {
    *seen.reasons.keys().next().unwrap()
}

/// The member that a frame was sent to.
fn target(seen: &Seen) -> Option<u16> {
    (reason(seen) == Reason::ToMember).then(|| u16::from(seen.frame[32]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// S-DIST-7, S-DIST-13.
    #[test]
    fn an_established_connection_keeps_its_member(
        history in prop::collection::vec(happening(), 1..80),
    ) {
        let mut model = Model::new();
        for what in &history {
            model.happens(what);
        }
    }
}
