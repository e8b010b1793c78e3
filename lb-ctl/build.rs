//! Puts the eBPF object where `include_bytes_aligned!` finds it.
//!
//! `cargo xtask build` makes the object. Without it, or with one that is made from other sources,
//! lbctl is built around an empty object, which it refuses to load: so `cargo check`, `clippy` and
//! `test` work without the BPF toolchain, and no lbctl ever loads a program that is not of its
//! own version.

#[path = "build/sources.rs"]
mod sources;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let root = folder("CARGO_MANIFEST_DIR")?.join("..");
    let object = root.join("target/ebpf/lb-ebpf.o");
    watch(&root, &object)?;
    let bytes = fs::read(&object)?;
    let made_from = fs::read_to_string(sources::record_of(&object)).unwrap_or_default();
    let ours = made_from == sources::digest(&root)?;
    if bytes.is_empty() || !ours {
        println!("cargo:warning={}", absence(bytes.is_empty()));
    }
    let embedded = if ours { bytes } else { Vec::new() };
    fs::write(folder("OUT_DIR")?.join("lb-ebpf"), embedded)
}

fn absence(never_built: bool) -> &'static str {
    if never_built {
        "lbctl is built without its eBPF program; `cargo xtask build` builds both"
    } else {
        "lbctl is built without its eBPF program, whose sources have changed since; `cargo xtask build` builds both"
    }
}

/// Has cargo call this again when the object or its sources change.
fn watch(root: &Path, object: &Path) -> io::Result<()> {
    if !object.exists() {
        // Cargo takes a watched file that is not there as changed, each time.
        fs::create_dir_all(object.parent().unwrap_or(root))?;
        fs::File::create(object)?;
    }
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed={}", object.display());
    for source in sources::SOURCES {
        println!("cargo:rerun-if-changed={}", root.join(source).display());
    }
    Ok(())
}

fn folder(variable: &str) -> io::Result<PathBuf> {
    let unset = || io::Error::other(format!("cargo has not set {variable}"));
    env::var_os(variable).map(PathBuf::from).ok_or_else(unset)
}
