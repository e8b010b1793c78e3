//! How answers are printed.

use std::io::{self, IsTerminal as _, Write as _};

use clap::ValueEnum;
use serde::Serialize;

use super::fault::Fault;

/// Form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// For programs: exact numbers
    Json,
    /// Likewise
    Yaml,
}

impl Format {
    /// The answer in this form; `table` writes it for people.
    pub(super) fn text<A: Serialize>(
        self,
        answer: &A,
        table: impl FnOnce(&A) -> String,
    ) -> Result<String, Fault> {
        let failed =
            |error: &dyn std::fmt::Display| Fault::Failed(format!("cannot write the answer: {error}"));
        match self {
            Self::Table => Ok(table(answer)),
            Self::Json => {
                serde_json::to_string_pretty(answer).map(|text| text + "\n").map_err(|error| failed(&error))
            }
            Self::Yaml => serde_yaml::to_string(answer).map_err(|error| failed(&error)),
        }
    }
}

/// Text of these lines.
pub(super) fn lines(lines: &[String]) -> String {
    lines.join("\n") + "\n"
}

/// Writes to standard output, whose reader may be gone.
pub(super) fn print(text: &str) -> Result<(), Fault> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Tells on standard error what is no mistake, but perhaps not meant.
pub(super) fn warn(warnings: &[String]) -> Result<(), Fault> {
    let mut err = io::stderr().lock();
    for warning in warnings {
        writeln!(err, "warning: {warning}")?;
    }
    Ok(())
}

/// Whether standard output shows colours.
pub(super) fn colours() -> bool {
    io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none()
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
