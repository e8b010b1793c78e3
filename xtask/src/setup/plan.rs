//! What to do on a machine with such facts: decided on paper, without touching it.

use std::fmt;

use super::{
    Need,
    facts::Facts,
    kernel::{self, Kernel},
    linker, llvm, rust_src,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Apt { packages: Vec<String>, reason: String },
    BuildLinker { llvm: u32 },
    FetchLinker,
    FetchRustSrc(rust_src::Sources),
    MountBpffs,
}

/// Something that we cannot bring, and how somebody can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) what: String,
    pub(crate) why: String,
    /// Commands or advice, one a line.
    pub(crate) cure: Vec<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
    pub(crate) missing: Vec<Missing>,
}

pub(crate) fn decide(facts: &Facts, need: Need) -> Plan {
    let mut plan = Plan::default();
    linker(facts, &mut plan);
    rust_src(facts, &mut plan);
    if need >= Need::Lab {
        programs(facts, &mut plan);
    }
    if need >= Need::Load {
        rights(facts, &mut plan);
        features(&facts.kernel, &mut plan);
    }
    plan
}

fn linker(facts: &Facts, plan: &mut Plan) {
    if facts.linker {
        return;
    }
    let llvm = facts.rustc.llvm;
    let package = llvm::package(llvm);
    let build = Action::BuildLinker { llvm };
    if facts.llvm {
        plan.actions.push(build);
    } else if facts.apt_llvm && facts.root {
        let reason = "bpf-linker is built with it, about 120 MB".to_owned();
        plan.actions.push(Action::Apt { packages: vec![package], reason });
        plan.actions.push(build);
    } else if facts.binstall {
        plan.actions.push(Action::FetchLinker);
    } else {
        plan.missing.push(no_linker(facts, &package));
    }
}

fn no_linker(facts: &Facts, package: &str) -> Missing {
    let cure = if facts.apt_llvm {
        vec![format!("sudo apt-get install {package}")]
    } else {
        vec![
            "install cargo-binstall, which lets this command fetch a prebuilt bpf-linker,".to_owned(),
            format!("or LLVM {} with its headers, and set LLVM_PREFIX to its folder", facts.rustc.llvm),
        ]
    };
    Missing {
        what: format!("bpf-linker {}, and LLVM {} to build it with", linker::VERSION, facts.rustc.llvm),
        why: "rustc needs it to make the object that the kernel loads".to_owned(),
        cure,
    }
}

fn rust_src(facts: &Facts, plan: &mut Plan) {
    if facts.rust_src {
        return;
    }
    let sources = rust_src::Sources { rustup: facts.rustup, debian: facts.debian };
    if sources.rustup || sources.debian {
        plan.actions.push(Action::FetchRustSrc(sources));
    } else {
        plan.missing.push(no_rust_src(facts, "rustup is not installed".to_owned()));
    }
}

fn no_rust_src(facts: &Facts, why: String) -> Missing {
    let release = &facts.rustc.release;
    Missing {
        what: format!("rust-src {release}, the sources of `core` for the BPF target"),
        why,
        cure: vec![
            format!("rustup component add rust-src --toolchain {release}"),
            "or your distribution's package of the sources of this very version".to_owned(),
        ],
    }
}

fn programs(facts: &Facts, plan: &mut Plan) {
    let packages: Vec<String> =
        facts.missing_programs.iter().map(|program| program.package.to_owned()).collect();
    if packages.is_empty() {
        return;
    }
    if facts.root && facts.apt {
        let reason = "the lab needs them".to_owned();
        plan.actions.push(Action::Apt { packages, reason });
    } else {
        for program in &facts.missing_programs {
            plan.missing.push(Missing {
                what: format!("the program `{}`", program.name),
                why: format!("it {}", program.reason),
                cure: vec![format!(
                    "sudo apt-get install {} (or what has it in your distribution)",
                    program.package
                )],
            });
        }
    }
}

fn rights(facts: &Facts, plan: &mut Plan) {
    let lacking = &facts.kernel.lacks_capabilities;
    if !facts.root {
        plan.missing.push(Missing {
            what: "root".to_owned(),
            why: "loading XDP programs and making network namespaces need it".to_owned(),
            cure: vec![
                "call the same command as root, for example `sudo -E env PATH=$PATH cargo xtask ...`;"
                    .to_owned(),
                "without root: `cargo test` runs all tests that need none".to_owned(),
            ],
        });
    } else if !lacking.is_empty() {
        plan.missing.push(Missing {
            what: format!("the capabilities {}", lacking.join(", ")),
            why: "this root may not load XDP programs or make network namespaces".to_owned(),
            cure: vec!["in a container: start it with `--privileged`".to_owned()],
        });
    }
}

fn features(kernel: &Kernel, plan: &mut Plan) {
    let (major, minor) = kernel::OLDEST;
    if kernel.version.is_some_and(|version| version < kernel::OLDEST) {
        plan.missing.push(Missing {
            what: format!("a kernel of version {major}.{minor} or later"),
            why: format!("this is {}, whose verifier is not known to accept the program", kernel.release),
            cure: vec!["boot a later kernel; Debian 12 and later have one".to_owned()],
        });
    }
    for (option, reason) in &kernel.lacks {
        plan.missing.push(Missing {
            what: format!("the kernel option {option}"),
            why: format!("this kernel ({}) is built without what {reason}", kernel.release),
            cure: vec!["boot a distribution's kernel, or build yours with it".to_owned()],
        });
    }
    if !kernel.btf && !kernel.lacks.iter().any(|(option, _)| *option == "CONFIG_DEBUG_INFO_BTF") {
        plan.missing.push(Missing {
            what: "/sys/kernel/btf/vmlinux".to_owned(),
            why: "the kernel's types cannot be read".to_owned(),
            cure: vec!["mount -t sysfs sysfs /sys (in a container: start it with `--privileged`)".to_owned()],
        });
    }
    if !kernel.bpffs {
        plan.actions.push(Action::MountBpffs);
    }
}

impl Action {
    /// Whether it cannot work because another has not.
    pub(crate) fn builds_on(&self, earlier: &Missing) -> bool {
        matches!(self, Self::BuildLinker { llvm } if earlier.what.contains(&llvm::package(*llvm)))
    }

    /// The action as an entry of the list of what is missing.
    pub(crate) fn failed(&self, error: &anyhow::Error, facts: &Facts) -> Missing {
        let why = format!("{error:#}");
        match self {
            Self::Apt { packages, .. } => Missing {
                what: packages.join(", "),
                why,
                cure: vec![format!("apt-get update && apt-get install {}", packages.join(" "))],
            },
            Self::BuildLinker { .. } | Self::FetchLinker => Missing {
                what: format!("bpf-linker {}", linker::VERSION),
                why,
                cure: vec![
                    "see that cargo reaches its registry, and call the same command again;".to_owned(),
                    format!("or put a bpf-linker of version {} into PATH", linker::VERSION),
                ],
            },
            Self::FetchRustSrc(_) => no_rust_src(facts, why),
            Self::MountBpffs => Missing {
                what: "a bpf file system at /sys/fs/bpf".to_owned(),
                why,
                cure: vec!["mount -t bpf bpf /sys/fs/bpf".to_owned()],
            },
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "- {}\n  why: {}", self.what, self.why.replace('\n', "\n       "))?;
        for (n, cure) in self.cure.iter().enumerate() {
            write!(out, "\n  {} {cure}", if n == 0 { "do: " } else { "    " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
