//! The socket of the API: root's alone, and never another daemon's.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use super::Error;

/// The socket's place; it is cleared when the daemon ends, so that clients read at once that none runs.
#[derive(Debug)]
pub(super) struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!(%error, "cannot remove {}; the next daemon does", self.0.display());
        }
    }
}

/// Binds the socket with mode 0600. What a killed daemon left there is removed.
pub(super) fn bind(path: &Path) -> Result<(UnixListener, Place), Error> {
    let cannot = |error: io::Error| {
        Error::Input(format!(
            "cannot listen at {}: {error}\n  make its folder writable, or name another with --socket",
            path.display()
        ))
    };
    make_folder(path).map_err(cannot)?;
    remove_stale(path, &cannot)?;
    let listener = UnixListener::bind(path).map_err(cannot)?;
    let place = Place(path.to_owned());
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(cannot)?;
    Ok((listener, place))
}

/// The folder may be looked into by everybody; one that is there already stays as it is.
fn make_folder(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists())
    else {
        return Ok(());
    };
    DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o755))
}

fn remove_stale(path: &Path, cannot: &impl Fn(io::Error) -> Error) -> Result<(), Error> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(cannot(error)),
    };
    if !found.file_type().is_socket() {
        let what = io::Error::other("there is a file that is no socket, which stays untouched");
        return Err(cannot(what));
    }
    if UnixStream::connect(path).is_ok() {
        return Err(Error::Input(format!(
            "another daemon answers at {}\n  stop that one first, or name another socket with --socket",
            path.display()
        )));
    }
    fs::remove_file(path).map_err(cannot)
}
