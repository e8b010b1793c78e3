//! Builds the test programs and says of which level each is.
//!
//! Cargo builds all of them in one call, so that no dependency is built twice with other features;
//! we run them, level by level.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::Level;
use crate::{build, shell, workspace};

/// The package whose tests are all on levels above `Unit`.
const PACKAGE: &str = "lb-tests";

/// The feature, here and in lb-ctl, without which no test that needs root is built.
const PRIVILEGED: &str = "privileged";

/// The variable by which the tests find lbctl.
const LBCTL: &str = "LB_TEST_LBCTL";
/// And the one by which they find the generator of frames.
const GENERATOR: &str = "LB_TEST_GENERATOR";

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Binary {
    pub(crate) level: Level,
    pub(crate) package: String,
    pub(crate) target: String,
    program: PathBuf,
    /// The package's folder, in which cargo would run it.
    folder: PathBuf,
}

impl Binary {
    pub(crate) fn command(&self, filter: Option<&str>) -> Command {
        let mut command = Command::new(&self.program);
        command
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder)
            .env(LBCTL, workspace::target().join("debug/lbctl"))
            .env(GENERATOR, build::frame_generator_object())
            .args(filter);
        if self.level.privileged() {
            // Hosts of the lab share two processors and the kernel's tables.
            command.arg("--test-threads=1");
        }
        command
    }
}

pub(crate) fn build() -> Result<Vec<Binary>> {
    build::lbctl(false)?;
    let output = all_tests("test")
        .args(["--no-run", "--message-format=json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("the tests do not compile");
    }
    binaries(&String::from_utf8_lossy(&output.stdout))
}

/// The examples in documentation, which only cargo can build and run.
pub(crate) fn doc_tests(filter: Option<&str>) -> Command {
    let mut cargo = all_tests("test");
    cargo.arg("--doc").arg("--").args(filter);
    cargo
}

fn all_tests(subcommand: &str) -> Command {
    let mut cargo = shell::cargo();
    build::on_this_machine(cargo.current_dir(workspace::root()).arg(subcommand))
        .args(["--features", &format!("{PACKAGE}/{PRIVILEGED},lb-ctl/{PRIVILEGED}")]);
    cargo
}

fn binaries(messages: &str) -> Result<Vec<Binary>> {
    let mut found = Vec::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Value = serde_json::from_str(line).context("cargo's message is no JSON")?;
        found.extend(binary(&message));
    }
    found.sort_by(|a, b| (a.level, &a.package, &a.target).cmp(&(b.level, &b.package, &b.target)));
    Ok(found)
}

fn binary(message: &Value) -> Option<Binary> {
    let program = PathBuf::from(message["executable"].as_str()?);
    message["profile"]["test"].as_bool().filter(|test| *test)?;
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
    let package = package(message["package_id"].as_str()?)?;
    let target = &message["target"];
    let name = target["name"].as_str()?;
    let privileged = target["required-features"]
        .as_array()
        .is_some_and(|features| features.iter().any(|feature| feature == PRIVILEGED));
    Some(Binary {
        level: level(&package, name, privileged),
        target: name.to_owned(),
        package,
        program,
        folder: folder.to_path_buf(),
    })
}

/// `path+file:///somewhere/tests#lb-tests@0.1.0`, or without the name where the folder has it.
fn package(id: &str) -> Option<String> {
    let (place, version) = id.rsplit_once('#')?;
    let name = version.split_once('@').map(|(name, _)| name);
    name.or_else(|| place.rsplit('/').next()).map(ToOwned::to_owned)
}

fn level(package: &str, target: &str, privileged: bool) -> Level {
    match (privileged, package == PACKAGE) {
        (false, false) => Level::Unit,
        (false, true) => Level::Native,
        (true, _) if target.starts_with("kernel") => Level::Kernel,
        (true, _) => Level::Lab,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_told_by_package_feature_and_name() {
        assert_eq!(level("lb-common", "lb_common", false), Level::Unit);
        assert_eq!(level(PACKAGE, "native", false), Level::Native);
        assert_eq!(level(PACKAGE, "kernel_cases", true), Level::Kernel);
        assert_eq!(level(PACKAGE, "flood", true), Level::Lab);
        assert_eq!(level("lb-ctl", "neighbours", true), Level::Lab);
    }

    #[test]
    fn packages_have_a_name_in_both_forms_of_their_id() {
        let named = package("path+file:///src/tests#lb-tests@0.1.0");
        assert_eq!(named.as_deref(), Some("lb-tests"));
        let by_folder = package("path+file:///src/lb-ctl#0.1.0");
        assert_eq!(by_folder.as_deref(), Some("lb-ctl"));
    }

    #[test]
    fn only_test_programs_are_taken_from_cargos_messages() {
        let messages = r#"
{"reason":"compiler-artifact","package_id":"path+file:///w/lb-ctl#0.1.0","manifest_path":"/w/lb-ctl/Cargo.toml","target":{"kind":["bin"],"name":"lbctl"},"profile":{"test":false},"executable":"/t/lbctl"}
{"reason":"compiler-artifact","package_id":"path+file:///w/tests#lb-tests@0.1.0","manifest_path":"/w/tests/Cargo.toml","target":{"kind":["test"],"name":"kernel","required-features":["privileged"]},"profile":{"test":true},"executable":"/t/kernel-1"}
{"reason":"build-finished","success":true}"#;
        let found = binaries(messages).unwrap();
        assert_eq!(
            found,
            [Binary {
                level: Level::Kernel,
                package: "lb-tests".into(),
                target: "kernel".into(),
                program: "/t/kernel-1".into(),
                folder: "/w/tests".into(),
            }]
        );
    }
}
