//! `lbctl serve`: the daemon.

use std::path::PathBuf;

use clap::Args;

use super::fault::Fault;
use super::input::read_sources;
use super::instance::Instance;
use super::logs::Log;
use crate::daemon::{self, Error, Options, Sizes};

/// Run the daemon in the foreground; as root
///
/// It attaches XDP where the configuration needs it, probes members, and answers the other verbs.
/// SIGTERM and Ctrl-C stop it; traffic goes on without it, and the next `lbctl serve` takes over
/// what it finds without losing a packet.
///
/// Without --config it puts into force what was applied last. To run it in a network namespace, enter
/// that alone: nsenter --net=/run/netns/NAME lbctl serve. (ip netns exec would hide bpffs.)
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// File or folder to put into force instead of what was applied last
    #[arg(short = 'f', long, env = "LBCTL_CONFIG", value_name = "FILE", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Remove program, links and maps at the end: traffic stops
    #[arg(long)]
    detach_on_exit: bool,
    #[command(flatten)]
    log: Log,
    #[command(flatten)]
    room: Room,
}

/// Sizes of the maps. They count when the maps are made; an instance that runs keeps its own until
/// `lbctl detach`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Room in the maps, when they are made")]
struct Room {
    /// Rules
    #[arg(long, value_name = "N", default_value_t = Sizes::default().rules,
          value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    rules: u32,
    /// Slots of all rings; a pool takes at least 4,099, and twice during a transition
    #[arg(long, value_name = "N", default_value_t = Sizes::default().slots,
          value_parser = clap::value_parser!(u32).range(1 << 14..=1 << 28))]
    slots: u32,
    /// Words of health sets; 64 members of a pool and its probe take one
    #[arg(long, value_name = "N", default_value_t = Sizes::default().health_words,
          value_parser = clap::value_parser!(u32).range(64..=1 << 24))]
    health_words: u32,
    /// Proven exceptions: connections that are not where their slot says
    #[arg(long, value_name = "N", default_value_t = Sizes::default().confirmed,
          value_parser = clap::value_parser!(u32).range(1024..=1 << 26))]
    confirmed: u32,
    /// Exceptions that wait for their proof; the oldest give way
    #[arg(long, value_name = "N", default_value_t = Sizes::default().pending,
          value_parser = clap::value_parser!(u32).range(1024..=1 << 26))]
    pending: u32,
    /// Prefixes in access lists; a list that changes takes its place twice for a moment
    #[arg(long, value_name = "N", default_value_t = Sizes::default().access,
          value_parser = clap::value_parser!(u32).range(64..=1 << 24))]
    access: u32,
    /// Entries of tracked flows, two for each; those of flows that begin have half of it beside them
    #[arg(long, value_name = "N", default_value_t = Sizes::default().tracked,
          value_parser = clap::value_parser!(u32).range(1024..=1 << 26))]
    tracked: u32,
}

pub(super) fn run(instance: &Instance, arguments: Arguments) -> Result<(), Fault> {
    arguments.log.start()?;
    let read = |file| read_sources(&[file]).map_err(|error| Fault::Input(error.to_string()));
    let Room { rules, slots, health_words, confirmed, pending, access, tracked } = arguments.room;
    let options = Options {
        instance: instance.name.clone(),
        socket: instance.socket(),
        state_dir: instance.state_dir(),
        pin_dir: instance.pin_dir(),
        configuration: arguments.config.map(read).transpose()?,
        sizes: Sizes { slots, health_words, rules, confirmed, pending, access, tracked },
        detach_on_exit: arguments.detach_on_exit,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Fault::Failed(format!("cannot start threads: {error}")))?;
    runtime.block_on(daemon::run(options)).map_err(Fault::from)
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Input(message) => Self::Input(message),
            Error::Configuration(errors) => Self::Report(errors.to_string()),
            Error::Failed(message) => Self::Failed(message),
        }
    }
}
