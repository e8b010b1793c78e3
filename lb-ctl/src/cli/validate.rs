//! `lbctl validate`: checks a configuration, without daemon and without root.

use std::path::PathBuf;

use clap::Args;

use super::fault::Fault;
use super::input::read_sources;
use super::output::{Format, print, warn};
use crate::config::{self, Config, Source};

/// Check a configuration and report everything that is wrong with it; needs neither daemon nor root
///
/// What is right but perhaps not meant is told on standard error, and the exit code is 0.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// File or folder, or - for standard input; may be given several times, all are merged
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// json and yaml write the configuration with all defaults
    #[arg(short, long, default_value = "table")]
    output: Format,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Fault> {
    let (sources, config) = load(&arguments.files)?;
    warn(&config.warnings())?;
    print(&arguments.output.text(&config, |config| summary(&sources, config))?)
}

/// Reads and checks; the report goes into the fault.
pub(super) fn load(files: &[PathBuf]) -> Result<(Vec<Source>, Config), Fault> {
    let sources = read_sources(files).map_err(|error| Fault::Input(error.to_string()))?;
    let config = config::load(&sources).map_err(|errors| Fault::Report(errors.to_string()))?;
    Ok((sources, config))
}

fn summary(sources: &[Source], config: &Config) -> String {
    let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    let backends = config.pools().iter().map(|pool| pool.backends.len()).sum();
    let counts = [
        count(config.rules().len(), "rule"),
        count(config.frontends().len(), "frontend"),
        count(config.pools().len(), "pool"),
        count(backends, "backend"),
        count(config.probes().len(), "probe"),
    ];
    format!("{}: valid: {}\n", names.join(", "), counts.join(", "))
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
