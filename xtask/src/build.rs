//! `cargo xtask build`: the eBPF object, then lbctl with the object in it.

#[path = "../../lb-ctl/build/sources.rs"]
mod sources;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result};

use crate::{
    setup::{self, Need, Toolchain},
    shell, workspace,
};

/// Packages that only build for the kernel.
pub(crate) const FOR_KERNEL: [&str; 3] = ["lb-ebpf", FRAME_GENERATOR, "lb-benches-ebpf"];
const FRAME_GENERATOR: &str = "lb-tests-ebpf";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build lbctl for use, not for debugging; the eBPF object is always built so
    #[arg(long)]
    release: bool,
}

pub(crate) fn main(args: &Args) -> Result<()> {
    let toolchain = setup::ensure(Need::Build)?;
    let object = ebpf(&toolchain)?;
    let lbctl = lbctl(args.release)?;
    println!("eBPF object: {}", object.display());
    println!("lbctl: {}", lbctl.display());
    Ok(())
}

/// Builds the object and puts it where `lb-ctl/build.rs` looks for it.
pub(crate) fn ebpf(toolchain: &Toolchain) -> Result<PathBuf> {
    let _lock = workspace::lock()?;
    // Before the build: what is edited during it counts as changed.
    let made_from = sources::digest(&workspace::root()).context("cannot read the sources")?;
    let start = Instant::now();
    let built = package_for_bpf("lb-ebpf", toolchain)?;
    let object = workspace::ebpf_object();
    if publish(&built, &made_from, &object)? {
        println!("built the eBPF object in {}", shell::time(start.elapsed()));
    }
    Ok(object)
}

/// Builds what `cargo xtask bench` runs around the program.
pub(crate) fn bench_harness(toolchain: &Toolchain) -> Result<PathBuf> {
    let _lock = workspace::lock()?;
    package_for_bpf("lb-benches-ebpf", toolchain)
}

/// Builds the program that sends the floods of the lab.
pub(crate) fn frame_generator(toolchain: &Toolchain) -> Result<PathBuf> {
    let _lock = workspace::lock()?;
    package_for_bpf(FRAME_GENERATOR, toolchain)
}

/// Where [`frame_generator`] puts it.
pub(crate) fn frame_generator_object() -> PathBuf {
    object_of(FRAME_GENERATOR)
}

/// Builds a package's program of the same name; returns where cargo puts it.
fn package_for_bpf(package: &str, toolchain: &Toolchain) -> Result<PathBuf> {
    shell::run(cargo_for_bpf("build", package, toolchain).args(["--release", "--bin", package]))?;
    Ok(object_of(package))
}

fn object_of(package: &str) -> PathBuf {
    workspace::ebpf_dir().join("build").join(target_triple()).join("release").join(package)
}

/// All packages but those.
pub(crate) fn on_this_machine(cargo: &mut Command) -> &mut Command {
    cargo.arg("--workspace").args(FOR_KERNEL.map(|package| format!("--exclude={package}")))
}

/// A cargo call for an eBPF package and the BPF target.
pub(crate) fn cargo_for_bpf(subcommand: &str, package: &str, toolchain: &Toolchain) -> Command {
    let triple = target_triple();
    let linker_key = format!("CARGO_TARGET_{}_LINKER", triple.replace('-', "_").to_uppercase());
    let mut cargo = shell::cargo();
    cargo
        .current_dir(workspace::root())
        .args([subcommand, "--package", package, "--target", triple])
        .args(["-Z", "build-std=core", "--target-dir"])
        .arg(workspace::ebpf_dir().join("build"))
        // `-Z build-std` is not stable yet; the compiler is, and stays the pinned one.
        .env("RUSTC_BOOTSTRAP", "1")
        .env(linker_key, &toolchain.linker)
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags().join("\x1f"));
    if let Some(library) = &toolchain.rust_src {
        // No option of cargo's says where rust-src lies when it is not in the sysroot.
        cargo.env("__CARGO_TESTS_ONLY_SRC_ROOT", library);
    }
    cargo
}

/// As aya-build sets them: BTF is made from the debug information, and aya-ebpf's helpers read
/// registers by the architecture of the machine that will load the program.
fn rust_flags() -> [String; 3] {
    [
        format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
    ]
}

fn target_triple() -> &'static str {
    if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" }
}

/// Copies the object when it, or the record of its sources, is new; says whether it was.
fn publish(built: &Path, made_from: &str, object: &Path) -> Result<bool> {
    let bytes = fs::read(built).with_context(|| format!("cannot read {}", built.display()))?;
    let record = sources::record_of(object);
    let same = |path: &Path, new: &[u8]| fs::read(path).is_ok_and(|old| old == new);
    if same(object, &bytes) && same(&record, made_from.as_bytes()) {
        return Ok(false);
    }
    put(&record, made_from.as_bytes())?;
    // Last: cargo watches the object, and whoever sees it new reads the record of its sources.
    put(object, &bytes)?;
    Ok(true)
}

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let aside = path.with_extension("new");
    fs::write(&aside, bytes)
        .and_then(|()| fs::rename(&aside, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Builds lbctl around the object that is there.
pub(crate) fn lbctl(release: bool) -> Result<PathBuf> {
    let profile = if release { "release" } else { "debug" };
    let mut cargo = shell::cargo();
    cargo
        .current_dir(workspace::root())
        .args(["build", "--package", "lb-ctl", "--bin", "lbctl"])
        .args(release.then_some("--release"));
    shell::run(&mut cargo)?;
    Ok(workspace::target().join(profile).join("lbctl"))
}
