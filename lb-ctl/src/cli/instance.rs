//! Which instance a command is about, and where its things are.

use std::path::PathBuf;

use clap::Args;

use super::fault::Fault;
use crate::api::client::Client;

/// Places not named follow from the instance's name.
#[derive(Debug, Clone, Args)]
pub(super) struct Instance {
    /// Name of the load balancer, if this host has several
    #[arg(id = "instance", long = "instance", global = true, env = "LBCTL_INSTANCE", default_value = "default", value_name = "NAME",
          value_parser = checked, hide_env_values = true, help_heading = "Instance")]
    pub(super) name: String,
    /// Socket of the daemon [default: /run/lbctl/INSTANCE.sock]
    #[arg(
        long,
        global = true,
        env = "LBCTL_SOCKET",
        value_name = "PATH",
        hide_env_values = true,
        help_heading = "Instance"
    )]
    socket: Option<PathBuf>,
    /// Where the daemon keeps what was applied [default: /var/lib/lbctl/INSTANCE]
    #[arg(
        long,
        global = true,
        env = "LBCTL_STATE_DIR",
        value_name = "PATH",
        hide_env_values = true,
        help_heading = "Instance"
    )]
    state_dir: Option<PathBuf>,
    /// Where program, links and maps are pinned, in bpffs [default: /sys/fs/bpf/lbctl/INSTANCE]
    #[arg(
        long,
        global = true,
        env = "LBCTL_PIN_DIR",
        value_name = "PATH",
        hide_env_values = true,
        help_heading = "Instance"
    )]
    pin_dir: Option<PathBuf>,
}

impl Instance {
    pub(super) fn socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| format!("/run/lbctl/{}.sock", self.name).into())
    }

    pub(super) fn state_dir(&self) -> PathBuf {
        self.state_dir.clone().unwrap_or_else(|| format!("/var/lib/lbctl/{}", self.name).into())
    }

    pub(super) fn pin_dir(&self) -> PathBuf {
        self.pin_dir.clone().unwrap_or_else(|| format!("/sys/fs/bpf/lbctl/{}", self.name).into())
    }

    pub(super) fn client(&self) -> Client {
        Client::new(&self.socket())
    }
}

/// A name becomes part of paths.
fn checked(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(fits) {
        return Err("a name has 1 to 64 letters, digits, - and _".to_owned());
    }
    Ok(text.to_owned())
}

/// Runs what talks to the daemon.
pub(super) fn wait_for<T>(work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Fault::Failed(format!("cannot start: {error}")))?.block_on(work)
}
