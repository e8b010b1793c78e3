//! How a verb fails: what is said on standard error, and the exit code.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use crate::api::client::Error;
use crate::api::types::Failure;

/// Why a verb did not do what was asked.
#[derive(Debug)]
pub(super) enum Fault {
    /// It should have worked: exit code 1.
    Failed(String),
    /// The input is wrong: exit code 2.
    Input(String),
    /// Mistakes of a file, each on a line that begins with its place: exit code 2.
    Report(String),
    /// No daemon answers: exit code 3.
    Unreachable(String),
    /// Whoever read the output has gone: nobody is left to complain to.
    NobodyListens,
}

impl Fault {
    pub(super) fn tell(self) -> ExitCode {
        let (code, text) = match self {
            Self::Failed(text) => (1, Some(error(&text))),
            Self::Input(text) => (2, Some(error(&text))),
            Self::Report(text) => (2, Some(text)),
            Self::Unreachable(text) => (3, Some(error(&text))),
            Self::NobodyListens => (0, None),
        };
        if let Some(text) = text {
            // Without standard error, the exit code is all that can be said.
            let _ = writeln!(io::stderr(), "{text}");
        }
        ExitCode::from(code)
    }
}

fn error(text: &str) -> String {
    if io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        format!("\x1b[1;31merror:\x1b[0m {text}")
    } else {
        format!("error: {text}")
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(Failure { kind, message }) => match kind.as_str() {
                "invalid" | "request" => Self::Input(message),
                _ => Self::Failed(message),
            },
            Error::Unreachable { .. } | Error::NotPermitted { .. } => Self::Unreachable(error.to_string()),
            Error::TooSlow { .. } | Error::Broken { .. } => Self::Failed(error.to_string()),
        }
    }
}

impl From<io::Error> for Fault {
    /// Of writing to standard output.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::NobodyListens
        } else {
            Self::Failed(format!("cannot write to standard output: {error}"))
        }
    }
}
