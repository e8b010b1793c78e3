//! Runs other programs, tells what takes long, and gives errors that name the command.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// How much of a failed program's output is shown.
const TAIL_LINES: usize = 30;

/// The cargo that called us, else the one in `PATH`.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// Builds a program of a pinned version, with the versions that it was released with, below `root`.
pub(crate) fn cargo_install(package: &str, version: &str, root: &Path) -> Command {
    let mut cargo = cargo();
    cargo
        .args(["install", package, "--version", version, "--locked", "--root"])
        .arg(root)
        // It builds in a temporary folder of its own, and with none of what is set for our code.
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTFLAGS")
        // Debug information would double its size and add a third to the time.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    cargo
}

/// Runs to the end with our own output; an error when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// Becomes that program, so that its exit code is ours, and whoever stops us stops it. Comes back only
/// if it cannot be started.
pub(crate) fn exec(command: &mut Command) -> Result<()> {
    let error = command.exec();
    Err(error).with_context(|| cannot_start(command))
}

/// What the program printed; an error with the end of its error output when it fails.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| cannot_start(command))?;
    if !output.status.success() {
        bail!("`{}` failed ({})\n{}", line(command), output.status, tail(&output.stdout, &output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Does something that may take long: a line before it, a line with its time after it, and its
/// output only when it fails.
pub(crate) fn slowly(what: &str, how_long: &str, command: &mut Command) -> Result<()> {
    println!("{what} ({how_long})");
    let start = Instant::now();
    capture(command).with_context(|| format!("{what}: failed after {}", time(start.elapsed())))?;
    println!("{what}: done in {}", time(start.elapsed()));
    Ok(())
}

/// Whether `PATH`, or one of the folders that users' `PATH`s often lack, has this program.
pub(crate) fn has(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).any(|dir| dir.join(program).is_file())
}

/// `1.4 s`, `2 min 5 s`.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} min {} s", seconds / 60, seconds % 60)
    }
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`", line(command))
}

fn line(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    words.join(" ")
}

fn tail(stdout: &[u8], stderr: &[u8]) -> String {
    let text = if stderr.is_empty() { stdout } else { stderr };
    let text = String::from_utf8_lossy(text);
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("warning: ")).collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_like_speech() {
        assert_eq!(time(Duration::from_millis(1_440)), "1.4 s");
        assert_eq!(time(Duration::from_secs(125)), "2 min 5 s");
    }

    #[test]
    fn only_the_end_of_a_long_output_is_shown() {
        let long: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let shown = tail(long.join("\n").as_bytes(), b"");
        assert!(shown.starts_with("70\n") && shown.ends_with("99"), "{shown}");
    }
}
