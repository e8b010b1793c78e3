//! `cargo xtask run`: the load balancer at work, in a lab or on this host.

use std::path::PathBuf;
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
    let toolchain = setup::ensure(Need::Lab)?;
    build::ebpf(&toolchain)?;
    let lbctl = build::lbctl(true)?;
    if let Some(config) = &args.config {
        return shell::run(Command::new(lbctl).args(["serve", "--detach-on-exit", "--config"]).arg(config));
    }
    shell::run(shell::cargo().current_dir(workspace::root()).args([
        "build",
        "--quiet",
        "--release",
        "--package",
        "lb-tests",
        "--bins",
    ]))?;
    let mut demo = Command::new(workspace::target().join("release").join("lab-demo"));
    demo.arg("--lbctl").arg(&lbctl).arg("--config").arg(workspace::root().join("examples/lab.yaml"));
    if args.exit {
        demo.arg("--exit");
    }
    shell::run(&mut demo)
}
