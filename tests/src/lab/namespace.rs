//! Named network namespaces, as `ip netns` makes them, without needing it.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::process::CommandExt as _,
    },
    panic,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    unistd::{Pid, getppid},
};

const DIR: &str = "/run/netns";

/// A network namespace. Only the network is entered: the mounts stay, bpffs among them.
#[derive(Clone, Debug)]
pub struct NetNs {
    name: Arc<str>,
    handle: Arc<File>,
}

impl NetNs {
    pub(super) fn create(name: &str) -> Result<Self> {
        prepare_dir().with_context(|| format!("prepare {DIR}"))?;
        let path = Path::new(DIR).join(name);
        File::create_new(&path).with_context(|| format!("create {}", path.display()))?;
        // unshare() moves the calling thread, so it gets one of its own.
        in_thread(|| -> Result<()> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            bind("/proc/thread-self/ns/net", &path)?;
            Ok(())
        })
        .with_context(|| format!("make the network namespace {name}"))?;
        let handle = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        Ok(Self { name: name.into(), handle: Arc::new(handle) })
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// For `nsenter --net=PATH`; `ip netns exec` would hide bpffs.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new(DIR).join(&*self.name)
    }

    /// Runs `work` on a thread inside the namespace and waits for it. Sockets made there stay there, whoever uses them later.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        in_thread(|| {
            self.enter().with_context(|| format!("enter the network namespace {}", self.name))?;
            work()
        })
    }

    /// Like [`NetNs::run`] for a future, on a runtime of one thread.
    pub fn block_on<T: Send, F: Future<Output = Result<T>>>(
        &self,
        work: impl FnOnce() -> F + Send,
    ) -> Result<T> {
        self.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(work())
        })
    }

    /// A command that will run inside the namespace and die with this process.
    /// Start it with [`super::Lab::spawn`], or wait for it on the thread that starts it: the kernel's
    /// parent-death signal means the *thread*.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let (netns, parent) = (self.clone(), Pid::this());
        // SAFETY: between fork and exec the closure makes four system calls (sigprocmask, setns, prctl, getppid);
        // it neither allocates nor takes a lock: the handle was opened before.
        unsafe {
            command.pre_exec(move || {
                // Whoever builds the lab may have its signals blocked; its children must not.
                nix::sys::signal::SigSet::all().thread_unblock()?;
                netns.enter()?;
                nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
                if getppid() == parent { Ok(()) } else { Err(Errno::ESRCH.into()) }
            });
        }
        command
    }

    pub(super) fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// Moves the calling thread, for good.
    pub(crate) fn enter(&self) -> io::Result<()> {
        Ok(setns(&*self.handle, CloneFlags::CLONE_NEWNET)?)
    }
}

/// Names of all namespaces, ours or not.
pub(super) fn list() -> Result<Vec<String>> {
    match fs::read_dir(DIR) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("read {DIR}")),
    }
}

pub(super) fn delete(name: &str) -> Result<()> {
    let path = Path::new(DIR).join(name);
    match umount2(&path, MntFlags::MNT_DETACH) {
        // EINVAL: a file without a mount, of a run that was killed between the two steps.
        Ok(()) | Err(Errno::EINVAL) => {}
        Err(error) => return Err(error).with_context(|| format!("unmount {}", path.display())),
    }
    fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))
}

/// The folder must be a shared mount, else a namespace lives on in every mount namespace that was copied meanwhile.
fn prepare_dir() -> Result<()> {
    fs::create_dir_all(DIR)?;
    let share = || mount(None::<&str>, DIR, None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>);
    match share() {
        Err(Errno::EINVAL) => {
            bind(DIR, Path::new(DIR))?;
            Ok(share()?)
        }
        result => Ok(result?),
    }
}

fn bind(source: &str, target: &Path) -> nix::Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
}

/// Runs `work` on a fresh thread; a panic there goes on here.
fn in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
}
