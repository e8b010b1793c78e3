//! `cargo xtask ci`: what has to hold before a change is merged.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::{
    build, check,
    setup::{self, Need, cargo_deny},
    shell, test, workspace,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out the tests, which take the longest
    #[arg(long)]
    no_test: bool,
}

/// Runs every step, so that one run tells everything that is wrong.
pub(crate) fn main(args: &Args) -> Result<()> {
    let mut steps = Steps::default();
    steps.take("fmt", fmt);
    steps.take("check", check::run);
    steps.take("deny", deny);
    steps.take("clippy", clippy);
    steps.take("clippy for the BPF target", clippy_for_bpf);
    steps.take("doc", doc);
    if !args.no_test {
        steps.take("test", || test::main(&test::Args::default()));
    }
    steps.verdict()
}

fn fmt() -> Result<()> {
    shell::run(cargo().args(["fmt", "--all", "--check"]))
}

/// Licences, duplicate versions and where packages come from. `deny.toml` says why not advisories.
fn deny() -> Result<()> {
    let deny = cargo_deny::ensure()?;
    let mut check = Command::new(deny);
    check
        .current_dir(workspace::root())
        .args(["--workspace", "--locked", "check", "--hide-inclusion-graph"])
        .args(["licenses", "bans", "sources"]);
    shell::run(&mut check)
}

fn clippy() -> Result<()> {
    shell::run(
        on_this_machine("clippy")
            .args(["--all-targets", "--features", "lb-tests/privileged"])
            .args(["--", "--deny", "warnings"]),
    )
}

/// The same sources read otherwise: without std, and with what is only there for the kernel.
fn clippy_for_bpf() -> Result<()> {
    let toolchain = setup::ensure(Need::Build)?;
    build::FOR_KERNEL.iter().try_for_each(|package| {
        let mut clippy = build::cargo_for_bpf("clippy", package, &toolchain);
        shell::run(clippy.args(["--release", "--", "--deny", "warnings"]))
    })
}

fn doc() -> Result<()> {
    shell::run(
        on_this_machine("doc")
            .args(["--no-deps", "--document-private-items"])
            .env("RUSTDOCFLAGS", "--deny warnings"),
    )
}

fn cargo() -> Command {
    let mut cargo = shell::cargo();
    cargo.current_dir(workspace::root());
    cargo
}

fn on_this_machine(subcommand: &str) -> Command {
    let mut cargo = cargo();
    build::on_this_machine(cargo.args([subcommand, "--locked"]));
    cargo
}

#[derive(Default)]
struct Steps {
    taken: Vec<(&'static str, Duration)>,
    failed: Vec<&'static str>,
}

impl Steps {
    fn take(&mut self, name: &'static str, step: impl FnOnce() -> Result<()>) {
        println!("\n=== {name}");
        let start = Instant::now();
        if let Err(error) = step() {
            eprintln!("error: {error:#}");
            self.failed.push(name);
        }
        self.taken.push((name, start.elapsed()));
    }

    fn verdict(&self) -> Result<()> {
        println!();
        for (name, time) in &self.taken {
            let result = if self.failed.contains(name) { "FAILED" } else { "ok" };
            println!("{name:<26}{result:<7}{:>12}", shell::time(*time));
        }
        if !self.failed.is_empty() {
            bail!("failed: {}", self.failed.join(", "));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_failed_step_fails_the_whole_and_stops_none() {
        let mut steps = Steps::default();
        steps.take("one", || Err(anyhow!("broken")));
        steps.take("two", || Ok(()));
        assert_eq!(steps.taken.len(), 2);
        assert_eq!(steps.verdict().unwrap_err().to_string(), "failed: one");
    }
}
