//! `cargo xtask check`: what a reviewer would have to remember.

mod conformance;
mod imports;
mod length;
mod packages;
mod reasons;
mod rooms;
mod texts;

use std::{fmt, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{shell, workspace};

/// A tracked file, with its path as git says it.
pub(crate) struct File {
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|end| end == "rs")
    }

    /// Code that is there for tests alone.
    fn is_test(&self) -> bool {
        let names = ["tests", "tests.rs", "testkit", "testkit.rs", "benches", "fuzz"];
        self.path.split('/').any(|part| names.contains(&part))
    }
}

/// Something that must not be so, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    place: String,
    what: String,
}

impl Finding {
    fn at_line(path: &str, line: usize, what: String) -> Self {
        Self { place: format!("{path}:{line}"), what }
    }

    fn in_file(path: &str, what: String) -> Self {
        Self { place: path.to_owned(), what }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.place, self.what)
    }
}

/// Runs all checks and tells all findings.
pub(crate) fn run() -> Result<()> {
    let files = tracked()?;
    let mut findings = packages::check()?;
    findings.extend(rooms::check(&files));
    findings.extend(reasons::check(&files));
    findings.extend(conformance::check(&files));
    findings.extend(length::check(&files));
    findings.extend(texts::check(&files));
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} finding(s) in the repository", findings.len());
    }
    println!("{} files keep the rules of ARCHITECTURE.md", files.len());
    Ok(())
}

/// All text that git tracks, or would track: a new file is checked before it is added.
fn tracked() -> Result<Vec<File>> {
    let root = workspace::root();
    let mut git = Command::new("git");
    git.current_dir(&root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let list = shell::capture(&mut git)?;
    let mut paths: Vec<&str> = list.split('\0').filter(|path| !path.is_empty()).collect();
    paths.dedup();
    let mut files = Vec::new();
    for path in paths {
        if let Some(text) = read(&root.join(path))? {
            files.push(File { path: path.to_owned(), text });
        }
    }
    Ok(files)
}

/// Nothing for what is no text (a corpus of frames), or deleted and not yet committed.
fn read(path: &Path) -> Result<Option<String>> {
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8(bytes).ok())
}
