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
mod fib;
mod tables;
mod window;

use aya_ebpf::{macros::xdp, programs::XdpContext};
use lb_common::{
    family::Family,
    outcome::Outcome,
    pipeline::{self, Stage},
    tables::Tables,
    units::{Addr, Addr6},
};

use crate::{tables::KernelTables, window::Frame};

/// Sees each frame that arrives at an interface of the load balancer, and forwards IPv4.
#[xdp]
fn lb_ingress(ctx: XdpContext) -> u32 {
    let outcome = run::<Addr>(&ctx);
    if let Some(stage) = Stage::after(outcome.reason, &Frame::new(&ctx)) {
        tables::enter(stage, &ctx);
    }
    finish(&outcome, &ctx)
}

/// Forwards IPv6. A program of its own, so that IPv4 pays nothing for it.
#[xdp]
fn lb_ipv6(ctx: XdpContext) -> u32 {
    finish(&run::<Addr6>(&ctx), &ctx)
}

#[inline(always)]
fn run<'c, A: Family>(ctx: &'c XdpContext) -> Outcome
where
    KernelTables<'c>: Tables<A>,
{
    pipeline::ingress::<A, _, _>(&mut Frame::new(ctx), &KernelTables::new(ctx), tables::jiffies())
}

#[inline(always)]
fn finish(outcome: &Outcome, ctx: &XdpContext) -> u32 {
    counters::record(outcome, window::length(ctx));
    action::of(outcome, ctx)
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
