//! Shows the status again and again.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use serde::Serialize as _;
use terminal_size::{Height, Width, terminal_size};
use tokio::signal::ctrl_c;
use tokio::time::{MissedTickBehavior, interval};

use super::{View, render};
use crate::api::client::Client;
use crate::api::types::Status;
use crate::cli::fault::Fault;
use crate::cli::output::{Format, colours, print};

/// Until Ctrl-C, or until nobody reads it any more.
pub(super) async fn run(client: &Client, format: Format, every: Duration) -> Result<(), Fault> {
    tokio::select! {
        ended = again_and_again(client, format, every) => ended,
        interrupted = ctrl_c() => {
            interrupted.map_err(|error| Fault::Failed(format!("cannot wait for Ctrl-C: {error}")))
        }
    }
}

async fn again_and_again(client: &Client, format: Format, every: Duration) -> Result<(), Fault> {
    let on_screen = io::stdout().is_terminal() && format == Format::Table;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut first = true;
    loop {
        ticks.tick().await;
        let text = match client.status().await {
            Ok(status) if on_screen => {
                screen(&render(&status, View { colours: colours(), width: width() }), first)
            }
            Ok(status) => plain(&status, format, first)?,
            // On a screen the daemon may go and come back.
            Err(error) if on_screen && !first => screen(&format!("{error}\n"), false),
            Err(error) => return Err(error.into()),
        };
        print(&text)?;
        first = false;
    }
}

/// For a file or a program: a record after the other.
fn plain(status: &Status, format: Format, first: bool) -> Result<String, Fault> {
    match format {
        Format::Table => {
            let gap = if first { "" } else { "\n" };
            Ok(gap.to_owned() + &render(status, View { colours: false, width: None }))
        }
        Format::Json => {
            let mut line = Vec::new();
            let written = status.serialize(&mut serde_json::Serializer::new(&mut line));
            written.map_err(|error| Fault::Failed(format!("cannot write the answer: {error}")))?;
            Ok(String::from_utf8_lossy(&line).into_owned() + "\n")
        }
        Format::Yaml => Ok("---\n".to_owned() + &format.text(status, |_| String::new())?),
    }
}

/// Over what was there before, without flicker: each line ends by clearing its rest.
fn screen(text: &str, first: bool) -> String {
    let begin = if first { "\x1b[2J\x1b[H" } else { "\x1b[H" };
    let room = terminal_size().map_or(usize::MAX, |(_, Height(rows))| usize::from(rows).max(2) - 1);
    let lines: Vec<&str> = text.lines().take(room).collect();
    format!("{begin}{}\x1b[K\n\x1b[J", lines.join("\x1b[K\n"))
}

fn width() -> Option<usize> {
    terminal_size().map(|(Width(columns), _)| usize::from(columns))
}
