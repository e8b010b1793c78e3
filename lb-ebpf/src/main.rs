//! All that the kernel calls. Decisions are made in `lb_common::pipeline`; this crate lends it
//! the frame and the maps.
#![no_std]
#![no_main]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the kernel has 32-bit indices and answers where aya-ebpf has usize and i64"
)]
#![allow(clippy::needless_pass_by_value, reason = "the form of an entry point")]

mod action;
mod clock;
mod counters;
mod tables;
mod window;

use aya_ebpf::{macros::xdp, programs::XdpContext};
use lb_common::pipeline;

use crate::{tables::KernelTables, window::Frame};

/// Sees each frame that arrives at an interface of the load balancer.
#[xdp]
fn lb_ingress(ctx: XdpContext) -> u32 {
    let mut frame = Frame::new(&ctx);
    let outcome = pipeline::ingress(&mut frame, &KernelTables::new(&ctx), tables::jiffies());
    counters::record(&outcome, window::length(&ctx));
    action::of(&outcome, &ctx)
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
