//! One server of the lab as a process of its own.

use clap::Parser;
use lb_tests::server::Args;

#[derive(Parser)]
#[command(about)]
struct Cli {
    #[command(flatten)]
    server: Args,
}

fn main() -> anyhow::Result<()> {
    Cli::parse().server.run()
}
