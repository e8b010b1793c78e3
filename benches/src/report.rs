//! The figures as a table, as JSON, and against the budget.

use std::{fs, io, path::Path as FilePath};

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::{
    frames::Path,
    measure::{Figures, Spread},
    subject::Subject,
};

/// Established inbound: 512 k flows may cost this many times one flow.
const MOST_FLOWS: u32 = 512 << 10;
const GROWTH: f64 = 1.3;
/// And this many times one look-up in a small hash of the same run.
const LOOK_UPS: f64 = 3.5;

/// One line of the JSON; later comparisons read it.
#[derive(Serialize)]
struct Record {
    path: &'static str,
    flows: u32,
    ns_net: f64,
    ns_net_min: f64,
    ns_net_max: f64,
    small_hash_ns: f64,
    ratio_small_hash: f64,
    verified_insns: u32,
}

pub(crate) struct Report {
    verified_insns: u32,
    records: Vec<Record>,
}

impl Report {
    pub(crate) fn begin(cpu: usize, subjects: &[Subject]) -> Self {
        for subject in subjects {
            println!("{}: {} verified instructions", subject.name, subject.verified_insns);
        }
        println!("on CPU {cpu}; net nanoseconds a packet: median (least..most) of the rounds\n");
        println!(
            "{:<20} {:>7} {:>22} {:>10} {:>6} {:>11} {:>8}",
            "path", "flows", "ns", "small hash", "ratio", "flow table", "harness"
        );
        Self { verified_insns: subjects[0].verified_insns, records: Vec::new() }
    }

    pub(crate) fn add(&mut self, path: Path, flows: u32, figures: &Figures) {
        let [small, table, harness] = [&figures.small_hash, &figures.flow_table, &figures.harness]
            .map(|figures| Spread::of(figures).median);
        for (number, subject) in figures.subjects.iter().enumerate() {
            let net = Spread::of(subject);
            let ratio = Spread::of_ratios(subject, &figures.small_hash).median;
            let range = format!("{:.1} ({:.1}..{:.1})", net.median, net.range.start(), net.range.end());
            if number == 0 {
                println!(
                    "{:<20} {flows:>7} {range:>22} {small:>10.1} {ratio:>6.2} {table:>11.1} {harness:>8.1}",
                    path.name()
                );
                self.records.push(Record {
                    path: path.name(),
                    flows,
                    ns_net: hundredths(net.median),
                    ns_net_min: hundredths(*net.range.start()),
                    ns_net_max: hundredths(*net.range.end()),
                    small_hash_ns: hundredths(small),
                    ratio_small_hash: hundredths(ratio),
                    verified_insns: self.verified_insns,
                });
            } else {
                let first = Spread::of_ratios(&figures.subjects[0], subject).median;
                println!(
                    "{:<20} {:>7} {range:>22} {:>10} {ratio:>6.2}   the first is {first:.3} of it",
                    "  against", "", ""
                );
            }
        }
    }

    pub(crate) fn write(&self, path: &FilePath) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(&self.records)?;
        text.push('\n');
        fs::write(path, text)
    }

    /// Says whether the budget holds, as far as it was measured.
    pub(crate) fn verdict(&self) -> Result<()> {
        let established =
            |flows| self.records.iter().find(|r| r.path == Path::EstablishedIn.name() && r.flows == flows);
        let (Some(one), Some(most)) = (established(1), established(MOST_FLOWS)) else {
            println!("\nno budget without established_in at 1 and at {MOST_FLOWS} flows");
            return Ok(());
        };
        let growth = most.ns_net / one.ns_net;
        println!(
            "\nestablished_in at {MOST_FLOWS} flows: {growth:.2} x its cost at 1 flow (budget {GROWTH}),"
        );
        println!("  {:.2} x one look-up in a small hash (budget {LOOK_UPS})", most.ratio_small_hash);
        ensure!(growth <= GROWTH && most.ratio_small_hash <= LOOK_UPS, "over the budget");
        Ok(())
    }
}

/// No run is more exact.
fn hundredths(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}
