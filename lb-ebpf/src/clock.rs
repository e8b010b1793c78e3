//! Tells user space the time by which entries age. No interface runs this: `BPF_PROG_TEST_RUN` does.

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use lb_common::window::Window as _;

use crate::{tables, window::Frame};

/// Writes jiffies over the first eight bytes of the frame, in the machine's own order.
///
/// Jiffies reach user space by no system call, and the return value of a program is half as wide.
#[xdp]
fn lb_clock(ctx: XdpContext) -> u32 {
    let mut frame = Frame::new(&ctx);
    let Some(bytes) = frame.view_mut::<8>(0) else { return xdp_action::XDP_ABORTED };
    *bytes = tables::jiffies().to_ne_bytes();
    xdp_action::XDP_DROP
}
