//! Which package may depend on which.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::Finding;
use crate::{shell, workspace};

/// For the packages whose dependencies are part of the architecture.
const MAY_USE: [(&str, &[&str]); 2] = [
    // What decides about packets has to build without an allocator and without an operating system.
    ("lb-common", &[]),
    ("lb-ebpf", &["aya-ebpf", "aya-log-ebpf", "lb-common", "network-types"]),
];

/// Nothing that is delivered uses what is only for development.
const FOR_DEVELOPMENT: [&str; 3] = ["lb-benches", "lb-tests", "xtask"];

pub(crate) fn check() -> Result<Vec<Finding>> {
    let mut cargo = shell::cargo();
    cargo.current_dir(workspace::root()).args(["metadata", "--format-version", "1", "--no-deps", "--locked"]);
    let told = shell::capture(&mut cargo)?;
    let metadata: Value = serde_json::from_str(&told).context("cargo's metadata is no JSON")?;
    Ok(findings(&metadata))
}

fn findings(metadata: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in list(&metadata["packages"]) {
        let name = text(&package["name"]);
        // Those of tests and build scripts do not get into what is built.
        let needed = list(&package["dependencies"]).filter(|dependency| dependency["kind"].is_null());
        for dependency in needed.map(|dependency| text(&dependency["name"])) {
            if !may_use(name, dependency) {
                let what = format!("must not depend on {dependency}, see ARCHITECTURE.md");
                findings.push(Finding::in_file(&format!("package {name}"), what));
            }
        }
    }
    findings
}

fn may_use(package: &str, dependency: &str) -> bool {
    let rule = MAY_USE.iter().find(|(name, _)| *name == package);
    let development = FOR_DEVELOPMENT.contains(&dependency) && !FOR_DEVELOPMENT.contains(&package);
    !development && rule.is_none_or(|(_, allowed)| allowed.contains(&dependency))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_core_depends_on_nothing_but_in_its_tests() {
        let metadata = json!({"packages": [{"name": "lb-common", "dependencies": [
            {"name": "proptest", "kind": "dev"}, {"name": "bytes", "kind": null}]}]});
        let found: Vec<_> = findings(&metadata).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["package lb-common: must not depend on bytes, see ARCHITECTURE.md"]);
    }

    #[test]
    fn the_controller_does_not_use_the_lab() {
        assert!(may_use("lb-ctl", "tokio") && may_use("xtask", "lb-tests"));
        assert!(!may_use("lb-ctl", "lb-tests"));
    }
}
