//! Floods from invented sources, at a given rate.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use fastrand::Rng;

use super::{ACK, Link, SYN, datagram, packet::Packet, segment, socket::PacketSocket};
use crate::lab::{HOST_LINK, Lab, SPOOFED};

/// What a flood consists of.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// SYNs, each from another source.
    Syns,
    /// Each SYN twice.
    DoubledSyns,
    /// A SYN, and an ACK of the same source with an invented acknowledgement.
    SynAckPairs,
    /// An ACK without a connection, twice.
    DoubledAcks,
    /// SYNs with these sources, by turns: those of established connections.
    SynsFrom(Vec<SocketAddrV4>),
    /// Datagrams, each from another source.
    Udp,
}

/// A flood from the client's side.
#[derive(Clone, Debug)]
pub struct Flood {
    pub pattern: Pattern,
    pub target: SocketAddrV4,
    /// Frames in all.
    pub frames: u64,
    /// Frames per second.
    pub rate: u32,
    pub seed: u64,
}

/// Often enough that a tick's frames are no burst that queues notice, seldom enough to sleep.
const TICKS_PER_SECOND: u32 = 1000;

impl Flood {
    /// Starts it; answers to invented sources end in the client's namespace.
    pub fn start(self, lab: &Lab) -> Result<Flooding> {
        if let Pattern::SynsFrom(sources) = &self.pattern {
            ensure!(!sources.is_empty(), "a flood of SYNs from given sources needs one");
        }
        let socket = PacketSocket::sending(lab.client(), HOST_LINK)?;
        let link = Link { from: lab.client_mac(), to: lab.gateway_mac() };
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counter) = (stop.clone(), sent.clone());
        let thread = thread::spawn(move || {
            let started = Instant::now();
            let mut packets = Packets::new(&self);
            let mut done = 0;
            while done < self.frames && !stopped.load(Ordering::Relaxed) {
                // What is late is sent at once: the rate is that of the whole.
                let due = self.due(started.elapsed());
                while done < due {
                    socket.send(&packets.next().to_frame(link))?;
                    done += 1;
                }
                counter.store(done, Ordering::Relaxed);
                thread::sleep(Duration::from_secs(1) / TICKS_PER_SECOND);
            }
            Ok(Sent { frames: done, took: started.elapsed() })
        });
        Ok(Flooding { stop, sent, thread })
    }

    /// Frames that should have been sent after this time, no more than one tick's worth beyond.
    fn due(&self, elapsed: Duration) -> u64 {
        let ticks = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX) + 1;
        ticks.saturating_mul(self.rate.into()).div_ceil(TICKS_PER_SECOND.into()).min(self.frames)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub frames: u64,
    pub took: Duration,
}

/// A flood at work.
pub struct Flooding {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<Result<Sent>>,
}

impl Flooding {
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits for its last frame.
    pub fn wait(self) -> Result<Sent> {
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Ends it early.
    pub fn stop(self) -> Result<Sent> {
        self.stop.store(true, Ordering::Relaxed);
        self.wait()
    }
}

/// The packets of a flood, one after the other.
struct Packets<'a> {
    flood: &'a Flood,
    rng: Rng,
    /// Second of a pair, when the first has been sent.
    second: Option<Packet>,
    turn: usize,
}

impl<'a> Packets<'a> {
    fn new(flood: &'a Flood) -> Self {
        Self { flood, rng: Rng::with_seed(flood.seed), second: None, turn: 0 }
    }

    fn next(&mut self) -> Packet {
        if let Some(second) = self.second.take() {
            return second;
        }
        let (target, seq) = (self.flood.target, self.rng.u32(..));
        let source = self.source();
        match &self.flood.pattern {
            Pattern::Syns | Pattern::SynsFrom(_) => segment(source, target, SYN, seq, 0),
            Pattern::DoubledSyns => self.twice(segment(source, target, SYN, seq, 0)),
            Pattern::DoubledAcks => {
                let ack = self.rng.u32(..);
                self.twice(segment(source, target, ACK, seq, ack))
            }
            Pattern::SynAckPairs => {
                self.second = Some(segment(source, target, ACK, seq.wrapping_add(1), self.rng.u32(..)));
                segment(source, target, SYN, seq, 0)
            }
            Pattern::Udp => datagram(source, target, b"flood"),
        }
    }

    fn source(&mut self) -> SocketAddrV4 {
        if let Pattern::SynsFrom(sources) = &self.flood.pattern {
            self.turn = (self.turn + 1) % sources.len();
            return sources[self.turn];
        }
        let (prefix, length) = SPOOFED;
        let host = self.rng.u32(..) >> length;
        SocketAddrV4::new(Ipv4Addr::from_bits(prefix.to_bits() | host), self.rng.u16(1024..))
    }

    fn twice(&mut self, packet: Packet) -> Packet {
        self.second = Some(packet.clone());
        packet
    }
}
