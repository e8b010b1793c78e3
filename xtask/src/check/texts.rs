//! No file names a mirror, a registry's host or one developer's machine: the package managers'
//! own settings say where packages come from.

use super::{File, Finding};

/// What is looked for, each cut in two so that this file does not find itself.
const FORBIDDEN: [(&str, &str); 11] = [
    ("index.crates", ".io"),
    ("static.crates", ".io"),
    ("static.rust-lang", ".org"),
    ("deb.debian", ".org"),
    ("security.debian", ".org"),
    ("ftp.debian", ".org"),
    ("archive.ubuntu", ".com"),
    ("arti", "factory"),
    ("/wo", "rk/"),
    ("/tmp/", "lbt"),
    ("/root/", "."),
];

pub(crate) fn check(files: &[File]) -> Vec<Finding> {
    files.iter().flat_map(in_file).collect()
}

fn in_file(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (n, line) in file.text.lines().enumerate() {
        for (one, two) in FORBIDDEN {
            let word = format!("{one}{two}");
            if line.contains(&word) {
                let what = format!("names \"{word}\", which holds on one machine or network only");
                findings.push(Finding::at_line(&file.path, n + 1, what));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_found_with_its_line() {
        let host = ["deb.debian", ".org"].concat();
        let file = File { path: "README.md".into(), text: format!("one\ndeb http://{host}/debian\n") };
        assert_eq!(check(&[file])[0].place, "README.md:2");
    }

    #[test]
    fn ordinary_text_is_none() {
        let file = File { path: "README.md".into(), text: "work/ and https://docs.rs/aya\n".into() };
        assert!(check(&[file]).is_empty());
    }
}
