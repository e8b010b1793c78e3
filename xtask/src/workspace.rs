//! Where things lie in this repository.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result};

/// The folder with the workspace's `Cargo.toml`.
///
/// What cargo says now comes before what it said to the compiler: checkouts that share a
/// `CARGO_TARGET_DIR` may run each other's program.
pub(crate) fn root() -> PathBuf {
    let now = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let manifest = now.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    manifest.parent().unwrap_or(&manifest).to_path_buf()
}

/// Where cargo puts what it builds, `CARGO_TARGET_DIR` respected.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Programs that set-up brings and that are used by this repository alone.
pub(crate) fn tools() -> PathBuf {
    target().join("tools")
}

/// The eBPF object that `lb-ctl/build.rs` embeds. It stays below the repository whatever
/// `CARGO_TARGET_DIR` says, so that two checkouts never embed each other's object.
pub(crate) fn ebpf_object() -> PathBuf {
    ebpf_dir().join("lb-ebpf.o")
}

/// The target folder of the build for the kernel.
pub(crate) fn ebpf_dir() -> PathBuf {
    root().join("target").join("ebpf")
}

/// Holds other `cargo xtask` calls back until the returned file is dropped.
pub(crate) fn lock() -> Result<fs::File> {
    let path = target().join("xtask.lock");
    fs::create_dir_all(target()).with_context(|| format!("cannot make {}", target().display()))?;
    let file = fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    if file.try_lock().is_err() {
        println!("waiting for another `cargo xtask` that sets up or builds");
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}
