//! From an outcome to what the driver does: the only place where an action is chosen.

use aya_ebpf::{bindings::xdp_action, programs::XdpContext};
use lb_common::{outcome::Outcome, reason::Action};

use crate::tables;

#[inline(always)]
pub(crate) fn of(outcome: &Outcome, ctx: &XdpContext) -> u32 {
    match outcome.reason.action() {
        Action::Drop => xdp_action::XDP_DROP,
        Action::Pass => xdp_action::XDP_PASS,
        // Here and below not XDP_TX, although it may leave by the interface that it came by: a veth whose
        // other end has no program of its own leaves such frames lying (`veth_xdp_flush` in drivers/net/veth.c).
        Action::Answer => tables::redirect(ctx.ingress_ifindex() as u32),
        Action::Forward => tables::redirect(outcome.egress),
    }
}
