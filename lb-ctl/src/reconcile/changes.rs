//! What an apply changed, in lines for people.

mod nat;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lb_common::units::MemberId;

use crate::compile::Service;
use crate::config::access::Access;
use crate::config::model::{Announce, Config, Frontend, Pool, Ports, Rule};
use crate::state::MapState;

/// One line for each thing that changed from one configuration to the next.
pub(super) fn between(
    old: Option<&Config>,
    old_maps: &MapState,
    new: &Config,
    maps: &MapState,
) -> Vec<String> {
    let mut lines = Vec::new();
    frontends(old, new, &mut lines);
    pools(old, new, &mut lines);
    rules(old, new, &mut lines);
    nat_rules(old, new, &mut lines);
    nat::ports(old.map(|old| (old, old_maps)), (new, maps), &mut lines);
    moved(old_maps, new, maps, &mut lines);
    lines
}

/// Added, removed and changed things of a kind, by name.
fn compare<T: PartialEq>(
    kind: &str,
    old: &BTreeMap<&str, &T>,
    new: &BTreeMap<&str, &T>,
    lines: &mut Vec<String>,
    tell: impl Fn(&T, &T) -> Option<String>,
) {
    for (name, value) in new {
        match old.get(name) {
            None => lines.push(format!("{kind} {name}: added")),
            Some(before) if before == value => {}
            Some(before) => lines.extend(tell(before, value).map(|what| format!("{kind} {name}: {what}"))),
        }
    }
    lines.extend(
        old.keys().filter(|name| !new.contains_key(*name)).map(|name| format!("{kind} {name}: removed")),
    );
}

fn frontends(old: Option<&Config>, new: &Config, lines: &mut Vec<String>) {
    let named = |config: &Config| -> BTreeMap<String, Frontend> {
        config.frontends().iter().map(|frontend| (frontend.name.clone(), frontend.clone())).collect()
    };
    let (old, new) = (old.map(named).unwrap_or_default(), named(new));
    compare("frontend", &borrowed(&old), &borrowed(&new), lines, |before, after| {
        let moved = before.address != after.address;
        let moved = moved.then(|| format!("{} becomes {}", before.address, after.address));
        let told = (before.announce != after.announce).then(|| match after.announce {
            Announce::Auto => "now announced on its own link".to_owned(),
            Announce::None => "now routed only".to_owned(),
        });
        Some(moved.into_iter().chain(told).collect::<Vec<_>>().join("; "))
    });
}

fn borrowed<T>(map: &BTreeMap<String, T>) -> BTreeMap<&str, &T> {
    map.iter().map(|(name, value)| (name.as_str(), value)).collect()
}

fn pools(old: Option<&Config>, new: &Config, lines: &mut Vec<String>) {
    let old_pools: BTreeMap<&str, &Pool> =
        old.into_iter().flat_map(Config::pools).map(|pool| (pool.name.as_str(), pool)).collect();
    let new_pools: BTreeMap<&str, &Pool> =
        new.pools().iter().map(|pool| (pool.name.as_str(), pool)).collect();
    compare("pool", &old_pools, &new_pools, lines, |before, after| Some(members(before, after)));
}

fn members(before: &Pool, after: &Pool) -> String {
    let by_name = |pool: &Pool| -> BTreeMap<_, _> {
        pool.backends.iter().map(|backend| (backend.name.clone(), backend.clone())).collect()
    };
    let (old, new) = (by_name(before), by_name(after));
    let mut parts = Vec::new();
    parts.extend(new.keys().filter(|name| !old.contains_key(*name)).map(|name| format!("+{name}")));
    parts.extend(old.keys().filter(|name| !new.contains_key(*name)).map(|name| format!("-{name}")));
    for (name, backend) in &new {
        let Some(was) = old.get(name) else { continue };
        if was.address != backend.address {
            parts.push(format!("{name} moves from {} to {}", was.address, backend.address));
        }
        if was.weight != backend.weight {
            parts.push(format!("{name} weight {} becomes {}", was.weight, backend.weight));
        }
        if was.admin_state != backend.admin_state {
            parts.push(
                format!("{name} admin state {:?} becomes {:?}", was.admin_state, backend.admin_state)
                    .to_lowercase(),
            );
        }
    }
    if before.max_members != after.max_members {
        parts.push(format!("maxMembers {} becomes {}", before.max_members, after.max_members));
    }
    if before.transition != after.transition {
        parts.push(format!("transition {:?} becomes {:?}", before.transition, after.transition));
    }
    if parts.is_empty() { "order of members".to_owned() } else { parts.join(", ") }
}

