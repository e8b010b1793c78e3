//! Who owns a lab's name, and what has to go when the owner has gone.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::namespace;

/// A folder per lab, each with a lock that dies with its owner.
pub(super) const ROOT: &str = "/run/lb-lab";
const LONGEST_NAME: usize = 32;

/// The right to a name, held by an advisory lock: the kernel gives it up when the owner dies,
/// however it dies, and no process id has to be trusted.
pub(super) struct Claim {
    name: String,
    dir: PathBuf,
    _lock: File,
}

pub(super) enum Claimed {
    Ours(Claim),
    /// Another process lives that holds it; its id, if it has already written it down.
    Busy {
        owner: String,
    },
}

impl Claim {
    /// Takes the name, or says who has it. [`super::clean_leftovers`] of another process may have it for a moment.
    pub(super) fn wait_for(name: &str) -> Result<Self> {
        let deadline = Instant::now() + Duration::from_secs(1);
        loop {
            match Self::take(name)? {
                Claimed::Ours(claim) => return Ok(claim),
                Claimed::Busy { owner } if Instant::now() > deadline => {
                    bail!("the lab `{name}` is in use by process {owner}; end it or choose another name")
                }
                Claimed::Busy { .. } => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    pub(super) fn take(name: &str) -> Result<Claimed> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        ensure!(
            !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(plain),
            "lab name {name:?}: 1 to {LONGEST_NAME} of a-z, 0-9 and -"
        );
        let dir = Path::new(ROOT).join(name);
        let path = dir.join("owner");
        loop {
            fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
            let lock = match File::options().create(true).truncate(false).read(true).write(true).open(&path) {
                Ok(lock) => lock,
                // The last owner removed the folder between the two calls.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(error).with_context(|| format!("open {}", path.display()));
                }
            };
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Ok(Claimed::Busy { owner: fs::read_to_string(&path).unwrap_or_default() });
                }
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("lock {}", path.display()));
                }
            }
            // Locked, but is it still the file that others will find?
            if fs::metadata(&path)
                .is_ok_and(|found| lock.metadata().is_ok_and(|ours| ours.ino() == found.ino()))
            {
                lock.set_len(0)?;
                write!(&lock, "{}", std::process::id())?;
                return Ok(Claimed::Ours(Self { name: name.into(), dir, _lock: lock }));
            }
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn pin_dir(&self) -> PathBuf {
        Path::new("/sys/fs/bpf").join(format!("lb-lab-{}", self.name))
    }

    pub(super) fn namespace(&self, host: &str) -> String {
        format!("lb-{}-{host}", self.name)
    }

    /// Removes namespaces and pins of this name, and every file except the lock. Goes on after a failure, reports the first.
    pub(super) fn clean(&self) -> Result<()> {
        let mut result = Ok(());
        for name in namespace::list()? {
            // A host's name has no dash, so `lb-a-b-client` belongs to lab `a-b`, not to `a`.
            let host = name.strip_prefix(&self.namespace("")).filter(|host| !host.contains('-'));
            if host.is_some() {
                result = result.and(namespace::delete(&name));
            }
        }
        result = result.and(remove_dir(&self.pin_dir()));
        let entries = fs::read_dir(&self.dir).with_context(|| format!("read {}", self.dir.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.file_name() != Some("owner".as_ref()) {
                result = result.and(if path.is_dir() {
                    remove_dir(&path)
                } else {
                    fs::remove_file(&path).map_err(Into::into)
                });
            }
        }
        result
    }
}

/// Giving up a name removes what belongs to it; the lock goes last.
impl Drop for Claim {
    fn drop(&mut self) {
        if let Err(error) = self.clean().and_then(|()| remove_dir(&self.dir)) {
            eprintln!("lab `{}`: clean up: {error:#}", self.name);
        }
    }
}

fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("remove {}", path.display())),
    }
}
