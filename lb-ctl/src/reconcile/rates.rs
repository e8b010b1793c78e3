//! Rates of rules over the last seconds.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use lb_common::abi::RuleStats;

use super::core::Core;

/// Beats that a rate is taken over.
const WINDOW: usize = 5;

/// Counters of rules at the latest beats, by statistics number.
#[derive(Default)]
pub(super) struct Rates {
    samples: VecDeque<(Instant, HashMap<u32, RuleStats>)>,
}

/// What a rule does each second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rate {
    pub(super) opened: f64,
    pub(super) packets: f64,
}

impl Rates {
    /// Takes the counters of all rules in force.
    pub(super) fn sample(&mut self, core: &Core, now: Instant) {
        let rules = core.observed().rules_in_force();
        let stats =
            rules.filter_map(|(_, rule)| Some((rule.stats, core.dataplane().rule_stats(rule.stats).ok()?)));
        self.samples.push_back((now, stats.collect()));
        if self.samples.len() > WINDOW + 1 {
            self.samples.pop_front();
        }
    }

    /// The rate of one rule; 0 while there are not two beats.
    pub(super) fn of(&self, stats: u32) -> Rate {
        self.between(stats).unwrap_or_default()
    }

    fn between(&self, stats: u32) -> Option<Rate> {
        let (begin, first) = self.samples.front()?;
        let (end, last) = self.samples.back()?;
        let (first, last) = (first.get(&stats)?, last.get(&stats)?);
        let seconds = end.duration_since(*begin).as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        #[allow(clippy::cast_precision_loss, reason = "packets of a few seconds")]
        let per_second = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
        let packets = |stats: &RuleStats| stats.inbound.packets + stats.replies.packets;
        Some(Rate {
            opened: per_second(first.opened, last.opened),
            packets: per_second(packets(first), packets(last)),
        })
    }
}