fn rules(old: Option<&Config>, new: &Config, lines: &mut Vec<String>) {
    let described = |config: &Config| -> BTreeMap<String, (String, Access)> {
        let rules = config.rules().iter();
        rules.map(|rule| (rule.name.clone(), (describe(config, rule), rule.access.clone()))).collect()
    };
    let (old, new) = (old.map(described).unwrap_or_default(), described(new));
    compare("rule", &borrowed(&old), &borrowed(&new), lines, |before, after| {
        Some(with_access(before, after))
    });
}

fn nat_rules(old: Option<&Config>, new: &Config, lines: &mut Vec<String>) {
    let described = |config: &Config| -> BTreeMap<String, (String, Access)> {
        let rules = config.nat_rules().iter();
        rules.map(|rule| (rule.name.clone(), (nat::describe(config, rule), rule.access.clone()))).collect()
    };
    let (old, new) = (old.map(described).unwrap_or_default(), described(new));
    compare("NAT rule", &borrowed(&old), &borrowed(&new), lines, |before, after| {
        Some(with_access(before, after))
    });
}

/// What a rule says now, and what changed of its access list.
fn with_access(before: &(String, Access), after: &(String, Access)) -> String {
    let now = (before.0 != after.0).then(|| format!("now {}", after.0));
    let access = (before.1 != after.1).then(|| format!("access {}", access(&before.1, &after.1)));
    now.into_iter().chain(access).collect::<Vec<_>>().join("; ")
}

/// The entries that came and went, a few of each.
fn access(before: &Access, after: &Access) -> String {
    let entries =
        |access: &Access| -> BTreeSet<String> { access.entries().iter().map(ToString::to_string).collect() };
    let (old, new) = (entries(before), entries(after));
    let mut parts: Vec<String> = new.difference(&old).map(|entry| format!("+{entry}")).collect();
    parts.extend(old.difference(&new).map(|entry| format!("-{entry}")));
    let mut parts = a_few(parts);
    if before.applies_to() != after.applies_to() {
        parts.push(format!("now for {}", after.applies_to()));
    }
    if parts.is_empty() { "in another order".to_owned() } else { parts.join(", ") }
}

fn a_few(mut parts: Vec<String>) -> Vec<String> {
    const SHOWN: usize = 4;
    let more = parts.len().saturating_sub(SHOWN);
    parts.truncate(SHOWN);
    if more > 0 {
        parts.push(format!("and {more} more"));
    }
    parts
}

fn in_a_word(access: &Access) -> String {
    match access {
        access if access.is_open() => "open".to_owned(),
        access if access.is_closed() => "closed".to_owned(),
        access => format!("access list of {}", access.entries().len()),
    }
}

fn describe(config: &Config, rule: &Rule) -> String {
    let access = in_a_word(&rule.access);
    let probe = config.probe_of(rule).map_or("no probe".to_owned(), |probe| format!("probe {}", probe.name));
    format!(
        "{} {} to pool {} port {}, {}, {probe}, {access}",
        rule.protocols,
        socket(config.frontend_of(rule).address, rule.ports),
        config.pool_of(rule).name,
        rule.backend_ports(),
        rule.distribution,
    )
}

fn socket(address: IpAddr, ports: Ports) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}:{ports}"),
        IpAddr::V6(address) => format!("[{address}]:{ports}"),
    }
}

/// How much of each rule's ring changed its member, and how long old connections are carried.
fn moved(old_maps: &MapState, config: &Config, maps: &MapState, lines: &mut Vec<String>) {
    let before = super::core::in_force(old_maps);
    let after = super::core::in_force(maps);
    for rule in config.rules() {
        // Both protocols of a rule have one view.
        let mut services = Service::of_rule(config, rule);
        let both = services.find_map(|service| Some((before.get(&service)?, after.get(&service)?)));
        let Some((before, after)) = both else { continue };
        let same = (before.current.ring_base, before.current.port, before.current.mode)
            == (after.current.ring_base, after.current.port, after.current.mode);
        if same || after.old.present == 0 {
            continue;
        }
        let ring = |maps: &MapState, base: u32| maps.rings.get(&base).cloned().unwrap_or_default();
        let share = share(&ring(old_maps, before.current.ring_base), &ring(maps, after.current.ring_base));
        let carried = config.pool_of(rule).transition;
        lines.push(match share {
            Some(share) if before.current.port == after.current.port && before.current.mode == after.current.mode => {
                format!("rule {}: {share:.1} % of the ring changes member; open connections stay, carried for {carried:?}", rule.name)
            }
            _ => format!("rule {}: a new view; open connections stay with the old one, carried for {carried:?}", rule.name),
        });
    }
}

