//! The configuration on disk, so that a daemon that starts again knows what to keep in force.
//!
//! `applied.json` is what was applied last. While an apply is under way it holds the new
//! configuration, and `previous.json` what was in force before; a kill at any moment leaves one of
//! both whole. `previous.json` is there at a start only if an apply was cut short.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::api::types::{Apply, Source};

/// The files of a state directory; whoever has its lock may use them.
#[derive(Debug, Clone)]
pub(super) struct Store {
    folder: PathBuf,
}

impl Store {
    pub(super) fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// What was applied last, if anything ever was.
    pub(super) fn applied(&self) -> io::Result<Option<Vec<Source>>> {
        read(&self.path("applied.json"))
    }

    /// What was in force before an apply that was cut short; no sources if nothing was.
    pub(super) fn cut_short(&self) -> io::Result<Option<Vec<Source>>> {
        read(&self.path("previous.json"))
    }

    /// Makes `sources` what a daemon that starts puts into force. After an apply that was cut short,
    /// what was in force before it stays to go back to.
    pub(super) fn begin(&self, sources: &[Source]) -> io::Result<()> {
        if !self.path("previous.json").exists() {
            // What cannot be read is nothing to go back to.
            let before = self.applied().ok().flatten().unwrap_or_default();
            self.write("previous.json", &before)?;
        }
        self.write("applied.json", sources)
    }

    /// It is in force.
    pub(super) fn commit(&self) -> io::Result<()> {
        remove(&self.path("previous.json"))?;
        self.sync()
    }

    /// It is not; what was before is again.
    pub(super) fn roll_back(&self) -> io::Result<()> {
        match self.cut_short()? {
            Some(before) if !before.is_empty() => {
                fs::rename(self.path("previous.json"), self.path("applied.json"))?;
            }
            _ => {
                remove(&self.path("applied.json"))?;
                remove(&self.path("previous.json"))?;
            }
        }
        self.sync()
    }

    /// Replaces a file as a whole, and returns once it would survive a loss of power.
    fn write(&self, name: &str, sources: &[Source]) -> io::Result<()> {
        let unfinished = self.path("unfinished.json");
        let written = File::create(&unfinished).and_then(|mut file| {
            file.write_all(&serde_json::to_vec(&Apply { sources: sources.to_vec() })?)?;
            file.sync_all()
        });
        written.map_err(|error| named(&unfinished, &error))?;
        let path = self.path(name);
        fs::rename(&unfinished, &path).map_err(|error| named(&path, &error))?;
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn read(path: &Path) -> io::Result<Option<Vec<Source>>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(named(path, &error)),
    };
    let apply: Apply = serde_json::from_slice(&bytes).map_err(|error| named(path, &error.into()))?;
    Ok(Some(apply.sources))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(named(path, &error)),
        _ => Ok(()),
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says where it stopped")]
mod tests {
    use super::*;

    struct Scratch(Store);

    impl Scratch {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("lbctl-store-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Self(Store::in_folder(&folder))
        }

        fn files(&self) -> Vec<String> {
            let entries = self.0.folder.read_dir().unwrap();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0.folder).unwrap();
        }
    }

    fn sources(text: &str) -> Vec<Source> {
        vec![Source { name: "lb.yaml".to_owned(), text: text.to_owned() }]
    }

    #[test]
    fn what_is_committed_is_there_and_nothing_else() {
        let scratch = Scratch::new("commit");
        let store = &scratch.0;
        assert_eq!(store.applied().unwrap(), None);
        for text in ["one", "two"] {
            store.begin(&sources(text)).unwrap();
            store.commit().unwrap();
            assert_eq!(store.applied().unwrap(), Some(sources(text)));
            assert_eq!(scratch.files(), ["applied.json"]);
        }
    }

    #[test]
    fn what_failed_leaves_what_was_before() {
        let scratch = Scratch::new("back");
        let store = &scratch.0;
        store.begin(&sources("first")).unwrap();
        assert_eq!(store.cut_short().unwrap(), Some(vec![]));
        store.roll_back().unwrap();
        assert_eq!(scratch.files(), Vec::<String>::new());
        store.begin(&sources("one")).unwrap();
        store.commit().unwrap();
        store.begin(&sources("two")).unwrap();
        assert_eq!(store.applied().unwrap(), Some(sources("two")));
        assert_eq!(store.cut_short().unwrap(), Some(sources("one")));
        store.roll_back().unwrap();
        assert_eq!(store.applied().unwrap(), Some(sources("one")));
        assert_eq!(scratch.files(), ["applied.json"]);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let scratch = Scratch::new("bad");
        fs::write(scratch.0.path("applied.json"), "{").unwrap();
        let error = scratch.0.applied().unwrap_err().to_string();
        assert!(error.contains("applied.json: EOF while parsing"), "{error}");
    }
}
