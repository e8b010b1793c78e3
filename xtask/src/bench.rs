//! `cargo xtask bench`: what a packet costs. Package `lb-benches` measures; this builds what it needs.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    build,
    setup::{self, Need},
    shell, workspace,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure another eBPF object turn by turn with the one of these sources
    #[arg(long, value_name = "OBJECT")]
    against: Option<PathBuf>,
    /// Further arguments of lb-benches, such as `--path established_in --rounds 5`
    #[arg(last = true)]
    rest: Vec<String>,
}

pub(crate) fn main(args: &Args) -> Result<()> {
    let toolchain = setup::ensure(Need::Lab)?;
    let object = build::ebpf(&toolchain)?;
    let harness = build::bench_harness(&toolchain)?;
    let mut cargo = shell::cargo();
    cargo
        .args(["run", "--quiet", "--manifest-path"])
        .arg(workspace::root().join("Cargo.toml"))
        .args(["--package", "lb-benches", "--", "--object"])
        .arg(object)
        .arg("--harness")
        .arg(harness);
    for (option, file) in [("--json", &args.json), ("--against", &args.against)] {
        if let Some(file) = file {
            cargo.arg(option).arg(file);
        }
    }
    cargo.args(&args.rest);
    shell::run(&mut cargo)
}
