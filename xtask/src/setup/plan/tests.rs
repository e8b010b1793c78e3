use anyhow::anyhow;

use super::*;
use crate::setup::{facts::Rustc, programs::Program};

const DIG: Program = Program { name: "dig", package: "bind9-dnsutils", reason: "asks" };

/// A machine on which everything was brought before.
fn complete() -> Facts {
    Facts {
        root: true,
        rustc: Rustc { release: "1.95.0".into(), llvm: 22 },
        linker: true,
        llvm: true,
        apt_llvm: true,
        apt: true,
        binstall: false,
        rust_src: true,
        rustup: true,
        debian: true,
        missing_programs: Vec::new(),
        kernel: Kernel {
            release: "6.18.44".into(),
            version: Some((6, 18)),
            lacks: Vec::new(),
            btf: true,
            bpffs: true,
            lacks_capabilities: Vec::new(),
        },
    }
}

/// A bare Debian with a Rust toolchain, as root.
fn bare() -> Facts {
    Facts {
        linker: false,
        llvm: false,
        rust_src: false,
        missing_programs: vec![&DIG],
        kernel: Kernel { bpffs: false, ..complete().kernel },
        ..complete()
    }
}

fn missing(facts: &Facts, need: Need) -> Vec<String> {
    let plan = decide(facts, need);
    plan.missing.into_iter().map(|missing| missing.what).collect()
}

#[test]
fn the_second_time_there_is_nothing_to_do() {
    assert_eq!(decide(&complete(), Need::Lab), Plan::default());
}

#[test]
fn a_host_that_only_serves_gets_none_of_the_labs_programs() {
    let plan = decide(&Facts { linker: true, rust_src: true, ..bare() }, Need::Load);
    assert_eq!(plan, Plan { actions: vec![Action::MountBpffs], missing: Vec::new() });
    assert_eq!(missing(&Facts { root: false, ..complete() }, Need::Load), ["root"]);
}

#[test]
fn a_bare_debian_gets_everything() {
    let sources = rust_src::Sources { rustup: true, debian: true };
    let plan = decide(&bare(), Need::Lab);
    assert!(plan.missing.is_empty());
    assert_eq!(plan.actions.len(), 5);
    assert!(matches!(&plan.actions[0], Action::Apt { packages, .. } if packages == &["llvm-22-dev"]));
    assert_eq!(plan.actions[1], Action::BuildLinker { llvm: 22 });
    assert_eq!(plan.actions[2], Action::FetchRustSrc(sources));
    assert!(matches!(&plan.actions[3], Action::Apt { packages, .. } if packages == &["bind9-dnsutils"]));
    assert_eq!(plan.actions[4], Action::MountBpffs);
}

#[test]
fn a_build_alone_needs_neither_programs_nor_rights() {
    let facts = Facts {
        root: false,
        missing_programs: vec![&DIG],
        kernel: Kernel { bpffs: false, btf: false, ..complete().kernel },
        ..complete()
    };
    assert_eq!(decide(&facts, Need::Build), Plan::default());
}

#[test]
fn without_root_the_list_is_complete() {
    let facts = Facts { root: false, ..bare() };
    let what = missing(&facts, Need::Lab);
    assert_eq!(what.len(), 3, "{what:?}");
    assert!(what[0].contains("LLVM 22") && what[1].contains("dig") && what[2] == "root");
}

#[test]
fn other_distributions_take_the_prebuilt_linker() {
    let facts = Facts { apt: false, apt_llvm: false, binstall: true, ..bare() };
    assert_eq!(decide(&facts, Need::Build).actions[0], Action::FetchLinker);
    let without = Facts { binstall: false, ..facts };
    let list = decide(&without, Need::Build).missing;
    assert!(list[0].to_string().contains("cargo-binstall"), "{}", list[0]);
}

#[test]
fn rust_src_without_any_source_is_named_with_its_version() {
    let facts = Facts { rustup: false, debian: false, ..bare() };
    let list = decide(&facts, Need::Build).missing;
    assert!(list[0].to_string().contains("rust-src 1.95.0"), "{}", list[0]);
}

#[test]
fn an_old_or_poor_kernel_is_told_by_the_name_of_what_it_lacks() {
    let kernel = Kernel {
        release: "5.10.0".into(),
        version: Some((5, 10)),
        lacks: vec![kernel::OPTIONS[1]],
        btf: false,
        bpffs: true,
        lacks_capabilities: vec!["CAP_BPF"],
    };
    let what = missing(&Facts { kernel, ..complete() }, Need::Lab);
    assert_eq!(what.len(), 3, "{what:?}");
    assert!(what[0].contains("CAP_BPF") && what[1].contains("6.1"));
    assert!(what[2].contains("CONFIG_DEBUG_INFO_BTF"));
}

#[test]
fn what_builds_on_a_failed_package_is_not_tried() {
    let plan = decide(&bare(), Need::Build);
    let failed = plan.actions[0].failed(&anyhow!("no network"), &bare());
    assert!(plan.actions[1].builds_on(&failed));
    assert!(!plan.actions[2].builds_on(&failed));
}

#[test]
fn an_entry_says_what_why_and_what_to_do() {
    let entry = Missing {
        what: "root".into(),
        why: "first\nsecond".into(),
        cure: vec!["this".into(), "or that".into()],
    };
    assert_eq!(entry.to_string(), "- root\n  why: first\n       second\n  do:  this\n       or that");
}
