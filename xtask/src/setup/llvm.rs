//! LLVM of rustc's major version, which bpf-linker is linked with.

use std::{env, path::PathBuf, process::Command};

use crate::shell;

/// The package that has it in Debian and its descendants.
pub(crate) fn package(major: u32) -> String {
    format!("llvm-{major}-dev")
}

/// Where it is installed.
pub(crate) fn prefix(major: u32) -> Option<PathBuf> {
    // Debian's folder comes first: its programs are not in PATH without the version.
    let debian = format!("/usr/lib/llvm-{major}/bin/llvm-config");
    let chosen = env::var("LLVM_PREFIX").map(|prefix| format!("{prefix}/bin/llvm-config"));
    chosen
        .into_iter()
        .chain([debian, format!("llvm-config-{major}"), "llvm-config".to_owned()])
        .find_map(|config| prefix_of(&config, major))
}

fn prefix_of(config: &str, major: u32) -> Option<PathBuf> {
    let ask = |what: &str| shell::capture(Command::new(config).arg(what)).ok();
    let version = ask("--version")?;
    let right = version.trim().split('.').next() == Some(&major.to_string());
    let prefix = PathBuf::from(ask("--prefix").filter(|_| right)?.trim());
    // The programs come without the library that is linked with when only `llvm` is installed.
    prefix.join("include/llvm-c").is_dir().then_some(prefix)
}
