//! What the operator should know about a configuration that is valid all the same.

use std::collections::BTreeMap;

use super::access::Access;
use super::model::{Config, Distribution, Protocol, Rule};

impl Config {
    /// One line each; `validate`, `apply` and `status` show them.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for rule in self.rules() {
            warnings.extend(about_access(&format!("rule {}", rule.name), &rule.access));
            if self.pool_of(rule).backends.is_empty() {
                warnings.push(format!("rule {}: pool {} has no backend", rule.name, self.pool_of(rule).name));
            }
        }
        for rule in self.nat_rules() {
            warnings.extend(about_access(&format!("NAT rule {}", rule.name), &rule.access));
            if self.members_of_nat(rule).is_empty() {
                let pool = &self.pool_of_nat(rule).name;
                warnings.push(format!("NAT rule {}: pool {pool} has no backend", rule.name));
            }
        }
        warnings.extend(parted(self));
        warnings
    }
}

fn about_access(rule: &str, access: &Access) -> impl Iterator<Item = String> {
    closed(rule, access).into_iter().chain(contradicted(rule, access))
}

fn closed(rule: &str, access: &Access) -> Option<String> {
    let cause = match access.entries() {
        _ if !access.is_closed() => return None,
        [] => "it has no access list; nobody can use it",
        _ => "its access list allows nobody",
    };
    Some(format!("{rule}: closed, because {cause}"))
}

fn contradicted(rule: &str, access: &Access) -> Option<String> {
    let [(entry, earlier), rest @ ..] = access.contradicted() else { return None };
    let more = if rest.is_empty() { String::new() } else { format!(", and so with {} more", rest.len()) };
    Some(format!(
        "{rule}: {} never counts, because {} comes before it{more}; write the narrower one first",
        access.entries()[*entry],
        access.entries()[*earlier]
    ))
}

/// S-DIST-5: a service of TCP and UDP together, such as RD Gateway, needs both at one member. One
/// line for a frontend and a pool.
fn parted(config: &Config) -> Vec<String> {
    let mut firsts = BTreeMap::<(usize, usize), [Option<&Rule>; 2]>::new();
    let parting = |rule: &&Rule| rule.distribution == Distribution::SourceIpProtocol;
    for rule in config.rules().iter().filter(parting) {
        let pair = firsts.entry((rule.frontend, rule.pool)).or_default();
        for protocol in rule.protocols.each() {
            match protocol {
                Protocol::Tcp => pair[0].get_or_insert(rule),
                Protocol::Udp => pair[1].get_or_insert(rule),
            };
        }
    }
    let told = |pair: &[Option<&Rule>; 2]| {
        let [Some(tcp), Some(udp)] = pair else { return None };
        let (rules, there) = if tcp.name == udp.name {
            (format!("rule {}", tcp.name), "")
        } else {
            (format!("rules {} and {}", tcp.name, udp.name), " in both")
        };
        Some(format!(
            "{rules}: source-ip-protocol may send the TCP and the UDP of one client to different backends; \
             write \"distribution: source-ip\"{there} if they belong together"
        ))
    };
    firsts.values().filter_map(told).collect()
}
