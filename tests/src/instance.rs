//! `lbctl serve` in a lab's balancer, and `lbctl` as its client.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::lab::{Lab, Process};

/// How long a daemon may take to answer, or to end.
const PATIENCE: Duration = Duration::from_secs(15);

/// One daemon with folders of its own.
pub struct Instance {
    lbctl: PathBuf,
    socket: PathBuf,
    state_dir: PathBuf,
    pin_dir: PathBuf,
    config: Option<PathBuf>,
    process: Mutex<Process>,
}

impl Instance {
    /// Starts it and waits until it answers.
    pub fn start(lab: &Lab, lbctl: &Path, config: Option<&Path>) -> Result<Self> {
        let (socket, state_dir, pin_dir) =
            (lab.dir().join("lbctl.sock"), lab.dir().join("state"), lab.pin_dir());
        let config = config.map(Path::to_path_buf);
        let command = serve(lab, lbctl, &socket, &state_dir, &pin_dir, config.as_deref());
        let process = Mutex::new(lab.spawn("lbctl", command)?);
        let instance = Self { lbctl: lbctl.to_path_buf(), socket, state_dir, pin_dir, config, process };
        instance.wait_until_it_answers()?;
        Ok(instance)
    }

    #[must_use]
    pub fn lbctl(&self) -> &Path {
        &self.lbctl
    }

    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Kills the daemon at whatever it is doing.
    pub fn kill(&self) -> Result<()> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).kill()
    }

    /// Starts another daemon over what the last one left, with what was applied last.
    pub fn restart(&self, lab: &Lab) -> Result<()> {
        let config = self.config.as_deref().filter(|_| !self.state_dir.join("applied.json").exists());
        let command = serve(lab, &self.lbctl, &self.socket, &self.state_dir, &self.pin_dir, config);
        let process = lab.spawn("lbctl", command)?;
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = process;
        self.wait_until_it_answers()
    }

    /// Ends the daemon in order; the data plane stays.
    pub fn stop(&self) -> Result<()> {
        let status = self.process.lock().unwrap_or_else(PoisonError::into_inner).stop(PATIENCE)?;
        ensure!(status.success(), "lbctl serve ended with {status}:\n{}", self.log());
        Ok(())
    }

    /// What the daemon has logged.
    #[must_use]
    pub fn log(&self) -> String {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.log().unwrap_or_else(|error| error.to_string())
    }

    /// Applies a configuration, given as text.
    pub fn apply(&self, text: &str) -> Result<String> {
        let file = self.state_dir.with_file_name("apply.yaml");
        std::fs::write(&file, text).with_context(|| file.display().to_string())?;
        let output = self.client().args(["apply", "-f"]).arg(&file).output()?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "lbctl apply: {}\n{out}{err}\n{}", output.status, self.log());
        Ok(out.into_owned())
    }

    /// The status as JSON.
    pub fn status(&self) -> Result<serde_json::Value> {
        lbctl_status(&self.lbctl, &self.socket)
    }

    /// Members by name, with their states.
    pub fn states(&self) -> Result<BTreeMap<String, String>> {
        let status = self.status()?;
        let members = status["members"].as_array().context("status without members")?;
        let text = |value: &serde_json::Value| value.as_str().unwrap_or("?").to_owned();
        Ok(members.iter().map(|member| (text(&member["name"]), text(&member["state"]))).collect())
    }

    /// Waits until the status is as it should be.
    pub fn wait_for(
        &self,
        what: &str,
        patience: Duration,
        holds: impl Fn(&serde_json::Value) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let status = self.status()?;
            if holds(&status) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "not {what} within {patience:?}: {status:#}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until each of these members, and no other, is up.
    pub fn wait_for_members(&self, up: &[&str]) -> Result<()> {
        self.wait_for(&format!("{up:?} up"), PATIENCE, |status| {
            let members = status["members"].as_array().map(Vec::as_slice).unwrap_or_default();
            let is_up = |member: &serde_json::Value| member["state"] == "up";
            let named: Vec<_> =
                members.iter().filter(|m| is_up(m)).filter_map(|m| m["name"].as_str()).collect();
            up.iter().all(|name| named.contains(name)) && named.iter().all(|name| up.contains(name))
        })
    }

    /// Exceptions that are alive: confirmed and pending.
    pub fn exceptions(&self) -> Result<(u64, u64)> {
        let status = self.status()?;
        let number = |name: &str| status["exceptions"][name].as_u64().context("status without exceptions");
        Ok((number("confirmed")?, number("pending")?))
    }

    /// How often something has happened beside the packets' way.
    pub fn event(&self, name: &str) -> Result<u64> {
        Ok(self.status()?["events"][name].as_u64().unwrap_or(0))
    }

    /// Where the maps are pinned.
    #[must_use]
    pub fn pin_dir(&self) -> &Path {
        &self.pin_dir
    }

    /// The client, pointed at this daemon.
    #[must_use]
    pub fn client(&self) -> Command {
        let mut command = Command::new(&self.lbctl);
        command.arg("--socket").arg(&self.socket);
        command
    }

    fn wait_until_it_answers(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.status() {
            let ended = self.process.lock().unwrap_or_else(PoisonError::into_inner).exit_status()?;
            ensure!(
                ended.is_none() && Instant::now() < deadline,
                "lbctl serve does not answer ({ended:?}): {error:#}\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

fn serve(
    lab: &Lab,
    lbctl: &Path,
    socket: &Path,
    state_dir: &Path,
    pin_dir: &Path,
    config: Option<&Path>,
) -> Command {
    let mut command = lab.balancer().command(lbctl);
    command.arg("--socket").arg(socket).arg("--state-dir").arg(state_dir).arg("--pin-dir").arg(pin_dir);
    command.arg("serve");
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    command
}

/// The program under test: what `cargo xtask test` names, else what cargo built beside this one.
pub fn lbctl_under_test() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("LB_TEST_LBCTL") {
        return Ok(path.into());
    }
    let here = std::env::current_exe().context("cannot tell where this program lies")?;
    let built =
        here.parent().and_then(Path::parent).map(|dir| dir.join("lbctl")).filter(|path| path.exists());
    built.context("no lbctl beside the tests: run cargo xtask build, or cargo xtask test")
}

/// Runs a command that should end by itself: its exit code, and all that it printed.
pub fn ends(lab: &Lab, command: Command, patience: Duration) -> Result<(Option<i32>, String)> {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let process = lab.spawn(&format!("run-{}", RUNS.fetch_add(1, Ordering::Relaxed)), command)?;
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = process.exit_status()? {
            return Ok((status.code(), process.log()?));
        }
        ensure!(Instant::now() < deadline, "still running after {patience:?}:\n{}", process.log()?);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `lbctl status -o json`.
pub fn lbctl_status(lbctl: &Path, socket: &Path) -> Result<serde_json::Value> {
    let output = Command::new(lbctl).arg("--socket").arg(socket).args(["status", "-o", "json"]).output()?;
    ensure!(output.status.success(), "lbctl status: {}", String::from_utf8_lossy(&output.stderr).trim());
    serde_json::from_slice(&output.stdout).context("lbctl status printed something else than JSON")
}
