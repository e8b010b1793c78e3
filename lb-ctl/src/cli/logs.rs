//! The daemon's log, on standard error.

use std::io::{self, IsTerminal as _};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::fault::Fault;

/// What is logged, and how.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Log")]
pub(super) struct Log {
    /// Form of the log on standard error
    #[arg(long, env = "LBCTL_LOG_FORMAT", default_value = "text", hide_env_values = true)]
    log_format: Format,
    /// error, warn, info, debug, trace, or a filter such as `info,lb_ctl::health=debug`
    #[arg(
        long,
        env = "LBCTL_LOG_LEVEL",
        default_value = "info",
        value_name = "FILTER",
        hide_env_values = true
    )]
    log_level: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Log {
    pub(super) fn start(&self) -> Result<(), Fault> {
        let filter = EnvFilter::try_new(&self.log_level).map_err(|error| {
            Fault::Input(format!(
                "--log-level {:?} is no filter: {error}\n  give error, warn, info, debug or trace",
                self.log_level
            ))
        })?;
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
        let started = match self.log_format {
            Format::Text => log.with_target(false).with_ansi(io::stderr().is_terminal()).try_init(),
            Format::Json => log.json().try_init(),
        };
        started.map_err(|error| Fault::Failed(format!("cannot start the log: {error}")))
    }
}
