//! Processes of a lab: started by a thread that lives as long as this process, killed by their id, reaped by us.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill as send_signal},
    unistd::Pid,
};

pub(super) type Shared = Arc<Mutex<Child>>;

/// A child process; dropping it kills it.
pub struct Process {
    label: String,
    log: PathBuf,
    child: Shared,
}

impl Process {
    pub(super) fn spawn(label: &str, dir: &Path, mut command: Command) -> Result<Self> {
        let log = dir.join(format!("{label}.log"));
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("open {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = spawn(command).with_context(|| format!("start {label}"))?;
        Ok(Self { label: label.into(), log, child: Arc::new(Mutex::new(child)) })
    }

    #[must_use]
    pub fn id(&self) -> u32 {
        lock(&self.child).id()
    }

    /// All that it has written to standard output and error.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.log)?).into_owned())
    }

    /// `None` while it runs.
    pub fn exit_status(&self) -> Result<Option<ExitStatus>> {
        Ok(lock(&self.child).try_wait()?)
    }

    /// SIGKILL, and waits for its end.
    pub fn kill(&self) -> Result<()> {
        kill(&self.child)
    }

    /// SIGTERM, and its exit status if it ends in time; else it is killed and that is an error.
    pub fn stop(&self, patience: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.exit_status()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.kill()?;
        bail!("{} did not end within {patience:?} after SIGTERM; its output:\n{}", self.label, self.log()?)
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        let mut child = lock(&self.child);
        // Not reaped and we hold the lock, so the id is still this process.
        if child.try_wait()?.is_none() {
            send_signal(Pid::from_raw(child.id().try_into()?), signal)?;
        }
        Ok(())
    }

    pub(super) fn share(&self) -> Shared {
        self.child.clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("lab: kill {}: {error:#}", self.label);
        }
    }
}

pub(super) fn kill(child: &Shared) -> Result<()> {
    let mut child = lock(child);
    child.kill()?;
    child.wait()?;
    Ok(())
}

fn lock(child: &Shared) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The parent-death signal comes when the *thread* that forked ends, so one that never ends does it.
fn spawn(command: Command) -> Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static SPAWNER: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in inbox {
                // Nobody waits for the reply only when the caller's thread died.
                drop(reply.send(command.spawn()));
            }
        });
        orders
    });
    let (reply, child) = mpsc::channel();
    SPAWNER.send((command, reply)).context("the spawner thread has ended")?;
    Ok(child.recv().context("the spawner thread has ended")??)
}
