//! cargo-deny, which reads licences and versions of all packages that we build on.

use std::path::PathBuf;

use anyhow::Result;

use super::tool;
use crate::{shell, workspace};

const VERSION: &str = "0.20.2";

/// Its program, built the first time.
pub(crate) fn ensure() -> Result<PathBuf> {
    let name = format!("cargo-deny-{VERSION}");
    let program = tool::dir(&name).join("bin/cargo-deny");
    if program.is_file() {
        return Ok(program);
    }
    let _lock = workspace::lock()?;
    tool::install(&name, |dir| {
        let mut cargo = shell::cargo_install("cargo-deny", VERSION, dir);
        // It runs for a second; optimising it takes minutes.
        cargo
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
            .env("CARGO_PROFILE_RELEASE_LTO", "off");
        let what = format!("building cargo-deny {VERSION}");
        shell::slowly(&what, "about a minute on 2 cores", &mut cargo)
    })?;
    Ok(program)
}
