//! Rounds in which every program has its turn.

use std::ops::RangeInclusive;

use anyhow::{Context as _, Result, ensure};
use lb_common::reason::Reason;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::{
    frames::Batch,
    harness::{Harness, Run, Yardstick},
    scene::Scene,
    subject::Subject,
};

/// Packets in a turn, and at least all flows once.
const PACKETS: u32 = 1 << 20;

/// The figures of one path with one number of flows. All in nanoseconds a packet, above the empty
/// program's of the same round; one element a round.
pub(crate) struct Figures {
    pub(crate) small_hash: Vec<f64>,
    pub(crate) flow_table: Vec<f64>,
    pub(crate) subjects: Vec<Vec<f64>>,
    /// The wrapper's own.
    pub(crate) harness: Vec<f64>,
}

/// Binds this thread to the last CPU that it may use; the first serves most interrupts.
pub(crate) fn pin() -> Result<usize> {
    let myself = Pid::from_raw(0);
    let allowed = sched_getaffinity(myself)?;
    let last = (0..CpuSet::count()).rev().find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let last = last.context("this thread may run on no CPU")?;
    let mut only = CpuSet::new();
    only.set(last)?;
    sched_setaffinity(myself, &only)?;
    Ok(last)
}

pub(crate) fn rounds(
    harness: &mut Harness,
    subjects: &mut [Subject],
    batch: &Batch,
    scene: &Scene,
    rounds: u32,
) -> Result<Figures> {
    let repeat = PACKETS.max(u32::try_from(batch.frames.len())?);
    for subject in &mut *subjects {
        meet(harness, subject, batch, scene)?;
    }
    let mut figures = Figures {
        small_hash: Vec::new(),
        flow_table: Vec::new(),
        subjects: subjects.iter().map(|_| Vec::new()).collect(),
        harness: Vec::new(),
    };
    for _ in 0..rounds {
        let empty = yardstick(harness, Yardstick::Empty, batch, repeat)?;
        figures.harness.push(empty);
        for (subject, figures) in subjects.iter_mut().zip(&mut figures.subjects) {
            figures.push(turn(harness, subject, batch, scene, repeat)? - empty);
        }
        figures.small_hash.push(yardstick(harness, Yardstick::SmallHash, batch, repeat)? - empty);
        figures.flow_table.push(yardstick(harness, Yardstick::FlowTable, batch, repeat)? - empty);
    }
    Ok(figures)
}

/// Shows the program every frame once, and checks what it does to the first.
fn meet(harness: &mut Harness, subject: &mut Subject, batch: &Batch, scene: &Scene) -> Result<()> {
    let fd = subject.program()?.fd()?.try_clone()?;
    let run = harness.run(&fd, batch, 1)?;
    batch.check(&batch.frames[0], run.verdict, &run.frame, scene).context("the first packet")?;
    turn(harness, subject, batch, scene, u32::try_from(batch.frames.len())?)?;
    Ok(())
}

/// One turn: every packet has to take the path that is measured, and the last one is checked.
fn turn(
    harness: &mut Harness,
    subject: &mut Subject,
    batch: &Batch,
    scene: &Scene,
    repeat: u32,
) -> Result<f64> {
    let fd = subject.program()?.fd()?.try_clone()?;
    let before = subject.reasons()?;
    let run = harness.run(&fd, batch, repeat)?;
    let mut astray = u64::from(repeat);
    for (reason, (before, after)) in Reason::ALL.iter().zip(before.iter().zip(subject.reasons()?)) {
        let counted = after - before;
        let right = batch.path.reasons().contains(reason);
        ensure!(right || counted == 0, "{} counted {counted} packets of {repeat}", reason.name());
        astray = astray.wrapping_sub(counted);
    }
    ensure!(astray == 0, "{astray} packets of {repeat} are of none of {:?}", batch.path.reasons());
    let last = &batch.frames[(repeat as usize - 1) % batch.frames.len()];
    batch.check(last, run.verdict, &run.frame, scene).context("the last packet")?;
    Ok(per_packet(&run, repeat))
}

fn yardstick(harness: &mut Harness, yardstick: Yardstick, batch: &Batch, repeat: u32) -> Result<f64> {
    const PASS: u32 = 2;
    let run = harness.measure(yardstick, batch, repeat)?;
    // They drop what they do not find.
    ensure!(run.verdict == PASS, "{yardstick:?} ended with verdict {}", run.verdict);
    Ok(per_packet(&run, repeat))
}

fn per_packet(run: &Run, repeat: u32) -> f64 {
    run.time.as_secs_f64() * 1e9 / f64::from(repeat)
}

/// The middle, and where all lie.
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) range: RangeInclusive<f64>,
}

impl Spread {
    /// Of at least one figure.
    pub(crate) fn of(figures: &[f64]) -> Self {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        Self { median: sorted[sorted.len() / 2], range: sorted[0]..=sorted[sorted.len() - 1] }
    }

    /// Of the ratios, round by round.
    pub(crate) fn of_ratios(figures: &[f64], to: &[f64]) -> Self {
        let ratios: Vec<_> = figures.iter().zip(to).map(|(figure, to)| figure / to).collect();
        Self::of(&ratios)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_ratios_is_not_the_ratio_of_middles() {
        let ratios = Spread::of_ratios(&[10.0, 40.0, 30.0], &[10.0, 10.0, 15.0]);
        assert_eq!((ratios.median, ratios.range), (2.0, 1.0..=4.0));
    }
}
