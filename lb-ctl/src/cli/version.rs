//! `lbctl version`: of this client, and of the daemon.

use clap::Args;
use lb_common::abi::ABI_VERSION;
use serde::Serialize;

use super::fault::Fault;
use super::instance::{Instance, wait_for};
use super::output::{Format, print};
use crate::api::types::Version;

/// Show the versions of this client and of the daemon, if one is reachable
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Form of the answer
    #[arg(short, long, default_value = "table")]
    output: Format,
}

#[derive(Serialize)]
struct Versions {
    client: Client,
    /// Absent if none is reachable.
    #[serde(skip_serializing_if = "Option::is_none")]
    daemon: Option<Version>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreachable: Option<String>,
}

#[derive(Serialize)]
struct Client {
    version: &'static str,
    abi: u32,
}

pub(super) fn run(instance: &Instance, arguments: &Arguments) -> Result<(), Fault> {
    let client = Client { version: env!("CARGO_PKG_VERSION"), abi: ABI_VERSION };
    let asked = wait_for(async { Ok(instance.client().version().await) })?;
    let (daemon, unreachable) = match asked {
        Ok(version) => (Some(version), None),
        Err(error) => (None, Some(error.to_string())),
    };
    print(&arguments.output.text(&Versions { client, daemon, unreachable }, summary)?)
}

fn summary(versions: &Versions) -> String {
    let Versions { client, daemon, unreachable } = versions;
    let mut text = format!("client  {} (maps: ABI {})\n", client.version, client.abi);
    if let Some(daemon) = daemon {
        text += &format!(
            "daemon  {} (maps: ABI {}), instance {}, process {}\n",
            daemon.version, daemon.abi, daemon.instance, daemon.pid
        );
        if (client.version, client.abi) != (daemon.version.as_str(), daemon.abi) {
            text += "they differ: stop the daemon and start lbctl serve of this version; traffic goes on meanwhile\n";
        }
    }
    if let Some(why) = unreachable {
        text += &format!("daemon  {why}\n");
    }
    text
}
