//! bpf-linker: turns what rustc gives for the BPF target into an object that the kernel loads.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use super::{llvm, tool};
use crate::shell;

pub(crate) const VERSION: &str = "0.13.0";

/// Ours, or one of the same version in `PATH`. It has to run: an upgrade of the system may have
/// taken its LLVM away.
pub(crate) fn find() -> Option<PathBuf> {
    let ours = tool::dir(&name()).join("bin/bpf-linker");
    [ours, PathBuf::from("bpf-linker")].into_iter().find(|program| {
        let told = shell::capture(Command::new(program).arg("--version"));
        told.is_ok_and(|told| told.trim() == format!("bpf-linker {VERSION}"))
    })
}

/// From source, with the LLVM of this machine.
pub(crate) fn build(major: u32) -> Result<()> {
    let prefix = llvm::prefix(major).with_context(|| format!("LLVM {major} is not there"))?;
    tool::install(&name(), |dir| {
        let mut cargo = shell::cargo_install("bpf-linker", VERSION, dir);
        cargo
            .args(["--no-default-features", "--features"])
            .arg(format!("llvm-{major}"))
            .env("LLVM_PREFIX", prefix);
        shell::slowly(
            &format!("building bpf-linker {VERSION} with LLVM {major}"),
            "about a minute on 2 cores",
            &mut cargo,
        )
    })
}

/// Prebuilt, where the distribution has no such LLVM.
pub(crate) fn fetch() -> Result<()> {
    tool::install(&name(), |dir| {
        let mut binstall = shell::cargo();
        binstall
            .args(["binstall", "--no-confirm", "--disable-telemetry", "--version", VERSION])
            .arg("--root")
            .arg(dir)
            .arg("bpf-linker");
        shell::slowly(&format!("fetching bpf-linker {VERSION}, prebuilt"), "half a minute", &mut binstall)
    })
}

fn name() -> String {
    format!("bpf-linker-{VERSION}")
}