/// Percentage of slots with another member, of rings of one size.
fn share(old: &[MemberId], new: &[MemberId]) -> Option<f64> {
    if old.len() != new.len() || new.is_empty() {
        return None;
    }
    let moved = old.iter().zip(new).filter(|(old, new)| old != new).count();
    #[allow(clippy::cast_precision_loss, reason = "at most 131,071")]
    Some(moved as f64 * 100.0 / new.len() as f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test says where it stopped")]

    use super::*;
    use crate::config::{self, Source};

    fn with(rule: &str) -> Config {
        let text = format!(
            "version: 1
frontends: [{{ name: web, address: 203.0.113.10 }}]
pools: [{{ name: web, backends: [{{ name: a, address: 10.0.1.11 }}] }}]
rules: [{{ name: http, frontend: web, protocol: tcp, port: 80, pool: web, {rule} }}]
"
        );
        config::load(&[Source { name: "lb.yaml".to_owned(), text }]).unwrap()
    }

    fn told(before: &str, after: &str) -> Vec<String> {
        let maps = MapState::default();
        between(Some(&with(before)), &maps, &with(after), &maps)
    }

    #[test]
    fn a_frontend_says_where_it_is_and_whether_it_is_announced() {
        let with = |keys: &str| {
            let text = format!("version: 1\nfrontends: [{{ name: web, {keys} }}]\npools: []\n");
            config::load(&[Source { name: "lb.yaml".to_owned(), text }]).unwrap()
        };
        let told = |before, after| {
            let maps = MapState::default();
            between(Some(&with(before)), &maps, &with(after), &maps)
        };
        let (here, there) = ("address: 203.0.113.10", "address: 203.0.113.11, announce: none");
        assert_eq!(told(here, here), [""; 0]);
        assert_eq!(told(here, there), ["frontend web: 203.0.113.10 becomes 203.0.113.11; now routed only"]);
        assert_eq!(
            told("address: 203.0.113.10, announce: none", here),
            ["frontend web: now announced on its own link"]
        );
    }

    #[test]
    fn a_change_of_distribution_is_told_in_the_words_of_the_file() {
        let access = "access: [{ allow: 0.0.0.0/0 }]";
        assert_eq!(
            told(access, &format!("distribution: source-ip, {access}")),
            ["rule http: now tcp 203.0.113.10:80 to pool web port 80, source-ip, no probe, open"]
        );
    }

    #[test]
    fn access_is_told_entry_by_entry_although_a_list_is_as_long_as_before() {
        let one = "access: [{ deny: 10.1.0.0/16 }, { allow: 10.0.0.0/8 }]";
        assert_eq!(told(one, one), [""; 0]);
        assert_eq!(
            told(one, "access: [{ deny: 10.2.0.0/16 }, { allow: 10.0.0.0/8 }]"),
            ["rule http: access +deny 10.2.0.0/16, -deny 10.1.0.0/16"]
        );
        assert_eq!(
            told(one, "access: [{ allow: 10.0.0.0/8 }, { deny: 10.1.0.0/16 }]"),
            ["rule http: access in another order"]
        );
        assert_eq!(
            told(one, &format!("{one}, accessAppliesTo: new-flows")),
            ["rule http: access now for new-flows"]
        );
        let many: Vec<_> = (0..9).map(|n| format!("{{ allow: 192.0.2.{n} }}")).collect();
        let many = told("access: []", &format!("access: [{}]", many.join(", ")));
        let [line] = &many[..] else { panic!("{many:?}") };
        assert!(line.contains("access list of 9; access +allow 192.0.2.0/32"), "{line}");
        assert!(line.ends_with("+allow 192.0.2.3/32, and 5 more"), "{line}");
    }
}
