//! `lbctl version`: of this client, and of the daemon.

use clap::Args;
use lb_common::abi::ABI_VERSION;
use serde::Serialize;

use super::fault::Fault;
use super::instance::{Instance, wait_for};
use super::output::{Format, lines, print};
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
    let mut text = vec![format!("client  {} (maps: ABI {})", client.version, client.abi)];
    if let Some(Version { version, abi, instance, pid }) = daemon {
        text.push(format!("daemon  {version} (maps: ABI {abi}), instance {instance}, process {pid}"));
        if (client.version, client.abi) != (version.as_str(), *abi) {
            text.push(DIFFERENT.to_owned());
        }
    }
    text.extend(unreachable.as_ref().map(|why| format!("daemon  {why}")));
    lines(&text)
}

const DIFFERENT: &str =
    "they differ: stop the daemon and start lbctl serve of this version; traffic goes on meanwhile";
