//! A case, and how it is run.

use std::collections::BTreeMap;

use lb_common::abi::FlowWord;
use lb_common::testkit::Frame;
use lb_ctl::state::{FlowKey, MapState, Translation};

use super::expect::{Expect, Seen};
use super::world::{CLIENT_LINK, Family, World};

/// One sentence, a world, and what happens in it.
pub(crate) struct Case {
    pub(crate) sentence: &'static str,
    pub(crate) world: World,
    pub(crate) steps: Vec<Step>,
    /// Flows in `confirmed` and in `pending` at the end, where the row says so.
    holds: Option<(usize, usize)>,
    /// Entries of tracked flows that are proven, and of those that begin, likewise.
    tracks: Option<(usize, usize)>,
    families: &'static [Family],
}

pub(crate) enum Step {
    Packet {
        frame: Box<Frame>,
        ingress: u32,
        expect: Box<Expect>,
    },
    /// User space changes the maps.
    Change(fn(World) -> World),
    /// So many ticks go by: every flow grows older.
    Wait(u32),
}

/// Begins a row of the table.
pub(crate) fn case(sentence: &'static str, world: World) -> Case {
    Case {
        sentence,
        world,
        steps: Vec::new(),
        holds: None,
        tracks: None,
        families: &[Family::V4, Family::V6],
    }
}

impl Case {
    /// Of what only an IPv4 header has.
    pub(crate) fn in_ipv4(mut self) -> Self {
        self.families = &[Family::V4];
        self
    }

    /// Written with IPv6 addresses.
    pub(crate) fn in_ipv6(mut self) -> Self {
        self.families = &[Family::V6];
        self
    }

    /// The families that the row is run in. The sockets of a row are IPv4, and stand for their twins
    /// in IPv6.
    pub(crate) fn families(&self) -> &'static [Family] {
        self.families
    }

    /// A packet on the client's link.
    pub(crate) fn client(self, frame: Frame, expect: Expect) -> Self {
        self.packet(frame, CLIENT_LINK, expect)
    }

    /// A packet on the link of member n.
    pub(crate) fn member(self, label: u16, frame: Frame, expect: Expect) -> Self {
        self.packet(frame, CLIENT_LINK + u32::from(label), expect)
    }

    pub(crate) fn then(mut self, change: fn(World) -> World) -> Self {
        self.steps.push(Step::Change(change));
        self
    }

    pub(crate) fn wait(mut self, ticks: u32) -> Self {
        self.steps.push(Step::Wait(ticks));
        self
    }

    /// So many flows are in `confirmed` and in `pending` in the end.
    pub(crate) fn holds(mut self, confirmed: usize, pending: usize) -> Self {
        self.holds = Some((confirmed, pending));
        self
    }

    /// So many entries are in `tracked` and in `opening` in the end.
    pub(crate) fn tracks(mut self, tracked: usize, opening: usize) -> Self {
        self.tracks = Some((tracked, opening));
        self
    }

    fn packet(mut self, frame: Frame, ingress: u32, expect: Expect) -> Self {
        self.steps.push(Step::Packet { frame: Box::new(frame), ingress, expect: Box::new(expect) });
        self
    }

    pub(crate) fn expectations(&self) -> impl Iterator<Item = &Expect> {
        self.steps.iter().filter_map(|step| match step {
            Step::Packet { expect, .. } => Some(&**expect),
            Step::Change(_) | Step::Wait(_) => None,
        })
    }
}

/// One direction of a tracked flow.
pub(crate) type Track = (FlowWord, u32, Translation);

/// What packets write: all tables of flows, and the marks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FlowTables {
    pub(crate) confirmed: BTreeMap<FlowKey, (FlowWord, u32)>,
    pub(crate) pending: BTreeMap<FlowKey, (FlowWord, u32)>,
    pub(crate) opening: BTreeMap<FlowKey, Track>,
    pub(crate) tracked: BTreeMap<FlowKey, Track>,
    pub(crate) marks: BTreeMap<u32, u16>,
}

/// A pipeline with its maps.
pub(crate) trait Executor {
    /// Writes everything of a state; what it does not name stays.
    fn write(&mut self, map: &MapState);
    fn run(&mut self, frame: &[u8], ingress: u32) -> Seen;
    fn wait(&mut self, ticks: u32);
    fn flows(&mut self) -> FlowTables;
}

/// Runs a case in a family; the difference if there is one, else what the flow tables hold in the end.
pub(crate) fn run(case: &Case, family: Family, executor: &mut dyn Executor) -> Result<FlowTables, String> {
    let mut world = case.world.clone();
    let mut number = 0;
    for step in &case.steps {
        match step {
            Step::Change(change) => {
                world = change(world);
                executor.write(&world.of(family).map);
            }
            Step::Wait(ticks) => executor.wait(*ticks),
            Step::Packet { frame, ingress, expect } => {
                number += 1;
                let seen = executor.run(&of(family, (**frame).clone()).bytes(), *ingress);
                let expected = expect.seen(frame, family);
                if seen != expected {
                    return Err(format!(
                        "{} ({family:?})\n  packet {number}\n  expected {expected}\n  seen     {seen}",
                        case.sentence
                    ));
                }
            }
        }
    }
    let flows = executor.flows();
    let held = (flows.confirmed.len(), flows.pending.len());
    let tracked = (flows.tracked.len(), flows.opening.len());
    if let Some(expected) = case.tracks.filter(|expected| *expected != tracked) {
        return Err(format!(
            "{} ({family:?})\n  tracked at the end: expected {expected:?}, seen {tracked:?}",
            case.sentence
        ));
    }
    match case.holds {
        Some(expected) if held != expected => Err(format!(
            "{} ({family:?})\n  flows at the end: expected {expected:?}, seen {held:?}",
            case.sentence
        )),
        _ => Ok(flows),
    }
}

/// A frame as a family has it.
pub(super) fn of(family: Family, frame: Frame) -> Frame {
    match family {
        Family::V4 => frame,
        Family::V6 => frame.in_ipv6(),
    }
}
