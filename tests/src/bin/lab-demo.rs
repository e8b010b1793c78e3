//! `cargo xtask run`: the load balancer at work in a lab, and proof that it is.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lb_tests::demo::{self, Demo};

/// Show the load balancer at work between a client and three backends in network namespaces.
#[derive(Parser)]
struct Cli {
    /// End after the demonstration; 0 only if every claim held
    #[arg(long)]
    exit: bool,
    /// The program under test
    #[arg(long)]
    lbctl: PathBuf,
    /// The configuration that it serves
    #[arg(long)]
    config: PathBuf,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = demo::stop_on_signals().and_then(|()| {
        let mut demo = Demo::start(&cli.lbctl, &cli.config)?;
        demo.show()?;
        if !cli.exit {
            demo.stay()?;
        }
        demo.end()
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
