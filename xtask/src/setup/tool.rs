//! Folders below `target/tools`: made aside, renamed when complete.
//!
//! The folder's name says the versions, so a folder that is there is complete and of the right
//! version, and nothing else has to be asked.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context as _, Result};

use crate::workspace;

/// Where a tool lies, there or not.
pub(crate) fn dir(name: &str) -> PathBuf {
    workspace::tools().join(name)
}

/// Lets `make` fill an empty folder and gives it its name when that has worked.
pub(crate) fn install(name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    install_below(&workspace::tools(), name, make)
}

fn install_below(tools: &Path, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let aside = tools.join(format!(".making-{name}-{}", process::id()));
    fs::create_dir_all(&aside).with_context(|| format!("cannot make {}", aside.display()))?;
    let result = make(&aside).and_then(|()| give_name(&aside, &tools.join(name)));
    if result.is_err() {
        // The first error is the one to tell.
        drop(fs::remove_dir_all(&aside));
    }
    result
}

fn give_name(aside: &Path, place: &Path) -> Result<()> {
    if place.exists() {
        fs::remove_dir_all(place).with_context(|| format!("cannot remove {}", place.display()))?;
    }
    fs::rename(aside, place).with_context(|| format!("cannot make {}", place.display()))
}

/// Removes what killed calls left; nobody else is at work, as set-up holds the lock.
pub(crate) fn sweep() {
    let Ok(entries) = fs::read_dir(workspace::tools()) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(".making-") {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn empty(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("xtask-{name}-{}", process::id()));
        drop(fs::remove_dir_all(&dir));
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn a_tool_that_could_not_be_made_leaves_nothing() {
        let tools = empty("leaves-nothing");
        let made = install_below(&tools, "linker-1", |dir| {
            fs::write(dir.join("half"), "half")?;
            Err(anyhow!("no network"))
        });
        assert_eq!(made.unwrap_err().to_string(), "no network");
        assert_eq!(fs::read_dir(&tools).unwrap().count(), 0);
        fs::remove_dir_all(tools).unwrap();
    }

    #[test]
    fn a_complete_tool_takes_the_place_of_the_old() {
        let tools = empty("takes-place");
        for text in ["old", "new"] {
            install_below(&tools, "linker-1", |dir| Ok(fs::write(dir.join("file"), text)?)).unwrap();
        }
        assert_eq!(fs::read_to_string(tools.join("linker-1/file")).unwrap(), "new");
        assert_eq!(fs::read_dir(&tools).unwrap().count(), 1);
        fs::remove_dir_all(tools).unwrap();
    }
}
