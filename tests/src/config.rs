//! `lb.yaml` for tests, from what a test wants to change about it.

use std::fmt::Write as _;

use crate::lab::{FRONTEND, Lab};

/// One rule to one of two pools that have the same members by default.
#[derive(Debug, Clone)]
pub struct LabConfig {
    /// Members of the lab: in the pool or not, weight, `adminState`.
    pub members: Vec<LabMember>,
    /// `a` or `b`: which pool the rule names. Pool `b` lacks the first member.
    pub pool: char,
    pub backend_port: u16,
    pub max_members: u32,
    pub transition: &'static str,
    pub idle_timeout: &'static str,
    /// Port of `/healthz`; none for a rule without probe.
    pub probe_port: Option<u16>,
    pub no_healthy_backends: &'static str,
    pub protocol: &'static str,
    pub port: u16,
}

/// A backend of the lab as the configuration has it.
#[derive(Debug, Clone)]
pub struct LabMember {
    pub name: String,
    pub address: std::net::Ipv4Addr,
    pub listed: bool,
    pub weight: u16,
}

impl LabConfig {
    /// All backends of the lab behind TCP port 80.
    #[must_use]
    pub fn new(lab: &Lab) -> Self {
        let member = |backend: &crate::lab::Backend| LabMember {
            name: backend.name().to_owned(),
            address: backend.address(),
            listed: true,
            weight: 1,
        };
        Self {
            members: lab.backends().iter().map(member).collect(),
            pool: 'a',
            backend_port: 8080,
            max_members: 40,
            transition: "6s",
            idle_timeout: "2s",
            probe_port: Some(9000),
            no_healthy_backends: "drop",
            protocol: "tcp",
            port: 80,
        }
    }

    /// Whether the rule's pool has this member.
    #[must_use]
    pub fn serves(&self, index: usize) -> bool {
        self.members[index].listed && (self.pool == 'a' || index > 0)
    }

    /// The file.
    #[must_use]
    pub fn yaml(&self) -> String {
        let mut text = format!("version: 1\nfrontends: [{{ name: web, address: {FRONTEND} }}]\npools:\n");
        for pool in ['a', 'b'] {
            let _ = writeln!(
                text,
                "  - name: {pool}\n    maxMembers: {}\n    transition: {}\n    backends:",
                self.max_members, self.transition
            );
            for member in self.members.iter().skip(usize::from(pool == 'b')).filter(|member| member.listed) {
                let _ = writeln!(
                    text,
                    "      - {{ name: {}, address: {}, weight: {} }}",
                    member.name, member.address, member.weight
                );
            }
        }
        if let Some(port) = self.probe_port {
            let _ = writeln!(
                text,
                "probes: [{{ name: web, protocol: http, port: {port}, path: /healthz, interval: 200ms, timeout: 200ms, threshold: 2, noHealthyBackends: {} }}]",
                self.no_healthy_backends
            );
        }
        let probe = if self.probe_port.is_some() { ", probe: web" } else { "" };
        let _ = writeln!(
            text,
            "rules:\n  - {{ name: web, frontend: web, protocol: {}, port: {}, pool: {}, backendPort: {}{probe}, idleTimeout: {}, access: [{{ allow: 0.0.0.0/0 }}] }}",
            self.protocol, self.port, self.pool, self.backend_port, self.idle_timeout
        );
        text
    }
}
