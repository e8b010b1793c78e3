//! What a packet costs: the shipped XDP program under `BPF_PROG_TEST_RUN`.
//!
//! `cargo xtask bench` builds the objects and calls this. `docs/benchmarks.md` says how it
//! measures and why that is true.

mod frames;
mod harness;
mod measure;
mod report;
mod scene;
mod subject;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Parser;
use lb_tests::lab::{Lab, Topology};

use frames::Path;
use report::Report;

/// Measures what a packet costs in the XDP program.
#[derive(Parser)]
struct Args {
    /// The eBPF object of the load balancer
    #[arg(long)]
    object: PathBuf,
    /// The eBPF object of the harness
    #[arg(long)]
    harness: PathBuf,
    /// Another object of the load balancer, measured turn by turn with the first
    #[arg(long)]
    against: Option<PathBuf>,
    /// Writes the figures to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Measures this path only (may be given several times); all of them else
    #[arg(long, value_enum)]
    path: Vec<Path>,
    /// Numbers of flows
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16 << 10, 128 << 10, 512 << 10])]
    flows: Vec<u32>,
    /// Rounds; in each of them every program has one turn
    #[arg(long, default_value_t = 15)]
    rounds: u32,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One cause a line, without the backtrace that RUST_BACKTRACE would add.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let lab = Lab::new("bench", Topology { backends: 1, client_addresses: 1 })?;
    let report = lab.balancer().run(|| bench(args, &lab))?;
    lab.teardown()?;
    if let Some(path) = &args.json {
        report.write(path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    report.verdict()
}

/// On a thread of its own in the balancer's namespace.
fn bench(args: &Args, lab: &Lab) -> Result<Report> {
    let cpu = measure::pin()?;
    let scene = scene::Scene::new(lab)?;
    let mut harness = harness::Harness::load(&args.harness, [scene.client_side, scene.member_side])?;
    let mut subjects = vec![subject::Subject::load(&args.object, &scene)?];
    if let Some(other) = &args.against {
        subjects.push(subject::Subject::load(other, &scene)?);
    }
    let mut report = Report::begin(cpu, &subjects);
    for path in Path::chosen(&args.path) {
        for &flows in &args.flows {
            let batch = frames::Batch::new(path, flows, &scene);
            harness.lay_out(&batch)?;
            let figures = measure::rounds(&mut harness, &mut subjects, &batch, &scene, args.rounds)
                .with_context(|| format!("{} with {flows} flows", path.name()))?;
            report.add(path, flows, &figures);
        }
    }
    Ok(report)
}
