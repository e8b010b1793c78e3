//! Debian's package manager and those of its descendants.

use std::process::Command;

use anyhow::Result;

use super::facts;
use crate::shell;

/// Without it `apt-get update` ends well when it could fetch nothing.
pub(crate) const ERRORS_COUNT: &str = "APT::Update::Error-Mode=any";

/// Installs what is missing and nothing that is merely recommended.
pub(crate) fn install(packages: &[String], reason: &str) -> Result<()> {
    let what = format!("installing {} with apt: {reason}", packages.join(" "));
    let first = shell::slowly(&what, "some seconds to a minute", &mut install_command(packages));
    if first.is_ok() {
        return first;
    }
    // Most often the lists are older than the mirror.
    println!("apt could not; trying again with new package lists");
    update()?;
    shell::slowly(&what, "some seconds to a minute", &mut install_command(packages))
}

/// Whether the distribution has a package; root may fetch the package lists for the answer.
pub(crate) fn offers(package: &str) -> bool {
    let candidate = || {
        let told = shell::capture(Command::new("apt-cache").args(["policy", package]));
        told.is_ok_and(|told| has_candidate(&told))
    };
    candidate() || (update_allowed() && update().is_ok() && candidate())
}

/// The Debian mirror that this machine's apt uses already.
pub(crate) fn debian_mirror() -> Option<String> {
    let ask = || {
        let told = shell::capture(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(ORIGIN) $(LABEL) $(REPO_URI)",
            "Created-By: Packages",
        ]));
        told.ok().and_then(|told| main_mirror(&told))
    };
    ask().or_else(|| (update_allowed() && update().is_ok()).then(ask).flatten())
}

fn update_allowed() -> bool {
    facts::root() && shell::has("apt-get")
}

fn update() -> Result<()> {
    let mut apt = Command::new("apt-get");
    apt.args(["-o", "Acquire::Retries=2", "-o", ERRORS_COUNT, "update"]);
    shell::slowly("fetching apt's package lists", "some seconds", &mut apt)
}

fn install_command(packages: &[String]) -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=2"])
        .args(["install", "--yes", "--no-install-recommends"])
        .args(packages);
    apt
}

fn has_candidate(policy: &str) -> bool {
    policy
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Candidate: "))
        .any(|version| version != "(none)")
}

/// The archive itself, not that of security updates, which has no backports.
fn main_mirror(targets: &str) -> Option<String> {
    let uri = targets.lines().find_map(|line| line.strip_prefix("Debian Debian "))?;
    Some(uri.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_a_version_is_not_offered() {
        assert!(has_candidate("llvm-22-dev:\n  Installed: (none)\n  Candidate: 1:22.1.8\n"));
        assert!(!has_candidate("llvm-22-dev:\n  Installed: (none)\n  Candidate: (none)\n"));
        assert!(!has_candidate(""));
    }

    #[test]
    fn the_mirror_is_debians_main_archive() {
        let targets = "Debian Debian-Security http://a/security/\nOther Other http://b/\n\
                       Debian Debian http://c/debian/\n";
        assert_eq!(main_mirror(targets).as_deref(), Some("http://c/debian/"));
        assert_eq!(main_mirror("Ubuntu Ubuntu http://d/ubuntu/\n"), None);
    }
}
