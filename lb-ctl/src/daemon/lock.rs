//! One daemon for each state directory and for each set of pins: locks that the kernel gives back
//! when their holder dies.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Held for as long as it lives.
#[derive(Debug)]
pub(super) struct Lock {
    _file: Flock<File>,
}

/// Why the lock could not be had.
#[derive(Debug)]
pub(super) enum Busy {
    /// Another daemon has it: `process 4711`.
    Held(String),
    Unusable(io::Error),
}

impl Lock {
    /// Makes the state directory if it is missing, and takes its lock.
    pub(super) fn take(state_dir: &Path) -> Result<Self, Busy> {
        DirBuilder::new().recursive(true).mode(0o700).create(state_dir)?;
        fs::set_permissions(state_dir, Permissions::from_mode(0o700))?;
        let path = state_dir.join("lock");
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                file.set_len(0)?;
                write!(*file, "{}", std::process::id())?;
                Ok(Self { _file: file })
            }
            Err((file, Errno::EWOULDBLOCK)) => Err(Busy::Held(holder(file))),
            Err((_, error)) => Err(Busy::Unusable(error.into())),
        }
    }

    /// Takes the lock of a folder of pins, where no file can be; `None` if another daemon has it.
    pub(super) fn of_pins(pin_dir: &Path) -> io::Result<Option<Self>> {
        match Flock::lock(File::open(pin_dir)?, FlockArg::LockExclusiveNonblock) {
            Ok(folder) => Ok(Some(Self { _file: folder })),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(error.into()),
        }
    }
}

impl From<io::Error> for Busy {
    fn from(error: io::Error) -> Self {
        Self::Unusable(error)
    }
}

/// A daemon writes its process id into the lock that it holds.
fn holder(mut file: File) -> String {
    let mut pid = String::new();
    match file.read_to_string(&mut pid) {
        Ok(_) if !pid.is_empty() => format!("process {pid}"),
        _ => "just starting or ending".to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test says where it stopped")]
mod tests {
    use super::*;

    #[test]
    fn the_second_learns_who_the_first_is() {
        let folder = std::env::temp_dir().join(format!("lbctl-lock-{}", std::process::id()));
        let first = Lock::take(&folder).unwrap();
        let Err(Busy::Held(holder)) = Lock::take(&folder) else { panic!("two have it") };
        assert_eq!(holder, format!("process {}", std::process::id()));
        drop(first);
        Lock::take(&folder).unwrap();
        let pins = Lock::of_pins(&folder).unwrap();
        assert!(pins.is_some() && Lock::of_pins(&folder).unwrap().is_none());
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        fs::remove_dir_all(folder).unwrap();
    }
}
