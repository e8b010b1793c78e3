//! What is there on this machine; nothing is changed here.

use std::{fs, os::unix::fs::MetadataExt as _, process::Command};

use anyhow::{Context as _, Result};

use super::{
    Need, apt,
    kernel::{self, Kernel},
    linker, llvm,
    programs::{self, Program},
    rust_src,
};
use crate::shell;

/// The compiler that builds this repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rustc {
    /// `1.95.0`
    pub(crate) release: String,
    /// The major version of its LLVM, which bpf-linker's must equal or exceed.
    pub(crate) llvm: u32,
}

/// Everything that [`super::plan::decide`] looks at.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is there or not, by itself")]
pub(crate) struct Facts {
    pub(crate) root: bool,
    pub(crate) rustc: Rustc,
    /// bpf-linker of our version is below `target/tools`, and runs.
    pub(crate) linker: bool,
    /// LLVM of rustc's major version is installed with what bpf-linker is built from.
    pub(crate) llvm: bool,
    /// The distribution has LLVM of that version.
    pub(crate) apt_llvm: bool,
    pub(crate) apt: bool,
    pub(crate) binstall: bool,
    /// In the sysroot or below `target/tools`.
    pub(crate) rust_src: bool,
    pub(crate) rustup: bool,
    /// This machine's apt knows a Debian mirror and its keys.
    pub(crate) debian: bool,
    pub(crate) missing_programs: Vec<&'static Program>,
    pub(crate) kernel: Kernel,
}

impl Facts {
    pub(crate) fn observe(need: Need) -> Result<Self> {
        let rustc = rustc()?;
        let linker = linker::find().is_some();
        let rust_src = rust_src::in_sysroot()? || rust_src::unpacked(&rustc).is_some();
        let llvm = linker || llvm::prefix(rustc.llvm).is_some();
        let lab = need == Need::Lab;
        Ok(Self {
            root: root(),
            linker,
            llvm,
            // Asked only where the answer is used: apt takes a second.
            apt_llvm: !llvm && apt::offers(&llvm::package(rustc.llvm)),
            apt: shell::has("apt-get"),
            binstall: shell::has("cargo-binstall"),
            rust_src,
            rustup: shell::has("rustup"),
            debian: !rust_src && apt::debian_mirror().is_some(),
            missing_programs: if lab { programs::missing() } else { Vec::new() },
            kernel: kernel::observe()?,
            rustc,
        })
    }
}

/// Whether we may do what root may.
pub(crate) fn root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn rustc() -> Result<Rustc> {
    let told = shell::capture(Command::new("rustc").arg("-vV"))?;
    parse_rustc(&told).with_context(|| format!("`rustc -vV` says something unknown:\n{told}"))
}

fn parse_rustc(told: &str) -> Option<Rustc> {
    let value = |key: &str| told.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    Some(Rustc {
        release: value("release")?.to_owned(),
        llvm: value("LLVM version")?.split('.').next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rustc_says_its_release_and_its_llvm() {
        let told =
            "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\nrelease: 1.95.0\nLLVM version: 22.1.2\n";
        let rustc = parse_rustc(told).unwrap();
        assert_eq!(rustc, Rustc { release: "1.95.0".into(), llvm: 22 });
        assert_eq!(parse_rustc("rustc 1.95.0"), None);
    }
}
