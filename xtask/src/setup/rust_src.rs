//! The sources of rustc's `core`, which has no prebuilt form for the BPF target.
//!
//! In this order: what the toolchain has, what rustup fetches, what Debian packages. They must be
//! of rustc's very version; another does not compile, or compiles to something nobody tested.

mod debian;

use std::{path::PathBuf, process::Command};

use anyhow::{Result, bail};

use super::{facts::Rustc, tool};
use crate::{shell, workspace};

/// Where the sources can come from on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sources {
    pub(crate) rustup: bool,
    pub(crate) debian: bool,
}

pub(crate) fn in_sysroot() -> Result<bool> {
    let sysroot = shell::capture(Command::new("rustc").args(["--print", "sysroot"]))?;
    let library = PathBuf::from(sysroot.trim()).join("lib/rustlib/src/rust/library");
    Ok(library.join("Cargo.lock").is_file())
}

/// The `library` folder below `target/tools`, for cargo's `__CARGO_TESTS_ONLY_SRC_ROOT`.
pub(crate) fn unpacked(rustc: &Rustc) -> Option<PathBuf> {
    let library = tool::dir(&name(rustc)).join("library");
    library.join("Cargo.lock").is_file().then_some(library)
}

pub(crate) fn fetch(rustc: &Rustc, sources: Sources) -> Result<()> {
    let mut failures = Vec::new();
    if sources.rustup {
        match with_rustup() {
            Ok(()) => return Ok(()),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    if sources.debian {
        if sources.rustup {
            println!("rustup could not fetch rust-src; looking for Debian's package of it");
        }
        match tool::install(&name(rustc), |dir| debian::unpack(&rustc.release, dir)) {
            Ok(()) => return Ok(()),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    bail!("{}", failures.join("\n"));
}

fn with_rustup() -> Result<()> {
    let mut rustup = Command::new("rustup");
    rustup
        .args(["component", "add", "rust-src"])
        .current_dir(workspace::root())
        .env("RUSTUP_MAX_RETRIES", "1")
        .env("RUST_BACKTRACE", "0");
    shell::slowly("fetching rust-src with rustup", "some seconds", &mut rustup)?;
    if !in_sysroot()? {
        bail!("rustup says that it has added rust-src, but it is not in the toolchain");
    }
    Ok(())
}

fn name(rustc: &Rustc) -> String {
    format!("rust-src-{}", rustc.release)
}
