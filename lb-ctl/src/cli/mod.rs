//! The command line: one file per verb.

mod apply;
mod detach;
mod fault;
pub mod input;
mod instance;
mod logs;
mod nat;
mod output;
mod serve;
mod status;
mod table;
mod validate;
mod version;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use fault::Fault;
use instance::Instance;

pub use status::{View, render};

/// A layer-4 load balancer in the kernel (XDP): daemon and client.
///
/// `lbctl serve` runs the daemon; the other verbs talk to it. Traffic flows in the kernel and goes on
/// while no daemon runs. Several instances can live on one host, each in its own network namespace.
#[derive(Debug, Parser)]
#[command(name = "lbctl", bin_name = "lbctl", version, max_term_width = 100, propagate_version = false, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    instance: Instance,
    #[command(subcommand)]
    verb: Verb,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 the input is wrong, 3 the daemon is not reachable.

First steps:
  sudo lbctl serve &                  start the daemon
  sudo lbctl apply -f lb.yaml         put a configuration into force
  sudo lbctl status --watch           see what it does";

#[derive(Debug, Subcommand)]
enum Verb {
    Serve(serve::Arguments),
    Apply(apply::Arguments),
    Validate(validate::Arguments),
    Status(status::Arguments),
    Nat(nat::Arguments),
    /// Remove program, links and maps of an instance whose daemon does not run; as root
    Detach,
    Version(version::Arguments),
}

/// Does what the command line says.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version come this way too.
        Err(error) => error.exit(),
    };
    let done = match cli.verb {
        Verb::Serve(arguments) => serve::run(&cli.instance, arguments),
        Verb::Apply(arguments) => apply::run(&cli.instance, &arguments),
        Verb::Validate(arguments) => validate::run(&arguments),
        Verb::Status(arguments) => status::run(&cli.instance, &arguments),
        Verb::Nat(arguments) => nat::run(&cli.instance, &arguments),
        Verb::Detach => detach::run(&cli.instance),
        Verb::Version(arguments) => version::run(&cli.instance, &arguments),
    };
    done.map_or_else(Fault::tell, |()| ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_agrees_with_itself() {
        Cli::command().debug_assert();
    }
}
