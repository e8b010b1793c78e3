//! Walks over the exceptions: who is alive, what they need, and what can be deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lb_common::abi::FlowWord;
use lb_common::tables::Tier;
use lb_common::track;
use lb_common::units::{MemberId, Port, Target, Tick};

use super::tracks::Tracks;
use crate::compile::{Ranges, Service};
use crate::dataplane::{Dataplane, Error, FlowTable};
use crate::state::{FlowKey, MapState};
use crate::units;

/// The data plane takes an entry that is past its life as absent; it is deleted only this much
/// later, so that no packet can be about to bring it back.
const MARGIN: Duration = Duration::from_mins(1);

/// Exceptions that are alive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Census {
    pub(super) confirmed: u64,
    pub(super) pending: u64,
    /// Tracked flows that are proven, and those that begin.
    pub(super) tracked: u64,
    pub(super) opening: u64,
}

/// How long exceptions live, by the service that they came for.
struct Lives {
    services: BTreeMap<Service, u32>,
    ranges: Ranges,
    longest: u32,
}

impl Lives {
    fn of(state: &MapState) -> Self {
        let services: BTreeMap<_, _> =
            state.rules_in_force().map(|(key, rule)| (Service::of(key), rule.life)).collect();
        let longest = services.values().copied().max().unwrap_or(0);
        Self { services, ranges: Ranges::of(state), longest }
    }

    fn of_entry(&self, key: &FlowKey, word: FlowWord, state: &MapState) -> u32 {
        let rule = self.services.get(&self.service(key)).copied().unwrap_or(self.longest);
        track::life(word, rule, &state.root)
    }

    /// What a flow came for: the port, else the range that it is in, else all ports, as packets find it.
    fn service(&self, key: &FlowKey) -> Service {
        let exact = Service { address: key.local, port: key.local_port, protocol: key.protocol };
        let all = Service { port: Port::default(), ..exact };
        let there = |service: &Service| self.services.contains_key(service);
        let wider = || self.ranges.serving(exact).or_else(|| Some(all).filter(there));
        if there(&exact) { exact } else { wider().unwrap_or(exact) }
    }

    /// The same, and where it goes, as if it had come for the first port.
    fn first(&self, key: &FlowKey, target: Target) -> (Service, Target) {
        let service = self.service(key);
        let behind = key.local_port.behind(service.port);
        (service, Target { port: target.port.plus(behind.wrapping_neg()), ..target })
    }
}

pub(super) fn now(dataplane: &dyn Dataplane, state: &MapState) -> Result<Tick, Error> {
    let (jiffies, _) = dataplane.clock()?;
    #[allow(clippy::cast_possible_truncation, reason = "ticks are modular")]
    Ok(Tick::new((jiffies >> state.root.tick_shift) as u32))
}

/// Where live exceptions go.
pub(super) fn carried(
    dataplane: &dyn Dataplane,
    state: &MapState,
) -> Result<BTreeSet<(Service, Target)>, Error> {
    let (mut carried, lives) = (BTreeSet::new(), Lives::of(state));
    each_alive(dataplane, state, |_, key, word| {
        if word.target().member != MemberId::NONE {
            carried.insert(lives.first(key, word.target()));
        }
    })?;
    for (_, track) in Tracks::read(dataplane, state)?.alive() {
        if track.from_client {
            carried.insert(lives.first(&track.key, track.word.target()));
        }
    }
    Ok(carried)
}

/// Counts live exceptions.
pub(super) fn census(dataplane: &dyn Dataplane, state: &MapState) -> Result<Census, Error> {
    let mut census = Census::default();
    each_alive(dataplane, state, |table, _, _| match table {
        FlowTable::Confirmed => census.confirmed += 1,
        FlowTable::Pending => census.pending += 1,
    })?;
    for (tier, track) in Tracks::read(dataplane, state)?.alive() {
        if track.from_client {
            match tier {
                Tier::Tracked => census.tracked += 1,
                Tier::Opening => census.opening += 1,
            }
        }
    }
    Ok(census)
}

fn each_alive(
    dataplane: &dyn Dataplane,
    state: &MapState,
    mut visit: impl FnMut(FlowTable, &FlowKey, FlowWord),
) -> Result<(), Error> {
    let (lives, now) = (Lives::of(state), now(dataplane, state)?);
    for table in [FlowTable::Confirmed, FlowTable::Pending] {
        dataplane.flows(table, &mut |key, word| {
            let mut life = lives.of_entry(key, word, state);
            if table == FlowTable::Pending && !word.has(FlowWord::USABLE) {
                life = life.min(state.root.handshake_life);
            }
            if word.tick().age(now) <= life {
                visit(table, key, word);
            }
        })?;
    }
    Ok(())
}

/// Deletes what is long past its life where nothing makes room by itself, and counts what is alive. A port of ours is
/// given to another flow only after that.
pub(super) fn sweep(dataplane: &mut dyn Dataplane, state: &MapState, hz: u32) -> Result<Census, Error> {
    let (lives, now, margin) = (Lives::of(state), now(dataplane, state)?, units::ticks(MARGIN, hz));
    let mut dead = Vec::new();
    dataplane.flows(FlowTable::Confirmed, &mut |key, word| {
        if word.tick().age(now) > lives.of_entry(key, word, state).saturating_add(margin) {
            dead.push((*key, word));
        }
    })?;
    for (key, word) in dead {
        dataplane.forget(FlowTable::Confirmed, &key, word)?;
    }
    let tracks = Tracks::read(dataplane, state)?;
    for (tier, track) in tracks.dead_for(margin) {
        dataplane.untrack(tier, &track.key, track.word)?;
    }
    census(dataplane, state)
}
