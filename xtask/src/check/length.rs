//! A file reads like a newspaper; past some length it is two ideas.

use super::{File, Finding};

const MOST: usize = 450;

pub(crate) fn check(files: &[File]) -> Vec<Finding> {
    let sources = files.iter().filter(|file| file.is_rust() && !file.is_test());
    sources.filter_map(too_long).collect()
}

fn too_long(file: &File) -> Option<Finding> {
    let lines = file.text.lines().take_while(|line| *line != "#[cfg(test)]").count();
    (lines > MOST).then(|| {
        let what = format!("{lines} lines before its tests, {MOST} is the most: split it");
        Finding::in_file(&file.path, what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: String) -> [File; 1] {
        [File { path: path.into(), text }]
    }

    #[test]
    fn tests_do_not_count() {
        let tested = format!("{}#[cfg(test)]\n{}", "x\n".repeat(450), "x\n".repeat(900));
        assert!(check(&file("lb-common/src/a.rs", tested)).is_empty());
        assert!(check(&file("tests/src/a.rs", "x\n".repeat(900))).is_empty());
    }

    #[test]
    fn a_long_file_is_found() {
        assert_eq!(check(&file("lb-common/src/a.rs", "x\n".repeat(451))).len(), 1);
    }
}
