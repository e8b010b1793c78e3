//! Reads the files, folders and standard input that `-f` names.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::config::Source;

/// No configuration is larger; the daemon would refuse it.
const MOST_BYTES: u64 = 16 << 20;

/// Why the input could not be read; says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("cannot read {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{} has no file that ends in .yaml, .yml or .json; name a file or another folder", path.display())]
    EmptyFolder { path: PathBuf },
    #[error("{} has more than {} MiB; split it, or check that it is the right file", path.display(), MOST_BYTES >> 20)]
    TooLarge { path: PathBuf },
    #[error("{} is not UTF-8 text (byte {offset}); save it as UTF-8", path.display())]
    NotText { path: PathBuf, offset: usize },
    #[error("standard input (-) can be read only once; give -f - a single time")]
    StandardInputTwice,
}

/// The text of each path in order: a file, a folder (its `.yaml`, `.yml` and `.json` files by name,
/// without subfolders and hidden files) or `-` for standard input.
pub fn read_sources(paths: &[PathBuf]) -> Result<Vec<Source>, InputError> {
    let mut sources = Vec::new();
    let mut standard_input_read = false;
    for path in paths {
        if path.as_os_str() == "-" {
            sources.push(standard_input(&mut standard_input_read)?);
        } else if path.is_dir() {
            for file in folder(path)? {
                sources.push(open(&file)?);
            }
        } else {
            sources.push(open(path)?);
        }
    }
    Ok(sources)
}

fn standard_input(read_before: &mut bool) -> Result<Source, InputError> {
    if std::mem::replace(read_before, true) {
        return Err(InputError::StandardInputTwice);
    }
    source(Path::new("-"), io::stdin().lock())
}

fn folder(path: &Path) -> Result<Vec<PathBuf>, InputError> {
    let unreadable = |error| InputError::Unreadable { path: path.to_owned(), error };
    let mut files = Vec::new();
    for entry in path.read_dir().map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let ours =
            file.extension().is_some_and(|ending| ending == "yaml" || ending == "yml" || ending == "json");
        if ours && !hidden && !file.is_dir() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(InputError::EmptyFolder { path: path.to_owned() });
    }
    files.sort();
    Ok(files)
}

fn open(path: &Path) -> Result<Source, InputError> {
    let file = File::open(path).map_err(|error| InputError::Unreadable { path: path.to_owned(), error })?;
    source(path, file)
}

fn source(path: &Path, reader: impl Read) -> Result<Source, InputError> {
    let mut bytes = Vec::new();
    reader
        .take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| InputError::Unreadable { path: path.to_owned(), error })?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(InputError::TooLarge { path: path.to_owned() });
    }
    let text = String::from_utf8(bytes).map_err(|error| InputError::NotText {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to() + 1,
    })?;
    Ok(Source { name: path.display().to_string(), text })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says where it stopped")]
mod tests {
    use std::fs;

    use super::*;

    /// A folder of its own, removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("lbctl-input-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, bytes).unwrap();
            path
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn refusal(path: PathBuf) -> String {
        read_sources(&[path]).unwrap_err().to_string()
    }

    #[test]
    fn a_folder_gives_its_files_by_name_and_nothing_else() {
        let folder = Scratch::new("folder");
        for name in ["b.yml", "a.yaml", "c.json", ".hidden.yaml", "notes.txt"] {
            folder.file(name, name);
        }
        fs::create_dir(folder.0.join("sub.yaml")).unwrap();
        let extra = folder.file("notes.txt", "given by name");
        let sources = read_sources(&[extra.clone(), folder.0.clone()]).unwrap();
        let texts: Vec<&str> = sources.iter().map(|source| source.text.as_str()).collect();
        assert_eq!(texts, ["given by name", "a.yaml", "b.yml", "c.json"]);
        assert_eq!(sources[0].name, extra.display().to_string());
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let folder = Scratch::new("refusals");
        assert!(refusal(folder.0.clone()).contains("no file that ends in .yaml"));
        assert!(refusal(folder.0.join("none.yaml")).contains("No such file"));
        assert!(refusal(folder.file("latin.yaml", b"ab\xe9")).contains("not UTF-8 text (byte 3)"));
        let large = folder.file("large.yaml", "");
        File::options().write(true).open(&large).unwrap().set_len(MOST_BYTES + 1).unwrap();
        assert!(refusal(large).contains("more than 16 MiB"));
    }

    #[test]
    fn standard_input_is_read_once() {
        let error = standard_input(&mut true).unwrap_err();
        assert!(matches!(error, InputError::StandardInputTwice));
    }
}
