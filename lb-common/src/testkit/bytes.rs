//! A frame in a vector.

use crate::window::Window;

/// A frame and the interface that it came in by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bytes {
    /// From the Ethernet header on.
    pub frame: Vec<u8>,
    /// Index of the interface.
    pub ingress: u32,
}

impl Bytes {
    /// A frame that came in by interface `ingress`.
    #[must_use]
    pub fn new(frame: Vec<u8>, ingress: u32) -> Self {
        Self { frame, ingress }
    }
}

impl Window for Bytes {
    fn view<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        self.frame.get(offset..)?.first_chunk()
    }

    fn view_mut<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]> {
        self.frame.get_mut(offset..)?.first_chunk_mut()
    }

    fn grow(&mut self, by: usize) -> Option<()> {
        // A driver leaves at least as much room as XDP_PACKET_HEADROOM of the kernel.
        const HEADROOM: usize = 256;
        if by > HEADROOM {
            return None;
        }
        self.frame.splice(0..0, std::iter::repeat_n(0, by));
        Some(())
    }

    fn cut(&mut self, to: usize) -> Option<()> {
        if to > self.frame.len() {
            return None;
        }
        self.frame.truncate(to);
        Some(())
    }

    fn len(&self) -> usize {
        self.frame.len()
    }

    fn ingress(&self) -> u32 {
        self.ingress
    }
}
