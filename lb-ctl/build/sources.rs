//! Whether the eBPF object is made from the sources that are here.
//!
//! Used by `lb-ctl/build.rs`, which embeds no other object, and by `cargo xtask build`, which
//! writes the digest beside the object.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::{Path, PathBuf},
};

/// What the object is made from, seen from the workspace's folder.
pub(crate) const SOURCES: [&str; 6] = [
    "Cargo.lock",
    "Cargo.toml",
    "lb-common/Cargo.toml",
    "lb-common/src",
    "lb-ebpf/Cargo.toml",
    "lb-ebpf/src",
];

/// Where the digest of an object's sources lies.
pub(crate) fn record_of(object: &Path) -> PathBuf {
    object.with_extension("sources")
}

/// A digest of all names and bytes. It does not look at times, which every checkout changes.
pub(crate) fn digest(root: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    for source in SOURCES {
        list(&root.join(source), &mut files)?;
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.strip_prefix(root).unwrap_or(&file).hash(&mut hasher);
        fs::read(&file)?.hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn list(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        list(&entry?.path(), files)?;
    }
    Ok(())
}
