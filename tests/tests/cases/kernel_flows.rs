//! The tables of flows as the kernel's maps hold them.

use std::collections::BTreeMap;

use lb_common::abi::{FlowKey, FlowWord, Translation, map};
use lb_common::units::{Addr, Addr6, Tick};
use lb_ctl::state::{self, Stored};

use super::case::{FlowTables, Track};
use super::kernel::{Kernel, Wire};
use super::world::World;

type Flows = BTreeMap<state::FlowKey, (FlowWord, u32)>;

/// [`lb_common::abi::TrackEntry`] without its atomics.
#[derive(Clone, Copy)]
#[repr(C)]
struct RawTrack<A> {
    word: u64,
    seq: u64,
    to: Translation<A>,
}

impl Kernel {
    /// Makes the tables hold what a world begins with.
    pub(super) fn begin_flows(&mut self, world: &World) {
        self.write_hash(map::CONFIRMED, &raw::<Addr>(&world.confirmed));
        self.write_hash(map::PENDING, &raw::<Addr>(&world.pending));
        self.write_hash(map::CONFIRMED6, &raw::<Addr6>(&world.confirmed));
        self.write_hash(map::PENDING6, &raw::<Addr6>(&world.pending));
        for name in [map::OPENING, map::TRACKED] {
            self.write_hash::<FlowKey<Addr>, RawTrack<Addr>>(name, &BTreeMap::new());
        }
        for name in [map::OPENING6, map::TRACKED6] {
            self.write_hash::<FlowKey<Addr6>, RawTrack<Addr6>>(name, &BTreeMap::new());
        }
    }

    pub(super) fn age_flows(&mut self, ticks: u32) {
        self.age::<Addr>([map::CONFIRMED, map::PENDING], ticks);
        self.age::<Addr6>([map::CONFIRMED6, map::PENDING6], ticks);
        self.age_tracks::<Addr>([map::OPENING, map::TRACKED], ticks);
        self.age_tracks::<Addr6>([map::OPENING6, map::TRACKED6], ticks);
    }

    /// All tables but the marks.
    pub(super) fn read_flows(&mut self) -> FlowTables {
        let mut tables = FlowTables::default();
        tables.confirmed.extend(of_any_family(self.table::<Addr>(map::CONFIRMED)));
        tables.confirmed.extend(of_any_family(self.table::<Addr6>(map::CONFIRMED6)));
        tables.pending.extend(of_any_family(self.table::<Addr>(map::PENDING)));
        tables.pending.extend(of_any_family(self.table::<Addr6>(map::PENDING6)));
        tables.opening.extend(self.tracks::<Addr>(map::OPENING));
        tables.opening.extend(self.tracks::<Addr6>(map::OPENING6));
        tables.tracked.extend(self.tracks::<Addr>(map::TRACKED));
        tables.tracked.extend(self.tracks::<Addr6>(map::TRACKED6));
        tables
    }

    fn table<A: Stored>(&mut self, name: &str) -> BTreeMap<FlowKey<A>, (FlowWord, u32)> {
        let table = self.hash::<FlowKey<A>, [u64; 2]>(name);
        let entries = table.iter().map(Result::unwrap);
        entries.map(|(key, Wire([word, seq]))| (key.0, (FlowWord(word), seq.try_into().unwrap()))).collect()
    }

    fn age<A: Stored>(&mut self, names: [&str; 2], ticks: u32) {
        for name in names {
            let mut flows = of_any_family(self.table::<A>(name));
            for (word, _) in flows.values_mut() {
                *word = word.at(Tick::new(word.tick().get().wrapping_sub(ticks)));
            }
            self.write_hash(name, &raw::<A>(&flows));
        }
    }

    fn raw_tracks<A: Stored>(&mut self, name: &str) -> BTreeMap<FlowKey<A>, RawTrack<A>> {
        let table = self.hash::<FlowKey<A>, RawTrack<A>>(name);
        table.iter().map(Result::unwrap).map(|(key, track)| (key.0, track.0)).collect()
    }

    fn tracks<A: Stored>(&mut self, name: &str) -> impl Iterator<Item = (state::FlowKey, Track)> + use<A> {
        self.raw_tracks::<A>(name).into_iter().map(|(key, track)| {
            let to = track.to.between(track.to.source.ip(), track.to.destination.ip());
            let key = key.between(key.peer.ip(), key.local.ip());
            (key, (FlowWord(track.word), track.seq.try_into().unwrap(), to))
        })
    }

    fn age_tracks<A: Stored>(&mut self, names: [&str; 2], ticks: u32) {
        for name in names {
            let mut tracks = self.raw_tracks::<A>(name);
            for track in tracks.values_mut() {
                let word = FlowWord(track.word);
                track.word = word.at(Tick::new(word.tick().get().wrapping_sub(ticks))).0;
            }
            self.write_hash(name, &tracks);
        }
    }
}

/// The flows of a family as its table holds them.
fn raw<A: Stored>(flows: &Flows) -> BTreeMap<FlowKey<A>, [u64; 2]> {
    let entry = |(key, (word, seq)): (&state::FlowKey, &(FlowWord, u32))| {
        Some((key.between(A::of(key.peer)?, A::of(key.local)?), [word.0, u64::from(*seq)]))
    };
    flows.iter().filter_map(entry).collect()
}

fn of_any_family<A: Stored>(flows: BTreeMap<FlowKey<A>, (FlowWord, u32)>) -> Flows {
    flows.into_iter().map(|(key, flow)| (key.between(key.peer.ip(), key.local.ip()), flow)).collect()
}
