//! From an outcome to what the driver does: the only place where an action is chosen.

use aya_ebpf::{bindings::xdp_action, programs::XdpContext};
use lb_common::{outcome::Outcome, reason::Action};

use crate::tables;

#[inline(always)]
pub(crate) fn of(outcome: &Outcome, ctx: &XdpContext) -> u32 {
    match outcome.reason.action() {
        Action::Drop => xdp_action::XDP_DROP,
        Action::Pass => xdp_action::XDP_PASS,
        Action::Forward if outcome.egress as usize == ctx.ingress_ifindex() => xdp_action::XDP_TX,
        Action::Forward => tables::redirect(outcome.egress),
    }
}
