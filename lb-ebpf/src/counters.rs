//! The only place where a packet is counted.

use lb_common::outcome::{Direction, Outcome};

use crate::tables;

#[inline(always)]
pub(crate) fn record(outcome: &Outcome, bytes: u64) {
    tables::with_reason(outcome.reason as u32, |counter| {
        counter.packets += 1;
        counter.bytes += bytes;
    });
    let Some(account) = outcome.account else { return };
    tables::with_rule_stats(account.stats, |stats| {
        let counter = match account.direction {
            Direction::Inbound { opened } => {
                stats.opened += u64::from(opened != 0);
                &mut stats.inbound
            }
            Direction::Reply => &mut stats.replies,
        };
        counter.packets += 1;
        counter.bytes += bytes;
    });
    if let Direction::Inbound { opened } = account.direction
        && opened != 0
    {
        tables::with_member_stats(u32::from(opened), |opened| *opened += 1);
    }
}
