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
mod maps;
mod tables;
mod window;

use aya_ebpf::{macros::xdp, programs::XdpContext};
use lb_common::{
    arp,
    icmp::{self, Icmp},
    outcome::Outcome,
    pipeline::{self, End},
    tables::Tables,
    tracked,
    units::{Addr, Addr6},
};

use crate::{tables::KernelTables, window::Frame};

/// Sees each frame that arrives at an interface of the load balancer, and forwards IPv4.
#[xdp]
fn lb_ingress(ctx: XdpContext) -> u32 {
    forward::<Addr>(&ctx)
}

/// Forwards IPv6. A program of its own, so that IPv4 pays nothing for it; so are those below.
#[xdp]
fn lb_ipv6(ctx: XdpContext) -> u32 {
    forward::<Addr6>(&ctx)
}

/// Answers and forwards ICMP.
#[xdp]
fn lb_icmp(ctx: XdpContext) -> u32 {
    let bytes = window::length(&ctx);
    finish(
        &icmp::pass::<Addr, _, _>(&mut Frame::new(&ctx), &KernelTables::new(&ctx), tables::jiffies()),
        bytes,
        &ctx,
    )
}

/// Answers and forwards ICMPv6.
#[xdp]
fn lb_icmp6(ctx: XdpContext) -> u32 {
    let bytes = window::length(&ctx);
    finish(
        &icmp::pass::<Addr6, _, _>(&mut Frame::new(&ctx), &KernelTables::new(&ctx), tables::jiffies()),
        bytes,
        &ctx,
    )
}

/// Tells the sender of an IPv4 packet that it is too big.
#[xdp]
fn lb_too_big(ctx: XdpContext) -> u32 {
    let bytes = window::length(&ctx);
    finish(
        &icmp::too_big::<Addr, _, _>(&mut Frame::new(&ctx), &KernelTables::new(&ctx), tables::jiffies()),
        bytes,
        &ctx,
    )
}

/// Tells the sender of an IPv6 packet that it is too big.
#[xdp]
fn lb_too_big6(ctx: XdpContext) -> u32 {
    let bytes = window::length(&ctx);
    finish(
        &icmp::too_big::<Addr6, _, _>(&mut Frame::new(&ctx), &KernelTables::new(&ctx), tables::jiffies()),
        bytes,
        &ctx,
    )
}

/// Decides about flows with entries in IPv4.
#[xdp]
fn lb_tracked(ctx: XdpContext) -> u32 {
    go_on(
        &tracked::ingress::<Addr, _, _>(&mut Frame::new(&ctx), &KernelTables::new(&ctx), tables::jiffies()),
        &ctx,
    )
}

/// Decides about flows with entries in IPv6.
#[xdp]
fn lb_tracked6(ctx: XdpContext) -> u32 {
    go_on(
        &tracked::ingress::<Addr6, _, _>(&mut Frame::new(&ctx), &KernelTables::new(&ctx), tables::jiffies()),
        &ctx,
    )
}

/// Forwards to ranges of ports, and fragments, in IPv4.
#[xdp]
fn lb_wide(ctx: XdpContext) -> u32 {
    go_on(
        &pipeline::wide::<Addr, _, _>(&mut Frame::new(&ctx), &KernelTables::new(&ctx), tables::jiffies()),
        &ctx,
    )
}

/// Chooses members for flows without entries in IPv4.
#[xdp]
fn lb_again(ctx: XdpContext) -> u32 {
    go_on(
        &pipeline::again::<Addr, _, _>(&mut Frame::new(&ctx), &KernelTables::new(&ctx), tables::jiffies()),
        &ctx,
    )
}

/// Forwards to ranges of ports, and fragments, in IPv6.
#[xdp]
fn lb_wide6(ctx: XdpContext) -> u32 {
    go_on(
        &pipeline::wide::<Addr6, _, _>(&mut Frame::new(&ctx), &KernelTables::new(&ctx), tables::jiffies()),
        &ctx,
    )
}

/// Chooses members for flows without entries in IPv6.
#[xdp]
fn lb_again6(ctx: XdpContext) -> u32 {
    go_on(
        &pipeline::again::<Addr6, _, _>(&mut Frame::new(&ctx), &KernelTables::new(&ctx), tables::jiffies()),
        &ctx,
    )
}

/// Makes entries in IPv4.
#[xdp]
fn lb_enter(ctx: XdpContext) -> u32 {
    go_on(
        &tracked::enter::<Addr, _, _>(&mut Frame::new(&ctx), &KernelTables::new(&ctx), tables::jiffies()),
        &ctx,
    )
}

/// Makes entries in IPv6.
#[xdp]
fn lb_enter6(ctx: XdpContext) -> u32 {
    go_on(
        &tracked::enter::<Addr6, _, _>(&mut Frame::new(&ctx), &KernelTables::new(&ctx), tables::jiffies()),
        &ctx,
    )
}

/// Answers ARP for frontends.
#[xdp]
fn lb_arp(ctx: XdpContext) -> u32 {
    let bytes = window::length(&ctx);
    finish(&arp::answer(&mut Frame::new(&ctx), &KernelTables::new(&ctx)), bytes, &ctx)
}

/// Answers neighbour solicitations for frontends.
#[xdp]
fn lb_neighbour(ctx: XdpContext) -> u32 {
    let bytes = window::length(&ctx);
    finish(&icmp::advertise(&mut Frame::new(&ctx), &KernelTables::new(&ctx)), bytes, &ctx)
}

#[inline(always)]
fn forward<'c, A: Icmp>(ctx: &'c XdpContext) -> u32
where
    KernelTables<'c>: Tables<A>,
{
    let end = pipeline::ingress::<A, _, _>(&mut Frame::new(ctx), &KernelTables::new(ctx), tables::jiffies());
    go_on(&end, ctx)
}

/// Enters the stage that goes on, if there is one.
#[inline(always)]
fn go_on(end: &End, ctx: &XdpContext) -> u32 {
    if let Some(stage) = end.next {
        tables::enter(stage, ctx);
    }
    finish(&end.outcome, window::length(ctx), ctx)
}

/// Counts the frame with the bytes that it came with.
#[inline(always)]
fn finish(outcome: &Outcome, bytes: u64, ctx: &XdpContext) -> u32 {
    counters::record(outcome, bytes);
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
