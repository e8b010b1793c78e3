//! The entries of tracked flows: a flow lives as long as the one of its two directions that spoke last.

use std::collections::HashMap;
use std::net::IpAddr;

use lb_common::abi::FlowWord;
use lb_common::tables::Tier;
use lb_common::tracked::lives;
use lb_common::units::Tick;

use super::flows;
use crate::dataplane::{Dataplane, Error};
use crate::state::{FlowKey, MapState, Translation};

/// One direction of a flow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Track {
    pub(super) key: FlowKey,
    pub(super) word: FlowWord,
    to: Translation,
    /// Whether its packets come from the client; those of the other direction come from the member.
    pub(super) from_client: bool,
}

/// All of them, as of one moment.
pub(super) struct Tracks<'s> {
    tiers: [(Tier, HashMap<FlowKey, Track>); 2],
    state: &'s MapState,
    now: Tick,
}

impl<'s> Tracks<'s> {
    pub(super) fn read(dataplane: &dyn Dataplane, state: &'s MapState) -> Result<Self, Error> {
        let now = flows::now(dataplane, state)?;
        let members: HashMap<_, IpAddr> =
            state.members.iter().map(|(label, member)| (*label, member.address)).collect();
        let read = |tier| {
            let mut tracks = HashMap::new();
            dataplane.tracked(tier, &mut |key, word, to| {
                let from_client = members.get(&word.target().member) == Some(&to.destination)
                    && to.destination_port == word.target().port;
                tracks.insert(*key, Track { key: *key, word, to: *to, from_client });
            })?;
            Ok::<_, Error>((tier, tracks))
        };
        Ok(Self { tiers: [read(Tier::Tracked)?, read(Tier::Opening)?], state, now })
    }

    /// Directions of flows that are alive.
    pub(super) fn alive(&self) -> impl Iterator<Item = (Tier, &Track)> {
        self.each().filter(|(tier, track)| self.overdue(*tier, track) == 0)
    }

    /// Directions of flows that ended more than so many ticks ago.
    pub(super) fn dead_for(&self, ticks: u32) -> impl Iterator<Item = (Tier, &Track)> {
        self.each().filter(move |(tier, track)| self.overdue(*tier, track) > ticks)
    }

    fn each(&self) -> impl Iterator<Item = (Tier, &Track)> {
        self.tiers.iter().flat_map(|(tier, tracks)| tracks.values().map(|track| (*tier, track)))
    }

    /// Ticks since the end of a direction's flow; 0 while it lives.
    fn overdue(&self, tier: Tier, track: &Track) -> u32 {
        let late = |track: &Track| {
            let life = lives(tier, track.word, &track.to, &self.state.root);
            track.word.tick().age(self.now).saturating_sub(life)
        };
        let tracks = self.tiers.iter().find(|(of, _)| *of == tier).map(|(_, tracks)| tracks);
        let partner = tracks.and_then(|tracks| tracks.get(&other(track)));
        partner.map_or(late(track), |partner| late(partner).min(late(track)))
    }
}

/// The key of the other direction: of what comes back to the packets of this one.
fn other(track: &Track) -> FlowKey {
    let to = &track.to;
    FlowKey {
        peer: to.destination,
        local: to.source,
        peer_port: to.destination_port,
        local_port: to.source_port,
        ..track.key
    }
}
