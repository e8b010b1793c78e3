//! rust-src out of Debian's package of the same version, without touching the system: apt works
//! with lists and a source of its own, and the package is unpacked, not installed.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{setup::apt, shell};

/// Where to look; a suite that is not there is passed over. Backports keep several versions.
const SUITES: [&str; 5] = ["trixie-backports", "bookworm-backports", "testing", "unstable", "stable"];

const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/// Puts `library` into `dir`.
pub(crate) fn unpack(release: &str, dir: &Path) -> Result<()> {
    let source = Source::find()?;
    let state = dir.join("apt");
    let package = download(&source, release, &state)?;
    extract(&package, release, dir)?;
    fs::remove_dir_all(&state).with_context(|| format!("cannot remove {}", state.display()))
}

struct Source {
    mirror: String,
    keyring: &'static str,
}

impl Source {
    fn find() -> Result<Self> {
        let keyring = KEYRINGS.into_iter().find(|file| Path::new(file).is_file());
        Ok(Self {
            mirror: apt::debian_mirror().context("this machine's apt knows no Debian mirror")?,
            keyring: keyring.context("the package debian-archive-keyring is not installed")?,
        })
    }

    fn line(&self, suite: &str) -> String {
        format!("deb [signed-by={}] {} {suite} main\n", self.keyring, self.mirror)
    }
}

/// Fetches the package out of the first suite that has rustc's version.
fn download(source: &Source, release: &str, state: &Path) -> Result<PathBuf> {
    let mut unread = Vec::new();
    for suite in SUITES {
        let apt = PrivateApt::new(&state.join(suite), &source.line(suite))?;
        println!("looking for rust-src {release} in Debian's {suite}");
        if let Err(error) = shell::capture(apt.command("apt-get").arg("update")) {
            println!("{suite} cannot be read, passing on");
            unread.push(complaint(&format!("{error:#}")));
            continue;
        }
        let versions = shell::capture(apt.command("apt-cache").args(["madison", "rust-src"]))?;
        if let Some(version) = version_of(&versions, release) {
            let mut fetch = apt.command("apt-get");
            fetch.args(["download", &format!("rust-src={version}")]);
            shell::slowly(&format!("fetching rust-src {version}"), "45 MB", &mut fetch)?;
            return apt.downloaded();
        }
    }
    match unread.pop() {
        Some(last) => bail!("no suite of Debian that can be read has rust-src {release}; {last}"),
        None => bail!("no suite of Debian ({}) has rust-src {release}", SUITES.join(", ")),
    }
}

/// What apt itself says, without our command line.
fn complaint(error: &str) -> String {
    let lines: Vec<&str> = error.lines().filter(|line| line.starts_with("E: ")).collect();
    lines.join("\n")
}

/// The package's version that begins with rustc's: `1.95.0+dfsg1-2~bpo13+1` for `1.95.0`.
fn version_of(madison: &str, release: &str) -> Option<String> {
    madison
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim)
        .find(|version| {
            let rest = version.strip_prefix(release);
            rest.is_some_and(|rest| rest.starts_with(['+', '-', '~']))
        })
        .map(ToOwned::to_owned)
}

/// An apt that knows one source and keeps everything below one folder.
struct PrivateApt {
    dir: PathBuf,
}

impl PrivateApt {
    fn new(dir: &Path, source: &str) -> Result<Self> {
        for below in ["lists/partial", "cache/archives/partial", "download"] {
            let path = dir.join(below);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        let list = dir.join("sources.list");
        fs::write(&list, source).with_context(|| format!("cannot write {}", list.display()))?;
        Ok(Self { dir: dir.to_path_buf() })
    }

    fn command(&self, program: &str) -> Command {
        let mut apt = Command::new(program);
        apt.current_dir(self.dir.join("download"));
        let set = |key: &str, path: &str| {
            let mut option = OsString::from(format!("{key}="));
            option.push(self.dir.join(path));
            option
        };
        apt.arg("-o").arg(set("Dir::State::lists", "lists"));
        apt.arg("-o").arg(set("Dir::Cache", "cache"));
        apt.arg("-o").arg(set("Dir::Etc::sourcelist", "sources.list"));
        for option in [
            "Dir::Etc::sourceparts=-",
            // Only the list of packages; no descriptions, no icons.
            "Acquire::Languages=none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
            "Acquire::Retries=2",
            apt::ERRORS_COUNT,
            // apt's own user cannot enter everybody's home.
            "APT::Sandbox::User=root",
        ] {
            apt.arg("-o").arg(option);
        }
        apt
    }

    fn downloaded(&self) -> Result<PathBuf> {
        let dir = self.dir.join("download");
        let entries = fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
        entries
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|end| end == "deb"))
            .with_context(|| format!("apt has put no package into {}", dir.display()))
    }
}

/// Takes the one folder that cargo needs: 70 MB of 430.
fn extract(package: &Path, release: &str, dir: &Path) -> Result<()> {
    let mut unpack = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let tar = unpack.stdout.take().context("dpkg-deb has no output")?;
    let taken = Command::new("tar")
        .args(["--extract", "--strip-components=4", "--directory"])
        .arg(dir)
        .arg(format!("./usr/src/rustc-{release}/library"))
        .stdin(tar)
        .status()
        .context("cannot start tar")?;
    let given = unpack.wait().context("cannot wait for dpkg-deb")?;
    if !taken.success() || !given.success() {
        bail!("{} cannot be unpacked", package.display());
    }
    if !dir.join("library/Cargo.lock").is_file() {
        bail!("{} has no folder `library` where it was in other versions", package.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MADISON: &str = "\
        rust-src | 1.96.1+dfsg1-2~bpo13+1 | http://mirror trixie-backports/main amd64 Packages\n\
        rust-src | 1.95.0+dfsg1-2~bpo13+1 | http://mirror trixie-backports/main amd64 Packages\n";

    #[test]
    fn the_package_is_of_rustcs_very_version() {
        let version = version_of(MADISON, "1.95.0");
        assert_eq!(version.as_deref(), Some("1.95.0+dfsg1-2~bpo13+1"));
    }

    #[test]
    fn a_near_version_is_no_version() {
        assert_eq!(version_of(MADISON, "1.95.1"), None);
        assert_eq!(version_of(MADISON, "1.9"), None);
        assert_eq!(version_of("rust-src | 1.95.01-1 | x", "1.95.0"), None);
    }
}
