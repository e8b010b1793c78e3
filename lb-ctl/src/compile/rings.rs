//! Where rings lie in the slot map.

use std::collections::BTreeMap;
use std::sync::Arc;

use lb_common::abi::{Rule, SLOTS_PER_WORD, View};
use lb_common::units::MemberId;

use super::regions::Regions;
use super::ring::{self, RingKey};
use super::{Input, Labels, Refusal, Service};
use crate::config::model::Pool;
use crate::state::MapState;

/// Gives each ring a place; one that is there already stays where it is.
pub(super) struct Rings<'m> {
    regions: Regions,
    there: BTreeMap<&'m Arc<Vec<MemberId>>, u32>,
    fresh: BTreeMap<Arc<Vec<MemberId>>, u32>,
    room: u32,
}

impl<'m> Rings<'m> {
    /// No place that a rule in force names is given away.
    pub(super) fn new(input: &Input<'m>, before: &BTreeMap<Service, Rule>) -> Self {
        let mut regions = Regions::new(input.limits.slots, SLOTS_PER_WORD);
        let mut there = BTreeMap::new();
        let views = before.values().flat_map(|rule| [rule.current, rule.old]);
        for view in views.filter(|view| view.ring_size != 0) {
            regions.keep(view.ring_base, view.ring_size);
            there.extend(input.observed.rings.get(&view.ring_base).map(|ring| (ring, view.ring_base)));
        }
        Self { regions, there, fresh: BTreeMap::new(), room: input.limits.slots }
    }

    /// A view of this ring, which is put into the maps.
    pub(super) fn place(&mut self, ring: &Arc<Vec<MemberId>>, state: &mut MapState) -> Result<View, Refusal> {
        let size = u32::try_from(ring.len()).unwrap_or(u32::MAX);
        if size == 0 {
            return Ok(View { present: 1, ..View::default() });
        }
        let base = match self.there.get(ring).or_else(|| self.fresh.get(ring)) {
            Some(&base) => base,
            None => self.regions.take(size).ok_or(Refusal::NoRoom {
                what: "slots of rings",
                needed: self.regions.used() + u64::from(size),
                room: u64::from(self.room),
                option: "--slots",
            })?,
        };
        // The ring that is there, if it is: one pointer tells then that nothing has changed.
        let ring = self.there.get_key_value(ring).map_or(ring, |(there, _)| *there);
        self.fresh.insert(Arc::clone(ring), base);
        state.rings.insert(base, Arc::clone(ring));
        Ok(View { ring_base: base, ring_size: size, present: 1, ..View::default() })
    }

    /// A view of each pool's ring, by the pool's index; of pools that no rule names, of none.
    pub(super) fn of_pools(
        &mut self,
        input: &Input<'_>,
        labels: &Labels,
        state: &mut MapState,
    ) -> Result<Vec<View>, Refusal> {
        let mut views = Vec::new();
        for (index, pool) in input.config.pools().iter().enumerate() {
            let used = input.config.rules().iter().any(|rule| rule.pool == index);
            let ring = if used { build(input, labels, pool) } else { Arc::default() };
            views.push(self.place(&ring, state)?);
        }
        Ok(views)
    }
}

fn build(input: &Input<'_>, labels: &Labels, pool: &Pool) -> Arc<Vec<MemberId>> {
    let members: Vec<_> = pool
        .backends
        .iter()
        .filter(|backend| backend.weight > 0)
        .map(|backend| ring::Member {
            address: backend.address,
            weight: backend.weight,
            id: labels[&(backend.address, pool.forwarding)].0,
        })
        .collect();
    if members.is_empty() {
        return Arc::default();
    }
    let [high, low] = input.observed.root.hash_key;
    let key = RingKey((u128::from(high) << 64 | u128::from(low)).to_be_bytes());
    let slots = ring::build(key, &members, ring::size_for(pool.max_members));
    Arc::new(slots.into_iter().map(MemberId).collect())
}
