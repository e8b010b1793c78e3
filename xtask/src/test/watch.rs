//! Runs a test program, shows what it prints as it comes, and reads the result out of it.

use std::{
    io::{Read as _, Write as _},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use super::summary::Count;

pub(crate) fn run(command: &mut Command) -> Result<Count> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let mut printed = Vec::new();
    let mut out = child.stdout.take().context("a test program has no output")?;
    let mut chunk = [0; 4096];
    // Not by lines: the name of a running test is the start of an unfinished one.
    loop {
        let length = out.read(&mut chunk).context("cannot read a test program's output")?;
        if length == 0 {
            break;
        }
        let mut terminal = std::io::stdout().lock();
        terminal.write_all(&chunk[..length]).and_then(|()| terminal.flush())?;
        printed.extend_from_slice(&chunk[..length]);
    }
    let status = child.wait().context("cannot wait for a test program")?;
    let mut count = read(&String::from_utf8_lossy(&printed));
    if !status.success() && count.failed == 0 {
        // Killed, or a panic outside of a test: it has no line, and must not pass as nothing.
        println!("the test program ended with {status}");
        count.failed = 1;
    }
    Ok(count)
}

/// Sums up `test result: ok. 3 passed; 0 failed; 1 ignored; ...`; documentation has one a package.
fn read(printed: &str) -> Count {
    let mut count = Count::default();
    for line in printed.lines() {
        let Some(result) = line.strip_prefix("test result: ") else {
            continue;
        };
        let number = |what: &str| {
            let before = result.split(what).next()?;
            before.split_whitespace().last()?.parse::<usize>().ok()
        };
        count.passed += number(" passed").unwrap_or(0);
        count.failed += number(" failed").unwrap_or(0);
        count.ignored += number(" ignored").unwrap_or(0);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_packages_add_up() {
        let printed = "test a ... ok\n\
            test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.1s\n\
            test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";
        assert_eq!(read(printed), Count { passed: 7, failed: 2, ignored: 1 });
    }

    #[test]
    fn a_program_that_dies_counts_as_a_failure() {
        let count = run(Command::new("sh").args(["-c", "kill -9 $$"])).unwrap();
        assert_eq!(count, Count { passed: 0, failed: 1, ignored: 0 });
    }
}
