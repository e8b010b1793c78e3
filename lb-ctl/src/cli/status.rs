//! `lbctl status`: what there is and how it does.

mod render;
mod watch;

use clap::Args;

use super::fault::Fault;
use super::instance::{Instance, wait_for};
use super::output::{Format, colours, print};

pub use render::{View, render};

/// Show rules, members, interfaces and what happens to packets
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Form of the answer
    #[arg(short, long, default_value = "table")]
    output: Format,
    /// Show it again and again, each second or at the interval given, until Ctrl-C
    #[arg(short, long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = seconds)]
    watch: Option<f64>,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if (0.1..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("0.1 to 3600 seconds".to_owned()) }
}

pub(super) fn run(instance: &Instance, arguments: &Arguments) -> Result<(), Fault> {
    let client = instance.client();
    wait_for(async {
        if let Some(seconds) = arguments.watch {
            return watch::run(&client, arguments.output, std::time::Duration::from_secs_f64(seconds)).await;
        }
        let status = client.status().await?;
        let view = View { colours: colours(), width: None };
        print(&arguments.output.text(&status, |status| render(status, view))?)
    })
}
