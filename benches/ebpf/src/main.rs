//! The wrapper that puts the next of a batch of frames before the measured program, and the
//! programs that it is compared with.
//!
//! `BPF_PROG_TEST_RUN` with `repeat` runs a program again on what it wrote: a balancer would see a
//! packet that is no longer for it. So the wrapper is what is repeated; it writes a fresh frame and
//! tail-calls the program under test, which is the shipped object, untouched.
#![no_std]
#![no_main]
#![allow(clippy::needless_pass_by_value, reason = "the xdp macro hands the context over")]
#![feature(asm_experimental_arch)]

use core::arch::asm;

use aya_ebpf::{
    bindings::{BPF_F_ZERO_SEED, xdp_action},
    macros::{map, xdp},
    maps::{Array, HashMap, ProgramArray},
    programs::XdpContext,
};

/// Bytes of a frame.
const FRAME: usize = 64;
/// Where each frame carries the key for the small hash, in its payload.
const SMALL_KEY: usize = 56;
/// From the source address to the destination port of an IPv4 packet without options.
const TUPLE: usize = 26;

/// Where the wrapper stands in the batch.
#[repr(C)]
#[derive(Clone, Copy)]
struct Cursor {
    next: u32,
    length: u32,
}

#[map(name = "bench_cursor")]
static CURSOR: Array<Cursor> = Array::with_max_entries(1, 0);
#[map(name = "bench_frames")]
static FRAMES: Array<[u64; FRAME / 8]> = Array::with_max_entries(1 << 19, 0);
#[map(name = "bench_program")]
static PROGRAM: ProgramArray = ProgramArray::with_max_entries(1, 0);
/// Without a random seed: with one, luck puts two keys or four into one bucket, and the look-up
/// costs 11 ns in one run and 17 in the next.
#[map(name = "bench_small")]
static SMALL: HashMap<u64, u64> = HashMap::with_max_entries(64, BPF_F_ZERO_SEED);
#[map(name = "bench_flows")]
static FLOWS: HashMap<[u32; 4], [u64; 2]> = HashMap::with_max_entries(1 << 19, 0);

/// Writes the next frame and calls the program under test.
#[xdp]
fn bench_next(ctx: XdpContext) -> u32 {
    let Some(cursor) = CURSOR.get_ptr_mut(0) else { return xdp_action::XDP_ABORTED };
    // SAFETY: a live element of an array map, and the bench runs one program at a time.
    let cursor = unsafe { &mut *cursor };
    let at = cursor.next;
    cursor.next = if at + 1 < cursor.length { at + 1 } else { 0 };
    let (Some(frame), Some(place)) = (FRAMES.get(at), place::<FRAME>(&ctx, 0)) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: `frame` and `place` are 64 bytes each, one in the map and one in the packet.
    unsafe { copy(frame.as_ptr().cast(), place) };
    // SAFETY: the context is this run's own.
    unsafe { PROGRAM.tail_call(&ctx, 0) };
    xdp_action::XDP_ABORTED
}

/// What is subtracted.
#[xdp]
fn bench_empty(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// One look-up among 64 keys of 8 bytes.
#[xdp]
fn bench_small_hash(ctx: XdpContext) -> u32 {
    let Some(key) = place::<8>(&ctx, SMALL_KEY) else { return xdp_action::XDP_ABORTED };
    #[allow(clippy::cast_ptr_alignment, reason = "the kernel aligns a test run's data to 8 bytes and more")]
    // SAFETY: 8 bytes of the packet, aligned as the packet is.
    let key = unsafe { key.cast::<u64>().read() };
    // SAFETY: the bench writes the map before it runs the program, and never after.
    match unsafe { SMALL.get(key) } {
        Some(value) if *value != 0 => xdp_action::XDP_PASS,
        _ => xdp_action::XDP_DROP,
    }
}

/// One look-up in a table of flows, by a key of 16 bytes.
#[xdp]
fn bench_flow_table(ctx: XdpContext) -> u32 {
    let Some(tuple) = place::<12>(&ctx, TUPLE) else { return xdp_action::XDP_ABORTED };
    // SAFETY: 12 bytes of the packet.
    let [a, b, c] = unsafe { tuple.cast::<[u32; 3]>().read_unaligned() };
    // SAFETY: the bench writes the map before it runs the program, and never after.
    match unsafe { FLOWS.get([a, b, c, 6]) } {
        Some(value) if value[0] != 0 => xdp_action::XDP_PASS,
        _ => xdp_action::XDP_DROP,
    }
}

/// `N` bytes of the packet from `offset` on.
#[inline(always)]
fn place<const N: usize>(ctx: &XdpContext, offset: usize) -> Option<*mut u8> {
    let start = ctx.data() + offset;
    (start + N <= ctx.data_end()).then_some(start as *mut u8)
}

/// Copies a frame in words that no field of its headers straddles (IPv4 begins at byte 14). A load
/// of what was just stored in two halves waits for both, which costs some 5 ns that no frame in
/// a driver's memory costs; so neither the compiler nor a helper may choose the words.
///
/// # Safety
/// Both point to [`FRAME`] bytes.
#[inline(always)]
unsafe fn copy(from: *const u8, to: *mut u8) {
    macro_rules! words {
        ($($size:literal at $offset:literal)*) => { $(
            // SAFETY: the offsets are below 64; the caller answers for the rest. The kernel takes
            // misaligned access to packets and maps where the processor does.
            unsafe {
                asm!(
                    concat!("{word} = *(", $size, " *)({from} + ", $offset, ")"),
                    concat!("*(", $size, " *)({to} + ", $offset, ") = {word}"),
                    word = out(reg) _,
                    from = in(reg) from,
                    to = in(reg) to,
                    options(nostack),
                );
            }
        )* };
    }
    words! {
        "u16" at 0 "u32" at 2 "u32" at 6 "u32" at 10 "u32" at 14 "u32" at 18 "u32" at 22 "u32" at 26
        "u32" at 30 "u32" at 34 "u32" at 38 "u32" at 42 "u32" at 46 "u32" at 50 "u16" at 54 "u64" at 56
    }
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
