//! `cargo xtask run`: the load balancer at work, in a lab or on this host.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::{
    build,
    setup::{self, Need},
    shell, workspace,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// End after the demonstration; exit code 0 only if every claim held
    #[arg(long)]
    exit: bool,
    /// Serve this file on the host's own interfaces instead, until Ctrl-C
    #[arg(long, value_name = "LB.YAML", conflicts_with = "exit")]
    config: Option<PathBuf>,
}

pub(crate) fn main(args: &Args) -> Result<()> {
    match &args.config {
        Some(config) => serve(config),
        None => demonstrate(args.exit),
    }
}

/// The daemon, on the interfaces of this network namespace.
fn serve(config: &Path) -> Result<()> {
    let lbctl = lbctl(Need::Load)?;
    println!("lbctl serves {} on this host's own interfaces;", config.display());
    println!("Ctrl-C ends it, and removes its programs and maps;");
    println!("from another terminal: {} status --watch\n", lbctl.display());
    shell::exec(Command::new(lbctl).args(["serve", "--detach-on-exit", "--config"]).arg(config))
}

fn demonstrate(exit: bool) -> Result<()> {
    let lbctl = lbctl(Need::Lab)?;
    let mut build = shell::cargo();
    build.current_dir(workspace::root()).args([
        "build",
        "--quiet",
        "--release",
        "--package",
        "lb-tests",
        "--bins",
    ]);
    shell::run(&mut build)?;
    let mut demo = Command::new(workspace::target().join("release/lab-demo"));
    demo.arg("--lbctl").arg(lbctl).arg("--config").arg(workspace::root().join("examples/lab.yaml"));
    shell::exec(demo.args(exit.then_some("--exit")))
}

fn lbctl(need: Need) -> Result<PathBuf> {
    let toolchain = setup::ensure(need)?;
    build::ebpf(&toolchain)?;
    build::lbctl(true)
}
