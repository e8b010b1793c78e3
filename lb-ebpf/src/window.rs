//! The frame, bounds checked against the end that the kernel gives.

use aya_ebpf::{
    helpers::generated::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail},
    programs::XdpContext,
};
use lb_common::window::Window;

/// A frame in the driver's memory.
pub(crate) struct Frame<'c> {
    ctx: &'c XdpContext,
}

impl<'c> Frame<'c> {
    #[inline(always)]
    pub(crate) fn new(ctx: &'c XdpContext) -> Self {
        Self { ctx }
    }
}

/// Bytes in the frame.
#[inline(always)]
pub(crate) fn length(ctx: &XdpContext) -> u64 {
    (ctx.data_end() - ctx.data()) as u64
}

impl Window for Frame<'_> {
    #[inline(always)]
    fn view<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        let start = self.ctx.data() + offset;
        if start + N > self.ctx.data_end() {
            return None;
        }
        // SAFETY: `start..start + N` lies between the frame's `data` and `data_end` (just checked,
        // and checked again by the verifier), an array of bytes has no alignment, and `&self`
        // excludes `view_mut`.
        Some(unsafe { &*(start as *const [u8; N]) })
    }

    #[inline(always)]
    fn view_mut<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]> {
        let start = self.ctx.data() + offset;
        if start + N > self.ctx.data_end() {
            return None;
        }
        // SAFETY: as in `view`; `&mut self` excludes any other view.
        Some(unsafe { &mut *(start as *mut [u8; N]) })
    }

    #[inline(always)]
    fn grow(&mut self, by: usize) -> Option<()> {
        // SAFETY: the context is this run's own; `&mut self` says that nobody holds a view, and each
        // later one asks the context anew where the frame begins.
        let refused = unsafe { bpf_xdp_adjust_head(self.ctx.ctx, -(by as i32)) };
        (refused == 0).then_some(())
    }

    #[inline(always)]
    fn cut(&mut self, to: usize) -> Option<()> {
        let surplus = self.len() as i32 - to as i32;
        if surplus < 0 {
            return None;
        }
        // SAFETY: as in `grow`; the new end is not behind the old one.
        let refused = unsafe { bpf_xdp_adjust_tail(self.ctx.ctx, -surplus) };
        (refused == 0).then_some(())
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.ctx.data_end() - self.ctx.data()
    }

    #[inline(always)]
    fn ingress(&self) -> u32 {
        self.ctx.ingress_ifindex() as u32
    }
}
