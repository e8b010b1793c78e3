//! A generator of live frames (`BPF_F_TEST_XDP_LIVE_FRAMES`): each run of the program is a frame that
//! leaves through an interface.
//!
//! The kernel gives a frame's memory to a later one with whatever the receivers have written into it,
//! so each is written anew, all of it.
#![no_std]
#![no_main]
#![allow(clippy::needless_pass_by_value, reason = "the xdp macro hands the context over")]

use aya_ebpf::{
    bindings::xdp_action,
    helpers::bpf_redirect,
    macros::{map, xdp},
    maps::Array,
    programs::XdpContext,
};

/// Bytes of a frame, in words.
type Frame = [u64; 8];

/// Where the generator stands, and where its frames go.
#[repr(C)]
#[derive(Clone, Copy)]
struct Cursor {
    next: u32,
    length: u32,
    /// Index of the interface that sends them.
    interface: u32,
}

#[map(name = "live_cursor")]
static CURSOR: Array<Cursor> = Array::with_max_entries(1, 0);
#[map(name = "live_frames")]
static FRAMES: Array<Frame> = Array::with_max_entries(1 << 12, 0);

/// Sends the next frame, after the last one the first again.
#[xdp]
fn live_next(ctx: XdpContext) -> u32 {
    let Some(cursor) = CURSOR.get_ptr_mut(0) else { return xdp_action::XDP_ABORTED };
    // SAFETY: a live element of an array map; one run at a time uses it, because a generator is not shared.
    let cursor = unsafe { &mut *cursor };
    let at = cursor.next;
    cursor.next = if at + 1 < cursor.length { at + 1 } else { 0 };
    let Some(frame) = FRAMES.get(at) else { return xdp_action::XDP_ABORTED };
    if ctx.data() + size_of::<Frame>() > ctx.data_end() {
        return xdp_action::XDP_ABORTED;
    }
    let place = ctx.data() as *mut Frame;
    // SAFETY: the packet is as long as a frame, and the kernel aligns a test run's data to 8 bytes and more.
    unsafe { place.write(*frame) };
    // SAFETY: the helper takes any index; an interface that is not there loses the frame.
    let verdict = unsafe { bpf_redirect(cursor.interface, 0) };
    u32::try_from(verdict).unwrap_or(xdp_action::XDP_ABORTED)
}

/// For the interface at the other end where no other program is: a veth takes redirected frames only
/// while its peer has a program.
#[xdp]
fn live_pass(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel lends its helpers to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
