//! The regions of flat maps that rules name; what lies outside says nothing.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi::{Rule, View};

/// Regions of the slot map and the health map.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// Slots of each ring by its first.
    pub(super) rings: BTreeMap<u32, u32>,
    /// Indices of health words.
    pub(super) health: BTreeSet<u32>,
}

/// What the views of these rules name.
pub(super) fn by<'a>(rules: impl IntoIterator<Item = &'a Rule>) -> Named {
    let mut named = Named::default();
    for view in rules.into_iter().flat_map(|rule| [rule.current, rule.old]) {
        named.add(&view);
    }
    named
}

impl Named {
    fn add(&mut self, view: &View) {
        if view.present == 0 {
            return;
        }
        if view.ring_size > 0 {
            let size = self.rings.entry(view.ring_base).or_default();
            *size = view.ring_size.max(*size);
        }
        let end = view.health_base.saturating_add(u32::from(view.health_words));
        self.health.extend(view.health_base..end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_views_count_and_absent_ones_do_not() {
        let view = |ring_base, present| View {
            ring_base,
            ring_size: 7,
            health_base: ring_base,
            health_words: 2,
            present,
            ..View::default()
        };
        let rules = [
            Rule { current: view(8, 1), old: view(16, 0), ..Rule::default() },
            Rule { current: view(8, 1), old: view(24, 1), ..Rule::default() },
        ];
        let named = by(&rules);
        assert_eq!(named.rings, BTreeMap::from([(8, 7), (24, 7)]));
        assert_eq!(named.health, BTreeSet::from([8, 9, 24, 25]));
    }
}
