//! The lab: client, balancer and backends, each in its own network namespace.
//!
//! ```text
//!   client  198.51.100.2.. ─── 198.51.100.1  balancer  10.0.1.1 ─── 10.0.1.11  b1
//!   eth0                       client                  b1           eth0
//!                                                      10.0.2.1 ─── 10.0.2.11  b2 ...
//! ```
//!
//! The balancer is the gateway of everybody; its own default route leads to the client, which stands for
//! the internet and does not forward: answers to invented sources end there, and nobody resets them.

mod claim;
mod ethtool;
mod family;
mod links;
mod namespace;
mod process;

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddrV4},
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

pub use ethtool::statistics;
pub(crate) use ethtool::statistics_here;
pub use family::Family;
pub use links::xdp_modes;
pub use namespace::NetNs;
pub use process::Process;

use claim::{Claim, Claimed};

/// First address of the client; further ones follow.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// The balancer's address on the client's link.
pub const BALANCER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The address that `examples/lab.yaml` serves. No interface has it.
pub const FRONTEND: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// Prefix for invented sources (RFC 2544): no host of the lab has an address in it.
pub const SPOOFED: (Ipv4Addr, u8) = (Ipv4Addr::new(198, 18, 0, 0), 15);
/// Name of the balancer's interface towards the client.
pub const CLIENT_LINK: &str = "client";
/// Name of the only interface of the client and of every backend.
pub const HOST_LINK: &str = "eth0";

/// How many hosts a lab has.
#[derive(Clone, Copy, Debug)]
pub struct Topology {
    pub backends: u8,
    /// Addresses of the client, from [`CLIENT`] upwards.
    pub client_addresses: u8,
}

impl Default for Topology {
    fn default() -> Self {
        Self { backends: 3, client_addresses: 4 }
    }
}

/// What hosts of a lab speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Families {
    /// No neighbour discovery among the frames that tests count.
    Ipv4,
    Both,
}

/// The IPv6 address that stands beside an IPv4 address of a dual-stack lab: `fd00::10.0.1.11`.
#[must_use]
pub fn twin(address: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(address.to_bits()))
}

/// A backend's place in the lab.
#[derive(Clone, Debug)]
pub struct Backend {
    netns: NetNs,
    name: String,
    address: Ipv4Addr,
    number: u8,
}

impl Backend {
    /// `b1`, `b2`, ...: the host's name and that of the balancer's interface towards it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn netns(&self) -> &NetNs {
        &self.netns
    }

    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    #[must_use]
    pub fn socket(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.address, port)
    }

    /// Hardware address of its interface, as the lab was built.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        links::host_mac(self.number)
    }

    /// Hardware address of the balancer's interface towards it.
    #[must_use]
    pub fn gateway_mac(&self) -> [u8; 6] {
        links::balancer_mac(self.number)
    }
}

/// A running lab. Dropping it takes everything down again, [`Lab::teardown`] also tells how that went.
pub struct Lab {
    claim: Option<Claim>,
    client: NetNs,
    balancer: NetNs,
    backends: Vec<Backend>,
    topology: Topology,
    children: Mutex<Vec<process::Shared>>,
}

impl Lab {
    /// Builds the lab `name`; removes first what a killed owner of that name left.
    pub fn new(name: &str, topology: Topology) -> Result<Self> {
        Self::build(name, topology, Families::Ipv4)
    }

    /// The same with the [`twin`] of each address and route beside it.
    pub fn dual_stack(name: &str, topology: Topology) -> Result<Self> {
        Self::build(name, topology, Families::Both)
    }

    fn build(name: &str, topology: Topology, families: Families) -> Result<Self> {
        ensure!(
            nix::unistd::geteuid().is_root(),
            "a lab needs root: network namespaces and veth pairs; run it with sudo"
        );
        ensure!(
            topology.backends >= 1 && topology.client_addresses >= 1,
            "a lab needs a backend and a client address"
        );
        raise_file_limit().context("raise the limit of open files")?;
        let claim = Claim::wait_for(name)?;
        claim.clean().with_context(|| format!("clean what an earlier lab `{name}` left"))?;
        // From here on an error drops the claim, and that cleans.
        let client = NetNs::create(&claim.namespace("client"))?;
        let balancer = NetNs::create(&claim.namespace("balancer"))?;
        let backends = (1..=topology.backends)
            .map(|n| {
                let name = format!("b{n}");
                let netns = NetNs::create(&claim.namespace(&name))?;
                Ok(Backend { netns, name, address: links::backend_address(n), number: n })
            })
            .collect::<Result<Vec<_>>>()?;
        links::wire(&client, &balancer, &backends, topology, families)?;
        Ok(Self { claim: Some(claim), client, balancer, backends, topology, children: Mutex::default() })
    }

    #[must_use]
    pub fn client(&self) -> &NetNs {
        &self.client
    }

    #[must_use]
    pub fn balancer(&self) -> &NetNs {
        &self.balancer
    }

    #[must_use]
    pub fn backends(&self) -> &[Backend] {
        &self.backends
    }

    /// All addresses of the client.
    pub fn client_addresses(&self) -> impl Iterator<Item = Ipv4Addr> + use<> {
        links::client_addresses(self.topology.client_addresses)
    }

    /// Hardware address of the balancer's interface towards the client: where the client's frames go.
    #[must_use]
    pub fn gateway_mac(&self) -> [u8; 6] {
        links::balancer_mac(0)
    }

    /// Hardware address of the client's interface.
    #[must_use]
    pub fn client_mac(&self) -> [u8; 6] {
        links::host_mac(0)
    }

    /// A folder of this run for sockets, state and logs; it goes with the lab.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.claim.as_ref().map_or(Path::new(""), Claim::dir)
    }

    /// Where a daemon in this lab may pin (its `--pin-dir`); it goes with the lab.
    #[must_use]
    pub fn pin_dir(&self) -> PathBuf {
        self.claim.as_ref().map(Claim::pin_dir).unwrap_or_default()
    }

    /// Starts `command` (from [`NetNs::command`]); its output goes to a file, see [`Process::log`].
    /// It is killed with the [`Process`], with the lab, and by the kernel when this process dies.
    pub fn spawn(&self, label: &str, command: Command) -> Result<Process> {
        let process = Process::spawn(label, self.dir(), command)?;
        self.children.lock().unwrap_or_else(PoisonError::into_inner).push(process.share());
        Ok(process)
    }

    /// Ends the processes of this lab and removes its namespaces, pins and files.
    pub fn teardown(mut self) -> Result<()> {
        self.take_down()
    }

    fn take_down(&mut self) -> Result<()> {
        let Some(claim) = self.claim.take() else {
            return Ok(());
        };
        for child in self.children.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            process::kill(&child)?;
        }
        claim.clean()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = self.take_down() {
            eprintln!("lab: teardown failed: {error:#}");
        }
    }
}

/// Clients and servers of thousands of connections live in this process.
fn raise_file_limit() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}

/// Removes what labs of killed processes left; the names of those labs.
pub fn clean_leftovers() -> Result<Vec<String>> {
    let mut cleaned = Vec::new();
    let entries = match fs::read_dir(claim::ROOT) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(cleaned),
        Err(error) => return Err(error).with_context(|| format!("read {}", claim::ROOT)),
    };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Claimed::Ours(claim) = Claim::take(&name)? {
            claim.clean()?;
            cleaned.push(name);
        }
    }
    Ok(cleaned)
}
