//! Capture of what an interface receives.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{Packet, socket::PacketSocket};
use crate::lab::NetNs;

/// `struct virtio_net_hdr`: flags, kind of segmentation, and lengths.
pub(super) const VNET_HEADER_LEN: usize = 10;
const CHECKSUM_TO_BE_FILLED_IN: u8 = 1;
const LARGEST_FRAME: usize = 1 << 18;

/// One frame, from its Ethernet header on.
#[derive(Clone, Debug)]
pub struct Captured {
    pub frame: Vec<u8>,
    /// The kernel merged several frames on reception (GRO) or has yet to fill in the checksum: not what was on the wire.
    pub made_by_kernel: bool,
    pub at: Instant,
}

impl Captured {
    /// What it says; an error if a checksum is wrong, unless it was never on the wire.
    pub fn packet(&self) -> Result<Packet> {
        if self.made_by_kernel {
            Packet::from_frame_without_checksum(&self.frame)
        } else {
            Packet::from_frame(&self.frame)
        }
    }
}

/// A running capture of frames of one kind.
pub struct Capture {
    stop: Arc<AtomicBool>,
    frames: Arc<Mutex<Vec<Captured>>>,
    thread: JoinHandle<Result<()>>,
}

impl Capture {
    /// Keeps what `wanted` says of the IPv4 frames that `interface` in `netns` receives from now on.
    pub fn start(
        netns: &NetNs,
        interface: &str,
        wanted: impl Fn(&[u8]) -> bool + Send + 'static,
    ) -> Result<Self> {
        const IPV4: u16 = 0x0800;
        Self::of(IPV4, netns, interface, wanted)
    }

    /// The same of frames with another `EtherType`.
    pub fn of(
        ethertype: u16,
        netns: &NetNs,
        interface: &str,
        wanted: impl Fn(&[u8]) -> bool + Send + 'static,
    ) -> Result<Self> {
        let socket = PacketSocket::receiving(netns, interface, ethertype)?;
        let (stop, frames) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, kept) = (stop.clone(), frames.clone());
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; LARGEST_FRAME];
            while !stopped.load(Ordering::Relaxed) {
                let Some((header, frame)) =
                    socket.receive(&mut buffer)?.and_then(|bytes| bytes.split_at_checked(VNET_HEADER_LEN))
                else {
                    continue;
                };
                if wanted(frame) {
                    let made_by_kernel = header[0] & CHECKSUM_TO_BE_FILLED_IN != 0 || header[1] != 0;
                    let captured = Captured { frame: frame.to_vec(), made_by_kernel, at: Instant::now() };
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(captured);
                }
            }
            let lost = socket.lost()?;
            ensure!(lost == 0, "the capture lost {lost} frames");
            Ok(())
        });
        Ok(Self { stop, frames, thread })
    }

    /// Waits until it holds so many, or the time is over; then ends it. It is an error if frames were lost.
    pub fn finish(self, count: usize, patience: Duration) -> Result<Vec<Captured>> {
        let deadline = Instant::now() + patience;
        while self.len() < count && Instant::now() < deadline && !self.thread.is_finished() {
            thread::sleep(Duration::from_millis(5));
        }
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(std::mem::take(&mut *self.frames.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
