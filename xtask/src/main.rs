//! `cargo xtask`: everything that a developer runs.

mod bench;
mod build;
mod check;
mod ci;
mod run;
mod setup;
mod shell;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

/// Set-up, build, tests, lab and bench of the load balancer.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Bring what the build and the tests need, and do nothing when it is there
    Setup(setup::Args),
    /// Build the eBPF object and lbctl
    Build(build::Args),
    /// Show the load balancer at work in a lab of network namespaces
    Run(run::Args),
    /// Run all tests that need no other kernel, set-up included
    Test(test::Args),
    /// Measure what a packet costs in the XDP program
    Bench(bench::Args),
    /// Check what a reviewer would have to remember
    Check,
    /// Run all that has to hold before a change is merged
    Ci(ci::Args),
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Setup(args) => setup::main(&args),
        Command::Build(args) => build::main(&args),
        Command::Run(args) => run::main(&args),
        Command::Test(args) => test::main(&args),
        Command::Bench(args) => bench::main(&args),
        Command::Check => check::run(),
        Command::Ci(args) => ci::main(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One cause a line, without the backtrace that RUST_BACKTRACE would add.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
