//! Where health sets lie, and what they say.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi::{Rule, View};
use lb_common::units::MemberId;

use super::regions::Regions;
use super::{Input, Labels, Refusal, Service, health};
use crate::config::model::{self, NoHealthyBackends};
use crate::state::MapState;

/// Rules with the same pool, probe and policy share a health set.
pub(super) type SetKey = (usize, Option<usize>, NoHealthyBackends);

pub(super) fn set_key(rule: &model::Rule) -> SetKey {
    (rule.pool, rule.probe, rule.no_healthy_backends)
}

/// Where a health set lies: first word in the map, words left out before it, words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Set {
    base: u32,
    skip: u16,
    words: u16,
}

impl Set {
    /// Nobody accepts.
    pub(super) const NOBODY: Self = Self { base: 0, skip: 0, words: 0 };

    pub(super) fn seen_by(self, view: View) -> View {
        View { health_base: self.base, health_skip: self.skip, health_words: self.words, ..view }
    }
}

/// A place for each health set: the one that a rule has already, if it holds these very words,
/// else a fresh one. Words in force are changed by verdicts of probes alone; what an apply changes
/// becomes effective with its rules.
pub(super) struct Sets<'i> {
    input: &'i Input<'i>,
    regions: Regions,
    claimed: BTreeSet<u32>,
    pools: BTreeMap<SetKey, Set>,
    /// Words in which one bit is set, by the bit.
    members: BTreeMap<u16, u32>,
}

impl<'i> Sets<'i> {
    pub(super) fn new(input: &'i Input<'i>, before: &BTreeMap<Service, Rule>) -> Self {
        let mut regions = Regions::new(input.limits.health_words, 1);
        for view in before.values().map(|rule| rule.current) {
            regions.keep(view.health_base, u32::from(view.health_words));
        }
        Self { input, regions, claimed: BTreeSet::new(), pools: BTreeMap::new(), members: BTreeMap::new() }
    }

    /// That of a rule, whose view was `before`.
    pub(super) fn of_rule(
        &mut self,
        rule: &model::Rule,
        before: Option<&View>,
        labels: &Labels,
        state: &mut MapState,
    ) -> Result<Set, Refusal> {
        let key = set_key(rule);
        if let Some(set) = self.pools.get(&key) {
            return Ok(*set);
        }
        let (pool, probe) = (self.input.config.pool_of(rule), self.input.config.probe_of(rule));
        let states = health::in_pool(pool, probe, rule.no_healthy_backends, self.input.healthy);
        let (skip, words) = health::words(pool, labels, &states);
        let set = self.place(skip, &words, before, state)?;
        self.pools.insert(key, set);
        Ok(set)
    }

    /// One in which this member accepts, whatever happens (S-NAT-8), and nobody else. Members with
    /// the same bit share a word.
    pub(super) fn always(
        &mut self,
        member: MemberId,
        before: Option<&View>,
        state: &mut MapState,
    ) -> Result<Set, Refusal> {
        let (skip, bit) = member.health_place();
        if let Some(&base) = self.members.get(&bit) {
            return Ok(Set { base, skip, words: 1 });
        }
        let set = self.place(skip, &[1 << bit], before, state)?;
        self.members.insert(bit, set.base);
        Ok(set)
    }

    fn place(
        &mut self,
        skip: u16,
        words: &[u64],
        before: Option<&View>,
        state: &mut MapState,
    ) -> Result<Set, Refusal> {
        let count = u16::try_from(words.len()).unwrap_or(u16::MAX);
        let there = before.filter(|view| holds(self.input.observed, view, skip, words));
        let base = match there.filter(|view| !self.claimed.contains(&view.health_base)) {
            Some(view) => view.health_base,
            None => self.regions.take(u32::from(count)).ok_or(Refusal::NoRoom {
                what: "words of health sets",
                needed: self.regions.used() + u64::from(count),
                room: u64::from(self.input.limits.health_words),
                option: "--health-words",
            })?,
        };
        if count > 0 {
            self.claimed.insert(base);
        }
        state.health.extend((base..).zip(words.iter().copied()));
        Ok(Set { base, skip, words: count })
    }
}

/// Whether the health set of a view is there and holds these words.
fn holds(maps: &MapState, view: &View, skip: u16, words: &[u64]) -> bool {
    let there = (view.health_base..).map(|index| maps.health.get(&index));
    !words.is_empty()
        && (view.health_skip, usize::from(view.health_words)) == (skip, words.len())
        && there.zip(words).all(|(there, word)| there == Some(word))
}
