//! `cargo xtask setup`: brings what the build and the tests need.
//!
//! Other subcommands call [`ensure`] first. It looks at the machine, decides, acts, and the
//! second time finds nothing to do. What is this repository's own lies below `target/tools`, in
//! folders whose names say the versions; each is made aside and renamed when it is complete.

mod apt;
pub(crate) mod cargo_deny;
mod facts;
mod kernel;
mod linker;
mod llvm;
mod plan;
mod programs;
mod rust_src;
mod tool;

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::workspace;
use facts::Facts;
use plan::{Action, Missing};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also what the tests and the lab need: programs, rights, kernel features
    #[arg(long)]
    lab: bool,
}

/// How far set-up has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// Building the eBPF object and lbctl.
    Build,
    /// Also loading it.
    Load,
    /// Also the lab and its programs.
    Lab,
}

/// What a build for the kernel is done with.
pub(crate) struct Toolchain {
    pub(crate) linker: PathBuf,
    /// The `library` folder of rustc's sources, where it is not in the sysroot.
    pub(crate) rust_src: Option<PathBuf>,
}

pub(crate) fn main(args: &Args) -> Result<()> {
    let toolchain = ensure(if args.lab { Need::Lab } else { Need::Build })?;
    println!("bpf-linker: {}", toolchain.linker.display());
    match toolchain.rust_src {
        Some(library) => println!("rust-src: {}", library.display()),
        None => println!("rust-src: part of the toolchain"),
    }
    Ok(())
}

/// Brings what is missing, or says all that is missing and how to get it.
pub(crate) fn ensure(need: Need) -> Result<Toolchain> {
    let _lock = workspace::lock()?;
    tool::sweep();
    let facts = Facts::observe(need)?;
    let plan = plan::decide(&facts, need);
    // Nothing is begun that could not be finished.
    refuse(&plan.missing)?;
    refuse(&perform(&plan.actions, &facts))?;
    toolchain(&facts)
}

/// Does all actions that do not build on a failed one; returns what could not be brought.
fn perform(actions: &[Action], facts: &Facts) -> Vec<Missing> {
    let mut missing: Vec<Missing> = Vec::new();
    for action in actions {
        if missing.iter().any(|earlier| action.builds_on(earlier)) {
            continue;
        }
        let done = match action {
            Action::Apt { packages, reason } => apt::install(packages, reason),
            Action::BuildLinker { llvm } => linker::build(*llvm),
            Action::FetchLinker => linker::fetch(),
            Action::FetchRustSrc(sources) => rust_src::fetch(&facts.rustc, *sources),
            Action::MountBpffs => kernel::mount_bpffs(),
        };
        if let Err(error) = done {
            missing.push(action.failed(&error, facts));
        }
    }
    missing
}

fn toolchain(facts: &Facts) -> Result<Toolchain> {
    let Some(linker) = linker::find() else {
        bail!("bpf-linker was brought but does not run; remove target/tools and try again");
    };
    Ok(Toolchain { linker, rust_src: rust_src::unpacked(&facts.rustc) })
}

/// One list of everything that is missing.
fn refuse(missing: &[Missing]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = missing.iter().map(ToString::to_string).collect();
    bail!(
        "this machine lacks {}:\n\n{}\n\nNothing half-made is left behind; call the same command again when this is there.",
        if missing.len() == 1 { "one thing" } else { "some things" },
        list.join("\n\n")
    );
}
