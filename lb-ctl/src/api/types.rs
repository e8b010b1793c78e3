//! What goes over the socket, version 1. Everything here is JSON, and printed as JSON or YAML by
//! `lbctl -o`. Fields are added, never changed or taken away, within a version.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Answer to `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub instance: String,
    pub version: String,
    /// Counts applies since the daemon started; 0 before the first.
    pub generation: u64,
    /// Seconds since the daemon started.
    pub uptime_seconds: u64,
    pub interfaces: Vec<Interface>,
    #[serde(default)]
    pub frontends: Vec<Frontend>,
    pub rules: Vec<Rule>,
    #[serde(default)]
    pub nat_rules: Vec<NatRule>,
    pub members: Vec<Member>,
    pub exceptions: Exceptions,
    pub tracked: Tracked,
    /// Packets by reason, since the maps were made; reasons that never came are left out.
    pub reasons: BTreeMap<String, Packets>,
    /// Counts of events, likewise.
    pub events: BTreeMap<String, u64>,
    /// Things that the operator should know, worst first; empty when all is well.
    pub warnings: Vec<String>,
}

/// An interface that XDP watches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Interface {
    pub name: String,
    pub ifindex: u32,
    /// `native` or `generic`.
    pub mode: String,
}

/// A frontend, and how hosts find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Frontend {
    pub name: String,
    pub address: IpAddr,
    /// `announced` on some link; `waiting` until it is; `own`: the host's, whose kernel answers; `routed`:
    /// in no network of the host's; `quiet`: `announce` is `none`; `unused`: without any rule.
    pub state: String,
    /// Links whose network has the address, where that matters.
    pub links: Vec<FrontendLink>,
}

/// A frontend on one of the links that it lies on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontendLink {
    /// Of the interface.
    pub name: String,
    /// `announced`; `contested`: announced, and somebody else says that he has it; `taken`: somebody else
    /// has it; `asking` whether that is so; `down`; `unwatched`: XDP is not attached.
    pub state: String,
    /// Hardware address of who else has it.
    pub other: Option<String>,
}

/// Packets and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Packets {
    pub packets: u64,
    pub bytes: u64,
}

/// A rule and what it does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    pub name: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    pub address: IpAddr,
    /// A port, a range or `all`, as in the file.
    pub ports: String,
    pub pool: String,
    /// At the members, likewise.
    pub backend_ports: String,
    pub distribution: String,
    /// Why the rule keeps an entry for each flow, if it does.
    pub tracking: Option<String>,
    /// `open`, `closed` or `listed`.
    pub access: String,
    pub members: usize,
    pub accepting: usize,
    pub inbound: Packets,
    pub replies: Packets,
    /// Connections opened.
    pub opened: u64,
    /// Per second, over the last seconds.
    pub opened_per_second: f64,
    /// Per second, both directions, over the last seconds.
    pub packets_per_second: f64,
    pub transition: Option<Transition>,
}

/// A NAT rule and what it does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NatRule {
    pub name: String,
    /// `tcp`, `udp` or `all`.
    pub protocol: String,
    pub address: IpAddr,
    /// A port or a range, as in the file.
    pub ports: String,
    pub pool: String,
    /// The one member, if it is not to each of the pool.
    pub member: Option<String>,
    pub backend_port: u16,
    /// `open`, `closed` or `listed`.
    pub access: String,
    /// Ports that a member has.
    pub used: usize,
    /// Ports that are held for connections of members that have left.
    pub held: usize,
    /// Ports that there are.
    pub room: usize,
    pub inbound: Packets,
    pub replies: Packets,
    /// Connections opened.
    pub opened: u64,
    /// Per second, over the last seconds.
    pub opened_per_second: f64,
    /// Per second, both directions, over the last seconds.
    pub packets_per_second: f64,
}

/// Answer to `GET /v1/nat`: which port of each NAT rule goes to which member, by rule and port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Nat {
    pub mappings: Vec<NatMapping>,
}

/// A port of a NAT rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NatMapping {
    pub rule: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    pub address: IpAddr,
    pub frontend_port: u16,
    pub pool: String,
    /// Absent if it has left.
    pub member: Option<String>,
    pub member_address: IpAddr,
    pub backend_port: u16,
    /// `serving`, or `held`: for connections of a member that has left, until the transition is over.
    pub state: String,
    pub transition: Option<Transition>,
}

/// A rule between two views.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    /// Until the old view is given up.
    pub seconds_left: u64,
    /// How often it was prolonged because an exception could not be stored.
    pub prolonged: u32,
}

/// A member of a pool, once for each probe that judges it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    pub pool: String,
    pub name: String,
    pub address: IpAddr,
    pub weight: u16,
    /// The probe that judges it, if any rule of the pool has one.
    pub probe: Option<String>,
    /// `up`, `down` or `unknown`: whether it takes new connections, and if not, whether that is known.
    pub state: String,
    /// Why: "connection refused", "HTTP 503", "admin state down".
    pub reason: String,
    /// Seconds in this state.
    pub since_seconds: Option<u64>,
    /// Connections opened to it.
    pub opened: u64,
    /// Next hop as `MAC on INTERFACE`, or why there is none.
    pub next_hop: String,
    /// The way that packets get to it, as in the file.
    pub forwarding: String,
    /// Clients whose address it does not see: those of its own link, as `10.0.1.0/24`, or `all`.
    pub hides: Option<String>,
    /// Addresses of ours that their packets leave from.
    pub sources: Vec<IpAddr>,
}

/// Flows with entries of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tracked {
    /// Both ends have spoken.
    pub flows: u64,
    /// Flows that there is room for.
    pub room: u64,
    /// One end has spoken yet.
    pub opening: u64,
}

/// Exceptions in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exceptions {
    /// Proven and alive.
    pub confirmed: u64,
    pub confirmed_room: u64,
    /// Waiting for their proof, and alive.
    pub pending: u64,
    pub pending_room: u64,
}

/// A source file of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub name: String,
    pub text: String,
}

/// Body of `POST /v1/apply`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Apply {
    pub sources: Vec<Source>,
}

/// Answer to `POST /v1/apply`: the configuration is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    pub generation: u64,
    /// One line a change, empty if the file says what was in force already.
    pub changes: Vec<String>,
    /// Things to know about it, such as a rule that nobody may use.
    pub warnings: Vec<String>,
    pub microseconds: u64,
}

/// Answer to `GET /v1/version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    pub version: String,
    /// Version of the maps' layout.
    pub abi: u32,
    pub instance: String,
    pub pid: u32,
}

/// Answer to any request that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// `invalid` (the input is wrong), `failed` (it could not be carried out) or `request` (the
    /// request itself is malformed, too large or too slow).
    pub kind: String,
    /// For people: what is wrong, where, and what to do.
    pub message: String,
}
