//! Folders, daemons and runs of lbctl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::BoxFuture;
use lb_ctl::api::server::{self, Control, Limits, Refusal};
use lb_ctl::api::types::{Applied, Apply, Nat, Status, Version};
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A folder of its own, removed at the end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("lbctl-cli-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("s")
    }

    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

type Answer<T> = Box<dyn Fn(Apply) -> BoxFuture<'static, Result<T, Refusal>> + Send + Sync>;

/// What a daemon says.
pub(crate) struct Script {
    pub(crate) status: Result<Status, Refusal>,
    pub(crate) apply: Answer<Applied>,
}

impl Control for Script {
    fn version(&self) -> Version {
        Version { version: "0.0.9".to_owned(), abi: 7, instance: "default".to_owned(), pid: 4711 }
    }

    async fn status(&self) -> Result<Status, Refusal> {
        self.status.clone()
    }

    async fn nat(&self) -> Result<Nat, Refusal> {
        Ok(Nat { mappings: Vec::new() })
    }

    async fn apply(&self, apply: Apply) -> Result<Applied, Refusal> {
        (self.apply)(apply).await
    }
}

impl Script {
    /// Answers each apply like this.
    pub(crate) fn applying(answer: Result<Applied, Refusal>) -> Self {
        let apply: Answer<Applied> = Box::new(move |_| {
            let answer = answer.clone();
            Box::pin(async move { answer })
        });
        Self { status: Ok(super::golden::busy()), apply }
    }
}

/// A daemon that listens in a folder.
pub(crate) struct Daemon {
    stop: Option<oneshot::Sender<()>>,
    pub(crate) task: JoinHandle<()>,
}

impl Daemon {
    pub(crate) fn start(scratch: &Scratch, script: Script) -> Self {
        Self::with_limits(scratch, script, Limits::default())
    }

    pub(crate) fn with_limits(scratch: &Scratch, script: Script, limits: Limits) -> Self {
        let listener = UnixListener::bind(scratch.socket()).unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server::serve(listener, Arc::new(script), limits, async {
            stopped.await.unwrap_or(());
        }));
        Self { stop: Some(stop), task }
    }

    /// Asks it to end.
    pub(crate) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }
}

/// lbctl with these arguments and nothing of this process's environment that it would heed.
pub(crate) fn lbctl<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lbctl"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LBCTL_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null()).env("NO_COLOR", "1");
    command
}

/// Runs it to its end beside the daemon of the test.
pub(crate) async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) const GOOD: &str = include_str!("../../../examples/minimal.yaml");

pub(crate) fn done() -> Applied {
    Applied {
        generation: 1,
        changes: vec!["rule http: added".to_owned()],
        warnings: vec![],
        microseconds: 1500,
    }
}
