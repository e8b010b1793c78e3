//! The seam to a frame's bytes.

/// A frame that can be read and rewritten in place.
///
/// Offsets count from the first byte of the Ethernet header. An implementation answers `None`
/// rather than touch a byte that is not there.
pub trait Window {
    /// `N` bytes from `offset` on.
    fn view<const N: usize>(&self, offset: usize) -> Option<&[u8; N]>;

    /// `N` bytes from `offset` on, to be changed.
    fn view_mut<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]>;

    /// Makes room for `by` bytes before the first one, whatever they are; `None` if there is none.
    fn grow(&mut self, by: usize) -> Option<()>;

    /// Cuts the frame to its first `to` bytes; `None` if it is shorter.
    fn cut(&mut self, to: usize) -> Option<()>;

    /// Bytes in the frame.
    fn len(&self) -> usize;

    /// Whether the frame has no byte at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Index of the interface that the frame came in by.
    fn ingress(&self) -> u32;
}
