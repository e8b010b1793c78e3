//! What outlives the daemon: `maps/<name>`, `links/<ifindex>-<mode>` and `prog` in a folder of bpffs.
//!
//! `prog` is pinned last. A folder without it was left by a killed first start: nothing is
//! attached yet, so it may be removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lb_common::abi::map;
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::error;
use crate::dataplane::{Attachment, Error};

const MOUNT_POINT: &str = "/sys/fs/bpf";

/// Paths below the pin folder.
#[derive(Debug, Clone)]
pub(super) struct Pins {
    dir: PathBuf,
}

/// What a pin folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Half,
    All,
}

/// A pinned link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LinkPin {
    pub(super) ifindex: u32,
    pub(super) attachment: Attachment,
    pub(super) path: PathBuf,
}

impl Pins {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    pub(super) fn maps(&self) -> PathBuf {
        self.dir.join("maps")
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    pub(super) fn program(&self) -> PathBuf {
        self.dir.join("prog")
    }

    /// Where a new program is pinned before it takes the place of the old one.
    pub(super) fn next_program(&self) -> PathBuf {
        self.dir.join("prog-next")
    }

    pub(super) fn link(&self, ifindex: u32, attachment: Attachment) -> PathBuf {
        let mode = match attachment {
            Attachment::Native => "native",
            Attachment::Generic => "generic",
        };
        self.dir.join("links").join(format!("{ifindex}-{mode}"))
    }

    pub(super) fn found(&self) -> Result<Found, Error> {
        let exists = |path: &Path| path.try_exists().map_err(|cause| self.trouble("look into", &cause));
        Ok(match (exists(&self.dir)?, exists(&self.program())?) {
            (false, _) => Found::Nothing,
            (true, false) => Found::Half,
            (true, true) => Found::All,
        })
    }

    /// Makes the folders, after making sure that they will lie in bpffs.
    pub(super) fn create(&self) -> Result<(), Error> {
        self.ensure_bpffs()?;
        [self.maps(), self.dir.join("links")]
            .iter()
            .try_for_each(fs::create_dir_all)
            .map_err(|cause| self.trouble("make", &cause))
    }

    /// The links that are pinned, whether their interfaces are there or not.
    pub(super) fn links(&self) -> Result<Vec<LinkPin>, Error> {
        let entries = match fs::read_dir(self.dir.join("links")) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|cause| self.trouble("look into", &cause))?,
        };
        let mut links = Vec::new();
        for entry in entries {
            let path = entry.map_err(|cause| self.trouble("look into", &cause))?.path();
            links.extend(parse_link(path));
        }
        links.sort_by_key(|link| link.ifindex);
        Ok(links)
    }

    /// Removes program, maps and folders; the links must have gone.
    pub(super) fn remove(&self) -> Result<(), Error> {
        let maps = self.pinned_maps().map_err(|cause| self.trouble("look into", &cause))?;
        [self.next_program(), self.program()]
            .into_iter()
            .chain(maps)
            .try_for_each(|path| unless_absent(fs::remove_file(path)))
            .and_then(|()| {
                let folders = [self.dir.join("links"), self.maps(), self.dir.clone()];
                folders.iter().try_for_each(|folder| unless_absent(fs::remove_dir(folder)))
            })
            .map_err(|cause| self.trouble("remove", &cause))
    }

    /// The maps that are there. Another version's are among them: those, too, must go to make room.
    fn pinned_maps(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(self.maps()) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
        let ours = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(map::PREFIX)
        };
        Ok(paths.into_iter().filter(ours).collect())
    }

    fn ensure_bpffs(&self) -> Result<(), Error> {
        if self.dir.components().any(|part| part.as_os_str().to_string_lossy().contains('.')) {
            return Err(Error::Setup {
                what: format!("cannot pin in {}", self.dir.display()),
                cause: "bpffs allows no dot in names".to_owned(),
                cure: "choose another --pin-dir or --instance".to_owned(),
            });
        }
        if self.is_bpffs()? {
            return Ok(());
        }
        if self.dir.starts_with(MOUNT_POINT) {
            mount(Some("bpf"), MOUNT_POINT, Some("bpf"), MsFlags::empty(), None::<&str>).map_err(
                |cause| {
                    let cause = io::Error::from(cause);
                    let cure = format!("mount it: mount -t bpf bpf {MOUNT_POINT}");
                    error::setup(format!("bpffs is not mounted at {MOUNT_POINT}"), &cause, cure)
                },
            )?;
            return Ok(());
        }
        Err(Error::Setup {
            what: format!("cannot pin in {}", self.dir.display()),
            cause: "it does not lie in bpffs".to_owned(),
            cure: format!("choose a --pin-dir below {MOUNT_POINT}, or mount one: mount -t bpf bpf FOLDER"),
        })
    }

    fn is_bpffs(&self) -> Result<bool, Error> {
        let nearest = self.dir.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
        let filesystem =
            statfs(nearest).map_err(|cause| self.trouble("look into", &io::Error::from(cause)))?;
        Ok(filesystem.filesystem_type() == BPF_FS_MAGIC)
    }

    fn trouble(&self, verb: &str, cause: &io::Error) -> Error {
        let what = format!("cannot {verb} the pin folder {}", self.dir.display());
        error::setup(what, cause, "see what is in it, or choose another with --pin-dir")
    }
}

fn unless_absent(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn parse_link(path: PathBuf) -> Option<LinkPin> {
    let (ifindex, mode) = path.file_name()?.to_str()?.split_once('-')?;
    let attachment = match mode {
        "native" => Attachment::Native,
        "generic" => Attachment::Generic,
        _ => return None,
    };
    Some(LinkPin { ifindex: ifindex.parse().ok()?, attachment, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_says_its_interface_and_mode() {
        let pins = Pins::new(Path::new("/sys/fs/bpf/lb"));
        let path = pins.link(7, Attachment::Native);
        assert_eq!(path, Path::new("/sys/fs/bpf/lb/links/7-native"));
        let link = LinkPin { ifindex: 7, attachment: Attachment::Native, path: path.clone() };
        assert_eq!(parse_link(path), Some(link));
        assert_eq!(parse_link("/sys/fs/bpf/lb/links/eth0".into()), None);
    }

    #[test]
    fn a_folder_outside_bpffs_is_refused_with_a_cure() {
        let message = Pins::new(Path::new("/tmp/lb")).create().unwrap_err().to_string();
        assert!(message.contains("does not lie in bpffs") && message.contains("mount -t bpf"), "{message}");
        let message = Pins::new(Path::new("/sys/fs/bpf/a.b")).create().unwrap_err().to_string();
        assert!(message.contains("no dot"), "{message}");
    }
}
