//! Floods of live frames from invented sources, at a given rate.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;

use super::{ACK, FRAME, Generator, Link, SYN, datagram, packet::Packet, segment};
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
    /// The first fragment of a datagram, each from another source.
    FirstFragments,
}

/// A flood from the client's side.
#[derive(Clone, Debug)]
pub struct Flood {
    pub pattern: Pattern,
    pub target: SocketAddrV4,
    /// Frames in all, each of them taken by the client's interface.
    pub frames: u64,
    /// Frames per second.
    pub rate: u32,
    pub seed: u64,
}

/// Often enough that a tick's frames are no burst that queues notice, seldom enough to sleep.
const TICKS_PER_SECOND: u32 = 1000;
/// The room of a veth.
const MOST_AT_ONCE: u64 = 256;
/// How long no frame may be taken.
const PATIENCE: Duration = Duration::from_secs(2);

impl Flood {
    /// Starts it; answers to invented sources end in the client's namespace.
    pub fn start(self, lab: &Lab) -> Result<Flooding> {
        if let Pattern::SynsFrom(sources) = &self.pattern {
            ensure!(!sources.is_empty(), "a flood of SYNs from given sources needs one");
        }
        let generator = Generator::new(lab.client(), HOST_LINK)?;
        let link = Link { from: lab.client_mac(), to: lab.gateway_mac() };
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counter) = (stop.clone(), sent.clone());
        let thread = thread::spawn(move || self.run(generator, link, &stopped, &counter));
        Ok(Flooding { stop, sent, thread })
    }

    fn run(
        &self,
        mut generator: Generator,
        link: Link,
        stop: &AtomicBool,
        counter: &AtomicU64,
    ) -> Result<Sent> {
        generator.enter()?;
        let (started, mut progress) = (Instant::now(), Instant::now());
        let mut packets = Packets::new(self);
        let mut sent = 0;
        while sent < self.frames && !stop.load(Ordering::Relaxed) {
            // What is late, or found no room, is made up for: the rate is that of the whole.
            let due = self.due(started.elapsed()).saturating_sub(sent).min(MOST_AT_ONCE);
            if due > 0 {
                let frames: Vec<_> =
                    (0..due).map(|_| padded(&packets.next_frame(link))).collect::<Result<_>>()?;
                generator.lay_out(&frames)?;
                let taken = generator.send(u32::try_from(due)?)?;
                if taken > 0 {
                    progress = Instant::now();
                }
                ensure!(
                    progress.elapsed() < PATIENCE,
                    "{HOST_LINK} takes no frames: has its other end an XDP program?"
                );
                sent += taken;
                counter.store(sent, Ordering::Relaxed);
            }
            thread::sleep(Duration::from_secs(1) / TICKS_PER_SECOND);
        }
        Ok(Sent { frames: sent, took: started.elapsed() })
    }

    /// Frames that should have been sent after this time, no more than one tick's worth beyond.
    fn due(&self, elapsed: Duration) -> u64 {
        let ticks = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX) + 1;
        ticks.saturating_mul(self.rate.into()).div_ceil(TICKS_PER_SECOND.into()).min(self.frames)
    }
}

/// As long as the generator's frames are: what is behind a packet is Ethernet's padding.
fn padded(frame: &[u8]) -> Result<[u8; FRAME]> {
    let mut padded = [0; FRAME];
    let place = padded.get_mut(..frame.len()).context("a packet of a flood is longer than a frame")?;
    place.copy_from_slice(frame);
    Ok(padded)
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

    fn next_frame(&mut self, link: Link) -> Vec<u8> {
        let mut frame = self.next().to_frame(link);
        if matches!(self.flood.pattern, Pattern::FirstFragments) {
            more_fragments(&mut frame);
        }
        frame
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
            Pattern::Udp | Pattern::FirstFragments => datagram(source, target, b"flood..."),
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

/// Says that others follow, in place of "don't fragment".
fn more_fragments(frame: &mut [u8]) {
    const FLAGS: std::ops::Range<usize> = 20..22;
    const CHECKSUM: std::ops::Range<usize> = 24..26;
    let read =
        |frame: &[u8], at: std::ops::Range<usize>| u16::from_be_bytes([frame[at.start], frame[at.start + 1]]);
    let (old, new) = (read(frame, FLAGS), 0x2000_u16);
    // RFC 1624, equation 3.
    let sum = u32::from(!read(frame, CHECKSUM)) + u32::from(!old) + u32::from(new);
    let sum = (sum & 0xffff) + (sum >> 16);
    let [high, low, ..] = (!((sum & 0xffff) + (sum >> 16)) << 16).to_be_bytes();
    frame[CHECKSUM].copy_from_slice(&[high, low]);
    frame[FLAGS].copy_from_slice(&new.to_be_bytes());
}
