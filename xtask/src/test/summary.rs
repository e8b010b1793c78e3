//! The last lines of a test run, and whether it was good.

use std::{fmt, time::Duration};

use anyhow::{Result, bail};

use super::Level;
use crate::shell;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) ignored: usize,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

/// Results by level, in the order in which the levels ran.
#[derive(Default)]
pub(crate) struct Summary {
    levels: Vec<(Level, Count, Duration)>,
    failed: Vec<String>,
}

impl Summary {
    pub(crate) fn add(&mut self, level: Level, name: &str, count: Count, took: Duration) {
        if count.failed > 0 {
            self.failed.push(name.to_owned());
        }
        let (_, sum, time) = self.entry(level);
        sum.add(count);
        *time += took;
    }

    /// Gives a level without any test program its line.
    pub(crate) fn touch(&mut self, level: Level) {
        self.entry(level);
    }

    fn entry(&mut self, level: Level) -> &mut (Level, Count, Duration) {
        let known = self.levels.iter().position(|(known, ..)| *known == level);
        let place = known.unwrap_or(self.levels.len());
        if known.is_none() {
            self.levels.push((level, Count::default(), Duration::ZERO));
        }
        &mut self.levels[place]
    }

    /// An error when a test has failed, and when a level had none: a level that ran nothing has
    /// proved nothing.
    pub(crate) fn verdict(&self, filter: Option<&str>) -> Result<()> {
        if !self.failed.is_empty() {
            bail!("tests failed in: {}", self.failed.join(", "));
        }
        let empty: Vec<String> = self
            .levels
            .iter()
            .filter(|(_, count, _)| count.passed == 0)
            .map(|(level, ..)| format!("{level:?}"))
            .collect();
        match filter {
            Some(filter) if empty.len() == self.levels.len() => {
                bail!("no test has \"{filter}\" in its name")
            }
            None if !empty.is_empty() => bail!("no tests on level: {}", empty.join(", ")),
            Some(_) | None => Ok(()),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut total = Count::default();
        for (level, count, time) in &self.levels {
            total.add(*count);
            let (name, time) = (format!("{level:?}"), shell::time(*time));
            writeln!(out, "{name:<8}{} in {time}", Line(*count))?;
        }
        write!(out, "{:<8}{}", "total", Line(total))
    }
}

struct Line(Count);

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:>5} passed, {} failed", self.0.passed, self.0.failed)?;
        if self.0.ignored > 0 {
            write!(out, ", {} ignored", self.0.ignored)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Count = Count { passed: 2, failed: 0, ignored: 0 };
    const BAD: Count = Count { passed: 1, failed: 1, ignored: 1 };

    fn summary(entries: &[(Level, Count)]) -> Summary {
        let mut summary = Summary::default();
        for (level, count) in entries {
            summary.add(*level, "lb-tests kernel", *count, Duration::from_secs(1));
        }
        summary
    }

    #[test]
    fn the_last_lines_say_all_by_level() {
        let shown = summary(&[(Level::Unit, GOOD), (Level::Unit, GOOD), (Level::Lab, BAD)]).to_string();
        assert_eq!(
            shown,
            "Unit        4 passed, 0 failed in 2.0 s\n\
             Lab         1 passed, 1 failed, 1 ignored in 1.0 s\n\
             total       5 passed, 1 failed, 1 ignored"
        );
    }

    #[test]
    fn a_failed_test_is_an_error_that_names_the_program() {
        let error = summary(&[(Level::Kernel, BAD)]).verdict(None).unwrap_err();
        assert_eq!(error.to_string(), "tests failed in: lb-tests kernel");
    }

    #[test]
    fn a_level_that_ran_nothing_is_an_error() {
        let mut none = summary(&[(Level::Unit, GOOD)]);
        none.touch(Level::Lab);
        assert_eq!(none.verdict(None).unwrap_err().to_string(), "no tests on level: Lab");
        assert!(none.verdict(Some("name")).is_ok());
    }

    #[test]
    fn a_filter_that_fits_nothing_is_an_error() {
        let none = summary(&[(Level::Unit, Count::default())]);
        assert!(none.verdict(Some("typo")).unwrap_err().to_string().contains("typo"));
    }
}
