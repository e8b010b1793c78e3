//! From an outcome to what the driver does: the only place where an action is chosen.

use aya_ebpf::{bindings::xdp_action, programs::XdpContext};
use lb_common::{outcome::Outcome, reason::Action};

use crate::tables;

#[inline(always)]
pub(crate) fn of(outcome: &Outcome, ctx: &XdpContext) -> u32 {
    match outcome.reason.action() {
        Action::Drop => xdp_action::XDP_DROP,
        Action::Pass => xdp_action::XDP_PASS,
        // Not XDP_TX: a veth whose other end has no program of its own leaves such frames lying
        // (`veth_xdp_flush` in drivers/net/veth.c), and a client that cannot be told waits for ever.
        Action::Answer => tables::redirect(ctx.ingress_ifindex() as u32),
        Action::Forward if outcome.egress as usize == ctx.ingress_ifindex() => xdp_action::XDP_TX,
        Action::Forward => tables::redirect(outcome.egress),
    }
}
