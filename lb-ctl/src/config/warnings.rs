//! What the operator should know about a configuration that is valid all the same.

use std::collections::BTreeMap;

use super::model::{Config, Distribution, Protocol, Rule};

impl Config {
    /// One line each; `validate`, `apply` and `status` show them.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for rule in self.rules() {
            warnings.extend(closed(rule));
            warnings.extend(contradicted(rule));
            if self.pool_of(rule).backends.is_empty() {
                warnings.push(format!("rule {}: pool {} has no backend", rule.name, self.pool_of(rule).name));
            }
        }
        warnings.extend(parted(self));
        warnings
    }
}

fn closed(rule: &Rule) -> Option<String> {
    let cause = match rule.access.entries() {
        _ if !rule.access.is_closed() => return None,
        [] => "it has no access list; nobody can use it",
        _ => "its access list allows nobody",
    };
    Some(format!("rule {}: closed, because {cause}", rule.name))
}

fn contradicted(rule: &Rule) -> Option<String> {
    let [(entry, earlier), rest @ ..] = rule.access.contradicted() else { return None };
    let more = if rest.is_empty() { String::new() } else { format!(", and so with {} more", rest.len()) };
    Some(format!(
        "rule {}: {} never counts, because {} comes before it{more}; write the narrower one first",
        rule.name,
        rule.access.entries()[*entry],
        rule.access.entries()[*earlier]
    ))
}

/// S-DIST-5: a service of TCP and UDP together, such as RD Gateway, needs both at one member. One
/// line for a frontend and a pool.
fn parted(config: &Config) -> Vec<String> {
    let mut firsts = BTreeMap::<(usize, usize), [Option<&Rule>; 2]>::new();
    let parting = |rule: &&Rule| rule.distribution == Distribution::SourceIpProtocol;
    for rule in config.rules().iter().filter(parting) {
        let pair = firsts.entry((rule.frontend, rule.pool)).or_default();
        match rule.protocol {
            Protocol::Tcp => pair[0].get_or_insert(rule),
            Protocol::Udp => pair[1].get_or_insert(rule),
        };
    }
    let told = |pair: &[Option<&Rule>; 2]| {
        let [Some(tcp), Some(udp)] = pair else { return None };
        Some(format!(
            "rules {} and {}: source-ip-protocol may send the TCP and the UDP of one client to different \
             backends; write \"distribution: source-ip\" in both if they belong together",
            tcp.name, udp.name
        ))
    };
    firsts.values().filter_map(told).collect()
}
